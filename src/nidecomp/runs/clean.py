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
from nidecomp.core.linalg import blocks
from nidecomp.core.packed import BLOCK

# Residuals smaller than this fraction of the series are rounding errors.
_CONSTANT = 2e-6


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A cleaned series, and the number of features without signal.

    Parameters
    ----------
    series : ndarray of float32, shape (n_kept, n_features)
        Orthogonal to all regressors, with standard deviation 1 (n - 1 in the denominator).
        Features without signal are 0.
    n_constant : int
        Number of features without signal, which the nuisance regressors explain completely.
    """

    series: NDArray[np.float32]
    n_constant: int

    @property
    def total_variance(self) -> float:
        """The sum of squares of the series: n - 1 for each feature with signal."""
        n_kept, n_features = self.series.shape
        return float((n_kept - 1) * (n_features - self.n_constant))


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
    avoids rounding errors due to the baseline.
    """
    n_kept, n_features = series.shape
    basis = nuisance.astype(np.float32)
    across = np.ascontiguousarray(basis.T)
    n_constant = 0
    for features in blocks(n_features, BLOCK):
        block, largest = _deviations(series, features)
        block -= basis @ (across @ block)
        scale = standardise(block, largest, n_kept)
        n_constant += int(np.count_nonzero(scale == 0))
        series[:, features] = block
    return Cleaned(series, n_constant)


def _deviations(
    series: NDArray[np.float32], features: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the deviations of some features from their first values, and their largest values.

    Parameters
    ----------
    series : ndarray of float32, shape (n_kept, n_features), C-contiguous
    features : slice
        A block of them.

    Returns
    -------
    block : ndarray of float32, shape (n_kept, n_block)
    largest : ndarray of float32, shape (n_block,)
        Absolute values of the series itself, not of its deviations.
    """
    n_block = features.stop - features.start
    block = np.empty((len(series), n_block), dtype=np.float32)
    largest = np.empty(n_block, dtype=np.float32)
    _take_deviations(series, features.start, block, largest)
    return block, largest


@compiled
def _take_deviations(
    series: NDArray[np.float32],
    start: int,
    block: NDArray[np.float32],
    largest: NDArray[np.float32],
) -> None:
    n_columns = len(largest)
    first = series[0, start : start + n_columns]
    for column in range(n_columns):
        largest[column] = np.abs(first[column])
    for row in range(len(series)):
        values, result = series[row, start : start + n_columns], block[row]
        for column in range(n_columns):
            value = values[column]
            result[column] = value - first[column]
            largest[column] = max(largest[column], np.abs(value))


def standardise(
    block: NDArray[np.float32], largest: NDArray[np.float32], n_kept: int
) -> NDArray[np.float32]:
    """Scale residuals to unit variance in place.

    Parameters
    ----------
    block : ndarray of float32, shape (n_rows, n_block)
        Residuals of some features, in any orthonormal coordinates. Those of features without signal
        are set to 0.
    largest : ndarray of float32, shape (n_block,)
        Absolute values of the series before cleaning, of which rounding errors are a fraction.
    n_kept : int
        Number of volumes.

    Returns
    -------
    ndarray of float32, shape (n_block,)
        What each feature was multiplied by; 0 for a feature without signal.
    """
    scale = np.empty(len(largest), dtype=np.float32)
    _standardise(block, largest, n_kept, scale)
    return scale


@compiled
def _standardise(
    block: NDArray[np.float32],
    largest: NDArray[np.float32],
    n_kept: int,
    scale: NDArray[np.float32],
) -> None:
    n_rows, n_columns = block.shape
    power = np.zeros(n_columns, dtype=np.float32)
    for row in range(n_rows):
        values = block[row]
        for column in range(n_columns):
            power[column] += values[column] * values[column]
    for column in range(n_columns):
        deviation = np.sqrt(power[column] / np.float32(n_kept - 1))
        if deviation <= np.float32(_CONSTANT) * largest[column]:
            scale[column] = 0.0
        else:
            scale[column] = np.float32(1.0) / deviation
    for row in range(n_rows):
        values = block[row]
        for column in range(n_columns):
            values[column] *= scale[column]


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
