"""Cleaning is one orthogonal projection, followed by scaling to unit variance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.signal import clean as nilearn_clean

from nidecomp.runs.clean import clean, cosines, orthonormal_basis, polynomials

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def bold(rng, n_volumes=80, n_voxels=30, level=1e4, spread=100.0):
    """Return raw intensities like those of a scanner, with a large mean and a small signal."""
    means = level * rng.uniform(0.5, 1.5, n_voxels)
    drift = spread * np.outer(np.linspace(-1, 1, n_volumes), rng.standard_normal(n_voxels))
    noise = spread * rng.standard_normal((n_volumes, n_voxels))
    return (means + drift + noise).astype(np.float32)


def nuisance_of(rng, n_volumes=80, n_confounds=6):
    return orthonormal_basis(
        np.column_stack([polynomials(n_volumes), rng.standard_normal((n_volumes, n_confounds))])
    )


def correlations(series, regressors):
    """Return the cosines of the angles between series and regressors, without centring."""
    left = regressors / np.linalg.norm(regressors, axis=0)
    right = series.astype(np.float64) / np.linalg.norm(series.astype(np.float64), axis=0)
    return np.abs(left.T @ right)


@few
@given(seed=SEEDS, level=st.sampled_from([0.0, 1.0, 1e4, 1e5]))
def test_residual_is_orthogonal_to_every_regressor(seed, level):
    rng = np.random.default_rng(seed)
    raw_regressors = rng.standard_normal((80, 6)) * 10.0 ** rng.integers(-4, 5, 6)
    basis = orthonormal_basis(np.column_stack([polynomials(80), raw_regressors]))
    cleaned = clean(bold(rng, level=level), basis)
    assert cleaned.n_constant == 0
    regressors = np.column_stack([polynomials(80), raw_regressors])
    assert correlations(cleaned.series, regressors).max() < 1e-5


@few
@given(seed=SEEDS, strength=st.sampled_from([3.0, 30.0, 300.0]))
def test_what_strong_nuisance_leaves_behind_is_float32_rounding_of_it(seed, strength):
    """The residual of a float32 projection is up to 1e-7 of the nuisance that it removes.

    Nuisance of ten times the signal, as in runs with strong artifacts, leaves |r| < 1e-5.
    """
    rng = np.random.default_rng(seed)
    confounds = rng.standard_normal((150, 20)).cumsum(axis=0)
    regressors = np.column_stack([polynomials(150), confounds])
    basis = orthonormal_basis(regressors)
    nuisance = basis @ rng.standard_normal((basis.shape[1], 200))
    nuisance *= strength / nuisance.std(axis=0)
    series = (1e4 + nuisance + rng.standard_normal((150, 200))).astype(np.float32)
    cleaned = clean(series, basis)
    assert correlations(cleaned.series, regressors).max() < 1e-6 * max(10.0, 5 * strength)


@few
@given(seed=SEEDS)
def test_every_voxel_has_unit_sample_variance(seed):
    rng = np.random.default_rng(seed)
    series = clean(bold(rng), nuisance_of(rng)).series.astype(np.float64)
    np.testing.assert_allclose(series.std(axis=0, ddof=1), 1.0, rtol=2e-6)


def test_the_series_is_changed_in_place():
    rng = np.random.default_rng(8)
    series = bold(rng)
    assert clean(series, nuisance_of(rng)).series is series


@few
@given(seed=SEEDS)
def test_cleaning_equals_the_same_in_float64(seed):
    rng = np.random.default_rng(seed)
    series, basis = bold(rng), nuisance_of(rng)
    expected = series.astype(np.float64)
    expected -= basis @ (basis.T @ expected)
    expected /= expected.std(axis=0, ddof=1)
    np.testing.assert_allclose(clean(series, basis).series, expected, atol=1e-5)


@few
@given(seed=SEEDS)
def test_cleaning_twice_is_cleaning_once(seed):
    rng = np.random.default_rng(seed)
    basis = nuisance_of(rng)
    once = clean(bold(rng), basis)
    twice = clean(once.series.copy(), basis)
    assert twice.n_constant == 0
    # float32 arithmetic: 1e-7 of values up to 5, several times.
    np.testing.assert_allclose(twice.series, once.series, atol=5e-6)


@few
@given(seed=SEEDS)
def test_no_volume_is_special(seed):
    """The first volume is subtracted before cleaning, which must not affect the result."""
    rng = np.random.default_rng(seed)
    series, basis = bold(rng), nuisance_of(rng)
    # As different as a volume before the magnetisation reaches its steady state.
    series[rng.integers(0, len(series))] *= 1.5
    order = rng.permutation(len(series))
    ours = clean(series.copy(), basis).series
    others = clean(np.ascontiguousarray(series[order]), basis[order]).series
    np.testing.assert_allclose(others, ours[order], atol=1e-5)


@few
@given(
    seed=SEEDS,
    offset=st.floats(-1e4, 1e4),
    gain=st.floats(0.1, 100.0),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_an_affine_change_of_intensity_changes_nothing_but_the_sign(seed, offset, gain, sign):
    rng = np.random.default_rng(seed)
    series, basis = bold(rng, level=1e3), nuisance_of(rng)
    # The intensities are rounded to float32 at up to 1.6e5, and the signal is 10 or more.
    changed = (offset + sign * gain * series.astype(np.float64)).astype(np.float32)
    ours, others = clean(series, basis), clean(changed, basis)
    np.testing.assert_allclose(others.series, sign * ours.series, atol=1e-3)


def test_blocks_of_voxels_do_not_depend_on_each_other(monkeypatch):
    rng = np.random.default_rng(0)
    series, basis = bold(rng, n_voxels=50), nuisance_of(rng)
    series[:, 17] = 3.0
    whole = clean(series.copy(), basis)
    monkeypatch.setattr("nidecomp.runs.clean.BLOCK", 7)
    blocks = clean(series.copy(), basis)
    assert whole.n_constant == blocks.n_constant == 1
    np.testing.assert_allclose(blocks.series, whole.series, atol=5e-6)


def test_same_series_gives_the_same_bytes():
    rng = np.random.default_rng(1)
    series, basis = bold(rng, n_voxels=5000), nuisance_of(rng)
    one, other = clean(series.copy(), basis), clean(series.copy(), basis)
    assert one.series.tobytes() == other.series.tobytes()


def test_filters_and_confounds_do_not_bring_back_each_other():
    """Filters and regressors applied in sequence leave filtered power (Lindquist et al. 2019)."""
    rng = np.random.default_rng(3)
    n_volumes, repetition_time_s = 150, 2.0
    series = bold(rng, n_volumes)
    confounds = rng.standard_normal((n_volumes, 8)).cumsum(axis=0)
    stop_band = cosines(n_volumes, repetition_time_s, 0.01, 0.1)
    kept = np.setdiff1d(np.arange(n_volumes), rng.choice(n_volumes, 20, replace=False))
    everything = np.column_stack([polynomials(n_volumes), stop_band, confounds])[kept]
    ours = clean(series[kept], orthonormal_basis(everything)).series

    filters = orthonormal_basis(np.column_stack([polynomials(n_volumes), stop_band])[kept])
    filtered = clean(series[kept], filters).series
    regressors = np.column_stack([np.ones(len(kept)), confounds[kept]])
    sequential = clean(filtered, orthonormal_basis(regressors)).series

    assert correlations(ours, everything).max() < 1e-5
    assert correlations(sequential, confounds[kept]).max() < 1e-5
    assert correlations(sequential, stop_band[kept]).max() > 1e-2


@pytest.mark.parametrize("first", [0, 5])
def test_equals_nilearn_on_an_unbroken_stretch_of_volumes(first):
    rng = np.random.default_rng(4)
    series, confounds = bold(rng, 100), rng.standard_normal((100, 10)) + 5.0
    kept = np.arange(first, 100)
    ours = clean(
        series[kept], orthonormal_basis(np.column_stack([polynomials(100), confounds])[kept])
    ).series
    theirs = nilearn_clean(
        series.astype(np.float64),
        detrend=True,
        standardize="zscore_sample",
        confounds=confounds,
        sample_mask=kept,
        filter=False,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_equals_nilearn_where_volumes_are_scrubbed_in_between():
    """The trend is passed to nilearn as a confound, because its own ignores scrubbing."""
    rng = np.random.default_rng(5)
    series, confounds = bold(rng, 100), rng.standard_normal((100, 10)) + 5.0
    kept = np.setdiff1d(np.arange(100), [0, 1, 20, 21, 22, 23, 24, 60, 61, 99])
    ours = clean(
        series[kept], orthonormal_basis(np.column_stack([polynomials(100), confounds])[kept])
    ).series
    theirs = nilearn_clean(
        # The data must be centred as regressors are, which nilearn does only when detrending.
        series.astype(np.float64) - series[kept].mean(axis=0, dtype=np.float64),
        detrend=False,
        standardize="zscore_sample",
        confounds=np.column_stack([confounds, polynomials(100)[:, 1]]),
        sample_mask=kept,
        filter=False,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@few
@given(
    n_volumes=st.integers(20, 120),
    repetition_time_s=st.sampled_from([0.5, 0.72, 1.0, 2.0, 3.0]),
    shares=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)
def test_cosines_are_removed_outside_the_band_and_only_there(n_volumes, repetition_time_s, shares):
    nyquist = 0.5 / repetition_time_s
    high_pass, low_pass = nyquist * min(shares), nyquist * max(shares)
    removed = cosines(n_volumes, repetition_time_s, high_pass, low_pass)
    order = np.arange(1, n_volumes)
    frequency = order / (2 * n_volumes * repetition_time_s)
    waves = np.cos(np.pi * np.outer(np.arange(n_volumes) + 0.5, order) / n_volumes)
    outside = (frequency < high_pass) | (frequency > low_pass)
    power = np.linalg.norm(orthonormal_basis(removed).T @ waves, axis=0) ** 2
    share = power / np.linalg.norm(waves, axis=0) ** 2
    assert removed.shape[1] == np.count_nonzero(outside)
    np.testing.assert_allclose(share, outside.astype(float), atol=1e-9)


def test_no_cutoff_removes_no_cosine():
    assert cosines(100, 2.0, None, None).shape == (100, 0)


@pytest.mark.parametrize("phase", [0.0, 1.0, 2.5])
def test_a_sine_survives_inside_the_band_and_vanishes_outside(phase):
    n_volumes, repetition_time_s = 300, 2.0
    time_s = np.arange(n_volumes) * repetition_time_s
    basis = orthonormal_basis(
        np.column_stack([polynomials(n_volumes), cosines(n_volumes, repetition_time_s, 0.01, 0.1)])
    )

    def surviving(frequency_hz):
        wave = np.sin(2 * np.pi * frequency_hz * time_s + phase)
        return np.sum((wave - basis @ (basis.T @ wave)) ** 2) / np.sum(wave**2)

    assert surviving(0.05) > 0.95
    assert surviving(0.002) < 0.05
    assert surviving(0.2) < 0.05


def test_voxels_that_hold_nothing_but_nuisance_become_zero_and_are_counted():
    rng = np.random.default_rng(6)
    series = bold(rng)
    trend = np.linspace(-1.0, 1.0, len(series))
    series[:, 0] = 0.0
    series[:, 1] = 12345.678
    series[:, 2] = 1e4 + 500 * trend
    series[:, 3] = -1e-3
    cleaned = clean(series, nuisance_of(rng))
    assert cleaned.n_constant == 4
    assert not cleaned.series[:, :4].any()
    assert cleaned.series[:, 4:].any(axis=0).all()
    assert np.isfinite(cleaned.series).all()


@few
@given(
    seed=SEEDS,
    n_volumes=st.sampled_from([20, 150, 600]),
    level=st.sampled_from([0.0, 1.0, -30.0, 1e4, 1e6]),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
    n_rounding=st.integers(0, 2),
)
def test_constants_are_found_at_any_baseline(seed, n_volumes, level, strength, n_rounding):
    """Rounding errors of constant or nuisance-only voxels are not scaled up to signal."""
    rng = np.random.default_rng(seed)
    confounds = rng.standard_normal((n_volumes, 12)).cumsum(axis=0)
    regressors = np.column_stack([polynomials(n_volumes), confounds])
    flat = (level + strength * regressors @ rng.standard_normal((14, 40))).astype(np.float32)
    # Errors of up to that many float32 steps.
    flat += (np.spacing(flat) * rng.integers(-n_rounding, n_rounding + 1, flat.shape)).astype("f4")
    cleaned = clean(flat, orthonormal_basis(regressors))
    assert cleaned.n_constant == 40
    assert not cleaned.series.any()
    assert cleaned.total_variance == 0


@few
@given(seed=SEEDS, level=st.sampled_from([1.0, 1e4, -1e6]))
def test_a_faint_signal_is_no_constant(seed, level):
    """A signal of 1e-5 of the baseline is a hundred times larger than float32 rounding."""
    rng = np.random.default_rng(seed)
    signal = level * (1 + 1e-5 * rng.standard_normal((80, 40)))
    assert clean(signal.astype(np.float32), nuisance_of(rng)).n_constant == 0


@few
@given(seed=SEEDS, rank=st.integers(1, 8), n_columns=st.integers(8, 20))
def test_basis_is_orthonormal_and_spans_collinear_regressors_of_any_scale(seed, rank, n_columns):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((60, rank)) @ rng.standard_normal((rank, n_columns))
    columns = columns * 10.0 ** rng.integers(-6, 7, n_columns)
    basis = orthonormal_basis(columns)
    assert basis.shape == (60, rank)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-10)
    scaled = columns / np.linalg.norm(columns, axis=0)
    np.testing.assert_allclose(basis @ (basis.T @ scaled), scaled, atol=1e-8)


def test_regressors_that_are_zero_throughout_span_nothing():
    assert orthonormal_basis(np.zeros((10, 3))).shape == (10, 0)
    one = np.column_stack([np.zeros(10), np.ones(10)])
    assert orthonormal_basis(one).shape == (10, 1)
    assert orthonormal_basis(np.empty((10, 0))).shape == (10, 0)
