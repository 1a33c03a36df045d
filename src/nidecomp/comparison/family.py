"""P values that are corrected over a family of maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.tails import Gamma, counted, from_tail, lowered, scale_of


class Corrected(NamedTuple):
    """Corrected p values, and counted ones; both are the same where no tail was fitted."""

    p: NDArray[np.float64]
    counted: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Family:
    """Maps over which p values are corrected, by the largest of them in each permutation.

    The maps may differ in the statistic (t and F), in smoothness, and in kinds of features: before
    they are compared with each other, values become scores, -log of the tail of a gamma
    distribution that fits the permutation maxima of the map (`tails.scale_of`). For all
    permutations the score is the same rising function, so that the largest score is a permutation
    statistic as any other, and exact however well the distribution fits. A single map needs no
    scores.

    Parameters
    ----------
    maxima : ndarray of float64, shape (n_maps, n_transformations)
        The largest absolute value of each map; that of the data as they are first.
    has_tail : bool
        Whether small p values come from a fitted tail.
    """

    maxima: NDArray[np.float64]
    has_tail: bool

    def corrected(self, observed: NDArray[np.floating], of_map: int) -> Corrected:
        """Return corrected p values.

        Parameters
        ----------
        observed : ndarray, shape (n,)
            Values of a map, whose signs do not matter.
        of_map : int
            Which one.

        Returns
        -------
        Corrected
            1 for values of 0.
        """
        # Many features have the same value: those without data, and those of a cluster.
        values, where = np.unique(np.abs(observed), return_inverse=True)
        scores = self._score(lowered(values), of_map)
        if self.has_tail:
            p, count = from_tail(scores, self._largest)
        else:
            p = count = counted(scores, self._largest)
        is_none = values == 0
        p, count = np.where(is_none, 1.0, p), np.where(is_none, 1.0, count)
        return Corrected(p[where], count[where])

    def _score(self, values: NDArray[np.float64], of_map: int) -> NDArray[np.float64]:
        return values if len(self.maxima) == 1 else self._scales[of_map].score(values)

    @cached_property
    def _scales(self) -> tuple[Gamma, ...]:
        return tuple(map(scale_of, self.maxima))

    @cached_property
    def _largest(self) -> NDArray[np.float64]:
        scores = [self._score(one, number) for number, one in enumerate(self.maxima)]
        return np.asarray(np.max(scores, axis=0))


def larger(one: Corrected, other: Corrected) -> Corrected:
    """Return the larger of two p values: a larger family has none that are smaller.

    It is so for counted ones; tails are fitted to each family.
    """
    return Corrected(np.maximum(one.p, other.p), np.maximum(one.counted, other.counted))
