"""Reduce a run to its leading principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, leading_vectors

# Rows that are computed at once, fixed: a product of matrices of other shapes is rounded in another
# way, and a component must not depend on how many are kept. Products of 8 rows are half as fast.
_ROWS_AT_ONCE = 32
# Features per block: larger ones do not fit in the processor's cache, and take twice as long.
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The leading principal components of a series ``U S Vᵀ``.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        The leading rows of ``S Vᵀ``: orthogonal, each scaled by its singular value, in descending
        order.
    volumes : ndarray of float32, shape (n_volumes, n_rows)
        The leading columns of U. ``volumes @ rows`` approximates the series.
    total_variance : float
        Sum of squares of the series.
    squared : ndarray, shape (n_rows,)
        Squared singular values, descending: the sum of squares of each row.
    """

    rows: NDArray[np.float32]
    volumes: NDArray[np.float32]
    total_variance: float
    squared: NDArray[np.float64]

    def first(self, n_rows: int) -> PrincipalComponents:
        """Return the first principal components alone."""
        return PrincipalComponents(
            self.rows[:n_rows], self.volumes[:, :n_rows], self.total_variance, self.squared[:n_rows]
        )


def principal_components(
    series: NDArray[np.float32], gram: NDArray[np.float64], n_rows: int
) -> PrincipalComponents:
    """Return the leading principal components of a series.

    U and S are computed from the Gram matrix of the volumes, so that a single pass over the
    features remains.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_features)
    gram : ndarray, shape (n_volumes, n_volumes)
        Inner products of the volumes, ``series seriesᵀ``.
    n_rows : int
        Number of principal components to keep, at most n_volumes.

    Returns
    -------
    PrincipalComponents
    """
    vectors, squared = leading_vectors(gram, n_rows)
    rows = np.empty((vectors.shape[1], series.shape[1]), dtype=np.float32)
    across = padded_rows(vectors)
    for block in blocks(series.shape[1], _BLOCK):
        rows[:, block] = rows_of_block(across, series[:, block])[: len(rows)]
    volumes = vectors.astype(np.float32)
    return PrincipalComponents(rows, volumes, float(squared.sum()), squared[:n_rows])


def padded_rows(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return vectors as the rows of a matrix, with rows of zeros that `rows_of_block` needs.

    Parameters
    ----------
    vectors : ndarray, shape (n_volumes, n_vectors)

    Returns
    -------
    ndarray of float32, shape (n_vectors or more, n_volumes)
    """
    n_volumes, n_vectors = vectors.shape
    n_padded = -(-n_vectors // _ROWS_AT_ONCE) * _ROWS_AT_ONCE
    padded = np.zeros((n_padded, n_volumes), dtype=np.float32)
    padded[:n_vectors] = vectors.T
    return padded


def rows_of_block(across: NDArray[np.float32], block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the product of vectors and a block of a series.

    Parameters
    ----------
    across : ndarray of float32, shape (n_rows, n_volumes)
        From `padded_rows`.
    block : ndarray of float32, shape (n_volumes, n_block)
        Some features of the series.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_block)
        A row does not depend on the number of rows, to the last bit.
    """
    product = np.empty((len(across), block.shape[1]), dtype=np.float32)
    for start in range(0, len(across), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        np.matmul(across[some], block, out=product[some])
    return product
