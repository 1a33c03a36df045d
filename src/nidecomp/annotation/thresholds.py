"""Where a map ends and its background begins: thresholds, each map on its own.

Which rules there are, why, and from which papers: docs/decisions/0019-thresholds.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.background import Limits, Null, around, fit_null
from nidecomp.config.values import threshold

Kind = Literal["p", "fdr", "isotropy", "ratio"]


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
    """
    return _threshold(maps, lambda values: fit_null(np.sort(values)).limits(p))


def threshold_by_isotropy(maps: NDArray[np.floating], p: float) -> Thresholded:
    """Keep of each map the values that a direction chosen without regard to signal seldom has.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    p : float
        Two-sided, above 0 and below 1, under the null that no direction of the whitened data is
        special: a map's values are normal around 0, with its root mean square. A map whose
        background is 0 keeps all its other values.

    Returns
    -------
    Thresholded
    """

    def limits(values: NDArray[np.float32]) -> Limits:
        if 2 * np.count_nonzero(values) < values.size:
            return around(0.0)
        return Null(0.0, math.sqrt(np.mean(values.astype(np.float64) ** 2))).limits(p)

    return _threshold(maps, limits)


def threshold_by_fdr(maps: NDArray[np.floating], q: float) -> Thresholded:
    """Keep of each map the values that pass a false discovery rate.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    q : float
        The false discovery rate over the voxels of one map, above 0 and below 1: Benjamini and
        Hochberg's, on two-sided p-values under the null that `fit_null` gives for the map. Voxels
        that are exactly 0 are none of the tests. A map whose background is 0 keeps all its other
        values.

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


def _largest_p(ordered: NDArray[np.float32], null: Null, q: float) -> float | None:
    """Give the p up to which Benjamini and Hochberg keep values; None where they keep none.

    Found by counting again and again, without sorting the p-values.
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
