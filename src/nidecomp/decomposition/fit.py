"""The group fit: every method at every number of components, on the reduced runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Method, Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.arrange import arrange, explained_variance
from nidecomp.decomposition.canica import CanicaFit, fit_canica
from nidecomp.decomposition.components import Components, component_names
from nidecomp.decomposition.dictlearning import (
    DictionaryFit,
    first_dictionary,
    fit_dictlearning,
)
from nidecomp.decomposition.fastica import MAX_ITERATIONS
from nidecomp.decomposition.fit_report import described, dictionary_as_metadata, ica_as_metadata
from nidecomp.decomposition.gather import GroupPlan, gather, subspace_keys
from nidecomp.decomposition.sparsity_penalty import alpha_for_support
from nidecomp.decomposition.stability import restart_stability
from nidecomp.decomposition.subspace import Subspace

_LOG = logging.getLogger(__name__)


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
        By model order, then by method; none where the number of components is yet
        to be chosen (see `choose_model_order`).

    Raises
    ------
    NothingToDoError
        More components were asked for than there are voxels.
    """
    settings = science.decomposition
    runs = sorted(reduced, key=lambda run: run.key.label)
    n_voxels = runs[0].n_voxels
    if settings.largest_model_order >= n_voxels:
        raise NothingToDoError(
            f"--n-components {settings.largest_model_order} is more than the group mask's "
            f"{n_voxels} voxels can hold."
        )
    # One thread: sums that are split between threads depend on how many there are.
    with threadpool_limits(limits=1):
        return tuple(
            components
            for n_components in settings.model_orders
            for components in _fit_one_model_order(runs, n_components, science, plan or GroupPlan())
        )


def _fit_one_model_order(
    runs: Sequence[ReducedRun], n_components: int, science: Science, plan: GroupPlan
) -> list[Components]:
    settings = science.decomposition
    canonical, scaled = subspace_keys(science)
    n_dims = settings.kept_dims(n_components)
    _LOG.info("Fitting %d components; runs: %d", n_components, len({run.key for run in runs}))
    wanted = list(dict.fromkeys([canonical, *scaled.values()]))
    subspaces = gather(runs, wanted, n_components, n_dims, plan)
    shared = subspaces.pop(canonical)
    own = {method: subspaces[which] for method, which in scaled.items()}
    return fit_subspaces(shared, own, n_components, settings, plan.n_threads)


def fit_subspaces(
    shared: Subspace,
    own: Mapping[Method, Subspace],
    n_components: int,
    settings: DecompositionOptions,
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
    settings : DecompositionOptions
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
    how = {**ica_as_metadata(ica), "SharedSubspace": described(shared)}
    fitted: list[Components] = []
    for method, subspace in own.items():
        if method == "canica":
            fitted.append(_finish(method, ica.maps, subspace, how, restarts))
        else:
            result = _fit_dictionary(subspace, ica.maps, settings, n_threads)
            if warn:
                _warn_of_dictionary(result, settings)
            metadata = dictionary_as_metadata(result, settings, how)
            fitted.append(_finish(method, result.maps, subspace, metadata))
    return fitted


def _stability_of_restarts(ica: CanicaFit) -> NDArray[np.float64] | None:
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


def _fit_dictionary(
    subspace: Subspace, start: NDArray[np.float64], settings: DecompositionOptions, n_threads: int
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


def _warn_of_dictionary(result: DictionaryFit, settings: DecompositionOptions) -> None:
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


def _finish(
    method: Method,
    maps: NDArray[np.floating],
    subspace: Subspace,
    fit: Mapping[str, object],
    restarts: NDArray[np.float64] | None = None,
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
        fit={**fit, "Subspace": described(subspace)},
        restart_index=None if restarts is None else restarts[order],
    )
