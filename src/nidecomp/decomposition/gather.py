"""The group's subspaces, gathered from the reduced runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Method, Science
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.subspace import Subspace, SubspaceStream, weighted_rows

_EVERYWHERE = slice(None)


@dataclass(frozen=True)
class GroupPlan:
    """How the group fit is executed: none of it changes a byte of what comes out.

    `at_once`: the subspaces that are gathered in one pass over the reduced runs;
    `samples_at_once`: the halves and bootstraps that are, 0 for all of them.
    """

    n_threads: int = 1
    at_once: int = 2
    samples_at_once: int = 0


@dataclass(frozen=True)
class SubspaceKey:
    """One of the group's subspaces: of which reduced runs, and how their rows are scaled."""

    smoothing_fwhm: float
    canonical: bool


@dataclass(frozen=True)
class Weights:
    """What each run's rows are multiplied by, so that all participants weigh the same.

    `canonical` is for rows of unit norm. `scaled` is for rows scaled by their singular values,
    whose variance grows with the number of volumes: it brings every run to the mean variance first.
    """

    canonical: tuple[float, ...]
    scaled: tuple[float, ...]


def participant_weights(participants: Sequence[str], variances: Sequence[float]) -> Weights:
    """Weigh each run so that all runs of one participant together weigh as one participant.

    Parameters
    ----------
    participants : sequence of str
        Whose each run is.
    variances : sequence of float
        Each run's total variance.

    Returns
    -------
    Weights
        1/√(number of the participant's runs), and that times √(mean variance / its variance).
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
    """Gather subspaces over all runs, as many of them in one pass as the plan says."""
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
) -> Iterator[tuple[ReducedRun, SubspaceKey, NDArray[np.float32]]]:
    """Read each run once and scale its leading rows for every subspace that is made of them.

    Parameters
    ----------
    runs : sequence of ReducedRun
        In a fixed order, at every smoothing that is wanted.
    wanted : sequence of Wanted
    n_components : int
        How many of a run's rows are taken.
    voxels : slice or ndarray of int
        The voxels that are taken; by default all.

    Yields
    ------
    run, which, rows
        The rows are float32, (n_components, n_voxels).
    """
    for fwhm in {which.smoothing_fwhm: None for which in wanted}:
        smoothed = [run for run in runs if run.smoothing_fwhm == fwhm]
        weights = participant_weights(
            [run.participant for run in smoothed], [run.total_variance for run in smoothed]
        )
        for index, run in enumerate(smoothed):
            # Copied, so that the file's pages are given back before the next run.
            rows = np.array(np.load(run.path, mmap_mode="r")[:n_components, voxels])
            for which in wanted:
                if which.smoothing_fwhm == fwhm:
                    per_run = weights.canonical if which.canonical else weights.scaled
                    yield run, which, weighted_rows(rows, per_run[index], canonical=which.canonical)


# ---------------------------------------------------------------- the methods
def subspace_keys(science: Science) -> tuple[SubspaceKey, dict[Method, SubspaceKey]]:
    """Name the canonical subspace, and the scaled one that each method is measured in."""
    smoothing_of = science.denoising.smoothing_of
    return SubspaceKey(smoothing_of("canica"), canonical=True), {
        method: SubspaceKey(smoothing_of(method), canonical=False)
        for method in science.decomposition.methods
    }
