"""Matching of maps: agreement with numpy, scipy and the best of all pairings."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from nidecomp.decomposition.matching import correlations, match, subspace_overlap

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)
SIZES = st.integers(1, 6)
# More than two blocks of voxels, of which the last is not full.
MANY_VOXELS = 2 * 16384 + 100


def two_sets(seed, n_first=4, n_second=6, n_voxels=150):
    """Return two sets of correlated maps, of any scale and mean."""
    rng = np.random.default_rng(seed)
    shared = rng.laplace(size=(3, n_voxels))
    sets = []
    for n_maps in (n_first, n_second):
        maps = rng.standard_normal((n_maps, 3)) @ shared + rng.standard_normal((n_maps, n_voxels))
        scale = 10.0 ** rng.uniform(-3, 3, (n_maps, 1))
        sets.append(scale * (maps + rng.uniform(-3, 3, (n_maps, 1))))
    return sets


def numpys_correlations(first, second):
    both = np.corrcoef(first.astype(np.float64), second.astype(np.float64))
    return both[: len(first), len(first) :]


# ---------------------------------------------------------------- correlations
@few
@given(seed=SEEDS, n_first=SIZES, n_second=SIZES, dtype=st.sampled_from([np.float32, np.float64]))
def test_correlations_are_numpys(seed, n_first, n_second, dtype):
    first, second = (maps.astype(dtype) for maps in two_sets(seed, n_first, n_second))
    r = correlations(first, second)
    assert r.dtype == np.float64
    np.testing.assert_allclose(r, numpys_correlations(first, second), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_correlations_over_several_blocks_of_voxels_are_numpys(dtype):
    first, second = (maps.astype(dtype) for maps in two_sets(0, n_voxels=MANY_VOXELS))
    np.testing.assert_allclose(
        correlations(first, second), numpys_correlations(first, second), atol=1e-12
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 / 3, 1e-12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_map_correlates_with_nothing_not_even_itself(value, dtype):
    first, second = (maps.astype(dtype) for maps in two_sets(1, n_voxels=MANY_VOXELS))
    expected = numpys_correlations(first, second)
    first[1], second[2] = value, value
    r = correlations(first, second)
    assert not r[1].any()
    assert not r[:, 2].any()
    np.testing.assert_allclose(np.delete(r[0], 2), np.delete(expected[0], 2), atol=1e-12)


def test_a_map_of_a_single_voxel_is_not_constant():
    first, second = two_sets(2, n_voxels=MANY_VOXELS)
    first[0] = 0.0
    first[0, 17] = 1e-3
    np.testing.assert_allclose(
        correlations(first, second), numpys_correlations(first, second), atol=1e-12
    )
    assert correlations(first[:1], first[:1])[0, 0] == pytest.approx(1.0, abs=1e-12)


def test_a_map_with_a_mean_far_from_its_spread_is_not_constant():
    first, second = two_sets(7)
    first = first / first.std(axis=1, keepdims=True) + 1e3
    np.testing.assert_allclose(
        correlations(first, second), numpys_correlations(first, second), atol=1e-8
    )


@few
@given(seed=SEEDS)
def test_no_correlation_is_larger_than_one(seed):
    first, _ = two_sets(seed)
    r = correlations(first, np.vstack([first, -3 * first]))
    assert np.abs(r).max() <= 1.0
    np.testing.assert_allclose(np.diag(r[:, :4]), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.diag(r[:, 4:]), -1.0, atol=1e-12)


# ---------------------------------------------------------------- matching
def largest_sum(correlation):
    """Return the largest sum over pairs of all ways to pair the maps."""
    strength = np.abs(correlation)
    if strength.shape[0] > strength.shape[1]:
        strength = strength.T
    n_few, n_many = strength.shape
    return max(
        strength[np.arange(n_few), list(chosen)].sum()
        for chosen in permutations(range(n_many), n_few)
    )


def drawn_correlation(seed, n_first, n_second):
    return np.random.default_rng(seed).uniform(-1, 1, (n_first, n_second))


@few
@given(seed=SEEDS, n_first=SIZES, n_second=SIZES)
def test_no_other_pairing_has_a_larger_sum(seed, n_first, n_second):
    correlation = drawn_correlation(seed, n_first, n_second)
    pairs = match(correlation)
    assert len(pairs.first) == len(pairs.second) == len(pairs.r) == min(n_first, n_second)
    assert (np.diff(pairs.first) > 0).all()
    assert len(set(pairs.second.tolist())) == len(pairs.second)
    np.testing.assert_array_equal(pairs.r, correlation[pairs.first, pairs.second])
    assert np.abs(pairs.r).sum() == pytest.approx(largest_sum(correlation), abs=1e-12)


def test_the_sum_over_pairs_counts_more_than_the_strongest_pair():
    """If the strongest pair were matched first, 0 would get 0, and 1 would get no similar map."""
    pairs = match(np.array([[0.9, -0.8], [0.85, 0.1]]))
    assert pairs.second.tolist() == [1, 0]
    assert pairs.r.tolist() == [-0.8, 0.85]


@few
@given(seed=SEEDS, rows=st.permutations(range(5)), columns=st.permutations(range(5)))
def test_order_of_maps_does_not_matter(seed, rows, columns):
    correlation = drawn_correlation(seed, 5, 5)
    pairs, shuffled = match(correlation), match(correlation[np.ix_(rows, columns)])
    partner = dict(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    for first, second in zip(shuffled.first, shuffled.second, strict=True):
        assert partner[rows[first]] == columns[second]


@few
@given(seed=SEEDS, signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5))
def test_the_sign_of_a_map_changes_only_the_sign_of_its_pair(seed, signs):
    correlation = drawn_correlation(seed, 5, 7)
    pairs, turned = match(correlation), match(correlation * np.array(signs)[:, None])
    np.testing.assert_array_equal(turned.second, pairs.second)
    np.testing.assert_array_equal(turned.r, pairs.r * signs)


@few
@given(seed=SEEDS, n_first=SIZES, n_second=SIZES)
def test_swapping_the_sets_swaps_the_pairs(seed, n_first, n_second):
    correlation = drawn_correlation(seed, n_first, n_second)
    there, back = match(correlation), match(correlation.T)
    assert set(zip(there.first.tolist(), there.second.tolist(), strict=True)) == set(
        zip(back.second.tolist(), back.first.tolist(), strict=True)
    )


@few
@given(seed=SEEDS, order=st.permutations(range(6)))
def test_shuffled_negated_and_scaled_maps_match_themselves(seed, order):
    maps, _ = two_sets(seed, n_first=6)
    gains = np.random.default_rng(seed).choice([-20.0, 0.01, 3.0], (6, 1))
    pairs = match(correlations(maps, (gains * maps)[order]))
    np.testing.assert_array_equal(np.array(order)[pairs.second], np.arange(6))
    np.testing.assert_allclose(pairs.r, np.sign(gains[:, 0]), atol=1e-12)


# ---------------------------------------------------------------- spaces
def mean_squared_cosine(first, second):
    """Return the mean squared cosine of the principal angles that scipy computes."""
    angles = subspace_angles(first.T.astype(np.float64), second.T.astype(np.float64))
    return np.mean(np.cos(angles) ** 2)


@few
@given(seed=SEEDS, n_first=SIZES, n_second=SIZES, dtype=st.sampled_from([np.float32, np.float64]))
def test_overlap_is_the_mean_squared_cosine_of_scipys_angles(seed, n_first, n_second, dtype):
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((3, 60))
    first, second = (
        (rng.standard_normal((n, 3)) @ shared + rng.standard_normal((n, 60))).astype(dtype)
        for n in (n_first, n_second)
    )
    expected = mean_squared_cosine(first, second)
    assert subspace_overlap(first, second) == pytest.approx(expected, abs=1e-6)
    assert subspace_overlap(second, first) == pytest.approx(expected, abs=1e-6)


def test_overlap_over_several_blocks_of_voxels_is_scipys():
    rng = np.random.default_rng(3)
    first = rng.standard_normal((3, MANY_VOXELS), dtype=np.float32)
    second = first[:2] + rng.standard_normal((2, MANY_VOXELS), dtype=np.float32)
    expected = mean_squared_cosine(first, second)
    assert 0.4 < expected < 0.6
    assert subspace_overlap(first, second) == pytest.approx(expected, abs=1e-6)


@few
@given(seed=SEEDS, scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_rotated_and_scaled_maps_span_the_same_space(seed, scale):
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((5, 100))
    rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    gains = rng.uniform(0.1, 10, (5, 1))
    assert subspace_overlap(maps, scale * gains * (rotation @ maps)) == pytest.approx(1.0)


def test_orthogonal_spaces_do_not_overlap():
    basis, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((100, 7)))
    mixed = np.array([[1, 1, 0], [1, -1, 2], [0, 1, 1]]) @ basis.T[4:]
    assert subspace_overlap(basis.T[:4], mixed) == pytest.approx(0.0, abs=1e-12)
    # The spaces share two of their four dimensions.
    assert subspace_overlap(basis.T[:4], basis.T[2:6]) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_given_twice_and_empty_maps_add_no_dimension(dtype):
    rng = np.random.default_rng(5)
    first = rng.standard_normal((3, 200))
    second = first + rng.standard_normal((3, 200))
    expected = mean_squared_cosine(first, second)
    doubled = np.vstack([first, first[0] - 2 * first[2], np.zeros(200)]).astype(dtype)
    assert subspace_overlap(doubled, second.astype(dtype)) == pytest.approx(expected, abs=1e-5)


def test_the_overlap_is_one_within_a_larger_space_and_zero_with_an_empty_one():
    maps = np.random.default_rng(6).standard_normal((5, 100))
    assert subspace_overlap(maps, maps[1:3]) == pytest.approx(1.0)
    assert subspace_overlap(maps, np.zeros((5, 100))) == 0.0
