"""How far components depend on where the ICA began and on who took part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from nidecomp.decomposition.matching import correlations, match

# Restarts' components that are clustered at most, a bound of memory: their distances take 130 MB.
_MOST_CLUSTERED = 4000


# ---------------------------------------------------------------- restarts of the ICA
def restart_stability(
    unmixings: Sequence[NDArray[np.float64]], chosen: int
) -> NDArray[np.float64] | None:
    """Return how tightly the restarts' components gather around each component of the chosen one.

    Himberg, Hyvärinen and Esposito (2004), Validating the independent components of neuroimaging
    time series via clustering and visualization, NeuroImage 22:1214. The data are white, so that
    the restarts' unmixing matrices alone give the correlations of their maps.

    Parameters
    ----------
    unmixings : sequence of ndarray, each (n_components, n_components)
        Orthogonal; of the restarts that came to an end.
    chosen : int
        Which of them is the decomposition.

    Returns
    -------
    ndarray, shape (n_components,), or None
        Icasso's Iq of the component's cluster: the mean |r| within it less the mean |r| between it
        and all others. 1: every restart found this map. None where there is only one restart. Where
        there are very many, as many as 4,000 components come from are compared: the chosen one and
        the first others.
    """
    n_components = len(unmixings[chosen])
    others = [matrix for index, matrix in enumerate(unmixings) if index != chosen]
    compared = [unmixings[chosen], *others[: max(1, _MOST_CLUSTERED // n_components - 1)]]
    if len(compared) < 2:
        return None
    stacked = np.concatenate(compared)
    similarity = np.abs(stacked @ stacked.T)
    distance = np.clip(1.0 - similarity, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    cluster = fcluster(tree, n_components, criterion="maxclust")
    index = np.zeros(n_components)
    for component in range(n_components):
        members = cluster == cluster[component]
        within = similarity[np.ix_(members, members)].mean()
        outside = similarity[np.ix_(members, ~members)]
        index[component] = within - (outside.mean() if outside.size else 0.0)
    return index


# ---------------------------------------------------------------- participants
def split_halves(
    participants: Sequence[str], n_splits: int, seed: int
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Split participants into halves, several times, never twice in the same way.

    Parameters
    ----------
    participants : sequence of str
        Their order and repetitions do not matter.
    n_splits : int
        How many splits are wanted; fewer come back where there are no more.
    seed : int

    Returns
    -------
    tuple of pairs
        Each the labels of both halves, sorted; with an odd number the first half is smaller by
        one. Empty where there are fewer than two participants.
    """
    labels = sorted(set(participants))
    n_half = len(labels) // 2
    if n_half == 0:
        return ()
    n_possible = comb(len(labels), n_half)
    if 2 * n_half == len(labels):
        n_possible //= 2
    halves = (
        list(combinations(range(len(labels)), n_half))[:n_possible]
        if n_possible <= n_splits
        else _random_halves(len(labels), n_half, n_splits, seed)
    )
    return tuple(
        (
            tuple(labels[index] for index in half),
            tuple(label for index, label in enumerate(labels) if index not in half),
        )
        for half in halves
    )


def _random_halves(n: int, n_half: int, n_splits: int, seed: int) -> list[tuple[int, ...]]:
    random = np.random.RandomState(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < n_splits:
        half = set(random.permutation(n)[:n_half].tolist())
        # The other half of an even split is the same split.
        if 2 * n_half == n and 0 not in half:
            half = set(range(n)) - half
        found[tuple(sorted(half))] = None
    return list(found)


def bootstrap_samples(
    participants: Sequence[str], n_samples: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Draw participants with replacement, as many as there are, several times.

    Parameters
    ----------
    participants : sequence of str
        Their order and repetitions do not matter.
    n_samples : int
    seed : int

    Returns
    -------
    tuple of tuple of str
        Each the labels drawn, sorted, repeated as often as they were drawn.
    """
    labels = sorted(set(participants))
    random = np.random.RandomState(seed)
    return tuple(
        tuple(labels[index] for index in np.sort(random.randint(len(labels), size=len(labels))))
        for _ in range(n_samples)
    )


def hold_out(participants: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """Draw the participants that are left out of a fit.

    Parameters
    ----------
    participants : sequence of str
        Their order and repetitions do not matter.
    share : float
        From 0 to 1; where it is not 0, at least one participant is drawn.
    seed : int

    Returns
    -------
    tuple of str
        Their labels, sorted.
    """
    labels = sorted(set(participants))
    n_out = max(1, round(share * len(labels))) if share else 0
    drawn = np.random.RandomState(seed).permutation(len(labels))[:n_out]
    return tuple(labels[index] for index in np.sort(drawn))


@dataclass(frozen=True, eq=False)
class HalvesAgreement:
    """How alike two halves of the group found the group's maps.

    Parameters
    ----------
    reproducibility : ndarray, shape (n_components,)
        For each of the group's maps, |r| of the first half's match with the second half's match,
        at most |r| of either with the map itself.
    trace : float
        Mean |r| of both halves' maps, matched with each other one to one.
    in_first, in_second : ndarray of int, shape (n_components,)
        Which of a half's maps is each of the group's.
    """

    reproducibility: NDArray[np.float64]
    trace: float
    in_first: NDArray[np.intp]
    in_second: NDArray[np.intp]


def compare_halves(
    maps: NDArray[np.floating], first: NDArray[np.floating], second: NDArray[np.floating]
) -> HalvesAgreement:
    """Tell for each map how alike two halves of the group found it.

    What is correlated comes from the halves, which share no participant. The whole group's maps,
    matched one to one with those of each half, say which are meant. A map that a half did not find
    is matched with one that is left over: what a match has in common with the map itself, which is
    more than halves have with each other wherever it is the same component, is the upper limit.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        The whole group's.
    first, second : ndarray, shape (n_components, n_voxels)
        The halves'.

    Returns
    -------
    HalvesAgreement
    """
    meant = [match(correlations(maps, half)) for half in (first, second)]
    between = correlations(first, second)
    across = np.abs(between[meant[0].second, meant[1].second])
    return HalvesAgreement(
        reproducibility=np.minimum.reduce([across, *(np.abs(found.r) for found in meant)]),
        trace=float(np.mean(np.abs(match(between).r))),
        in_first=meant[0].second,
        in_second=meant[1].second,
    )


def matched_r(maps: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give |r| of each map with its one-to-one match in as many others, shape (n_components,)."""
    return np.abs(match(correlations(maps, others)).r)
