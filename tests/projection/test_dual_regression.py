"""Dual regression: agreement with least squares, and recovery of time courses and maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from nidecomp.projection import dual_regression
from nidecomp.projection.dual_regression import (
    RunMaps,
    TimeCourses,
    combine,
    effect_maps,
    map_correlations,
)

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=15, derandomize=True, database=None)
N_VOLUMES, N_VOXELS, K = 60, 900, 4


def overlapping(rng: np.random.Generator, n: int = K) -> NDArray[np.float32]:
    """Return overlapping maps, each with a positive and a negative part."""
    maps = np.zeros((n, N_VOXELS))
    for index, one in enumerate(maps):
        start = 150 * index
        one[start : start + 300] = rng.uniform(1, 3, 300)
        one[(start + 500) % N_VOXELS :][:80] -= 2.0
    return (maps / np.sqrt(np.mean(maps**2, axis=1, keepdims=True))).astype(np.float32)


def planted(
    rng: np.random.Generator, maps: NDArray[np.floating], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    courses = rng.normal(size=(N_VOLUMES, len(maps)))
    series = courses @ maps + noise * rng.normal(size=(N_VOLUMES, maps.shape[1]))
    return courses, series.astype(np.float32)


def time_courses(series: NDArray[np.float32], maps: NDArray[np.floating]) -> TimeCourses:
    total = float(np.sum(series.astype(float) ** 2))
    return dual_regression.time_courses(series, maps, total)


def run_maps(
    series: NDArray[np.float32], courses: NDArray[np.float64], n_regressors: int
) -> RunMaps:
    effect = effect_maps(series, courses)
    return dual_regression.run_maps(series, courses, effect, n_regressors)


# ---------------------------------------------------------------- stage 1
@few
@given(seed=SEEDS)
def test_time_courses_are_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = overlapping(rng)
    _, series = planted(rng, maps, 3.0)
    expected, residual, *_ = np.linalg.lstsq(maps.T.astype(float), series.T.astype(float))
    found = time_courses(series, maps)
    np.testing.assert_allclose(found.values, expected.T, atol=1e-5)
    total = float(np.sum(series.astype(float) ** 2))
    assert found.explained_variance == pytest.approx(1 - residual.sum() / total, abs=1e-6)


def test_simulated_time_courses_of_overlapping_and_negative_maps_are_found() -> None:
    rng = np.random.default_rng(1)
    maps = overlapping(rng)
    courses, series = planted(rng, -maps, 3.0)
    found = time_courses(series, maps).values
    r = [np.corrcoef(*pair)[0, 1] for pair in zip(found.T, courses.T, strict=True)]
    assert max(r) < -0.99, "the simulated maps have the opposite sign"


def test_a_map_that_is_empty_or_given_twice_does_not_change_the_others() -> None:
    rng = np.random.default_rng(2)
    maps = overlapping(rng)
    courses, series = planted(rng, maps, 0.5)
    more = np.vstack([maps, np.zeros((1, N_VOXELS), dtype=np.float32), maps[:1]])
    found = time_courses(series, more).values
    np.testing.assert_array_equal(found[:, K], 0)
    # The two equal maps share their time course equally.
    np.testing.assert_allclose(found[:, 0], found[:, K + 1], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1:K], time_courses(series, maps).values[:, 1:], atol=1e-6)
    assert np.isfinite(run_maps(series, found, 1).z).all()
    assert courses.shape == (N_VOLUMES, K)


def test_normalised_time_courses_have_unit_variance_or_stay_zero() -> None:
    rng = np.random.default_rng(3)
    maps = np.vstack([overlapping(rng), np.zeros((1, N_VOXELS), dtype=np.float32)])
    _, series = planted(rng, maps, 1.0)
    found = time_courses(series, maps)
    deviations = found.normalised().values.std(axis=0, ddof=1)
    np.testing.assert_allclose(deviations, [1, 1, 1, 1, 0])
    assert found.normalised().explained_variance == found.explained_variance


# ---------------------------------------------------------------- stage 2
@few
@given(seed=SEEDS, n_regressors=st.integers(1, 20))
def test_maps_are_least_squares_with_the_z_of_their_t(seed: int, n_regressors: int) -> None:
    rng = np.random.default_rng(seed)
    courses, series = planted(rng, overlapping(rng), 2.0)
    found = run_maps(series, courses, n_regressors)
    data = series.astype(float)
    effect, residual, *_ = np.linalg.lstsq(courses, data)
    np.testing.assert_allclose(found.effect, effect, atol=1e-4)
    dof = N_VOLUMES - n_regressors - K
    scale = np.diag(np.linalg.inv(courses.T @ courses))
    variance = np.outer(scale, residual / dof)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-4)
    t = effect / np.sqrt(variance)
    z = np.sign(t) * stats.norm.isf(stats.t.sf(np.abs(t), dof))
    strong = np.abs(t) < 30
    np.testing.assert_allclose(found.z[strong], z[strong], atol=1e-3)


def test_z_is_standard_normal_for_noise() -> None:
    rng = np.random.default_rng(4)
    courses = rng.normal(size=(30, 3))
    series = rng.normal(size=(30, 20_000)).astype(np.float32)
    z = run_maps(series, courses, 0).z
    assert stats.kstest(z.ravel(), "norm").statistic < 0.01


def test_strong_effects_stay_finite_and_ordered() -> None:
    rng = np.random.default_rng(5)
    courses = rng.normal(size=(N_VOLUMES, 1))
    gains = np.array([0.0, 0.01, 1.0, 10.0, 1e4])
    noise = rng.normal(size=(N_VOLUMES, 1))
    series = (courses * gains + noise).astype(np.float32)
    z = run_maps(series, courses, 1).z[0]
    assert np.isfinite(z).all()
    assert (np.diff(z) >= 0).all()
    assert z[-1] > 10


def test_a_voxel_without_signal_has_no_effect() -> None:
    rng = np.random.default_rng(6)
    courses, series = planted(rng, overlapping(rng), 1.0)
    series[:, :7] = 0
    found = run_maps(series, courses, 1)
    for array in (found.effect, found.variance, found.z):
        np.testing.assert_array_equal(array[:, :7], 0)


def test_without_degrees_of_freedom_nothing_is_significant() -> None:
    rng = np.random.default_rng(7)
    courses, series = planted(rng, overlapping(rng), 1.0)
    found = run_maps(series, courses, N_VOLUMES - K)
    np.testing.assert_array_equal(found.z, 0)
    assert np.isinf(found.variance).all()


# ---------------------------------------------------------------- maps of participants
def test_the_participants_map_shows_a_shifted_and_a_missing_network() -> None:
    rng = np.random.default_rng(8)
    group = overlapping(rng)
    own = group.copy()
    own[0] = np.roll(group[0], 60)
    own[2] = 0
    _, series = planted(rng, own, 1.0)
    found = run_maps(series, time_courses(series, group).values, 1)
    with_own = np.corrcoef(found.effect[0], own[0])[0, 1]
    with_group = np.corrcoef(found.effect[0], group[0])[0, 1]
    assert with_own > with_group + 0.1
    strength = np.abs(found.z[:, :]).mean(axis=1)
    r = map_correlations(found.effect, group)
    assert r[2] < 0.5 < r[[1, 3]].min()
    assert strength[2] < strength[[1, 3]].min()


@few
@given(seed=SEEDS)
def test_map_correlations_are_correlations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(1, 2, size=(2, 3, N_VOXELS)).astype(np.float32)
    first[2] = 5.0
    found = map_correlations(first, second)
    for index in range(2):
        assert found[index] == pytest.approx(np.corrcoef(first[index], second[index])[0, 1])
    assert np.isnan(found[2])


# ---------------------------------------------------------------- runs of one participant
def test_runs_are_weighted_by_their_precision() -> None:
    effect = np.array([[1.0, 1.0, 1.0]], dtype=np.float32)
    variances = np.array([[[1.0, 1.0, 0.0]], [[0.5, np.inf, 0.0]]], dtype=np.float32)
    both = combine([effect, 4 * effect], list(variances))
    np.testing.assert_allclose(both.effect, [[3.0, 1.0, 0.0]])
    np.testing.assert_allclose(both.variance, [[1 / 3, 1.0, np.inf]])
    np.testing.assert_allclose(both.z, [[3 * np.sqrt(3), 1.0, 0.0]], rtol=1e-6)


def test_more_runs_are_more_precise_than_one() -> None:
    rng = np.random.default_rng(9)
    maps = overlapping(rng)
    runs = []
    for _ in range(3):
        courses, series = planted(rng, maps, 3.0)
        runs.append(run_maps(series, courses, 1))
    both = combine([one.effect for one in runs], [one.variance for one in runs])
    errors = [np.abs(one.effect - maps).mean() for one in [*runs, both]]
    assert errors[3] < 0.75 * min(errors[:3])
    assert (both.variance < np.min([one.variance for one in runs], axis=0)).all()
