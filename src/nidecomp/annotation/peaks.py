"""The table of peaks: position, value and size of the largest clusters of thresholded maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.places import rank_by_place
from nidecomp.spaces.contract import FeatureSpace

Sign = Literal[1, -1]
# The rounding error of sizes, as a share of a feature.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Peak:
    """The peak of one cluster, and the size of the cluster.

    `cluster` counts the clusters of a component from 1, the largest first. `feature` is the index
    of the peak; `x`, `y` and `z` are its RAS+ coordinates in mm, in the space of the maps. `value`
    carries the cluster's sign, `column` names the unit of `size`: `SizeUnit.column`.
    """

    component_index: int
    cluster: int
    feature: int
    x: float
    y: float
    z: float
    value: float
    size: float
    column: str
    sign: Sign


@dataclass(frozen=True)
class _Cluster:
    """One cluster of one map, in features; `lowest` is the first one by place.

    `least` is the smallest size that is listed, `column` says in which unit both are.
    """

    size: float
    least: float
    column: str
    lowest: int
    peak: int
    sign: Sign


def peak_table(
    maps: NDArray[np.floating],
    space: FeatureSpace,
    n_clusters: int = 3,
    min_size: float | None = None,
) -> list[Peak]:
    """Return the peaks of the largest clusters of each map.

    A cluster consists of neighbouring features whose values have the same sign: voxels that share
    a face, as in nilearn's ``get_clusters_table``.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_features)
        Thresholded: 0 where a feature is not kept. All values finite.
    space : FeatureSpace
    n_clusters : int
        The largest number of clusters per map, positive and negative ones together.
    min_size : float, optional
        Smaller clusters are left out; by default `SizeUnit.min_cluster` of the space.

    Returns
    -------
    list of Peak
        By component, then by size, the largest first. Among clusters of the same size the one
        with the lowest feature (`rank_by_place`), among features of the same strength the lowest.
    """
    rank = rank_by_place(space, np.flatnonzero((maps != 0).any(axis=0)))
    found = [
        (index, number, cluster)
        for index, values in enumerate(maps)
        for number, cluster in enumerate(
            _largest(values, space, rank, n_clusters, min_size), start=1
        )
    ]
    places = space.coordinates(np.array([one.peak for _, _, one in found], dtype=np.intp))
    return [
        Peak(
            component_index=index,
            cluster=number,
            feature=one.peak,
            x=float(x),
            y=float(y),
            z=float(z),
            value=float(maps[index, one.peak]),
            size=one.size,
            column=one.column,
            sign=one.sign,
        )
        for (index, number, one), (x, y, z) in zip(found, places, strict=True)
    ]


def _largest(
    values: NDArray[np.floating],
    space: FeatureSpace,
    rank: NDArray[np.intp],
    n_clusters: int,
    min_size: float | None,
) -> list[_Cluster]:
    """Return the largest clusters of one map, positive and negative ones together."""
    signs: tuple[Sign, ...] = (1, -1)
    # A cluster of exactly the smallest size must not be lost to rounding.
    rounding = _ROUNDING * float(space.sizes.min())
    clusters = [
        cluster
        for sign in signs
        for cluster in _largest_of_sign(values, space, rank, sign, n_clusters)
        if cluster.size >= (cluster.least if min_size is None else min_size) - rounding
    ]
    return sorted(clusters, key=lambda one: (-one.size / one.least, one.lowest))[:n_clusters]


def _largest_of_sign(
    values: NDArray[np.floating],
    space: FeatureSpace,
    rank: NDArray[np.intp],
    sign: Sign,
    n_clusters: int,
) -> Iterator[_Cluster]:
    features = np.flatnonzero(values > 0 if sign == 1 else values < 0)
    if features.size == 0:
        return
    # The first of several equal ones is the lowest.
    features = features[np.argsort(rank[features])]
    labels = space.clusters(features)
    numbers, first = np.unique(labels, return_index=True)
    # Summed one by one, so that clusters of equally many equal features have equal sizes.
    sizes = np.bincount(labels, weights=space.sizes[features])[numbers]
    units = [space.unit_of(features[one : one + 1]) for one in first]
    relative = sizes / [unit.min_cluster for unit in units]
    for which in np.lexsort((first, -relative))[:n_clusters]:
        members = features[labels == numbers[which]]
        yield _Cluster(
            size=space.size_of(members),
            least=units[which].min_cluster,
            column=units[which].column,
            lowest=int(rank[members[0]]),
            peak=int(members[np.abs(values[members]).argmax()]),
            sign=sign,
        )
