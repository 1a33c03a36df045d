"""Make datasets as OpenNeuro has them: git-annex repositories whose content is elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from support import Finished, nidecomp, results

from nidecomp.core.content import is_not_fetched

_SCRIPTS = sysconfig.get_path("scripts")
# As on a machine whose user has never used git.
NOBODY = {
    **{f"GIT_{who}_NAME": "Nobody" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "nobody@localhost" for who in ("AUTHOR", "COMMITTER")},
    "PATH": os.pathsep.join([_SCRIPTS, os.environ["PATH"]]),
    # Subdatasets in a folder of this machine, which git would not clone otherwise.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
}
# What differs where the input has another path.
_NAMES_THE_INPUT = {"dataset_description.json", "logs/manifest.tsv", "logs/manifest.json"}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, and return what it prints."""
    done = subprocess.run(
        ["git", *words],  # noqa: S607  git is where the user has it
        cwd=folder,
        env={**os.environ, **NOBODY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def make_origin(source: Path, origin: Path) -> Path:
    """Make a repository with all files of a dataset, of which all but JSON files are annexed."""
    shutil.copytree(source, origin, symlinks=False)
    for path in origin.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    git(origin, "init", "--quiet")
    git(origin, "annex", "init", "--quiet", "origin")
    git(origin, "config", "annex.largefiles", "exclude=*.json")
    git(origin, "config", "annex.backend", "MD5E")
    git(origin, "annex", "add", "--quiet", ".")
    git(origin, "commit", "--quiet", "-m", "data")
    return origin


def clone_of(origin: Path, clone: Path) -> Path:
    """Clone a repository, without the content of annexed files, as DataLad does."""
    git(origin.parent, "clone", "--quiet", str(origin), str(clone))
    return clone


def images_in(dataset: Path) -> list[Path]:
    """Return the BOLD images of a dataset."""
    return sorted(dataset.glob("sub-*/**/*_bold.nii.gz"))


def fetched_in(dataset: Path) -> list[str]:
    """Return the names of the images whose content is there."""
    return [path.name for path in images_in(dataset) if not is_not_fetched(path)]


def analysed(
    dataset: Path, output: Path, *more: object, fetch: bool = True, **environment: str
) -> Finished:
    """Run the analysis of `support.small` on a dataset."""
    options = ("--n-components", "3", "--n-init", "2", *(["--fetch"] if fetch else []))
    return nidecomp(dataset, output, "group", *options, *more, **environment)


def without_paths(output: Path) -> dict[str, str]:
    """Hash the results, without files that name the input."""
    return {name: value for name, value in results(output).items() if name not in _NAMES_THE_INPUT}


def watching(folder: Path, *, dataset: Path, then: str = "") -> dict[str, str]:
    """Return an environment in which each call of git-annex is noted in ``folder / "calls"``.

    A line has the command and the sizes of the images that are in the dataset after it. `then` are
    lines of a shell script that run before each call, where ``$number`` counts the calls and
    ``$real`` is git-annex.
    """
    program, calls = folder / "bin" / "git-annex", folder / "calls"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"""#!/bin/sh
real={_SCRIPTS}/git-annex
number=$(($(cat {calls} 2>/dev/null | wc -l) + 1))
{then}
$real "$@"
code=$?
cd {dataset}/.git/annex
# Masks are smaller.
sizes=$(find objects -regex '.*\\.\\(nii\\.gz\\|gii\\)' -type f -size +3k -printf '%s ' 2>/dev/null)
echo $1 $sizes >> {calls}
exit $code
"""
    )
    program.chmod(0o755)
    return {"PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]])}


def calls_in(folder: Path) -> list[tuple[str, list[int]]]:
    """Return what was noted: commands, with the sizes of images that were there after each."""
    calls = folder / "calls"
    lines = [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []
    return [(name, list(map(int, sizes))) for name, *sizes in lines]
