"""Regions of maps: connected clusters, their place, and the parcellation made of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nidecomp.annotation.regions import (
    Region,
    extract_regions,
    parcellation,
)
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (20, 18, 16)
AFFINE = ((4.0, 0, 0, -38), (0, 4.0, 0, -34), (0, 0, 4.0, -30), (0, 0, 0, 1.0))
MASK = np.ones(SHAPE, dtype=bool)
MASK[:, :2] = False
SPACE = VoxelSpace(Grid(SHAPE, AFFINE), MASK, "MNI152NLin2009cAsym")
KINDS = ("local_regions", "connected_components")


def boxes(*places: tuple[slice, slice, slice], gains: tuple[float, ...] = ()) -> NDArray:
    volume = np.zeros(SHAPE, dtype=np.float32)
    for place, gain in zip(places, gains or (1.0,) * len(places), strict=True):
        volume[place] = gain
    return SPACE.features(volume)


LEFT = (slice(2, 6), slice(8, 12), slice(8, 12))
RIGHT = (slice(14, 19), slice(8, 12), slice(8, 12))
TINY = (slice(10, 12), slice(4, 5), slice(4, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_two_sides_are_two_regions_the_larger_first(kind: str) -> None:
    regions = extract_regions(boxes(LEFT, RIGHT), SPACE, kind)
    assert [region.hemisphere for region in regions] == ["R", "L"]
    assert [len(region.features) for region in regions] == [5 * 4 * 4, 4 * 4 * 4]
    for region, middle in zip(regions, [(16.0, 9.5, 9.5), (3.5, 9.5, 9.5)], strict=True):
        expected = np.array(AFFINE)[:3, :3] @ middle + np.array(AFFINE)[:3, 3]
        np.testing.assert_allclose(region.centre, expected, atol=1e-4)
        assert (np.diff(region.features) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_maps_values(kind: str) -> None:
    values = boxes(LEFT, RIGHT, gains=(0.5, 1.0))
    for region in extract_regions(values, SPACE, kind):
        np.testing.assert_allclose(region.weights, values[region.features])


@pytest.mark.parametrize("kind", KINDS)
def test_small_or_negative_clusters_are_not_regions(kind: str) -> None:
    assert SPACE.size_of(np.arange(2)) == 128 < SPACE.measure.min_region
    regions = extract_regions(boxes(LEFT, RIGHT, TINY, gains=(1, -1, 1)), SPACE, kind)
    assert [region.hemisphere for region in regions] == ["L"]
    assert extract_regions(boxes(TINY), SPACE, kind) == ()
    assert extract_regions(np.zeros(SPACE.n_features, np.float32), SPACE, kind) == ()


def test_a_region_across_the_midline_is_bilateral() -> None:
    middle = (slice(8, 12), slice(8, 12), slice(8, 12))
    (region,) = extract_regions(boxes(middle), SPACE, "connected_components")
    assert region.hemisphere == "B"
    assert abs(region.centre[0]) < 1e-4


def test_each_voxel_belongs_to_the_region_with_the_largest_weight() -> None:
    def region(voxels: list[int], weights: list[float]) -> Region:
        return Region(np.array(voxels), np.array(weights, dtype=np.float32), (0.0, 0.0, 0.0), "B")

    regions = (region([0, 1, 2], [0.5, 0.5, 0.5]), region([1, 2, 4], [0.4, 0.6, 0.1]))
    np.testing.assert_array_equal(parcellation(regions, 6), [1, 1, 2, 0, 2, 0])
    again = parcellation((regions[0], regions[0]), 6)
    np.testing.assert_array_equal(again, [1, 1, 1, 0, 0, 0])
