"""Order, sign and scale of maps, and the variance that they explain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.decomposition.arrange import arrange, by_reproducibility
from nidecomp.decomposition.explained import explained_variance
from nidecomp.decomposition.subspace import SubspaceStream

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def maps_and_stack(seed, n_maps=5, n_voxels=200, n_rows=12):
    rng = np.random.default_rng(seed)
    maps = rng.laplace(size=(n_maps, n_voxels))
    courses = rng.standard_normal((n_rows, n_maps)) * rng.uniform(0.5, 5, n_maps)
    stack = courses @ maps + rng.standard_normal((n_rows, n_voxels))
    return maps, stack.astype(np.float32)


def explained(maps, stack):
    """Return the variance of the rows that maps explain, relative to all of it."""
    return shares(maps, stack, float(np.sum(stack.astype(np.float64) ** 2)))


def shares(maps, rows, total_variance):
    """Return the shares that maps explain alone and together."""
    found = explained_variance(maps, rows, total_variance)
    return found.alone, found.together


def share_explained(maps, stack):
    """Return the share of the rows' variance that a least-squares fit of the maps explains."""
    stack = stack.astype(np.float64)
    weights, *_ = np.linalg.lstsq(maps.T, stack.T, rcond=None)
    return 1 - np.sum((stack.T - maps.T @ weights) ** 2) / np.sum(stack**2)


@few
@given(seed=SEEDS)
def test_explained_variance_is_that_of_a_least_squares_fit(seed):
    maps, stack = maps_and_stack(seed)
    alone, together = explained(maps, stack)
    np.testing.assert_allclose(
        alone, [share_explained(one[None], stack) for one in maps], atol=1e-5
    )
    assert together == pytest.approx(share_explained(maps, stack), abs=1e-5)


@few
@given(seed=SEEDS, n_maps=st.integers(1, 12))
def test_all_maps_explain_at_least_what_the_best_one_does_and_at_most_all(seed, n_maps):
    maps, stack = maps_and_stack(seed, n_maps)
    alone, together = explained(maps, stack)
    assert alone.max() - 1e-6 <= together <= 1 + 1e-6
    assert (alone >= 0).all()


@few
@given(seed=SEEDS)
def test_orthogonal_maps_share_nothing(seed):
    maps, stack = maps_and_stack(seed)
    Q, _ = np.linalg.qr(maps.T)
    alone, together = explained(Q.T * 100, stack)
    assert together == pytest.approx(alone.sum(), abs=1e-5)


@few
@given(seed=SEEDS, gain=st.floats(1e-3, 1e3), sign=st.sampled_from([-1, 1]))
def test_scale_and_sign_of_a_map_do_not_change_what_it_explains(seed, gain, sign):
    maps, stack = maps_and_stack(seed)
    changed = maps.copy()
    changed[1] *= sign * gain
    before, after = explained(maps, stack), explained(changed, stack)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    assert after[1] == pytest.approx(before[1], abs=1e-5)


def test_maps_given_twice_explain_no_more():
    maps, stack = maps_and_stack(1)
    _, once = explained(maps, stack)
    _, twice = explained(np.vstack([maps, maps[:2]]), stack)
    assert twice == pytest.approx(once, abs=1e-5)


def test_empty_maps_and_empty_data_explain_nothing():
    maps, stack = maps_and_stack(2)
    maps[3] = 0.0
    alone, together = explained(maps, stack)
    assert alone[3] == 0.0
    assert together == pytest.approx(share_explained(np.delete(maps, 3, 0), stack), abs=1e-5)
    alone, together = explained(maps, np.zeros_like(stack))
    assert not alone.any()
    assert together == 0.0


@few
@given(seed=SEEDS, n_dims=st.integers(6, 12))
def test_maps_explain_the_same_of_a_subspace_as_of_its_rows(seed, n_dims):
    """Variance outside of a subspace that does not hold all rows counts as not explained."""
    maps, stack = maps_and_stack(seed)
    stream = SubspaceStream(stack.shape[1], n_dims)
    stream.add(stack)
    subspace = stream.finish()
    alone, together = shares(maps, subspace.rows, subspace.total_variance)
    whole_alone, whole_together = explained(maps, stack)
    if n_dims == len(stack):
        np.testing.assert_allclose(alone, whole_alone, atol=1e-5)
        assert together == pytest.approx(whole_together, abs=1e-5)
    lost = 1 - subspace.squared.sum() / subspace.total_variance
    assert (alone <= whole_alone + 1e-5).all()
    assert whole_together - lost - 1e-5 <= together <= whole_together + 1e-5


@few
@given(seed=SEEDS, gain=st.floats(1.0, 100.0))
def test_shares_are_shares_of_the_total_variance(seed, gain):
    maps, stack = maps_and_stack(seed)
    total = float(np.sum(stack.astype(np.float64) ** 2))
    alone, together = shares(maps, stack, total)
    others, other_together = shares(maps, stack, gain * total)
    np.testing.assert_allclose(gain * others, alone, rtol=1e-12)
    assert gain * other_together == pytest.approx(together, rel=1e-12)


def test_blocks_of_voxels_add_up(monkeypatch):
    maps, stack = maps_and_stack(6)
    alone, together = explained(maps, stack)
    # `blocks` bound its default when it was defined: patching the constant has no effect.
    monkeypatch.setattr("nidecomp.core.linalg.blocks.__defaults__", (17,))
    others, other_together = explained(maps, stack)
    np.testing.assert_allclose(others, alone, rtol=1e-12)
    assert other_together == pytest.approx(together, rel=1e-12)


@few
@given(seed=SEEDS)
def test_maps_are_sorted_by_what_they_explain(seed):
    maps, stack = maps_and_stack(seed)
    alone, _ = explained(maps, stack)
    arranged, order = arrange(maps, alone)
    assert sorted(order) == list(range(len(maps)))
    assert (np.diff(alone[order]) <= 0).all()
    for one, index in zip(arranged, order, strict=True):
        assert abs(np.corrcoef(one, maps[index])[0, 1]) == pytest.approx(1.0, abs=1e-6)


@few
@given(seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_peaks_are_positive_and_the_root_mean_square_is_one(seed, scale):
    maps, _ = maps_and_stack(seed)
    arranged, _ = arrange(maps * scale, np.zeros(len(maps)))
    assert arranged.dtype == np.float32
    peaks = arranged[np.arange(len(maps)), np.abs(arranged).argmax(axis=1)]
    assert (peaks > 0).all()
    rms = np.sqrt(np.mean(arranged.astype(np.float64) ** 2, axis=1))
    np.testing.assert_allclose(rms, 1.0, rtol=1e-5)


@few
@given(seed=SEEDS, signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5))
def test_the_signs_of_fitted_maps_do_not_matter(seed, signs):
    maps, _ = maps_and_stack(seed)
    shares = np.arange(5.0)
    arranged, _ = arrange(maps, shares)
    others, _ = arrange(maps * np.array(signs)[:, None], shares)
    np.testing.assert_array_equal(others, arranged)


def test_arranging_twice_is_arranging_once():
    maps, stack = maps_and_stack(3)
    alone, _ = explained(maps, stack)
    once, order = arrange(maps, alone)
    twice, again = arrange(once, alone[order])
    np.testing.assert_allclose(twice, once, rtol=1e-6)
    np.testing.assert_array_equal(again, np.arange(len(maps)))


def test_maps_with_equal_explained_variance_keep_their_order():
    maps, _ = maps_and_stack(4)
    _, order = arrange(maps, np.array([0.1, 0.3, 0.1, 0.3, 0.1]))
    np.testing.assert_array_equal(order, [1, 3, 0, 2, 4])


def test_empty_map_stays_empty():
    maps, _ = maps_and_stack(5)
    maps[0] = 0.0
    arranged, order = arrange(maps, np.arange(5.0)[::-1])
    assert order[0] == 0
    assert not arranged[0].any()
    assert np.isfinite(arranged).all()


@few
@given(seed=SEEDS, n_splits=st.integers(1, 6))
def test_components_are_sorted_by_their_mean_reproducibility(seed, n_splits):
    """Explained variance does not matter where the means differ in the first two decimals."""
    rng = np.random.default_rng(seed)
    expected = rng.permutation(9)
    means = np.empty(9)
    means[expected] = 0.9 - 0.05 * np.arange(9)
    about = rng.uniform(-0.1, 0.1, (n_splits, 9))
    reproducibility = means + about - about.mean(axis=0)
    order = by_reproducibility(reproducibility, rng.random(9))
    np.testing.assert_array_equal(order, expected)


def test_one_good_split_does_not_make_up_for_bad_ones():
    reproducibility = np.array([[0.99, 0.7], [0.1, 0.7], [0.1, 0.7]])
    assert by_reproducibility(reproducibility, np.array([0.5, 0.1])).tolist() == [1, 0]


def test_means_equal_to_two_decimals_are_sorted_by_explained_variance():
    means = np.array([[0.904, 0.896, 0.901, 0.894, 0.911]])
    explained = np.array([0.1, 0.3, 0.2, 0.9, 0.05])
    # 0.91, then three of 0.90, then 0.89.
    assert by_reproducibility(means, explained).tolist() == [4, 1, 2, 0, 3]
    assert by_reproducibility(np.repeat(means, 3, axis=0), explained).tolist() == [4, 1, 2, 0, 3]


@few
@given(explained=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=8))
def test_without_splits_components_are_sorted_by_explained_variance(explained):
    order = by_reproducibility(np.zeros((0, len(explained))), np.array(explained))
    expected = sorted(range(len(explained)), key=lambda index: -explained[index])
    assert order.tolist() == expected


@few
@given(seed=SEEDS, places=st.permutations(range(6)))
def test_the_order_by_reproducibility_does_not_depend_on_the_previous_order(seed, places):
    rng = np.random.default_rng(seed)
    reproducibility, explained = rng.choice([0.2, 0.5, 0.9], (1, 6)), rng.random(6)
    order = by_reproducibility(reproducibility, explained)
    shuffled = by_reproducibility(reproducibility[:, places], explained[places])
    np.testing.assert_array_equal(np.array(places)[shuffled], order)
