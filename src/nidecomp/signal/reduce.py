"""Reducing one run to its leading components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.linalg import blocks, leading_vectors
from nidecomp.signal.clean import Cleaned


def reduce_rows(
    cleaned: Cleaned, n_rows: int
) -> tuple[NDArray[np.float32], float, NDArray[np.float64]]:
    """Keep the leading principal components of a series.

    With ``series = U S Vᵀ`` the rows given are the leading ones of ``S Vᵀ``. U and S are those of
    the volumes' inner products, so that one pass over the features is left to do.

    Parameters
    ----------
    cleaned : Cleaned
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
    vectors, squared = leading_vectors(cleaned.gram, n_rows)
    across = np.ascontiguousarray(vectors.T, dtype=np.float32)
    n_features = cleaned.series.shape[1]
    rows = np.empty((len(across), n_features), dtype=np.float32)
    for block in blocks(n_features):
        rows[:, block] = across @ cleaned.series[:, block]
    return rows, float(squared.sum()), squared[:n_rows]
