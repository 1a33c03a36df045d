"""Reduction to principal components, compared with numpy's full singular value decomposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.pca import principal_components

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def series_of(seed, n_volumes=30, n_features=200):
    """Return a random series with well separated singular values, so that its rows are unique."""
    rng = np.random.default_rng(seed)
    U, _ = np.linalg.qr(rng.standard_normal((n_volumes, n_volumes)))
    V, _ = np.linalg.qr(rng.standard_normal((n_features, n_volumes)))
    return ((U * 100 * 0.85 ** np.arange(n_volumes)) @ V.T).astype(np.float32)


def reduced(series, n_rows):
    """Return the principal components of a series that needs no cleaning."""
    exact = series.astype(np.float64)
    leading = principal_components(series, exact @ exact.T, n_rows)
    return leading.rows, leading.total_variance, leading.squared


@few
@given(seed=SEEDS, n_rows=st.integers(1, 30))
def test_rows_are_the_leading_right_singular_vectors_scaled_by_their_values(seed, n_rows):
    series = series_of(seed)
    rows, _, _ = reduced(series, n_rows)
    _, S, Vt = np.linalg.svd(series.astype(np.float64), full_matrices=False)
    expected = S[:n_rows, None] * Vt[:n_rows]
    sign = np.sign(np.einsum("ij,ij->i", rows, expected))[:, None]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(sign * rows, expected, atol=1e-4 * S[0])


@few
@given(seed=SEEDS, n_rows=st.integers(2, 20))
def test_rows_are_orthogonal_and_largest_first(seed, n_rows):
    rows, _, _ = reduced(series_of(seed), n_rows)
    gram = rows.astype(np.float64) @ rows.T.astype(np.float64)
    lengths = np.sqrt(np.diag(gram))
    assert (np.diff(lengths) < 0).all()
    off_diagonal = gram / np.outer(lengths, lengths) - np.eye(n_rows)
    assert np.abs(off_diagonal).max() < 1e-4


@few
@given(seed=SEEDS, n_rows=st.integers(1, 30))
def test_variances_are_sums_of_squares_of_the_series_and_of_the_rows(seed, n_rows):
    series = series_of(seed)
    rows, total, squared = reduced(series, n_rows)
    assert total == pytest.approx(np.sum(series.astype(np.float64) ** 2), rel=1e-9)
    assert squared == pytest.approx(np.sum(rows.astype(np.float64) ** 2, axis=1), rel=1e-4)
    assert squared.sum() <= total * (1 + 1e-12)


def test_all_rows_hold_all_variance():
    _, total, squared = reduced(series_of(1), 30)
    assert squared.sum() == pytest.approx(total, rel=1e-12)


@few
@given(seed=SEEDS)
def test_sign_makes_each_time_course_peak_upwards(seed):
    series = series_of(seed)
    rows, _, _ = reduced(series, 10)
    courses = series.astype(np.float64) @ rows.T.astype(np.float64)
    peaks = courses[np.abs(courses).argmax(axis=0), np.arange(10)]
    assert (peaks > 0).all()


@few
@given(seed=SEEDS)
def test_order_of_volumes_does_not_matter(seed):
    series = series_of(seed)
    shuffled = series[np.random.default_rng(seed).permutation(len(series))]
    rows, total, squared = reduced(series, 10)
    others, other_total, other_squared = reduced(shuffled, 10)
    np.testing.assert_allclose(others, rows, atol=1e-3)
    assert other_total == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(other_squared, squared, rtol=1e-9)


def test_same_series_gives_same_bytes():
    rows, _, _ = reduced(series_of(2), 12)
    again, _, _ = reduced(series_of(2), 12)
    assert rows.tobytes() == again.tobytes()


def test_fewer_rows_are_the_first_of_more_rows():
    series = series_of(3, n_volumes=80)
    more, _, _ = reduced(series, 70)
    for n_rows in (1, 5, 31, 32, 33, 64):
        fewer, _, _ = reduced(series, n_rows)
        assert fewer.tobytes() == more[:n_rows].tobytes()


def test_blocks_of_features_add_up(monkeypatch):
    whole, total, squared = reduced(series_of(4), 8)
    monkeypatch.setattr("nidecomp.core.pca._BLOCK", 13)
    blocks, block_total, block_squared = reduced(series_of(4), 8)
    np.testing.assert_allclose(blocks, whole, atol=1e-3)
    assert block_total == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(block_squared, squared, rtol=1e-9)


def test_a_series_without_signal_has_rows_of_zeros():
    rows, total, squared = reduced(np.zeros((10, 50), dtype=np.float32), 3)
    assert not rows.any()
    assert total == 0.0
    assert not squared.any()
