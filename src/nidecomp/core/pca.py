"""Reduce a run to its leading principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, leading_vectors

# Rows that are computed at once, fixed: a product of matrices of other shapes is rounded in another
# way, and a component must not depend on how many are kept.
_ROWS_AT_ONCE = 8


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
    n_kept, n_features = vectors.shape[1], series.shape[1]
    across = np.zeros((-(-n_kept // _ROWS_AT_ONCE) * _ROWS_AT_ONCE, len(series)), dtype=np.float32)
    across[:n_kept] = vectors.T
    rows = np.empty((n_kept, n_features), dtype=np.float32)
    for block in blocks(n_features):
        for start in range(0, n_kept, _ROWS_AT_ONCE):
            some = across[start : start + _ROWS_AT_ONCE] @ series[:, block]
            rows[start : start + _ROWS_AT_ONCE, block] = some[: n_kept - start]
    volumes = vectors.astype(np.float32)
    return PrincipalComponents(rows, volumes, float(squared.sum()), squared[:n_rows])
