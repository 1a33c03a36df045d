"""Reducing one run to its leading components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, leading_vectors


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The leading principal components of a series ``U S Vᵀ``.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        The leading rows of ``S Vᵀ``: orthogonal, largest first, each scaled by its singular value.
    volumes : ndarray of float32, shape (n_volumes, n_rows)
        The leading columns of U: ``volumes @ rows`` is the series as far as the rows hold it.
    total_variance : float
        Sum of squares of the series.
    squared : ndarray, shape (n_rows,)
        Squared singular values of the rows, descending: their sums of squares.
    """

    rows: NDArray[np.float32]
    volumes: NDArray[np.float32]
    total_variance: float
    squared: NDArray[np.float64]


def principal_components(
    series: NDArray[np.float32], gram: NDArray[np.float64], n_rows: int
) -> PrincipalComponents:
    """Keep the leading principal components of a series.

    U and S are those of the volumes' inner products, so that one pass over the features is left
    to do.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_features)
    gram : ndarray, shape (n_volumes, n_volumes)
        The volumes' inner products, ``series seriesᵀ``.
    n_rows : int
        How many to keep, at most n_volumes.

    Returns
    -------
    Reduced
    """
    vectors, squared = leading_vectors(gram, n_rows)
    across = np.ascontiguousarray(vectors.T, dtype=np.float32)
    n_features = series.shape[1]
    rows = np.empty((len(across), n_features), dtype=np.float32)
    for block in blocks(n_features):
        rows[:, block] = across @ series[:, block]
    volumes = vectors.astype(np.float32)
    return PrincipalComponents(rows, volumes, float(squared.sum()), squared[:n_rows])
