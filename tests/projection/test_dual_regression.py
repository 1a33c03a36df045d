"""Dual regression: agreement with least squares, and recovery of time courses and maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from scipy.special import ndtri_exp, stdtr

from nidecomp.projection import dual_regression
from nidecomp.projection.dual_regression import (
    Noise,
    NoiseSummary,
    RunMaps,
    TimeCourses,
    chance_map_r,
    effect_maps,
    map_correlations,
)
from nidecomp.projection.fixed_effects import combine
from nidecomp.projection.serial_correlation import GRID, WHITE, residual_model
from nidecomp.projection.student_t import z_values
from nidecomp.runs.clean import orthonormal_basis

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


def with_noise(
    series: NDArray[np.float32],
    courses: NDArray[np.float64],
    nuisance: NDArray[np.float64] | None = None,
    kept: NDArray[np.intp] | None = None,
) -> tuple[RunMaps, Noise]:
    nuisance = np.zeros((len(series), 0)) if nuisance is None else nuisance
    kept = np.arange(len(series)) if kept is None else kept
    effect = effect_maps(series, courses)
    return dual_regression.run_maps(series, courses, effect, nuisance, kept)


def run_maps(series: NDArray[np.float32], courses: NDArray[np.float64]) -> RunMaps:
    return with_noise(series, courses)[0]


def without(nuisance: NDArray[np.float64], data: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(data - nuisance @ (nuisance.T @ data))


def z_of(t: NDArray[np.float64], dof: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(np.sign(t) * stats.norm.isf(stats.t.sf(np.abs(t), dof)))


def correlated(
    rng: np.random.Generator, shape: tuple[int, int], correlation: float
) -> NDArray[np.float64]:
    white = rng.standard_normal((shape[0] + 100, shape[1]))
    return np.asarray(lfilter([1.0], [1.0, -correlation], white, axis=0)[100:])


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
    assert np.isfinite(run_maps(series, found).z).all()
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
    """The t of Worsley and Friston (1995), for the correlation that a voxel was given."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(N_VOLUMES + 9)[:N_VOLUMES])
    nuisance = orthonormal_basis(rng.normal(size=(N_VOLUMES, n_regressors)))
    courses, series = planted(rng, overlapping(rng), 2.0)
    courses, data = without(nuisance, courses), without(nuisance, series)
    found, noise = with_noise(data.astype(np.float32), courses, nuisance, kept)
    effect, *_ = np.linalg.lstsq(courses, data)
    np.testing.assert_allclose(found.effect, effect, atol=1e-4)
    columns = np.column_stack([nuisance, courses])
    R = np.eye(N_VOLUMES) - columns @ np.linalg.pinv(columns)
    squares = np.sum((R @ data) ** 2, axis=0)
    solve = np.linalg.pinv(courses)
    assert noise.residual_dof == N_VOLUMES - n_regressors - K
    for index in np.unique(noise.correlation):
        there = noise.correlation == index
        V = GRID[index] ** np.abs(np.subtract.outer(kept, kept))
        dof = np.trace(R @ V) ** 2 / np.trace(R @ V @ R @ V)
        variance = squares[there] / np.trace(R @ V)
        np.testing.assert_allclose(noise.variance[there], variance, rtol=1e-4)
        spread = np.sqrt(np.outer(np.diag(solve @ V @ solve.T), variance))
        t = effect[:, there] / spread
        strong = np.abs(t) < 30
        np.testing.assert_allclose(found.z[:, there][strong], z_of(t, dof)[strong], atol=1e-3)


@few
@given(seed=SEEDS, correlation=st.sampled_from([-0.3, 0.0, 0.3, 0.6]))
def test_the_correlation_of_the_noise_is_found_across_gaps(seed: int, correlation: float) -> None:
    """As Worsley et al. (2002): what removed regressors take from it is added again."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(150)[:120])
    nuisance = orthonormal_basis(correlated(rng, (150, 30), correlation)[kept])
    courses = without(nuisance, correlated(rng, (150, K), correlation)[kept])
    data = without(nuisance, correlated(rng, (150, 2000), correlation)[kept])
    _, noise = with_noise(data.astype(np.float32), courses, nuisance, kept)
    assert GRID[noise.correlation].mean() == pytest.approx(correlation, abs=0.05)
    assert noise.variance.mean() == pytest.approx(1 / (1 - correlation**2), rel=0.1)


def test_voxels_have_their_own_correlation_where_the_run_is_long_and_the_mean_where_not() -> None:
    rng = np.random.default_rng(10)
    spreads = []
    for n in (12, 400):
        halves = [correlated(rng, (n, 500), correlation) for correlation in (0.0, 0.5)]
        courses = rng.standard_normal((n, 2))
        _, noise = with_noise(np.hstack(halves).astype(np.float32), courses)
        first, second = GRID[noise.correlation].reshape(2, -1).mean(axis=1)
        spreads.append(second - first)
    assert spreads[0] < 0.25
    assert spreads[1] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n_residual", [1, 2, 3])
def test_few_degrees_of_freedom_give_finite_values(n_residual: int) -> None:
    rng = np.random.default_rng(11)
    n = n_residual + 2
    nuisance = orthonormal_basis(np.ones((n, 1)))
    courses = without(nuisance, rng.standard_normal((n, 1)))
    series = without(nuisance, rng.standard_normal((n, 50))).astype(np.float32)
    found, noise = with_noise(series, courses, nuisance)
    assert np.isfinite(found.z).all()
    assert noise.residual_dof == n_residual
    assert 1 <= noise.summary().effective_dof <= n_residual


def test_volumes_without_neighbours_count_as_uncorrelated() -> None:
    rng = np.random.default_rng(12)
    series, courses = rng.standard_normal((30, 50)), rng.standard_normal((30, 2))
    _, noise = with_noise(series.astype(np.float32), courses, kept=np.arange(0, 60, 2))
    assert (noise.correlation == WHITE).all()


def test_the_variance_of_residual_autocorrelations_is_that_of_simulations() -> None:
    rng = np.random.default_rng(13)
    kept = np.sort(rng.permutation(70)[:60])
    courses = rng.standard_normal((60, 3))
    model = residual_model(courses, np.linalg.pinv(courses), np.zeros((60, 0)), kept)
    for correlation in (0.0, 0.5):
        data = correlated(rng, (70, 20_000), correlation)[kept]
        left = data - courses @ (np.linalg.pinv(courses) @ data)
        products = np.einsum("ij,ij->j", left[:-1] * model.neighbours[:, None], left[1:])
        found = products / np.sum(left**2, axis=0)
        index = int(np.argmin(np.abs(GRID - correlation)))
        assert found.mean() == pytest.approx(model.expected[index], abs=0.02)
        assert found.var() == pytest.approx(model.sampling_variance(index), rel=0.1)


@pytest.mark.parametrize("n_runs", [1, 2])
@pytest.mark.parametrize(("dof", "correlation"), [(5, 0.0), (24, 0.4), (100, 0.5)])
def test_noise_exceeds_a_threshold_as_often_as_it_should(
    n_runs: int, dof: int, correlation: float
) -> None:
    """Loosely: 2 to 27 times as often for t of white noise and runs weighted each by its own."""
    rng = np.random.default_rng(14)
    exceeding = []
    for _ in range(12):
        effects, noises = [], []
        for _ in range(n_runs):
            courses = correlated(rng, (dof + 3, 3), correlation)
            series = correlated(rng, (dof + 3, 2000), correlation).astype(np.float32)
            maps, noise = with_noise(series, courses)
            effects.append(maps.effect)
            noises.append(noise)
        z = maps.z if n_runs == 1 else combine(effects, noises)[0].z
        exceeding.append(np.mean(np.abs(z) > 3.09))
    assert 0.5 < np.mean(exceeding) / 0.002 < 1.3


def test_z_is_standard_normal_for_noise() -> None:
    rng = np.random.default_rng(4)
    courses = rng.normal(size=(30, 3))
    series = rng.normal(size=(30, 20_000)).astype(np.float32)
    z = run_maps(series, courses).z
    assert stats.kstest(z.ravel(), "norm").statistic < 0.01


def test_strong_effects_stay_finite_and_ordered() -> None:
    rng = np.random.default_rng(5)
    courses = rng.normal(size=(N_VOLUMES, 1))
    gains = np.array([0.0, 0.01, 1.0, 10.0, 1e4])
    noise = rng.normal(size=(N_VOLUMES, 1))
    series = (courses * gains + noise).astype(np.float32)
    z = run_maps(series, courses).z[0]
    assert np.isfinite(z).all()
    assert (np.diff(z) >= 0).all()
    assert z[-1] > 10


def test_a_voxel_without_signal_has_no_effect() -> None:
    rng = np.random.default_rng(6)
    courses, series = planted(rng, overlapping(rng), 1.0)
    series[:, :7] = 0
    found, noise = with_noise(series, courses)
    for array in (found.effect, found.z, noise.variance[np.newaxis]):
        np.testing.assert_array_equal(array[:, :7], 0)
    both, _ = combine([found.effect] * 2, [noise] * 2)
    np.testing.assert_array_equal(both.effect[:, :7], 0)
    np.testing.assert_array_equal(both.z[:, :7], 0)


def test_without_degrees_of_freedom_nothing_is_significant() -> None:
    rng = np.random.default_rng(7)
    courses, series = planted(rng, overlapping(rng), 1.0)
    nuisance = orthonormal_basis(rng.normal(size=(N_VOLUMES, N_VOLUMES - K)))
    courses = without(nuisance, courses)
    found, noise = with_noise(without(nuisance, series).astype(np.float32), courses, nuisance)
    np.testing.assert_array_equal(found.z, 0)
    assert np.isinf(noise.variance).all()
    assert noise.summary() == NoiseSummary(0, 0.0, 0.0)
    both, _ = combine([found.effect] * 2, [noise] * 2)
    np.testing.assert_array_equal(both.z, 0)


# ---------------------------------------------------------------- maps of participants
def test_the_participants_map_shows_a_shifted_and_a_missing_network() -> None:
    rng = np.random.default_rng(8)
    group = overlapping(rng)
    own = group.copy()
    own[0] = np.roll(group[0], 60)
    own[2] = 0
    _, series = planted(rng, own, 1.0)
    found = run_maps(series, time_courses(series, group).values)
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


@pytest.mark.parametrize("smoothing", [0.0, 4.0])
@pytest.mark.parametrize(("n_volumes", "n_components"), [(30, 1), (30, 15), (120, 5)])
def test_the_own_map_of_noise_is_as_similar_to_the_groups_as_chance_says(
    smoothing: float, n_volumes: int, n_components: int
) -> None:
    rng = np.random.default_rng(15)

    def smooth(white: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_filter1d(white, smoothing, axis=1, mode="wrap") if smoothing else white

    n_voxels, r = 4000, []
    # The sum of the squared autocorrelations of a Gaussian that was smoothed with itself.
    n_independent = n_voxels / (smoothing * np.sqrt(2 * np.pi)) if smoothing else n_voxels
    for _ in range(20):
        maps = smooth(rng.standard_normal((n_components, n_voxels))).astype(np.float32)
        series = smooth(rng.standard_normal((n_volumes, n_voxels))).astype(np.float32)
        series /= series.std(axis=0)
        effect = effect_maps(series, time_courses(series, maps).values)
        r.append(map_correlations(effect, maps).mean())
    chance = chance_map_r(n_volumes - n_components, n_independent)
    assert np.mean(r) == pytest.approx(chance, rel=0.12)


def test_chance_is_1_for_a_map_of_one_value_and_0_without_volumes() -> None:
    np.testing.assert_allclose(
        chance_map_r(np.array([8, 8, -1]), np.array([0.0, 72, 10])), [1, 1 / 3, 0]
    )


# ---------------------------------------------------------------- runs of one participant
def noise_of(
    variance: list[float], correlation: list[int], dof: list[float], factors: list[float]
) -> Noise:
    return Noise(
        np.array(variance, dtype=np.float32),
        np.array(correlation, dtype=np.uint8),
        np.array(dof),
        np.array(factors)[:, np.newaxis],
        9,
    )


def test_runs_are_weighted_by_their_design_and_share_a_noise_variance() -> None:
    """Voxels: two runs; the second of another correlation; no signal in one run, in both."""
    first = noise_of([2.0, 2.0, 2.0, 0.0], [0, 0, 0, 0], [6.0, 4.0], [1.0, 2.0])
    second = noise_of([5.0, 5.0, 0.0, 0.0], [0, 1, 0, 0], [3.0, 2.0], [0.5, 0.25])
    effects = [np.full((1, 4), value, dtype=np.float32) for value in (1.0, 4.0)]
    both, summary = combine(effects, [first, second])
    np.testing.assert_allclose(both.effect, [[3.0, 3.4, 1.0, 0.0]])
    variance = np.array([(12 + 15) / 9 / 3, (12 + 10) / 8 / 5, 2.0])
    expected = z_of(both.effect[0, :3] / np.sqrt(variance), np.array([9.0, 8.0, 6.0]))
    np.testing.assert_allclose(both.z[0, :3], expected, atol=0.004)
    assert both.z[0, 3] == 0
    assert summary.dof == 18
    assert summary.effective_dof == 8


def test_more_runs_are_more_precise_than_one() -> None:
    rng = np.random.default_rng(9)
    maps = overlapping(rng)
    runs = []
    for _ in range(3):
        courses, series = planted(rng, maps, 3.0)
        runs.append(with_noise(series, courses))
    both, _ = combine([one.effect for one, _ in runs], [noise for _, noise in runs])
    errors = [np.abs(one.effect - maps).mean() for one in (*(one for one, _ in runs), both)]
    assert errors[3] < 0.75 * min(errors[:3])


@few
@given(seed=SEEDS)
def test_stored_noise_is_read_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, noise = with_noise(rng.normal(size=(20, 9)).astype(np.float32), rng.normal(size=(20, 2)))
    again = Noise.from_arrays(noise.arrays())
    for name, array in noise.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert again.summary() == noise.summary()


def test_a_run_without_degrees_of_freedom_has_an_effect_but_adds_none() -> None:
    first = noise_of([2.0, np.inf], [0, 0], [6.0, 6.0], [1.0, 1.0])
    second = noise_of([np.inf, np.inf], [0, 0], [0.0, 0.0], [0.5, 0.5])
    effects = [np.full((1, 2), value, dtype=np.float32) for value in (1.0, 4.0)]
    both, summary = combine(effects, [first, second])
    np.testing.assert_allclose(both.effect, (1 + 2 * 4) / 3)
    assert both.z[0, 0] > 0
    assert both.z[0, 1] == 0
    assert summary.effective_dof == 6


@pytest.mark.parametrize("dof", [1.0, 3.0, 24.0, 70.0])
def test_z_has_the_probability_of_t_far_into_the_tail(dof: float) -> None:
    t = np.array([[0.5, 7.9, 8.1, 39.0, 41.0, 60.0, 120.0, 1000.0]])
    expected = -ndtri_exp(np.log(stdtr(dof, -t)))
    found = z_values(t, np.full(t.shape[1], dof))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_z_of_thousands_of_degrees_of_freedom_is_nearly_t() -> None:
    t = np.array([[0.0, 3.0, 12.0, 39.0, 60.0]])
    found = z_values(t, np.full(t.shape[1], 1e6))
    np.testing.assert_allclose(found, t, rtol=1e-3)
    assert (found[0, 1:] < t[0, 1:]).all()
