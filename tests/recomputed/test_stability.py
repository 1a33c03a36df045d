"""How far halves of the participants agree: both methods fitted anew to each half."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

from recomputed.groups import (
    canica,
    dictlearning,
    matches,
    r_of_each,
    runs_of,
    split_halves,
)
from recomputed.published import Published, agree, numbers, recomputes

TABLE = "logs/stability.tsv"


# ---------------------------------------------------------------- agreement
def trace(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The mean |r| of maps that are matched one to one."""
    return float(r_of_each(first, second[matches(first, second)]).mean())


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The mean squared cosine of the angles between the spaces that maps span."""
    return float(np.mean(np.cos(subspace_angles(first.T, second.T)) ** 2))


@pytest.mark.parametrize("method", ["canica", "dictlearning"])
@recomputes(TABLE, "trace", "overlap")
def test_halves_that_are_fitted_anew_agree_as_published(detailed: Published, method: str) -> None:
    runs = runs_of(detailed, "fitted")
    rows = [row for row in detailed.table(TABLE) if row["method"] == method]
    assert [row["split"] for row in rows] == ["1", "2"]
    people = sorted({run.participant for run in runs})
    halves = [
        tuple(
            canica(runs, half) if method == "canica" else dictlearning(detailed, runs, half)
            for half in split
        )
        for split in split_halves(people)
    ]
    for column, measure in (("trace", trace), ("overlap", overlap)):
        again = [measure(first, second) for first, second in halves]
        agree(f"stability: {column}, {method}", numbers(rows, column), again, 5e-6)
    # The JSON of the decomposition has the means.
    evidence = detailed.json(f"tpl-*/func/*_seg-{method}_*_decomposition.json")["Evidence"]
    assert isinstance(evidence, dict)
    for key, column in (("Trace", "trace"), ("SubspaceOverlap", "overlap")):
        mean = numbers(rows, column).mean()
        agree(f"decomposition.json: {key}", [float(evidence[key])], [mean], 1e-6)
