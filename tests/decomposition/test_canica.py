"""CanICA: whitening, recovery of simulated sources, restarts, and agreement with nilearn."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.decomposition import CanICA
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

import nidecomp
from nidecomp.core.errors import NidecompError
from nidecomp.core.pca import principal_components
from nidecomp.decomposition import canica, fastica, orthogonal_ascent
from nidecomp.decomposition.canica import fit_canica, whiten
from nidecomp.decomposition.subspace import SubspaceStream, weighted_rows

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def matched(maps, others):
    """Match the maps of two sets one to one and return the absolute correlation of each pair."""
    n = len(maps)
    table = np.abs(np.corrcoef(maps, others)[:n, n:])
    return table[linear_sum_assignment(-table)]


def orthonormal(rows):
    Q, _ = np.linalg.qr(rows.T)
    # Products of the same numbers in another memory layout differ in their last bits.
    return np.ascontiguousarray(Q.T)


def planted(seed, n_sources=5, n_voxels=2000):
    """Return independent sources with heavy tails, and a basis of the space that they span."""
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
    """All eigenvalues of their covariance are equal; scikit-learn's whitening can lose some."""
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


def test_constant_row_is_not_amplified():
    rows = np.vstack([np.random.default_rng(0).laplace(size=(3, 200)), np.full(200, 7.0)])
    white = whiten(rows)
    assert np.isfinite(white).all()
    assert np.abs(white).max() < 100


# ---------------------------------------------------------------- sources and restarts
@pytest.mark.parametrize("seed", range(4))
def test_independent_sources_are_recovered(seed):
    sources, subspace = planted(seed)
    fit = fit_canica(subspace, 3, seed)
    assert fit.restarts[fit.chosen].converged
    assert matched(fit.maps, sources).min() > 0.95


def test_maps_span_the_centred_subspace_and_are_uncorrelated():
    _, subspace = planted(5)
    maps = fit_canica(subspace, 2, 0).maps
    np.testing.assert_allclose(np.corrcoef(maps), np.eye(5), atol=1e-6)
    white = whiten(subspace)
    np.testing.assert_allclose(maps @ np.linalg.pinv(white) @ white, maps, atol=1e-8)


def test_order_and_sign_of_the_subspaces_rows_do_not_matter():
    _, subspace = planted(6)
    maps = fit_canica(subspace, 5, 0).maps
    others = fit_canica(-subspace[[3, 1, 4, 0, 2]], 5, 0).maps
    assert matched(maps, others).min() > 0.999


def as_bytes(fit):
    """Return all fields of a fit as bytes."""
    restarts = [
        (one.seed, one.n_iter, one.converged, one.l1_norm, one.unmixing.tobytes())
        for one in fit.restarts
    ]
    return fit.maps.tobytes(), restarts, fit.chosen


def test_same_seed_gives_the_same_bytes_and_another_seed_other_starts():
    _, subspace = planted(7)
    fit = fit_canica(subspace, 4, 11)
    assert as_bytes(fit) == as_bytes(fit_canica(subspace.copy(), 4, 11))
    others = fit_canica(subspace, 4, 12)
    assert {one.seed for one in fit.restarts}.isdisjoint(one.seed for one in others.restarts)


@pytest.mark.parametrize("limit", [fastica.MAX_COMPONENTS_OF_MOMENTS, 3])
def test_the_number_of_threads_changes_no_byte(monkeypatch, limit):
    """With moments and with passes over the voxels, which fill more than three blocks."""
    monkeypatch.setattr(fastica, "MAX_COMPONENTS_OF_MOMENTS", limit)
    _, subspace = planted(12, n_sources=4, n_voxels=50_000)
    with threadpool_limits(limits=1):
        one = as_bytes(fit_canica(subspace, 3, 0))
        assert all(as_bytes(fit_canica(subspace, 3, 0, n_threads)) == one for n_threads in (2, 5))


def test_subspace_is_not_changed():
    _, subspace = planted(8)
    before = subspace.copy()
    fit_canica(subspace, 2, 0)
    np.testing.assert_array_equal(subspace, before)


def undecided(seed=9):
    """Return noise without sources, on which restarts differ."""
    return orthonormal(np.random.default_rng(seed).laplace(size=(6, 300)) ** 3)


def test_more_restarts_never_give_a_larger_norm():
    """The first of many restarts are the same as those of a fit with few."""
    norms = []
    for n_init in (1, 2, 4, 8):
        fit = fit_canica(undecided(), n_init, 0)
        norms.append(np.abs(fit.maps).sum())
        assert norms[-1] == pytest.approx(fit.restarts[fit.chosen].l1_norm, rel=1e-12)
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < norms[0]


@few
@given(seed=SEEDS)
def test_the_chosen_restart_is_the_one_whose_maps_are_sparsest_in_sum(seed):
    """White maps are sparser the smaller their L1 norm is; nilearn looks at the largest map."""
    subspace = undecided(seed)
    fit = fit_canica(subspace, 6, 0)
    white = whiten(subspace)
    norms = [np.abs(one.unmixing @ white).sum() for one in fit.restarts]
    np.testing.assert_allclose([one.l1_norm for one in fit.restarts], norms, rtol=1e-12)
    candidates = [
        index for index, one in enumerate(fit.restarts) if one.converged or not fit.n_converged
    ]
    assert norms[fit.chosen] == pytest.approx(min(norms[index] for index in candidates), rel=1e-12)
    assert fit.chosen in candidates


@few
@given(seed=SEEDS)
def test_every_restart_is_a_rotation_that_gives_maps(seed):
    """Its maps are uncorrelated and have unit variance; those of the chosen one are returned."""
    _, subspace = planted(seed)
    fit = fit_canica(subspace, 3, 0)
    white = whiten(subspace)
    for restart in fit.restarts:
        np.testing.assert_allclose(restart.unmixing @ restart.unmixing.T, np.eye(5), atol=1e-10)
        maps = restart.unmixing @ white
        np.testing.assert_allclose(maps @ maps.T / maps.shape[1], np.eye(5), atol=1e-6)
    np.testing.assert_array_equal(fit.maps, fit.restarts[fit.chosen].unmixing @ white)


def with_restarts(monkeypatch, ends):
    """Replace the results of restarts, and return data to be fitted."""
    upcoming = iter(ends)
    monkeypatch.setattr(canica, "_one_restart", lambda *_: next(upcoming))
    return np.random.default_rng(0).standard_normal((3, 50))


def test_converged_restart_is_preferred_to_one_of_smaller_norm(monkeypatch):
    white = with_restarts(
        monkeypatch,
        [
            fastica.Unmixing(scale * np.eye(3), 9, converged)
            for scale, converged in ((1.0, False), (3.0, True), (2.0, True))
        ],
    )
    fit = fit_canica(white, 3, 0)
    assert fit.chosen == 2
    assert [one.converged for one in fit.restarts] == [False, True, True]
    assert fit.n_converged == 2
    np.testing.assert_array_equal(fit.maps, whiten(white) * 2.0)


def test_a_restart_that_fails_is_recorded_and_not_chosen(monkeypatch):
    white = with_restarts(monkeypatch, [None, fastica.Unmixing(np.eye(3), 9, converged=True)])
    fit = fit_canica(white, 2, 0)
    assert fit.chosen == 1
    assert [one.converged for one in fit.restarts] == [False, True]
    assert fit.restarts[0].l1_norm == np.inf
    assert [one.unmixing is None for one in fit.restarts] == [True, False]
    assert len({one.seed for one in fit.restarts}) == 2


def test_an_iteration_that_fails_ends_only_its_own_restart(monkeypatch):
    _, subspace = planted(13)
    fastica_cube = canica.fastica_cube
    calls = []

    def fails_once(step, start):
        calls.append(start)
        if len(calls) == 2:
            raise np.linalg.LinAlgError("SVD did not converge")
        return fastica_cube(step, start)

    monkeypatch.setattr(canica, "fastica_cube", fails_once)
    fit = fit_canica(subspace, 3, 0)
    assert [one.unmixing is None for one in fit.restarts] == [False, True, False]
    assert fit.chosen != 1


def test_the_error_says_what_to_do_if_all_restarts_fail(monkeypatch):
    white = with_restarts(monkeypatch, [None, None])
    with pytest.raises(NidecompError, match="Use fewer components"):
        fit_canica(white, 2, 0)


def test_restarts_are_recorded_in_order():
    _, subspace = planted(10)
    fit = fit_canica(subspace, 5, 3)
    assert len({one.seed for one in fit.restarts}) == len(fit.restarts) == 5
    assert 0 <= fit.chosen < 5
    assert all(1 <= one.n_iter < fastica.MAX_ITERATIONS for one in fit.restarts if one.converged)
    # A restart depends on its own seed only: the first two of five are those of a fit with two.
    fewer = fit_canica(subspace, 2, 3)
    assert as_bytes(fewer)[1] == as_bytes(fit)[1][:2]


def test_restart_that_is_stopped_early_is_recorded_as_not_converged(monkeypatch):
    _, subspace = planted(11)
    monkeypatch.setattr(fastica, "MAX_ITERATIONS", 1)
    monkeypatch.setattr(orthogonal_ascent, "MAX_STEPS", 0)
    fit = fit_canica(subspace, 3, 0)
    assert [one.converged for one in fit.restarts] == [False] * 3
    assert [one.n_iter for one in fit.restarts] == [1] * 3
    assert fit.n_converged == 0
    assert np.isfinite(fit.maps).all()


def test_blocks_of_voxels_add_up(monkeypatch):
    subspace = undecided()
    whole = fit_canica(subspace, 4, 0)
    # `blocks` bound its default when it was defined: patching the constant has no effect.
    monkeypatch.setattr("nidecomp.core.linalg.blocks.__defaults__", (17,))
    blocks = fit_canica(subspace, 4, 0)
    assert blocks.chosen == whole.chosen
    for one, other in zip(whole.restarts, blocks.restarts, strict=True):
        assert other.l1_norm == pytest.approx(one.l1_norm, rel=1e-12)


# ---------------------------------------------------------------- nilearn as oracle
def simulated_group(n_participants=5, n_networks=6, n_volumes=60):
    """Return standardised runs of participants who share networks: images, mask and series."""
    rng = np.random.default_rng(2024)
    shape = (15, 16, 13)
    places = np.stack(np.indices(shape), axis=-1)
    middle = (np.array(shape) - 1) / 2
    mask = np.sum(((places - middle) / (middle + 0.3)) ** 2, axis=-1) <= 1
    voxels = places[mask]
    # Each network is two blobs that do not touch others, so that nilearn's fit converges.
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


def test_a_single_dense_map_does_not_decide_which_restart_is_chosen(monkeypatch):
    """All maps count: nilearn would take the first restart here, for its smaller largest map."""
    matrices = np.eye(3), np.diag([1.2, 0.6, 0.6])
    data = with_restarts(
        monkeypatch, [fastica.Unmixing(one, 9, converged=True) for one in matrices]
    )
    fit = fit_canica(data, 2, 0)
    largest = [np.abs(one @ whiten(data)).sum(axis=1).max() for one in matrices]
    assert largest[0] < largest[1]
    assert fit.restarts[0].l1_norm > fit.restarts[1].l1_norm
    assert fit.chosen == 1


def test_maps_are_those_of_nilearns_canica():
    """Its restarts all end at the same maps here, so that either rule chooses them."""
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

    stream = SubspaceStream(series[0].shape[1], 30)
    for run in series:
        rows = principal_components(run, run.astype(float) @ run.T.astype(float), 6).rows
        stream.add(weighted_rows(rows, 1.0, "unit"))
    fit = fit_canica(stream.finish().orthonormal(6), 5, 0)
    norms = [one.l1_norm for one in fit.restarts]
    np.testing.assert_allclose(norms, norms[0], rtol=1e-4)
    for maps in (
        fit.maps,
        nidecomp.CanICA(6, n_init=5, pca_weighting="unit").fit(series).components_,
    ):
        similarity = matched(maps, theirs)
        assert np.median(similarity) >= 0.99
        assert similarity.min() > 0.95
