"""The high-frequency share of time courses, and their correlation with motion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.decomposition.time_courses import high_frequency_share, motion_correlation

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def courses_at(times_s, seed, n=3):
    """Return time courses with slow and fast parts."""
    rng = np.random.default_rng(seed)
    frequencies = rng.uniform(0.01, 0.24, (n, 8))
    phases = rng.uniform(0, 2 * np.pi, (n, 8))
    waves = np.cos(2 * np.pi * frequencies * times_s[:, None, None] + phases).sum(axis=2)
    return waves + 0.3 * rng.standard_normal(waves.shape)


@few
@given(
    seed=SEEDS,
    n=st.integers(60, 250),
    step=st.sampled_from([0.72, 1.0, 2.0, 2.5]),
    start=st.floats(0, 100),
)
def test_without_gaps_the_share_is_that_of_the_fourier_transform(seed, n, step, start):
    times = start + step * np.arange(n)
    courses = courses_at(times, seed)
    power = np.abs(np.fft.rfft(courses - courses.mean(axis=0), axis=0)) ** 2
    # All but the first and, for even lengths, the last stand for two frequencies.
    power[1 : (n + 1) // 2] *= 2
    fast = np.fft.rfftfreq(n, step) > 0.1 + 1e-9
    expected = power[fast].sum(axis=0) / power[1:].sum(axis=0)
    np.testing.assert_allclose(high_frequency_share(courses, times), expected, atol=1e-8)


@settings(few, max_examples=8)
@given(seed=SEEDS, kept=st.floats(0.65, 1.0))
def test_scrubbing_does_not_change_the_share_of_high_frequencies(seed, kept):
    rng = np.random.default_rng(seed)
    times = 2.0 * np.arange(300)
    slow = np.cos(2 * np.pi * times * 20 / 600 + 1)
    white = rng.standard_normal((300, 40))
    chosen = np.sort(rng.choice(300, int(300 * kept), replace=False))
    chosen[[0, -1]] = 0, 299
    assert high_frequency_share(slow[chosen, None], times[chosen])[0] < 1e-10
    assert np.mean(high_frequency_share(white[chosen], times[chosen])) == pytest.approx(
        0.6, abs=0.06
    )


@few
@given(seed=SEEDS, gain=st.floats(1e-6, 1e6), sign=st.sampled_from([-1, 1]))
def test_scale_sign_and_level_of_a_course_do_not_matter(seed, gain, sign):
    times = 2.0 * np.arange(150)
    courses = courses_at(times, seed)
    before = high_frequency_share(courses, times)
    after = high_frequency_share(sign * gain * (courses + 1), times)
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert ((before >= 0) & (before <= 1)).all()


def test_frequencies_above_the_nyquist_frequency_are_unknown():
    times = 5.0 * np.arange(200)
    assert np.isnan(high_frequency_share(courses_at(times, 1), times)).all()
    times = 2.0 * np.arange(200)
    assert np.isfinite(high_frequency_share(courses_at(times, 1), times)).all()
    assert np.isnan(high_frequency_share(courses_at(times, 1), times, cutoff_hz=0.25)).all()


@pytest.mark.parametrize("n", [0, 1, 2, 9, 12])
def test_the_share_is_unknown_with_too_few_volumes(n):
    times = 2.0 * np.arange(n)
    assert np.isnan(high_frequency_share(np.ones((n, 2)), times)).all()
    chosen = np.array([0, 1, *range(20, 300, 4)])
    sparse = courses_at(2.0 * np.arange(300), 1)[chosen]
    assert np.isnan(high_frequency_share(sparse, 2.0 * chosen)).all()


def test_the_share_of_a_constant_time_course_is_unknown():
    times = 2.0 * np.arange(150)
    courses = courses_at(times, 2).astype(np.float32)
    courses[:, 1] = 0.1
    share = high_frequency_share(courses, times)
    np.testing.assert_array_equal(np.isnan(share), [False, True, False])


@few
@given(seed=SEEDS)
def test_motion_is_the_largest_of_numpy_s_correlations(seed):
    rng = np.random.default_rng(seed)
    motion = rng.standard_normal((80, 6))
    courses = motion @ rng.standard_normal((6, 4)) + rng.standard_normal((80, 4))
    expected = np.abs(np.corrcoef(courses.T, motion.T)[:4, 4:]).max(axis=1)
    np.testing.assert_allclose(motion_correlation(courses, motion), expected, atol=1e-12)
    turned = motion_correlation(-3 * courses + 1, 1e3 * motion[:, ::-1] - 5)
    np.testing.assert_allclose(turned, expected, atol=1e-9)


def test_constant_columns_and_missing_values_do_not_change_the_correlation():
    rng = np.random.default_rng(1)
    motion, courses = rng.standard_normal((80, 3)), rng.standard_normal((80, 4))
    motion[0, 1] = np.nan
    constant = np.full((80, 1), 0.1)
    missing = np.full((80, 1), np.nan)
    np.testing.assert_array_equal(
        motion_correlation(courses, np.hstack([motion, constant, missing])),
        motion_correlation(courses, motion),
    )
    np.testing.assert_array_equal(motion_correlation(courses, constant), np.zeros(4))
    only = np.abs(np.corrcoef(courses[1:, 2], motion[1:, 1])[0, 1])
    assert motion_correlation(courses[:, 2:3], motion[:, 1:2])[0] == pytest.approx(only)


def test_the_correlation_is_unknown_without_motion_or_for_constant_courses():
    rng = np.random.default_rng(2)
    courses = rng.standard_normal((80, 3))
    assert np.isnan(motion_correlation(courses, np.empty((80, 0)))).all()
    courses[:, 0] = 0.1
    found = motion_correlation(courses, rng.standard_normal((80, 2)))
    np.testing.assert_array_equal(np.isnan(found), [True, False, False])
