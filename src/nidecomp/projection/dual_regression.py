"""Dual regression: time courses of the group's maps in a run, and the run's own maps.

Nickerson, Smith, Öngür and Beckmann (2017), Using dual regression to investigate network shape and
amplitude in functional connectivity analyses, Frontiers in Neuroscience 11:115,
doi:10.3389/fnins.2017.00115.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, products
from nidecomp.projection.serial_correlation import (
    GRID,
    WHITE,
    ResidualModel,
    lagged_products,
    residual_model,
    shrunk,
)
from nidecomp.projection.student_t import t_values, z_values

# The smallest residual of a series, as a share of it: smaller ones are rounding errors of float32.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class TimeCourses:
    """Dual regression stage 1: the time courses of all maps in one run.

    Parameters
    ----------
    values : ndarray of float64, shape (n_volumes, n_components)
        Regression coefficients of each volume on all maps together (spatial regression):
        ``values @ maps`` is the part of the volumes that the maps explain.
    explained_variance : float
        The share of the series' sum of squares that all maps explain together.
    """

    values: NDArray[np.float64]
    explained_variance: float

    def normalised(self) -> TimeCourses:
        """Return the time courses with unit variance.

        The maps of stage 2 then depend on the amplitude of a network's fluctuations as well as on
        its shape; without normalisation they depend on its shape only (Nickerson et al. 2017).
        """
        deviation = self.values.std(axis=0, ddof=1)
        scaled = self.values / np.where(deviation > 0, deviation, 1.0)
        return TimeCourses(scaled, self.explained_variance)


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of one run's voxels, from which the variances of all coefficients follow.

    Parameters
    ----------
    variance : ndarray of float32, shape (n_voxels,)
        0 where the series is 0, infinite where no degrees of freedom are left.
    correlation : ndarray of uint8, shape (n_voxels,)
        Index of the noise's AR(1) coefficient in `serial_correlation.GRID`.
    dof : ndarray of float64, shape (n_grid,)
        Effective degrees of freedom of the variance, for each AR(1) coefficient.
    factors : ndarray of float64, shape (n_grid, n_components)
        Variances of the coefficients for a noise of variance 1, for each AR(1) coefficient.
    residual_dof : int
        Volumes kept minus regressors and components: the degrees of freedom of white noise.
    """

    variance: NDArray[np.float32]
    correlation: NDArray[np.uint8]
    dof: NDArray[np.float64]
    factors: NDArray[np.float64]
    residual_dof: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """The voxels that have noise of a variance that is known."""
        return np.asarray((self.variance > 0) & np.isfinite(self.variance))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the fields as arrays, to be stored."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Noise:
        """Return the noise whose `arrays` were stored."""
        fields = {name: arrays[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "residual_dof": int(fields["residual_dof"])})  # type: ignore[arg-type]

    def summary(self) -> NoiseSummary:
        """Return the numbers that describe the noise of all voxels."""
        known = self.correlation[self.known]
        if not known.size:
            return NoiseSummary(max(self.residual_dof, 0), 0.0, 0.0)
        return NoiseSummary(
            self.residual_dof, float(np.median(self.dof[known])), float(np.median(GRID[known]))
        )


@dataclass(frozen=True)
class NoiseSummary:
    """What a sidecar says about z values.

    Parameters
    ----------
    dof : int
        Volumes kept minus regressors and components, summed over runs that were combined.
    effective_dof : float
        Degrees of freedom at which t was converted to z, median over voxels.
    autocorrelation : float
        AR(1) coefficient of the noise, median over voxels (and mean over runs).
    """

    dof: int
    effective_dof: float
    autocorrelation: float


@dataclass(frozen=True, eq=False)
class RunMaps:
    """Dual regression stage 2: the maps of one run or participant.

    Parameters
    ----------
    effect : ndarray of float32, shape (n_components, n_voxels)
        Regression coefficients of each voxel's series on all time courses together.
    z : ndarray of float32, shape (n_components, n_voxels)
        The coefficient divided by its standard error, which is a t value, converted to a standard
        normal value of the same probability.
    """

    effect: NDArray[np.float32]
    z: NDArray[np.float32]


def time_courses(
    series: NDArray[np.float32], maps: NDArray[np.floating], total_variance: float
) -> TimeCourses:
    """Compute time courses by regressing each volume on all maps together (stage 1).

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        The cleaned series of the run.
    maps : ndarray, shape (n_components, n_voxels)
        Maps may overlap and have negative values. An empty map has a time course of 0.
    total_variance : float
        The sum of squares of the series, which is known from cleaning.

    Returns
    -------
    TimeCourses

    Notes
    -----
    The model has no constant over voxels: cleaning removed the mean of each voxel's series, and
    fluctuations that all voxels share are left to be explained by the maps.
    """
    cross = np.zeros((len(series), len(maps)))
    for block in blocks(series.shape[1]):
        # Blocks are multiplied in the float32 of the series and summed in float64.
        cross += series[:, block] @ maps[:, block].astype(np.float32, copy=False).T
    values = cross @ np.linalg.pinv(products(maps, maps), hermitian=True)
    explained = float(np.sum(cross * values))
    return TimeCourses(values, explained / total_variance if total_variance else 0.0)


def effect_maps(series: NDArray[np.float32], courses: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute maps by regressing each voxel's series on all time courses together (stage 2).

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        The cleaned series of the run.
    courses : ndarray, shape (n_volumes, n_components)
        The time courses of stage 1. Like the series, they are orthogonal to the regressors of
        cleaning.

    Returns
    -------
    ndarray of float32, shape (n_components, n_voxels)
        Regression coefficients.
    """
    solve = _solver(courses).astype(np.float32)
    effect = np.empty((len(solve), series.shape[1]), dtype=np.float32)
    for block in blocks(series.shape[1]):
        effect[:, block] = solve @ series[:, block]
    return effect


def run_maps(
    series: NDArray[np.float32],
    courses: NDArray[np.float64],
    effect: NDArray[np.float32],
    nuisance: NDArray[np.float64],
    kept: NDArray[np.intp],
) -> tuple[RunMaps, Noise]:
    """Compute the z value of each regression coefficient, and the noise of each voxel.

    Parameters
    ----------
    series, courses : ndarray
        As for `effect_maps`.
    effect : ndarray of float32, shape (n_components, n_voxels)
        The coefficients that `effect_maps` returned.
    nuisance : ndarray, shape (n_volumes, n_regressors)
        The orthonormal regressors of cleaning, which the series and the courses are orthogonal to.
    kept : ndarray of int, shape (n_volumes,)
        The number of each volume in the run.

    Returns
    -------
    maps : RunMaps
    noise : Noise

    Notes
    -----
    Standard errors and degrees of freedom are those of AR(1) noise, whose correlation is estimated
    in each voxel from the residuals: see `serial_correlation`.
    """
    model = residual_model(courses, _solver(courses), nuisance, kept)
    noise = _noise(series, courses, effect, model)
    z = np.empty_like(effect)
    for block in blocks(series.shape[1]):
        index = noise.correlation[block]
        # Where the variance is not known, z is 0.
        known = np.where(noise.known[block], noise.variance[block], 0.0)
        variance = model.factors[index].T * known
        t = t_values(effect[:, block].astype(np.float64), variance)
        z[:, block] = z_values(t, model.dof[index])
    return RunMaps(effect, z), noise


def _noise(
    series: NDArray[np.float32],
    courses: NDArray[np.float64],
    effect: NDArray[np.float32],
    model: ResidualModel,
) -> Noise:
    """Return the variance and the serial correlation of the noise in each voxel."""
    n_voxels = series.shape[1]
    gram, lagged = courses.T @ courses, model.lagged.T.astype(np.float32)
    neighbours = model.neighbours
    residual, autocorrelation = np.zeros(n_voxels), np.zeros(n_voxels)
    varies = np.zeros(n_voxels, dtype=np.bool_)
    for block in blocks(n_voxels):
        part, coefficients = series[:, block], effect[:, block].astype(np.float64)
        squares = np.einsum("ij,ij->j", part, part).astype(np.float64)
        left = squares - np.einsum("ij,ij->j", coefficients, gram @ coefficients)
        left = np.maximum(left, _ROUNDING * squares)
        # Products of neighbouring residuals, without computing the residuals e = y - Xb:
        # e'Le = y'Ly - 2b'X'Ly + b'X'LXb
        cross = model.lagged_gram @ coefficients - 2 * (lagged @ part)
        of_neighbours = lagged_products(part, neighbours)
        of_neighbours += np.einsum("ij,ij->j", coefficients, cross)
        residual[block] = left
        varies[block] = squares > 0
        np.divide(of_neighbours, left, out=autocorrelation[block], where=left > 0)
    correlation = _correlations(autocorrelation, varies, model)
    if model.residual_dof > 0:
        variance = residual / model.traces[correlation]
    else:
        variance = np.where(varies, np.inf, 0.0)
    return Noise(
        variance.astype(np.float32), correlation, model.dof, model.factors, model.residual_dof
    )


def _correlations(
    autocorrelation: NDArray[np.float64], varies: NDArray[np.bool_], model: ResidualModel
) -> NDArray[np.uint8]:
    """Return the index of each voxel's AR(1) coefficient in the grid."""
    correlation = np.full(len(varies), WHITE, dtype=np.uint8)
    if model.residual_dof > 0 and varies.any():
        found = autocorrelation[varies]
        usual = int(model.nearest(np.array([found.mean()]))[0])
        correlation[varies] = model.nearest(shrunk(found, model.sampling_variance(usual)))
    return correlation


def _solver(courses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that gives coefficients of series."""
    return np.asarray(np.linalg.pinv(courses.T @ courses, hermitian=True) @ courses.T)


def map_correlations(own: NDArray[np.floating], group: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the correlation of each map of a run with the group's map of the same component.

    Parameters
    ----------
    own, group : ndarray, shape (n_components, n_voxels)
        The maps of the run and of the group.

    Returns
    -------
    ndarray, shape (n_components,)
        Pearson's r over voxels; NaN where a map is constant.
    """
    # Not the diagonal of `matching.correlations`: all pairs would take a tenth of the time of
    # projecting a run (`make bench-map`).
    n_voxels = own.shape[1]
    sums = np.zeros((5, len(own)))
    for block in blocks(n_voxels):
        first, second = own[:, block].astype(np.float64), group[:, block].astype(np.float64)
        sums += [
            first.sum(axis=1),
            second.sum(axis=1),
            np.einsum("ij,ij->i", first, first),
            np.einsum("ij,ij->i", second, second),
            np.einsum("ij,ij->i", first, second),
        ]
    covariance = sums[4] - sums[0] * sums[1] / n_voxels
    squares = (sums[2] - sums[0] ** 2 / n_voxels) * (sums[3] - sums[1] ** 2 / n_voxels)
    norm = np.sqrt(np.maximum(squares, 0.0))
    return np.asarray(np.divide(covariance, norm, out=np.full(len(own), np.nan), where=norm > 0))


def chance_map_r(
    residual_dof: NDArray[np.integer] | int, n_independent: NDArray[np.floating] | float
) -> NDArray[np.float64]:
    """Return the expected correlation of a run's own map with the group's in a run of noise.

    The own map is computed with a time course that the group's map gave, which makes it similar to
    the group's map whatever the data: it is the group's map projected to the run's volumes.

    Parameters
    ----------
    residual_dof : int or ndarray
        Volumes kept minus regressors and components.
    n_independent : float or ndarray
        Independent values of a map: features, fewer where the data are smooth.

    Returns
    -------
    ndarray
        ``√(n / (n + n_independent))`` with n = residual_dof + 1 (a component's own time course does
        not count); lower if volumes are serially correlated.
    """
    n = np.maximum(np.asarray(residual_dof, dtype=np.float64) + 1, 0.0)
    total = n + np.asarray(n_independent, dtype=np.float64)
    share = np.divide(n, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.sqrt(share))
