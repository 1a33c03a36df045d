"""Match the maps of one decomposition to those of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nidecomp.core.linalg import blocks, products

# A variance below this share of the mean square counts as 0. Rounding gives a constant map a share
# of 1e-32; one voxel in a million that differs in its last digit gives 1e-21.
_ROUNDING = 1e-26


@dataclass(frozen=True, eq=False)
class Matching:
    """One-to-one pairs of maps from two sets.

    Parameters
    ----------
    first, second : ndarray of int, shape (n_pairs,)
        The indices of each pair's maps in the first and the second set, sorted by `first`. There
        are as many pairs as maps in the smaller set.
    r : ndarray, shape (n_pairs,)
        The correlation of each pair, with its sign.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    r: NDArray[np.float64]


def correlations(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the correlation over voxels of every map of one set with every map of another.

    Parameters
    ----------
    first : ndarray, shape (n_first, n_voxels)
    second : ndarray, shape (n_second, n_voxels)

    Returns
    -------
    ndarray, shape (n_first, n_second)
        Pearson's r; 0 where a map is constant.
    """
    means = [_means(maps) for maps in (first, second)]
    cross = np.zeros((len(first), len(second)))
    squares = [np.zeros(len(first)), np.zeros(len(second))]
    for block in blocks(first.shape[1]):
        parts = [
            maps[:, block].astype(np.float64) - mean[:, None]
            for maps, mean in zip((first, second), means, strict=True)
        ]
        cross += parts[0] @ parts[1].T
        for which, part in enumerate(parts):
            squares[which] += np.einsum("ij,ij->i", part, part)
    varies = [
        ~_is_rounding(square, mean, first.shape[1])
        for square, mean in zip(squares, means, strict=True)
    ]
    # The roots are multiplied, because the product of very small sums of squares would be 0.
    scale = np.outer(*(np.sqrt(square) for square in squares))
    r = np.divide(cross, scale, out=np.zeros_like(cross), where=np.logical_and.outer(*varies))
    return np.asarray(np.clip(r, -1.0, 1.0))


def is_constant(maps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which maps have the same value in every voxel, except for rounding, (n_maps,)."""
    means = _means(maps)
    squares = np.zeros(len(maps))
    for block in blocks(maps.shape[1]):
        squares += np.sum((maps[:, block].astype(np.float64) - means[:, None]) ** 2, axis=1)
    return _is_rounding(squares, means, maps.shape[1])


def _is_rounding(
    squares: NDArray[np.float64], means: NDArray[np.float64], n_voxels: int
) -> NDArray[np.bool_]:
    """Return which sums of squared deviations are so small that only rounding caused them."""
    return np.asarray(squares <= _ROUNDING * (squares + n_voxels * means**2))


def _means(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    total = np.zeros(len(maps))
    for block in blocks(maps.shape[1]):
        total += maps[:, block].sum(axis=1, dtype=np.float64)
    # Without any voxels, the mean is set to 0.
    return np.asarray(total / max(maps.shape[1], 1))


def match(correlation: NDArray[np.float64]) -> Matching:
    """Return the one-to-one pairs of maps with the largest sum of absolute correlations.

    This assignment problem is solved with scipy's `linear_sum_assignment`; Varoquaux et al. (2010),
    NeuroImage 51:288, section 2.5, use the Hungarian method.

    Parameters
    ----------
    correlation : ndarray, shape (n_first, n_second)
        The correlation of every map of one set with every map of another.

    Returns
    -------
    Matching
    """
    first, second = linear_sum_assignment(-np.abs(correlation))
    return Matching(first, second, correlation[first, second])


def subspace_overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return how far two sets of maps span the same space, independent of their rotation.

    Parameters
    ----------
    first, second : ndarray, shape (n_maps, n_voxels)

    Returns
    -------
    float
        The mean squared cosine of the principal angles (Varoquaux et al. 2010, equation 12): 1 for
        the same space, near 0 for unrelated spaces.
    """
    bases = [_orthonormal(maps) for maps in (first, second)]
    n_dims = min(len(basis) for basis in bases)
    if n_dims == 0:
        return 0.0
    return float(np.sum(products(*bases) ** 2) / n_dims)


def _orthonormal(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the space that maps span, shape (rank, n_voxels)."""
    values, vectors = np.linalg.eigh(products(maps, maps))
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float32).eps
    across = vectors[:, kept] / np.sqrt(values[kept])
    return np.asarray(across.T @ maps.astype(np.float64))
