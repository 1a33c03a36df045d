"""Maps with the spatial smoothness of given ones, and nothing else in common with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Voxels are taken at least this far apart: smooth maps do not change in between, and it saves time.
_SPACING_MM = 4.0


def surrogate_maps(
    maps: NDArray[np.floating],
    mask: NDArray[np.bool_],
    voxel_mm: NDArray[np.floating],
    seed: int,
) -> NDArray[np.float32]:
    """Return maps with the power spectra of given ones and random phases.

    Parameters
    ----------
    maps : ndarray, shape (n_maps, n_voxels)
    mask : ndarray of bool, 3D
        The voxels of the maps, the last axis varies fastest.
    voxel_mm : ndarray, shape (3,)
        The distance of voxels along each axis of the mask.
    seed : int
        All maps get the same random phases, so that they are as correlated with each other as the
        given ones are.

    Returns
    -------
    ndarray of float32, shape (n_maps, n_values)
        At those voxels of the mask that are about 4 mm apart or more, with the norms of the given
        maps.

    Notes
    -----
    Phase randomisation (Theiler et al. 1992, Testing for nonlinearity in time series: the method of
    surrogate data, Physica D 58:77), here in space: maps become Gaussian and stationary. Voxels
    outside of the mask count as 0, so that surrogates are a little rougher than the maps: the edge
    of the mask is in their spectrum.
    """
    steps = np.maximum(1, _SPACING_MM // np.asarray(voxel_mm)).astype(int)
    sparse = tuple(slice(None, None, step) for step in steps)
    inside = mask[sparse]
    shape = [fft.next_fast_len(size, real=True) for size in inside.shape]
    white = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    phases = fft.rfftn(white)
    phases /= np.maximum(np.abs(phases), np.finfo(np.float32).tiny)
    part = tuple(slice(size) for size in inside.shape)
    made = np.empty((len(maps), np.count_nonzero(inside)), dtype=np.float32)
    volume = np.zeros(mask.shape, dtype=np.float32)
    for index, values in enumerate(maps):
        volume[mask] = values
        whole = fft.irfftn(fft.rfftn(volume[sparse], shape) * phases, shape)
        made[index] = whole[part][inside]
        norm = np.linalg.norm(made[index])
        made[index] *= np.linalg.norm(values) / norm if norm else 0.0
    return made
