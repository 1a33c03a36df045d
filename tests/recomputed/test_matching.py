"""Which maps of two decompositions belong together, from the maps as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from recomputed.published import Published, agree, numbers, recomputes

TABLE = "logs/matching.tsv"


def correlations(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r over voxels of each map of one set with each of another."""
    return np.corrcoef(first, second)[: len(first), len(first) :]


@pytest.mark.parametrize("made", ["demo", "detailed"])
@recomputes(TABLE, "other_component", "r")
def test_maps_are_matched_one_to_one_with_the_largest_sum_of_absolute_correlations(
    made: str, request: pytest.FixtureRequest
) -> None:
    published: Published = request.getfixturevalue(made)
    rows = published.table(TABLE)
    assert {(row["method"], row["other_method"]) for row in rows} == {("canica", "dictlearning")}
    r = correlations(published.maps("canica"), published.maps("dictlearning"))
    assert len(rows) == len(r)
    whose, other = linear_sum_assignment(np.abs(r), maximize=True)
    assert [row["component"] for row in rows] == [f"canica{one + 1:02d}" for one in whose]
    assert [row["other_component"] for row in rows] == [
        f"dictlearning{one + 1:02d}" for one in other
    ]
    agree("matching: r", numbers(rows, "r"), r[whose, other], 2e-6)
