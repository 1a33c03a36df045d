"""Dual regression: time courses of the group's maps in a run, and the run's own maps.

Nickerson, Smith, Öngür and Beckmann (2017), Using dual regression to investigate network shape and
amplitude in functional connectivity analyses, Frontiers in Neuroscience 11:115,
doi:10.3389/fnins.2017.00115.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ndtri_exp, stdtr

from nidecomp.core.linalg import blocks, products

# The smallest residual of a series, as a share of it: smaller ones are rounding errors of float32.
_ROUNDING = 1e-6
# Nodes of the spline that converts t to z. Between them, its error is below 1e-6 (1e-9 for one
# degree of freedom, less for more). Beyond 40, z hardly increases.
_N_NODES, _LARGEST_T = 2001, 40.0


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
class RunMaps:
    """Dual regression stage 2: the maps of one run or participant.

    Parameters
    ----------
    effect : ndarray of float32, shape (n_components, n_voxels)
        Regression coefficients of each voxel's series on all time courses together.
    variance : ndarray of float32, shape (n_components, n_voxels)
        The sampling variance of the coefficients; infinite where it is unknown.
    z : ndarray of float32, shape (n_components, n_voxels)
        ``effect / √variance``, converted to a standard normal value of the same probability.
    """

    effect: NDArray[np.float32]
    variance: NDArray[np.float32]
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
    solve = _solver(courses)[0].astype(np.float32)
    effect = np.empty((len(solve), series.shape[1]), dtype=np.float32)
    for block in blocks(series.shape[1]):
        effect[:, block] = solve @ series[:, block]
    return effect


def run_maps(
    series: NDArray[np.float32],
    courses: NDArray[np.float64],
    effect: NDArray[np.float32],
    n_regressors: int,
) -> RunMaps:
    """Compute the sampling variance and the z value of each regression coefficient.

    Parameters
    ----------
    series, courses : ndarray
        As for `effect_maps`.
    effect : ndarray of float32, shape (n_components, n_voxels)
        The coefficients that `effect_maps` returned.
    n_regressors : int
        The number of regressors of cleaning, by which the degrees of freedom are reduced.

    Returns
    -------
    RunMaps
    """
    _, scale = _solver(courses)
    gram = courses.T @ courses
    dof = len(courses) - n_regressors - int(np.linalg.matrix_rank(courses))
    variance, z = np.empty_like(effect), np.empty_like(effect)
    z_of_t = _z_of_t(max(dof, 1))
    for block in blocks(series.shape[1]):
        part, coefficients = series[:, block], effect[:, block].astype(np.float64)
        squares = np.einsum("ij,ij->j", part, part).astype(np.float64)
        residual = squares - np.einsum("ij,ij->j", coefficients, gram @ coefficients)
        residual = np.maximum(residual, _ROUNDING * squares)
        noise = residual / dof if dof > 0 else np.full(len(residual), np.inf)
        # A voxel whose series is 0 has an effect and a variance of 0.
        noise[squares == 0] = 0.0
        variance[:, block] = np.outer(scale, noise)
        z[:, block] = z_of_t(_ratio(effect[:, block], variance[:, block]))
    return RunMaps(effect, variance, z)


def _solver(courses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix that gives coefficients of series, and their variances for unit noise."""
    inverse = np.linalg.pinv(courses.T @ courses, hermitian=True)
    return inverse @ courses.T, np.diag(inverse)


def combine(
    effects: Sequence[NDArray[np.float32]], variances: Sequence[NDArray[np.float32]]
) -> RunMaps:
    """Combine the maps of a participant's runs in a fixed-effects model.

    In each voxel, runs are weighted by the inverse of their variance, as in second-level analyses
    of the runs of a participant (Worsley et al. 2002, NeuroImage 15:1, section 2.3, without the
    random effect).

    Parameters
    ----------
    effects, variances : sequence of ndarray, each (n_components, n_voxels)
        The maps of the participant's runs, in a fixed order. A run is left out in voxels where its
        variance is 0 (no signal) or infinite (unknown).

    Returns
    -------
    RunMaps
        `z` is ``effect / √variance`` without conversion from Student's t, as several runs together
        have many degrees of freedom.
    """
    total, weighted = np.zeros(effects[0].shape), np.zeros(effects[0].shape)
    for effect, variance in zip(effects, variances, strict=True):
        known = (variance > 0) & np.isfinite(variance)
        weight = np.divide(1.0, variance, out=np.zeros(variance.shape), where=known)
        total += weight
        weighted += weight * effect
    mean = np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    variance = np.divide(1.0, total, out=np.full_like(total, np.inf), where=total > 0)
    z = mean * np.sqrt(total)
    return RunMaps(*(array.astype(np.float32) for array in (mean, variance, z)))


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


def _ratio(effect: NDArray[np.float32], variance: NDArray[np.float32]) -> NDArray[np.float32]:
    deviation = np.sqrt(variance)
    ratio = np.divide(effect, deviation, out=np.zeros_like(effect), where=deviation > 0)
    return np.asarray(ratio)


def _z_of_t(dof: int) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Return a function from Student's t to the standard normal value of the same probability.

    It uses the logarithm of the tail's probability, so that strong effects have finite values.
    """
    nodes = np.linspace(0.0, _LARGEST_T, _N_NODES)
    spline = CubicSpline(nodes, -np.asarray(ndtri_exp(np.log(stdtr(dof, -nodes)))))

    def z_of_t(t: NDArray[np.float32]) -> NDArray[np.float64]:
        # Beyond the last node, z hardly increases: larger values of t get the same z.
        return np.asarray(np.copysign(spline(np.minimum(np.abs(t), _LARGEST_T)), t))

    return z_of_t
