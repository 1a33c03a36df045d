"""Connectomes from the components' time courses, by nilearn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from nilearn.connectome import ConnectivityMeasure
from numpy.typing import NDArray
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

Kind = Literal["correlation", "partial correlation", "tangent"]
KINDS: tuple[Kind, ...] = ("correlation", "partial correlation", "tangent")


@dataclass(frozen=True, eq=False)
class Connectomes:
    """One kind of connectome of every run, and the group's.

    Parameters
    ----------
    kind : str
    runs : tuple of ndarray, each (n_components, n_components)
        NaN for components without a time course.
    group : ndarray, shape (n_components, n_components)
        Mean over participants, of whom each is the mean of their runs; for tangent the geometric
        mean of all runs' covariances, from which each run's departure is told.
    """

    kind: Kind
    runs: tuple[NDArray[np.float64], ...]
    group: NDArray[np.float64]


def connectomes(
    courses: Sequence[NDArray[np.float64]], participants: Sequence[str], kind: Kind
) -> Connectomes | None:
    """Compute one kind of connectome for all runs.

    Parameters
    ----------
    courses : sequence of ndarray, each (n_volumes, n_components)
        Time courses of each run, at the volumes kept.
    participants : sequence of str
        Whose each run is.
    kind : {"correlation", "partial correlation", "tangent"}

    Returns
    -------
    Connectomes or None
        None for tangent with a single run: it tells how runs differ from all of them.

    Notes
    -----
    Correlation is Pearson's. The other two need inverses or logarithms of covariances, which are
    shrunk towards a multiple of the identity (Ledoit and Wolf 2004, Journal of Multivariate
    Analysis 88:365). Tangent: Varoquaux et al. (2010), MICCAI, doi:10.1007/978-3-642-15705-9_25.
    """
    if kind == "tangent" and len(courses) < 2:
        return None
    used = np.all([course.std(axis=0) > 0 for course in courses], axis=0)
    n_components = len(used)
    if used.sum() < 2:
        nothing = np.full((n_components, n_components), np.nan)
        return Connectomes(kind, tuple(nothing for _ in courses), nothing)
    # Only correlations are standardised by nilearn: shrinkage must not depend on units either.
    standardised = [
        (course[:, used] - course[:, used].mean(axis=0)) / course[:, used].std(axis=0)
        for course in courses
    ]
    measure = ConnectivityMeasure(
        kind=kind,
        cov_estimator=EmpiricalCovariance() if kind == "correlation" else LedoitWolf(),
        standardize=False,
    )
    matrices = measure.fit_transform(standardised)
    group = measure.mean_ if kind == "tangent" else _mean_of_participants(matrices, participants)
    return Connectomes(
        kind,
        tuple(_spread_out(matrix, used) for matrix in matrices),
        _spread_out(group, used),
    )


def _mean_of_participants(
    matrices: NDArray[np.float64], participants: Sequence[str]
) -> NDArray[np.float64]:
    """Average runs within participants, then participants, so that all of them weigh the same."""
    names = np.array(participants)
    means = [matrices[names == one].mean(axis=0) for one in sorted(set(participants))]
    return np.asarray(np.mean(means, axis=0))


def _spread_out(matrix: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Put a matrix of some components where they stand among all of them."""
    whole = np.full((len(used), len(used)), np.nan)
    whole[np.ix_(used, used)] = matrix
    return whole
