"""Reproducibility of maps between halves of the participants, for several model orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.parallel import map_ordered
from nidecomp.decomposition.canica import fit_canica
from nidecomp.decomposition.matching import correlations, match
from nidecomp.decomposition.model_order_choice import ModelOrderEvidence
from nidecomp.decomposition.model_order_data import Gathered, ModelOrderSettings, Part

# What |r| of a map between halves of one participant each would be: see `least_map_r`. Chosen on
# simulations such as python benchmarks/model_order.py makes (docs/decisions/0011-evidence.md).
LEAST_RELIABILITY = 0.08
# Below, chance; above, what keeps maps apart is not how many participants there are.
_LOWEST_MAP_R, _HIGHEST_MAP_R = 0.25, 0.6

# Random rotations of the halves' maps, and the quantile of what they have in common: a rule of
# thumb, for hundreds of values (k for each rotation) at all but the smallest k.
_N_ROTATIONS, _QUANTILE = 20, 0.95
# An ICA costs the fourth power of k: it sees fewer voxels, at a few values of k. A rule of thumb:
# smooth maps hold a few thousand independent values, and only the largest k decides.
_VOXELS_OF_MAPS, _ORDERS_OF_MAPS = 6000, 3


def with_maps(
    evidence: tuple[ModelOrderEvidence, ...],
    n_dimensions: int,
    gathered: Gathered,
    settings: ModelOrderSettings,
    n_threads: int,
) -> tuple[ModelOrderEvidence, ...]:
    """Return the evidence with the similarity of both halves' CanICA maps, at some model orders."""
    model_orders = _orders_of_maps(n_dimensions)
    return tuple(
        _with_map_r(one, gathered, settings, n_threads) if one.n_components in model_orders else one
        for one in evidence
    )


def _orders_of_maps(n_dimensions: int) -> set[int]:
    """Return the model orders to be fitted, up to the number of supported dimensions.

    With more, restarts do not converge: there is nothing left to find, and that takes minutes.
    """
    up_to = np.linspace(0, n_dimensions, _ORDERS_OF_MAPS + 1).round().astype(int)
    return {int(order) for order in up_to if order >= 1}


def _with_map_r(
    one: ModelOrderEvidence, gathered: Gathered, settings: ModelOrderSettings, n_threads: int
) -> ModelOrderEvidence:
    """Return the evidence for k, completed by fits to the group and to the halves."""
    parts = [gathered.group, *(half for split in gathered.halves for half in split)]
    if any(len(part.subspace.rows) < one.n_components for part in parts):
        return one
    fit = partial(_fit_maps, n_components=one.n_components, settings=settings)
    try:
        maps, *of_halves = map_ordered(fit, parts, n_threads)
    except NidecompError:
        return one
    pairs = list(zip(of_halves[::2], of_halves[1::2], strict=True))
    agreements = [
        _Agreement(*(correlations(*two) for two in combinations((maps, *pair), 2)))
        for pair in pairs
    ]
    r = np.mean([agreement.of_components() for agreement in agreements], axis=0)
    chance = _chance_of_rotations(agreements, settings.seed)
    least = max(chance, least_map_r(gathered.group.n_members))
    return replace(
        one,
        map_r=float(r.mean()),
        map_r_sd=float(r.std()),
        least_map_r=least,
        n_reproducible=int(np.count_nonzero(r > least)),
        map_rs=tuple(np.sort(r)[::-1].tolist()),
    )


@dataclass(frozen=True, eq=False)
class _Agreement:
    """Correlations between the group's maps and both halves' maps, (k, k) each."""

    with_first: NDArray[np.float64]
    with_second: NDArray[np.float64]
    across: NDArray[np.float64]

    def of_components(self) -> NDArray[np.float64]:
        """Return the similarity of each component in both halves: `stability.reproducibility`."""
        matches = [match(with_half) for with_half in (self.with_first, self.with_second)]
        across = np.abs(self.across[matches[0].second, matches[1].second])
        return np.asarray(np.minimum.reduce([across, *(np.abs(found.r) for found in matches)]))

    def rotated(self, random: np.random.RandomState) -> _Agreement:
        """Return both halves' maps rotated at random, which keeps them uncorrelated."""
        size = self.across.shape
        first, second = (np.linalg.qr(random.normal(size=size))[0] for _ in range(2))
        return _Agreement(
            self.with_first @ first, self.with_second @ second, first.T @ self.across @ second
        )


def _chance_of_rotations(agreements: Sequence[_Agreement], seed: int) -> float:
    """Return the 95 % quantile of a component's |r| between randomly rotated halves.

    Halves that share a space of few dimensions match well whatever their maps are.
    """
    if len(agreements[0].across) == 1:
        return 0.0  # one map cannot be rotated
    random = np.random.RandomState(seed)
    drawn = [
        np.mean([agreement.rotated(random).of_components() for agreement in agreements], axis=0)
        for _ in range(_N_ROTATIONS)
    ]
    return float(np.quantile(drawn, _QUANTILE))


def _fit_maps(part: Part, n_components: int, settings: ModelOrderSettings) -> NDArray[np.float64]:
    voxels = evenly_spaced(part.subspace.rows.shape[1], _VOXELS_OF_MAPS)
    leading = part.subspace.orthonormal(n_components)[:, voxels]
    return fit_canica(leading, settings.n_init, settings.seed).maps


def least_map_r(n_participants: int) -> float:
    """Return the mean |r| between halves from which on a map counts as reproducible.

    Halves of more participants agree better, on networks as on what is left. What is asked for
    rises with them as the agreement of means does whose single members agree by
    `LEAST_RELIABILITY` (Spearman 1910, British Journal of Psychology 3:271; Brown 1910, ibid. 296).

    Parameters
    ----------
    n_participants : int
        In both halves together.

    Returns
    -------
    float
    """
    n_half = n_participants / 2
    expected = n_half * LEAST_RELIABILITY / (1 + (n_half - 1) * LEAST_RELIABILITY)
    return min(max(expected, _LOWEST_MAP_R), _HIGHEST_MAP_R)
