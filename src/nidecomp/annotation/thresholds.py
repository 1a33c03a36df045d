"""Thresholding maps: each map is separated from its own background.

docs/decisions/0019-thresholds.md explains the rules and cites their papers.
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
    """A rule for thresholding: a p-value, a false discovery rate, or a number of voxels.

    `level` is the p-value or false discovery rate, or for ``ratio`` the number of voxels that are
    kept of each map, in units of n_voxels / n_components.
    """

    kind: Kind
    level: float


@dataclass(frozen=True, eq=False)
class Thresholded:
    """Thresholded maps and their thresholds.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)
    limits : ndarray of float64, shape (n_components, 2)
        A nonzero value is kept where it is at most the first or at least the second; NaN for a map
        without values that are kept.
    """

    maps: NDArray[np.float32]
    limits: NDArray[np.float64]


def parse_rule(text: str) -> Rule:
    """Return the rule that a user wrote.

    Parameters
    ----------
    text : str
        ``p:0.001``, ``fdr:0.05``, ``ratio:1``; these levels are used where only the kind is given.

    Returns
    -------
    Rule

    Raises
    ------
    ValueError
        It is no rule; the message lists those that are accepted.
    """
    kind, _, level = threshold(text).partition(":")
    return Rule(cast(Kind, kind), float(level))


def rule_in_words(rule: Rule) -> str:
    """Return a rule in words, for sidecars.

    Parameters
    ----------
    rule : Rule

    Returns
    -------
    str
        Begins with "only" and ends without a full stop.
    """
    null = (
        "under a normal distribution fitted to the central values of the map (all nonzero values "
        "are kept where more than half of the voxels are 0)"
    )
    match rule.kind:
        case "p":
            return f"only values with a two-sided p of at most {rule.level:g} {null}"
        case "fdr":
            return (
                "only values that pass a false discovery rate of "
                f"{rule.level:g} over the map (Benjamini–Hochberg), with two-sided p-values {null}"
            )
        case "isotropy":
            return (
                f"only values with a two-sided p of at most {rule.level:g} under the null "
                "hypothesis that no direction of the whitened data is special (normal, with the "
                "map's root mean square)"
            )
        case "ratio":
            times = "" if rule.level == 1 else f"{rule.level:g} × "
            return f"only the {times}n_voxels / n_components largest absolute values of each map"


def apply_rule(maps: NDArray[np.floating], rule: Rule) -> Thresholded:
    """Return maps thresholded by a rule.

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
    """Return the values of each map that are improbable under its own background.

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
    """Return the values of each map that are improbable for a random direction of the data.

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
    """Return the values of each map that pass a false discovery rate.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    q : float
        The false discovery rate over the voxels of one map, above 0 and below 1: Benjamini and
        Hochberg's, on two-sided p-values under the null that `fit_null` gives for the map. Voxels
        that are exactly 0 are not tested. A map whose background is 0 keeps all its other
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
    """Return the strongest ratio × n_voxels / n_components values of each map.

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
    """Return the p-value threshold of Benjamini and Hochberg; None where no value passes.

    Computed by counting, without sorting the p-values.
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
    """Return maps thresholded by the limits found for each; only one map is copied at a time."""
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
