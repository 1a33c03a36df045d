"""What each participant contributes to the group's components, and how their time courses vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products
from nidecomp.core.parallel import map_ordered
from nidecomp.core.records import ReducedRun
from nidecomp.core.reduced_runs import read_volumes
from nidecomp.decomposition.components import Components, HoldoutEvidence, ParticipantEvidence
from nidecomp.decomposition.explained import explained_variance
from nidecomp.decomposition.time_courses import high_frequency_share, motion_correlation


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the maps explain of the runs that they were fitted to, and what is in participants.

    Parameters
    ----------
    alone : ndarray, shape (n_components,)
        The share of the runs' variance that each map explains alone, mean over participants.
    together : float
        The share that all maps explain together, mean over participants.
    participants : ParticipantEvidence
    """

    alone: NDArray[np.float64]
    together: float
    participants: ParticipantEvidence


def participant_contributions(
    components: Components, runs: Sequence[ReducedRun], n_rows: int, n_threads: int
) -> Contributions:
    """Return what the maps explain in the participants that they were fitted to.

    Parameters
    ----------
    components : Components
    runs : sequence of ReducedRun
        Of the participants that were fitted, at the smoothing that the components were fitted at.
    n_rows : int
        The number of leading principal components of each run that were fitted.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    Contributions

    Notes
    -----
    All shares are those of the whole variance of the cleaned runs. What maps explain is looked for
    in the leading principal components of each run that were fitted: their number does not depend
    on what else was asked for.
    """
    measured = _measure(components, runs, n_rows, n_threads)
    labels = [run.participant for run in runs]
    evidence = ParticipantEvidence(
        labels=tuple(sorted(set(labels))),
        explained_variance=mean_over_runs([one.unique for one in measured], labels),
        high_frequency=_mean_of_known(
            mean_over_runs([one.high_frequency for one in measured], labels)
        ),
        motion_r=_mean_of_known(mean_over_runs([one.motion_r for one in measured], labels)),
    )
    return Contributions(*_explained(measured, labels), evidence)


def explained_in_holdout(
    components: Components, runs: Sequence[ReducedRun], n_rows: int, n_threads: int
) -> HoldoutEvidence | None:
    """Return what the maps explain in participants that were left out of the fit.

    Parameters
    ----------
    components : Components
    runs : sequence of ReducedRun
        Of these participants, at the smoothing that the components were fitted at.
    n_rows : int
        As for `participant_contributions`.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    HoldoutEvidence or None
        None where there are no such runs. Shares are those of `participant_contributions`.
    """
    if not runs:
        return None
    measured = _measure(components, runs, n_rows, n_threads)
    labels = [run.participant for run in runs]
    alone, together = _explained(measured, labels)
    return HoldoutEvidence(tuple(sorted(set(labels))), alone, together)


def explained_by_sets_of_maps(
    sets: Sequence[NDArray[np.floating]],
    runs: Sequence[ReducedRun],
    n_rows: int,
    voxels: NDArray[np.intp],
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what several sets of maps explain in every participant, in one pass over the runs.

    Parameters
    ----------
    sets : sequence of ndarray, each (n_components, n_voxels)
        All of the same shape.
    runs : sequence of ReducedRun
        At the smoothing that the maps were fitted at.
    n_rows : int
        As for `participant_contributions`.
    voxels : ndarray of int, shape (n_voxels,)
        The voxels of the group mask that the maps are given at. Voxels with signal have equal
        variance in a run, so that their share of its variance is known.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    alone : ndarray, shape (n_participants, n_sets, n_components)
        The share of the variance of each participant, sorted by label, that each map explains
        alone. Shares are those of `participant_contributions`.
    together : ndarray, shape (n_participants, n_sets)
        The share that all maps of a set explain together.
    """
    grams = [products(maps, maps) for maps in sets]

    def measure(run: ReducedRun) -> NDArray[np.float64]:
        rows = np.load(run.path, mmap_mode="r")[:n_rows][:, voxels]
        with_signal = np.count_nonzero(rows.any(axis=0)) / (run.n_voxels - run.n_constant)
        total = run.total_variance * with_signal
        found = [
            explained_variance(maps, rows, total, gram)
            for maps, gram in zip(sets, grams, strict=True)
        ]
        return np.array([[*one.alone, one.together] for one in found])

    labels = [run.participant for run in runs]
    values = mean_over_runs(list(map_ordered(measure, runs, n_threads)), labels)
    return values[..., :-1], values[..., -1]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measures of one run: variance explained by maps, and properties of their time courses."""

    alone: NDArray[np.float64]
    unique: NDArray[np.float64]
    together: float
    high_frequency: NDArray[np.float64]
    motion_r: NDArray[np.float64]


def _measure(
    components: Components, runs: Sequence[ReducedRun], n_rows: int, n_threads: int
) -> list[_Measured]:
    """Return the measures of all runs, in the order given."""
    gram = products(components.maps, components.maps)
    measure = partial(_measure_run, components.maps, gram, n_rows)
    return list(map_ordered(measure, runs, n_threads))


def _measure_run(
    maps: NDArray[np.float32], gram: NDArray[np.float64], n_rows: int, run: ReducedRun
) -> _Measured:
    rows = np.load(run.path, mmap_mode="r")[:n_rows]
    explained = explained_variance(maps, rows, run.total_variance, gram)
    volumes = read_volumes(run)
    courses = volumes.rows[:, :n_rows] @ explained.loadings
    return _Measured(
        explained.alone,
        explained.unique,
        explained.together,
        high_frequency_share(courses, volumes.times_s),
        motion_correlation(courses, volumes.motion),
    )


def _explained(
    measured: Sequence[_Measured], labels: Sequence[str]
) -> tuple[NDArray[np.float64], float]:
    """Return the shares that maps explain alone and together, mean over participants."""
    alone = _mean_of_known(mean_over_runs([one.alone for one in measured], labels))
    together = mean_over_runs([np.array([one.together]) for one in measured], labels)
    return alone, float(together.mean())


def mean_over_runs(
    of_runs: Sequence[NDArray[np.float64]], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean over the runs of each participant.

    Parameters
    ----------
    of_runs : sequence of ndarray
        Of the same shape for all runs. NaN is left out.
    labels : sequence of str
        The participant of each run.

    Returns
    -------
    ndarray, shape (n_participants, …)
        Sorted by label.
    """
    values, names = np.array(of_runs), np.array(labels)
    return np.array(
        [_mean_of_known(values[names == participant]) for participant in sorted(set(labels))]
    )


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the rows without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean = np.full(values.shape[1:], np.nan)
    return np.asarray(np.divide(total, count, out=mean, where=count > 0))
