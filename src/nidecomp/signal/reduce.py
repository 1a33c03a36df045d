"""Reducing one run to its leading components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Features in one block of a sum: fixed, so that every machine adds in the same order.
_BLOCK = 16384


def reduce_rows(
    series: NDArray[np.float32], n_rows: int
) -> tuple[NDArray[np.float32], float, float]:
    """Keep the leading principal components of a series.

    With ``series = U S Vᵀ`` the rows given are the leading ones of ``S Vᵀ``. They come from the
    eigenvectors of the small matrix ``series seriesᵀ``, which costs one pass over the features.

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
    total_variance, reduced_variance : float
        Sum of squares of the series and of the rows.
    """
    n_volumes, n_features = series.shape
    gram = np.zeros((n_volumes, n_volumes))
    for start in range(0, n_features, _BLOCK):
        block = series[:, start : start + _BLOCK].astype(np.float64)
        gram += block @ block.T
    values, vectors = np.linalg.eigh(gram)
    leading = vectors[:, ::-1][:, :n_rows]
    # An eigenvector has no sign of its own: its largest entry is made positive.
    largest = leading[np.argmax(np.abs(leading), axis=0), np.arange(leading.shape[1])]
    leading = leading * np.where(largest < 0, -1.0, 1.0)
    rows = np.empty((leading.shape[1], n_features), dtype=np.float32)
    for start in range(0, n_features, _BLOCK):
        rows[:, start : start + _BLOCK] = leading.T @ series[:, start : start + _BLOCK]
    return rows, float(np.trace(gram)), float(values[::-1][:n_rows].sum())
