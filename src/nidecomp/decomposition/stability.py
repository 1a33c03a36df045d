"""Stability of components across restarts of the ICA and across samples of the participants."""

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

# The largest number of components of restarts that are clustered. It bounds memory: their distances
# take 130 MB.
_MOST_CLUSTERED = 4000


# ---------------------------------------------------------------- restarts of the ICA
def restart_stability(
    unmixings: Sequence[NDArray[np.float64]], chosen: int
) -> NDArray[np.float64] | None:
    """Return how stable each component of the chosen restart is across restarts (Icasso).

    Himberg, Hyvärinen and Esposito (2004), Validating the independent components of neuroimaging
    time series via clustering and visualization, NeuroImage 22:1214. Because the data are white,
    the correlations of maps follow from the unmixing matrices alone.

    Parameters
    ----------
    unmixings : sequence of ndarray, each (n_components, n_components)
        The orthogonal matrices of the restarts that did not fail.
    chosen : int
        The index of the restart whose components the decomposition has.

    Returns
    -------
    ndarray, shape (n_components,), or None
        Icasso's Iq of each component's cluster: the mean |r| within the cluster minus the mean |r|
        between it and all other components. 1 means that every restart found this map. None where
        there is only one restart. At most 4,000 components are clustered: those of the chosen
        restart, then those of the others in order.
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
    """Return several splits of the participants into halves, all of them different.

    Parameters
    ----------
    participants : sequence of str
        Their labels. The order and repetitions do not matter.
    n_splits : int
        The number of splits. Fewer are returned if there are not as many different ones.
    seed : int

    Returns
    -------
    tuple of pairs
        Each pair has the sorted labels of both halves. With an odd number of participants, the
        first half is smaller by one. Empty with fewer than two participants.
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
    halves: dict[tuple[int, ...], None] = {}
    while len(halves) < n_splits:
        half = set(random.permutation(n)[:n_half].tolist())
        # With an even number, both halves stand for the same split: the one with 0 is used.
        if 2 * n_half == n and 0 not in half:
            half = set(range(n)) - half
        halves[tuple(sorted(half))] = None
    return list(halves)


def bootstrap_samples(
    participants: Sequence[str], n_samples: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Return bootstrap samples: as many participants as there are, drawn with replacement.

    Parameters
    ----------
    participants : sequence of str
        Their labels. The order and repetitions do not matter.
    n_samples : int
        The number of samples.
    seed : int

    Returns
    -------
    tuple of tuple of str
        For each sample the sorted labels, each as often as it was drawn.
    """
    labels = sorted(set(participants))
    random = np.random.RandomState(seed)
    return tuple(
        tuple(labels[index] for index in np.sort(random.randint(len(labels), size=len(labels))))
        for _ in range(n_samples)
    )


def hold_out(participants: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """Return randomly drawn participants that are left out of the fit.

    Parameters
    ----------
    participants : sequence of str
        Their labels. The order and repetitions do not matter.
    share : float
        The share of participants to leave out, from 0 to 1. Unless it is 0, at least one is drawn.
    seed : int

    Returns
    -------
    tuple of str
        The sorted labels of the participants drawn.
    """
    labels = sorted(set(participants))
    n_out = max(1, round(share * len(labels))) if share else 0
    drawn = np.random.RandomState(seed).permutation(len(labels))[:n_out]
    return tuple(labels[index] for index in np.sort(drawn))


@dataclass(frozen=True, eq=False)
class HalvesAgreement:
    """The agreement between the maps of two halves of the group.

    Parameters
    ----------
    reproducibility : ndarray, shape (n_components,)
        For each of the group's maps, |r| between its matches in the first and the second half, but
        at most |r| of either match with the group's map.
    trace : float
        The mean |r| between the maps of both halves, matched with each other one to one.
    in_first, in_second : ndarray of int, shape (n_components,)
        The index of each group map's match among the maps of the first and the second half.
    """

    reproducibility: NDArray[np.float64]
    trace: float
    in_first: NDArray[np.intp]
    in_second: NDArray[np.intp]


def compare_halves(
    maps: NDArray[np.floating], first: NDArray[np.floating], second: NDArray[np.floating]
) -> HalvesAgreement:
    """Compute how well two halves of the group reproduce each map of the whole group.

    The group's maps are matched one to one with those of each half, and the matches are correlated
    between the halves, which share no participant. If a half has no such component, the map is
    matched with one that is left over. For this reason, |r| is at most that of either match with
    the group's map, which is the larger one wherever the match is the same component.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        The maps of the whole group.
    first, second : ndarray, shape (n_components, n_voxels)
        The maps of each half.

    Returns
    -------
    HalvesAgreement
    """
    in_first, in_second = (match(correlations(maps, half)) for half in (first, second))
    between = correlations(first, second)
    across = np.abs(between[in_first.second, in_second.second])
    return HalvesAgreement(
        reproducibility=np.minimum.reduce([across, np.abs(in_first.r), np.abs(in_second.r)]),
        trace=float(np.mean(np.abs(match(between).r))),
        in_first=in_first.second,
        in_second=in_second.second,
    )


def matched_r(maps: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return |r| of each map with its one-to-one match in another set, shape (n_components,)."""
    return np.abs(match(correlations(maps, others)).r)
