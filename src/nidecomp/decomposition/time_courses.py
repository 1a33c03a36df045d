"""Measures of time courses: their share of high frequencies and their correlation with motion."""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray

from nidecomp.decomposition.matching import correlations, is_constant

# The BOLD signal of networks is mostly below 0.1 Hz (Griffanti et al. 2017, NeuroImage 154:188,
# doi:10.1016/j.neuroimage.2016.12.036).
CUTOFF_HZ = 0.1

# The residual degrees of freedom that the fit of sines and cosines must leave. A rule of thumb: it
# matters only for very short or heavily scrubbed runs.
_SPARE_VOLUMES = 10


def high_frequency_share(
    courses: NDArray[np.floating], times_s: NDArray[np.floating], cutoff_hz: float = CUTOFF_HZ
) -> NDArray[np.float64]:
    """Compute the share of the power of time courses that lies above a frequency.

    Sines and cosines up to that frequency are fitted to the kept volumes by least squares (Vaníček
    1971, doi:10.1007/BF00656134). The residual is the power above. Degrees of freedom correct for
    scrubbed volumes: with p regressors, the residual's n - 1 - p degrees of freedom stand for the
    N - 1 - p of a run without gaps. Without this correction, or in a periodogram, scrubbing would
    change the share: a plain fit makes noise look slow, and a periodogram makes slow time courses
    look fast, because gaps spread a sine over all frequencies. Without gaps, the result is that of
    a Fourier transform.

    Parameters
    ----------
    courses : ndarray, shape (n_volumes, n_components)
        The time courses of one run, for kept volumes only.
    times_s : ndarray, shape (n_volumes,)
        The ascending acquisition times of these volumes in s. The shortest step is taken as the
        repetition time.
    cutoff_hz : float
        The frequency in Hz.

    Returns
    -------
    ndarray, shape (n_components,)
        From 0 to 1. NaN for constant time courses. NaN for all time courses if the repetition time
        is too long to show frequencies above the cutoff, or if too few volumes were kept.
    """
    unknown = np.full(courses.shape[1], nan)
    n = len(times_s)
    if n < _SPARE_VOLUMES:
        return unknown
    step = float(np.diff(times_s).min())
    n_whole = round(float(times_s[-1] - times_s[0]) / step) + 1
    # The tolerance includes a frequency that equals the cutoff except for rounding.
    n_slow = int(cutoff_hz * n_whole * step * (1 + 1e-9))
    n_fitted = 2 * n_slow
    if 0.5 / step <= cutoff_hz or n - 1 - n_fitted < _SPARE_VOLUMES:
        return unknown
    centred = courses.astype(np.float64)
    constant = is_constant(centred.T)
    centred -= centred.mean(axis=0)
    basis = _sinusoids(times_s - times_s[0], np.arange(1, n_slow + 1) / (n_whole * step))
    # Where volumes are missing at regular intervals, some sines are the same in the kept volumes,
    # which lowers the rank.
    fitted, _, rank, _ = np.linalg.lstsq(basis, centred, rcond=None)
    rest = np.sum((centred - basis @ fitted) ** 2, axis=0) / (n - rank)
    total = np.sum(centred**2, axis=0) / (n - 1)
    above = rest * (n_whole - 1 - n_fitted) / (n_whole - 1)
    shares = np.divide(above, total, out=unknown, where=~constant)
    return np.asarray(np.minimum(shares, 1.0))


def _sinusoids(
    times_s: NDArray[np.floating], frequencies_hz: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return a constant, cosines and sines as columns, (n_volumes, 1 + 2 n_frequencies)."""
    angles = 2 * np.pi * np.outer(times_s, frequencies_hz)
    return np.column_stack([np.ones(len(times_s)), np.cos(angles), np.sin(angles)])


def motion_correlation(
    courses: NDArray[np.floating], motion: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return each time course's largest absolute correlation with any measure of motion.

    Parameters
    ----------
    courses : ndarray, shape (n_volumes, n_components)
    motion : ndarray, shape (n_volumes, n_columns)
        Motion parameters and similar. Volumes in which a column is not finite (the first one, for
        derivatives) are left out of that column's correlations. Constant columns have a correlation
        of 0.

    Returns
    -------
    ndarray, shape (n_components,)
        From 0 to 1. NaN for constant time courses, and for all time courses if there are no
        columns.
    """
    strongest = np.zeros(courses.shape[1])
    for column in motion.T:
        known = np.isfinite(column)
        r = correlations(courses[known].T, column[None, known])[:, 0]
        strongest = np.maximum(strongest, np.abs(r))
    none = is_constant(courses.T) if motion.shape[1] else np.ones(len(strongest), dtype=bool)
    return np.where(none, nan, strongest)
