"""Student's t of regression coefficients, and standard normal values of the same probability."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import betaln, ndtri_exp, stdtr

# Nodes of the splines that convert t to z, up to the first limit in equal steps of t and up to the
# second in equal steps of its logarithm. Their error is below 1e-6. Larger t cannot occur, as
# residuals have a smallest size (`dual_regression`).
_N_NODES, _LARGEST_NEAR_T, _LARGEST_T = 2001, 40.0, 1e6
# Up to here, the tail of Student's t does not underflow, whatever the degrees of freedom.
_NO_UNDERFLOW_T = 8.0
_LAGUERRE_NODES, _LAGUERRE_WEIGHTS = np.polynomial.laguerre.laggauss(32)


def t_values(effect: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients divided by their standard errors; 0 where the variance is 0."""
    deviation = np.sqrt(variance)
    ratio = np.divide(effect, deviation, out=np.zeros_like(effect), where=deviation > 0)
    return np.asarray(ratio)


def z_values(t: NDArray[np.float64], dof: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal values of the same probability as values of Student's t.

    Parameters
    ----------
    t : ndarray, shape (n_components, n_voxels)
    dof : ndarray, shape (n_voxels,)
        z is 0 where it is not positive.
    """
    z = np.zeros_like(t)
    for each in np.unique(dof[dof > 0]):
        there = np.flatnonzero(dof == each)
        some = t[:, there]
        z[:, there] = np.copysign(_z_of_t(float(each))(np.abs(some)), some)
    return z


@lru_cache(maxsize=256)
def _z_of_t(dof: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a function from positive values of Student's t to standard normal values.

    It interpolates between values at nodes: computing them takes longer than reading the run.
    """
    nodes = np.linspace(0.0, _LARGEST_NEAR_T, _N_NODES)
    near = CubicSpline(nodes, _exact_z(nodes, dof))
    # Beyond, z increases with the logarithm of t.
    distant = np.geomspace(_LARGEST_NEAR_T, _LARGEST_T, _N_NODES)
    far = CubicSpline(np.log(distant), _exact_z(distant, dof))

    def z_of_t(t: NDArray[np.float64]) -> NDArray[np.float64]:
        z = np.asarray(near(np.minimum(t, _LARGEST_NEAR_T)))
        beyond = t > _LARGEST_NEAR_T
        if beyond.any():
            z[beyond] = far(np.log(np.minimum(t[beyond], _LARGEST_T)))
        return z

    return z_of_t


def _exact_z(t: NDArray[np.float64], dof: float) -> NDArray[np.float64]:
    """Return the standard normal value of the same upper tail as each value of Student's t.

    Notes
    -----
    The tail is half of the incomplete beta function I_x(dof/2, 1/2) with x = dof / (dof + t²). In
    the tail it is computed from the logarithm of a hypergeometric function of x / (x - 1)
    (Abramowitz and Stegun 26.5.23, 15.3.4 and, as an integral, 15.3.1), which does not underflow.
    """
    log_tail = np.log(stdtr(dof, -np.minimum(t, _NO_UNDERFLOW_T)))
    far = t > _NO_UNDERFLOW_T
    half, x = dof / 2, dof / (dof + t[far] ** 2)
    steps = -np.expm1(-_LAGUERRE_NODES / half)
    integrand = (1 + np.outer(steps, dof / t[far] ** 2)) ** -0.5
    log_tail[far] = (
        np.log(0.5)
        + half * np.log(x)
        - 0.5 * np.log1p(-x)
        - np.log(half)
        - betaln(half, 0.5)
        + np.log(_LAGUERRE_WEIGHTS @ integrand)
    )
    return -np.asarray(ndtri_exp(log_tail))
