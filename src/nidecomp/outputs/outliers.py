"""Which participants are outliers in data quality, and in which measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Modified z scores above this are outliers (Iglewicz and Hoaglin 1993, How to detect and handle
# outliers, ASQC Quality Press).
LIMIT = 3.5
# Where participants are very similar, a small difference is many deviations: an outlier also
# differs from the median by this share of it (docs/decisions/0012-projections.md).
LEAST_DEPARTURE = 0.25
# The median absolute deviation of a normal distribution in units of its standard deviation.
_NORMAL = 0.6745
# The median of fewer participants is no reliable reference: a rule of thumb.
FEWEST_PARTICIPANTS = 5


def modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the modified z score of each value: its distance from the median.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN where a value is unknown.

    Returns
    -------
    ndarray, shape (n,)
        In robust standard deviations. NaN where it is undefined: unknown values, fewer than
        `FEWEST_PARTICIPANTS`, or more than half of them the same.
    """
    known = values[np.isfinite(values)]
    if len(known) < FEWEST_PARTICIPANTS:
        return np.full(len(values), np.nan)
    middle = np.median(known)
    spread = np.median(np.abs(known - middle))
    if spread == 0:
        return np.full(len(values), np.nan)
    return np.asarray(_NORMAL * (values - middle) / spread)


def is_outlier(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are outliers, on either side of the median.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN where a value is unknown.

    Returns
    -------
    ndarray of bool, shape (n,)
        More than `LIMIT` robust standard deviations and `LEAST_DEPARTURE` of the median away.
    """
    return _is_far(values, modified_z(values))


def _is_far(values: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are outliers, given their modified z scores."""
    if not np.isfinite(scores).any():
        return np.zeros(len(values), dtype=np.bool_)
    middle = float(np.nanmedian(values))
    return (np.abs(scores) > LIMIT) & (np.abs(values - middle) > LEAST_DEPARTURE * abs(middle))


def outlier_reasons(
    columns: Mapping[str, NDArray[np.float64]], bad_is_high: frozenset[str]
) -> list[str]:
    """Return the reasons why participants are outliers, where their data are worse than usual.

    Parameters
    ----------
    columns : mapping
        Name of a measure to its value for each participant, each of shape (n,).
    bad_is_high : set of str
        The measures in which high values are bad; in the others, low values are.

    Returns
    -------
    list of str
        The reasons of each participant; empty for those who are no outliers.
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


def outlier_reasons_within(
    groups: Sequence[str],
    columns: Mapping[str, NDArray[np.float64]],
    bad_is_high: frozenset[str],
) -> list[str]:
    """Return the reasons why participants are outliers among those of their group.

    Scanners and protocols differ, so that all participants of a dataset may differ from others.

    Parameters
    ----------
    groups : sequence of str
        The dataset of each participant.
    columns, bad_is_high
        See `outlier_reasons`.

    Returns
    -------
    list of str
    """
    of_each, reasons = np.array(groups), [""] * len(groups)
    for group in dict.fromkeys(groups):
        places = np.flatnonzero(of_each == group)
        own = {name: values[places] for name, values in columns.items()}
        found = outlier_reasons(own, bad_is_high)
        for place, reason in zip(places.tolist(), found, strict=True):
            reasons[place] = reason
    return reasons
