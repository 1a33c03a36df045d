"""What components' time courses are like: how fast they change, whether they follow motion."""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray

from nidecomp.decomposition.matching import correlations, is_constant

# BOLD is below it (Griffanti et al. 2017, NeuroImage 154:188,
# doi:10.1016/j.neuroimage.2016.12.036).
CUTOFF_HZ = 0.1

# Volumes that must be left, beyond the sines and cosines fitted to them, to tell what these lack: a
# rule of thumb, nothing depends on it but whether very short or heavily scrubbed runs say anything.
_SPARE_VOLUMES = 10


def high_frequency_share(
    courses: NDArray[np.floating], times_s: NDArray[np.floating], cutoff_hz: float = CUTOFF_HZ
) -> NDArray[np.float64]:
    """Compute what share of the power of time courses lies above a frequency.

    Sines and cosines up to that frequency are fitted to the volumes that are there, by least
    squares (Vaníček 1971, doi:10.1007/BF00656134); the rest is above. What noise alone would
    give is counted by degrees of freedom: each of the n - 1 - p that p fitted ones leave stands
    for one of the N - 1 - p that a run without gaps has. So scrubbing makes neither slow courses
    fast (as it does in a periodogram, where gaps spread a sine over all frequencies) nor noise
    slow (as it does in a plain fit), and without gaps this is what a Fourier transform gives.

    Parameters
    ----------
    courses : ndarray, shape (n_volumes, n_components)
        Of one run, kept volumes only.
    times_s : ndarray, shape (n_volumes,)
        When each of them was acquired, ascending. The repetition time is the shortest step.
    cutoff_hz : float

    Returns
    -------
    ndarray, shape (n_components,)
        From 0 to 1; NaN for constant courses, and for all where the repetition time shows nothing
        above the cutoff or too few volumes were kept.
    """
    unknown = np.full(courses.shape[1], nan)
    n = len(times_s)
    if n < _SPARE_VOLUMES:
        return unknown
    step = float(np.diff(times_s).min())
    n_whole = round(float(times_s[-1] - times_s[0]) / step) + 1
    # A cutoff of 0.1 Hz includes the frequency that is 0.1 but for rounding.
    n_slow = int(cutoff_hz * n_whole * step * (1 + 1e-9))
    n_fitted = 2 * n_slow
    if 0.5 / step <= cutoff_hz or n - 1 - n_fitted < _SPARE_VOLUMES:
        return unknown
    centred = courses.astype(np.float64)
    constant = is_constant(centred.T)
    centred -= centred.mean(axis=0)
    basis = _sinusoids(times_s - times_s[0], np.arange(1, n_slow + 1) / (n_whole * step))
    # Where volumes are missing regularly, some sines are the same in those that are left.
    fitted, _, rank, _ = np.linalg.lstsq(basis, centred, rcond=None)
    rest = np.sum((centred - basis @ fitted) ** 2, axis=0) / (n - rank)
    total = np.sum(centred**2, axis=0) / (n - 1)
    above = rest * (n_whole - 1 - n_fitted) / (n_whole - 1)
    shares = np.divide(above, total, out=unknown, where=~constant)
    return np.asarray(np.minimum(shares, 1.0))


def _sinusoids(
    times_s: NDArray[np.floating], frequencies_hz: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Give a constant, cosines and sines, (n_volumes, 1 + 2 n_frequencies)."""
    angles = 2 * np.pi * np.outer(times_s, frequencies_hz)
    return np.column_stack([np.ones(len(times_s)), np.cos(angles), np.sin(angles)])


def motion_correlation(
    courses: NDArray[np.floating], motion: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Give each time course's largest absolute correlation with any measure of motion.

    Parameters
    ----------
    courses : ndarray, shape (n_volumes, n_components)
    motion : ndarray, shape (n_volumes, n_columns)
        In volumes where a column is not finite (the first, in derivatives), that column is left
        out. Constant columns correlate 0.

    Returns
    -------
    ndarray, shape (n_components,)
        From 0 to 1; NaN for constant courses, and for all where there is no column.
    """
    strongest = np.zeros(courses.shape[1])
    for column in motion.T:
        known = np.isfinite(column)
        r = correlations(courses[known].T, column[None, known])[:, 0]
        strongest = np.maximum(strongest, np.abs(r))
    none = is_constant(courses.T) if motion.shape[1] else np.ones(len(strongest), dtype=bool)
    return np.where(none, nan, strongest)
