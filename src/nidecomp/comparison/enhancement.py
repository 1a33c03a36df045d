"""Threshold-free cluster enhancement (TFCE).

Smith and Nichols (2009), NeuroImage 44:83: the value of a feature becomes the integral of e(h)^E
h^H over all heights h below it, where e(h) is the extent of its cluster at height h. The integral
is exact, because extents change at the values of features only: there is no step of heights.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from tfce import tfce

from nidecomp.comparison.features import FeatureKind
from nidecomp.core.compiled import compiled

# The exponent of height, and those of extent in volumes (voxels, by a shared face) and on surfaces
# (mm²): the values of FSL and PALM.
HEIGHT = 2.0
VOLUME_EXTENT = 0.5
SURFACE_EXTENT = 1.0


def enhance(maps: NDArray[np.float32], kind: FeatureKind) -> NDArray[np.float32]:
    """Return the enhancement of maps, negative where they are.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_maps, n)
        At the features of the kind.
    kind : FeatureKind

    Returns
    -------
    ndarray of float32, shape (n_maps, n)
    """
    if kind.is_surface:
        enhanced = np.zeros_like(maps)
        for one, out in zip(maps, enhanced, strict=True):
            for sign in (1.0, -1.0):
                _add_enhancement(one, sign, kind.starts, kind.neighbours, kind.sizes, out)
        return enhanced
    neighbours = (kind.starts, kind.neighbours)
    columns = tfce(maps.T, adjacency=neighbours, E=VOLUME_EXTENT, H=HEIGHT, n_jobs=1)
    return cast(NDArray[np.float32], columns.T)


@compiled
def _add_enhancement(
    values: NDArray[np.float32],
    sign: float,
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    sizes: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Add the enhancement of the values of one sign to `out`."""
    n = len(values)
    n_above = 0
    for feature in range(n):
        n_above += sign * values[feature] > 0
    order = np.argsort(-sign * values)[:n_above]
    parent = np.full(n, -1, np.int32)
    extent = np.zeros(n)
    _grow_tree(order, starts, neighbours, sizes, parent, extent)
    power = HEIGHT + 1.0
    below = np.zeros(n)
    # From the lowest value up: what a cluster has below a feature is that of its parent.
    for place in range(n_above - 1, -1, -1):
        feature = order[place]
        piece = (sign * np.float64(values[feature])) ** power
        other = parent[feature]
        if other >= 0:
            piece -= (sign * np.float64(values[other])) ** power
            below[feature] = below[other]
        below[feature] += extent[feature] ** SURFACE_EXTENT * piece / power
        out[feature] += np.float32(sign * below[feature])


@compiled
def _grow_tree(
    order: NDArray[np.int64],
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    sizes: NDArray[np.float64],
    parent: NDArray[np.int32],
    extent: NDArray[np.float64],
) -> None:
    """Write the max-tree: each feature's parent, and the extent of its cluster at its height.

    From the highest value down, a feature joins the clusters beside it. It becomes the parent of
    the lowest feature of each: between the heights of both, that cluster does not change.
    """
    n = len(sizes)
    # Each cluster has a root that its features lead to, -1 where the height is not reached.
    leads_to = np.full(n, -1, np.int32)
    lowest = np.empty(n, np.int32)
    n_members = np.ones(n, np.int32)
    for feature in order:
        own = feature
        leads_to[own] = own
        extent[feature] = sizes[feature]
        for entry in range(starts[feature], starts[feature + 1]):
            root = neighbours[entry]
            if leads_to[root] < 0:
                continue
            while leads_to[root] != root:
                leads_to[root] = leads_to[leads_to[root]]
                root = leads_to[root]
            if root == own:
                continue
            parent[lowest[root]] = feature
            extent[feature] += extent[lowest[root]]
            # The smaller cluster leads to the root of the larger one, so that ways stay short.
            if n_members[root] > n_members[own]:
                root, own = own, root
            leads_to[root] = own
            n_members[own] += n_members[root]
            lowest[own] = feature
        lowest[own] = feature
