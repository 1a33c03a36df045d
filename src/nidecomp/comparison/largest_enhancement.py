"""The largest enhancement of a map alone, which is all that is needed of permuted ones.

It is the maximum of `enhancement.enhance` in half of the time: while clusters grow from the highest
value down, only the largest integral in each is kept, and no value of single features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.features import FeatureKind
from nidecomp.core.compiled import compiled

_DIGITS = 2048


def largest_enhancement(maps: NDArray[np.float32], kind: FeatureKind) -> NDArray[np.float64]:
    """Return the largest absolute enhancement of each map.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_maps, n)
        At the features of the kind.
    kind : FeatureKind

    Returns
    -------
    ndarray, shape (n_maps,)
    """
    # Voxels are counted.
    sizes = kind.sizes if kind.is_surface else np.ones(len(kind.sizes))
    return np.array(
        [
            max(
                _largest(one, sign, kind.starts, kind.neighbours, sizes, kind.is_surface)
                for sign in (1.0, -1.0)
            )
            for one in maps
        ]
    )


@compiled
def _largest(
    values: NDArray[np.float32],
    sign: float,
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    sizes: NDArray[np.float64],
    is_surface: bool,
) -> float:
    """Return the largest enhancement among the values of one sign."""
    n = len(values)
    order = _descending(values, sign)
    # Each cluster has a root that its features lead to, -1 where the height is not reached.
    leads_to = np.full(n, -1, np.int32)
    # Of each cluster: its extent, since which height (cubed, by 3), and the largest integral above.
    clusters = np.empty((n, 3))
    for feature in order:
        height = sign * np.float64(values[feature])
        cube = height * height * height / 3
        own, largest, total, best = -1, 0.0, sizes[feature], 0.0
        for entry in range(starts[feature], starts[feature + 1]):
            root = _root(leads_to, neighbours[entry])
            if root < 0 or root == own:
                continue
            extent = clusters[root, 0]
            piece = _weight(extent, is_surface) * (clusters[root, 1] - cube)
            best = max(best, clusters[root, 2] + piece)
            total += extent
            # The root of the larger cluster is that of both, so that ways stay short.
            if own < 0:
                own, largest = root, extent
            elif extent > largest:
                leads_to[own] = root
                own, largest = root, extent
            else:
                leads_to[root] = own
        own = feature if own < 0 else own
        leads_to[feature] = own
        clusters[own, 0], clusters[own, 1], clusters[own, 2] = total, cube, best
    top = 0.0
    for feature in order:
        if leads_to[feature] == feature:
            piece = _weight(clusters[feature, 0], is_surface) * clusters[feature, 1]
            top = max(top, clusters[feature, 2] + piece)
    return top


@compiled
def _root(leads_to: NDArray[np.int32], feature: int) -> int:
    """Return the root of a feature's cluster, to which it leads from now on; -1 if it has none."""
    root = int(leads_to[feature])
    if root < 0 or leads_to[root] == root:
        return root
    while leads_to[root] != root:
        root = int(leads_to[root])
    leads_to[feature] = root
    return root


@compiled
def _weight(extent: float, is_surface: bool) -> float:
    """Return the extent to its power: `enhancement.SURFACE_EXTENT` or `VOLUME_EXTENT`."""
    return extent if is_surface else np.sqrt(extent)


@compiled
def _descending(values: NDArray[np.float32], sign: float) -> NDArray[np.int32]:
    """Return the features whose values have a sign, by falling absolute values.

    A radix sort: bits of positive numbers are sorted as the numbers are.
    """
    n = 0
    features = np.empty(len(values), np.int32)
    keys = np.empty(len(values), np.uint32)
    bits = values.view(np.uint32)
    for feature in range(len(values)):
        if sign * values[feature] > 0:
            features[n] = feature
            keys[n] = bits[feature] & np.uint32(0x7FFFFFFF)
            n += 1
    features, keys = features[:n], keys[:n]
    for shift in (np.uint32(0), np.uint32(11), np.uint32(22)):
        places = np.zeros(_DIGITS, np.int64)
        for one in range(n):
            places[(keys[one] >> shift) & np.uint32(_DIGITS - 1)] += 1
        total = 0
        for digit in range(_DIGITS - 1, -1, -1):
            total, places[digit] = total + places[digit], total
        sorted_features, sorted_keys = np.empty_like(features), np.empty_like(keys)
        for one in range(n):
            digit = (keys[one] >> shift) & np.uint32(_DIGITS - 1)
            place = places[digit]
            places[digit] += 1
            sorted_features[place], sorted_keys[place] = features[one], keys[one]
        features, keys = sorted_features, sorted_keys
    return features
