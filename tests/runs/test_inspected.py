"""Runs whose files did not change are not inspected again, and nothing else changes by that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import FIXTURES

from nidecomp.bids import listing
from nidecomp.config.parse import settings_from_options
from nidecomp.config.settings import Settings
from nidecomp.core.inventory import Inventory
from nidecomp.core.kept import keep
from nidecomp.execution.executor import WorkerDied
from nidecomp.execution.local import LocalProcesses
from nidecomp.runs import find, inspected
from nidecomp.runs.find import find_usable_runs
from nidecomp.runs.inspect import InspectTask, inspect

RUN = "sub-01_task-rest"
ALL = [f"sub-0{who}_task-{task}" for who in (1, 2, 3) for task in ("nback", "rest")]


class Study:
    """Three participants with two tasks, and the labels of the runs that were inspected."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "in"
        self.work = folder / "work"
        self.inspected: list[str] = []
        shutil.copytree(FIXTURES / "several_tasks", self.root)

    def inspect(self, task: InspectTask) -> object:
        self.inspected.append(task.files.key.label)
        return inspect(task)

    def found(self, **options: object) -> Inventory:
        """Find the runs; `inspected` then has those that were inspected for it."""
        self.inspected.clear()
        return find_usable_runs(self.root, self.settings(**options), LocalProcesses(1))

    def settings(self, **options: object) -> Settings:
        words = {"n_components": "3", "work_dir": str(self.work), **options}
        return settings_from_options(self.root, self.root.parent / "out", "group", words)

    def file(self, ending: str) -> Path:
        """Return the file of the run with this ending."""
        (path,) = self.root.glob(f"*/func/{RUN}_*{ending}")
        return path

    def kept(self) -> Path:
        """Return the file with the inspections."""
        (path,) = (path for path in self.files() if not path.name.endswith("_files.json"))
        return path

    def files(self) -> list[Path]:
        return list((self.work / "inspected").glob("*"))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study whose files count as old enough, although they were just written."""
    study = Study(tmp_path)
    monkeypatch.setattr(find, "inspect", study.inspect)
    monkeypatch.setattr(inspected, "SETTLED_NS", -(10**9))
    return study


# ---------------------------------------------------------------- what did not change
def test_a_second_look_inspects_nothing_and_finds_the_same(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study.found(fd_threshold="0.3")
    assert study.inspected == ALL
    assert any(run.dropped for run in first.used)
    monkeypatch.setattr(listing, "_indexed", None)
    assert study.found(fd_threshold="0.3") == first
    assert study.inspected == []
    assert len(study.files()) == 2


def test_runs_that_are_refused_are_inspected_again(study: Study) -> None:
    study.file("bold.json").write_text('{"RepetitionTime": 7}')
    first = study.found()
    assert [run.key.label for run in first.refused] == [RUN]
    assert study.found() == first
    assert study.inspected == [RUN]


def test_other_options_are_other_inspections(study: Study) -> None:
    first = study.found()
    for options in ({"denoise_strategy": "scrubbing"}, {"n_components": "4"}):
        study.found(**options)
        assert study.inspected == ALL
    assert study.found() == first
    assert study.inspected == []


def test_a_part_of_the_runs_is_found_among_all(study: Study) -> None:
    whole = study.found()
    part = study.found(task_id=["rest"])
    assert study.inspected == []
    assert part.used == tuple(run for run in whole.used if run.key.task == "rest")


def test_many_runs_are_inspected_in_any_order_and_a_worker_that_died_costs_its_run(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards:
        def map_unordered(self, func: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
            for item in reversed(items):
                is_lost = item.files.key.label == RUN and self.loses
                yield WorkerDied(item) if is_lost else func(item)

        loses = False

    whole = study.found()
    monkeypatch.setattr(find, "_FEWEST_IN_PARALLEL", 1)
    executor = Backwards()
    for executor.loses in (False, True):
        study.kept().unlink()
        study.inspected.clear()
        found = find_usable_runs(study.root, study.settings(), executor)
        assert study.inspected == [run for run in ALL[::-1] if run != RUN or not executor.loses]
        lost = [run.key.label for run in found.refused]
        assert lost == ([RUN] if executor.loses else [])
        assert found.used == tuple(run for run in whole.used if run.label not in lost)
    assert "out of memory" in found.refused[0].reason


# ---------------------------------------------------------------- what changed
def _later(path: Path) -> None:
    now = path.stat().st_mtime_ns
    os.utime(path, ns=(now, now + 1))


def _another_of_the_same_size_and_age(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    shutil.copy(path, other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_that_changed_is_read_again(study: Study) -> None:
    first = study.found()
    endings = ("bold.nii.gz", "bold.json", "mask.nii.gz", "timeseries.tsv", "timeseries.json")
    for ending in endings:
        for change in (_later, _another_of_the_same_size_and_age):
            change(study.file(ending))
            assert study.found() == first
            assert study.inspected == [RUN], (ending, change)
    study.found()
    assert study.inspected == []


def test_what_changed_in_a_file_is_found(study: Study) -> None:
    study.found()
    table = study.file("timeseries.tsv")
    table.write_text(table.read_text().replace("trans_x\t", "trans_w\t"))
    (refused,) = study.found().refused
    assert "has no trans_x" in refused.reason


def test_a_file_that_is_gone_or_was_not_fetched_is_noticed(study: Study) -> None:
    study.found()
    for path in (study.file("mask.nii.gz"), study.file("timeseries.tsv")):
        content = path.read_bytes()
        path.unlink()
        assert [run.key.label for run in study.found().refused] == [RUN]
        path.symlink_to("../../.git/annex/objects/x")
        (refused,) = study.found().refused
        assert "was not fetched" in refused.reason
        path.unlink()
        path.write_bytes(content)
        assert study.found().refused == ()


def test_a_sidecar_that_is_inherited_belongs_to_the_state(study: Study) -> None:
    study.found()
    inherited = study.root / "task-rest_bold.json"
    for content in ('{"StartTime": 0.5}', '{"StartTime": 1.5}'):
        inherited.write_text(content)
        study.found()
        assert study.inspected == [label for label in ALL if label.endswith("rest")]


def test_files_that_come_and_go_are_found_without_the_index(study: Study) -> None:
    whole = study.found()
    (study.root / "sub-03").rename(study.root / "sub-04x")
    assert {run.participant for run in study.found().used} == {"01", "02"}
    (study.root / "sub-04x").rename(study.root / "sub-03")
    assert study.found() == whole


def test_an_index_that_is_to_be_made_again_is(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.found()
    monkeypatch.setattr(listing, "_indexed", None)
    with pytest.raises(TypeError):
        study.found(reset_database=True)


# ---------------------------------------------------------------- the files that are kept
def test_files_that_were_just_written_are_not_remembered(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(find, "inspect", study.inspect)
    study.found()
    study.found()
    assert study.inspected == ALL


def test_a_dry_run_writes_nothing(study: Study) -> None:
    study.found(dry_run=True)
    assert not study.work.exists()


def test_a_folder_that_cannot_be_written_to_changes_nothing(study: Study, tmp_path: Path) -> None:
    whole = study.found(work_dir=str(tmp_path / "other"))
    study.work.mkdir()
    (study.work / "inspected").touch()
    assert study.found() == whole


def _of_other_types(file: Path) -> None:
    """Give a file that is whole the content that nobody wrote."""
    known = json.loads(file.read_bytes().partition(b"\n")[2])
    runs = {name: {**run, "affine": 1} for name, run in known.items() if "/" in name}
    keep(runs or {**known, "files": [1]}, file)


def test_a_damaged_file_is_made_again(study: Study) -> None:
    first = study.found()
    for damage in (
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"n_volumes":', b'"n_volumes":9')),
        lambda file: keep([1, {"key": []}], file),
        _of_other_types,
    ):
        damage(study.kept())
        assert study.found() == first
        assert study.inspected == ALL
        assert study.found() == first
        assert study.inspected == []


def test_a_damaged_list_of_files_is_made_again(study: Study) -> None:
    first = study.found()
    (file,) = (path for path in study.files() if path != study.kept())
    whole = file.read_bytes()
    for damage in (
        lambda: file.write_bytes(whole.replace(b"rest", b"nest")),
        lambda: _of_other_types(file),
    ):
        damage()
        assert study.found() == first
        assert file.read_bytes() == whole


def test_of_two_that_write_at_the_same_time_both_are_kept(study: Study) -> None:
    runs = study.found().used
    file = study.kept()
    file.unlink()
    options = (study.root, study.work, study.settings().science.denoising, 3)
    one, other = inspected.Inspections(*options), inspected.Inspections(*options)
    for earlier in (one, other):
        assert not any(earlier.has(run.files) for run in runs)
    one.add(runs[:2])
    other.add(runs[2:5])
    assert study.found().used == runs
    assert study.inspected == ALL[5:]
    # What another job overwrote is inspected again.
    keep({}, file)
    assert study.found().used == runs
    assert study.inspected == ALL
