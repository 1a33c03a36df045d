"""Compare single numbers of participants: amplitudes of networks, and edges of connectomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from nidecomp.comparison.clusters import threshold_of
from nidecomp.comparison.glm import LinearTest, linear_test, transformed_rows
from nidecomp.comparison.network_edges import largest_networks, networks_of
from nidecomp.comparison.records import Contrast, Design, ValuesOfContrast
from nidecomp.comparison.tails import TOLERANCE, counted, lowered
from nidecomp.comparison.transformations import Transformations
from nidecomp.core.linalg import blocks

# Numbers of one product: limits its memory to 32 MB.
_PRODUCTS_AT_ONCE = 4_000_000
# Below it, p values are their leading term, whose logarithm is always known.
_LEAST_P = 1e-250


def compare_values(
    design: Design,
    transformations: Transformations,
    values: NDArray[np.float64],
    nbs_threshold: float | None = None,
) -> tuple[ValuesOfContrast, ...]:
    """Compare single numbers of participants.

    P values over all numbers and contrasts use the smallest parametric p value in each permutation
    (Westfall and Young, 1993): t and F with any degrees of freedom have it as a common scale. For
    all permutations it is the same function of the statistic, so that the smallest is a permutation
    statistic as any other, and exact whatever the distribution of the data.

    Parameters
    ----------
    design : Design
    transformations : Transformations
    values : ndarray, shape (n_people, n_values)
        A number that is not finite for all people is not compared.
    nbs_threshold : float or None
        For edges: the uncorrected p value below which they form connected sets.

    Returns
    -------
    tuple of ValuesOfContrast
        One for each contrast.
    """
    is_compared = np.asarray(np.isfinite(values).all(axis=0))
    found = [
        _permuted(
            linear_test(design, contrast, transformations.kind),
            values[:, is_compared],
            transformations,
            _Networks(is_compared, nbs_threshold),
        )
        for contrast in design.contrasts
    ]
    largest = np.max([one.largest for one in found], axis=0)
    # The same uncorrected p value forms the sets of all contrasts, so that sizes can be compared.
    of_networks = np.max([one.largest_networks for one in found], axis=0)
    return tuple(_result(one, is_compared, largest, of_networks) for one in found)


@dataclass(frozen=True, eq=False)
class _Networks:
    """Which edges of all are compared, and the p value below which they form sets."""

    is_compared: NDArray[np.bool_]
    threshold: float | None


@dataclass(frozen=True, eq=False)
class _Permuted:
    """What the permutations of one contrast give.

    `largest` are the largest scores, (n,); `networks` are the sizes of the connected sets that
    edges belong to, and `largest_networks` the largest ones, (n,). They have no numbers where sets
    were not asked for.
    """

    test: LinearTest
    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    largest: NDArray[np.float64]
    networks: NDArray[np.float64]
    largest_networks: NDArray[np.float64]


def _permuted(
    test: LinearTest,
    values: NDArray[np.float64],
    transformations: Transformations,
    networks: _Networks,
) -> _Permuted:
    residuals = test.residuals(values)
    statistic = test.statistic(residuals)
    least = np.abs(statistic) * (1 - TOLERANCE)
    limit = None if networks.threshold is None else threshold_of(test, networks.threshold)
    as_large = np.zeros(len(statistic))
    largest, sizes = [], []
    for chunk in _statistics(test, residuals, transformations):
        as_large += (np.abs(chunk) >= least).sum(axis=0)
        largest.append(np.abs(chunk).max(axis=1, initial=0.0))
        if limit is not None:
            sizes.append(largest_networks(chunk, limit, networks.is_compared))
    maxima = np.concatenate(largest)
    maxima[0] = np.abs(statistic).max(initial=0.0)
    none = np.zeros(0)
    return _Permuted(
        test=test,
        statistic=statistic,
        p=as_large / len(transformations),
        largest=scores(test, maxima),
        networks=none if limit is None else networks_of(statistic, limit, networks.is_compared),
        largest_networks=none if limit is None else np.concatenate(sizes),
    )


def _statistics(
    test: LinearTest, residuals: NDArray[np.float64], transformations: Transformations
) -> Iterator[NDArray[np.float64]]:
    """Yield the statistics of some transformations at a time, (n, n_values)."""
    n_rows = (test.n_effects + test.changing.shape[1]) * max(1, residuals.shape[1])
    for some in blocks(len(transformations), max(1, _PRODUCTS_AT_ONCE // n_rows)):
        rows = transformed_rows(test, transformations, some)
        products = rows.reshape(-1, len(residuals)) @ residuals
        yield test.from_products(products.reshape(*rows.shape[:2], residuals.shape[1]))


def scores(test: LinearTest, statistic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the negative logarithm of parametric p values, two-sided for t.

    Parameters
    ----------
    test : LinearTest
    statistic : ndarray
        t or F.

    Returns
    -------
    ndarray
    """
    f = statistic**2 if test.n_effects == 1 else statistic
    half, half_effects = test.dof / 2, test.n_effects / 2
    # p is the incomplete beta function at the share that the effect does not explain.
    rest = test.dof / (test.dof + test.n_effects * f)
    p = special.betainc(half, half_effects, rest)
    leading = np.log(half) + special.betaln(half, half_effects) - half * np.log(rest)
    return np.asarray(np.where(p > _LEAST_P, -np.log(np.maximum(p, _LEAST_P)), leading))


def smallest_drawn_p(design: Design, contrast: Contrast, transformations: Transformations) -> float:
    """Return the smallest p value that a contrast can have, whatever the data.

    That of the transformations that were drawn; the module `smallest_p` bounds what all possible
    ones give, before any is drawn. Transformations that give the same groups, or the mirrored ones,
    give the same absolute t or F: their share, found with random data.

    Parameters
    ----------
    design : Design
    contrast : Contrast
    transformations : Transformations

    Returns
    -------
    float
    """
    test = linear_test(design, contrast, transformations.kind)
    data = np.random.RandomState(0).standard_normal((len(design.people), 1))
    residuals = test.residuals(data)
    own = np.abs(test.statistic(residuals))
    n_same = sum(
        int(np.count_nonzero(np.isclose(np.abs(one), own, rtol=TOLERANCE, atol=0)))
        for one in _statistics(test, residuals, transformations)
    )
    return n_same / len(transformations)


def _result(
    found: _Permuted,
    is_compared: NDArray[np.bool_],
    largest: NDArray[np.float64],
    largest_networks: NDArray[np.float64],
) -> ValuesOfContrast:
    network_p = np.zeros(0)
    if len(largest_networks):
        p = counted(lowered(found.networks), largest_networks)
        network_p = _spread(np.where(found.networks > 0, p, np.nan), is_compared)
    own = scores(found.test, lowered(found.statistic))
    size, low, high = effect_size(found.test, found.statistic)
    return ValuesOfContrast(
        statistic=_spread(found.statistic, is_compared),
        p=_spread(found.p, is_compared),
        p_all=_spread(counted(own, largest), is_compared),
        effect_size=_spread(size, is_compared),
        low=_spread(low, is_compared),
        high=_spread(high, is_compared),
        dof=found.test.dof,
        network_p=network_p,
    )


def _spread(values: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    spread = np.full(len(where), np.nan)
    spread[where] = values
    return spread


def effect_size(
    test: LinearTest, statistic: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the effect size and its 95 % confidence interval.

    Parameters
    ----------
    test : LinearTest
    statistic : ndarray, shape (n,)
        t or F.

    Returns
    -------
    size, low, high : ndarray, shape (n,)
        For t the partial correlation, with an interval by Fisher's z, whose standard error is
        1/√(dof - 1). For F partial eta squared, and NaN.
    """
    dof = test.dof
    if test.n_effects > 1:
        explained = test.n_effects * statistic
        none = np.full(len(statistic), np.nan)
        return explained / (explained + dof), none, none
    r = statistic / np.sqrt(statistic**2 + dof)
    error = stats.norm.isf(0.025) / np.sqrt(dof - 1) if dof > 1 else np.inf
    z = np.arctanh(r)
    return r, np.tanh(z - error), np.tanh(z + error)
