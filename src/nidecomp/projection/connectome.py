"""Connectomes of the components' time courses, with the values of nilearn's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from nidecomp.config.science import Connectome

# Fisher's z is infinite for a correlation of 1, as between maps that were given twice. Closer ones
# count as this, so that a single run cannot determine the mean.
LARGEST_R = 1 - 1e-6


@dataclass(frozen=True, eq=False)
class Connectomes:
    """The connectomes of one kind, for every run and for the group.

    Parameters
    ----------
    kind : {"correlation", "partial", "tangent"}
    runs : tuple of ndarray, each (n_components, n_components)
        NaN for components that have a constant time course in any run.
    group : ndarray, shape (n_components, n_components)
        The mean over participants of the means over their runs, of Fisher's z, transformed back.
        For tangent, it is the geometric mean of the participants' covariances, each the mean of its
        runs, and those of runs are deviations from it.
    shrinkages : tuple of float
        The coefficient by which the covariance of each run was shrunk; empty for correlation.
    """

    kind: Connectome
    runs: tuple[NDArray[np.float64], ...]
    group: NDArray[np.float64]
    shrinkages: tuple[float, ...] = ()


def connectomes(
    courses: Sequence[NDArray[np.float64]], participants: Sequence[str], kind: Connectome
) -> Connectomes | None:
    """Compute one kind of connectome for all runs and for the group.

    Parameters
    ----------
    courses : sequence of ndarray, each (n_volumes, n_components)
        The time courses of each run, at the volumes kept.
    participants : sequence of str
        The participant of each run.
    kind : {"correlation", "partial", "tangent"}

    Returns
    -------
    Connectomes or None
        None for tangent with a single run, as it measures how runs deviate from their mean.

    Notes
    -----
    Correlation is Pearson's. The other two kinds need inverses or logarithms of covariances, which
    are shrunk towards a multiple of the identity (Ledoit and Wolf 2004, Journal of Multivariate
    Analysis 88:365). Tangent: Varoquaux et al. (2010), MICCAI, doi:10.1007/978-3-642-15705-9_25.
    """
    # It takes long, and is not needed for maps alone.
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf  # noqa: PLC0415

    if kind == "tangent" and len(courses) < 2:
        return None
    used = np.all([course.std(axis=0) > 0 for course in courses], axis=0)
    n_components = len(used)
    if used.sum() < 2:
        nothing = np.full((n_components, n_components), np.nan)
        return Connectomes(kind, tuple(nothing for _ in courses), nothing)
    # Shrinkage must not depend on units.
    standardised = [
        (course[:, used] - course[:, used].mean(axis=0)) / course[:, used].std(axis=0)
        for course in courses
    ]
    estimators = [
        (EmpiricalCovariance() if kind == "correlation" else LedoitWolf()).fit(course)
        for course in standardised
    ]
    covariances = np.array([one.covariance_ for one in estimators])
    if kind == "tangent":
        matrices, group = _tangent(covariances, participants)
    else:
        of_run = correlation_of if kind == "correlation" else partial_correlation_of
        matrices = np.array([of_run(covariance) for covariance in covariances])
        group = _mean_of_participants(matrices, participants)
    return Connectomes(
        kind,
        tuple(_spread_out(matrix, used) for matrix in matrices),
        _spread_out(group, used),
        () if kind == "correlation" else tuple(float(one.shrinkage_) for one in estimators),
    )


def correlation_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlations of a covariance."""
    inverse_sd = 1 / np.sqrt(np.diag(covariance))
    r = covariance * inverse_sd * inverse_sd[:, None]
    np.fill_diagonal(r, 1.0)
    return np.asarray(r)


def partial_correlation_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of each pair given all others."""
    r = -correlation_of(np.asarray(np.linalg.inv(covariance), dtype=np.float64))
    np.fill_diagonal(r, 1.0)
    return np.asarray(r)


def _tangent(
    covariances: NDArray[np.float64], participants: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return deviations of runs from the mean of the participants, and that mean."""
    # Half a second, as it imports scikit-learn's tests; the other kinds are two lines each.
    from nilearn.connectome import ConnectivityMeasure  # noqa: PLC0415

    measure = ConnectivityMeasure(kind="tangent", cov_estimator=_Given(), standardize=False)
    measure.fit(list(_means_of_runs(covariances, participants)))
    return measure.transform(list(covariances)), measure.mean_


class _Given(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A covariance estimator for nilearn that is given covariances.

    nilearn estimates covariances of series only, but those of a participant are means over runs.
    """

    def fit(self, X: NDArray[np.float64], y: None = None) -> _Given:  # noqa: ARG002
        """Take a covariance."""
        self.covariance_ = X
        return self


def _means_of_runs(
    matrices: NDArray[np.float64], participants: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean over the runs of each participant, sorted by label."""
    names = np.array(participants)
    return np.array([matrices[names == label].mean(axis=0) for label in sorted(set(participants))])


def _mean_of_participants(
    matrices: NDArray[np.float64], participants: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean over participants of the means over their runs, of Fisher's z."""
    z = np.arctanh(np.clip(matrices, -LARGEST_R, LARGEST_R))
    mean = np.tanh(_means_of_runs(z, participants).mean(axis=0))
    np.fill_diagonal(mean, 1.0)
    return np.asarray(mean)


def _spread_out(matrix: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the matrix of all components: NaN for those that were not used."""
    whole = np.full((len(used), len(used)), np.nan)
    whole[np.ix_(used, used)] = matrix
    return whole
