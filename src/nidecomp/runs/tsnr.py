"""How good a run's signal is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced

# A median of more says the same: its standard error is 1 % of the values' spread.
_MOST_VOXELS = 20_000


def temporal_snr(series: NDArray[np.float32]) -> float:
    """Give the median temporal signal-to-noise ratio over voxels, 20,000 of them at most.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        As read, before anything is removed from it.

    Returns
    -------
    float
        Median of mean / standard deviation over the voxels that vary (Krüger and Glover 2001,
        Magnetic Resonance in Medicine 46:631); NaN where none does. Data that were centred before
        have none to speak of.
    """
    some = series[:, evenly_spaced(series.shape[1], _MOST_VOXELS)].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0)
    varies = deviation > 0
    return float(np.median(mean[varies] / deviation[varies])) if varies.any() else float("nan")
