"""Which participants stand apart from the others, and by what."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Modified z scores above this are outliers (Iglewicz and Hoaglin 1993, How to detect and handle
# outliers, ASQC Quality Press).
LIMIT = 3.5
# Where participants are alike a tiny difference is many deviations: an outlier is also away from
# the median by this share of it.
LEAST_DEPARTURE = 0.25
# Brings the median absolute deviation to the standard deviation of a normal distribution.
_NORMAL = 0.6745
# The median of fewer says little of what is usual.
FEWEST_PARTICIPANTS = 5


def modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell how far each value is from the median, in robust standard deviations.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN is not known.

    Returns
    -------
    ndarray, shape (n,)
        NaN where it cannot be told: unknown values, fewer than `FEWEST_PARTICIPANTS`, or more than
        half of them the same.
    """
    known = values[np.isfinite(values)]
    if len(known) < FEWEST_PARTICIPANTS:
        return np.full(len(values), np.nan)
    middle = np.median(known)
    spread = np.median(np.abs(known - middle))
    if spread == 0:
        return np.full(len(values), np.nan)
    return np.asarray(_NORMAL * (values - middle) / spread)


def stands_apart(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values are far from the median, on either side.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN is not known.

    Returns
    -------
    ndarray of bool, shape (n,)
        Beyond `LIMIT` robust standard deviations, and away by `LEAST_DEPARTURE` of the median.
    """
    return _is_far(values, modified_z(values))


def _is_far(values: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Do what `stands_apart` says, with modified z scores that are known."""
    if not np.isfinite(scores).any():
        return np.zeros(len(values), dtype=np.bool_)
    middle = float(np.nanmedian(values))
    return (np.abs(scores) > LIMIT) & (np.abs(values - middle) > LEAST_DEPARTURE * abs(middle))


def outlier_reasons(
    columns: Mapping[str, NDArray[np.float64]], bad_is_high: frozenset[str]
) -> list[str]:
    """Say for each participant in what it stands apart, on the bad side.

    Parameters
    ----------
    columns : mapping
        What is looked at to its value for each participant, each of shape (n,).
    bad_is_high : set of str
        Those of them of which much is bad; of the others little is.

    Returns
    -------
    list of str
        A sentence for each participant, empty for those who do not.
    """
    n = len(next(iter(columns.values())))
    reasons: list[list[str]] = [[] for _ in range(n)]
    for name, values in columns.items():
        scores = modified_z(values)
        on_bad_side = scores > 0 if name in bad_is_high else scores < 0
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
        for index in np.flatnonzero(on_bad_side & _is_far(values, scores)):
            reasons[index].append(
                f"{name} {values[index]:.3g} (median {middle:.3g}, modified z {scores[index]:.1f})"
            )
    return ["; ".join(of_one) for of_one in reasons]
