"""Connectomes of runs, and the mean over participants."""

from __future__ import annotations

import numpy as np
import pytest
from nilearn.connectome import ConnectivityMeasure
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from nidecomp.config.science import CONNECTOMES, Connectome
from nidecomp.projection.connectome import LARGEST_R, connectomes

N_VOLUMES, K = 200, 4
WHOSE = ("01", "01", "02", "03")


def courses(seed: int = 0, n_runs: int = 4) -> list[NDArray[np.float64]]:
    """Return time courses of runs in which 0 drives 1, and 1 drives 2."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(n_runs):
        values = rng.normal(size=(N_VOLUMES, K))
        values[:, 1] += 1.5 * values[:, 0]
        values[:, 2] += 1.5 * values[:, 1]
        runs.append(values * [1, 10, 0.1, 5] + 3)
    return runs


def found(kind: Connectome, runs: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], ...]:
    result = connectomes(runs, WHOSE[: len(runs)], kind)
    assert result is not None
    return (*result.runs, result.group)


def test_correlations_are_pearsons() -> None:
    runs = courses()
    for matrix, run in zip(found("correlation", runs), runs, strict=False):
        np.testing.assert_allclose(matrix, np.corrcoef(run.T), atol=1e-12)


def test_partial_correlations_remove_indirect_ones() -> None:
    """0 and 2 are connected through 1 only. Shrinkage changes the other correlations little."""
    for matrix, run in zip(found("partial", courses()), courses(), strict=False):
        precision = np.linalg.inv(np.corrcoef(run.T))
        deviation = np.sqrt(np.diag(precision))
        expected = -precision / np.outer(deviation, deviation)
        np.fill_diagonal(expected, 1)
        np.testing.assert_allclose(matrix, expected, atol=0.15)
        assert abs(matrix[0, 2]) < 0.2 < matrix[0, 1]


def test_tangent_connectomes_are_deviations_from_the_group() -> None:
    same = courses(n_runs=1) * 3
    *runs, group = found("tangent", same)
    for matrix in runs:
        np.testing.assert_allclose(matrix, 0, atol=1e-8)
    np.testing.assert_allclose(group, np.corrcoef(same[0].T), atol=0.1)
    different = courses()
    rng = np.random.default_rng(1)
    different[3] = rng.normal(size=(N_VOLUMES, K))
    sizes = [np.linalg.norm(matrix) for matrix in found("tangent", different)[:4]]
    assert np.argmax(sizes) == 3


def test_a_single_run_has_no_tangent_connectome() -> None:
    assert connectomes(courses(n_runs=1), WHOSE[:1], "tangent") is None


@pytest.mark.parametrize("kind", ["correlation", "partial"])
def test_the_group_connectome_is_the_mean_over_participants_not_over_runs(kind: Connectome) -> None:
    *runs, group = found(kind, courses())
    with np.errstate(divide="ignore"):
        z = [np.arctanh(run) for run in runs]
    expected = np.tanh(np.mean([(z[0] + z[1]) / 2, z[2], z[3]], axis=0))
    between = ~np.eye(K, dtype=bool)
    np.testing.assert_allclose(group[between], expected[between])
    np.testing.assert_array_equal(np.diag(group), 1)


def test_components_that_are_the_same_in_a_run_do_not_determine_the_group() -> None:
    runs = courses()
    runs[3][:, 1] = runs[3][:, 0]
    runs[2][:, 3] = -runs[2][:, 2]
    *own, group = found("correlation", runs)
    assert own[3][0, 1] == pytest.approx(1)
    assert np.isfinite(group).all()
    assert group[0, 1] < LARGEST_R
    assert -LARGEST_R < group[2, 3] < 0
    everywhere = [run.copy() for run in runs]
    for run in everywhere:
        run[:, 1] = run[:, 0]
    assert found("correlation", everywhere)[-1][0, 1] == pytest.approx(LARGEST_R)


def test_the_tangents_reference_is_a_mean_of_participants_and_not_of_runs() -> None:
    """Many copies of a participant's run change nothing, and nilearn has the geometric mean."""
    runs = courses()
    once = connectomes(runs[1:], WHOSE[1:], "tangent")
    often = connectomes([runs[1]] * 9 + runs[1:], ("01",) * 9 + WHOSE[1:], "tangent")
    assert once is not None
    assert often is not None
    np.testing.assert_allclose(often.group, once.group, atol=1e-10)
    standardised = [(run - run.mean(axis=0)) / run.std(axis=0) for run in runs[1:]]
    measure = ConnectivityMeasure(
        kind="tangent", cov_estimator=LedoitWolf(), standardize=False
    ).fit(standardised)
    np.testing.assert_allclose(once.group, measure.mean_, atol=1e-10)
    for matrix, expected in zip(once.runs, measure.transform(standardised), strict=True):
        np.testing.assert_allclose(matrix, expected, atol=1e-10)
    both = connectomes(runs, WHOSE, "tangent")
    assert both is not None
    assert np.abs(both.group - once.group).max() > 1e-3


def test_the_shrinkage_of_each_run_is_ledoit_and_wolfs() -> None:
    runs = courses()
    expected = [LedoitWolf().fit((run - run.mean(axis=0)) / run.std(axis=0)) for run in runs]
    for kind in CONNECTOMES:
        result = connectomes(runs, WHOSE, kind)
        assert result is not None
        if kind == "correlation":
            assert result.shrinkages == ()
        else:
            assert result.shrinkages == pytest.approx([one.shrinkage_ for one in expected])


@pytest.mark.parametrize("kind", CONNECTOMES)
def test_a_component_without_a_time_course_has_unknown_connectivity(kind: Connectome) -> None:
    whole = courses()
    runs = [run.copy() for run in whole]
    for run in runs:
        run[:, 3] = 0
    for matrix in found(kind, runs):
        assert np.isnan(matrix[3]).all()
        assert np.isnan(matrix[:, 3]).all()
        assert np.isfinite(matrix[:3, :3]).all()
    if kind == "correlation":
        pairs = zip(found(kind, runs), found(kind, whole), strict=True)
        for matrix, of_all in pairs:
            np.testing.assert_allclose(matrix[:3, :3], of_all[:3, :3])


@pytest.mark.parametrize("kind", CONNECTOMES)
def test_one_component_alone_has_no_connectome(kind: Connectome) -> None:
    for matrix in found(kind, [run[:, :1] for run in courses()]):
        assert matrix.shape == (1, 1)
        assert np.isnan(matrix).all()


def test_the_runs_of_one_participant_deviate_from_their_mean() -> None:
    """The mean of one participant is the mean of the covariances, whatever the geometry."""
    runs = courses(n_runs=2)
    result = connectomes(runs, ("01", "01"), "tangent")
    assert result is not None
    standardised = [(run - run.mean(axis=0)) / run.std(axis=0) for run in runs]
    covariances = [LedoitWolf().fit(run).covariance_ for run in standardised]
    np.testing.assert_allclose(result.group, np.mean(covariances, axis=0), atol=1e-6)
    assert all(np.isfinite(one).all() and one.any() for one in result.runs)
