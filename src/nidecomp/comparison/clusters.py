"""Clusters of features above a threshold, and their extent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nidecomp.comparison.features import FeatureKind
from nidecomp.comparison.glm import LinearTest
from nidecomp.core.compiled import compiled


def threshold_of(test: LinearTest, p: float) -> float:
    """Return the absolute t, or the F, whose uncorrected p value is `p`; two-sided for t."""
    f = float(stats.f.isf(p, test.n_effects, test.dof))
    return f**0.5 if test.n_effects == 1 else f


def cluster_extents(
    maps: NDArray[np.float32], threshold: float, kind: FeatureKind
) -> NDArray[np.float32]:
    """Return the size of the cluster of each feature.

    Clusters are connected features whose values are above the threshold, or below the negative one.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_maps, n)
        At the features of the kind.
    threshold : float
    kind : FeatureKind

    Returns
    -------
    ndarray of float32, shape (n_maps, n)
        In mm² or mm³; 0 outside of clusters.
    """
    extents = np.zeros_like(maps)
    for one, out in zip(maps, extents, strict=True):
        _fill_extents(one, threshold, kind.starts, kind.neighbours, kind.sizes, out)
    return extents


@compiled
def _fill_extents(
    values: NDArray[np.float32],
    threshold: float,
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    sizes: NDArray[np.float64],
    extents: NDArray[np.float32],
) -> None:
    """Write the size of each feature's cluster, going from each feature to all it reaches."""
    members = np.empty(len(values), np.int32)
    for first in range(len(values)):
        if abs(values[first]) <= threshold or extents[first] > 0:
            continue
        members[0] = first
        extents[first] = 1
        n_members, place, total = 1, 0, 0.0
        while place < n_members:
            feature = members[place]
            total += sizes[feature]
            for entry in range(starts[feature], starts[feature + 1]):
                other = neighbours[entry]
                is_same = values[other] > threshold
                if values[first] < 0:
                    is_same = values[other] < -threshold
                if is_same and extents[other] == 0:
                    extents[other] = 1
                    members[n_members] = other
                    n_members += 1
            place += 1
        for one in range(n_members):
            extents[members[one]] = np.float32(total)
