"""Read the series of one run, without the volumes that are dropped, and its nuisance model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.packed import PackedSeries, move_rows
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count, verb
from nidecomp.runs.answers import learn
from nidecomp.runs.left import degrees_left, volumes_left
from nidecomp.runs.nuisance import NuisanceModel, build_nuisance_model
from nidecomp.runs.task import ReduceTask

Series = TypeVar("Series", NDArray[np.float32], PackedSeries)
_Read = tuple[tuple[Series, ...], int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class ReadRun(Generic[Series]):
    """A run that was read, without its empty volumes.

    Parameters
    ----------
    run : UsableRun
        Without the volumes that are empty.
    series : tuple of ndarray of float32, each (n_kept, n_features), or of PackedSeries
        One for each smoothing.
    n_nonfinite : int
        Number of voxels with nonfinite values.
    empty : tuple of int
        Indices of the volumes that were dropped because they have no signal.
    design : NuisanceModel
        The nuisance regressors, and the volumes that are left.
    """

    run: UsableRun
    series: tuple[Series, ...]
    n_nonfinite: int
    empty: tuple[int, ...]
    design: NuisanceModel


def read_run(task: ReduceTask, smoothing_fwhm: tuple[float, ...]) -> ReadRun[NDArray[np.float32]]:
    """Return a run with each smoothing, without empty volumes, and its nuisance model.

    Parameters
    ----------
    task : ReduceTask
    smoothing_fwhm : tuple of float
        In mm.

    Returns
    -------
    ReadRun

    Raises
    ------
    FailedRunError
        The data cannot be read, or too few volumes with signal are left.
    """
    return _read(task, smoothing_fwhm, task.space.read_series, _without_rows)


def read_packed_run(task: ReduceTask, smoothing_fwhm: tuple[float, ...]) -> ReadRun[PackedSeries]:
    """Return what `read_run` does, in 20 bits per value."""
    return _read(task, smoothing_fwhm, task.space.read_packed, PackedSeries.without)


def _read(
    task: ReduceTask,
    smoothing_fwhm: tuple[float, ...],
    read: Callable[[Path, NDArray[np.intp], tuple[float, ...]], _Read[Series]],
    without: Callable[[Series, Sequence[int]], Series],
) -> ReadRun[Series]:
    run = task.run
    # From the files, so that the projection, whose run has no empty volumes any more, does the
    # same as the reduce step.
    design = _nuisance_model(task)
    series, n_nonfinite, rows = read(run.files.bold, design.kept, smoothing_fwhm)
    if not rows:
        return ReadRun(run, series, n_nonfinite, (), design)
    n_wanted = len(design.kept)
    if 2 * len(rows) > n_wanted:
        raise FailedRunError(
            f"{len(rows)} of the {count(n_wanted, 'volume')} to be used "
            f"{verb(len(rows), 'has', 'have')} no signal (all values in the brain are the same): "
            f"{run.files.bold.name} is incomplete or was padded"
        )
    empty = tuple(design.kept[list(rows)].tolist())
    design = _nuisance_model(task, empty)
    run = run.without_volumes(empty, design.nuisance.shape[1])
    check_enough_left(run, task)
    series = tuple(without(one, rows) for one in series)
    return ReadRun(run, series, n_nonfinite, empty, design)


def _nuisance_model(task: ReduceTask, also_dropped: Sequence[int] = ()) -> NuisanceModel:
    run = task.run
    learn(task.answers)
    return build_nuisance_model(
        run.files.confounds,
        run.n_volumes,
        run.repetition_time_s,
        task.denoising,
        sidecars=run.files.confounds_sidecars,
        also_dropped=also_dropped,
    )


def _without_rows(series: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """Return a series without some rows, in the same memory."""
    move_rows(series, rows)
    return series[: len(series) - len(rows)]


def check_enough_left(run: UsableRun, task: ReduceTask) -> None:
    """Check that a run has enough volumes after empty ones were dropped.

    Runs without empty volumes were checked before they were read.

    Parameters
    ----------
    run : UsableRun
        Without the volumes that are empty.
    task : ReduceTask
        With the numbers that are required.

    Raises
    ------
    FailedRunError
    """
    n_empty = dict(run.dropped).get("empty", 0)
    if not n_empty:
        return
    why = (
        f"{n_empty} {verb(n_empty, 'has', 'have')} no signal (all values in the brain are the same)"
    )
    if run.n_kept < task.denoising.min_volumes:
        raise FailedRunError(
            f"{volumes_left(run.n_kept, run.n_volumes)}, fewer than --min-volumes "
            f"{task.denoising.min_volumes}: {why}"
        )
    if run.degrees_of_freedom < task.n_required:
        raise FailedRunError(
            f"it is too short: {volumes_left(run.n_kept, run.n_volumes)}; "
            f"{degrees_left(run.n_regressors, run.degrees_of_freedom)}, but --n-components "
            f"requires {task.n_required}: {why}"
        )
