"""Dictionary learning: agreement with scikit-learn and nilearn, sparsity, support, seeds."""

import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.decomposition import DictLearning
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from nidecomp.decomposition.dictlearning import (
    first_dictionary,
    fit_dictlearning,
)
from nidecomp.decomposition.sparsity_penalty import alpha_for_support

N_NETWORKS = 6


def matched(maps, others):
    """Match the maps of two sets one to one and return the absolute correlation of each pair."""
    n = len(maps)
    table = np.abs(np.corrcoef(maps, others)[:n, n:])
    return table[linear_sum_assignment(-table)]


class Group:
    """Standardised runs of five participants who share six networks, and noisy maps of these."""

    def __init__(self):
        rng = np.random.default_rng(7)
        shape = (15, 16, 13)
        places = np.stack(np.indices(shape), axis=-1)
        middle = (np.array(shape) - 1) / 2
        mask = np.sum(((places - middle) / (middle + 0.3)) ** 2, axis=-1) <= 1
        voxels = places[mask]
        self.networks = np.zeros((N_NETWORKS, len(voxels)))
        for index in np.repeat(range(N_NETWORKS), 2):
            distance = np.linalg.norm(voxels - rng.choice(voxels), axis=1)
            self.networks[index] += np.exp(-(distance**2) / 8)
        affine = np.eye(4) * [3, 3, 3, 1]
        self.mask = nib.Nifti1Image(mask.astype(np.uint8), affine)
        self.images, rows = [], []
        for _ in range(5):
            run = rng.standard_normal((60, N_NETWORKS)) @ self.networks
            run += 0.3 * rng.standard_normal(run.shape)
            run = ((run - run.mean(axis=0)) / run.std(axis=0, ddof=1)).astype(np.float32)
            data = np.zeros((*shape, 60), dtype=np.float32)
            data[mask] = run.T
            self.images.append(nib.Nifti1Image(data, affine))
            _, S, Vt = np.linalg.svd(run, full_matrices=False)
            rows.append(S[:N_NETWORKS, None] * Vt[:N_NETWORKS])
        self.rows = np.concatenate(rows).astype(np.float32)
        self.start = self.networks + 0.1 * rng.standard_normal(self.networks.shape)
        self.dictionary = first_dictionary(self.start, self.rows)

    def image_of(self, maps):
        data = np.zeros((*self.mask.shape, len(maps)), dtype=np.float32)
        data[np.asarray(self.mask.dataobj) > 0] = maps.T
        return nib.Nifti1Image(data, self.mask.affine)


@pytest.fixture(scope="module")
def group():
    return Group()


def fit(group, *, rows=None, dictionary=None, **other):
    settings = {"alpha": 5.0, "batch_size": 20, "n_epochs": 100, "seed": 0} | other
    return fit_dictlearning(
        group.rows if rows is None else rows,
        group.dictionary if dictionary is None else dictionary,
        **settings,
    )


def alpha_for(group, support, *, rows=None, dictionary=None, **other):
    settings = {"batch_size": 20, "n_epochs": 100, "seed": 0} | other
    return alpha_for_support(
        group.rows if rows is None else rows,
        group.dictionary if dictionary is None else dictionary,
        support=support,
        **settings,
    )


def support_of(result):
    return np.mean(result.maps != 0)


# ---------------------------------------------------------------- scikit-learn and nilearn
def scikit_learns(rows, dictionary, *, alpha, batch_size, n_epochs, seed):
    """Return codes (n_components, n_voxels), dictionary and number of steps of scikit-learn.

    In float64, because scikit-learn's lasso does not reach its tolerance in float32.
    """
    estimator = MiniBatchDictionaryLearning(
        n_components=len(dictionary),
        alpha=alpha,
        batch_size=batch_size,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        transform_alpha=alpha,
        dict_init=dictionary.copy(),
        max_iter=n_epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        codes = estimator.fit_transform(rows.T.astype(np.float64))
    return codes.T, estimator.components_, estimator.n_steps_


@pytest.mark.parametrize(
    ("n_voxels", "n_rows", "n_atoms", "batch_size", "n_epochs", "alpha"),
    [
        pytest.param(1000, 30, 8, 20, 100, 1.0, id="until it settles"),
        pytest.param(990, 30, 8, 20, 2, 1.0, id="last batch smaller, batches used up"),
        pytest.param(400, 12, 5, 1, 3, 0.5, id="one voxel a batch"),
        pytest.param(50, 12, 5, 64, 30, 0.5, id="fewer voxels than a batch"),
        pytest.param(300, 12, 1, 20, 10, 0.5, id="one component"),
        pytest.param(500, 40, 40, 25, 10, 0.5, id="as many components as rows"),
    ],
)
def test_dictionary_and_maps_are_scikit_learns(
    n_voxels, n_rows, n_atoms, batch_size, n_epochs, alpha
):
    rng = np.random.default_rng(n_voxels)
    codes = rng.standard_normal((n_atoms, n_voxels)) * (rng.random((n_atoms, n_voxels)) < 0.2)
    rows = rng.standard_normal((n_rows, n_atoms)) @ codes
    rows = (rows + 0.3 * rng.standard_normal(rows.shape)).astype(np.float32)
    start = first_dictionary(codes + 0.1 * rng.standard_normal(codes.shape), rows)
    settings = {"alpha": alpha, "batch_size": batch_size, "n_epochs": n_epochs, "seed": 3}
    ours = fit_dictlearning(rows, start, **settings)
    maps, dictionary, n_steps = scikit_learns(rows, start, **settings)
    assert ours.n_steps == n_steps
    np.testing.assert_allclose(ours.dictionary, dictionary, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.maps, maps, rtol=0, atol=1e-4 * np.abs(maps).max())


def test_unused_atoms_are_replaced_as_in_scikit_learn(group):
    """The generator draws the same samples and noise, both within a step and at its start."""
    start = group.dictionary.copy()
    start[[0, 3]] *= 1e-3
    settings = {"alpha": 12.0, "batch_size": 20, "n_epochs": 100, "seed": 1}
    ours = fit(group, dictionary=start, **settings)
    maps, dictionary, n_steps = scikit_learns(group.rows, start, **settings)
    assert ours.n_reseeded >= 2
    assert ours.n_steps == n_steps
    np.testing.assert_allclose(ours.dictionary, dictionary, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.maps, maps, rtol=0, atol=1e-4 * np.abs(maps).max())


# scikit-learn's lasso does not reach its tolerance in float32, in which nilearn calls it.
@pytest.mark.filterwarnings("ignore:Objective did not converge")
def test_maps_are_those_of_nilearns_dictionary_learning(group):
    estimator = DictLearning(
        n_components=N_NETWORKS,
        mask=group.mask,
        smoothing_fwhm=None,
        standardize=None,
        detrend=False,
        alpha=5.0,
        batch_size=20,
        dict_init=group.image_of(group.start),
        random_state=0,
    ).fit(group.images)
    theirs = estimator.masker_.transform(estimator.components_img_)
    similarity = matched(fit(group).maps, theirs)
    assert np.median(similarity) >= 0.99
    assert similarity.min() > 0.95


# ---------------------------------------------------------------- properties of every fit
def test_simulated_networks_are_found(group):
    result = fit(group)
    similarity = matched(result.maps, group.networks)
    # Some of the simulated networks overlap, which sparse maps of their mixtures cannot show.
    assert np.median(similarity) > 0.85
    assert similarity.min() > 0.6
    assert result.n_empty == 0
    assert result.lasso_converged


def test_same_seed_gives_the_same_bytes(group):
    assert fit(group, seed=3).maps.tobytes() == fit(group, seed=3).maps.tobytes()


def test_number_of_threads_changes_no_byte(group):
    rows = np.tile(group.rows, 4)
    one, several = (fit(group, rows=rows, n_threads=n) for n in (1, 3))
    assert one.maps.tobytes() == several.maps.tobytes()
    assert alpha_for(group, 0.1, rows=rows) == alpha_for(group, 0.1, rows=rows, n_threads=3)


def test_inputs_are_not_changed(group):
    rows, dictionary = group.rows.copy(), group.dictionary.copy()
    fit(group)
    alpha_for(group, 0.1)
    np.testing.assert_array_equal(group.rows, rows)
    np.testing.assert_array_equal(group.dictionary, dictionary)


def test_rotating_the_rows_changes_nothing(group):
    """The rows of the group's subspace therefore represent those of all runs."""
    _, vectors = np.linalg.eigh(group.rows @ group.rows.T)
    rotated = (vectors.T @ group.rows).astype(np.float32)
    other = fit(group, rows=rotated, dictionary=first_dictionary(group.start, rotated))
    np.testing.assert_allclose(other.maps, fit(group).maps, rtol=0, atol=1e-3)


def test_signs_and_scales_of_the_first_maps_do_not_matter(group):
    gains = np.array([16.0, -1e-3, 1.0, 30.0, -1.0, -5.0])[:, None]
    other = fit(group, dictionary=first_dictionary(group.start * gains, group.rows))
    np.testing.assert_allclose(np.abs(other.maps), np.abs(fit(group).maps), rtol=0, atol=1e-5)


def test_first_atoms_have_one_length(group):
    norms = np.linalg.norm(group.dictionary, axis=1)
    np.testing.assert_allclose(norms, norms[0])


def test_atoms_are_not_longer_than_one(group):
    assert np.linalg.norm(fit(group).dictionary, axis=1).max() <= 1 + 1e-12


def test_penalty_scales_with_the_data(group):
    """Twice the values with twice the penalty give twice the maps."""
    doubled = fit(group, rows=2 * group.rows, alpha=10.0)
    np.testing.assert_allclose(doubled.maps, 2 * fit(group).maps, rtol=0, atol=1e-4)


def test_stronger_penalty_gives_sparser_maps(group):
    filled = [support_of(fit(group, alpha=alpha)) for alpha in (0.5, 2.0, 5.0, 10.0)]
    assert filled == sorted(filled, reverse=True)
    assert filled[-1] < filled[0]


def test_a_fit_that_uses_all_its_batches_has_not_converged(group):
    stopped = fit(group, batch_size=group.rows.shape[1], n_epochs=1)
    assert stopped.n_steps == 1
    assert not stopped.converged
    settled = fit(group)
    assert settled.converged
    assert settled.n_steps < 100 * group.rows.shape[1] / 20


def test_maps_that_are_zero_everywhere_are_counted_as_empty(group):
    counts = set()
    for alpha in (5.0, 15.7, 15.8, 15.9, 16.0, 1e6):
        result = fit(group, alpha=alpha)
        assert result.n_empty == sum(not one.any() for one in result.maps)
        counts.add(result.n_empty)
    assert {0, N_NETWORKS} < counts


def test_first_map_that_is_empty_is_replaced(group):
    start = group.start.copy()
    start[2] = 0.0
    result = fit(group, dictionary=first_dictionary(start, group.rows))
    assert np.isfinite(result.maps).all()
    assert result.n_reseeded >= 1
    assert result.n_empty == 0


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e12])
def test_data_of_any_scale_give_finite_maps(group, scale):
    rows = group.rows * np.float32(scale)
    result = fit(group, rows=rows, alpha=5.0 * scale, n_epochs=1)
    assert np.isfinite(result.maps).all()


def test_more_components_than_rows_give_finite_maps(group):
    rows = group.rows[:4]
    result = fit(group, rows=rows, dictionary=first_dictionary(group.start, rows))
    assert result.maps.shape == group.start.shape
    assert np.isfinite(result.maps).all()


def test_voxels_without_data_are_zero_in_all_maps(group):
    rows = group.rows.copy()
    rows[:, :50] = 0.0
    assert not fit(group, rows=rows).maps[:, :50].any()


# ---------------------------------------------------------------- the penalty for a support
@pytest.mark.parametrize("support", [0.03, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 5])
def test_maps_cover_the_wanted_share_of_voxels(group, support, seed):
    result = fit(group, alpha=alpha_for(group, support, seed=seed), seed=seed)
    assert support_of(result) == pytest.approx(support, rel=0.05)


def test_the_wanted_support_is_reached_if_the_search_codes_only_some_voxels():
    """There are more voxels than the search codes."""
    rng = np.random.default_rng(0)
    maps = rng.laplace(size=(5, 50_000)) * (rng.random((5, 50_000)) < 0.3)
    rows = rng.standard_normal((20, 5)) @ maps + 0.5 * rng.standard_normal((20, 50_000))
    rows = rows.astype(np.float32)
    settings = {"batch_size": 20, "n_epochs": 5, "seed": 0}
    start = first_dictionary(maps, rows)
    alpha = alpha_for_support(rows, start, support=0.2, **settings)
    result = fit_dictlearning(rows, start, alpha=alpha, **settings)
    assert support_of(result) == pytest.approx(0.2, rel=0.05)


def test_penalty_for_a_support_scales_with_the_data(group):
    scaled = alpha_for(group, 0.1, rows=4 * group.rows)
    assert scaled == pytest.approx(4 * alpha_for(group, 0.1), rel=1e-6)


def test_the_same_runs_twice_have_the_same_maps_with_a_larger_penalty(group):
    """The norm of the data increases by √2: with a fixed penalty, maps would be less sparse."""
    rows = np.concatenate([group.rows, group.rows])
    dictionary = first_dictionary(group.start, rows)
    once, twice = alpha_for(group, 0.1), alpha_for(group, 0.1, rows=rows, dictionary=dictionary)
    assert twice == pytest.approx(np.sqrt(2) * once, rel=1e-3)
    maps = fit(group, rows=rows, dictionary=dictionary, alpha=twice).maps
    np.testing.assert_allclose(maps / np.sqrt(2), fit(group, alpha=once).maps, rtol=0, atol=1e-2)


def test_a_support_out_of_reach_gives_the_nearest_one_and_a_warning(group, caplog):
    """With half of the voxels empty, no penalty gives maps that cover more than the other half."""
    rows = group.rows.copy()
    rows[:, ::2] = 0.0
    alpha = alpha_for(group, 0.9, rows=rows)
    assert support_of(fit(group, rows=rows, alpha=alpha)) == pytest.approx(0.5, rel=0.01)
    assert "cover 0.9 of the voxels" in caplog.text
    assert "the nearest is 0.5" in caplog.text


def test_a_support_within_reach_gives_no_warning(group, caplog):
    alpha_for(group, 0.1)
    assert not caplog.records


def test_the_search_ends_on_empty_data(group, caplog):
    alpha = alpha_for(group, 0.2, rows=np.zeros_like(group.rows))
    assert np.isfinite(alpha)
    assert "the nearest is 0" in caplog.text
