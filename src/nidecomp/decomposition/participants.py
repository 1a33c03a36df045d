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
from nidecomp.decomposition.components import (
    Components,
    HoldoutEvidence,
    ParticipantEvidence,
)
from nidecomp.decomposition.time_courses import high_frequency_share, motion_correlation


def participant_contributions(
    components: Components, runs: Sequence[ReducedRun], n_threads: int
) -> ParticipantEvidence:
    """Return how much each participant contributes to each component, and their time courses.

    Parameters
    ----------
    components : Components
    runs : sequence of ReducedRun
        Of the participants that were fitted, at the smoothing that the components were fitted at.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    ParticipantEvidence
    """
    measured = _measure(components, runs, n_threads)
    labels = [run.participant for run in runs]
    return ParticipantEvidence(
        labels=tuple(sorted(set(labels))),
        explained_variance=_by_participant([one.unique for one in measured], labels),
        high_frequency=_mean_of_known(
            _by_participant([one.high_frequency for one in measured], labels)
        ),
        motion_r=_mean_of_known(_by_participant([one.motion_r for one in measured], labels)),
    )


def explained_in_holdout(
    components: Components, runs: Sequence[ReducedRun], n_threads: int
) -> HoldoutEvidence | None:
    """Return what the maps explain in participants that were left out of the fit.

    Parameters
    ----------
    components : Components
    runs : sequence of ReducedRun
        Of these participants, at the smoothing that the components were fitted at.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    HoldoutEvidence or None
        None where there are no such runs.
    """
    if not runs:
        return None
    measured = _measure(components, runs, n_threads)
    labels = [run.participant for run in runs]
    together = _by_participant([np.array([one.together]) for one in measured], labels)
    return HoldoutEvidence(
        labels=tuple(sorted(set(labels))),
        explained_variance=_mean_of_known(_by_participant([one.alone for one in measured], labels)),
        total_explained_variance=float(together.mean()),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measures of one run: variance explained by maps, and properties of their time courses.

    `alone` is the share that each map explains alone, `unique` the share that is not explained
    without it, `together` the share that all of them explain.
    """

    alone: NDArray[np.float64]
    unique: NDArray[np.float64]
    together: float
    high_frequency: NDArray[np.float64]
    motion_r: NDArray[np.float64]


def _measure(components: Components, runs: Sequence[ReducedRun], n_threads: int) -> list[_Measured]:
    """Return the measures of all runs, in the order given."""
    gram = products(components.maps, components.maps)
    return list(map_ordered(partial(_measure_run, components.maps, gram), runs, n_threads))


def _measure_run(
    maps: NDArray[np.float32], gram: NDArray[np.float64], run: ReducedRun
) -> _Measured:
    rows = np.load(run.path, mmap_mode="r")
    cross = products(rows, maps)
    volumes = read_volumes(run)
    # Least squares on all maps together: stage 1 of dual regression.
    inverse = np.linalg.pinv(gram, hermitian=True)
    loadings = cross @ inverse
    courses = volumes.rows @ loadings
    return _Measured(
        _share(cross, np.diag(gram) * run.total_variance),
        # By how much the sum of squared residuals grows without the map.
        _share(loadings, np.diag(inverse) * run.total_variance),
        float(np.sum(cross * loadings) / run.total_variance) if run.total_variance else 0.0,
        high_frequency_share(courses, volumes.times_s),
        motion_correlation(courses, volumes.motion),
    )


def _share(values: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each column's sum of squares divided by a norm; 0 for an empty map."""
    power = np.einsum("ij,ij->j", values, values)
    return np.asarray(np.divide(power, norms, out=np.zeros(len(norms)), where=norms > 0))


def _by_participant(
    of_runs: Sequence[NDArray[np.float64]], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean over the runs of each participant, (n_participants, n_components)."""
    values, names = np.array(of_runs), np.array(labels)
    return np.array(
        [_mean_of_known(values[names == participant]) for participant in sorted(set(labels))]
    )


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the rows without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean = np.full(values.shape[1], np.nan)
    return np.asarray(np.divide(total, count, out=mean, where=count > 0))
