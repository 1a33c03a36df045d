"""The group fit: every method at every number of components, on the reduced runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.bids.names import component_names
from nidecomp.errors import NothingToDoError
from nidecomp.group.canica import CanicaFit, fit_canica
from nidecomp.group.dictlearning import (
    DictionaryFit,
    alpha_for_support,
    first_dictionary,
    fit_dictlearning,
)
from nidecomp.group.fastica import MAX_ITERATIONS
from nidecomp.group.order import arrange, explained_variance
from nidecomp.group.stability import RestartStability, restart_stability
from nidecomp.group.subspace import Subspace, SubspaceStream, weighted_rows
from nidecomp.records import Components, ReducedRun
from nidecomp.settings import Decomposition, Method, Science, subspace_dims

_LOG = logging.getLogger(__name__)

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
class Wanted:
    """One of the group's subspaces: of which reduced runs, and how their rows are scaled."""

    smoothing_fwhm: float
    canonical: bool


def fit_group(
    reduced: Sequence[ReducedRun], science: Science, plan: GroupPlan | None = None
) -> tuple[Components, ...]:
    """Fit every method at every number of components that was asked for.

    Parameters
    ----------
    reduced : sequence of ReducedRun
        Each run at each of ``science.smoothings_fwhm``. Their order does not matter: they are
        sorted by name.
    science : Science
        Methods, numbers of components, restarts, penalty, smoothings, seed.
    plan : GroupPlan, optional
        Threads and memory; by default one thread.

    Returns
    -------
    tuple of Components
        In the order of ``orders``, then of ``methods``; none where the number of components is yet
        to be chosen (see `count_components`).

    Raises
    ------
    NothingToDoError
        More components were asked for than there are voxels.
    """
    settings = science.decomposition
    runs = sorted(reduced, key=lambda run: run.key.label)
    n_voxels = runs[0].n_voxels
    if settings.largest_order >= n_voxels:
        raise NothingToDoError(
            f"--n-components {settings.largest_order} is more than the group mask's "
            f"{n_voxels} voxels can hold."
        )
    # One thread: sums that are split between threads depend on how many there are.
    with threadpool_limits(limits=1):
        return tuple(
            components
            for n_components in settings.orders
            for components in _fit_one_order(runs, n_components, science, plan or GroupPlan())
        )


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
def _gather(
    runs: Sequence[ReducedRun],
    wanted: Sequence[Wanted],
    n_components: int,
    n_dims: int,
    plan: GroupPlan,
) -> dict[Wanted, Subspace]:
    """Gather subspaces over all runs, as many of them in one pass as the plan says."""
    gathered: dict[Wanted, Subspace] = {}
    for start in range(0, len(wanted), plan.at_once):
        here = wanted[start : start + plan.at_once]
        gathered |= _gather_in_one_pass(runs, here, n_components, n_dims, plan.n_threads)
    return gathered


def _gather_in_one_pass(
    runs: Sequence[ReducedRun],
    wanted: Sequence[Wanted],
    n_components: int,
    n_dims: int,
    n_threads: int,
) -> dict[Wanted, Subspace]:
    n_voxels = runs[0].n_voxels
    streams = {which: SubspaceStream(n_voxels, n_dims, n_threads) for which in wanted}
    for _, which, rows in weighted_runs(runs, wanted, n_components):
        streams[which].add(rows)
    return {which: stream.finish() for which, stream in streams.items()}


def weighted_runs(
    runs: Sequence[ReducedRun],
    wanted: Sequence[Wanted],
    n_components: int,
    voxels: slice | NDArray[np.intp] = _EVERYWHERE,
) -> Iterator[tuple[ReducedRun, Wanted, NDArray[np.float32]]]:
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
            [run.key.participant for run in smoothed], [run.total_variance for run in smoothed]
        )
        for index, run in enumerate(smoothed):
            # Copied, so that the file's pages are given back before the next run.
            rows = np.array(np.load(run.path, mmap_mode="r")[:n_components, voxels])
            for which in wanted:
                if which.smoothing_fwhm == fwhm:
                    per_run = weights.canonical if which.canonical else weights.scaled
                    yield run, which, weighted_rows(rows, per_run[index], canonical=which.canonical)


def _described(subspace: Subspace) -> dict[str, object]:
    """Say how well a subspace stands for all rows."""
    return {
        "Rows": subspace.n_rows,
        "Dimensions": len(subspace.rows),
        "VarianceShare": float(subspace.squared.sum() / subspace.total_variance)
        if subspace.total_variance
        else 0.0,
        # As a share of the smallest squared singular value that is kept.
        "LargestRelativeError": float(subspace.error_bound / subspace.squared[-1])
        if subspace.squared[-1]
        else 0.0,
    }


# ---------------------------------------------------------------- the methods
def wanted_subspaces(science: Science) -> tuple[Wanted, dict[Method, Wanted]]:
    """Name the canonical subspace, and the scaled one that each method is measured in."""
    smoothing_of = science.denoising.smoothing_of
    return Wanted(smoothing_of("canica"), canonical=True), {
        method: Wanted(smoothing_of(method), canonical=False)
        for method in science.decomposition.methods
    }


def _fit_one_order(
    runs: Sequence[ReducedRun], n_components: int, science: Science, plan: GroupPlan
) -> list[Components]:
    settings = science.decomposition
    canonical, scaled = wanted_subspaces(science)
    n_dims = subspace_dims(settings, n_components)
    _LOG.info("Fitting %d components; runs: %d", n_components, len({run.key for run in runs}))
    wanted = list(dict.fromkeys([canonical, *scaled.values()]))
    subspaces = _gather(runs, wanted, n_components, n_dims, plan)
    shared = subspaces.pop(canonical)
    own = {method: subspaces[which] for method, which in scaled.items()}
    return fit_subspaces(shared, own, n_components, settings, plan.n_threads)


def fit_subspaces(
    shared: Subspace,
    own: Mapping[Method, Subspace],
    n_components: int,
    settings: Decomposition,
    n_threads: int,
    *,
    warn: bool = True,
) -> list[Components]:
    """Fit methods to the group's subspaces.

    Parameters
    ----------
    shared : Subspace
        Of rows with unit norm: CanICA's.
    own : mapping
        Method to the subspace of rows scaled by their singular values, in which it is measured and
        which dictionary learning is fitted to; the methods that are wanted.
    n_components : int
    settings : Decomposition
    n_threads : int
        The result does not depend on it.
    warn : bool
        Whether what did not converge is logged, as it is recorded.

    Returns
    -------
    list of Components
        In the order of `own`.
    """
    ica = fit_canica(
        shared.orthonormal(n_components), settings.n_init, settings.random_seed, n_threads
    )
    if warn:
        _warn_of_ica(ica, n_components)
    restarts = _stability_of_restarts(ica)
    how = {**_ica_as_metadata(ica), "SharedSubspace": _described(shared)}
    fitted: list[Components] = []
    for method, subspace in own.items():
        if method == "canica":
            fitted.append(_finish(method, ica.maps, subspace, how, restarts))
        else:
            result = _fit_dictionary(subspace, ica.maps, settings, n_threads)
            if warn:
                _warn_of_dictionary(result, settings)
            metadata = _dictionary_as_metadata(result, settings, how)
            fitted.append(_finish(method, result.maps, subspace, metadata))
    return fitted


def _stability_of_restarts(ica: CanicaFit) -> RestartStability | None:
    ended = [index for index, restart in enumerate(ica.restarts) if restart.unmixing is not None]
    matrices = [restart.unmixing for restart in ica.restarts if restart.unmixing is not None]
    return restart_stability(matrices, ended.index(ica.chosen))


def _warn_of_ica(ica: CanicaFit, n_components: int) -> None:
    if not ica.n_converged:
        _LOG.warning(
            "None of the %d ICA restarts converged within %d iterations at %d components: "
            "their maps are not to be trusted; try fewer components",
            len(ica.restarts),
            MAX_ITERATIONS,
            n_components,
        )


def _ica_as_metadata(ica: CanicaFit) -> dict[str, object]:
    return {
        "Restarts": [
            {
                "Seed": restart.seed,
                "Iterations": restart.n_iter,
                "Converged": restart.converged,
                "MaximumL1Norm": restart.max_l1_norm,
            }
            for restart in ica.restarts
        ],
        "ChosenRestart": ica.chosen,
        "Converged": ica.restarts[ica.chosen].converged,
        "MaximumIterations": MAX_ITERATIONS,
        "ConvergedRestarts": ica.n_converged,
    }


def _fit_dictionary(
    subspace: Subspace, start: NDArray[np.float64], settings: Decomposition, n_threads: int
) -> DictionaryFit:
    """Learn at the penalty given, or at the one that gives the maps the support asked for."""
    dictionary = first_dictionary(start, subspace.rows)
    alpha = settings.alpha
    if alpha is None:
        alpha = alpha_for_support(
            subspace.rows,
            dictionary,
            support=settings.map_support,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            seed=settings.random_seed,
            n_threads=n_threads,
        )
    return fit_dictlearning(
        subspace.rows,
        dictionary,
        alpha=alpha,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        seed=settings.random_seed,
        n_threads=n_threads,
    )


def _warn_of_dictionary(result: DictionaryFit, settings: Decomposition) -> None:
    if result.n_empty:
        remedy = (
            f"--alpha {settings.alpha:g} is too strong for these data"
            if settings.alpha is not None
            else "fewer components, or a larger --map-support"
        )
        _LOG.warning(
            "%d of %d dictionary maps are empty: %s", result.n_empty, len(result.maps), remedy
        )
    if not (result.converged and result.lasso_converged):
        _LOG.warning(
            "Dictionary learning did not converge at %d components (see Fit in the decomposition's "
            "JSON)",
            len(result.maps),
        )


def _dictionary_as_metadata(
    result: DictionaryFit, settings: Decomposition, start: Mapping[str, object]
) -> dict[str, object]:
    target = {} if settings.alpha is not None else {"MapSupportWanted": settings.map_support}
    return {
        "Alpha": result.alpha,
        **target,
        "MapSupport": float(np.mean(result.maps != 0)),
        "BatchSize": settings.batch_size,
        "MaximumEpochs": settings.n_epochs,
        "Batches": result.n_steps,
        "Converged": result.converged,
        "LassoConverged": result.lasso_converged,
        "ResampledAtoms": result.n_reseeded,
        "EmptyMaps": result.n_empty,
        "StartedFrom": {"Method": "canica", **start},
    }


def _finish(
    method: Method,
    maps: NDArray[np.floating],
    subspace: Subspace,
    fit: Mapping[str, object],
    restarts: RestartStability | None = None,
) -> Components:
    """Order, sign, scale and name what a method found."""
    alone, together = explained_variance(maps, subspace.rows, subspace.total_variance)
    arranged, order = arrange(maps, alone)
    return Components(
        method=method,
        maps=arranged,
        names=component_names(method, len(maps)),
        explained_variance=alone[order],
        total_explained_variance=together,
        total_variance=subspace.total_variance,
        fit={**fit, "Subspace": _described(subspace)},
        restart_index=None if restarts is None else restarts.index[order],
    )
