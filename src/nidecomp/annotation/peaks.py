"""Where the largest clusters of thresholded maps are, and how strong and large they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nidecomp.spaces.voxels import VoxelGeometry

Sign = Literal[1, -1]


@dataclass(frozen=True)
class Peak:
    """The strongest voxel of one cluster, and the cluster's volume.

    `cluster` counts the clusters of a component from 1, the largest first. `x`, `y` and `z` are
    RAS+ coordinates in mm, in the space of the images. `value` carries the cluster's sign.
    """

    component_index: int
    cluster: int
    x: float
    y: float
    z: float
    value: float
    volume_mm3: float
    sign: Sign


@dataclass(frozen=True)
class _Cluster:
    """One cluster of one map, in features."""

    n_voxels: int
    first: int
    peak: int
    sign: Sign


def peak_table(
    maps: NDArray[np.floating],
    geometry: VoxelGeometry,
    n_clusters: int = 3,
    min_volume_mm3: float = 100.0,
) -> list[Peak]:
    """List the peaks of the largest clusters of each map.

    Voxels belong together where they share a face and their values a sign, as in nilearn's
    ``get_clusters_table``.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_features)
        Thresholded: 0 where a voxel is not kept. All values finite.
    geometry : VoxelGeometry
    n_clusters : int
        How many are listed of each map at most, positive and negative ones together.
    min_volume_mm3 : float
        Smaller clusters are left out.

    Returns
    -------
    list of Peak
        By component, then by volume, the largest first. Among clusters of the same size the one
        whose first feature comes first, among voxels of the same strength the first one.
    """
    # The determinant, exact for axes that are not turned, which numpy's is not.
    i, j, k = geometry.grid.matrix[:3, :3]
    voxel_mm3 = abs(float(np.cross(i, j) @ k))
    # Of turned axes it is rounded: a cluster of exactly the volume that is asked for must stay.
    min_voxels = math.ceil(min_volume_mm3 / voxel_mm3 - 1e-6)
    # In the order of the features, so the last axis of the grid comes first.
    voxels = np.argwhere(geometry.mask.T)
    found = [
        (index, number, cluster)
        for index, values in enumerate(maps)
        for number, cluster in enumerate(_largest(values, voxels, n_clusters, min_voxels), start=1)
    ]
    places = geometry.coordinates(np.array([one.peak for _, _, one in found], dtype=np.intp))
    return [
        Peak(
            component_index=index,
            cluster=number,
            x=float(x),
            y=float(y),
            z=float(z),
            value=float(maps[index, one.peak]),
            volume_mm3=one.n_voxels * voxel_mm3,
            sign=one.sign,
        )
        for (index, number, one), (x, y, z) in zip(found, places, strict=True)
    ]


def _largest(
    values: NDArray[np.floating], voxels: NDArray[np.intp], n_clusters: int, min_voxels: int
) -> list[_Cluster]:
    """Find the largest clusters of one map, positive and negative ones together."""
    signs: tuple[Sign, ...] = (1, -1)
    clusters = [
        cluster
        for sign in signs
        for cluster in _largest_of_sign(values, voxels, sign, n_clusters)
        if cluster.n_voxels >= min_voxels
    ]
    return sorted(clusters, key=lambda one: (-one.n_voxels, one.first))[:n_clusters]


def _largest_of_sign(
    values: NDArray[np.floating], voxels: NDArray[np.intp], sign: Sign, n_clusters: int
) -> Iterator[_Cluster]:
    features = np.flatnonzero(values > 0 if sign == 1 else values < 0)
    if features.size == 0:
        return
    labels = _label(voxels[features])
    numbers, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    for which in np.lexsort((first, -sizes))[:n_clusters]:
        members = features[labels == numbers[which]]
        yield _Cluster(
            n_voxels=int(sizes[which]),
            first=int(members[0]),
            peak=int(members[np.abs(values[members]).argmax()]),
            sign=sign,
        )


def _label(voxels: NDArray[np.intp]) -> NDArray[np.integer]:
    """Give each of some voxels, (n, 3), the number of the cluster that it belongs to."""
    corner = voxels.min(axis=0)
    inside = tuple((voxels - corner).T)
    box = np.zeros(voxels.max(axis=0) - corner + 1, dtype=bool)
    box[inside] = True
    labels, _ = ndimage.label(box, structure=ndimage.generate_binary_structure(3, 1))
    return cast(NDArray[np.integer], labels[inside])
