"""The background of a map: a normal distribution, estimated from the centre of the map's values.

docs/decisions/0019-thresholds.md derives it and cites the papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Limits = tuple[float, float]

# Half the width of the window that the null is fitted in, in its own sds. A narrower one is less
# open to signal, but the variance in it says less about the sd: at 1.5 a one-sided signal in a
# quarter of the voxels moves the centre by 0.05 to 0.17 sd, the sd by 4 to 13 %.
_WINDOW = 1.5
# The variance of a standard normal variable truncated to the window.
_WINDOW_VARIANCE = 1 - 2 * _WINDOW * math.exp(-(_WINDOW**2) / 2) / math.sqrt(2 * math.pi) / (
    math.erf(_WINDOW / math.sqrt(2))
)
# The interquartile range of a standard normal variable.
_QUARTILE_RANGE = 2 * float(ndtri(0.75))
# How far from the median values are looked at, in the sds that the quartiles give: a rule of thumb,
# on which nothing depends as long as it is far beyond the window.
_REACH = 10.0
# Each step leaves about 0.7 of the distance: 1e-6 of it is left after 40.
_MAX_STEPS, _TOLERANCE = 100, 1e-6


@dataclass(frozen=True)
class Null:
    """The normal distribution of a map's background; an sd of 0 means that it has one value."""

    centre: float
    sd: float

    def limits(self, p: float) -> Limits:
        """Return the values at and beyond which the two-sided p is at most `p`."""
        if self.sd == 0:
            return around(self.centre)
        reach = -float(ndtri(p / 2)) * self.sd
        return self.centre - reach, self.centre + reach


def fit_null(ordered: NDArray[np.float32]) -> Null:
    """Return the distribution of a map's background, estimated from its central values.

    docs/decisions/0019-thresholds.md has the method and its assumptions.

    Parameters
    ----------
    ordered : ndarray of float32, shape (n_voxels,)
        One map's values, ascending. Those that are exactly 0 are voxels without data and left out,
        except where they are more than half: then the map is sparse by construction (as those of
        dictionary learning), and its background is 0 itself.

    Returns
    -------
    Null
        With an sd of 0 where the map is sparse or half of its values are the same.
    """
    values = ordered[ordered != 0]
    if 2 * values.size < ordered.size or values.size == 0:
        return Null(0.0, 0.0)
    low, median, high = _quartiles(values)
    if low == high:
        return Null(low, 0.0)
    scale = (high - low) / _QUARTILE_RANGE
    # Distant values lie in no window, but would reduce the precision of cumulative sums.
    bounds = [median - _REACH * scale, median + _REACH * scale]
    central = values[slice(*values.searchsorted(bounds))].astype(np.float64)
    centre, sd = _fit_window((central - median) / scale)
    return Null(median + scale * centre, scale * sd)


def _quartiles(ordered: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the quartiles of ascending values; negating the values negates the quartiles."""
    last = ordered.size - 1
    low, high = float(ordered[last // 4]), float(ordered[last - last // 4])
    return low, (float(ordered[last // 2]) + float(ordered[last - last // 2])) / 2, high


def _fit_window(values: NDArray[np.float64]) -> tuple[float, float]:
    """Fit the null to ascending values whose median is 0 and whose quartiles give an sd of 1."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    centre, sd = 0.0, 1.0
    for _ in range(_MAX_STEPS):
        before = centre, sd
        bounds = [centre - _WINDOW * sd, centre + _WINDOW * sd]
        first, stop = values.searchsorted(bounds)
        n_inside = max(stop - first, 1)
        centre = float(sums[stop] - sums[first]) / n_inside
        variance = float(squares[stop] - squares[first]) / n_inside - centre**2
        sd = math.sqrt(max(variance, 0.0) / _WINDOW_VARIANCE)
        if abs(centre - before[0]) + abs(sd - before[1]) < _TOLERANCE:
            break
    # The window can collapse around values that are nearly equal: the fit then has no width.
    return (centre, sd) if sd > _TOLERANCE else (0.0, 1.0)


def around(value: float) -> Limits:
    """Return limits that keep everything but one value."""
    if value == 0:
        # 0 is never kept.
        return 0.0, 0.0
    single = np.float32(value)
    return float(np.nextafter(single, -np.inf)), float(np.nextafter(single, np.inf))
