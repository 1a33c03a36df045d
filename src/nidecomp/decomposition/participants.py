"""What each participant's runs hold of the group's components, and how these vary in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products
from nidecomp.core.parallel import map_ordered
from nidecomp.core.records import ReducedRun
from nidecomp.core.reduced_runs import read_volumes
from nidecomp.decomposition.components import Components, Evidence
from nidecomp.decomposition.time_courses import high_frequency_share, motion_correlation


def with_participants(
    evidence: Evidence,
    components: Components,
    runs: Sequence[ReducedRun],
    held_out: Sequence[ReducedRun],
    n_threads: int,
) -> Evidence:
    """Add what needs each run again: who a component comes from, and how it varies in time.

    Parameters
    ----------
    evidence : Evidence
        To be completed.
    components : Components
        Whose evidence it is.
    runs, held_out : sequence of ReducedRun
        Of the participants that were fitted and of those that were left out, at the smoothing that
        the components were fitted at.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    Evidence
    """
    of_run = partial(_one_run, components.maps, products(components.maps, components.maps))
    seen = list(map_ordered(of_run, runs, n_threads))
    labels = [run.key.participant for run in runs]
    evidence = replace(
        evidence,
        participants=tuple(sorted(set(labels))),
        participant_variance=_by_participant([one.beside for one in seen], labels),
        high_frequency=_mean_of_known(
            _by_participant([one.high_frequency for one in seen], labels)
        ),
        motion_r=_mean_of_known(_by_participant([one.motion_r for one in seen], labels)),
        holdout_variance=np.full(components.n_components, np.nan),
    )
    if not held_out:
        return evidence
    unseen = list(map_ordered(of_run, held_out, n_threads))
    labels = [run.key.participant for run in held_out]
    together = _by_participant([np.array([one.together]) for one in unseen], labels)
    return replace(
        evidence,
        held_out=tuple(sorted(set(labels))),
        holdout_variance=_mean_of_known(_by_participant([one.alone for one in unseen], labels)),
        total_holdout_variance=float(together.mean()),
    )


@dataclass(frozen=True, eq=False)
class _SeenInRun:
    """What one run holds of each component, alone and beside the others, and of all together."""

    alone: NDArray[np.float64]
    beside: NDArray[np.float64]
    together: float
    high_frequency: NDArray[np.float64]
    motion_r: NDArray[np.float64]


def _one_run(maps: NDArray[np.float32], gram: NDArray[np.float64], run: ReducedRun) -> _SeenInRun:
    rows = np.load(run.path, mmap_mode="r")
    cross = products(rows, maps)
    volumes = read_volumes(run)
    # Least squares on all maps together: the first half of dual regression.
    inverse = np.linalg.pinv(gram, hermitian=True)
    loadings = cross @ inverse
    courses = volumes.rows @ loadings
    return _SeenInRun(
        _share(cross, np.diag(gram) * run.total_variance),
        # By how much the sum of squared residuals grows without the map.
        _share(loadings, np.diag(inverse) * run.total_variance),
        float(np.sum(cross * loadings) / run.total_variance) if run.total_variance else 0.0,
        high_frequency_share(courses, volumes.times_s),
        motion_correlation(courses, volumes.motion),
    )


def _share(values: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each column's sum of squares; 0 for a map that is empty."""
    power = np.einsum("ij,ij->j", values, values)
    return np.asarray(np.divide(power, norms, out=np.zeros(len(norms)), where=norms > 0))


def _by_participant(
    of_runs: Sequence[NDArray[np.float64]], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Average the runs of each participant, shape (n_participants, n_components)."""
    values, names = np.array(of_runs), np.array(labels)
    return np.array(
        [_mean_of_known(values[names == participant]) for participant in sorted(set(labels))]
    )


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average rows, leaving out what is NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean = np.full(values.shape[1], np.nan)
    return np.asarray(np.divide(total, count, out=mean, where=count > 0))
