"""Dual regression: a run's time courses of the group's maps, and its own maps of these.

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
from nidecomp.decomposition.matching import correlations, is_constant

# What is left of a series cannot be told more precisely, as a share of it: series are float32.
_ROUNDING = 1e-6
# Between the nodes of the spline from t to z the error is below 1e-6 (1e-9 for 1 degree of freedom,
# less for more); beyond 40, z hardly grows.
_N_NODES, _LARGEST_T = 2001, 40.0


@dataclass(frozen=True, eq=False)
class TimeCourses:
    """Stage 1: what the volumes of a run hold of each map.

    Parameters
    ----------
    values : ndarray of float64, shape (n_volumes, n_components)
        Loadings by least squares on all maps together: volumes are ``values @ maps`` as far as the
        maps explain them.
    explained_variance : float
        The share of the series' sum of squares that all maps explain together.
    """

    values: NDArray[np.float64]
    explained_variance: float

    def normalised(self) -> TimeCourses:
        """Give the same with unit variance.

        Maps of stage 2 then hold how strongly a network fluctuates as well as its shape, without it
        its shape alone (Nickerson et al. 2017).
        """
        deviation = self.values.std(axis=0, ddof=1)
        scaled = self.values / np.where(deviation > 0, deviation, 1.0)
        return TimeCourses(scaled, self.explained_variance)


@dataclass(frozen=True, eq=False)
class RunMaps:
    """Stage 2: maps of a run's or a participant's own.

    Parameters
    ----------
    effect : ndarray of float32, shape (n_components, n_voxels)
        Regression coefficients of each voxel's series on all time courses together.
    variance : ndarray of float32, shape (n_components, n_voxels)
        Their sampling variance; infinite where it cannot be told.
    z : ndarray of float32, shape (n_components, n_voxels)
        ``effect / √variance`` as a standard normal value.
    """

    effect: NDArray[np.float32]
    variance: NDArray[np.float32]
    z: NDArray[np.float32]


def time_courses(
    series: NDArray[np.float32], maps: NDArray[np.floating], total_variance: float
) -> TimeCourses:
    """Fit all maps together to each volume (stage 1).

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        Cleaned.
    maps : ndarray, shape (n_components, n_voxels)
        They may overlap and be negative; an empty one has a time course of 0.
    total_variance : float
        The series' sum of squares, which cleaning gives.

    Returns
    -------
    TimeCourses

    Notes
    -----
    Without a constant over voxels: the series of a voxel has no mean after cleaning, and what all
    voxels do together is a map's business.
    """
    cross = np.zeros((len(series), len(maps)))
    for block in blocks(series.shape[1]):
        # As precise as the series are; what blocks add up to is float64.
        cross += series[:, block] @ maps[:, block].astype(np.float32, copy=False).T
    values = cross @ np.linalg.pinv(products(maps, maps), hermitian=True)
    explained = float(np.sum(cross * values))
    return TimeCourses(values, explained / total_variance if total_variance else 0.0)


def effect_maps(series: NDArray[np.float32], courses: NDArray[np.float64]) -> NDArray[np.float32]:
    """Fit all time courses together to each voxel's series (stage 2).

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_voxels)
        Cleaned.
    courses : ndarray, shape (n_volumes, n_components)
        Of stage 1: within what cleaning left, as the series are.

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
    """Tell how sure each regression coefficient is.

    Parameters
    ----------
    series, courses : ndarray
        As for `effect_maps`.
    effect : ndarray of float32, shape (n_components, n_voxels)
        What that gave.
    n_regressors : int
        How many dimensions cleaning took from the volumes.

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
        part, found = series[:, block], effect[:, block].astype(np.float64)
        squares = np.einsum("ij,ij->j", part, part).astype(np.float64)
        left = squares - np.einsum("ij,ij->j", found, gram @ found)
        left = np.maximum(left, _ROUNDING * squares)
        noise = left / dof if dof > 0 else np.full(len(left), np.inf)
        # A voxel without signal in it has neither an effect nor a variance.
        noise[squares == 0] = 0.0
        variance[:, block] = np.outer(scale, noise)
        z[:, block] = z_of_t(_ratio(effect[:, block], variance[:, block]))
    return RunMaps(effect, variance, z)


def _solver(courses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give what takes series to coefficients, and the coefficients' variances for unit noise."""
    inverse = np.linalg.pinv(courses.T @ courses, hermitian=True)
    return inverse @ courses.T, np.diag(inverse)


def combine(
    effects: Sequence[NDArray[np.float32]], variances: Sequence[NDArray[np.float32]]
) -> RunMaps:
    """Combine the runs of a participant by fixed effects.

    Each run weighs by the inverse of its variance, voxel by voxel, as second-level analyses of
    runs within a participant do (Worsley et al. 2002, NeuroImage 15:1, section 2.3, with the random
    effect left out).

    Parameters
    ----------
    effects, variances : sequence of ndarray, each (n_components, n_voxels)
        Of one participant's runs, in a fixed order. A variance of 0 (a voxel without signal) or
        infinity is that of nothing known.

    Returns
    -------
    RunMaps
        `z` is that of a normal distribution: runs have many degrees of freedom together.
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
    """Correlate each map of a run with the group's map of the same component.

    Parameters
    ----------
    own, group : ndarray, shape (n_components, n_voxels)

    Returns
    -------
    ndarray, shape (n_components,)
        NaN where one of both is constant.
    """
    r = np.diagonal(correlations(own, group)).copy()
    r[is_constant(own) | is_constant(group)] = np.nan
    return r


def _ratio(effect: NDArray[np.float32], variance: NDArray[np.float32]) -> NDArray[np.float32]:
    deviation = np.sqrt(variance)
    ratio = np.divide(effect, deviation, out=np.zeros_like(effect), where=deviation > 0)
    return np.asarray(ratio)


def _z_of_t(dof: int) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Prepare what gives standard normal values of the same probability as Student's t.

    Through the logarithm of the tail's probability, so that strong effects do not end at infinity.
    """
    nodes = np.linspace(0.0, _LARGEST_T, _N_NODES)
    spline = CubicSpline(nodes, -np.asarray(ndtri_exp(np.log(stdtr(dof, -nodes)))))

    def z_of_t(t: NDArray[np.float32]) -> NDArray[np.float64]:
        # Beyond the nodes z hardly grows: what lies there is as strong as can be told.
        return np.asarray(np.copysign(spline(np.minimum(np.abs(t), _LARGEST_T)), t))

    return z_of_t
