"""CanICA: whitening, recovery of planted sources, restarts, and nilearn's estimator as oracle."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.decomposition import CanICA
from scipy.optimize import linear_sum_assignment

from nidecomp.errors import NidecompError
from nidecomp.group import canica, fastica
from nidecomp.group.canica import fit_canica, whiten
from nidecomp.group.subspace import leading_subspace, stack_runs
from nidecomp.signal.reduce import reduce_rows

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def matched(maps, others):
    """Pair the maps of two sets one to one; the absolute correlation of each pair."""
    n = len(maps)
    table = np.abs(np.corrcoef(maps, others)[:n, n:])
    return table[linear_sum_assignment(-table)]


def orthonormal(rows):
    Q, _ = np.linalg.qr(rows.T)
    # Products of the same numbers in another memory layout differ in their last bits.
    return np.ascontiguousarray(Q.T)


def planted(seed, n_sources=5, n_voxels=2000):
    """Draw independent sources with heavy tails, and the space that they span."""
    rng = np.random.default_rng(seed)
    sources = rng.laplace(size=(n_sources, n_voxels))
    return sources, orthonormal(rng.standard_normal((n_sources, n_sources)) @ sources)


# ---------------------------------------------------------------- whitening
@few
@given(seed=SEEDS, n_components=st.integers(1, 12), mean=st.floats(-3, 3))
def test_white_rows_are_uncorrelated_with_unit_variance(seed, n_components, mean):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n_components, n_components)) @ rng.laplace(
        loc=mean, size=(n_components, 500)
    )
    white = whiten(rows)
    np.testing.assert_allclose(white.mean(axis=1), 0.0, atol=1e-8)
    np.testing.assert_allclose(white @ white.T / 500, np.eye(n_components), atol=1e-6)


@pytest.mark.parametrize("n_components", [2, 8, 16])
def test_exactly_orthonormal_rows_lose_no_dimension(n_components):
    """Their covariance has one eigenvalue only, and scikit-learn's whitening can lose some."""
    hadamard = np.array([[1.0]])
    for _ in range(6):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    rows = hadamard[1 : n_components + 1] / 8
    np.testing.assert_array_equal(rows @ rows.T, np.eye(n_components))
    white = whiten(rows)
    np.testing.assert_allclose(white @ white.T / 64, np.eye(n_components), atol=1e-12)


@few
@given(seed=SEEDS)
def test_whitening_stays_in_the_space_of_the_centred_rows(seed):
    rng = np.random.default_rng(seed)
    rows = orthonormal(rng.laplace(loc=0.3, size=(6, 400)))
    centred = rows - rows.mean(axis=1, keepdims=True)
    white = whiten(rows)
    back = white @ np.linalg.pinv(centred) @ centred
    np.testing.assert_allclose(back, white, atol=1e-8)


@few
@given(seed=SEEDS)
def test_whitening_twice_is_whitening_once(seed):
    white = whiten(np.random.default_rng(seed).laplace(size=(5, 300)))
    np.testing.assert_allclose(whiten(white), white, atol=1e-8)


def test_constant_row_is_not_blown_up():
    rows = np.vstack([np.random.default_rng(0).laplace(size=(3, 200)), np.full(200, 7.0)])
    white = whiten(rows)
    assert np.isfinite(white).all()
    assert np.abs(white).max() < 100


# ---------------------------------------------------------------- sources and restarts
@pytest.mark.parametrize("seed", range(4))
def test_independent_sources_are_recovered(seed):
    sources, subspace = planted(seed)
    maps, restarts, chosen = fit_canica(subspace, 3, seed)
    assert restarts[chosen].converged
    assert matched(maps, sources).min() > 0.95


def test_maps_span_the_centred_subspace_and_are_uncorrelated():
    _, subspace = planted(5)
    maps, _, _ = fit_canica(subspace, 2, 0)
    np.testing.assert_allclose(np.corrcoef(maps), np.eye(5), atol=1e-6)
    white = whiten(subspace)
    np.testing.assert_allclose(maps @ np.linalg.pinv(white) @ white, maps, atol=1e-8)


def test_order_and_sign_of_the_subspaces_rows_do_not_matter():
    _, subspace = planted(6)
    maps, _, _ = fit_canica(subspace, 5, 0)
    others, _, _ = fit_canica(-subspace[[3, 1, 4, 0, 2]], 5, 0)
    assert matched(maps, others).min() > 0.999


def test_same_seed_gives_the_same_bytes_and_another_seed_other_starts():
    _, subspace = planted(7)
    maps, restarts, chosen = fit_canica(subspace, 4, 11)
    again, restarts_again, chosen_again = fit_canica(subspace.copy(), 4, 11)
    assert maps.tobytes() == again.tobytes()
    assert (restarts, chosen) == (restarts_again, chosen_again)
    _, others, _ = fit_canica(subspace, 4, 12)
    assert {one.seed for one in restarts}.isdisjoint(one.seed for one in others)


def test_subspace_is_not_changed():
    _, subspace = planted(8)
    before = subspace.copy()
    fit_canica(subspace, 2, 0)
    np.testing.assert_array_equal(subspace, before)


def test_more_restarts_never_give_a_larger_norm():
    """Noise in place of sources makes restarts differ; the first of many are the few."""
    subspace = orthonormal(np.random.default_rng(9).laplace(size=(6, 300)) ** 3)
    norms = []
    for n_init in (1, 2, 4, 8):
        maps, restarts, chosen = fit_canica(subspace, n_init, 0)
        converged = [one.max_l1_norm for one in restarts if one.converged]
        assert restarts[chosen].converged
        assert restarts[chosen].max_l1_norm == min(converged)
        norms.append(np.abs(maps).sum(axis=1).max())
        assert norms[-1] == pytest.approx(restarts[chosen].max_l1_norm, rel=1e-12)
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < norms[0]


def test_converged_restart_is_preferred_to_one_of_smaller_norm(monkeypatch):
    white = np.random.default_rng(0).standard_normal((3, 50))
    told = iter(
        fastica.Unmixing(scale * np.eye(3), 9, converged)
        for scale, converged in ((1.0, False), (3.0, True), (2.0, True))
    )
    monkeypatch.setattr(canica, "_one_restart", lambda *_: next(told))
    maps, restarts, chosen = fit_canica(white, 3, 0)
    assert chosen == 2
    assert [one.converged for one in restarts] == [False, True, True]
    np.testing.assert_array_equal(maps, whiten(white) * 2.0)


def test_a_restart_that_breaks_down_is_recorded_and_passed_over(monkeypatch):
    whole = fastica.Unmixing(np.eye(3), 9, converged=True)
    told = iter([None, whole])
    monkeypatch.setattr(canica, "_one_restart", lambda *_: next(told))
    white = np.random.default_rng(0).standard_normal((3, 50))
    _, restarts, chosen = fit_canica(white, 2, 0)
    assert chosen == 1
    assert [one.converged for one in restarts] == [False, True]


def test_all_restarts_breaking_down_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(canica, "_one_restart", lambda *_: None)
    white = np.random.default_rng(0).standard_normal((3, 50))
    with pytest.raises(NidecompError, match="use fewer components"):
        fit_canica(white, 2, 0)


def test_restarts_are_recorded_in_order():
    _, subspace = planted(10)
    _, restarts, chosen = fit_canica(subspace, 5, 3)
    assert len({one.seed for one in restarts}) == len(restarts) == 5
    assert 0 <= chosen < 5
    assert all(1 <= one.n_iter < fastica.MAX_ITERATIONS for one in restarts if one.converged)


def test_restart_that_is_stopped_early_is_recorded_as_not_converged(monkeypatch):
    _, subspace = planted(11)
    monkeypatch.setattr(fastica, "MAX_ITERATIONS", 1)
    maps, restarts, _ = fit_canica(subspace, 3, 0)
    assert [one.converged for one in restarts] == [False] * 3
    assert [one.n_iter for one in restarts] == [1] * 3
    assert np.isfinite(maps).all()


# ---------------------------------------------------------------- nilearn as oracle
def simulated_group(n_participants=5, n_networks=6, n_volumes=60):
    """Standardised runs of participants who share networks: images, their mask, their series."""
    rng = np.random.default_rng(2024)
    shape = (15, 16, 13)
    places = np.stack(np.indices(shape), axis=-1)
    middle = (np.array(shape) - 1) / 2
    mask = np.sum(((places - middle) / (middle + 0.3)) ** 2, axis=-1) <= 1
    voxels = places[mask]
    # Each network is two blobs that touch no other: as independent as nilearn needs to converge.
    centers = [voxels[0]]
    while len(centers) < 2 * n_networks:
        gaps = np.linalg.norm(voxels[:, None] - np.array(centers), axis=2).min(axis=1)
        centers.append(voxels[gaps.argmax()])
    blobs = [np.exp(-np.sum((voxels - center) ** 2, axis=1) / 5) for center in centers]
    networks = np.array(blobs[:n_networks]) + np.array(blobs[n_networks:])
    images, series = [], []
    for _ in range(n_participants):
        gains = rng.uniform(0.7, 1.3, (1, n_networks))
        run = (rng.standard_normal((n_volumes, n_networks)) * gains) @ networks
        run += 0.3 * rng.standard_normal(run.shape)
        run = ((run - run.mean(axis=0)) / run.std(axis=0, ddof=1)).astype(np.float32)
        data = np.zeros((*shape, n_volumes), dtype=np.float32)
        data[mask] = run.T
        images.append(nib.Nifti1Image(data, np.eye(4) * [3, 3, 3, 1]))
        series.append(run)
    assert 1200 < len(voxels) < 1900
    return images, nib.Nifti1Image(mask.astype(np.uint8), np.eye(4) * [3, 3, 3, 1]), series


def test_maps_are_those_of_nilearns_canica():
    images, mask, series = simulated_group()
    estimator = CanICA(
        n_components=6,
        mask=mask,
        smoothing_fwhm=None,
        standardize=None,
        detrend=False,
        do_cca=True,
        threshold=None,
        n_init=5,
        random_state=0,
    ).fit(images)
    theirs = estimator.masker_.transform(estimator.components_img_)

    rows = [reduce_rows(run, 6)[0] for run in series]
    stack = stack_runs(rows, [1.0] * len(rows), 6, canonical=True)
    maps, _, _ = fit_canica(leading_subspace(stack, 6), 5, 0)
    similarity = matched(maps, theirs)
    assert np.median(similarity) >= 0.99
    assert similarity.min() > 0.95
