"""Smoothness of maps: how many independent values they have, and maps that are as smooth."""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Of large masks, every second or third voxel along an axis is enough if the distance stays below
# this: smooth maps hardly change in between, and it saves time.
_SPACING_MM = 4.0
_FEWEST_VOXELS = 10_000
# By how much images are padded, so that distant voxels do not come close to each other in a Fourier
# transform; and the smallest share of the voxels that must have a partner at a distance. Both are
# rules of thumb: maps are hardly correlated over such distances.
_PADDING, _LEAST_PAIRS = 1.5, 0.1
# Maps with more independent values than this share of the voxels taken are rough; and how many of
# them are looked at in all voxels, which takes a second.
_ROUGH, _MOST_ROUGH_MAPS = 0.25, 4


def independent_values(
    maps: NDArray[np.floating], mask: NDArray[np.bool_], voxel_mm: NDArray[np.floating]
) -> float:
    """Return how many independent values unrelated maps of this smoothness have.

    Parameters
    ----------
    maps : ndarray, shape (n_maps, n_voxels)
        At least two that are not constant. Their order does not matter, but for rounding.
    mask : ndarray of bool, 3D
        The voxels of the maps, the last axis varies fastest.
    voxel_mm : ndarray, shape (3,)
        The distance of voxels along each axis of the mask.

    Returns
    -------
    float
        1/variance of Pearson's r between two unrelated maps with the mean spatial autocorrelation
        of these. NaN where there are fewer than two maps.

    Notes
    -----
    For two stationary maps with autocovariances C₁ and C₂ at the distance h, of which N(h) pairs
    are in the mask, the variance of r is ``Σ N(h) C₁(h) C₂(h) / (N(0)² C₁(0) C₂(0))`` (Clifford,
    Richardson and Hémon 1989, Assessing the significance of the correlation between two spatial
    processes, Biometrics 45:123). The mean over all pairs of different maps is returned: a map with
    itself would count the sampling error of its autocovariance twice.
    """
    sparse = _thinned(mask, voxel_mm)
    found = _independent_values(maps, mask, sparse)
    if found > _ROUGH * np.count_nonzero(mask[sparse]) and mask[sparse].shape != mask.shape:
        # The voxels in between are independent, too. All of them are looked at in a few maps.
        return _independent_values(maps[:_MOST_ROUGH_MAPS], mask, (slice(None),) * 3)
    return found


def _thinned(mask: NDArray[np.bool_], voxel_mm: NDArray[np.floating]) -> tuple[slice, ...]:
    """Return the slices that take enough voxels of a mask."""
    steps = np.maximum(1, _SPACING_MM // np.asarray(voxel_mm)).astype(int)
    sparse = tuple(slice(None, None, step) for step in steps)
    enough = np.count_nonzero(mask[sparse]) >= _FEWEST_VOXELS
    return sparse if enough else (slice(None),) * 3


def _independent_values(
    maps: NDArray[np.floating], mask: NDArray[np.bool_], sparse: tuple[slice, ...]
) -> float:
    inside = mask[sparse]
    n_voxels = np.count_nonzero(inside)
    shape = [fft.next_fast_len(int(_PADDING * size), real=True) for size in inside.shape]
    pairs = _autocorrelation(inside.astype(np.float32), shape)
    total, squares, n_maps = np.zeros(shape), np.zeros(shape), 0
    volume = np.zeros(mask.shape, dtype=np.float32)
    for values in maps:
        volume[mask] = values
        here = volume[sparse].copy()
        here[inside] -= here[inside].mean(dtype=np.float64)
        own = _autocorrelation(here, shape)
        if own.flat[0] > 0:
            own /= own.flat[0]
            total += own
            squares += own**2
            n_maps += 1
    if n_maps < 2:
        return nan
    known = pairs > _LEAST_PAIRS * n_voxels
    products = (total[known] ** 2 - squares[known]) / (n_maps * (n_maps - 1))
    # Independent values are never more than voxels; maps that differ in sign everywhere could
    # otherwise have a variance of 0 or less.
    variance = max(float(np.sum(products / pairs[known])), 1 / n_voxels)
    return 1 / variance


def _autocorrelation(volume: NDArray[np.float32], shape: list[int]) -> NDArray[np.float64]:
    """Return the sum over voxels of the products with the voxel at each distance."""
    power = np.abs(fft.rfftn(volume, shape)) ** 2
    return np.asarray(fft.irfftn(power, shape), dtype=np.float64)


def surrogate_maps(
    maps: NDArray[np.floating],
    mask: NDArray[np.bool_],
    voxel_mm: NDArray[np.floating],
    seed: int,
    *,
    thin: bool = True,
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
    thin : bool
        Whether voxels may be left out.

    Returns
    -------
    ndarray of float32, shape (n_maps, n_values)
        At all voxels of the mask, or at some that are at most 4 mm apart, with the norms of the
        given maps.

    Notes
    -----
    Phase randomisation (Theiler et al. 1992, Testing for nonlinearity in time series: the method of
    surrogate data, Physica D 58:77), here in space: maps become Gaussian and stationary. Voxels
    outside of the mask count as 0, so that surrogates are a little rougher than the maps: the edge
    of the mask is in their spectrum.
    """
    sparse = _thinned(mask, voxel_mm) if thin else (slice(None),) * 3
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
