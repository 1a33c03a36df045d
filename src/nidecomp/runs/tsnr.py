"""Compute the temporal signal-to-noise ratio of a run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced

# More voxels would hardly change the median: its standard error is 1 % of the values' spread.
_MOST_VOXELS = 20_000


def temporal_snr(series: NDArray[np.float32]) -> float:
    """Return the median temporal signal-to-noise ratio of at most 20,000 voxels.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        As read, before cleaning.

    Returns
    -------
    float
        Median of mean / standard deviation over voxels that are not constant (Krüger and Glover
        2001, Magnetic Resonance in Medicine 46:631), or NaN if all are constant. It is meaningless
        for data that were centred before.
    """
    some = series[:, evenly_spaced(series.shape[1], _MOST_VOXELS)].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0)
    varies = deviation > 0
    return float(np.median(mean[varies] / deviation[varies])) if varies.any() else float("nan")
