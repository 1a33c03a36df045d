"""The estimators follow scikit-learn's conventions and find simulated sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import estimator_checks_generator
from support import matched_correlations

import nidecomp
from nidecomp import CanICA, DictLearning

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


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{type(estimator).__name__}-{check.func.__name__}")
        for estimator in ESTIMATORS
        for estimator, check in estimator_checks_generator(estimator, mark="skip")
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks_pass(estimator: object, check: object) -> None:
    if check.func.__name__ == "check_fit2d_1feature":  # type: ignore[attr-defined]
        pytest.skip("one feature has no maps: refused by name, in a test below")
    check(estimator)  # type: ignore[operator]


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


def test_an_unknown_weighting_is_refused_with_those_there_are() -> None:
    _, runs = planted()
    for make in (CanICA, DictLearning):
        with pytest.raises(ValueError, match="pca_weighting='cubic' must be 'sqrt' or 'unit'"):
            make(N_SOURCES, pca_weighting="cubic").fit(runs)


def test_runs_need_the_same_features() -> None:
    _, runs = planted()
    with pytest.raises(ValueError, match="features"):
        CanICA(N_SOURCES).fit([runs[0], runs[1][:, :-1]])


def test_every_run_needs_a_label_of_its_participant() -> None:
    _, runs = planted()
    with pytest.raises(ValueError, match="groups has 1 labels, X has 4 runs"):
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


@settings(max_examples=10, deadline=None)
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


def test_an_unknown_name_in_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ICA'"):
        nidecomp.ICA  # noqa: B018
