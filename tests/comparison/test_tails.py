"""P values are shares of maxima, or of the tail that fits them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nidecomp.comparison.family import Family, larger
from nidecomp.comparison.tails import (
    LARGEST_TAIL_P,
    LEAST_TAIL_P,
    counted,
    from_tail,
    gamma_of,
    lowered,
    scale_of,
)

few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
RNG = np.random.default_rng(0)
MAXIMA = RNG.gumbel(4, 0.4, (5, 500)) * np.array([1, 1, 20, 3, 500])[:, None]


def test_counted_p_values_are_shares_of_maxima_as_large() -> None:
    maxima = np.array([3.0, 1, 2, 5])
    observed = np.array([0.5, 2.0, 3.0, 5.0, 6.0])
    np.testing.assert_array_equal(counted(lowered(observed), maxima), [1, 0.75, 0.5, 0.25, 0])
    # Rounding makes no relabelling smaller than the data as they are.
    assert counted(lowered(np.array([2.000001])), maxima)[0] == 0.75


def test_the_fitted_tail_is_scipy_s_distribution_of_the_same_moments() -> None:
    values = RNG.gamma(5, 2, 100_000) + 3
    fitted = gamma_of(values)
    expected = stats.pearson3(fitted.skewness, fitted.mean, fitted.std)
    points = np.linspace(0, 60, 50)
    np.testing.assert_allclose(fitted.survival(points), expected.sf(points), rtol=1e-6, atol=1e-14)
    assert fitted.skewness == pytest.approx(2 / 5**0.5, rel=0.05)
    at = stats.gamma.isf(0.001, 5, loc=3, scale=2)
    assert fitted.survival(np.array([at]))[0] == pytest.approx(0.001, rel=0.1)


def test_tails_agree_with_what_many_permutations_count() -> None:
    """A few hundred maxima say what a hundred thousand would have."""
    uniform = np.random.default_rng(1).random(100_000)
    # The largest of 200 absolute t.
    many = stats.t.isf((1 - uniform ** (1 / 200)) / 2, 60)
    observed = np.quantile(many, [0.95, 0.99, 0.999])
    p, _ = from_tail(observed, many[:1000])
    np.testing.assert_allclose(p, [0.05, 0.01, 0.001], rtol=0.4)


def test_large_p_values_are_counted_and_tails_have_an_end() -> None:
    observed = np.concatenate([np.sort(MAXIMA[0]), [100.0]])
    p, count = from_tail(observed, MAXIMA[0])
    is_large = count >= LARGEST_TAIL_P
    np.testing.assert_array_equal(p[is_large], count[is_large])
    assert p[-1] == LEAST_TAIL_P
    assert (np.diff(p) <= 0).all()
    assert (np.diff(count) <= 0).all()


@pytest.mark.parametrize("maxima", [np.zeros(200), -MAXIMA[0], np.full(200, 3.0)])
def test_where_nothing_can_be_fitted_p_values_are_counted(maxima: np.ndarray) -> None:
    p, count = from_tail(maxima, maxima)
    np.testing.assert_array_equal(p, count)
    scores = scale_of(maxima).score(np.sort(maxima))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()


@few
@given(st.floats(0.1, 50), st.floats(0.05, 10))
def test_scores_rise_without_end(mean: float, spread: float) -> None:
    scale = scale_of(np.random.default_rng(2).gumbel(mean, spread, 300))
    values = np.concatenate(
        [np.linspace(mean, mean + 20 * spread, 200), mean + np.array([1e3, 1e5, 1e7])]
    )
    values = np.sort(np.concatenate([values, mean + np.geomspace(20, 5e4, 200) * spread]))
    scores = scale.score(values)
    assert np.isfinite(scores).all()
    assert (np.diff(scores)[np.diff(values) > 0] > 0).all()


def test_one_strong_effect_does_not_change_the_scale() -> None:
    without = scale_of(MAXIMA[0])
    maxima = MAXIMA[0].copy()
    maxima[0] = 1e4
    assert scale_of(maxima).mean == pytest.approx(without.mean, rel=0.01)
    assert scale_of(maxima).std == pytest.approx(without.std, rel=0.05)
    assert scale_of(maxima[::-1]) == scale_of(np.sort(maxima))


# ---------------------------------------------------------------- families
@pytest.mark.parametrize("has_tail", [False, True])
def test_corrected_for_more_maps_p_values_are_no_smaller(has_tail: bool) -> None:
    together = Family(MAXIMA, has_tail)
    for number, maxima in enumerate(MAXIMA):
        observed = np.concatenate([[0], np.quantile(maxima, np.linspace(0, 1, 50)), maxima[:1]])
        alone = Family(maxima[None], has_tail).corrected(observed, 0)
        of_all = together.corrected(observed, number)
        assert (of_all.counted >= alone.counted).all()
        both = larger(of_all, alone)
        assert (both.p >= alone.p).all()
        assert both.p[0] == both.counted[0] == 1
        # Largest of five: the share among all is nearly five times as large where it is small.
        at = np.quantile(maxima, 0.99)
        assert together.corrected(np.array([at]), number).p[0] == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("has_tail", [False, True])
def test_of_a_single_map_both_are_the_same(has_tail: bool) -> None:
    observed = MAXIMA[1][:20]
    alone = Family(MAXIMA[[1]], has_tail).corrected(observed, 0)
    p = from_tail(lowered(observed), MAXIMA[1])[0]
    if not has_tail:
        p = counted(lowered(observed), MAXIMA[1])
    np.testing.assert_array_equal(alone.p, p)


@pytest.mark.parametrize("has_tail", [False, True])
def test_units_and_order_of_maps_change_no_p_value(has_tail: bool) -> None:
    observed = MAXIMA[2][:50]
    first = Family(MAXIMA, has_tail).corrected(observed, 2)
    scaled = Family(MAXIMA[::-1] * 7, has_tail).corrected(-7 * observed, 2)
    np.testing.assert_allclose(scaled.p, first.p, rtol=1e-9)
    np.testing.assert_array_equal(scaled.counted, first.counted)


def test_maps_of_different_units_count_the_same() -> None:
    """Each of five maps has its share of the largest scores."""
    maxima = np.random.default_rng(3).gumbel(4, 0.4, (5, 5000))
    maxima *= np.array([1, 1, 20, 3, 500])[:, None]
    scores = np.stack([scale_of(one).score(one) for one in maxima])
    shares = np.bincount(scores.argmax(axis=0), minlength=5) / 5000
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
