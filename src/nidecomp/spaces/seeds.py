"""Local maxima of a volume, around which regions lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# The parameters of nilearn's RegionExtractor: smoothing, the distance within which there is one
# maximum, and the share of the largest that a maximum has at least.
_SMOOTHING_FWHM_MM = 6.0
_WITHIN_VOXELS = 10
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
    sigmas = _SMOOTHING_FWHM_MM / _FWHM_OF_SIGMA / voxel_mm
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
