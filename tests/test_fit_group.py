"""Every participant weighs the same, whatever the number and the length of the runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nidecomp.fit_group import participant_weights
from nidecomp.records import ReducedRun, RunKey


def reduced(participant: str, run: int, total_variance: float) -> ReducedRun:
    key = RunKey((("sub", participant), ("task", "rest"), ("run", str(run))))
    return ReducedRun(key, Path("x.npy"), 6.0, 5, 100, total_variance, (1.0,), 0, 0)


def test_participants_weigh_the_same() -> None:
    runs = [
        reduced("01", 1, 100.0),
        reduced("02", 1, 400.0),
        reduced("02", 2, 100.0),
        reduced("03", 1, 50.0),
    ]
    weights = participant_weights(runs)
    canonical, scaled = np.array(weights.canonical) ** 2, np.array(weights.scaled) ** 2
    variance = np.array([run.total_variance for run in runs])
    for weight in (canonical, scaled * variance / variance.mean()):
        np.testing.assert_allclose([weight[0], weight[1] + weight[2], weight[3]], 1.0)
        np.testing.assert_allclose(weight[1], weight[2])


def test_equal_single_runs_are_left_as_they_are() -> None:
    """So that alpha keeps nilearn's units."""
    weights = participant_weights([reduced("01", 1, 300.0), reduced("02", 1, 300.0)])
    assert weights.canonical == weights.scaled == (1.0, 1.0)
