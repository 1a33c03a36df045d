"""Compute the group's subspaces from the reduced runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Method, Science
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.subspace import Subspace, SubspaceStream, weighted_rows

_EVERYWHERE = slice(None)

# A run, a subspace, and the run's rows scaled for it: float32, (n_rows, n_voxels).
WeightedRows = tuple[ReducedRun, "SubspaceKey", NDArray[np.float32]]


@dataclass(frozen=True)
class GroupPlan:
    """Threads and memory of the group fit. They do not change a byte of the outputs.

    `at_once` is the number of subspaces that are computed in one pass over the reduced runs;
    `samples_at_once` that of halves and bootstrap samples, where 0 stands for all of them.
    """

    n_threads: int = 1
    at_once: int = 2
    samples_at_once: int = 0


@dataclass(frozen=True)
class SubspaceKey:
    """Which subspace of the group: the smoothing of its runs, and the scaling of their rows.

    `smoothing_fwhm` is in mm. `canonical` stands for rows of unit norm, otherwise rows are scaled
    by their singular values.
    """

    smoothing_fwhm: float
    canonical: bool


@dataclass(frozen=True)
class Weights:
    """The factors of each run's rows that give all participants the same weight.

    `canonical` is for rows of unit norm. `scaled` is for rows scaled by their singular values,
    whose variance grows with the number of volumes and differs from run to run. It also brings the
    rows of all runs to their mean variance.
    """

    canonical: tuple[float, ...]
    scaled: tuple[float, ...]


def participant_weights(participants: Sequence[str], variances: Sequence[float]) -> Weights:
    """Return the weights with which all participants count the same, however many runs they have.

    Parameters
    ----------
    participants : sequence of str
        The participant of each run.
    variances : sequence of float
        The variance of the rows that enter of each run: their sum of squares. (Not that of the
        whole run: of a run with much noise, a smaller share enters.)

    Returns
    -------
    Weights
        For each run, ``canonical`` is 1/√(number of the participant's runs), and ``scaled`` is that
        times √(mean variance / the variance of the run's rows).
    """
    counts = Counter(participants)
    share = np.array([counts[participant] ** -0.5 for participant in participants])
    variance = np.array(variances)
    levelled = share * np.sqrt(variance.mean() / variance)
    return Weights(tuple(share.tolist()), tuple(levelled.tolist()))


# ---------------------------------------------------------------- the group's subspaces
def gather(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_components: int,
    n_dims: int,
    plan: GroupPlan,
) -> dict[SubspaceKey, Subspace]:
    """Return subspaces of all runs, as many in one pass over the runs as the plan allows.

    Parameters
    ----------
    runs : sequence of ReducedRun
        In a fixed order, at every smoothing that is wanted.
    wanted : sequence of SubspaceKey
    n_components : int
        The number of leading rows that are used of each run.
    n_dims : int
        The number of dimensions that are kept of each subspace.
    plan : GroupPlan

    Returns
    -------
    dict
        SubspaceKey to Subspace.
    """
    gathered: dict[SubspaceKey, Subspace] = {}
    for start in range(0, len(wanted), plan.at_once):
        here = wanted[start : start + plan.at_once]
        gathered |= _gather_in_one_pass(runs, here, n_components, n_dims, plan.n_threads)
    return gathered


def _gather_in_one_pass(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_components: int,
    n_dims: int,
    n_threads: int,
) -> dict[SubspaceKey, Subspace]:
    n_voxels = runs[0].n_voxels
    streams = {which: SubspaceStream(n_voxels, n_dims, n_threads) for which in wanted}
    for _, which, rows in weighted_runs(runs, wanted, n_components):
        streams[which].add(rows)
    return {which: stream.finish() for which, stream in streams.items()}


def weighted_runs(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_components: int,
    voxels: slice | NDArray[np.intp] = _EVERYWHERE,
    change: Callable[[ReducedRun, NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Iterator[WeightedRows]:
    """Yield each run's leading rows, scaled for every subspace; each file is read once.

    Parameters
    ----------
    runs : sequence of ReducedRun
        In a fixed order, at every smoothing that is wanted.
    wanted : sequence of SubspaceKey
    n_components : int
        The number of leading rows that are used of each run.
    voxels : slice or ndarray of int
        The voxels that are used; by default all.
    change : callable, optional
        Called with each run and its leading rows, returns others that are used in their place.

    Yields
    ------
    run : ReducedRun
    which : SubspaceKey
    rows : ndarray of float32, shape (n_components, n_voxels)
    """
    for fwhm in {which.smoothing_fwhm: None for which in wanted}:
        smoothed = [run for run in runs if run.smoothing_fwhm == fwhm]
        weights = participant_weights(
            [run.participant for run in smoothed],
            [run.variance_share(n_components) * run.total_variance for run in smoothed],
        )
        for index, run in enumerate(smoothed):
            # A copy, so that the memory-mapped file is released before the next run.
            rows = np.array(np.load(run.path, mmap_mode="r")[:n_components, voxels])
            rows = change(run, rows) if change else rows
            for which in wanted:
                if which.smoothing_fwhm == fwhm:
                    per_run = weights.canonical if which.canonical else weights.scaled
                    yield run, which, weighted_rows(rows, per_run[index], canonical=which.canonical)


# ---------------------------------------------------------------- the methods
def subspace_keys(science: Science) -> tuple[SubspaceKey, dict[Method, SubspaceKey]]:
    """Return the canonical subspace, and each method's scaled one."""
    smoothing_of = science.denoising.smoothing_of
    return SubspaceKey(smoothing_of("canica"), canonical=True), {
        method: SubspaceKey(smoothing_of(method), canonical=False)
        for method in science.decomposition.methods
    }
