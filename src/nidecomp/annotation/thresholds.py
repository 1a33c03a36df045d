"""Where a map ends and its background begins: thresholds, each map on its own.

A map is taken for a sparse signal in a background that is normally distributed, or 0 throughout.
No map has a say in what is kept of another: a strong one cannot empty a weak one.

References
----------
.. [1] Varoquaux, G., Keller, M., Poline, J.-B., Ciuciu, P. & Thirion, B. (2010). ICA-based sparse
   features recovery from fMRI datasets. ISBI 2010. doi:10.1109/ISBI.2010.5490204
.. [2] Efron, B. (2004). Large-scale simultaneous hypothesis testing: the choice of a null
   hypothesis. Journal of the American Statistical Association 99. doi:10.1198/016214504000000089
.. [3] Schwartzman, A., Dougherty, R. F., Lee, J., Ghahremani, D. & Taylor, J. E. (2009). Empirical
   null and false discovery rate analysis in neuroimaging. NeuroImage 44.
   doi:10.1016/j.neuroimage.2008.04.182
.. [4] Benjamini, Y. & Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the
   Royal Statistical Society B 57. doi:10.1111/j.2517-6161.1995.tb02031.x
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from nidecomp.config.values import threshold

Kind = Literal["p", "fdr", "isotropy", "ratio"]
Limits = tuple[float, float]

# Half the width of the window that the null is fitted in, in its own sds. A narrower one is less
# open to signal, but the variance in it says less about the sd: at 1.5 a one-sided signal in a
# quarter of the voxels moves the centre by 0.05 to 0.17 sd, the sd by 4 to 13 %.
_WINDOW = 1.5
# The variance of a standard normal variable that is known to lie within the window.
_WINDOW_VARIANCE = 1 - 2 * _WINDOW * math.exp(-(_WINDOW**2) / 2) / math.sqrt(2 * math.pi) / (
    math.erf(_WINDOW / math.sqrt(2))
)
# Between the quartiles of a standard normal variable.
_QUARTILE_RANGE = 2 * float(ndtri(0.75))
# How far from the median values are looked at, in the sds that the quartiles give.
_REACH = 10.0
# Each step leaves about 0.7 of the distance, so this is far more than is ever needed.
_MAX_STEPS = 100
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rule:
    """How maps are thresholded: by a p, a false discovery rate, or a number of voxels.

    `level` is what is allowed of p or of the false discovery rate, or for ``ratio`` how many times
    n_voxels / n_components voxels are kept of each map.
    """

    kind: Kind
    level: float


@dataclass(frozen=True, eq=False)
class Thresholded:
    """Maps with 0 below their thresholds, and these.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)
    limits : ndarray of float64, shape (n_components, 2)
        A value that is not 0 is kept where it is at most the first or at least the second; NaN
        for a map of which nothing is kept.
    """

    maps: NDArray[np.float32]
    limits: NDArray[np.float64]


@dataclass(frozen=True)
class Null:
    """The distribution of a map's background: normal. An sd of 0 is a background of one value."""

    centre: float
    sd: float

    def limits(self, p: float) -> Limits:
        """Give the values at and beyond which the two-sided p is at most `p`."""
        if self.sd == 0:
            return _around(self.centre)
        reach = -float(ndtri(p / 2)) * self.sd
        return self.centre - reach, self.centre + reach


def parse_rule(text: str) -> Rule:
    """Read a rule as users write it.

    Parameters
    ----------
    text : str
        ``p:0.001``, ``fdr:0.05``, ``ratio:1``; the kind alone stands for these levels.

    Returns
    -------
    Rule

    Raises
    ------
    ValueError
        Where it is none; the message says what is accepted.
    """
    kind, _, level = threshold(text).partition(":")
    return Rule(cast(Kind, kind), float(level))


def rule_in_words(rule: Rule) -> str:
    """Say in a part of a sentence what a rule does, for sidecars.

    Parameters
    ----------
    rule : Rule

    Returns
    -------
    str
        Begins with "only" and ends without a full stop.
    """
    null = (
        "under a normal distribution fitted to the centre of that map's values (of a map that is "
        "0 in more than half of the voxels, all other voxels)"
    )
    match rule.kind:
        case "p":
            return f"only values kept with a two-sided p of at most {rule.level:g} {null}"
        case "fdr":
            return (
                "only values kept that pass a false discovery rate of "
                f"{rule.level:g} over the map (Benjamini–Hochberg), with two-sided p-values {null}"
            )
        case "isotropy":
            return (
                f"only values kept with a two-sided p of at most {rule.level:g} under the null of "
                "no special direction in the whitened data (normal, with the map's root mean "
                "square)"
            )
        case "ratio":
            times = "" if rule.level == 1 else f"{rule.level:g} × "
            return (
                f"only the strongest {times}n_voxels / n_components absolute values of each map "
                "kept"
            )


def apply_rule(maps: NDArray[np.floating], rule: Rule) -> Thresholded:
    """Threshold each map by a rule.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    rule : Rule

    Returns
    -------
    Thresholded
    """
    match rule.kind:
        case "p":
            return threshold_by_p(maps, rule.level)
        case "fdr":
            return threshold_by_fdr(maps, rule.level)
        case "isotropy":
            return threshold_by_isotropy(maps, rule.level)
        case "ratio":
            return threshold_by_ratio(maps, rule.level)


def threshold_by_p(maps: NDArray[np.floating], p: float) -> Thresholded:
    """Keep of each map the values that its own background would seldom reach.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    p : float
        Two-sided, above 0 and below 1, under the null that `fit_null` gives for the map; not
        corrected for the number of voxels. A map whose background is 0 keeps all its other values.

    Returns
    -------
    Thresholded

    Notes
    -----
    [1]_ tests against a null of isotropy: no direction of the whitened data is special, and a map
    has the sd of all its values as the sd of its null (`threshold_by_isotropy`). Its signal counts
    towards that sd, which makes the test the more conservative the more signal there is; fitting
    the centre does not.
    """
    return _threshold(maps, lambda values: fit_null(np.sort(values)).limits(p))


def threshold_by_isotropy(maps: NDArray[np.floating], p: float) -> Thresholded:
    """Keep of each map the values that a direction chosen without regard to signal seldom has.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    p : float
        Two-sided, above 0 and below 1, under the null of [1]_: the values of a map that is no
        special direction of the whitened data are normal around 0, with its root mean square. The
        signal counts towards that, so that the test is exact without signal and conservative with
        it. A map whose background is 0 keeps all its other values.

    Returns
    -------
    Thresholded
    """

    def limits(values: NDArray[np.float32]) -> Limits:
        if 2 * np.count_nonzero(values) < values.size:
            return _around(0.0)
        return Null(0.0, math.sqrt(np.mean(values.astype(np.float64) ** 2))).limits(p)

    return _threshold(maps, limits)


def threshold_by_fdr(maps: NDArray[np.floating], q: float) -> Thresholded:
    """Keep of each map the values that pass a false discovery rate.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    q : float
        The false discovery rate over the voxels of one map, above 0 and below 1: of [4]_, on
        two-sided p-values under the null that `fit_null` gives for the map. Voxels that are
        exactly 0 are none of the tests. A map whose background is 0 keeps all its other values.

    Returns
    -------
    Thresholded
    """

    def limits(values: NDArray[np.float32]) -> Limits:
        ordered = np.sort(values)
        null = fit_null(ordered)
        p = _largest_p(ordered[ordered != 0], null, q)
        return (math.nan, math.nan) if p is None else null.limits(p)

    return _threshold(maps, limits)


def threshold_by_ratio(maps: NDArray[np.floating], ratio: float = 1.0) -> Thresholded:
    """Keep of each map its strongest ratio × n_voxels / n_components values.

    nilearn's CanICA (``threshold=ratio``) keeps that many on average over all maps.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    ratio : float
        Above 0. At least one value is kept, at most all; values as strong as the weakest that is
        kept are kept, too.

    Returns
    -------
    Thresholded
    """
    n_components, n_voxels = maps.shape
    n_kept = min(max(1, int(ratio * n_voxels // n_components)), n_voxels)

    def limits(values: NDArray[np.float32]) -> Limits:
        weakest = float(np.partition(np.abs(values), n_voxels - n_kept)[n_voxels - n_kept])
        # Not -weakest, which may be -0.0.
        return 0.0 - weakest, weakest

    return _threshold(maps, limits)


def fit_null(ordered: NDArray[np.float32]) -> Null:
    """Estimate the distribution of a map's background from the centre of its values.

    The estimate is an empirical null in the sense of [2]_ and [3]_: the normal distribution whose
    mean and variance within centre ± 1.5 sd are those of the values there. It is found by
    repeating ``centre, sd ← mean, sd of the values within centre ± 1.5 sd``, the sd divided by what
    the window leaves of it (0.743), from the median and the quartiles, which stay where a window
    closes around a single value. Values outside of the window have no weight.

    It assumes that the background has one mode and is normal around it, that it makes up most of
    the map (70 % and more), and that the signal lies beyond the window, on either side or both. As
    far as signal lies in it, the sd comes out too large and the thresholds too high. Neighbours may
    be correlated: that makes the estimate less certain, not biased.

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
    # Far values are in no window, but would cost the sums of the others their digits.
    bounds = [median - _REACH * scale, median + _REACH * scale]
    central = values[slice(*values.searchsorted(bounds))].astype(np.float64)
    centre, sd = _fit_window((central - median) / scale)
    return Null(median + scale * centre, scale * sd)


def _quartiles(ordered: NDArray[np.float32]) -> tuple[float, float, float]:
    """Give the quartiles of ascending values; those of the negated values are the negated ones."""
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
    # Values that pile up in one place can make the window close around it: no width is to be had.
    return (centre, sd) if sd > _TOLERANCE else (0.0, 1.0)


def _largest_p(ordered: NDArray[np.float32], null: Null, q: float) -> float | None:
    """Give the p up to which Benjamini and Hochberg keep values; None where they keep none.

    They keep the smallest k p-values, with the largest k for which the k-th is at most
    k q / n. The number of p-values up to k q / n never grows as k falls: beginning with k = n and
    counting again and again ends at that k, without sorting the p-values.
    """
    n_kept, n_values = ordered.size, ordered.size
    while n_kept:
        p = n_kept * q / n_values
        lower, upper = null.limits(p)
        n_below = int(ordered.searchsorted(lower, side="right"))
        n_above = n_values - int(ordered.searchsorted(upper, side="left"))
        if n_below + n_above >= n_kept:
            return p
        n_kept = n_below + n_above
    return None


def _around(value: float) -> Limits:
    """Give the limits that keep everything but one value."""
    if value == 0:
        # 0 is never kept.
        return 0.0, 0.0
    single = np.float32(value)
    return float(np.nextafter(single, -np.inf)), float(np.nextafter(single, np.inf))


def _threshold(
    maps: NDArray[np.floating], find: Callable[[NDArray[np.float32]], Limits]
) -> Thresholded:
    """Apply to each map the limits that are found for it; one map's copy is all that is held."""
    kept = np.zeros(maps.shape, dtype=np.float32)
    limits = np.full((len(maps), 2), math.nan)
    for one, target, bounds in zip(maps, kept, limits, strict=True):
        values = one.astype(np.float32, copy=False)
        lower, upper = find(values)
        beyond = (values <= np.float64(lower)) | (values >= np.float64(upper))
        np.copyto(target, values, where=beyond)
        if target.any():
            bounds[:] = lower, upper
    return Thresholded(kept, limits)
