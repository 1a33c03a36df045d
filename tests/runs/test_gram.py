"""The Gram matrix and the components of a cleaned run, compared with numpy in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.packed import pack
from nidecomp.runs.clean import clean, cosines, orthonormal_basis, polynomials
from nidecomp.runs.complement import complement_of
from nidecomp.runs.gram import CleanedGram
from nidecomp.runs.gram import cleaned_gram as gram_of_packed

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=10, derandomize=True, database=None)
# The sine of the largest angle between a subspace and numpy's.
ANGLE = 1e-4


def cleaned_gram(raw, nuisance) -> CleanedGram:
    """Return the Gram matrix of a series that is packed as it is when it is read."""
    return gram_of_packed(pack(raw), nuisance)


def nuisance_of(rng, n_volumes, n_confounds=6):
    confounds = rng.standard_normal((n_volumes, n_confounds)).cumsum(axis=0)
    return orthonormal_basis(np.column_stack([polynomials(n_volumes), confounds]))


def bold(rng, n_volumes=80, n_voxels=600, rank=None, decay=0.95, noise=0.0):
    """Return raw intensities with a baseline, and sources whose strength decays."""
    rank = rank or n_volumes
    courses = rng.standard_normal((n_volumes, rank)) * decay ** np.arange(rank)
    signal = courses @ rng.standard_normal((rank, n_voxels))
    signal += noise * rng.standard_normal((n_volumes, n_voxels))
    return (rng.uniform(500, 1500, n_voxels) + 10 * signal).astype(np.float32)


def exact(raw, nuisance):
    """Return the cleaned series in float64, and its singular value decomposition."""
    series = raw.astype(np.float64)
    series -= nuisance @ (nuisance.T @ series)
    deviation = np.sqrt(np.sum(series**2, axis=0) / (len(raw) - 1))
    signal = deviation > 2e-6 * np.abs(raw).max(axis=0)
    series = np.where(signal, series / np.where(signal, deviation, 1), 0)
    U, S, Vt = np.linalg.svd(series, full_matrices=False)
    return series, U, S, Vt


def angle(rows, Vt):
    """Return the sine of the largest principal angle between rows and orthonormal rows."""
    Q, _ = np.linalg.qr(rows.astype(np.float64).T)
    return np.linalg.norm(Vt - (Vt @ Q) @ Q.T, 2)


def assert_is_numpys(raw, nuisance, n_rows, counts):
    """Check the components, and the subspaces of the leading ones at counts with a gap."""
    series, U, S, Vt = exact(raw, nuisance)
    leading = cleaned_gram(raw, nuisance).principal_components(n_rows)
    assert leading.rows.shape == (n_rows, raw.shape[1])
    assert leading.total_variance == pytest.approx(np.sum(series**2), rel=1e-5)
    np.testing.assert_allclose(leading.squared, S[:n_rows] ** 2, rtol=1e-4)
    np.testing.assert_allclose(
        np.sum(leading.rows.astype(np.float64) ** 2, axis=1), leading.squared, rtol=1e-4
    )
    for count in counts:
        assert angle(leading.rows[:count], Vt[:count]) < ANGLE
        assert angle(leading.volumes[:, :count].T, U[:, :count].T) < ANGLE
    return leading


@few
@given(seed=SEEDS, n_kept=st.integers(2, 60), data=st.data())
def test_coordinates_keep_what_is_orthogonal_to_all_regressors(seed, n_kept, data):
    rng = np.random.default_rng(seed)
    n_regressors = data.draw(st.integers(0, n_kept - 1))
    nuisance, _ = np.linalg.qr(rng.standard_normal((n_kept, n_regressors)))
    complement = complement_of(nuisance)
    block = rng.standard_normal((n_kept, 5))
    residual = block - nuisance @ (nuisance.T @ block)
    coordinates = complement.coordinates(block.astype(np.float32)).astype(np.float64)
    assert coordinates.shape == (n_kept - n_regressors, 5)
    np.testing.assert_allclose(complement.series(coordinates), residual, atol=1e-5)
    np.testing.assert_allclose(coordinates.T @ coordinates, residual.T @ residual, atol=1e-4)
    assert np.abs(nuisance.T @ complement.series(coordinates)).max(initial=0) < 1e-12


@few
@given(seed=SEEDS, n_voxels=st.integers(1, 2500))
def test_singular_values_are_those_of_the_cleaned_series(seed, n_voxels):
    """This includes several blocks of voxels, and voxels without signal."""
    rng = np.random.default_rng(seed)
    raw, nuisance = bold(rng, 30, n_voxels), nuisance_of(rng, 30)
    raw[:, rng.random(n_voxels) < 0.1] = 7.0
    found = cleaned_gram(raw, nuisance)
    cleaned = clean(raw.copy(), nuisance)
    assert found.n_constant == cleaned.n_constant
    assert found.total_variance == cleaned.total_variance
    np.testing.assert_allclose(found.series, cleaned.series, atol=1e-3)
    expected = np.linalg.svd(cleaned.series.astype(np.float64), compute_uv=False) ** 2
    values = np.zeros(30)
    values[: len(expected)] = expected
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found.gram)[::-1], values[: len(found.gram)], atol=2e-6 * 30 * n_voxels
    )


@few
@given(seed=SEEDS, n_rows=st.integers(1, 40))
def test_components_are_numpys(seed, n_rows):
    rng = np.random.default_rng(seed)
    raw, nuisance = bold(rng), nuisance_of(rng, 80)
    S = exact(raw, nuisance)[2]
    gaps = [n for n in range(1, n_rows + 1) if S[n] ** 2 < 0.98 * S[n - 1] ** 2]
    assert_is_numpys(raw, nuisance, n_rows, gaps)


def test_components_of_a_long_run_are_numpys():
    """A spectrum like that of a run: sources, then noise without any gap."""
    rng = np.random.default_rng(0)
    raw = bold(rng, 400, 2500, rank=20, decay=0.9, noise=0.5)
    assert_is_numpys(raw, nuisance_of(rng, 400, 30), 60, [20])


def test_white_noise_has_numpys_components():
    rng = np.random.default_rng(1)
    raw, nuisance = bold(rng, 120, 2500, decay=1.0), nuisance_of(rng, 120)
    S = exact(raw, nuisance)[2]
    gap = int(np.argmax(S[10:60] / S[11:61])) + 11
    assert_is_numpys(raw, nuisance, 60, [gap])


def test_a_band_pass_leaves_its_dimensions():
    rng = np.random.default_rng(2)
    filters = np.column_stack([polynomials(200), cosines(200, 0.7, 0.01, 0.1)])
    raw, nuisance = bold(rng, 200, 900, decay=1.0), orthonormal_basis(filters)
    n_left = 200 - nuisance.shape[1]
    assert n_left < 30
    assert len(cleaned_gram(raw, nuisance).gram) == n_left
    assert_is_numpys(raw, nuisance, n_left, [n_left])


def test_dimensions_that_the_data_lack_are_told_by_their_variance():
    rng = np.random.default_rng(3)
    raw, nuisance = bold(rng, rank=4), nuisance_of(rng, 80)
    squared = cleaned_gram(raw, nuisance).principal_components(10).squared
    assert np.count_nonzero(squared > 1e-6 * squared[0]) == 4


@few
@given(seed=SEEDS, strength=st.sampled_from([1.0, 10.0, 100.0]))
def test_strong_nuisance_hardly_changes_the_components(seed, strength):
    rng = np.random.default_rng(seed)
    raw, nuisance = bold(rng, decay=0.8, rank=8), nuisance_of(rng, 80)
    artifact = nuisance @ rng.standard_normal((nuisance.shape[1], raw.shape[1]))
    raw += (strength * 10 * artifact / artifact.std()).astype(np.float32)
    leading = cleaned_gram(raw, nuisance).principal_components(4)
    _, U, _, Vt = exact(raw, nuisance)
    assert angle(leading.rows, Vt[:4]) < ANGLE
    assert angle(leading.volumes.T, U[:, :4].T) < ANGLE
    assert np.abs(nuisance.T @ leading.volumes.astype(np.float64)).max() < 1e-6


def test_time_courses_peak_upwards():
    rng = np.random.default_rng(4)
    volumes = cleaned_gram(bold(rng), nuisance_of(rng, 80)).principal_components(20).volumes
    assert (volumes[np.abs(volumes).argmax(axis=0), np.arange(20)] > 0).all()


def test_fewer_components_are_the_first_of_more_to_the_last_bit():
    rng = np.random.default_rng(5)
    found = cleaned_gram(bold(rng, n_voxels=3000), nuisance_of(rng, 80))
    more = found.principal_components(70)
    for n_rows in (1, 5, 31, 32, 33, 64):
        fewer = found.principal_components(n_rows)
        assert fewer.rows.tobytes() == more.rows[:n_rows].tobytes()
        assert fewer.volumes.tobytes() == np.ascontiguousarray(more.volumes[:, :n_rows]).tobytes()


def test_same_series_gives_the_same_bytes():
    rng = np.random.default_rng(6)
    raw, nuisance = bold(rng, n_voxels=5000), nuisance_of(rng, 80)
    one, other = (cleaned_gram(series, nuisance) for series in (raw, raw.copy()))
    assert one.gram.tobytes() == other.gram.tobytes()
    assert (
        one.principal_components(9).rows.tobytes() == other.principal_components(9).rows.tobytes()
    )


def test_a_run_without_signal_has_rows_of_zeros():
    raw = np.full((30, 50), 7.0, dtype=np.float32)
    found = cleaned_gram(raw, orthonormal_basis(polynomials(30)))
    leading = found.principal_components(3)
    assert found.n_constant == 50
    assert leading.total_variance == 0
    assert not leading.rows.any()
    assert not leading.squared.any()
