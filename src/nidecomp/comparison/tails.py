"""P values from the maxima of permutations: counted, or from a fitted tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

# Values that differ by less are the same: the maxima are of float32, and permutations that give the
# same groups give the same statistic but for rounding.
TOLERANCE = 1e-5
# Where more than this share of the maxima are as large, counting is exact enough (Winkler et al.).
LARGEST_TAIL_P = 0.1
# How far below 1 / (number of maxima) a fitted distribution is believed. Without an effect, values
# with a fitted p of 1e-4 occur three times as often with 500 maxima; with 1e-6, twenty times.
_BEYOND_COUNTING = 20
# No distribution is fitted to fewer maxima: the skewness of so few says little.
_FEWEST_MAXIMA = 100
# Larger maxima are taken down to this quantile before a scale is fitted.
_QUANTILE = 0.99
# Beyond it, the logarithm of the tail goes on as a straight line: the tail itself is 0 later.
_LEAST_SURVIVAL = 1e-250


@dataclass(frozen=True)
class Gamma:
    """A shifted gamma distribution (Pearson III) with given moments.

    Where the skewness is not above 0, a normal distribution takes its place.

    Parameters
    ----------
    mean, std, skewness : float
    """

    mean: float
    std: float
    skewness: float

    @property
    def is_gamma(self) -> bool:
        """Whether there is a tail to the right."""
        return self.skewness > 0 and self.std > 0

    def survival(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of more than each value."""
        standard = (np.asarray(values, dtype=np.float64) - self.mean) / (self.std or 1.0)
        if not self.is_gamma:
            return np.asarray(special.ndtr(-standard))
        # Of mean 0 and variance 1, from three moments.
        shape = 4 / self.skewness**2
        return np.asarray(special.gammaincc(shape, np.maximum(0, shape + standard * shape**0.5)))

    def score(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the negative logarithm of `survival`, which rises with the value without end."""
        end = self._end
        rate = -np.log(self.survival(np.array([end])))[0]
        slope = rate + np.log(self.survival(np.array([end + 1e-3 * (self.std or 1.0)])))[0]
        within = -np.log(self.survival(np.minimum(values, end)))
        beyond = np.maximum(0, np.asarray(values, dtype=np.float64) - end) / (self.std or 1.0)
        return np.asarray(within - beyond * slope / 1e-3)

    @property
    def _end(self) -> float:
        """The value where the tail has become as small as numbers should be."""
        if not self.is_gamma:
            standard = -float(special.ndtri(_LEAST_SURVIVAL))
        else:
            shape = 4 / self.skewness**2
            standard = (float(special.gammainccinv(shape, _LEAST_SURVIVAL)) - shape) / shape**0.5
        return self.mean + standard * (self.std or 1.0)


def gamma_of(values: NDArray[np.float64]) -> Gamma:
    """Return the distribution with the mean, variance and skewness of some values."""
    # Sums do not depend on the order.
    values = np.sort(values)
    mean, std = float(values.mean()), float(values.std())
    # Equal but for rounding.
    if std <= 1e-12 * abs(mean):
        return Gamma(mean, 0.0, 0.0)
    return Gamma(mean, std, float(np.mean(((values - mean) / std) ** 3)))


def scale_of(maxima: NDArray[np.float64]) -> Gamma:
    """Return the distribution by which the maxima of different maps are put on a common scale.

    It depends on all maxima in the same way, whichever of them is that of the data as they are:
    this is what makes the largest score over several maps an exact permutation statistic. A strong
    effect, which is in one of the maxima alone, should not change it: the largest hundredth is
    taken down to the quantile.

    Parameters
    ----------
    maxima : ndarray, shape (n,)

    Returns
    -------
    Gamma
    """
    top = np.quantile(maxima, _QUANTILE, method="lower")
    return gamma_of(np.minimum(maxima, top))


def lowered(observed: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return absolute values, lowered by what rounding changes."""
    return np.asarray(np.abs(observed).astype(np.float64) * (1 - TOLERANCE))


def counted(observed: NDArray[np.float64], maxima: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of maxima that are at least as large as what was observed.

    Parameters
    ----------
    observed : ndarray, shape (n,)
        As `lowered` gives them.
    maxima : ndarray, shape (n_transformations,)
        That of the data as they are is one of them.

    Returns
    -------
    ndarray, shape (n,)
        p values, at least 1 / n_transformations where the observed values are those of the maxima.
    """
    n_below = np.searchsorted(np.sort(maxima), observed, side="left")
    return np.asarray((len(maxima) - n_below) / len(maxima))


def least_tail_p(n_maxima: int) -> float:
    """Return the smallest p value that is taken from a distribution fitted to so many maxima.

    Of 500, it is just below 0.0001.
    """
    return 1 / (_BEYOND_COUNTING * n_maxima + 1)


def from_tail(
    observed: NDArray[np.float64], maxima: NDArray[np.float64], least: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return p values from the tail of the maxima, and counted ones.

    Winkler et al. (2016), NeuroImage 141:502: a gamma distribution with the first three moments of
    the maxima, where fewer than a tenth of them are as large. It is fitted to the transformed data
    only: with an effect, the maximum of the data as they are is no part of the distribution without
    one, and would widen it.

    Parameters
    ----------
    observed : ndarray, shape (n,)
        As `lowered` gives them.
    maxima : ndarray, shape (n_transformations,)
        That of the data as they are is the first.
    least : float
        The smallest p value that all possible transformations could give.

    Returns
    -------
    p, counted_p : ndarray, shape (n,)
        The same where there are fewer than 100 maxima, or where they are not skewed to the right.
        p is at least `least`, and at least `least_tail_p`.
    """
    count = counted(observed, maxima)
    if len(maxima) < _FEWEST_MAXIMA:
        return count, count
    tail = gamma_of(maxima[1:])
    is_small = count < LARGEST_TAIL_P
    if not tail.is_gamma or not is_small.any():
        return count, count
    p = count.copy()
    # At most what the next larger p value can be, so that p falls as the value rises.
    lowest = min(max(least, least_tail_p(len(maxima))), LARGEST_TAIL_P)
    p[is_small] = tail.survival(observed[is_small]).clip(lowest, LARGEST_TAIL_P)
    return p, count
