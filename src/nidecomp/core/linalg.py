"""Sums over voxels in one fixed order, so that every run of them gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Voxels in one block: bounds what is held of a product (13 MB of float64 for 100 rows), and is
# fixed because it decides the order of sums.
_BLOCK = 16384


def blocks(n_voxels: int, size: int = _BLOCK) -> Iterator[slice]:
    """Cut the voxels into blocks of fixed size.

    Parameters
    ----------
    n_voxels : int
    size : int
        Voxels in a block. It decides the order of sums: nothing about execution may change it.

    Yields
    ------
    slice
    """
    for start in range(0, n_voxels, size):
        yield slice(start, min(start + size, n_voxels))


def evenly_spaced(n_voxels: int, most: int) -> NDArray[np.intp]:
    """Take voxels that stand for all of them, evenly spaced in the mask's order.

    Parameters
    ----------
    n_voxels, most : int

    Returns
    -------
    ndarray of int
        Ascending; all voxels where there are no more than `most`.
    """
    n_taken = min(n_voxels, most)
    return np.asarray(np.arange(n_taken) * n_voxels // n_taken)


def products(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the inner products of the rows of two arrays, summed in float64.

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
    """Give the leading left singular vectors of a matrix, from the inner products of its rows.

    Parameters
    ----------
    gram : ndarray, shape (n_rows, n_rows)
    n_leading : int
        At most n_rows.

    Returns
    -------
    vectors : ndarray, shape (n_rows, n_leading)
        Orthonormal columns, the largest singular value first. A singular vector has no sign of
        its own: its largest entry is positive.
    squared : ndarray, shape (n_rows,)
        All squared singular values, descending.
    """
    values, vectors = np.linalg.eigh(gram)
    leading = vectors[:, ::-1][:, :n_leading]
    largest = leading[np.argmax(np.abs(leading), axis=0), np.arange(leading.shape[1])]
    return leading * np.where(largest < 0, -1.0, 1.0), np.maximum(values[::-1], 0.0)
