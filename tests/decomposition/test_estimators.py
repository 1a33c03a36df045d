"""The estimators follow scikit-learn's conventions and find simulated sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import matched_correlations

from nidecomp import CanICA, DictLearning
from nidecomp.decomposition.array_input import centred

N_SOURCES, N_FEATURES = 4, 3000
# scikit-learn's checks fit them to data with two features, or without any networks.
ESTIMATORS = (CanICA(n_components=1, n_init=2), DictLearning(n_components=1, n_init=2, alpha=1e-3))


def planted(seed: int = 0) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Sparse sources, and runs of three participants that mix them; the last has two runs."""
    rng = np.random.default_rng(seed)
    sources = rng.laplace(size=(N_SOURCES, N_FEATURES))
    sources *= rng.random(sources.shape) < 0.15
    runs = []
    for _ in range(4):
        mixing = rng.normal(size=(60, N_SOURCES))
        runs.append(mixing @ sources + 0.3 * rng.normal(size=(60, N_FEATURES)))
    return sources, runs


@pytest.mark.parametrize(
    "estimator",
    [
        make(N_SOURCES, pca_weighting=weighting)
        for make in (CanICA, DictLearning)
        for weighting in ("sqrt", "unit")
    ],
    ids=repr,
)
def test_simulated_sources_are_found(estimator: CanICA | DictLearning) -> None:
    sources, runs = planted()
    components = clone(estimator).fit(runs).components_
    assert components.shape == (N_SOURCES, N_FEATURES)
    assert matched_correlations(sources, components).min() > 0.95


# None is left out; scikit-learn itself skips what needs SCIPY_ARRAY_API.
@parametrize_with_checks(list(ESTIMATORS))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks_pass(estimator: object, check: Callable[[object], None]) -> None:
    check(estimator)


def test_one_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        CanICA(1).fit(np.ones((10, 1)))


def test_fewer_dimensions_than_components_are_refused_with_the_numbers() -> None:
    _, runs = planted()
    with pytest.raises(ValueError, match=r"Run 1 \(n_samples=3\) has 2 dimensions"):
        CanICA(N_SOURCES).fit([runs[0], runs[1][:3]])


def test_a_run_with_fewer_dimensions_than_two_for_each_component_is_used_with_all() -> None:
    sources, runs = planted()
    short = runs[1][: N_SOURCES + 3]
    model = CanICA(N_SOURCES).fit([runs[0], short, *runs[2:]])
    assert matched_correlations(sources, model.components_).min() > 0.95
    # Nothing of it is left out: its six dimensions are one after the other in the subspace.
    rows = model.fit_report_["Subspace"]["Rows"]
    assert rows == 3 * 2 * N_SOURCES + N_SOURCES + 2


def test_explained_variance_is_that_in_the_rows_that_were_fitted() -> None:
    """Projected on the leading eight principal components of each run, for four components."""
    _, runs = planted()
    model = CanICA(N_SOURCES).fit(runs)
    maps, shares = model.components_.astype(np.float64), []
    for run in runs:
        _, S, Vt = np.linalg.svd(run - run.mean(axis=0), full_matrices=False)
        rows = S[: 2 * N_SOURCES, None] * Vt[: 2 * N_SOURCES]
        alone = np.sum((rows @ maps.T) ** 2, axis=0) / np.sum(maps**2, axis=1)
        shares.append(alone / np.sum(S**2))
    np.testing.assert_allclose(model.explained_variance_ratio_, np.mean(shares, axis=0), rtol=1e-4)


@pytest.mark.parametrize(("weighting", "n_rows", "power"), [("sqrt", 8, 0.5), ("unit", 4, 0.0)])
def test_maps_span_the_leading_directions_of_all_weighted_rows(
    weighting: str, n_rows: int, power: float
) -> None:
    """numpy decomposes the rows of all runs at once. One participant has two runs."""
    _, runs = planted()
    labels = ["a", "b", "c", "c"]
    maps = CanICA(N_SOURCES, pca_weighting=weighting).fit(runs, groups=labels).components_
    rows = []
    for run, label in zip(runs, labels, strict=True):
        _, S, Vt = np.linalg.svd(run - run.mean(axis=0), full_matrices=False)
        own = S[:n_rows, None] ** power * Vt[:n_rows]
        level = 1.0 if weighting == "unit" else 1 / np.linalg.norm(own)
        rows.append(own * level / np.sqrt(labels.count(label)))
    leading = np.linalg.svd(np.concatenate(rows), full_matrices=False)[2][:N_SOURCES]
    leading = leading - leading.mean(axis=1, keepdims=True)
    cosines = np.cos(subspace_angles(maps.astype(np.float64).T, leading.T))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-6)


# ---------------------------------------------------------------- what is taken, and what is not
def test_all_methods_take_a_run_or_a_list_of_runs() -> None:
    _, runs = planted()
    model = CanICA(N_SOURCES, n_init=2)
    courses = model.fit_transform(runs)
    assert [one.shape for one in courses] == [(60, N_SOURCES)] * 4
    np.testing.assert_array_equal(model.transform(runs[1]), courses[1])
    back = model.inverse_transform(courses)
    np.testing.assert_array_equal(back[1], model.inverse_transform(courses[1]))
    assert model.score(runs) == pytest.approx(np.mean([model.score(run) for run in runs]))
    assert model.fit_transform(runs[0]).shape == (60, N_SOURCES)
    whole = make_pipeline(StandardScaler(), CanICA(N_SOURCES, n_init=2))
    assert whole.fit_transform(runs[0]).shape == (60, N_SOURCES)
    np.testing.assert_array_equal(make_pipeline(model).fit_transform(runs)[1], courses[1])


IMAGE = nib.Nifti1Image(np.zeros((3, 3, 3, 5), np.float32), np.eye(4))
RUN = np.random.default_rng(0).normal(size=(20, 50))
A_MASKER = "CanICA takes arrays .* use a masker such as nilearn's NiftiMasker .*nidecomp.decompose"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (IMAGE, TypeError, f"X is an image.*|{A_MASKER}"),
        ([RUN, IMAGE], TypeError, "Run 1 of X is an image: use a masker"),
        ("bold.nii.gz", TypeError, "X is 'bold.nii.gz': use a masker"),
        ([Path("bold.nii.gz")], TypeError, r"Run 0 of X is PosixPath\('bold.nii.gz'\): use a"),
        (iter([RUN]), TypeError, "X is of type list_iterator: make a list of it"),
        ({"sub-01": RUN}, TypeError, "X is of type dict"),
        (None, TypeError, "X is None"),
        ([], ValueError, "X is an empty list: CanICA needs at least one run"),
        (np.stack([RUN, RUN]), ValueError, r"shape \(2, 20, 50\): give several runs as a list"),
        (np.array([["a", "b"]] * 3), ValueError, r"X has text in place of numbers: \['a'\]"),
        ([RUN, RUN.astype(str)], ValueError, "Run 1 of X has text in place of numbers"),
        ([RUN, RUN[:, :-1]], ValueError, r"Run 1 of X.* (49 features|\(20, 49\), run 0 has)"),
        ([RUN, np.where(RUN == RUN[2, 3], np.nan, RUN)], ValueError, "Run 1 .* in 1 of 50 feature"),
        ([RUN, RUN * 1e300], ValueError, "Run 1 of X has NaN or infinite values in 50 of 50"),
        ([RUN, np.full_like(RUN, 0.1)], ValueError, "Run 1 of X is constant"),
        ([RUN, RUN[:1]], ValueError, "Run 1 of X: Found array with 1 sample"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_run_is_refused_in_a_sentence(
    given: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        CanICA(2).fit(given)
    model = CanICA(2, n_init=1).fit(RUN)
    # What single precision or a fit cannot have, time courses may come from.
    if not any(word in said for word in ("constant", "1 sample", "50 of 50")):
        with pytest.raises(error, match=said):
            model.transform(given)
        with pytest.raises(error, match=said):
            model.score(given)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"n_components": "3"}, "n_components='3' must be a number, not text"),
        ({"n_components": 2.5}, "n_components=2.5 must be a whole number of at least 1"),
        ({"n_components": 51}, "n_components=51 must be between 1 and n_features=50"),
        ({"n_init": 0}, "n_init=0 must be a whole number of at least 1"),
        ({"n_threads": 0}, "n_threads=0 must be a whole number"),
        ({"pca_weighting": "cubic"}, "pca_weighting='cubic' must be one of sqrt, unit"),
        ({"map_support": 0}, "map_support=0 must be a number above 0 and at most 1"),
        ({"alpha": -1.0}, "alpha=-1.0 must be a number above 0"),
        ({"batch_size": None}, "batch_size=None must be a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_are_refused_with_what_they_must_be(
    parameters: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        DictLearning(**parameters).fit(RUN)


def test_tables_are_made_of_one_run_at_a_time() -> None:
    model = CanICA(2, n_init=1).fit(RUN)
    with config_context(transform_output="pandas"):
        assert list(model.transform(RUN).columns) == ["canica0", "canica1"]
        with pytest.raises(ValueError, match="transform takes one run at a time"):
            model.transform([RUN])


def test_time_courses_that_do_not_fit_the_components_are_refused() -> None:
    with pytest.raises(ValueError, match="X has 3 columns, but there are 2 components"):
        CanICA(2, n_init=1).fit(RUN).inverse_transform(np.ones((5, 3)))


def test_runs_far_from_zero_are_centred_exactly() -> None:
    run = (RUN + 1e4).astype(np.float32).repeat(100, axis=0)
    assert np.abs(centred(run).mean(axis=0, dtype=np.float64)).max() < 1e-3


# ---------------------------------------------------------------- score
def test_the_score_is_nilearns() -> None:
    """Of one run; maps of CanICA have no mean, so that nilearn's intercept changes nothing."""
    from nilearn.decomposition._base import _explained_variance

    _, runs = planted()
    model = CanICA(N_SOURCES, n_init=2).fit(runs[:3])
    run = runs[3] - runs[3].mean(axis=0)
    expected = _explained_variance(run, model.components_.astype(float), per_component=False)
    assert model.score(runs[3] + 5) == pytest.approx(expected, rel=1e-5)


def test_a_grid_search_over_runs_finds_the_number_of_components() -> None:
    _, runs = planted()
    search = GridSearchCV(CanICA(n_init=1), {"n_components": [1, 2, N_SOURCES]}, cv=2).fit(runs)
    assert search.best_params_ == {"n_components": N_SOURCES}
    assert (np.diff(search.cv_results_["mean_test_score"]) > 0.05).all()


# ---------------------------------------------------------------- participants
def test_every_run_needs_a_label_of_its_participant() -> None:
    _, runs = planted()
    with pytest.raises(ValueError, match="groups has 1 label, X has 4 runs"):
        CanICA(N_SOURCES).fit(runs, groups=["01"])


def test_a_participant_whose_run_is_given_twice_has_no_larger_weight() -> None:
    _, runs = planted()
    once = CanICA(N_SOURCES).fit(runs, groups=list("abcd"))
    twice = CanICA(N_SOURCES).fit([*runs, runs[3]], groups=list("abcdd"))
    alone = CanICA(N_SOURCES).fit([*runs, runs[3]])
    # The tolerance of the iteration changes maps less than a different weight does.
    same = 1 - matched_correlations(once.components_, twice.components_).min()
    other = 1 - matched_correlations(once.components_, alone.components_).min()
    assert same < 1e-4 < other


@settings(max_examples=5, deadline=None)
@given(n_threads=st.integers(2, 4), seed=st.integers(0, 1000))
def test_threads_change_no_byte(n_threads: int, seed: int) -> None:
    _, runs = planted(seed)
    one, several = (
        DictLearning(N_SOURCES, n_threads=n, random_state=seed).fit(runs).components_
        for n in (1, n_threads)
    )
    np.testing.assert_array_equal(one, several)


def test_time_courses_are_recovered_from_their_inverse_transform() -> None:
    _, runs = planted()
    model = CanICA(N_SOURCES).fit(runs)
    courses = model.transform(runs[0])
    back = model.transform(model.inverse_transform(courses))
    np.testing.assert_allclose(back, courses, rtol=1e-3, atol=1e-3)
    assert list(model.get_feature_names_out()) == [f"canica{n}" for n in range(N_SOURCES)]


def test_transform_before_fit_is_an_error() -> None:
    with pytest.raises(NotFittedError):
        CanICA().transform(np.ones((3, 4)))
