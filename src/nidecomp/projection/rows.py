"""What participants are compared by, over some of their runs: maps, amplitudes, connectomes.

The runs of a participant that count together are called a *set* of runs, by their names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.comparison import MapStatistic
from nidecomp.config.science import Connectome
from nidecomp.core.text import count
from nidecomp.execution import progress
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.projection.connectome import LARGEST_R, connectomes
from nidecomp.projection.fixed_effects import combine
from nidecomp.projection.one_run import stem_of_runs
from nidecomp.projection.store import array_file, is_whole, load_effect, store_array
from nidecomp.projection.task import ProjectedRun

_LOG = logging.getLogger(__name__)

RunNames = tuple[str, ...]


@dataclass(frozen=True)
class RowTask:
    """A set of runs whose maps are combined: the stems of their stored projections, in order."""

    names: RunNames
    participant: str
    stems: tuple[Path, ...]
    n_targets: int
    statistic: MapStatistic

    @property
    def stem(self) -> Path:
        """The path of the stored arrays, without index and statistic."""
        return stem_of_runs(self.participant, self.stems)


@dataclass(frozen=True)
class Row:
    """The files of a set's maps: one for each decomposition, float32 (n_components, n_features).

    `paths` is empty where there are none, and `reason` says why.
    """

    names: RunNames
    paths: tuple[Path, ...]
    reason: str = ""


def combined_rows(
    sets: Iterable[RunNames],
    runs: Sequence[ProjectedRun],
    statistic: MapStatistic,
    executor: Executor,
) -> Mapping[RunNames, Row]:
    """Combine the maps of each set of runs in a fixed-effects model, and store them.

    Parameters
    ----------
    sets : iterable of tuple of str
        Names of runs, all of one participant.
    runs : sequence of ProjectedRun
        All runs that were projected, with stored arrays (`ProjectTask.arrays`).
    statistic : {"effect", "z"}
    executor : Executor
        The result does not depend on it.

    Returns
    -------
    mapping of tuple of str to Row
        Of a single run, its own arrays.
    """
    by_name = {run.key.label: run for run in runs}
    n_targets = len(runs[0].projections) if runs else 0
    tasks = [
        RowTask(
            names=names,
            participant=by_name[names[0]].run.participant,
            stems=tuple(by_name[name].stem for name in names),
            n_targets=n_targets,
            statistic=statistic,
        )
        for names in sorted(set(sets))
    ]
    # What is there already needs no worker.
    found = [row for task in tasks if (row := _found(task)) is not None]
    there = {row.names for row in found}
    to_combine = [task for task in tasks if task.names not in there]
    if to_combine:
        _LOG.info("Combining the runs of %s", count(len(to_combine), "participant"))
    results = executor.map_unordered(combine_row, to_combine)
    for result in progress.with_progress(results, len(to_combine), "Combining runs"):
        match result:
            case Row():
                found.append(result)
            case WorkerDied(item=RowTask(names=names)):
                found.append(Row(names, (), lost_worker("their maps")))
    return {row.names: row for row in sorted(found, key=lambda row: row.names)}


def combine_row(task: RowTask) -> Row:
    """Combine the maps of one set of runs, unless this was done before."""
    found = _found(task)
    if found is not None:
        return found
    paths = []
    with threadpool_limits(limits=1):
        for index in range(task.n_targets):
            effects, noises = zip(*(load_effect(stem, index) for stem in task.stems), strict=True)
            own, _ = combine(effects, noises)
            values = getattr(own, task.statistic)
            paths.append(store_array(values, task.stem, index, task.statistic))
    return Row(task.names, tuple(paths))


def _found(task: RowTask) -> Row | None:
    """Return the row that needs no work: of one run, combined before, or of runs without maps."""
    needed = (task.statistic,) if len(task.stems) == 1 else ("effect", "noise")
    for name, stem in zip(task.names, task.stems, strict=True):
        stored = (array_file(stem, index, one) for index in range(task.n_targets) for one in needed)
        if not all(path.exists() for path in stored):
            return Row(task.names, (), f"the image of {name} is gone and its maps were not kept")
    stem = task.stems[0] if len(task.stems) == 1 else task.stem
    paths = tuple(array_file(stem, index, task.statistic) for index in range(task.n_targets))
    return Row(task.names, paths) if all(map(is_whole, paths)) else None


# ---------------------------------------------------------------- amplitudes and connectomes
def amplitudes(runs: Sequence[ProjectedRun], index: int) -> NDArray[np.float64]:
    """Return the amplitude of each component of a decomposition over some runs of a participant.

    Parameters
    ----------
    runs : sequence of ProjectedRun
    index : int
        Of the decomposition.

    Returns
    -------
    ndarray, shape (n_components,)
        The square root of the mean variance of its time courses (n - 1 in the denominator), in
        which each run has the weight of its number of volumes.
    """
    courses = [run.projections[index].courses for run in runs]
    variances = np.array([one.var(axis=0, ddof=1) for one in courses])
    mean = np.average(variances, axis=0, weights=[len(one) for one in courses])
    return np.asarray(np.sqrt(mean))


def connectomes_in_z(
    runs: Sequence[ProjectedRun], index: int, kind: Connectome
) -> Mapping[str, NDArray[np.float64]]:
    """Return Fisher's z of the connectome of each run, by the run's name.

    Parameters
    ----------
    runs : sequence of ProjectedRun
        All runs: components with a constant time course in one of them are NaN in all.
    index : int
        Of the decomposition.
    kind : {"correlation", "partial"}

    Returns
    -------
    mapping of str to ndarray, each (n_components, n_components)
    """
    courses = [run.projections[index].courses for run in runs]
    found = connectomes(courses, [run.run.participant for run in runs], kind)
    matrices = found.runs if found else ()
    return {
        run.key.label: np.arctanh(np.clip(matrix, -LARGEST_R, LARGEST_R))
        for run, matrix in zip(runs, matrices, strict=True)
    }
