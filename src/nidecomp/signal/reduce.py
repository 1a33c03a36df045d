"""Reducing one run to its leading components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.linalg import blocks, leading_left


def reduce_rows(
    series: NDArray[np.float32], n_rows: int
) -> tuple[NDArray[np.float32], float, NDArray[np.float64]]:
    """Keep the leading principal components of a series.

    With ``series = U S Vᵀ`` the rows given are the leading ones of ``S Vᵀ``. That costs two passes
    over the features.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_features)
        Cleaned and standardised.
    n_rows : int
        How many to keep, at most n_volumes.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_features)
        Orthogonal, largest first, each scaled by its singular value.
    total_variance : float
        Sum of squares of the series.
    squared : ndarray, shape (n_rows,)
        Squared singular values of the rows, descending: their sums of squares.
    """
    vectors, squared = leading_left(series, n_rows)
    rows = np.empty((vectors.shape[1], series.shape[1]), dtype=np.float32)
    for block in blocks(series.shape[1]):
        rows[:, block] = vectors.T @ series[:, block]
    return rows, float(squared.sum()), squared[:n_rows]
