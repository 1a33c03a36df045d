"""Compute the temporal signal-to-noise ratio of a run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced

# More voxels would hardly change the median: its standard error is 1 % of the values' spread.
_MOST_VOXELS = 20_000
# Below this, the mean is no baseline that signals change around: data were centred before, as
# XCP-D's denoised images are. A rule of thumb: images as they were measured have many times more.
_LEAST = 1.0


def temporal_snr(series: NDArray[np.float32]) -> float:
    """Return the median temporal signal-to-noise ratio of at most 20,000 voxels.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        As read, before cleaning.

    Returns
    -------
    float
        Median of the mean (without its sign) / standard deviation over voxels that are not constant
        (Krüger and Glover 2001, Magnetic Resonance in Medicine 46:631), at least 1. NaN if all
        voxels are constant, or if it is below 1: the data have no baseline.
    """
    some = series[:, evenly_spaced(series.shape[1], _MOST_VOXELS)].astype(np.float64)
    mean, deviation = np.abs(some.mean(axis=0)), some.std(axis=0)
    varies = deviation > 0
    if not varies.any():
        return math.nan
    found = float(np.median(mean[varies] / deviation[varies]))
    return found if found >= _LEAST else math.nan
