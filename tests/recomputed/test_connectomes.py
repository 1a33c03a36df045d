"""Connectomes of runs and of the group, from the written time courses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from recomputed.cleaned_runs import METHODS, used_runs
from recomputed.published import Published, agree, numbers, recomputes


def spectral(
    matrix: NDArray[np.float64], function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return a function of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * function(values)) @ vectors.T)


def geometric_mean(matrices: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of positive definite matrices in their own geometry, by fixed point."""
    mean = np.mean(matrices, axis=0)
    for _ in range(30):
        root, whitening = spectral(mean, np.sqrt), spectral(mean, lambda v: 1 / np.sqrt(v))
        logs = [spectral(whitening @ one @ whitening, np.log) for one in matrices]
        mean = root @ spectral(np.mean(logs, axis=0), np.exp) @ root
    return mean


def matrix(published: Published, pattern: str) -> NDArray[np.float64]:
    rows = published.table(pattern)
    return np.column_stack([numbers(rows, row["Node"]) for row in rows])


def over_participants(
    of_runs: dict[str, NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    """Return the mean over the runs of each participant."""
    labels = sorted({run.split("_")[0] for run in of_runs})
    return [
        np.mean([one for run, one in of_runs.items() if run.startswith(label + "_")], axis=0)
        for label in labels
    ]


def fishers_mean(of_runs: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    largest = 1 - 1e-6
    z = {run: np.arctanh(np.clip(one, -largest, largest)) for run, one in of_runs.items()}
    mean = np.tanh(np.mean(over_participants(z), axis=0))
    np.fill_diagonal(mean, 1)
    return np.asarray(mean)


@recomputes("logs/quality.tsv", "shrinkage")
@pytest.mark.parametrize("method", METHODS)
def test_connectomes_of_runs_and_of_the_group(detailed: Published, method: str) -> None:
    correlations, partial, covariances, shrinkages = {}, {}, {}, {}
    for run in used_runs(detailed):
        rows = detailed.table(f"sub-*/**/func/{run}_*_seg-{method}_*_timeseries.tsv")
        courses = np.column_stack([numbers(rows, name) for name in rows[0]])
        correlations[run] = np.corrcoef(courses.T)
        standardised = (courses - courses.mean(axis=0)) / courses.std(axis=0)
        covariances[run], shrinkages[run] = ledoit_wolf(standardised)
        precision = np.linalg.inv(covariances[run])
        scale = np.sqrt(np.diag(precision))
        partial[run] = -precision / np.outer(scale, scale)
        np.fill_diagonal(partial[run], 1)
    reference = geometric_mean(over_participants(covariances))
    whitening = spectral(reference, lambda v: 1 / np.sqrt(v))
    tangent = {
        run: spectral(whitening @ one @ whitening, np.log) for run, one in covariances.items()
    }
    groups = {
        "pearsoncorrelation": (correlations, fishers_mean(correlations)),
        "partialcorrelation": (partial, fishers_mean(partial)),
        "tangent": (tangent, reference),
    }
    for stat, (of_runs, of_group) in groups.items():
        group = f"tpl-*/func/tpl-*_seg-{method}_*_stat-{stat}_relmat"
        agree(f"{stat} of the group", matrix(detailed, f"{group}.tsv"), of_group, 5e-6)
        for run, of_run in of_runs.items():
            path = f"sub-*/**/func/{run}_*_seg-{method}_*_stat-{stat}_relmat"
            agree(f"{stat} of a run", matrix(detailed, f"{path}.tsv"), of_run, 5e-6)
    rows = [row for row in detailed.table("logs/quality.tsv") if row["method"] == method]
    expected = [shrinkages[row["run"]] for row in rows]
    agree("logs/quality.tsv: shrinkage", numbers(rows, "shrinkage"), expected, 5e-6)
