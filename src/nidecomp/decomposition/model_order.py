"""Estimating the model order of a group: see `model_order_choice.RULE`.

The canonical correlations are CanICA's own (Varoquaux et al. 2010, NeuroImage 51:288, section 2.2).
They alone say too much: in a large group whatever a few participants have in common stands out from
noise, and so do the ways in which one network varies from participant to participant. How well
halves agree on a dimension rises with the number of participants for the same reason; how much of
it a new participant holds does not. What is left are spaces that participants share without having
any map in common, such as that of all very smooth images: there each half finds its own maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced, products
from nidecomp.decomposition.canonical_null import null_quantile
from nidecomp.decomposition.model_order_choice import ModelOrderChoice, ModelOrderEvidence, reason
from nidecomp.decomposition.model_order_data import (
    Gathered,
    ModelOrderSettings,
    Part,
    ReadRows,
    gather,
)
from nidecomp.decomposition.model_order_maps import with_maps

# Squared correlation, above chance, of a dimension with participants that were not used to find it.
# A low bound costs little, because maps of superfluous dimensions are not reproducible. With 0.04,
# model orders of 14 to 26 were one too low in a few more cases; with 0.03, one map of very smooth
# noise passed for a network. Chosen, as the constants of `model_order_maps` are, on simulations
# such as python benchmarks/model_order.py makes (docs/decisions/0011-evidence.md).
LEAST_OTHER_HALF = 0.035


def estimate_model_order(
    read: ReadRows,
    participants: Sequence[str],
    n_voxels: int,
    settings: ModelOrderSettings | None = None,
    n_threads: int = 1,
) -> ModelOrderChoice:
    """Return the model order that the data support, with the evidence.

    Parameters
    ----------
    read : callable
        From a run's index to its reduced rows, float32, (n_rows, n_voxels): orthogonal, the largest
        first. Each run is asked for twice, in order. Runs should have some rows more than there are
        components to be found: a network behind the last row is in none.
    participants : sequence of str
        Whose each run is. The order of runs matters to the last digits: callers sort them.
    n_voxels : int
    settings : ModelOrderSettings, optional
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    ModelOrderChoice

    Notes
    -----
    Memory is ``16 (2 n_splits + 1) · max_components · n`` bytes for the n voxels that are looked
    at: 210 MB at 60 components. What varies over the mask counts: the constant map, which the ICA
    removes anyway, is taken out of every row.
    """
    settings = settings or ModelOrderSettings()
    voxels = evenly_spaced(n_voxels, settings.most_voxels)
    gathered = gather(read, participants, voxels, settings, n_threads)
    least = _least_other_half_r(gathered)
    dimensions = tuple(
        replace(one, supported=_is_supported(one, least))
        for one in _with_halves(_canonical_evidence(gathered, settings.max_components), gathered)
    )
    n_dimensions = _count_leading(dimensions)
    evidence = with_maps(dimensions, n_dimensions, gathered, settings, n_threads)
    chosen = (evidence[n_dimensions - 1].n_reproducible or 0) if n_dimensions else 0
    choice = ModelOrderChoice(
        n_components=chosen,
        reason=reason(chosen, n_dimensions, evidence, gathered.group.n_members, least),
        n_dimensions=n_dimensions,
        evidence=evidence,
        n_participants=gathered.group.n_members,
        n_splits=len(gathered.halves),
        n_voxels=len(voxels),
        effective_voxels=gathered.effective_voxels,
        least_other_half_r=least,
    )
    return replace(choice, reason=" ".join(filter(None, (choice.reason, choice.caution))))


# ---------------------------------------------------------------- evidence about dimensions
def _canonical_evidence(gathered: Gathered, max_components: int) -> tuple[ModelOrderEvidence, ...]:
    """Return the canonical correlation of each dimension and its null distribution's quantile."""
    n_participants, n_rows = gathered.group.n_members, gathered.n_rows
    squared = gathered.group.subspace.squared / n_participants
    n_judged = min(max_components, len(squared), round(n_rows))
    return tuple(
        ModelOrderEvidence(
            n_components=before + 1,
            canonical_r=math.sqrt(min(float(squared[before]), 1.0)),
            null_quantile=null_quantile(
                n_participants,
                max(n_rows - before, 0.0),
                # With one participant the null distribution is unknown, and not needed.
                max(np.nan_to_num(gathered.effective_voxels) - before, 1.0),
            ),
        )
        for before in range(n_judged)
    )


def _with_halves(
    evidence: tuple[ModelOrderEvidence, ...], gathered: Gathered
) -> tuple[ModelOrderEvidence, ...]:
    """Return the evidence, completed by the halves of each split."""
    if not gathered.halves:
        return evidence
    n_leading = min(len(evidence), gathered.in_other_half.shape[1])
    held = np.sqrt(gathered.in_other_half[:, :n_leading])
    mean, spread = np.sqrt(np.mean(held**2, axis=0)), held.std(axis=0)
    overlap = np.mean([_overlaps(*split, n_leading) for split in gathered.halves], axis=0)
    judged = tuple(
        replace(
            one,
            other_half_r=float(mean[index]),
            other_half_sd=float(spread[index]),
            overlap=float(overlap[index]),
        )
        for index, one in enumerate(evidence[:n_leading])
    )
    return judged + evidence[n_leading:]


def _overlaps(first: Part, second: Part, n_leading: int) -> NDArray[np.float64]:
    """Return the mean squared cosine between the leading k dimensions of both, for each k."""
    bases = [part.subspace.orthonormal(n_leading) for part in (first, second)]
    within = np.cumsum(np.cumsum(products(*bases) ** 2, axis=0), axis=1)
    return np.asarray(np.diag(within) / np.arange(1, n_leading + 1))


def _least_other_half_r(gathered: Gathered) -> float:
    """Return the smallest correlation in the other half that supports a dimension."""
    chance = min(gathered.n_rows / gathered.effective_voxels, 1.0)
    return math.sqrt(chance + LEAST_OTHER_HALF * (1 - chance))


def _is_supported(one: ModelOrderEvidence, least_other_half_r: float) -> bool:
    return one.canonical_r > one.null_quantile and one.other_half_r >= least_other_half_r


def _count_leading(evidence: Sequence[ModelOrderEvidence]) -> int:
    """Return the number of dimensions before the first unsupported one."""
    return sum(1 for _ in takewhile(lambda one: one.supported, evidence))
