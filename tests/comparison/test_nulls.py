"""Data without a difference are found to differ as often as the level says.

With small maps and few data sets: benchmarks/comparison_nulls.py has more.
"""

from __future__ import annotations

import numpy as np
import pytest
from null_examples import DESIGNS, MEASURES, false_positives, null_maps
from scipy import stats

N_SETS = 80
MAPS = null_maps(4, 2, 100)
# Of ten designs and measures each, none should be beyond by chance.
MOST = stats.binom.isf(1e-4, N_SETS, 0.1) / N_SETS


@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "not blocked"])
def test_false_positives_are_as_rare_as_they_should_be(name: str) -> None:
    shares = false_positives(name, MAPS, range(N_SETS), level=0.1)
    assert (shares <= MOST).all(), dict(zip(MEASURES, shares, strict=True))
    assert shares.mean() > 0.03


def test_permutations_across_sites_of_different_noise_find_what_is_not_there() -> None:
    """This is why there are blocks; and the other tests could fail."""
    shares = false_positives("not blocked", MAPS, range(N_SETS), level=0.1)
    assert np.median(shares) > MOST
