"""The number of independent values of smooth maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nidecomp.spaces.smoothness import independent_values

SHAPE = (22, 26, 20)
RNG = np.random.default_rng(0)


def ball() -> NDArray[np.bool_]:
    centre = (np.array(SHAPE) - 1) / 2
    return np.sum(((np.indices(SHAPE).T - centre) / centre) ** 2, axis=-1).T < 0.9


def noise(n: int, sigma: float, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return maps of stationary noise: a margin keeps it from being mirrored at the border."""
    around = [size + 20 for size in mask.shape]
    inner = (slice(10, -10),) * 3
    maps = [gaussian_filter(RNG.standard_normal(around), sigma)[inner][mask] for _ in range(n)]
    return np.array(maps, dtype=np.float32)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.2, 2.0])
def test_unrelated_maps_are_as_correlated_as_the_number_says(sigma: float) -> None:
    mask = ball()
    maps = noise(60, sigma, mask)
    r = np.corrcoef(maps)[np.triu_indices(60, 1)]
    found = independent_values(maps, mask, np.full(3, 4.0))
    assert found**-0.5 == pytest.approx(r.std(), rel=0.06)
    if not sigma:
        assert found == pytest.approx(mask.sum(), rel=0.02)


def test_scale_and_mean_of_maps_do_not_matter_and_empty_ones_are_left_out() -> None:
    mask = ball()
    maps = noise(8, 1.0, mask).astype(np.float64)
    expected = independent_values(maps, mask, np.full(3, 4.0))
    changed = np.vstack([maps * np.arange(1, 9)[:, None] - 5.0, np.zeros((2, mask.sum()))])
    assert independent_values(changed, mask, np.full(3, 4.0)) == pytest.approx(expected, rel=1e-3)


def test_every_second_voxel_says_the_same_of_smooth_maps() -> None:
    mask = ball()
    maps = noise(10, 2.0, mask)
    every = independent_values(maps, mask, np.full(3, 4.0))
    second = independent_values(maps, mask, np.full(3, 2.0))
    assert second == pytest.approx(every, rel=0.1)


def test_one_map_says_nothing() -> None:
    mask = ball()
    one = noise(1, 1.0, mask)
    assert np.isnan(independent_values(one, mask, np.full(3, 4.0)))
    assert np.isnan(independent_values(np.ones((3, mask.sum())), mask, np.full(3, 4.0)))
