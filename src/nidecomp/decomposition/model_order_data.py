"""Two passes over the runs for the model order: subspaces of participants, and what others hold.

It is what the number of components is chosen from, see `model_order`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.parallel import map_ordered
from nidecomp.decomposition.canonical_null import effective_voxels
from nidecomp.decomposition.model_order_choice import FEWEST_PARTICIPANTS
from nidecomp.decomposition.stability import split_halves
from nidecomp.decomposition.subspace import Subspace, SubspaceStream, weighted_rows

ReadRows = Callable[[int], NDArray[np.float32]]

# Participants, and rows of each, from which the number of independent voxels is estimated. A rule
# of thumb: the estimate is the median of some 40,000 squared correlations.
_MOST_SAMPLED, _ROWS_SAMPLED = 24, 12


@dataclass(frozen=True)
class ModelOrderSettings:
    """Settings of the choice of the model order.

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


@dataclass(frozen=True, eq=False)
class Part:
    """The shared subspace of some of the participants."""

    n_members: int
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Gathered:
    """The whole group, the halves of each split, and the smoothness of noise.

    `in_other_half`, (2 n_splits, n_leading), has the mean squared correlation of the leading
    dimensions of each half with the participants of the other half.
    """

    group: Part
    halves: tuple[tuple[Part, Part], ...]
    in_other_half: NDArray[np.float64]
    effective_voxels: float

    @property
    def n_rows(self) -> float:
        """The mean number of rows of unit norm per participant."""
        return self.group.subspace.total_variance / self.group.n_members


def gather(
    read: ReadRows,
    participants: Sequence[str],
    voxels: NDArray[np.intp],
    settings: ModelOrderSettings,
    n_threads: int,
) -> Gathered:
    """Return the data of `model_order.estimate_model_order`; each run is read twice.

    Parameters
    ----------
    read : callable
    participants : sequence of str
    voxels : ndarray of int
        Those that are looked at.
    settings : ModelOrderSettings
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    Gathered
    """
    counts = Counter(participants)
    splits: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    if len(counts) >= FEWEST_PARTICIPANTS:
        splits = split_halves(participants, settings.n_splits, settings.seed)
    of_halves = [frozenset(half) for split in splits for half in split]
    parts = [frozenset(counts), *of_halves]
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
    found = [Part(len(part), stream.finish()) for part, stream in zip(parts, streams, strict=True)]
    halves = tuple(zip(found[1::2], found[2::2], strict=True))

    def canonical(index: int) -> NDArray[np.float32]:
        return _canonical_rows(read(index), voxels, counts[participants[index]])

    held = _held_in_other_half(
        found[1:], of_halves, canonical, participants, settings.max_components, n_threads
    )
    return Gathered(found[0], halves, held, effective_voxels(list(noise.values())))


def _held_in_other_half(
    halves: Sequence[Part],
    members: Sequence[frozenset[str]],
    canonical: ReadRows,
    participants: Sequence[str],
    n_leading: int,
    n_threads: int,
) -> NDArray[np.float64]:
    """Return how strongly participants of the other half express each half's dimensions.

    Computed from all of their rows: the other half's own subspace has left out some of them, but
    the level that chance reaches, which this is compared with, is that of all rows.
    """
    if not halves:
        return np.zeros((0, 0))
    n_leading = min(n_leading, *(len(half.subspace.rows) for half in halves))
    dimensions = [
        half.subspace.orthonormal(n_leading).astype(np.float32).T.copy() for half in halves
    ]
    held = np.zeros((len(halves), n_leading))
    for index, participant in enumerate(participants):
        rows = canonical(index)

        def shared(basis: NDArray[np.float32], rows: NDArray[np.float32] = rows) -> object:
            return np.sum((rows @ basis) ** 2, axis=0, dtype=np.float64)

        others = [which for which, half in enumerate(members) if participant not in half]
        found = map_ordered(shared, [dimensions[which] for which in others], n_threads)
        for which, squared in zip(others, found, strict=True):
            held[which] += squared
    n_others = np.array([halves[which ^ 1].n_members for which in range(len(halves))])
    return np.asarray(held / n_others[:, None])


def _canonical_rows(
    rows: NDArray[np.float32], voxels: NDArray[np.intp], n_runs: int
) -> NDArray[np.float32]:
    """Return rows scaled for the group, without the constant map."""
    unit = weighted_rows(rows[:, voxels], n_runs**-0.5, "unit")
    means = unit.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(unit - means.astype(np.float32))


def _trailing(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of the second half, which are mostly noise, with unit norm."""
    picked = np.linspace(len(rows) // 2, len(rows) - 1, _ROWS_SAMPLED).round().astype(np.intp)
    return weighted_rows(rows[np.unique(picked)], 1.0, "unit")
