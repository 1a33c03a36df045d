"""Every small dataset ends as its line in bids_fixtures/README.md says."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import generate
import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, Finished, nidecomp, snapshot, validator_issues

README = (FIXTURES / "README.md").read_text(encoding="utf-8")
# dataset | trait | folder and options | exit code | used, refused, failed | what the user reads
LINE = re.compile(
    r"^\| `(?P<name>[\w-]+)` \|[^|]*\| `(?P<words>[^`]*)` \| (?P<code>\d+) "
    r"\| (?P<used>\d+), (?P<refused>\d+), (?P<failed>\d+) \|(?P<says>[^|]*)\|$",
    re.MULTILINE,
)
# Noise alone takes each restart to its last iteration.
FEW_RESTARTS = ("--n-init", "2")
TRAITS = {match["name"]: match for match in LINE.finditer(README)}


def test_every_dataset_has_a_line() -> None:
    assert set(TRAITS) == set(generate.DATASETS)


@dataclass(frozen=True)
class Ended:
    """How a dataset's command ended, its results, and the input's files before."""

    done: Finished
    output: Path
    before: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    """Run the command of a dataset's line, once."""

    @cache
    def run(name: str) -> Ended:
        folder, *options = TRAITS[name]["words"].split()
        before = snapshot(FIXTURES / name)
        output = tmp_path_factory.mktemp(name) / "networks"
        done = nidecomp(FIXTURES / folder, output, "group", *FEW_RESTARTS, *options)
        return Ended(done, output, before)

    return run


@pytest.mark.parametrize("name", sorted(set(generate.DATASETS) - {"rest"}))
def test_a_dataset_ends_as_its_line_says(name: str, ended: Callable[[str], Ended]) -> None:
    line = TRAITS[name]
    done, output = ended(name).done, ended(name).output
    assert done.exit_code == int(line["code"]), done.stderr
    assert "Traceback" not in done.stderr
    assert line["says"].strip() in " ".join(done.stderr.split())
    assert snapshot(FIXTURES / name) == ended(name).before, "the input was touched"
    with (output / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        status = [row["status"] for row in csv.DictReader(file, delimiter="\t")]
    counted = [str(status.count(word)) for word in ("used", "refused", "failed")]
    assert counted == [line["used"], line["refused"], line["failed"]]
    if line["code"] != "70":
        assert validator_issues(output) == []


def inventory(output: Path) -> list[dict[str, str]]:
    with (output / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_several_tasks_are_pooled_under_one_name(ended: Callable[[str], Ended]) -> None:
    names = [path.name for path in ended("several_tasks").output.glob("tpl-*/func/*.nii.gz")]
    assert names
    assert all("_task-nback+rest_" in name for name in names)


def test_without_res_no_output_has_one(ended: Callable[[str], Ended]) -> None:
    names = [path.name for path in ended("no_res").output.rglob("tpl-*/*/*")]
    assert names
    assert not any("_res-" in name for name in names)


def test_nan_voxels_are_counted_and_maps_are_finite(ended: Callable[[str], Ended]) -> None:
    output = ended("nan_voxels").output
    counts = {row["run"]: row["n_nonfinite_voxels"] for row in inventory(output)}
    assert counts == {"sub-01_task-rest": "0", "sub-02_task-rest": "7", "sub-03_task-rest": "0"}
    for path in output.rglob("*.nii.gz"):
        assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()


def test_non_steady_state_volumes_are_dropped_and_written_down(
    ended: Callable[[str], Ended],
) -> None:
    output = ended("non_steady_state").output
    for row in inventory(output):
        assert int(row["n_volumes"]) - int(row["n_volumes_kept"]) == 3
    for path in output.rglob("*_outliers.tsv"):
        dropped = path.read_text().split()[1:]
        assert dropped[:4] == ["1", "1", "1", "0"]
        assert dropped.count("1") == 3


def test_a_run_on_another_grid_is_resampled_and_counted(ended: Callable[[str], Ended]) -> None:
    resampled = {row["run"]: row["resampled"] for row in inventory(ended("other_grid").output)}
    assert resampled["sub-02_task-rest"] == "true"
    assert list(resampled.values()).count("true") == 1


def test_fd_threshold_scrubs_only_what_moved(tmp_path: Path) -> None:
    """A threshold drops exactly the volumes whose displacement is above it."""
    output = tmp_path / "networks"
    source = FIXTURES / "no_res"
    done = nidecomp(
        source, output, "group", "--n-components", "3", *FEW_RESTARTS, "--fd-threshold", "0.1"
    )
    assert done.exit_code == 0, done.stderr
    n_dropped = 0
    for path in output.rglob("*_outliers.tsv"):
        table = next(source.rglob(path.name.replace("outliers", "desc-confounds_timeseries")))
        with table.open(encoding="utf-8", newline="") as file:
            moved = [
                float(row["framewise_displacement"].replace("n/a", "0")) > 0.1
                for row in csv.DictReader(file, delimiter="\t")
            ]
        assert [value == "1" for value in path.read_text().split()[1:]] == moved
        n_dropped += sum(moved)
    assert n_dropped > 0


def test_one_participants_data_under_two_names_are_told(tmp_path: Path) -> None:
    """A copy makes everything look reproducible."""
    source = FIXTURES / "several_tasks"
    options = ("group", "--nprocs", "1", "--n-components", "3", "--task-id", "rest")
    minimal = ("--level", "minimal")
    honest = nidecomp(source, tmp_path / "honest", *options, *minimal)
    assert "the same data" not in honest.stderr
    copied = shutil.copytree(source, tmp_path / "input")
    for path in sorted((copied / "sub-01").rglob("*_task-rest_*")):
        target = Path(str(path).replace("sub-01", "sub-09"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    done = nidecomp(copied, tmp_path / "out", *options, *minimal)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("have identical data: is one a copy") == 1
    assert re.search(r"sub-01_task-rest\S*, sub-09_task-rest\S* have identical", done.stderr)
