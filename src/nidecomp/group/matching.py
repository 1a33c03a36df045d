"""Which map of one decomposition is which map of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nidecomp.linalg import blocks


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of maps, one to one.

    Parameters
    ----------
    first, second : ndarray of int, shape (n_pairs,)
        Indices into either set of maps, `first` ascending; as many as the smaller set has.
    r : ndarray, shape (n_pairs,)
        The pairs' correlation, with its sign.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    r: NDArray[np.float64]


def correlations(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlate every map of one set with every map of another over the voxels.

    Parameters
    ----------
    first : ndarray, shape (n_first, n_voxels)
    second : ndarray, shape (n_second, n_voxels)

    Returns
    -------
    ndarray, shape (n_first, n_second)
        Pearson's r; 0 where a map is constant.
    """
    both = len(first), len(second)
    products = np.zeros(both)
    sums, squares = [np.zeros(n) for n in both], [np.zeros(n) for n in both]
    n_voxels = first.shape[1]
    for block in blocks(n_voxels):
        parts = [maps[:, block].astype(np.float64) for maps in (first, second)]
        products += parts[0] @ parts[1].T
        for which, part in enumerate(parts):
            sums[which] += part.sum(axis=1)
            squares[which] += np.einsum("ij,ij->i", part, part)
    covariance = products - np.outer(*sums) / n_voxels
    # What is left of a constant map is rounding.
    floor = [square * n_voxels * np.finfo(np.float64).eps for square in squares]
    spread = [
        np.where(square - total**2 / n_voxels > least, square - total**2 / n_voxels, np.inf)
        for square, total, least in zip(squares, sums, floor, strict=True)
    ]
    r = covariance / np.sqrt(np.outer(*spread))
    return np.asarray(np.clip(r, -1.0, 1.0))


def match(correlation: NDArray[np.float64]) -> Matching:
    """Pair maps one to one so that the sum of absolute correlations is largest.

    The assignment problem, solved by the Hungarian method's successor in scipy, as in Varoquaux et
    al. (2010), NeuroImage 51:288, section 2.5.

    Parameters
    ----------
    correlation : ndarray, shape (n_first, n_second)

    Returns
    -------
    Matching
    """
    first, second = linear_sum_assignment(-np.abs(correlation))
    return Matching(first, second, correlation[first, second])


def subspace_overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Tell how far two sets of maps span the same space, whatever their rotation.

    Parameters
    ----------
    first, second : ndarray, shape (n_maps, n_voxels)

    Returns
    -------
    float
        The mean squared cosine of the principal angles: 1 for the same space, near 0 for unrelated
        ones (Varoquaux et al. 2010, equation 12).
    """
    bases = [_orthonormal(maps) for maps in (first, second)]
    n_dims = min(len(basis) for basis in bases)
    if n_dims == 0:
        return 0.0
    products = np.zeros((len(bases[0]), len(bases[1])))
    for block in blocks(first.shape[1]):
        products += bases[0][:, block] @ bases[1][:, block].T
    return float(np.sum(products**2) / n_dims)


def _orthonormal(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give an orthonormal basis of what maps span, shape (rank, n_voxels)."""
    gram = np.zeros((len(maps), len(maps)))
    for block in blocks(maps.shape[1]):
        part = maps[:, block].astype(np.float64)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float32).eps
    across = vectors[:, kept] / np.sqrt(values[kept])
    return np.asarray(across.T @ maps.astype(np.float64))
