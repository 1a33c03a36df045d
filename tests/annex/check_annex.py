"""The other ways to analyse annexed datasets, killed at each step: ``make check-annex``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from annexed import (
    analysed,
    calls_in,
    clone_of,
    fetched_in,
    git,
    images_in,
    make_origin,
    watching,
    without_paths,
)
from support import FIXTURES, nidecomp


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(FIXTURES / "several_tasks", tmp_path_factory.mktemp("annexed") / "origin")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What comes out of an ordinary copy."""
    output = tmp_path_factory.mktemp("ordinary") / "networks"
    done = analysed(FIXTURES / "several_tasks", output, fetch=False)
    assert done.exit_code == 0, done.stderr
    return without_paths(output)


def test_what_was_there_before_is_kept_and_reduced_runs_are_not_fetched_again(
    origin: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    dataset = clone_of(origin, tmp_path / "clone")
    first, *others = images_in(dataset)
    git(dataset, "annex", "get", "--quiet", str(first.relative_to(dataset)))
    for label in ("01", "02", "03"):
        job = nidecomp(
            dataset, tmp_path / "networks", "participant", "--participant-label", label,
            *("--n-components", "3", "--n-init", "2", "--fetch"),
        )  # fmt: skip
        assert job.exit_code == 0, job.stderr
        assert fetched_in(dataset) == [first.name]
    watch = tmp_path / "watch"
    done = analysed(dataset, tmp_path / "networks", **watching(watch, dataset=dataset))
    assert done.exit_code == 0, done.stderr
    assert without_paths(tmp_path / "networks") == expected
    assert [name for name, _ in calls_in(watch)].count("get") == len(others)
    assert fetched_in(dataset) == [first.name]


def test_unlocked_files_are_fetched_like_links(
    origin: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    dataset = clone_of(origin, tmp_path / "clone")
    git(dataset, "annex", "init", "--quiet")
    git(dataset, "annex", "adjust", "--quiet", "--unlock")
    assert not any(path.is_symlink() for path in images_in(dataset))
    done = analysed(dataset, tmp_path / "networks")
    assert done.exit_code == 0, done.stderr
    assert without_paths(tmp_path / "networks") == expected
    assert fetched_in(dataset) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_whenever_it_is_killed_the_next_start_drops_what_was_fetched(
    when: str, origin: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    """The command and its worker are killed at each call of git-annex, until none is left."""
    # The worker that called, and the command.
    kill = "worker=$PPID; kill -9 $(ps -o ppid= -p $worker) $worker"
    # The first two are those of the command itself, for the clone and its small files.
    for at in range(3, 100, int(os.environ.get("EVERY", "1"))):
        dataset, watch = clone_of(origin, tmp_path / f"clone{at}"), tmp_path / f"watch{at}"
        real = "" if when == "before" else '$real "$@";'
        then = f"if [ $number -ge {at} ]; then {real} {kill}; exit 1; fi"
        output = tmp_path / f"networks{at}"
        killed = analysed(dataset, output, **watching(watch, dataset=dataset, then=then))
        if killed.exit_code == 0:
            break
        left = fetched_in(dataset)
        print(f"killed {when} call {at}: {len(calls_in(watch))} calls, {len(left)} images left")
        done = analysed(dataset, output)
        assert done.exit_code == 0, done.stderr
        assert fetched_in(dataset) == []
        assert not list((dataset / ".git" / "nidecomp").glob("*.json"))
        assert without_paths(output) == expected
    # Two calls for each image in each of two steps, some of them at the same time.
    assert at > 2 * len(images_in(origin))


def test_an_image_that_nobody_has_is_a_failed_run(origin: Path, tmp_path: Path) -> None:
    lost_at = tmp_path / "origin"
    shutil.copytree(origin, lost_at, symlinks=True)
    lost = images_in(lost_at)[0]
    git(lost_at, "annex", "drop", "--force", "--quiet", str(lost.relative_to(lost_at)))
    dataset = clone_of(lost_at, tmp_path / "clone")
    done = analysed(dataset, tmp_path / "networks")
    assert done.exit_code == 1, done.stderr
    assert f"its image {lost.name} could not be fetched: " in done.stderr
    inventory = (tmp_path / "networks" / "logs" / "inventory.tsv").read_text()
    assert inventory.count("\nsub-") == len(images_in(origin))
    assert inventory.count("\tused\t") == len(images_in(origin)) - 1
    assert fetched_in(dataset) == []
