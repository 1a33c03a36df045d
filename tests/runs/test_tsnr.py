"""The temporal signal-to-noise ratio: of data with a baseline, and unknown without one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from nidecomp.runs.tsnr import temporal_snr


def series(mean: float, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (mean + rng.standard_normal((200, 50))).astype(np.float32)


def test_it_is_the_median_of_mean_by_standard_deviation() -> None:
    data = series(40.0)
    expected = np.median(data.mean(axis=0, dtype=float) / data.std(axis=0, dtype=float))
    assert temporal_snr(data) == pytest.approx(expected, rel=1e-6)
    # Voxels that are constant have no noise.
    padded = np.hstack([data, np.full((200, 80), 7, dtype=np.float32)])
    assert temporal_snr(padded) == pytest.approx(expected, rel=1e-6)


def test_the_sign_of_a_baseline_does_not_matter() -> None:
    assert temporal_snr(-series(40.0)) == temporal_snr(series(40.0))


@pytest.mark.parametrize("mean", [0.0, 1e-9, -0.5, 0.8])
def test_data_without_a_baseline_have_none(mean: float) -> None:
    assert math.isnan(temporal_snr(series(mean)))
    assert temporal_snr(series(1.3)) == pytest.approx(1.3, abs=0.1)


def test_constant_data_have_none() -> None:
    assert math.isnan(temporal_snr(np.ones((5, 4), dtype=np.float32)))
