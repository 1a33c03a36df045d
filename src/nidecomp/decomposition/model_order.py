"""How many components a group's data support: see `order_choice.RULE`.

The canonical correlations are CanICA's own (Varoquaux et al. 2010, NeuroImage 51:288, section 2.2).
They alone say too much: in a large group whatever a few participants have in common stands out from
noise, and so do the ways in which one network varies from participant to participant. How well
halves agree on a dimension rises with the number of participants for the same reason; how much of
it a new participant holds does not. What is left are spaces that participants share without having
any map in common, such as that of all very smooth images: there each half finds its own maps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, takewhile

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import evenly_spaced, products
from nidecomp.core.parallel import map_ordered
from nidecomp.decomposition.canica import fit_canica
from nidecomp.decomposition.canonical_null import effective_voxels, null_quantile
from nidecomp.decomposition.matching import correlations, match
from nidecomp.decomposition.model_order_choice import (
    FEWEST_PARTICIPANTS,
    ModelOrderChoice,
    ModelOrderEvidence,
    reason,
)
from nidecomp.decomposition.stability import split_halves
from nidecomp.decomposition.subspace import Subspace, SubspaceStream, weighted_rows

ReadRows = Callable[[int], NDArray[np.float32]]

# Squared correlation, above chance, of a dimension with participants who had no part in finding it.
# Sources of simulated groups have 0.02 to 0.6, the dimension behind the last 0.01 to 0.07. Too low
# a bound costs little: the maps of dimensions too many are not found again. With 0.04, orders of 20
# to 30 came out lower by one in three cases out of ten.
LEAST_OTHER_HALF = 0.02
# What |r| of a map between halves of one participant each would be: see `least_map_r`.
LEAST_RELIABILITY = 0.08
# Below, chance; above, what keeps maps apart is not how many participants there are.
_LOWEST_MAP_R, _HIGHEST_MAP_R = 0.25, 0.6

# Participants, and rows of each, that tell how many independent voxels there are.
_MOST_SAMPLED, _ROWS_SAMPLED = 24, 12
# Random rotations of the halves' maps, and the quantile of what they have in common.
_N_ROTATIONS, _QUANTILE = 20, 0.95
# An ICA costs the fourth power of k: it sees fewer voxels, at a few values of k.
_VOXELS_OF_MAPS, _ORDERS_OF_MAPS = 6000, 3


@dataclass(frozen=True)
class ModelOrderSettings:
    """What the choice of the number of components depends on, beside the data.

    Parameters
    ----------
    max_components : int
        The largest number that is considered.
    n_splits : int
        Random splits of the participants into halves.
    n_init : int
        Restarts of the ICA in each half.
    seed : int
        Draws the halves and the restarts.
    most_voxels : int
        Voxels that are looked at.
    """

    max_components: int = 60
    n_splits: int = 5
    n_init: int = 2
    seed: int = 0
    most_voxels: int = 20_000


def estimate_model_order(
    read: ReadRows,
    participants: Sequence[str],
    n_voxels: int,
    settings: ModelOrderSettings | None = None,
    n_threads: int = 1,
) -> ModelOrderChoice:
    """Choose the number of components.

    Parameters
    ----------
    read : callable
        From a run's index to its reduced rows, float32, (n_rows, n_voxels): orthogonal, the largest
        first. Each run is asked for once, in order. Runs should have some rows more than there are
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
    gathered = _gather(read, participants, voxels, settings, n_threads)
    least = _least_other_half_r(gathered)
    dimensions = tuple(
        replace(one, supported=_is_supported(one, least))
        for one in _with_halves(_canonical_evidence(gathered, settings.max_components), gathered)
    )
    n_dimensions = _count_leading(dimensions)
    evidence = _with_maps(dimensions, n_dimensions, gathered, settings, n_threads)
    chosen = (evidence[n_dimensions - 1].n_reproducible or 0) if n_dimensions else 0
    return ModelOrderChoice(
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


def least_map_r(n_participants: int) -> float:
    """Give the mean |r| between halves from which on a map counts as reproduced.

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


# ---------------------------------------------------------------- one pass over the runs
@dataclass(frozen=True, eq=False)
class _Part:
    """What some of the participants share."""

    n_members: int
    subspace: Subspace

    def held_in(self, other: _Part, n_leading: int) -> NDArray[np.float64]:
        """Tell how much of each leading dimension of this part another part's participants hold.

        Shape (n_leading,): mean squared correlation. What the other part's subspace left out is not
        counted.
        """
        shared = products(self.subspace.orthonormal(n_leading), other.subspace.rows)
        return np.asarray(np.sum(shared**2, axis=1) / other.n_members)


@dataclass(frozen=True, eq=False)
class _Gathered:
    """The whole group, the halves of each split, and how smooth noise is."""

    group: _Part
    halves: tuple[tuple[_Part, _Part], ...]
    effective_voxels: float

    @property
    def n_rows(self) -> float:
        """How many rows of unit norm a participant has, on average."""
        return self.group.subspace.total_variance / self.group.n_members


def _gather(
    read: ReadRows,
    participants: Sequence[str],
    voxels: NDArray[np.intp],
    settings: ModelOrderSettings,
    n_threads: int,
) -> _Gathered:
    counts = Counter(participants)
    splits: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    if len(counts) >= FEWEST_PARTICIPANTS:
        splits = split_halves(participants, settings.n_splits, settings.seed)
    parts = [frozenset(counts), *(frozenset(half) for split in splits for half in split)]
    streams = [SubspaceStream(len(voxels), 2 * settings.max_components) for _ in parts]
    noise: dict[str, NDArray[np.float32]] = {}
    for index, participant in enumerate(participants):
        rows = _canonical_rows(read(index), voxels, counts[participant])
        if participant not in noise and len(noise) < _MOST_SAMPLED:
            noise[participant] = _trailing(rows)
        taking = [
            stream for stream, part in zip(streams, parts, strict=True) if participant in part
        ]
        for _ in map_ordered(partial(SubspaceStream.add, rows=rows), taking, n_threads):
            pass
    found = [_Part(len(part), stream.finish()) for part, stream in zip(parts, streams, strict=True)]
    halves = tuple(zip(found[1::2], found[2::2], strict=True))
    return _Gathered(found[0], halves, effective_voxels(list(noise.values())))


def _canonical_rows(
    rows: NDArray[np.float32], voxels: NDArray[np.intp], n_runs: int
) -> NDArray[np.float32]:
    """Scale rows for the group and take the constant map out of them."""
    unit = weighted_rows(rows[:, voxels], n_runs**-0.5, canonical=True)
    means = unit.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(unit - means.astype(np.float32))


def _trailing(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pick rows of the second half, where there is more noise than signal, with unit norm."""
    picked = np.linspace(len(rows) // 2, len(rows) - 1, _ROWS_SAMPLED).round().astype(np.intp)
    return weighted_rows(rows[np.unique(picked)], 1.0, canonical=True)


# ---------------------------------------------------------------- evidence of dimensions
def _canonical_evidence(gathered: _Gathered, max_components: int) -> tuple[ModelOrderEvidence, ...]:
    """Hold each canonical correlation against its null, in which those before it are taken."""
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
                # One participant tells nothing of noise, and needs it for nothing.
                max(np.nan_to_num(gathered.effective_voxels) - before, 1.0),
            ),
        )
        for before in range(n_judged)
    )


def _with_halves(
    evidence: tuple[ModelOrderEvidence, ...], gathered: _Gathered
) -> tuple[ModelOrderEvidence, ...]:
    """Add what the other half of each split says."""
    if not gathered.halves:
        return evidence
    n_leading = min(
        len(evidence), *(len(half.subspace.rows) for split in gathered.halves for half in split)
    )
    held = np.sqrt(
        [
            found.held_in(other, n_leading)
            for split in gathered.halves
            for found, other in (split, split[::-1])
        ]
    )
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


def _overlaps(first: _Part, second: _Part, n_leading: int) -> NDArray[np.float64]:
    """Give the mean squared cosine between the leading k dimensions of both, for each k."""
    bases = [part.subspace.orthonormal(n_leading) for part in (first, second)]
    within = np.cumsum(np.cumsum(products(*bases) ** 2, axis=0), axis=1)
    return np.asarray(np.diag(within) / np.arange(1, n_leading + 1))


def _least_other_half_r(gathered: _Gathered) -> float:
    """Give the held-out correlation that is asked for: the least one above chance."""
    chance = min(gathered.n_rows / gathered.effective_voxels, 1.0)
    return math.sqrt(chance + LEAST_OTHER_HALF * (1 - chance))


def _is_supported(one: ModelOrderEvidence, least_other_half_r: float) -> bool:
    return one.canonical_r > one.null_quantile and one.other_half_r >= least_other_half_r


def _count_leading(evidence: Sequence[ModelOrderEvidence]) -> int:
    """Count the dimensions before the first that is not supported."""
    return sum(1 for _ in takewhile(lambda one: one.supported, evidence))


# ---------------------------------------------------------------- evidence of maps
def _with_maps(
    evidence: tuple[ModelOrderEvidence, ...],
    n_dimensions: int,
    gathered: _Gathered,
    settings: ModelOrderSettings,
    n_threads: int,
) -> tuple[ModelOrderEvidence, ...]:
    """Add how alike CanICA's maps of both halves are, at some numbers of maps."""
    model_orders = _orders_of_maps(n_dimensions)
    return tuple(
        _with_map_r(one, gathered, settings, n_threads) if one.n_components in model_orders else one
        for one in evidence
    )


def _orders_of_maps(n_dimensions: int) -> set[int]:
    """Choose k up to the number of supported dimensions, and that number itself.

    With more, restarts do not converge: there is nothing left to find, and that takes minutes.
    """
    up_to = np.linspace(0, n_dimensions, _ORDERS_OF_MAPS + 1).round().astype(int)
    return {int(order) for order in up_to if order >= 1}


def _with_map_r(
    one: ModelOrderEvidence, gathered: _Gathered, settings: ModelOrderSettings, n_threads: int
) -> ModelOrderEvidence:
    """Fit the group and the halves, and see which maps of the group both halves of a split find."""
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
    """Correlations of the group's maps with both halves' and of these, (k, k) each."""

    with_first: NDArray[np.float64]
    with_second: NDArray[np.float64]
    across: NDArray[np.float64]

    def of_components(self) -> NDArray[np.float64]:
        """Tell how alike both halves found each component, as `stability.reproducibility` does."""
        matches = [match(with_half) for with_half in (self.with_first, self.with_second)]
        across = np.abs(self.across[matches[0].second, matches[1].second])
        return np.asarray(np.minimum.reduce([across, *(np.abs(found.r) for found in matches)]))

    def rotated(self, random: np.random.RandomState) -> _Agreement:
        """Rotate both halves' maps at random: uncorrelated, of unit variance, they stay so."""
        size = self.across.shape
        first, second = (np.linalg.qr(random.normal(size=size))[0] for _ in range(2))
        return _Agreement(
            self.with_first @ first, self.with_second @ second, first.T @ self.across @ second
        )


def _chance_of_rotations(agreements: Sequence[_Agreement], seed: int) -> float:
    """Give the 95 % quantile of a component's |r| without any rotation that halves agree on.

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


def _fit_maps(part: _Part, n_components: int, settings: ModelOrderSettings) -> NDArray[np.float64]:
    voxels = evenly_spaced(part.subspace.rows.shape[1], _VOXELS_OF_MAPS)
    leading = part.subspace.orthonormal(n_components)[:, voxels]
    return fit_canica(leading, settings.n_init, settings.seed).maps
