"""The group fit: every method at every number of components, on the reduced runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.bids.names import component_names
from nidecomp.errors import NothingToDoError
from nidecomp.group.canica import fit_canica
from nidecomp.group.dictlearning import fit_dictlearning
from nidecomp.group.fastica import MAX_ITERATIONS
from nidecomp.group.order import arrange, explained_variance
from nidecomp.group.subspace import leading_subspace, stack_runs
from nidecomp.records import Components, ReducedRun
from nidecomp.settings import Decomposition, Method

_LOG = logging.getLogger(__name__)


def fit_group(reduced: Sequence[ReducedRun], settings: Decomposition) -> tuple[Components, ...]:
    """Fit every method at every number of components that was asked for.

    Parameters
    ----------
    reduced : sequence of ReducedRun
        Their order does not matter: they are sorted by name.
    settings : Decomposition
        Methods, numbers of components, restarts, penalty, seed.

    Returns
    -------
    tuple of Components
        In the order of ``n_components``, then of ``methods``.

    Raises
    ------
    NothingToDoError
        More components were asked for than there are voxels.
    """
    runs = sorted(reduced, key=lambda run: run.key.label)
    n_voxels = runs[0].n_voxels
    if max(settings.n_components) >= n_voxels:
        raise NothingToDoError(
            f"--n-components {max(settings.n_components)} is more than the group mask's "
            f"{n_voxels} voxels can hold."
        )
    # One thread: sums that are split between threads depend on how many there are.
    with threadpool_limits(limits=1):
        rows = [np.load(run.path, mmap_mode="r") for run in runs]
        weights = participant_weights(runs)
        return tuple(
            components
            for n_components in settings.n_components
            for components in _fit_one_order(rows, weights, n_components, settings)
        )


@dataclass(frozen=True)
class Weights:
    """What each run's rows are multiplied by, so that all participants weigh the same.

    `canonical` is for rows of unit norm. `scaled` is for rows scaled by their singular values,
    whose variance grows with the number of volumes: it brings every run to the mean variance first.
    """

    canonical: tuple[float, ...]
    scaled: tuple[float, ...]


def participant_weights(runs: Sequence[ReducedRun]) -> Weights:
    """Weigh each run so that all runs of one participant together weigh as one participant.

    Parameters
    ----------
    runs : sequence of ReducedRun

    Returns
    -------
    Weights
        1/√(number of the participant's runs), and that times √(mean variance / its variance).
    """
    counts = Counter(run.key.participant for run in runs)
    share = np.array([counts[run.key.participant] ** -0.5 for run in runs])
    variance = np.array([run.total_variance for run in runs])
    levelled = share * np.sqrt(variance.mean() / variance)
    return Weights(tuple(share.tolist()), tuple(levelled.tolist()))


def _fit_one_order(
    rows: Sequence[NDArray[np.float32]],
    weights: Weights,
    n_components: int,
    settings: Decomposition,
) -> list[Components]:
    _LOG.info("Fitting %d components; runs: %d", n_components, len(rows))
    canonical = stack_runs(rows, weights.canonical, n_components, canonical=True)
    subspace = leading_subspace(canonical, n_components)
    del canonical
    maps, restarts, chosen = fit_canica(subspace, settings.n_init, settings.random_seed)
    n_converged = sum(restart.converged for restart in restarts)
    if not n_converged:
        _LOG.warning(
            "None of the %d ICA restarts converged within %d iterations at %d components: "
            "their maps are not to be trusted; try fewer components",
            len(restarts),
            MAX_ITERATIONS,
            n_components,
        )
    stack = stack_runs(rows, weights.scaled, n_components, canonical=False)
    fitted: list[Components] = []
    ica: dict[str, object] = {
        "Restarts": [
            {
                "Seed": restart.seed,
                "Iterations": restart.n_iter,
                "Converged": restart.converged,
                "MaximumL1Norm": restart.max_l1_norm,
            }
            for restart in restarts
        ],
        "ChosenRestart": chosen,
        "Converged": restarts[chosen].converged,
        "MaximumIterations": MAX_ITERATIONS,
        "ConvergedRestarts": n_converged,
    }
    if "canica" in settings.methods:
        fitted.append(_finish("canica", maps, stack, ica))
    if "dictlearning" in settings.methods:
        fitted.append(_fit_dictlearning(stack, maps, settings, ica))
    return sorted(fitted, key=lambda components: settings.methods.index(components.method))


def _fit_dictlearning(
    stack: NDArray[np.float32],
    start: NDArray[np.float64],
    settings: Decomposition,
    ica: dict[str, object],
) -> Components:
    result = fit_dictlearning(
        stack,
        start,
        alpha=settings.alpha,
        batch_size=settings.batch_size,
        seed=settings.random_seed,
    )
    if result.n_empty:
        _LOG.warning(
            "%d of %d dictionary maps are empty: --alpha %g is too strong for these data",
            result.n_empty,
            len(result.maps),
            settings.alpha,
        )
    if not (result.converged and result.lasso_converged):
        _LOG.warning(
            "Dictionary learning did not converge at %d components (see Fit in the decomposition's "
            "JSON)",
            len(result.maps),
        )
    fit: dict[str, object] = {
        "Alpha": settings.alpha,
        "BatchSize": settings.batch_size,
        "Batches": result.n_steps,
        "Converged": result.converged,
        "LassoConverged": result.lasso_converged,
        "EmptyMaps": result.n_empty,
        "StartedFrom": {"Method": "canica", **ica},
    }
    return _finish("dictlearning", result.maps, stack, fit)


def _finish(
    method: Method,
    maps: NDArray[np.float64],
    stack: NDArray[np.float32],
    fit: dict[str, object],
) -> Components:
    """Order, sign, scale and name what a method found."""
    alone, together = explained_variance(maps, stack)
    arranged, order = arrange(maps, alone)
    return Components(
        method=method,
        maps=arranged,
        names=component_names(method, len(maps)),
        explained_variance=alone[order],
        total_explained_variance=together,
        fit=fit,
    )
