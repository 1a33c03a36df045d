"""Clean a series by one orthogonal projection, and scale it to unit variance.

Filters and regressors are applied in a single least-squares fit. If they are applied in sequence,
the second step can reintroduce artifacts that the first removed (Lindquist et al. 2019, Modular
preprocessing pipelines can reintroduce artifacts into fMRI data, Human Brain Mapping 40:2358).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.compiled import compiled

# Residuals smaller than this fraction of the series are rounding errors.
_CONSTANT = 2e-6
# Voxels per block: with 150 volumes, a block fits in the processor's cache. Fixed, because it
# determines the order of summation.
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A cleaned series, its Gram matrix, and the number of features without signal.

    Parameters
    ----------
    series : ndarray of float32, shape (n_kept, n_features)
        Orthogonal to all regressors, with standard deviation 1 (n - 1 in the denominator).
        Features without signal are 0.
    gram : ndarray of float64, shape (n_kept, n_kept)
        ``series seriesᵀ``, computed in the same pass over the series.
    n_constant : int
        Number of features without signal, which the nuisance regressors explain completely.
    """

    series: NDArray[np.float32]
    gram: NDArray[np.float64]
    n_constant: int


def clean(series: NDArray[np.float32], nuisance: NDArray[np.float64]) -> Cleaned:
    """Regress out the nuisance basis and scale each feature to unit variance.

    Parameters
    ----------
    series : ndarray of float32, shape (n_kept, n_features)
        Modified in place.
    nuisance : ndarray, shape (n_kept, n_regressors)
        Orthonormal columns that span the constant, the trend, the filters and the confounds.

    Returns
    -------
    Cleaned

    Notes
    -----
    This takes one pass over the series. Arithmetic is in float32: the first value of each feature
    is subtracted first, which has no effect on the result (the constant is removed in any case) and
    avoids rounding errors due to the baseline. Sums over blocks are in float64.
    """
    n_kept, n_features = series.shape
    basis = nuisance.astype(np.float32)
    across = np.ascontiguousarray(basis.T)
    gram = np.zeros((n_kept, n_kept))
    n_constant = 0
    for start in range(0, n_features, _BLOCK):
        raw = series[:, start : start + _BLOCK]
        largest = np.maximum(raw.max(axis=0), -raw.min(axis=0))
        block = raw - raw[0]
        block -= basis @ (across @ block)
        n_constant += _standardise(block, largest)
        gram += block @ block.T
        raw[...] = block
    return Cleaned(series, gram, n_constant)


@compiled
def _standardise(block: NDArray[np.float32], largest: NDArray[np.float32]) -> int:
    """Scale columns to unit variance in place, and return how many have no signal (set to 0)."""
    n_rows, n_columns = block.shape
    power = np.zeros(n_columns, dtype=np.float32)
    for row in range(n_rows):
        values = block[row]
        for column in range(n_columns):
            power[column] += values[column] * values[column]
    n_constant = 0
    for column in range(n_columns):
        deviation = np.sqrt(power[column] / np.float32(n_rows - 1))
        if deviation <= np.float32(_CONSTANT) * largest[column]:
            n_constant += 1
            power[column] = 0.0
        else:
            power[column] = np.float32(1.0) / deviation
    for row in range(n_rows):
        values = block[row]
        for column in range(n_columns):
            values[column] *= power[column]
    return n_constant


def orthonormal_basis(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the span of regressors, which may be collinear.

    Parameters
    ----------
    columns : ndarray, shape (n_volumes, n_columns)
        The regressors.

    Returns
    -------
    ndarray, shape (n_volumes, rank)
    """
    norms = np.linalg.norm(columns, axis=0)
    scaled = columns[:, norms > 0] / norms[norms > 0]
    if scaled.shape[1] == 0:
        return np.zeros((len(columns), 0))
    U, S, _ = np.linalg.svd(scaled, full_matrices=False)
    negligible = S[0] * max(scaled.shape) * np.finfo(np.float64).eps
    rank = int(np.count_nonzero(S > negligible))
    return np.ascontiguousarray(U[:, :rank])


def cosines(
    n_volumes: int, repetition_time_s: float, high_pass: float | None, low_pass: float | None
) -> NDArray[np.float64]:
    """Return the discrete cosines outside of a pass band, to be used as regressors.

    The k-th basis function of the discrete cosine transform (type II) has a frequency of
    k / (2 · n_volumes · TR) Hz. Regressing out those below `high_pass` and above `low_pass` is a
    band-pass filter.

    Parameters
    ----------
    n_volumes : int
        Number of volumes before scrubbing.
    repetition_time_s : float
        Repetition time in seconds.
    high_pass, low_pass : float or None
        Cutoff frequencies in Hz.

    Returns
    -------
    ndarray, shape (n_volumes, n_cosines)
    """
    order = np.arange(1, n_volumes)
    frequency = order / (2 * n_volumes * repetition_time_s)
    removed = np.zeros(len(order), dtype=bool)
    if high_pass is not None:
        removed |= frequency < high_pass
    if low_pass is not None:
        removed |= frequency > low_pass
    time = (np.arange(n_volumes) + 0.5) / n_volumes
    return np.cos(np.pi * np.outer(time, order[removed]))


def polynomials(n_volumes: int) -> NDArray[np.float64]:
    """Return the constant and the linear trend as regressors, shape (n_volumes, 2)."""
    return np.column_stack([np.ones(n_volumes), np.linspace(-1.0, 1.0, n_volumes)])
