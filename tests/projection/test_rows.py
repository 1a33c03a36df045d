"""Maps, amplitudes and connectomes of sets of runs are those of each run, combined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_one_run import projected, task_of, write_run

from nidecomp.core.inventory import FailedRun
from nidecomp.core.records import RunKey
from nidecomp.execution.executor import WorkerDied
from nidecomp.projection import one_run as module
from nidecomp.projection.fixed_effects import combine
from nidecomp.projection.one_run import project_run
from nidecomp.projection.rows import RowTask, amplitudes, combined_rows, connectomes_in_z
from nidecomp.projection.store import array_file, load_effect
from nidecomp.projection.task import ProjectedRun, ProjectTask

ARRAYS = ("effect", "noise", "z")


class Here:
    """An executor that works in this process, or loses every worker."""

    def __init__(self, *, is_deadly: bool = False) -> None:
        self.is_deadly = is_deadly
        self.n_items = 0

    def map_unordered(self, func: Any, items: Sequence[Any]) -> Iterator[Any]:
        self.n_items += len(items)
        yield from (WorkerDied(item) if self.is_deadly else func(item) for item in items)


@pytest.fixture
def tasks(tmp_path: Path) -> list[ProjectTask]:
    """Two runs of a participant, with all arrays."""
    found = []
    for seed in (1, 2):
        run = write_run(tmp_path, seed)
        key = RunKey((("sub", "01"), ("task", "rest"), ("run", str(seed))))
        named = replace(run, files=replace(run.files, key=key))
        found.append(task_of(named, tmp_path / "work", arrays=ARRAYS))
    return found


@pytest.fixture
def runs(tasks: list[ProjectTask]) -> list[ProjectedRun]:
    return [projected(task) for task in tasks]


def names_of(runs: Sequence[ProjectedRun]) -> tuple[str, ...]:
    return tuple(run.key.label for run in runs)


@pytest.mark.parametrize("statistic", ["effect", "z"])
def test_one_run_is_its_own_row_and_needs_no_worker(
    runs: list[ProjectedRun], statistic: Any
) -> None:
    executor, names = Here(is_deadly=True), names_of(runs)
    rows = combined_rows([names[:1], names[1:]], runs, statistic, executor)
    assert executor.n_items == 0
    for run in runs:
        (path,) = rows[names_of([run])].paths
        assert path == array_file(run.stem, 0, statistic)
        assert np.load(path).dtype == np.float32


@pytest.mark.parametrize("statistic", ["effect", "z"])
def test_several_runs_are_those_of_the_fixed_effects_model_and_are_found_again(
    runs: list[ProjectedRun], statistic: Any
) -> None:
    executor, names = Here(), names_of(runs)
    (path,) = combined_rows([names], runs, statistic, executor)[names].paths
    own, _ = combine(*zip(*(load_effect(run.stem, 0) for run in runs), strict=True))
    np.testing.assert_array_equal(np.load(path), getattr(own, statistic))
    combined_rows([names], runs, statistic, executor)
    assert executor.n_items == 1


def test_a_damaged_row_is_made_again(runs: list[ProjectedRun]) -> None:
    executor, names = Here(), names_of(runs)
    (path,) = combined_rows([names], runs, "effect", executor)[names].paths
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    combined_rows([names], runs, "effect", executor)
    assert path.read_bytes() == whole


def test_a_lost_worker_leaves_a_reason(runs: list[ProjectedRun]) -> None:
    names = names_of(runs)
    row = combined_rows([names], runs, "effect", Here(is_deadly=True))[names]
    assert row.paths == ()
    assert "was killed" in row.reason


def test_a_run_whose_image_and_maps_are_gone_leaves_a_reason(
    tasks: list[ProjectTask], runs: list[ProjectedRun]
) -> None:
    array_file(runs[0].stem, 0, "effect").unlink()
    names = names_of(runs)
    row = combined_rows([names[:1]], runs, "effect", Here())[names[:1]]
    assert row.reason == f"the image of {names[0]} is gone and its maps were not kept"


def test_without_its_image_a_run_keeps_what_needs_no_maps(
    tasks: list[ProjectTask], runs: list[ProjectedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    array_file(runs[0].stem, 0, "effect").unlink()
    monkeypatch.setattr(module, "read_run", None)
    # The name of what is stored has the identity of the image, which is kept elsewhere.
    monkeypatch.setattr(ProjectTask, "stem", runs[0].stem)
    cleaning = tasks[0].cleaning
    files = replace(cleaning.run.files, image_is_gone=True)
    gone = replace(tasks[0], cleaning=replace(cleaning, run=replace(cleaning.run, files=files)))
    found = project_run(gone)
    assert isinstance(found, ProjectedRun), found
    np.testing.assert_array_equal(found.projections[0].courses, runs[0].projections[0].courses)
    assert isinstance(project_run(replace(gone, with_maps=True)), FailedRun)


def test_arrays_can_be_added_later_without_changing_other_results(tmp_path: Path) -> None:
    task = task_of(write_run(tmp_path, 1), tmp_path / "work")
    before = projected(task)
    assert not list((tmp_path / "work" / "projected").glob("*_effect.npy"))
    after = projected(replace(task, arrays=("effect",)))
    assert after.stem == before.stem
    np.testing.assert_array_equal(after.projections[0].courses, before.projections[0].courses)
    assert array_file(after.stem, 0, "effect").exists()


def test_the_name_of_a_row_has_all_of_its_runs(runs: list[ProjectedRun]) -> None:
    stems = [run.stem for run in runs]
    names = {
        RowTask(("a",), "01", tuple(some), 1, "effect").stem
        for some in (stems, stems[:1], stems[::-1])
    }
    assert len(names) == 3


# ---------------------------------------------------------------- amplitudes and connectomes
def test_amplitudes_are_deviations_over_all_volumes(runs: list[ProjectedRun]) -> None:
    courses = [run.projections[0].courses for run in runs]
    np.testing.assert_allclose(amplitudes(runs[:1], 0), courses[0].std(axis=0, ddof=1))
    variances = [course.var(axis=0, ddof=1) for course in courses]
    expected = np.sqrt(np.mean(variances, axis=0))
    assert len(courses[0]) == len(courses[1])
    np.testing.assert_allclose(amplitudes(runs, 0), expected)


def test_edges_are_fisher_z_of_correlations(runs: list[ProjectedRun]) -> None:
    z = connectomes_in_z(runs, 0, "correlation")
    for run in runs:
        expected: NDArray[np.float64] = np.corrcoef(run.projections[0].courses.T)
        first, second = np.triu_indices(len(expected), 1)
        found = z[run.key.label][first, second]
        np.testing.assert_allclose(found, np.arctanh(expected[first, second]))
