"""Thresholding maps: each map is separated from its own background.

A rule chooses where to cut a map. None of them is a test of a decomposition's maps: of data without
networks, they keep voxels, too. docs/decisions/0019-thresholds.md explains the rules, says how many
maps of noise keep voxels, and cites the papers.
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

Kind = Literal["background", "p", "isotropy", "ratio"]


@dataclass(frozen=True)
class Rule:
    """A rule for thresholding.

    `level` is the level of Benjamini and Hochberg's procedure (``background``), a two-sided tail
    probability (``p``, ``isotropy``), or the number of voxels that are kept of each map, in units
    of n_voxels / n_components (``ratio``).
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
        ``background:0.05``, ``p:0.001``, ``ratio:1``; these levels are used where only the kind is
        given.

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


# What none of the rules that refer to a normal distribution say about a decomposition's maps.
_NO_TEST = (
    "This is a rule for where to cut a map, not a test: maps of pure noise keep {features}, too, "
    "because {reason}. Whether a map can be trusted is judged by its reproducibility (see the "
    "metrics file)"
)
_TAILS = (
    "ICA selects maps with heavy tails, and the values of smooth maps are not normally distributed"
)
_WHY_NO_TEST: dict[Kind, str] = {
    "background": _TAILS,
    "p": _TAILS,
    "isotropy": "the null hypothesis is about a direction drawn at random, and ICA selects the "
    "directions whose maps have the heaviest tails",
    "ratio": "every map keeps the same number of them",
}
_OWN_BACKGROUND = "a normal distribution fitted to the central values of the map (its background)"
_SPARSE = (
    "all values that are not 0{of_maps}; the sparsity penalty has already set more than half of "
    "the {features} to 0, and no threshold is applied"
)


def is_sparse(maps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which maps are sparse by construction: more than half of their values are 0.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)

    Returns
    -------
    ndarray of bool, shape (n_components,)
        The background of these maps is 0, and every rule but ``ratio`` keeps all other values.
    """
    return np.array([2 * np.count_nonzero(values) < values.size for values in maps], dtype=bool)


def kept_in_words(rule: Rule, sparse: NDArray[np.bool_], features: str) -> str:
    """Return in words what is kept of the maps of one decomposition, for sidecars.

    Parameters
    ----------
    rule : Rule
    sparse : ndarray of bool, shape (n_components,)
        Which maps are sparse by construction, which the rule does not change.
    features : str
        What features are called: ``voxels``.

    Returns
    -------
    str
        Sentences without the last full stop, that continue "of each map of the components file".
    """
    rule_alone = rule_in_words(rule, features)
    if rule.kind == "ratio" or not sparse.any():
        return rule_alone
    if sparse.all():
        return _SPARSE.format(of_maps="", features=features)
    penalty = _SPARSE.format(of_maps=" of maps that are sparse", features=features)
    return f"{penalty}; of other maps, {rule_alone}"


def rule_in_words(rule: Rule, features: str) -> str:
    """Return a rule in words, with what it does not say.

    Parameters
    ----------
    rule : Rule
    features : str
        What features are called: ``voxels``.

    Returns
    -------
    str
        Begins with "only" and ends without a full stop.
    """
    no_test = _NO_TEST.format(features=features, reason=_WHY_NO_TEST[rule.kind])
    match rule.kind:
        case "background":
            return (
                "only values that stand out from the map's own background: those that the "
                f"procedure of Benjamini and Hochberg keeps at a level of {rule.level:g}, with "
                f"two-sided p-values under {_OWN_BACKGROUND}. {no_test}"
            )
        case "p":
            return (
                "only values that stand out from the map's own background: those with a two-sided "
                f"p of at most {rule.level:g}, not corrected for the number of values, under "
                f"{_OWN_BACKGROUND}. {no_test}"
            )
        case "isotropy":
            return (
                f"only values with a two-sided p of at most {rule.level:g}, not corrected for the "
                "number of values, under the null hypothesis that no direction of the whitened "
                "data is special (normally distributed around 0, with the map's root mean "
                "square). "
                f"{no_test}"
            )
        case "ratio":
            times = "" if rule.level == 1 else f"{rule.level:g} × "
            return (
                f"only the {times}n_{features} / n_components largest absolute values of each map. "
                f"{no_test}"
            )


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
        case "background":
            return threshold_by_background(maps, rule.level)
        case "p":
            return threshold_by_p(maps, rule.level)
        case "isotropy":
            return threshold_by_isotropy(maps, rule.level)
        case "ratio":
            return threshold_by_ratio(maps, rule.level)


def threshold_by_p(maps: NDArray[np.floating], p: float) -> Thresholded:
    """Return the values of each map that are far in the tails of its own background.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    p : float
        Two-sided, above 0 and below 1, under the normal distribution that `fit_null` fits to the
        centre of the map; not corrected for the number of voxels. It is the false positive rate
        only of maps that are normally distributed, which ICA's and smooth maps are not. A map whose
        background is 0 keeps all its other values.

    Returns
    -------
    Thresholded
    """
    return _threshold(maps, lambda values: fit_null(np.sort(values)).limits(p))


def threshold_by_isotropy(maps: NDArray[np.floating], p: float) -> Thresholded:
    """Return the values of each map that are far in the tails of a random direction's map.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    p : float
        Two-sided, above 0 and below 1, under the null that no direction of the whitened data is
        special: a map's values are normal around 0, with its root mean square. It is the false
        positive rate of a direction drawn at random, not of those that ICA selects by the tails of
        their maps. A map whose background is 0 keeps all its other values.

    Returns
    -------
    Thresholded
    """

    def limits(values: NDArray[np.float32]) -> Limits:
        if is_sparse(values[np.newaxis])[0]:
            return around(0.0)
        return Null(0.0, math.sqrt(np.mean(values.astype(np.float64) ** 2))).limits(p)

    return _threshold(maps, limits)


def threshold_by_background(maps: NDArray[np.floating], q: float) -> Thresholded:
    """Return the values of each map that stand out from its own background.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        All values finite.
    q : float
        The level of Benjamini and Hochberg's procedure, above 0 and below 1, on two-sided p-values
        under the normal distribution that `fit_null` fits to the centre of the map. The procedure
        only chooses where to cut: the false discovery rate is `q` where the background is normally
        distributed, which it is not in smooth maps and those that ICA selects. Voxels that are
        exactly 0 do not count. A map whose background is 0 keeps all its other values.

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
