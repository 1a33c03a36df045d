"""Compute the group's subspaces from the reduced runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nidecomp.config.science import DatasetWeights, DecompositionOptions, Method, Science
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.subspace import (
    NORM_POWERS,
    RowNorm,
    Subspace,
    SubspaceStream,
    weighted_rows,
)

_EVERYWHERE = slice(None)

# A run, a subspace, and the run's rows scaled for it: float32, (n_rows, n_voxels).
WeightedRows = tuple[ReducedRun, "SubspaceKey", NDArray[np.float32]]


@dataclass(frozen=True)
class GroupPlan:
    """Threads and memory of the group fit. They do not change a byte of the outputs.

    `at_once` is the number of subspaces that are computed in one pass over the reduced runs;
    `samples_at_once` that of halves, bootstrap samples and groups without a dataset, where 0 stands
    for all of them.
    """

    n_threads: int = 1
    at_once: int = 2
    samples_at_once: int = 0


@dataclass(frozen=True)
class SubspaceKey:
    """Which subspace of the group: the smoothing of its runs, and the norm of their rows.

    `smoothing_fwhm` is in mm; for `row_norm` see `subspace.weighted_rows`, for `dataset_weights`
    `participant_weights`.
    """

    smoothing_fwhm: float
    row_norm: RowNorm
    dataset_weights: DatasetWeights = "participants"


def participant_weights(
    participants: Sequence[str],
    squared: Sequence[ArrayLike],
    row_norm: RowNorm,
    datasets: Sequence[str] = (),
) -> tuple[float, ...]:
    """Return the weights with which all participants count the same, however many runs they have.

    Parameters
    ----------
    participants : sequence of str
        The participant of each run.
    squared : sequence of array-like
        For each run, the squared singular values of the rows that enter. (Not those of the whole
        run: of a run with much noise, a smaller share enters.)
    row_norm : {"unit", "sqrt", "singular"}
        The norm of the rows that the weights are for.
    datasets : sequence of str
        The dataset of each run, if all datasets are to count the same, too.

    Returns
    -------
    tuple of float
        The factor of each run's rows: 1/√(number of the participant's runs). Unless rows have unit
        norm, their variance grows with the number of volumes and differs from run to run. It is
        brought to the mean variance of the rows of all runs, so that the subspace has their units.
        If datasets count the same, the squared factors of their participants add up to the same
        number, and those of all participants to the number of participants.
    """
    counts = Counter(participants)
    share = np.array([counts[participant] ** -0.5 for participant in participants])
    if datasets:
        share = share * _dataset_factors(participants, datasets)
    if row_norm != "unit":
        before = [float(np.sum(of_run)) for of_run in squared]
        power = NORM_POWERS[row_norm]
        after = [float(np.sum(np.asarray(of_run, dtype=np.float64) ** power)) for of_run in squared]
        share = share * np.sqrt(np.mean(before) / np.array(after))
    return tuple(share.tolist())


def _dataset_factors(participants: Sequence[str], datasets: Sequence[str]) -> NDArray[np.float64]:
    """Return the factor of each run's rows with which all datasets count the same."""
    sizes = Counter(dict(zip(participants, datasets, strict=True)).values())
    of_each = sum(sizes.values()) / len(sizes)
    return np.array([(of_each / sizes[dataset]) ** 0.5 for dataset in datasets])


# ---------------------------------------------------------------- the group's subspaces
def gather(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_rows: int,
    n_dims: int,
    plan: GroupPlan,
) -> dict[SubspaceKey, Subspace]:
    """Return subspaces of all runs, as many in one pass over the runs as the plan allows.

    Parameters
    ----------
    runs : sequence of ReducedRun
        In a fixed order, at every smoothing that is wanted.
    wanted : sequence of SubspaceKey
    n_rows : int
        The number of leading rows that are used of each run, or all if it has fewer.
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
        gathered |= _gather_in_one_pass(runs, here, n_rows, n_dims, plan.n_threads)
    return gathered


def _gather_in_one_pass(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_rows: int,
    n_dims: int,
    n_threads: int,
) -> dict[SubspaceKey, Subspace]:
    n_voxels = runs[0].n_voxels
    streams = {which: SubspaceStream(n_voxels, n_dims, n_threads) for which in wanted}
    for _, which, rows in weighted_runs(runs, wanted, n_rows):
        streams[which].add(rows)
    return {which: stream.finish() for which, stream in streams.items()}


def weighted_runs(
    runs: Sequence[ReducedRun],
    wanted: Sequence[SubspaceKey],
    n_rows: int,
    voxels: slice | NDArray[np.intp] = _EVERYWHERE,
    change: Callable[[ReducedRun, NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Iterator[WeightedRows]:
    """Yield each run's leading rows, scaled for every subspace; each file is read once.

    Parameters
    ----------
    runs : sequence of ReducedRun
        In a fixed order, at every smoothing that is wanted.
    wanted : sequence of SubspaceKey
    n_rows : int
        The number of leading rows that are used of each run, or all if it has fewer.
    voxels : slice or ndarray of int
        The voxels that are used; by default all.
    change : callable, optional
        Called with each run and its leading rows, returns others that are used in their place.

    Yields
    ------
    run : ReducedRun
    which : SubspaceKey
    rows : ndarray of float32, shape (n_rows, n_voxels)
    """
    for fwhm in {which.smoothing_fwhm: None for which in wanted}:
        smoothed = [run for run in runs if run.smoothing_fwhm == fwhm]
        weights = {
            which: participant_weights(
                [run.participant for run in smoothed],
                [run.squared_singular_values[:n_rows] for run in smoothed],
                which.row_norm,
                _datasets(smoothed) if which.dataset_weights == "equal" else (),
            )
            for which in wanted
            if which.smoothing_fwhm == fwhm
        }
        for index, run in enumerate(smoothed):
            # A copy, so that the memory-mapped file is released before the next run.
            rows = np.array(np.load(run.path, mmap_mode="r")[:n_rows, voxels])
            rows = change(run, rows) if change else rows
            for which, of_runs in weights.items():
                yield run, which, weighted_rows(rows, of_runs[index], which.row_norm)


def _datasets(runs: Sequence[ReducedRun]) -> list[str]:
    return [run.key.dataset for run in runs]


# ---------------------------------------------------------------- the methods
def subspace_keys(science: Science) -> tuple[SubspaceKey, dict[Method, SubspaceKey]]:
    """Return the subspace that the ICA is fitted to, and each method's own.

    Dictionary learning is fitted to its own; CanICA's own is only needed to sort its maps.
    """
    smoothing_of = science.denoising.smoothing_of
    of_ica, of_methods = row_norms(science.decomposition)
    weights = science.decomposition.dataset_weights
    return SubspaceKey(smoothing_of("canica"), of_ica, weights), {
        method: SubspaceKey(smoothing_of(method), of_methods, weights)
        for method in science.decomposition.methods
    }


def row_norms(settings: DecompositionOptions) -> tuple[RowNorm, RowNorm]:
    """Return the norm of the rows that the ICA is fitted to, and of those of the methods' own."""
    return ("unit", "singular") if settings.pca_weighting == "unit" else ("sqrt", "sqrt")
