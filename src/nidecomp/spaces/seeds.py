"""Local maxima of a volume, or along surfaces, around which regions lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nidecomp.spaces.geodesic import reach

# The parameters of nilearn's RegionExtractor: smoothing, the distance within which there is one
# maximum, and the share of the largest that a maximum has at least.
SMOOTHING_FWHM_MM = 6.0
_WITHIN_VOXELS = 10
# The same distance where there are no voxels: with those of 2 mm, of which grayordinates are.
_WITHIN_MM = 20.0
# Digits of mm that count in comparing places.
_DIGITS = 3
_OF_LARGEST = 0.1
_FWHM_OF_SIGMA = np.sqrt(8 * np.log(2))
_TRUNCATE = 4.0


def local_maxima(volume: NDArray[np.float32], voxel_mm: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the local maxima of a smoothed volume.

    Parameters
    ----------
    volume : ndarray of float32, 3D
        0 or above, somewhere above.
    voxel_mm : ndarray, shape (3,)
        The size of a voxel along each axis.

    Returns
    -------
    ndarray of int32, of the same shape
        Number of the maximum, from 1; the same for voxels that share a face. 0 elsewhere.
    """
    sigmas = SMOOTHING_FWHM_MM / _FWHM_OF_SIGMA / voxel_mm
    box = _box(volume, np.ceil(_TRUNCATE * sigmas).astype(int) + 1)
    smooth = volume[box]
    for axis, sigma in enumerate(sigmas):
        smooth = ndimage.gaussian_filter1d(smooth, sigma, axis=axis, truncate=_TRUNCATE)
    around = ndimage.maximum_filter(smooth, size=2 * _WITHIN_VOXELS + 1, mode="constant")
    peaks = (smooth == around) & (smooth > _OF_LARGEST * smooth.max())
    seeds = np.zeros(volume.shape, dtype=np.int32)
    seeds[box] = ndimage.label(peaks)[0]
    return seeds


def _box(volume: NDArray[np.float32], margin: NDArray[np.intp]) -> tuple[slice, ...]:
    """Return the box with all values above 0, and as much around it as smoothing reaches."""
    bounds = []
    for axis, beyond in enumerate(margin.tolist()):
        others = tuple(other for other in range(volume.ndim) if other != axis)
        above = np.flatnonzero(volume.any(axis=others))
        bounds.append(slice(max(0, int(above[0]) - beyond), int(above[-1]) + beyond + 1))
    return tuple(bounds)


def local_maxima_of_graph(
    values: NDArray[np.floating], lengths: csr_array, coordinates: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the local maxima of a smoothed map along surfaces or within structures.

    This is what nilearn's RegionExtractor does in volumes: a maximum is no less than any other
    value within 20 mm, nor than those of its neighbours, and more than a tenth of the largest.
    Distances are along the surface: two banks of a sulcus are near each other in space only.

    Parameters
    ----------
    values : ndarray, shape (n,)
        0 or above, somewhere above, smoothed (`SMOOTHING_FWHM_MM`).
    lengths : csr_array, shape (n, n)
        The distances between neighbours in mm, symmetric.
    coordinates : ndarray of float64, shape (n, 3)
        By which maxima are numbered: from below, from behind, from the left.

    Returns
    -------
    ndarray of int, shape (n,)
        Number of the maximum, from 1; the same for equal neighbours. 0 elsewhere.
    """
    neighbours = lengths.tocoo()
    highest = values.copy()
    np.maximum.at(highest, neighbours.row, values[neighbours.col])
    candidates = np.flatnonzero((values == highest) & (values > _OF_LARGEST * values.max()))
    graph = (lengths.indptr.astype(np.int64), lengths.indices.astype(np.int64),
             lengths.data.astype(np.float64))  # fmt: skip
    distance, reached = np.full(len(values), np.inf), np.empty(len(values), dtype=np.int64)
    peaks = []
    for one in candidates.tolist():
        around = reached[: reach(one, _WITHIN_MM, graph, distance, reached)]
        if values[around].max() <= values[one]:
            peaks.append(one)
        distance[around] = np.inf
    return _numbered(np.array(peaks, dtype=np.intp), lengths, coordinates)


def _numbered(
    peaks: NDArray[np.intp], lengths: csr_array, coordinates: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the number of each peak at its place; those that touch are one."""
    order = peaks[np.lexsort(coordinates[peaks].round(_DIGITS).T)]
    among = lengths[order][:, order]
    labels = connected_components(among, directed=True, connection="strong")[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    seeds = np.zeros(len(coordinates), dtype=np.intp)
    seeds[order] = first.argsort().argsort()[inverse] + 1
    return seeds
