"""The group fit: every method at every model order (number of components)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Method, Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun
from nidecomp.core.text import count, verb
from nidecomp.decomposition.arrange import arrange
from nidecomp.decomposition.canica import CanicaFit, fit_canica
from nidecomp.decomposition.components import Components, component_names
from nidecomp.decomposition.dictlearning import (
    DictionaryFit,
    first_dictionary,
    fit_dictlearning,
)
from nidecomp.decomposition.explained import explained_variance
from nidecomp.decomposition.fit_report import described, dictionary_as_metadata, ica_as_metadata
from nidecomp.decomposition.gather import GroupPlan, gather, subspace_keys
from nidecomp.decomposition.participants import participant_contributions
from nidecomp.decomposition.sparsity_penalty import alpha_for_support
from nidecomp.decomposition.stability import restart_stability
from nidecomp.decomposition.subspace import Subspace

_LOG = logging.getLogger(__name__)


def fit_group(
    reduced: Sequence[ReducedRun], science: Science, plan: GroupPlan | None = None
) -> tuple[Components, ...]:
    """Fit every method at every number of components to the reduced runs.

    Parameters
    ----------
    reduced : sequence of ReducedRun
        Each run at each of ``science.smoothings_fwhm``, in any order: they are sorted by name.
    science : Science
        Methods, numbers of components, restarts, penalty, smoothings, seed.
    plan : GroupPlan, optional
        Threads and memory; by default one thread.

    Returns
    -------
    tuple of Components
        Sorted by number of components, then by method. Empty where the number of components has
        not been chosen yet (see `choose_model_order`).

    Raises
    ------
    NothingToDoError
        The group mask has no more voxels than components were asked for.
    """
    settings = science.decomposition
    runs = sorted(reduced, key=lambda run: run.key.label)
    n_voxels = runs[0].n_voxels
    if settings.largest_model_order >= n_voxels:
        raise NothingToDoError(
            f"--n-components {settings.largest_model_order} is too large: the group mask has "
            f"{count(n_voxels, 'voxel')}, and there must be more voxels than components."
        )
    # BLAS gets one thread: sums that it splits between threads depend on how many there are.
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
    for_ica, own_keys = subspace_keys(science)
    n_dims = settings.kept_dims(n_components)
    n_runs = len({run.key for run in runs})
    _LOG.info("Fitting %s to %s", count(n_components, "component"), count(n_runs, "run"))
    n_rows = settings.rows_of_run(n_components)
    wanted = list(dict.fromkeys([for_ica, *own_keys.values()]))
    subspaces = gather(runs, wanted, n_rows, n_dims, plan)
    own = {method: subspaces[which] for method, which in own_keys.items()}
    fitted = fit_subspaces(subspaces[for_ica], own, n_components, settings, plan.n_threads)
    return [
        _with_contributions(
            components,
            [run for run in runs if run.smoothing_fwhm == own_keys[method].smoothing_fwhm],
            n_rows,
            plan.n_threads,
        )
        for method, components in zip(own_keys, fitted, strict=True)
    ]


def _with_contributions(
    components: Components, runs: Sequence[ReducedRun], n_rows: int, n_threads: int
) -> Components:
    """Return components with what they explain in the runs, sorted by it."""
    found = participant_contributions(components, runs, n_rows, n_threads)
    return replace(
        components,
        explained_variance=found.alone,
        total_explained_variance=found.together,
        participants=found.participants,
    ).in_order(np.argsort(-found.alone, kind="stable"))


def fit_subspaces(
    shared: Subspace,
    own: Mapping[Method, Subspace],
    n_components: int,
    settings: DecompositionOptions,
    n_threads: int,
    *,
    warn: bool = True,
) -> list[Components]:
    """Fit each method to the group's subspaces.

    Parameters
    ----------
    shared : Subspace
        The subspace that the ICA is fitted to.
    own : mapping
        Each method to be fitted, to its own subspace (see `gather.subspace_keys`). Dictionary
        learning is fitted to it.
    n_components : int
    settings : DecompositionOptions
    n_threads : int
        The number of threads. The result does not depend on it.
    warn : bool
        Whether to log a warning where a fit did not converge or maps are empty. Both are recorded
        in any case.

    Returns
    -------
    list of Components
        One for each method, in the order of `own`. What they explain in runs is not known yet.
    """
    ica = fit_canica(
        shared.orthonormal(n_components), settings.n_init, settings.random_seed, n_threads
    )
    if warn:
        _warn_of_ica(ica, n_components)
    restarts = _stability_of_restarts(ica)
    ica_metadata = {**ica_as_metadata(ica), "SharedSubspace": described(shared)}
    fitted: list[Components] = []
    for method, subspace in own.items():
        if method == "canica":
            fitted.append(_finish(method, ica.maps, subspace, ica_metadata, restarts))
        else:
            result = _fit_dictionary(subspace, ica.maps, settings, n_threads)
            if warn:
                _warn_of_dictionary(result, settings)
            metadata = dictionary_as_metadata(result, settings, ica_metadata)
            fitted.append(_finish(method, result.maps, subspace, metadata))
    return fitted


def _stability_of_restarts(ica: CanicaFit) -> NDArray[np.float64] | None:
    finished = [index for index, restart in enumerate(ica.restarts) if restart.unmixing is not None]
    matrices = [restart.unmixing for restart in ica.restarts if restart.unmixing is not None]
    return restart_stability(matrices, finished.index(ica.chosen))


def _warn_of_ica(ica: CanicaFit, n_components: int) -> None:
    if not ica.n_converged:
        _LOG.warning(
            "None of %s converged with %s. Do not interpret these maps; try fewer components",
            count(len(ica.restarts), "ICA restart"),
            count(n_components, "component"),
        )


def _fit_dictionary(
    subspace: Subspace, start: NDArray[np.float64], settings: DecompositionOptions, n_threads: int
) -> DictionaryFit:
    """Fit dictionary learning with the penalty given, or with the one for the wanted support."""
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
            else "use fewer components or a larger --map-support"
        )
        _LOG.warning(
            "%d of %s %s empty: %s",
            result.n_empty,
            count(len(result.maps), "dictionary-learning map"),
            verb(result.n_empty, "is", "are"),
            remedy,
        )
    if not (result.converged and result.lasso_converged):
        _LOG.warning(
            "Dictionary learning did not converge with %s within %s: use more "
            "(--n-epochs), or fewer components",
            count(len(result.maps), "component"),
            count(settings.n_epochs, "epoch"),
        )


def _finish(
    method: Method,
    maps: NDArray[np.floating],
    subspace: Subspace,
    fit: Mapping[str, object],
    restarts: NDArray[np.float64] | None = None,
) -> Components:
    """Return a method's maps as a record: signed, scaled and named.

    They are sorted by what they explain of the rows that were fitted.
    """
    alone = explained_variance(maps, subspace.rows, subspace.total_variance).alone
    arranged, order = arrange(maps, alone)
    return Components(
        method=method,
        maps=arranged,
        names=component_names(method, len(maps)),
        explained_variance=np.full(len(maps), np.nan),
        total_explained_variance=np.nan,
        total_variance=subspace.total_variance,
        fit={**fit, "Subspace": described(subspace)},
        restart_index=None if restarts is None else restarts[order],
    )
