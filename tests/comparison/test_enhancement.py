"""The enhancement is the integral that steps of heights come near to."""

from __future__ import annotations

import numpy as np
import pytest
from design_examples import cube, two_groups
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ring_space import ring_space
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.sparse.csgraph import connected_components
from tfce import tfce

from nidecomp.comparison.clusters import cluster_extents, threshold_of
from nidecomp.comparison.enhancement import HEIGHT, SURFACE_EXTENT, VOLUME_EXTENT, enhance
from nidecomp.comparison.features import FeatureKind, feature_kinds
from nidecomp.comparison.glm import linear_test
from nidecomp.comparison.largest_enhancement import largest_enhancement
from nidecomp.spaces.contract import FeatureSpace

few = settings(deadline=None, max_examples=20, derandomize=True, database=None)
VOXELS, RINGS = cube(7), ring_space(60)


def kind_of(space: FeatureSpace) -> FeatureKind:
    (kind,) = feature_kinds(space, np.ones(space.n_features, dtype=bool))
    return kind


def smooth(space: FeatureSpace, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    if space is VOXELS:
        values = gaussian_filter(rng.standard_normal((7, 7, 7)), 1).ravel()
    else:
        values = gaussian_filter(rng.standard_normal(space.n_features), 2)
    return (3 * values / values.std()).astype(np.float32)


def extents(
    values: NDArray[np.float32], height: float, space: FeatureSpace, sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the size of each feature's cluster at a height."""
    reached = np.flatnonzero(values >= height)
    labels = connected_components(space.adjacency[reached][:, reached], directed=False)[1]
    found = np.zeros(len(values))
    found[reached] = np.bincount(labels, sizes[reached])[labels] if len(reached) else 0
    return found


def stepped(
    values: NDArray[np.float32], space: FeatureSpace, step: float, sizes: NDArray[np.float64],
    power: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the sum over heights in the middle of steps, for both signs."""
    found = np.zeros(len(values))
    for sign in (1, -1):
        for height in np.arange(step / 2, np.abs(values).max(), step):
            found += (
                sign * step * height**HEIGHT * extents(sign * values, height, space, sizes) ** power
            )
    return found


@pytest.mark.parametrize("space", [VOXELS, RINGS], ids=["voxels", "surface"])
def test_steps_come_nearer_to_it_the_finer_they_are(space: FeatureSpace) -> None:
    values, kind = smooth(space), kind_of(space)
    exact = enhance(values[None], kind)[0]
    sizes = kind.sizes if kind.is_surface else np.ones(space.n_features)
    power = SURFACE_EXTENT if kind.is_surface else VOLUME_EXTENT
    assert kind.is_surface == (space is RINGS)
    errors = [
        np.abs(stepped(values, space, step, sizes, power) - exact).max() / np.abs(exact).max()
        for step in (0.4, 0.1, 0.02)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


@few
@given(st.integers(0, 1000), st.booleans())
def test_with_vertices_of_the_same_size_it_is_the_package_s(seed: int, rounds: bool) -> None:
    values = smooth(RINGS, seed)
    # Values that are the same share a height.
    values = np.round(values) if rounds else values
    kind = kind_of(RINGS)
    ones = FeatureKind(kind.features, True, kind.starts, kind.neighbours, np.ones_like(kind.sizes))
    theirs = tfce(values, adjacency=RINGS.adjacency, E=SURFACE_EXTENT, H=HEIGHT)
    np.testing.assert_allclose(enhance(values[None], ones)[0], theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("space", [VOXELS, RINGS], ids=["voxels", "surface"])
def test_signs_are_kept_and_maps_do_not_change_each_other(space: FeatureSpace) -> None:
    kind = kind_of(space)
    maps = np.stack([smooth(space, seed) for seed in range(3)])
    together = enhance(maps, kind)
    np.testing.assert_array_equal(np.sign(together), np.sign(maps))
    np.testing.assert_array_equal(enhance(-maps, kind), -together)
    for one, expected in zip(maps, together, strict=True):
        np.testing.assert_array_equal(enhance(one[None], kind)[0], expected)
    assert not enhance(np.zeros_like(maps), kind).any()


@pytest.mark.parametrize("space", [VOXELS, RINGS], ids=["voxels", "surface"])
def test_extents_are_those_of_connected_features_of_one_sign(space: FeatureSpace) -> None:
    values, kind = smooth(space, 3), kind_of(space)
    found = cluster_extents(values[None], 2.0, kind)[0]
    above = np.nextafter(np.float32(2), np.float32(3))
    expected = extents(values, above, space, kind.sizes)
    expected += extents(-values, above, space, kind.sizes)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected.any()


def test_the_threshold_is_two_sided() -> None:
    design = two_groups(20)
    test = linear_test(design, design.contrasts[0], "permutations")
    assert threshold_of(test, 0.01) == pytest.approx(stats.t.isf(0.005, test.dof))


@few
@given(st.integers(0, 1000), st.booleans(), st.sampled_from([VOXELS, RINGS]))
def test_the_largest_is_that_of_all(seed: int, rounds: bool, space: FeatureSpace) -> None:
    maps = np.stack([smooth(space, seed), smooth(space, seed + 1), np.abs(smooth(space, seed))])
    maps = np.round(maps) if rounds else maps
    maps = np.concatenate([maps, -maps[2:], np.zeros_like(maps[:1])])
    expected = np.abs(enhance(maps, kind_of(space))).max(axis=1)
    np.testing.assert_allclose(largest_enhancement(maps, kind_of(space)), expected, rtol=1e-6)
