"""Series in 20 bits per value: how exact they are, and what they take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.packed import BLOCK, PackedSeries, pack

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(
    st.integers(1, 3 * BLOCK), st.sampled_from([BLOCK // 2, BLOCK // 2 + 1, BLOCK - 1, BLOCK])
)
few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
# Of the largest deviation of a block in a volume: half a step, and rounding in float32.
ROUNDING = 1.1e-6


def series_of(seed, n_volumes=6, n_features=3000, level=1e3):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-1, 2, n_features)
    return (level + sizes * rng.standard_normal((n_volumes, n_features))).astype(np.float32)


@few
@given(seed=SEEDS, n_features=SIZES, level=st.sampled_from([0.0, 1e3, -1e5]))
def test_each_block_of_a_volume_is_rounded_to_a_millionth_of_its_largest_deviation(
    seed, n_features, level
):
    series = series_of(seed, n_features=n_features, level=level)
    packed = pack(series)
    exact = series.astype(np.float64) - series[0]
    assert packed.shape == series.shape
    for start in range(0, n_features, BLOCK):
        features = slice(start, min(start + BLOCK, n_features))
        found, largest = packed.deviations(features)
        bound = ROUNDING * np.abs(exact[:, features]).max(axis=1, keepdims=True)
        assert (np.abs(found - exact[:, features]) <= bound).all()
        assert (largest >= np.abs(series[0, features])).all()
        assert (largest >= np.abs(found).max() * (1 - 1e-6)).all()
    assert not packed.deviations(slice(0, min(BLOCK, n_features)))[0][0].any()


@few
@given(seed=SEEDS, n_features=SIZES)
def test_values_are_those_that_were_packed(seed, n_features):
    series = series_of(seed, n_features=n_features)
    np.testing.assert_allclose(pack(series).values(), series, rtol=0, atol=2e-3)


def test_the_order_of_volumes_that_are_stored_does_not_matter_after_the_first():
    series = series_of(1)
    packed = PackedSeries(*series.shape)
    for index in (0, 3, 1, 5, 4, 2):
        packed.volume[:] = series[index]
        packed.put(index)
    assert packed.values().tobytes() == pack(series).values().tobytes()


def test_volumes_are_left_out_in_the_same_memory():
    series = series_of(2, n_volumes=8)
    empty = (0, 3, 7)
    left = pack(series, empty).without(empty)
    expected = np.delete(series, list(empty), axis=0)
    assert left.values().tobytes() == pack(expected).values().tobytes()


def test_features_are_set_to_zero_in_all_volumes():
    series = series_of(3)
    zero = np.zeros(series.shape[1], dtype=bool)
    zero[[0, 5, BLOCK, 2999]] = True
    packed = pack(series)
    packed.set_to_zero(zero)
    values = packed.values()
    assert not values[:, zero].any()
    assert not packed.deviations(slice(BLOCK, 3000))[0][:, zero[BLOCK:]].any()
    np.testing.assert_allclose(values[:, ~zero], series[:, ~zero], atol=2e-3)


@pytest.mark.parametrize("value", [0.0, 7.25, -1e6])
def test_a_constant_stays_a_constant(value):
    series = np.full((4, 50), value, dtype=np.float32)
    np.testing.assert_array_equal(pack(series).values(), series)


def test_it_takes_two_and_a_half_bytes_per_value():
    packed = PackedSeries(100, 20 * BLOCK)
    assert packed.nbytes == pytest.approx(2.5 * 100 * 20 * BLOCK, rel=2e-3)
