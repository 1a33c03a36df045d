"""Sums over voxels in one fixed order, so that every run of them gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Voxels in one block: bounds float64 copies, and is fixed because it decides the order of sums.
_BLOCK = 16384


def blocks(n_voxels: int) -> Iterator[slice]:
    """Cut the voxels into blocks of fixed size.

    Parameters
    ----------
    n_voxels : int

    Yields
    ------
    slice
    """
    for start in range(0, n_voxels, _BLOCK):
        yield slice(start, min(start + _BLOCK, n_voxels))


def leading_left(
    rows: NDArray[np.float32], n_leading: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the leading left singular vectors of a wide matrix.

    They are the eigenvectors of the small matrix ``rows rowsᵀ``: exact, and one pass over the
    voxels.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
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
    gram = np.zeros((len(rows), len(rows)))
    for block in blocks(rows.shape[1]):
        part = rows[:, block].astype(np.float64)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    leading = vectors[:, ::-1][:, :n_leading]
    largest = leading[np.argmax(np.abs(leading), axis=0), np.arange(leading.shape[1])]
    return leading * np.where(largest < 0, -1.0, 1.0), np.maximum(values[::-1], 0.0)
