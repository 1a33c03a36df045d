"""Metadata of a fit, for the decomposition's JSON file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nidecomp.config.science import DecompositionOptions
from nidecomp.decomposition.canica import CanicaFit
from nidecomp.decomposition.dictlearning import (
    DictionaryFit,
)
from nidecomp.decomposition.fastica import MAX_ITERATIONS
from nidecomp.decomposition.subspace import Subspace


def described(subspace: Subspace) -> dict[str, object]:
    """Return how much of all rows a subspace represents, as metadata."""
    return {
        "Rows": subspace.n_rows,
        "Dimensions": len(subspace.rows),
        "VarianceShare": float(subspace.squared.sum() / subspace.total_variance)
        if subspace.total_variance
        else 0.0,
        # Relative to the smallest squared singular value that is kept.
        "LargestRelativeError": float(subspace.error_bound / subspace.squared[-1])
        if subspace.squared[-1]
        else 0.0,
    }


def ica_as_metadata(ica: CanicaFit) -> dict[str, object]:
    """Return the metadata of the ICA's restarts."""
    return {
        "Restarts": [
            {
                "Seed": restart.seed,
                "Iterations": restart.n_iter,
                "Converged": restart.converged,
                "L1Norm": restart.l1_norm,
            }
            for restart in ica.restarts
        ],
        "ChosenRestart": ica.chosen,
        "Converged": ica.restarts[ica.chosen].converged,
        "MaximumIterations": MAX_ITERATIONS,
        "ConvergedRestarts": ica.n_converged,
        **_finished(ica),
    }


def _finished(ica: CanicaFit) -> dict[str, object]:
    """Return how many restarts did not settle by FastICA's iteration; nothing where all did."""
    number = sum(restart.n_iter >= MAX_ITERATIONS for restart in ica.restarts)
    if not number:
        return {}
    return {
        "RestartsBeyondMaximum": number,
        "RestartsBeyondMaximumNote": "After MaximumIterations, FastICA's iteration was replaced by "
        "a quasi-Newton ascent of the same contrast (Ablin et al. 2018, Faster ICA under "
        "orthogonal constraint), whose steps are counted on",
    }


def dictionary_as_metadata(
    result: DictionaryFit, settings: DecompositionOptions, start: Mapping[str, object]
) -> dict[str, object]:
    """Return the metadata of dictionary learning and of the ICA that it started from."""
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
