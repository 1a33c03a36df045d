"""What several tests need: running NiDecomp, comparing trees, matching maps, the validator."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from compare_trees import digests
from scipy.optimize import linear_sum_assignment
from served import Server

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "bids_fixtures"
# On PYTHONPATH, it has things happen to workers.
IN_WORKERS = REPOSITORY / "tests" / "faults" / "in_workers"
# Real data that lies beside the repository where it is developed, and nowhere else.
SHARED = REPOSITORY.parent / "shared" / "data"


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@cache
def server() -> Server:
    """Return the server that runs NiDecomp for all tests of this process."""
    started = Server()
    atexit.register(started.close)
    return started


def nidecomp(
    *words: object,
    timeout: float = 300,
    report: bool = False,
    fresh: bool = False,
    **environment: str,
) -> Finished:
    """Run the command as a user would, in a process of its own.

    Without the report and other processes, which take longer than all else on data so small, but
    where they are wanted. Where the process itself is what is tested, `fresh` starts an
    interpreter.
    """
    said = list(map(str, words))
    if "group" in said and not report:
        said.append("--no-report")
    if not {"--nprocs", "--executor"} & set(said):
        said += ["--nprocs", "1"]
    if not fresh:
        ended = server().run(*said, environment=environment, timeout=timeout)
        return Finished(ended.code, ended.stdout, ended.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "nidecomp", *said],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def small(output: Path, *more: object, level: str = "group") -> tuple[object, ...]:
    """Return arguments for a fast analysis of three participants with two tasks each.

    Two restarts: noise takes each of them to its last iteration.
    """
    options = ("--n-components", "3", "--n-init", "2")
    return (FIXTURES / "several_tasks", output, level, *options, *more)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder ``networks``, which is created by the first process that needs it.

    Each process has a copy, as deep in the tree as the first: links from it lead to the same.
    """
    output = factory.mktemp(name) / "networks"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make(output)
        return output
    shared = factory.getbasetemp().parent / "shared" / name
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "made").exists():
            make(shared / "networks")
            (shared / "made").touch()
    shutil.copytree(shared / "networks", output, symlinks=True)
    return output


def machine_code(said: str, *how: str) -> set[str]:
    """Return the names of the files of machine code that were ``loaded`` or ``saved``.

    Of what a process said whose variable ``NUMBA_DEBUG_CACHE`` is set.
    """
    lines = re.findall(r"^\[cache\] data (\w+) (?:from|to) .*?([^/']+\.nbc)", said, re.MULTILINE)
    return {name for done, name in lines if done in how}


def results(folder: Path) -> dict[str, str]:
    """Hash what has to be the same of each file of an output folder, whenever it was made."""
    return digests(folder)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and time of every file, to check that no file was modified."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def group_file(folder: Path, method: str, suffix: str, extension: str) -> Path:
    """Find the one file of this kind, without desc, that a decomposition has."""
    found = folder.glob(f"tpl-*/func/*_seg-{method}_*_{suffix}{extension}")
    (path,) = (path for path in found if "_desc-" not in path.name)
    return path


def metadata(path: Path, folder: Path) -> dict[str, object]:
    """Return what JSON files say about a file, by the inheritance principle of BIDS.

    At each level at most one of them may apply, or one of the file's own name.
    """
    stem = path.name.partition(".")[0]
    *entities, suffix = stem.split("_")
    said: dict[str, object] = {}
    for level in [path.parent, *path.parent.parents]:
        own = {
            one.stem: one
            for one in level.glob("*.json")
            if one.stem.split("_")[-1] == suffix and set(one.stem.split("_")[:-1]) <= set(entities)
        }
        assert len(own) <= 1 or stem in own, sorted(own)
        if own:
            applies = own.get(stem) or own.popitem()[1]
            said = json.loads(applies.read_text(encoding="utf-8")) | said
        if level == folder:
            return said
    raise AssertionError(f"{path} is not in {folder}")


def group_maps(folder: Path, method: str) -> np.ndarray:
    """Read a method's maps within the group mask, shape (n_components, n_voxels)."""
    (mask,) = folder.glob("tpl-*/anat/*_desc-brain_mask.nii.gz")
    inside = np.asarray(nib.load(mask).dataobj) > 0
    image = nib.load(group_file(folder, method, "components", ".nii.gz"))
    return np.asarray(image.dataobj)[inside].T


def matched_correlations(truth: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Match maps one to one and give |r| for each row of `truth`."""
    correlation = np.abs(np.corrcoef(truth, maps)[: len(truth), len(truth) :])
    rows, columns = linear_sum_assignment(-np.nan_to_num(correlation))
    return correlation[rows, columns]


def validator_issues(folder: Path) -> list[tuple[str, str, str]]:
    """Run the schema-based BIDS validator: (severity, code, location) of everything it says."""
    command = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    done = subprocess.run(
        [str(command), str(folder), "--format", "json", "--no-color"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # BIDS_SCHEMA would override the schema that the validator brings.
        env={name: value for name, value in os.environ.items() if name != "BIDS_SCHEMA"},
    )
    assert done.returncode in {0, 16}, done.stderr
    return [
        (issue["severity"], issue["code"], issue.get("location", ""))
        for issue in json.loads(done.stdout)["issues"]["issues"]
    ]


@cache
def another_user() -> int | None:
    """Return a user other than root for `Server.run_lines`, to whom permissions apply."""
    user = 65534 if os.geteuid() == 0 else None
    readable = "import nidecomp, pandas\nfor one in (nidecomp, pandas): open(one.__file__).close()"
    ended = server().run_lines(readable, user=user)
    if "Permission denied" in ended.stderr:
        pytest.skip("another user cannot run what lies here")
    assert ended.code == 0, ended.stderr
    return user


def said_by_another_user(lines: str, *words: object, home: Path) -> str:
    """Run some lines of Python as somebody whom permissions bind; give what they print."""
    ended = server().run_lines(lines, *words, user=another_user(), HOME=str(home))
    assert ended.code == 0, ended.stderr
    return ended.stdout
