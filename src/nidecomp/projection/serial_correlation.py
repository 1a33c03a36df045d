"""The noise of regression coefficients in series whose volumes are correlated.

Coefficients stay those of ordinary least squares. Their variances and degrees of freedom are those
that they have if the noise of a voxel is autoregressive of order one (AR(1)):

- Worsley and Friston (1995), Analysis of fMRI time-series revisited - again, NeuroImage 2:173,
  doi:10.1006/nimg.1995.1023: variances and degrees of freedom for a given correlation;
- Worsley et al. (2002), A general statistical analysis for fMRI data, NeuroImage 15:1,
  doi:10.1006/nimg.2001.0933: the correlation of residuals is smaller than that of the noise, since
  regressors were removed, and is corrected for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from nidecomp.runs.clean import orthonormal_basis

# Correlations of neighbouring volumes that are told apart. A step of 0.05 changes a standard error
# by a few percent.
GRID = np.round(np.arange(-50, 91, 5) / 100, 2)
WHITE = int(np.flatnonzero(GRID == 0)[0])
# Where residuals have no neighbours, or so few dimensions that their correlation does not depend
# on that of the noise, the noise counts as uncorrelated.
_LEAST_CHANGE = 1e-9


@dataclass(frozen=True, eq=False)
class ResidualModel:
    """What residuals and coefficients of a design are like, for each correlation of the noise.

    Parameters
    ----------
    residual_dof : int
        Dimensions of the residuals: volumes minus regressors and components.
    basis : ndarray, shape (n_volumes, n_regressors + n_components)
        Orthonormal basis of what was regressed out.
    kept : ndarray of int, shape (n_volumes,)
        The number of each volume in the run.
    lagged : ndarray, shape (n_volumes, n_components)
        ``L X``, for the time courses X and the matrix L whose quadratic form of a series is the sum
        of products of volumes that follow each other in the run. Scrubbed volumes leave gaps.
    lagged_gram : ndarray, shape (n_components, n_components)
        ``X' L X``
    traces : ndarray, shape (n_grid,)
        Expected sum of squares of the residuals, in variances of the noise.
    dof : ndarray, shape (n_grid,)
        Effective degrees of freedom of the sum of squares (Satterthwaite).
    factors : ndarray, shape (n_grid, n_components)
        Variance of each coefficient, in variances of the noise.
    expected : ndarray, shape (n_grid,)
        Expected lag-one autocorrelation of the residuals.
    """

    residual_dof: int
    basis: NDArray[np.float64]
    kept: NDArray[np.intp]
    lagged: NDArray[np.float64]
    lagged_gram: NDArray[np.float64]
    traces: NDArray[np.float64]
    dof: NDArray[np.float64]
    factors: NDArray[np.float64]
    expected: NDArray[np.float64]

    @property
    def neighbours(self) -> NDArray[np.bool_]:
        """Whether each volume and the next one of those kept follow each other in the run."""
        return np.asarray(np.diff(self.kept) == 1)

    def nearest(self, autocorrelations: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the index of the correlation at which residuals are expected to be like these.

        Parameters
        ----------
        autocorrelations : ndarray
            Lag-one autocorrelations of residuals.

        Returns
        -------
        ndarray of int
            Indices into `GRID`.
        """
        first, last = self._invertible()
        expected = self.expected[first : last + 1]
        between = (expected[1:] + expected[:-1]) / 2
        return np.asarray(first + np.searchsorted(between, autocorrelations))

    def sampling_variance(self, index: int) -> float:
        """Return the variance of the residuals' autocorrelation over voxels of the same noise.

        Parameters
        ----------
        index : int
            Index of the correlation of the noise in `GRID`.

        Returns
        -------
        float
        """
        covariance = _covariance(self.kept, float(GRID[index]))
        across = covariance @ self.basis
        inside = self.basis.T @ across
        residual = (
            covariance
            - self.basis @ across.T
            - across @ self.basis.T
            + self.basis @ inside @ self.basis.T
        )
        # e'Le / e'e differs from its expectation by e'(L - expected)e / e'e.
        product = _lag(residual, self.neighbours) - self.expected[index] * residual
        return float(2 * np.sum(product * product.T) / self.traces[index] ** 2)

    def _invertible(self) -> tuple[int, int]:
        """Return the range of the grid in which the expected autocorrelation increases."""
        rises = np.diff(self.expected) > _LEAST_CHANGE
        first = last = WHITE
        while first > 0 and rises[first - 1]:
            first -= 1
        while last < len(GRID) - 1 and rises[last]:
            last += 1
        return first, last


def residual_model(
    courses: NDArray[np.float64],
    solve: NDArray[np.float64],
    nuisance: NDArray[np.float64],
    kept: NDArray[np.intp],
) -> ResidualModel:
    """Compute what residuals and coefficients are like for each correlation of the noise.

    Parameters
    ----------
    courses : ndarray, shape (n_volumes, n_components)
    solve : ndarray, shape (n_components, n_volumes)
        The matrix that gives coefficients of series.
    nuisance : ndarray, shape (n_volumes, n_regressors)
        Orthonormal regressors of cleaning.
    kept : ndarray of int, shape (n_volumes,)
        The number of each volume in the run, ascending.

    Returns
    -------
    ResidualModel
    """
    basis = orthonormal_basis(np.column_stack([nuisance, courses]))
    residual_dof = len(kept) - basis.shape[1]
    neighbours = np.diff(kept) == 1
    lagged, lagged_basis = _lag(courses, neighbours), _lag(basis, neighbours)
    lagged_inside = basis.T @ lagged_basis
    traces, dof, expected = (np.zeros(len(GRID)) for _ in range(3))
    factors = np.zeros((len(GRID), len(solve)))
    ones = np.ones((len(kept), 1))
    for index, correlation in enumerate(GRID if residual_dof > 0 else ()):
        # R = I - QQ' removes the regressors Q. Traces of products with R need no matrix of all
        # volumes: tr(RV) = tr(V) - tr(Q'VQ), and so on. V is a filter H times its transpose.
        half, across = _filtered(basis, kept, correlation)
        inside = half @ half.T
        traces[index] = len(kept) - np.trace(inside)
        squared_entries = np.sum(_filtered(ones, kept, correlation**2)[1])
        of_square = squared_entries - 2 * np.sum(across**2) + np.sum(inside**2)
        # Within what is possible, whatever rounding does.
        dof[index] = np.clip(traces[index] ** 2 / of_square, 1, residual_dof)
        of_lagged = (
            correlation * np.count_nonzero(neighbours)
            - 2 * np.sum(lagged_basis.T * across)
            + np.sum(lagged_inside * inside)
        )
        expected[index] = of_lagged / traces[index]
        factors[index] = np.sum(_filtered(solve.T, kept, correlation)[0] ** 2, axis=1)
    return ResidualModel(
        residual_dof,
        basis,
        kept,
        lagged,
        courses.T @ lagged,
        traces,
        dof,
        factors,
        expected,
    )


def _filtered(
    columns: NDArray[np.float64], kept: NDArray[np.intp], correlation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return products of columns with the covariance V = HH' of AR(1) noise and with H'.

    H is the filter that makes the noise of white noise, over all volumes between the first and the
    last of those kept. It takes a time that is linear in their number, and V a quadratic one.

    Parameters
    ----------
    columns : ndarray, shape (n_volumes, n_columns)
    kept : ndarray of int, shape (n_volumes,)
    correlation : float

    Returns
    -------
    half : ndarray, shape (n_columns, n_between)
        ``(H' columns)'``
    whole : ndarray, shape (n_columns, n_volumes)
        ``(V columns)'``
    """
    places = kept - kept[0]
    spread = np.zeros((columns.shape[1], places[-1] + 1))
    spread[:, places] = columns.T
    # The first volume has no past, and the same variance.
    weights = np.full(spread.shape[1], np.sqrt(1 - correlation**2))
    weights[0] = 1.0
    recursion = [1.0], [1.0, -correlation]
    half = weights * lfilter(*recursion, spread[:, ::-1])[:, ::-1]
    return half, lfilter(*recursion, weights * half)[:, places]


def _covariance(kept: NDArray[np.intp], correlation: float) -> NDArray[np.float64]:
    """Return the covariance of the volumes kept, for AR(1) noise of unit variance."""
    lags = np.abs(np.subtract.outer(kept, kept))
    return np.asarray((correlation ** np.arange(int(lags.max()) + 1))[lags])


def _lag(columns: NDArray[np.float64], neighbours: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``L columns``: half the sum of the volumes before and after."""
    result = np.zeros_like(columns)
    linked = neighbours[:, np.newaxis] / 2
    result[:-1] += linked * columns[1:]
    result[1:] += linked * columns[:-1]
    return result


def lagged_products(
    series: NDArray[np.float32], neighbours: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the sum of products of neighbouring volumes, for each voxel.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
    neighbours : ndarray of bool, shape (n_volumes - 1,)

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
    """
    # Gaps are few: the products across them are subtracted, so that no volume has to be copied.
    total = np.asarray(np.einsum("ij,ij->j", series[:-1], series[1:]), dtype=np.float64)
    for gap in np.flatnonzero(~neighbours):
        total -= series[gap].astype(np.float64) * series[gap + 1]
    return total


def shrunk(values: NDArray[np.float64], sampling_variance: float) -> NDArray[np.float64]:
    """Shrink estimates to their mean as far as sampling explains their differences.

    With few volumes, all voxels get the run's mean; with many, each has its own (empirical Bayes).

    Parameters
    ----------
    values : ndarray
        Estimates of many voxels.
    sampling_variance : float

    Returns
    -------
    ndarray
    """
    mean, variance = float(values.mean()), float(values.var())
    weight = max(0.0, 1 - sampling_variance / variance) if variance > 0 else 0.0
    return np.asarray(mean + weight * (values - mean))
