"""Grids are compared exactly, or within what programs round."""

from __future__ import annotations

import numpy as np
import pytest
from example_images import SEEDS, few, grid_at, turned_affine
from hypothesis import given
from hypothesis import strategies as st

# A whole head at 2 mm, as fMRIPrep gives it.
SHAPE = (97, 115, 97)
AFFINE = np.array([[2.0, 0, 0, -96], [0, 2, 0, -132], [0, 0, 2, -78], [0, 0, 0, 1]])


def test_corners_are_the_centres_of_the_outermost_voxels():
    corners = grid_at(AFFINE, SHAPE).corners
    assert corners.shape == (8, 3)
    np.testing.assert_array_equal(corners.min(axis=0), [-96, -132, -78])
    np.testing.assert_array_equal(corners.max(axis=0), [96, 96, 114])
    assert len(np.unique(corners, axis=0)) == 8


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("column", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [SHAPE, (193, 229, 193)])
def test_rounding_of_an_element_is_the_same_grid(row, column, shape):
    rounded = AFFINE.copy()
    rounded[row, column] += 1e-4
    one, other = grid_at(AFFINE, shape), grid_at(rounded, shape)
    assert one != other
    assert one.is_same(other)
    assert other.is_same(one)


@pytest.mark.parametrize(
    ("row", "column", "change"),
    [(0, 3, 0.06), (1, 1, 0.06 / 114), (2, 0, 0.06 / 96), (0, 0, -4.0), (1, 3, 2.0)],
)
def test_another_place_turn_or_voxel_size_is_another_grid(row, column, change):
    changed = AFFINE.copy()
    changed[row, column] += change
    one, other = grid_at(AFFINE, SHAPE), grid_at(changed, SHAPE)
    assert not one.is_same(other)
    assert not other.is_same(one)


def test_another_shape_is_another_grid():
    assert not grid_at(AFFINE, SHAPE).is_same(grid_at(AFFINE, (97, 115, 96)))


@few
@given(seed=SEEDS, size=st.floats(1e-4, 1))
def test_no_voxel_of_the_same_grid_is_farther_away_than_a_corner(seed, size):
    """An affine map of a box is farthest from another at a corner, so that eight are enough."""
    rng = np.random.default_rng(seed)
    affine = turned_affine(rng)
    other = affine.copy()
    other[:3] += size * rng.uniform(-1, 1, (3, 4)) * [0.01, 0.01, 0.01, 0.1]
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    one, two = grid_at(affine, shape), grid_at(other, shape)
    voxels = np.stack([axis.ravel() for axis in np.indices(shape)], axis=1)
    moved = np.linalg.norm(voxels @ (affine - other)[:3, :3].T + (affine - other)[:3, 3], axis=1)
    assert np.linalg.norm(one.corners - two.corners, axis=1).max() == pytest.approx(moved.max())
    assert one.is_same(two) == (moved.max() <= 0.05)


def test_a_voxel_at_the_edge_is_in_the_field_of_view():
    grid = grid_at(AFFINE, SHAPE)
    beyond_the_centre = np.array([0.9, 0.9, -0.9])
    assert grid.share_of(grid.corners) == 1
    assert grid.share_of(grid.corners + beyond_the_centre) == 1
    assert grid.share_of(np.array([[-98.0, 0, 0], [0, 0, 0], [0, 0, 117], [0, 95, 0]])) == 0.5
