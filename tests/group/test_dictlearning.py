"""Dictionary learning: sparsity, seeds, empty maps, and nilearn's estimator as oracle."""

import nibabel as nib
import numpy as np
import pytest
from nilearn.decomposition import DictLearning
from scipy.optimize import linear_sum_assignment

from nidecomp.group.canica import fit_canica
from nidecomp.group.dictlearning import fit_dictlearning
from nidecomp.group.subspace import leading_subspace, stack_runs
from nidecomp.signal.reduce import reduce_rows

N_NETWORKS = 6


def matched(maps, others):
    """Pair the maps of two sets one to one; the absolute correlation of each pair."""
    n = len(maps)
    table = np.abs(np.corrcoef(maps, others)[:n, n:])
    return table[linear_sum_assignment(-table)]


class Group:
    """Standardised runs of five participants who share six networks, and CanICA's maps of them."""

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
            rows.append(reduce_rows(run, N_NETWORKS)[0])
        weights = [1.0] * len(rows)
        self.stack = stack_runs(rows, weights, N_NETWORKS, canonical=False)
        canonical = stack_runs(rows, weights, N_NETWORKS, canonical=True)
        self.start, _, _ = fit_canica(leading_subspace(canonical, N_NETWORKS), 3, 0)

    def image_of(self, maps):
        data = np.zeros((*self.mask.shape, len(maps)), dtype=np.float32)
        data[np.asarray(self.mask.dataobj) > 0] = maps.T
        return nib.Nifti1Image(data, self.mask.affine)


@pytest.fixture(scope="module")
def group():
    return Group()


def fit(group, *, alpha=5.0, batch_size=20, seed=0):
    return fit_dictlearning(group.stack, group.start, alpha=alpha, batch_size=batch_size, seed=seed)


# In float32, as nilearn calls it, scikit-learn's lasso does not reach its tolerance.
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


def test_planted_networks_are_found(group):
    result = fit(group)
    similarity = matched(result.maps, group.networks)
    # Some of the planted networks overlap, which sparse maps of their mixtures cannot show.
    assert np.median(similarity) > 0.85
    assert similarity.min() > 0.6
    assert result.n_empty == 0


def test_same_seed_gives_the_same_bytes(group):
    assert fit(group, seed=3).maps.tobytes() == fit(group, seed=3).maps.tobytes()


def test_inputs_are_not_changed(group):
    stack, start = group.stack.copy(), group.start.copy()
    fit(group)
    np.testing.assert_array_equal(group.stack, stack)
    np.testing.assert_array_equal(group.start, start)


def test_stronger_penalty_gives_sparser_maps(group):
    filled = [np.count_nonzero(fit(group, alpha=alpha).maps) for alpha in (0.5, 2.0, 5.0, 10.0)]
    assert filled == sorted(filled, reverse=True)
    assert filled[-1] < filled[0]


def test_signs_and_the_common_scale_of_the_start_do_not_matter(group):
    gains = 16.0 * np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])[:, None]
    other = fit_dictlearning(group.stack, group.start * gains, alpha=5.0, batch_size=20, seed=0)
    np.testing.assert_allclose(np.abs(other.maps), np.abs(fit(group).maps), atol=1e-6)


def test_penalty_scales_with_the_data(group):
    """Twice the data under twice the penalty have twice the maps."""
    doubled = fit_dictlearning(2 * group.stack, group.start, alpha=10.0, batch_size=20, seed=0)
    np.testing.assert_allclose(doubled.maps, 2 * fit(group).maps, atol=1e-2)


def test_empty_maps_are_counted_and_kept(group):
    result = fit(group, alpha=1e6)
    assert result.n_empty == N_NETWORKS
    assert result.maps.shape == group.start.shape
    assert not result.maps.any()


def test_number_of_empty_maps_is_that_of_rows_without_a_value(group):
    counts = set()
    for alpha in (5.0, 20.0, 25.0, 30.0, 35.0):
        result = fit(group, alpha=alpha)
        assert result.n_empty == sum(not one.any() for one in result.maps)
        counts.add(result.n_empty)
    assert len(counts) > 1


def test_fit_that_uses_up_its_batches_has_not_converged(group):
    """With one batch of all voxels there is one iteration, too few for anything to settle."""
    n_voxels = group.start.shape[1]
    stopped = fit(group, batch_size=n_voxels)
    assert stopped.n_steps == 1
    assert not stopped.converged
    settled = fit(group)
    assert settled.converged
    assert settled.n_steps < (-(-n_voxels // 20)) ** 2


def test_start_map_that_is_empty_does_no_harm(group):
    start = group.start.copy()
    start[2] = 0.0
    result = fit_dictlearning(group.stack, start, alpha=5.0, batch_size=20, seed=0)
    assert np.isfinite(result.maps).all()
