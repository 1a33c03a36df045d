"""Surrogates are as smooth as the maps that they are made of, and have nothing else of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nidecomp.spaces.surrogates import surrogate_maps

SHAPE = (22, 26, 20)
RNG = np.random.default_rng(0)
VOXEL_MM = np.full(3, 4.0)


def ball() -> NDArray[np.bool_]:
    centre = (np.array(SHAPE) - 1) / 2
    return np.asarray(np.sum(((np.indices(SHAPE).T - centre) / centre) ** 2, axis=-1).T < 0.9)


def noise(n: int, sigma: float, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    maps = [gaussian_filter(RNG.standard_normal(mask.shape), sigma)[mask] for _ in range(n)]
    return np.array(maps, dtype=np.float32)


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


def test_small_voxels_are_taken_four_millimetres_apart() -> None:
    mask = ball()
    made = surrogate_maps(noise(2, 2.0, mask), mask, np.full(3, 2.0), 3)
    assert made.shape == (2, np.count_nonzero(mask[::2, ::2, ::2]))
