"""t, F and their permutations are those of a regression, however they are computed."""

from __future__ import annotations

import numpy as np
import pytest
from design_examples import design_of, one_sample, two_groups
from nilearn.mass_univariate import permuted_ols
from numpy.typing import NDArray

from nidecomp.comparison.glm import (
    largest_statistics,
    linear_test,
    statistic_maps,
    transformed_rows,
)
from nidecomp.comparison.records import Design
from nidecomp.comparison.transformations import draw_transformations

N_FEATURES = 2100


def regression(
    matrix: NDArray[np.float64], weights: NDArray[np.float64], data: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return t or F of an ordinary regression, by the formulas of a textbook."""
    coefficients = np.linalg.lstsq(matrix, data, rcond=None)[0]
    dof = len(matrix) - matrix.shape[1]
    variance = np.sum((data - matrix @ coefficients) ** 2, axis=0) / dof
    covariance = weights @ np.linalg.inv(matrix.T @ matrix) @ weights.T
    estimate = weights @ coefficients
    if len(weights) == 1:
        return estimate[0] / np.sqrt(covariance[0, 0] * variance)
    f = np.sum(estimate * np.linalg.solve(covariance, estimate), axis=0)
    return f / len(weights) / variance


def freedman_lane(
    design: Design, order: NDArray[np.int32], signs: NDArray[np.int8], data: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return t or F of transformed residuals, which are put back on what the nuisance explains."""
    weights = design.contrasts[0].weights
    # The model where the hypothesis holds: the columns' combinations that the contrast says 0 of.
    free = np.linalg.svd(weights)[2][len(weights) :].T
    nuisance = design.matrix @ free
    explained = nuisance @ np.linalg.lstsq(nuisance, data, rcond=None)[0] if free.size else 0 * data
    residuals = data - explained
    return regression(design.matrix, weights, explained + signs[:, None] * residuals[order])


def several() -> dict[str, Design]:
    rng = np.random.default_rng(1)
    factor = np.arange(18) % 3
    levels = np.column_stack([factor == level for level in range(3)]).astype(float)
    age = rng.standard_normal(18)
    sites = ["a", "b"] * 9
    return {
        "groups": two_groups(20, n_covariates=3),
        "covariate": design_of(np.column_stack([np.ones(18), age + 40]), [0, 1]),
        "mean": one_sample(12),
        "mean and covariate": design_of(np.column_stack([np.ones(18), age]), [1, 0.2]),
        "levels": design_of(np.column_stack([levels, age]), [1, 0, -1, 0]),
        "factor": design_of(np.column_stack([levels, age]), [[1, -1, 0, 0], [0, 1, -1, 0]]),
        "all": design_of(np.column_stack([levels, age]), np.eye(4)),
        "blocks": design_of(np.column_stack([levels, age, np.arange(18) % 2]), [0, 0, 0, 1, 0],
                            blocks=sites),
    }  # fmt: skip


DESIGNS = several()


@pytest.fixture(params=DESIGNS)
def design(request: pytest.FixtureRequest) -> Design:
    return DESIGNS[request.param]


@pytest.fixture
def data(design: Design) -> NDArray[np.float64]:
    rng = np.random.default_rng(2)
    # Means and scales of real maps.
    return 3 + rng.standard_normal((len(design.people), N_FEATURES)) * rng.uniform(
        0.1, 10, N_FEATURES
    )


def test_statistics_are_those_of_a_regression(design: Design, data: NDArray[np.float64]) -> None:
    test = linear_test(design, design.contrasts[0], "permutations")
    weights = design.contrasts[0].weights
    expected = regression(design.matrix, weights, data)
    found = test.statistic(test.residuals(data))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    if len(weights) == 1:
        estimate = weights @ np.linalg.lstsq(design.matrix, data, rcond=None)[0]
        np.testing.assert_allclose(test.estimating @ data, estimate[0], rtol=1e-10, atol=1e-12)


def test_permuted_statistics_are_those_of_permuted_residuals(
    design: Design, data: NDArray[np.float64]
) -> None:
    drawn = draw_transformations(design, 100, 3)
    test = linear_test(design, design.contrasts[0], drawn.kind)
    residuals = test.residuals(data)
    in_single = residuals.astype(np.float32)
    maps = statistic_maps(test, in_single, drawn, slice(0, 7))
    largest = largest_statistics(test, in_single, drawn)
    rows = transformed_rows(test, drawn, slice(0, 7))
    exact = test.from_products(np.einsum("gri,if->grf", rows, residuals))
    for number in range(7):
        expected = freedman_lane(design, drawn.orders[number], drawn.signs[number], data)
        np.testing.assert_allclose(exact[number], expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(maps[number], expected, rtol=1e-5, atol=1e-6)
        assert largest[number] == pytest.approx(np.abs(expected).max(), rel=1e-5)
    for number in (50, 99):
        expected = freedman_lane(design, drawn.orders[number], drawn.signs[number], data)
        assert largest[number] == pytest.approx(np.abs(expected).max(), rel=1e-5)


def test_what_permutations_leave_as_it_is_is_not_computed() -> None:
    """The intercept; within sites, the means of sites too."""
    sites = np.arange(18) % 3
    levels = np.column_stack([sites == site for site in range(3)]).astype(float)
    matrix = np.column_stack([levels, np.arange(18.0), np.arange(18) ** 2])
    blocks = [str(site) for site in sites]
    for kind, of, n_changing in (
        ("permutations", (), 3), ("permutations", blocks, 1), ("sign flips", (), 4),
    ):  # fmt: skip
        one = design_of(matrix, [0, 0, 0, 0, 1], blocks=of)
        assert linear_test(one, one.contrasts[0], kind).changing.shape[1] == n_changing


def test_t_is_nilearn_s() -> None:
    design = two_groups(24, n_covariates=2)
    data = np.random.default_rng(0).standard_normal((24, 300)) + 2
    theirs = permuted_ols(
        design.matrix[:, [1]], data, design.matrix[:, 2:], model_intercept=True, n_perm=0,
        output_type="dict",
    )["t"][0]  # fmt: skip
    test = linear_test(design, design.contrasts[0], "permutations")
    np.testing.assert_allclose(test.statistic(test.residuals(data)), theirs, atol=1e-5)


def test_data_that_are_constant_or_explained_by_the_nuisance_have_no_statistic() -> None:
    design = two_groups(20)
    data = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    data[:, 1] = 1e4
    data[:, 2] = 0
    data[:, 3] = 1e3 + design.matrix[:, 2].astype(np.float32)
    drawn = draw_transformations(design, 100, 0)
    test = linear_test(design, design.contrasts[0], drawn.kind)
    residuals = test.residuals(data)
    found = test.statistic(residuals)
    assert (found[1:3] == 0).all()
    assert np.isfinite(found).all()
    assert found[0] != 0
    only = largest_statistics(test, residuals[:, 1:3].astype(np.float32), drawn)
    assert (only == 0).all()


@pytest.mark.parametrize("n_features", [1, 7, 2048, 5000])
def test_the_number_of_features_changes_no_maximum(n_features: int) -> None:
    design = two_groups(20)
    data = np.random.default_rng(0).standard_normal((20, n_features))
    drawn = draw_transformations(design, 300, 0)
    test = linear_test(design, design.contrasts[0], drawn.kind)
    residuals = test.residuals(data).astype(np.float32)
    maps = statistic_maps(test, residuals, drawn, slice(None))
    found = largest_statistics(test, residuals, drawn)
    np.testing.assert_allclose(found, np.abs(maps).max(axis=1), rtol=1e-5)
