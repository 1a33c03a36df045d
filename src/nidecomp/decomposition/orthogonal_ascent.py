"""Finish an ICA whose fixed-point iteration does not settle, by a quasi-Newton ascent.

FastICA's step is Newton's where components are independent and not Gaussian. Where several
components are nearly Gaussian (their excess kurtosis is near 0, as in groups with little data or
few features), it turns them into each other without end, although the sum of their absolute
kurtoses has a maximum, which is a fixed point. Steps that never decrease this sum find it, mostly
in ten.

References
----------
Ablin, Cardoso and Gramfort 2018, Faster ICA under orthogonal constraint, IEEE ICASSP: the
preconditioned L-BFGS on rotations (Picard-O), here with the cubic nonlinearity of FastICA.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Matrix = NDArray[np.float64]
# Returns E[(W z)³ zᵀ] for W.
CubicStep = Callable[[Matrix], Matrix]

MAX_STEPS = 200
# Pairs of the last steps that the curvature is estimated from; the least curvature that a direction
# is divided by, which keeps steps between Gaussian components short; how often a step is halved.
_MEMORY, _LEAST_CURVATURE, _HALVINGS = 7, 0.05, 20
# The rounding error of the sum of kurtoses, as a share of it.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Point:
    """A rotation, and what decides how to go on.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Orthogonal.
    moments : ndarray, shape (n, n)
        ``E[y_i³ y_j]`` of the sources y.
    """

    matrix: Matrix
    moments: Matrix

    @property
    def kurtoses(self) -> Matrix:
        """The excess kurtosis of each source."""
        return np.asarray(np.diag(self.moments) - 3)

    @property
    def contrast(self) -> float:
        """What is made as large as possible: the sum of absolute kurtoses."""
        return float(np.abs(self.kurtoses).sum())

    @property
    def gradient(self) -> Matrix:
        """The direction of steepest ascent among rotations: skew-symmetric."""
        signed = np.where(self.kurtoses < 0, -1.0, 1.0)[:, None] * self.moments
        return np.asarray((signed - signed.T) / 2)

    @property
    def curvature(self) -> Matrix:
        """What the gradient changes by, for each pair of independent sources."""
        size = np.abs(self.kurtoses)
        return np.asarray(np.maximum((size[:, None] + size) / 2, _LEAST_CURVATURE))


def ascend(
    step: CubicStep, start: Matrix, is_settled: Callable[[Matrix, Matrix], bool]
) -> tuple[Matrix, int, bool]:
    """Return the rotation at which the sum of absolute kurtoses is largest, near a given one.

    Parameters
    ----------
    step : callable
        Returns ``E[(W z)³ zᵀ]`` for W, both (n, n).
    start : ndarray, shape (n, n)
        Orthogonal.
    is_settled : callable
        Whether a rotation is a fixed point, from it and its ``E[(W z)³ zᵀ]``.

    Returns
    -------
    matrix : ndarray, shape (n, n)
    n_steps : int
    has_converged : bool
    """
    here = _point(step, start)
    before: deque[tuple[Matrix, Matrix]] = deque(maxlen=_MEMORY)
    for n_steps in range(MAX_STEPS):
        if is_settled(here.matrix, here.moments @ here.matrix):
            return here.matrix, n_steps, True
        direction = _direction(here, before)
        following = _along(step, here, direction)
        if following is None and before:
            # What was learnt of the curvature does not hold here.
            before.clear()
            following = _along(step, here, _direction(here, before))
        if following is None:
            return here.matrix, n_steps, False
        there, moved = following
        change = here.gradient - there.gradient
        if np.sum(moved * change) > 0:
            before.append((moved, change))
        here = there
    return here.matrix, MAX_STEPS, False


def _point(step: CubicStep, matrix: Matrix) -> _Point:
    return _Point(matrix, step(matrix) @ matrix.T)


def _direction(here: _Point, before: deque[tuple[Matrix, Matrix]]) -> Matrix:
    """Return an ascent direction: the two-loop recursion of L-BFGS."""
    gradient = here.gradient
    direction, shares = gradient.copy(), []
    for moved, change in reversed(before):
        share = np.sum(moved * direction) / np.sum(moved * change)
        direction -= share * change
        shares.append(share)
    direction /= here.curvature
    for (moved, change), share in zip(before, reversed(shares), strict=True):
        direction += moved * (share - np.sum(change * direction) / np.sum(moved * change))
    if np.sum(direction * gradient) <= 0:
        before.clear()
        return np.asarray(gradient / here.curvature)
    return np.asarray(direction)


def _along(step: CubicStep, here: _Point, direction: Matrix) -> tuple[_Point, Matrix] | None:
    """Return a point that is not lower, and what was moved; None where there is none."""
    least = here.contrast * (1 - _ROUNDING)
    for halvings in range(_HALVINGS):
        moved = direction / 2**halvings
        there = _point(step, np.asarray(expm(moved) @ here.matrix))
        if there.contrast >= least:
            return there, moved
    return None
