"""Linear algebra over voxels with a fixed summation order, so that results are reproducible."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Voxels per block: limits the memory of a product (13 MB of float64 for 100 rows). Fixed, because
# it determines the order of summation.
_BLOCK = 16384


def blocks(n_voxels: int, size: int = _BLOCK) -> Iterator[slice]:
    """Split the voxels into blocks of fixed size.

    Parameters
    ----------
    n_voxels : int
    size : int
        Voxels per block. It determines the order of summation and must not depend on execution
        settings.

    Yields
    ------
    slice
    """
    for start in range(0, n_voxels, size):
        yield slice(start, min(start + size, n_voxels))


def evenly_spaced(n_voxels: int, most: int) -> NDArray[np.intp]:
    """Return the indices of evenly spaced voxels, in the order of the mask.

    Parameters
    ----------
    n_voxels, most : int

    Returns
    -------
    ndarray of int
        Ascending; all voxels if there are no more than `most`.
    """
    n_taken = min(n_voxels, most)
    return np.asarray(np.arange(n_taken) * n_voxels // n_taken)


def products(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the inner products of the rows of two arrays, summed in float64.

    Parameters
    ----------
    first : ndarray, shape (n_first, n_voxels)
    second : ndarray, shape (n_second, n_voxels)

    Returns
    -------
    ndarray, shape (n_first, n_second)
    """
    total = np.zeros((len(first), len(second)))
    for block in blocks(first.shape[1]):
        part = first[:, block].astype(np.float64)
        other = part if second is first else second[:, block].astype(np.float64)
        total += part @ other.T
    return total


def leading_vectors(
    gram: NDArray[np.float64], n_leading: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the leading left singular vectors of a matrix, given the Gram matrix of its rows.

    Parameters
    ----------
    gram : ndarray, shape (n_rows, n_rows)
    n_leading : int
        At most n_rows.

    Returns
    -------
    vectors : ndarray, shape (n_rows, n_leading)
        Orthonormal columns, the largest singular value first. The sign of each is chosen so that
        its largest entry is positive.
    squared : ndarray, shape (n_rows,)
        All squared singular values, descending.
    """
    values, vectors = np.linalg.eigh(gram)
    return upwards(vectors[:, ::-1][:, :n_leading]), np.maximum(values[::-1], 0.0)


def upwards(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the columns of a matrix, with the signs that make their largest entries positive."""
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(vectors.shape[1])]
    return vectors * np.where(largest < 0, -1.0, 1.0)
