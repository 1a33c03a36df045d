"""Single numbers are compared as those who count permutations would, and as parametric tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from design_examples import design_of, one_sample, two_groups
from scipy import stats
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nidecomp.comparison.clusters import threshold_of
from nidecomp.comparison.glm import linear_test, statistic_maps
from nidecomp.comparison.network_edges import largest_networks, networks_of
from nidecomp.comparison.records import Design
from nidecomp.comparison.transformations import draw_transformations
from nidecomp.comparison.values import compare_values, scores

N = 24


def several_contrasts() -> Design:
    rng = np.random.default_rng(0)
    factor = np.arange(N) % 3
    levels = np.column_stack([factor == level for level in range(3)]).astype(float)
    matrix = np.column_stack([levels, rng.standard_normal(N)])
    return design_of(matrix, [1, -1, 0, 0], [0, 0, 0, 1], [[1, -1, 0, 0], [0, 1, -1, 0]])


@pytest.fixture
def values() -> np.ndarray:
    return 2 + np.random.default_rng(1).standard_normal((N, 15))


def test_p_values_count_permutations_and_the_largest_of_all(values: np.ndarray) -> None:
    design = several_contrasts()
    drawn = draw_transformations(design, 400, 0)
    found = compare_values(design, drawn, values)
    best = np.zeros(400)
    for contrast, one in zip(design.contrasts, found, strict=True):
        test = linear_test(design, contrast, drawn.kind)
        residuals = test.residuals(values).astype(np.float32)
        maps = np.abs(statistic_maps(test, residuals, drawn, slice(None)).astype(float))
        as_large = maps >= np.abs(one.statistic) * (1 - 1e-4)
        np.testing.assert_allclose(one.p, as_large.mean(axis=0), atol=0.0026)
        if contrast.statistic == "t":
            p = 2 * stats.t.sf(maps, one.dof)
        else:
            p = stats.f.sf(maps, 2, one.dof)
        best = np.maximum(best, -np.log(p.min(axis=1)))
    for contrast, one in zip(design.contrasts, found, strict=True):
        if contrast.statistic == "t":
            own = -np.log(2 * stats.t.sf(np.abs(one.statistic), one.dof))
        else:
            own = -np.log(stats.f.sf(one.statistic, 2, one.dof))
        expected = (best[:, None] >= own * (1 - 1e-3)).mean(axis=0)
        np.testing.assert_allclose(one.p_all, expected, atol=0.01)
        assert (one.p_all >= one.p).all()
        assert (one.p >= 1 / 400).all()


def test_permutation_p_values_are_near_parametric_ones(values: np.ndarray) -> None:
    design = two_groups(N)
    drawn = draw_transformations(design, 4000, 0)
    (found,) = compare_values(design, drawn, values)
    parametric = 2 * stats.t.sf(np.abs(found.statistic), found.dof)
    np.testing.assert_allclose(found.p, parametric, atol=0.03)


def test_with_all_sign_flips_p_values_are_exact() -> None:
    design = one_sample(6)
    drawn = draw_transformations(design, 1000, 0)
    column = np.array([1.0, 2, 3, 4, 5, 6])
    (found,) = compare_values(design, drawn, column[:, None])
    # Of 64 flips, none and all give the mean as it is or its negative.
    assert found.p[0] == found.p_all[0] == 2 / 64


def test_effect_sizes_are_partial_correlations_with_their_intervals(values: np.ndarray) -> None:
    design = several_contrasts()
    drawn = draw_transformations(design, 100, 0)
    found = compare_values(design, drawn, values)
    age, levels = design.matrix[:, 3], design.matrix[:, :3]
    rest = np.eye(N) - levels @ np.linalg.pinv(levels)
    for number in range(3):
        r = stats.pearsonr(rest @ age, rest @ values[:, number])[0]
        assert found[1].effect_size[number] == pytest.approx(r)
    # Three columns are taken out, of which one is the mean.
    half = 1.959964 / np.sqrt(N - 3 - 2)
    np.testing.assert_allclose(
        np.arctanh(found[1].high) - np.arctanh(found[1].effect_size), half, rtol=1e-5
    )
    np.testing.assert_allclose(
        np.arctanh(found[1].effect_size) - np.arctanh(found[1].low), half, rtol=1e-5
    )
    f = found[2].statistic
    np.testing.assert_allclose(found[2].effect_size, 2 * f / (2 * f + found[2].dof))
    assert np.isnan(found[2].low).all()


def test_scores_are_logarithms_of_p_and_rise_where_those_are_zero() -> None:
    design = several_contrasts()
    for contrast in design.contrasts[1:]:
        test = linear_test(design, contrast, "permutations")
        values = np.geomspace(0.1, 1e60, 500)
        found = scores(test, values)
        known = values < 1e6
        if contrast.statistic == "t":
            expected = -np.log(2 * stats.t.sf(values[known], test.dof))
        else:
            expected = -np.log(stats.f.sf(values[known], 2, test.dof))
        np.testing.assert_allclose(found[known], expected, rtol=1e-6)
        assert (np.diff(found) > 0).all()


def test_numbers_that_some_do_not_have_are_not_compared_and_change_no_other(
    values: np.ndarray,
) -> None:
    design = two_groups(N)
    drawn = draw_transformations(design, 200, 0)
    (expected,) = compare_values(design, drawn, values[:, :10])
    values[3, 10:] = np.nan
    (found,) = compare_values(design, drawn, values, nbs_threshold=0.2)
    np.testing.assert_allclose(found.p_all[:10], expected.p_all)
    for one in (found.statistic, found.p, found.p_all, found.effect_size, found.network_p):
        assert np.isnan(one[10:]).all()


def test_scaling_flipping_and_the_order_of_people_change_no_p_value(values: np.ndarray) -> None:
    design = two_groups(8)
    values = values[:8] * np.linspace(1, 2, 15)
    # All permutations, so that the order of people does not change which ones there are.
    drawn = draw_transformations(design, 50_000, 0)
    (expected,) = compare_values(design, drawn, values, nbs_threshold=0.3)
    (scaled,) = compare_values(design, drawn, values * 1e5 - 3, nbs_threshold=0.3)
    flipped = design_of(design.matrix, [0, -1, 0])
    (other,) = compare_values(flipped, drawn, values, nbs_threshold=0.3)
    order = np.random.default_rng(0).permutation(8)
    moved = design_of(design.matrix[order], [0, 1, 0])
    (again,) = compare_values(moved, drawn, values[order], nbs_threshold=0.3)
    np.testing.assert_allclose(other.statistic, -expected.statistic)
    for one in (scaled, other, again):
        np.testing.assert_allclose(one.p, expected.p, atol=1e-9)
        np.testing.assert_allclose(one.p_all, expected.p_all, atol=1e-9)
        np.testing.assert_allclose(one.network_p, expected.network_p, atol=1e-9)


# ---------------------------------------------------------------- sets of edges
@pytest.mark.parametrize("seed", range(5))
def test_sets_are_what_edges_of_one_sign_connect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_nodes = 9
    first, second = np.triu_indices(n_nodes, 1)
    t = rng.standard_normal(len(first))
    is_compared = rng.random(len(first)) < 0.8
    t, first, second = t[is_compared], first[is_compared], second[is_compared]
    expected = np.zeros(len(t))
    for sign in (1, -1):
        above = np.flatnonzero(sign * t > 1.0)
        graph = csr_array(
            (np.ones(len(above)), (first[above], second[above])), shape=(n_nodes, n_nodes)
        )
        labels = connected_components(graph, directed=False)[1]
        counts = np.bincount(labels[first[above]], minlength=n_nodes)
        expected[above] = counts[labels[first[above]]]
    np.testing.assert_array_equal(networks_of(t, 1.0, is_compared), expected)
    assert largest_networks(t[None], 1.0, is_compared)[0] == expected.max()


def test_sets_of_edges_are_corrected_over_all_tests() -> None:
    design = two_groups(N)
    rng = np.random.default_rng(6)
    edges = rng.standard_normal((N, 66))
    alone = design_of(design.matrix, [0, 1, 0]), design_of(design.matrix, [0, 0, 1])
    drawn = draw_transformations(alone[0], 300, 0)
    both = compare_values(
        replace(design, contrasts=tuple(one.contrasts[0] for one in alone)), drawn, edges, 0.1
    )
    for one, found in zip(alone, both, strict=True):
        (expected,) = compare_values(one, drawn, edges, 0.1)
        known = np.isfinite(expected.network_p)
        assert (found.network_p[known] >= expected.network_p[known]).all()
    assert (both[0].network_p[np.isfinite(both[0].network_p)] > 1 / 300).all()
    # The largest set of both is as rare as the largest of all tests is.
    smallest = [np.nanmin(one.network_p) for one in both]
    sizes = [
        largest_networks(
            one.statistic[None],
            threshold_of(linear_test(design, design.contrasts[0], "permutations"), 0.1),
            np.ones(66, dtype=bool),
        )[0]
        for one in both
    ]
    assert np.argmin(smallest) == np.argmax(sizes) or smallest[0] == smallest[1]


def test_a_connected_difference_is_found_as_a_set() -> None:
    design = two_groups(N)
    rng = np.random.default_rng(5)
    first, second = np.triu_indices(12, 1)
    edges = rng.standard_normal((N, len(first)))
    planted = (first < 4) & (second < 4)
    edges[:, planted] += 2 * design.matrix[:, [1]]
    drawn = draw_transformations(design, 500, 0)
    (found,) = compare_values(design, drawn, edges, nbs_threshold=0.05)
    limit = threshold_of(linear_test(design, design.contrasts[0], "permutations"), 0.05)
    in_sets = np.abs(found.statistic) > limit
    np.testing.assert_array_equal(np.isfinite(found.network_p), in_sets)
    assert (found.network_p[planted & in_sets] < 0.05).all()
    assert (planted & in_sets).sum() >= 4
