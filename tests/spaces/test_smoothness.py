"""Independent values of smooth maps, and surrogates, which have nothing but their smoothness."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nidecomp.spaces import smoothness
from nidecomp.spaces.smoothness import independent_values, surrogate_maps

SHAPE = (22, 26, 20)
RNG = np.random.default_rng(0)
VOXEL_MM = np.full(3, 4.0)


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
    assert independent_values(changed, mask, VOXEL_MM) == pytest.approx(expected, rel=1e-3)


@pytest.fixture
def thinning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Voxels of 2 mm are thinned in a small mask, too."""
    monkeypatch.setattr(smoothness, "_FEWEST_VOXELS", 100)


def test_every_second_voxel_says_the_same_of_smooth_maps(thinning: None) -> None:
    mask = ball()
    maps = noise(10, 2.0, mask)
    every = independent_values(maps, mask, VOXEL_MM)
    second = independent_values(maps, mask, VOXEL_MM / 2)
    assert second != every
    assert second == pytest.approx(every, rel=0.1)


def test_rough_maps_have_as_many_independent_values_as_voxels(thinning: None) -> None:
    mask = ball()
    found = independent_values(noise(10, 0.0, mask), mask, VOXEL_MM / 2)
    assert found == pytest.approx(mask.sum(), rel=0.05)


def test_a_small_mask_is_not_thinned() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1, 2:7, 2:7] = True
    maps = RNG.standard_normal((4, mask.sum()))
    assert surrogate_maps(maps, mask, np.full(3, 2.0), 1).shape == maps.shape
    assert np.isfinite(independent_values(maps, mask, np.full(3, 2.0)))


def test_one_map_says_nothing() -> None:
    mask = ball()
    one = noise(1, 1.0, mask)
    assert np.isnan(independent_values(one, mask, np.full(3, 4.0)))
    assert np.isnan(independent_values(np.ones((3, mask.sum())), mask, np.full(3, 4.0)))


# ---------------------------------------------------------------- surrogates
def similarity_of_neighbours(maps: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Return the correlation of values with those of the next voxel along the last axis."""
    both = mask[..., 1:] & mask[..., :-1]
    volumes = np.zeros((len(maps), *mask.shape))
    volumes[:, mask] = maps
    return float(np.corrcoef(volumes[:, :, :, 1:][:, both].ravel(),
                             volumes[:, :, :, :-1][:, both].ravel())[0, 1])  # fmt: skip


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.5])
def test_surrogates_are_as_smooth_as_their_maps(sigma: float) -> None:
    mask = ball()
    maps = noise(20, sigma, mask)
    made = surrogate_maps(maps, mask, VOXEL_MM, 1)
    assert similarity_of_neighbours(made, mask) == pytest.approx(
        similarity_of_neighbours(maps, mask), abs=0.1
    )
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), np.linalg.norm(maps, axis=1), 1e-5)


def test_surrogates_are_unrelated_to_their_maps_and_to_those_of_other_seeds() -> None:
    mask = ball()
    maps = noise(30, 0.8, mask)
    first, second = (surrogate_maps(maps, mask, VOXEL_MM, seed) for seed in (1, 2))
    apart = np.corrcoef(noise(60, 0.8, mask))[np.triu_indices(60, 1)].std()
    for other in (maps, second):
        r = np.corrcoef(first, other)[:30, 30:]
        assert r.std() < 1.5 * apart
        assert abs(r.mean()) < apart / 2


def test_surrogates_of_one_call_are_related_as_their_maps_are() -> None:
    mask = ball()
    maps = noise(4, 0.8, mask)
    maps[1] = maps[0] + 0.5 * maps[1]
    made = surrogate_maps(maps, mask, VOXEL_MM, 3)
    np.testing.assert_allclose(np.corrcoef(made), np.corrcoef(maps), atol=0.1)


def test_the_same_seed_gives_the_same_bytes_and_empty_maps_stay_empty() -> None:
    mask = ball()
    maps = noise(3, 0.8, mask)
    maps[2] = 0
    made = surrogate_maps(maps, mask, VOXEL_MM, 3)
    assert made.tobytes() == surrogate_maps(maps, mask, VOXEL_MM, 3).tobytes()
    assert not made[2].any()


def test_small_voxels_are_thinned(thinning: None) -> None:
    mask = ball()
    made = surrogate_maps(noise(2, 2.0, mask), mask, VOXEL_MM / 2, 3)
    assert made.shape == (2, np.count_nonzero(mask[::2, ::2, ::2]))
