"""Stability across restarts, splits and bootstrap samples, and agreement of halves."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.decomposition import stability
from nidecomp.decomposition.stability import (
    bootstrap_samples,
    compare_halves,
    hold_out,
    matched_r,
    restart_stability,
    split_halves,
)

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def reproducibility(maps, first, second):
    return compare_halves(maps, first, second).reproducibility


# ---------------------------------------------------------------- restarts of the ICA
def orthogonal(rng, n):
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return Q


def shuffled_and_turned(rng, matrix):
    """Return the same components in another order, with other signs."""
    n = len(matrix)
    return rng.choice([-1.0, 1.0], (n, 1)) * matrix[rng.permutation(n)]


@few
@given(seed=SEEDS, n=st.integers(2, 12), n_restarts=st.integers(2, 8))
def test_restarts_that_agree_up_to_sign_and_order_have_an_index_of_one(seed, n, n_restarts):
    """|r| is 1 within a cluster, and 0 between clusters, because components are orthogonal."""
    rng = np.random.default_rng(seed)
    matrix = orthogonal(rng, n)
    restarts = [shuffled_and_turned(rng, matrix) for _ in range(n_restarts)]
    found = restart_stability(restarts, int(rng.integers(n_restarts)))
    np.testing.assert_allclose(found, 1.0, atol=1e-12)


def test_unrelated_restarts_are_not_stable():
    rng = np.random.default_rng(0)
    found = restart_stability([orthogonal(rng, 20) for _ in range(10)], 0)
    assert found.max() < 0.6


def test_a_component_of_the_chosen_restart_only_has_a_low_index():
    """All other restarts have two directions turned by 45°, and the others unchanged."""
    n, n_restarts = 6, 5
    rng = np.random.default_rng(1)
    chosen = orthogonal(rng, n)
    other = chosen.copy()
    half = 2**-0.5
    other[[1, 4]] = half * (chosen[1] + chosen[4]), half * (chosen[1] - chosen[4])
    restarts = [shuffled_and_turned(rng, other) for _ in range(n_restarts)]
    restarts[3] = chosen
    found = restart_stability(restarts, 3)
    stable = [0, 2, 3, 5]
    np.testing.assert_allclose(found[stable], 1.0, atol=1e-12)
    assert found[[1, 4]].max() < 0.9


@few
@given(seed=SEEDS, order=st.permutations(range(5)))
def test_the_index_follows_the_order_of_the_chosen_restart(seed, order):
    rng = np.random.default_rng(seed)
    restarts = [orthogonal(rng, 5) for _ in range(4)]
    found = restart_stability(restarts, 2)
    others = [*restarts[:2], -restarts[2][order], restarts[3]]
    again = restart_stability(others, 2)
    np.testing.assert_allclose(again, found[order], atol=1e-12)


def test_the_index_follows_its_definition():
    """Two restarts of two components, the second turned by 30°; clusters are known."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    found = restart_stability([np.eye(2), np.array([[c, s], [-s, c]])], 0)
    within = (1 + 1 + c + c) / 4
    between = (0 + s + s + 0) / 4
    np.testing.assert_allclose(found, within - between, atol=1e-12)


def clusters_by_hand(similarity, n_clusters):
    """Return clusters of average linkage: the two most similar ones are joined repeatedly."""
    clusters = [[index] for index in range(len(similarity))]
    while len(clusters) > n_clusters:
        one, other = max(
            combinations(clusters, 2), key=lambda pair: similarity[np.ix_(*pair)].mean()
        )
        clusters = [rest for rest in clusters if rest not in (one, other)] + [one + other]
    return clusters


@few
@given(seed=SEEDS, n=st.integers(2, 5), n_restarts=st.integers(2, 5))
def test_clusters_are_those_of_average_linkage(seed, n, n_restarts):
    rng = np.random.default_rng(seed)
    restarts = [orthogonal(rng, n) for _ in range(n_restarts)]
    found = restart_stability(restarts, 0)
    stacked = np.concatenate(restarts)
    similarity = np.abs(stacked @ stacked.T)
    clusters = clusters_by_hand(similarity, n)
    for component in range(n):
        (members,) = (cluster for cluster in clusters if component in cluster)
        others = [index for index in range(len(stacked)) if index not in members]
        within, between = similarity[np.ix_(members, members)], similarity[np.ix_(members, others)]
        assert found[component] == pytest.approx(within.mean() - between.mean(), abs=1e-12)


def test_one_restart_has_no_stability():
    assert restart_stability([np.eye(4)], 0) is None


def test_the_number_of_compared_restarts_is_limited_and_includes_the_chosen_one(monkeypatch):
    monkeypatch.setattr(stability, "_MOST_CLUSTERED", 35)
    rng = np.random.default_rng(2)
    matrix = orthogonal(rng, 5)
    # Only the first seven restarts and the chosen one agree.
    restarts = [shuffled_and_turned(rng, matrix) for _ in range(7)]
    restarts += [orthogonal(rng, 5) for _ in range(20)]
    restarts[21] = shuffled_and_turned(rng, matrix)
    found = restart_stability(restarts, 21)
    np.testing.assert_allclose(found, 1.0, atol=1e-12)
    # With any number of components, at least one other restart is compared.
    monkeypatch.setattr(stability, "_MOST_CLUSTERED", 3)
    np.testing.assert_allclose(restart_stability(restarts, 21), 1.0, atol=1e-12)


# ---------------------------------------------------------------- halves
def labels_of(n):
    return [f"{index:02d}" for index in range(n)]


def as_partitions(splits):
    """Return splits as sets, without the order of halves."""
    return [frozenset(map(frozenset, pair)) for pair in splits]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_small_groups_are_split_in_every_possible_way(n):
    labels = set(labels_of(n))
    expected = {
        frozenset([frozenset(half), frozenset(labels) - frozenset(half)])
        for half in combinations(sorted(labels), n // 2)
    }
    splits = as_partitions(split_halves(labels_of(n), 1000, 0))
    assert len(splits) == len(expected) == {2: 1, 3: 3, 4: 3, 5: 10, 6: 10, 7: 35}[n]
    assert set(splits) == expected


@few
@given(n=st.integers(2, 30), n_splits=st.integers(0, 40), seed=SEEDS)
def test_halves_are_disjoint_complete_even_and_all_different(n, n_splits, seed):
    splits = split_halves(labels_of(n), n_splits, seed)
    assert len(splits) <= n_splits
    assert len(splits) == n_splits or n <= 7
    assert len(set(as_partitions(splits))) == len(splits)
    for first, second in splits:
        assert sorted(first + second) == labels_of(n)
        assert list(first) == sorted(first)
        assert list(second) == sorted(second)
        assert (len(first), len(second)) == (n // 2, n - n // 2)


@pytest.mark.parametrize("n_splits", range(1, 12))
def test_as_many_splits_as_asked_for_are_returned_if_there_are_so_many(n_splits):
    """Both five and six participants can be halved in ten ways."""
    for n in (5, 6):
        splits = as_partitions(split_halves(labels_of(n), n_splits, 3))
        assert len(splits) == len(set(splits)) == min(n_splits, 10)


@few
@given(
    order=st.permutations(labels_of(9)),
    repeated=st.lists(st.sampled_from(labels_of(9))),
    seed=SEEDS,
)
def test_order_and_number_of_a_participants_runs_do_not_matter(order, repeated, seed):
    assert split_halves([*order, *repeated], 5, seed) == split_halves(labels_of(9), 5, seed)
    assert bootstrap_samples([*order, *repeated], 5, seed) == bootstrap_samples(
        labels_of(9), 5, seed
    )


def test_another_seed_gives_other_halves():
    assert split_halves(labels_of(20), 5, 0) == split_halves(labels_of(20), 5, 0)
    assert split_halves(labels_of(20), 5, 0) != split_halves(labels_of(20), 5, 1)


@pytest.mark.parametrize("participants", [[], ["01"], ["01", "01", "01"]])
def test_fewer_than_two_participants_have_no_splits(participants):
    assert split_halves(participants, 5, 0) == ()


@pytest.mark.parametrize("n", [11, 12])
def test_any_two_participants_are_in_the_same_half_as_often_as_by_chance(n):
    n_splits = 400
    together = Counter(
        pair
        for split in split_halves(labels_of(n), n_splits, 0)
        for half in split
        for pair in combinations(half, 2)
    )
    assert len(together) == n * (n - 1) // 2
    n_pairs = sum(size * (size - 1) // 2 for size in (n // 2, n - n // 2))
    expected = n_splits * n_pairs / len(together)
    # Five standard deviations of a binomial.
    spread = 5 * np.sqrt(expected * (1 - expected / n_splits))
    assert max(abs(count - expected) for count in together.values()) < spread


# ---------------------------------------------------------------- bootstraps
@few
@given(n=st.integers(1, 20), n_samples=st.integers(0, 10), seed=SEEDS)
def test_a_bootstrap_sample_has_as_many_participants_as_the_group(n, n_samples, seed):
    samples = bootstrap_samples(labels_of(n), n_samples, seed)
    assert len(samples) == n_samples
    for sample in samples:
        assert len(sample) == n
        assert list(sample) == sorted(sample)
        assert set(sample) <= set(labels_of(n))
    assert samples == bootstrap_samples(labels_of(n), n_samples, seed)


def test_bootstraps_draw_with_replacement_and_equal_probability():
    n, n_samples = 40, 500
    samples = bootstrap_samples(labels_of(n), n_samples, 0)
    left_out = np.mean([1 - len(set(sample)) / n for sample in samples])
    assert left_out == pytest.approx((1 - 1 / n) ** n, abs=0.01)
    drawn = Counter(label for sample in samples for label in sample)
    assert max(abs(count - n_samples) for count in drawn.values()) < 5 * np.sqrt(n_samples)
    assert len(set(samples)) == n_samples


# ---------------------------------------------------------------- holdout
@few
@given(n=st.integers(1, 40), share=st.floats(0.01, 0.9), seed=SEEDS)
def test_the_share_asked_for_is_left_out_but_at_least_one_participant(n, share, seed):
    left_out = hold_out(labels_of(n), share, seed)
    assert list(left_out) == sorted(set(left_out))
    assert set(left_out) <= set(labels_of(n))
    assert len(left_out) >= 1
    assert abs(len(left_out) - share * n) <= 0.5 or len(left_out) == 1
    assert hold_out([*reversed(labels_of(n)), "00"], share, seed) == left_out


def test_all_participants_are_left_out_equally_often_and_none_at_a_share_of_zero():
    assert hold_out(labels_of(10), 0.0, 0) == ()
    drawn = Counter(label for seed in range(500) for label in hold_out(labels_of(10), 0.2, seed))
    assert max(abs(drawn[label] - 100) for label in labels_of(10)) < 5 * np.sqrt(80)


# ---------------------------------------------------------------- reproducibility
def planted_halves(seed, n_maps=5, n_voxels=800):
    """Return the maps of a group and of two halves, all in the same order and with equal signs."""
    rng = np.random.default_rng(seed)
    maps = rng.laplace(size=(n_maps, n_voxels)).astype(np.float32)
    noise = rng.uniform(0.5, 1.5, (2, n_maps, 1))
    halves = maps + noise * rng.standard_normal((2, n_maps, n_voxels))
    return maps, *halves.astype(np.float32)


def r_of_each(first, second):
    return np.abs([np.corrcoef(*pair)[0, 1] for pair in zip(first, second, strict=True)])


@few
@given(seed=SEEDS)
def test_reproducibility_compares_halves_in_any_order_and_sign(seed):
    """It is the correlation between halves, which is lower than that of a half with the group."""
    maps, first, second = planted_halves(seed)
    rng = np.random.default_rng(seed)
    expected = r_of_each(first, second)
    found = reproducibility(
        maps, shuffled_and_turned(rng, first), 100 * shuffled_and_turned(rng, second)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found < r_of_each(maps, first)).all()
    assert (found < r_of_each(maps, second)).all()


@few
@given(seed=SEEDS, order=st.permutations(range(5)))
def test_values_follow_their_maps_and_halves_may_be_swapped(seed, order):
    maps, first, second = planted_halves(seed)
    found = reproducibility(maps, first, second)
    np.testing.assert_array_equal(reproducibility(maps[order], first, second), found[order])
    np.testing.assert_allclose(reproducibility(maps, second, first), found, rtol=1e-12)


@few
@given(seed=SEEDS, missing=st.integers(0, 4))
def test_a_map_that_only_one_half_has_is_not_reproducible(seed, missing):
    maps, first, second = planted_halves(seed)
    second[missing] = np.random.default_rng([seed, 1]).laplace(size=maps.shape[1])
    found = reproducibility(maps, first, second)
    rest = np.arange(5) != missing
    np.testing.assert_allclose(found[rest], r_of_each(first, second)[rest], atol=1e-6)
    assert found[missing] < 0.2 < found[rest].min()


@few
@given(seed=SEEDS, missing=st.integers(0, 4))
def test_a_map_that_no_half_has_is_not_reproducible(seed, missing):
    """Here, both halves have another map, which the group does not have."""
    maps, first, second = planted_halves(seed)
    maps[missing] = np.random.default_rng([seed, 1]).laplace(size=maps.shape[1])
    found = reproducibility(maps, first, second)
    rest = np.arange(5) != missing
    np.testing.assert_allclose(found[rest], r_of_each(first, second)[rest], atol=1e-6)
    assert found[missing] < 0.2 < r_of_each(first, second)[missing]


def test_a_map_that_is_empty_in_a_half_is_not_reproducible():
    maps, first, second = planted_halves(3)
    first[1] = 0.0
    found = reproducibility(maps, first, second)
    assert found[1] == 0.0
    np.testing.assert_allclose(
        np.delete(found, 1), np.delete(r_of_each(first + 1e-9 * maps, second), 1), atol=1e-6
    )


@few
@given(seed=SEEDS)
def test_matched_r_is_the_correlation_with_each_maps_match(seed):
    maps, first, _ = planted_halves(seed)
    others = shuffled_and_turned(np.random.default_rng(seed), first)
    np.testing.assert_allclose(matched_r(maps, others), r_of_each(maps, first), atol=1e-6)


@few
@given(seed=SEEDS)
def test_comparing_halves_returns_the_matches_and_the_mean_correlation(seed):
    maps, first, second = planted_halves(seed)
    order = np.random.default_rng(seed).permutation(len(maps))
    found = compare_halves(maps, first[order], second)
    np.testing.assert_array_equal(order[found.in_first], np.arange(len(maps)))
    np.testing.assert_array_equal(found.in_second, np.arange(len(maps)))
    assert found.trace == pytest.approx(matched_r(first, second).mean())
