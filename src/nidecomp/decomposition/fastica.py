"""FastICA with the cubic nonlinearity, from fourth moments.

The iteration of Hyvärinen (1999, Fast and robust fixed-point algorithms for independent component
analysis, IEEE Transactions on Neural Networks 10:626) is, for white data z and an orthogonal W,

    W ← decorrelate(E[(W z)³ zᵀ] − 3 W),

and E[(wᵀz)³ z] depends on the data only through E[z_i z_j z_k z_l]. These moments are summed over
the voxels once. The cost of an iteration then does not depend on the number of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered
from nidecomp.decomposition.orthogonal_ascent import CubicStep, ascend

# The iteration has converged when W changes by less than this (scikit-learn's default).
TOLERANCE = 1e-4
# Where it settles, FastICA does so in a few dozen iterations. After as many as this, a quasi-Newton
# ascent takes over, which needs ten.
MAX_ITERATIONS = 100
# The moments are (n (n + 1) / 2)² numbers: 530 MB at 128 components. With more components, every
# iteration passes over the voxels instead.
MAX_COMPONENTS_OF_MOMENTS = 128

# The size of one block of products of pairs: 16 MB.
_PRODUCTS_OF_A_BLOCK = 1 << 21
# With up to 64 components, each thread sums moments of its own (35 MB); with more, one thread does.
MAX_COMPONENTS_OF_THREADS = 64


@dataclass(frozen=True, eq=False)
class Unmixing:
    """The result of one start: the orthogonal unmixing matrix, and how the iteration ended."""

    matrix: NDArray[np.float64]
    n_iter: int
    converged: bool


def cubic_step(white: NDArray[np.float64], n_threads: int = 1) -> CubicStep:
    """Return the function through which the iteration depends on the data.

    Parameters
    ----------
    white : ndarray, shape (n_components, n_voxels)
        Centred, uncorrelated rows of unit variance.
    n_threads : int
        The number of threads. The result does not depend on it.

    Returns
    -------
    callable
        Returns ``E[(W z)³ zᵀ]`` for W, both (n_components, n_components).
    """
    if len(white) > MAX_COMPONENTS_OF_MOMENTS:
        return lambda matrix: _step_over_voxels(white, matrix, n_threads)
    first, second = np.triu_indices(len(white))
    moments = _fourth_moments(white, first, second, n_threads)
    # An unordered pair counts twice, as it stands for two ordered pairs, unless it is a square.
    twice = np.where(first == second, 1.0, 2.0)

    def step(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        pairs = matrix[:, first] * matrix[:, second] * twice
        # Row c of `symmetric` holds the upper triangle of E[(w_cᵀ z)² z zᵀ].
        symmetric = pairs @ moments
        square = np.empty((len(matrix), len(white), len(white)))
        square[:, first, second] = symmetric
        square[:, second, first] = symmetric
        return np.asarray(np.einsum("cij,cj->ci", square, matrix))

    return step


def _fourth_moments(
    white: NDArray[np.float64],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    n_threads: int,
) -> NDArray[np.float64]:
    """Compute E[z_i z_j z_k z_l] for all unordered pairs (i, j) and (k, l)."""

    def moments_of_block(block: slice) -> NDArray[np.float64]:
        part = white[:, block]
        products = part[first] * part[second]
        return np.asarray(products @ products.T)

    # Each thread holds the products of a block and their moments. This bounds the size of both.
    size = max(256, _PRODUCTS_OF_A_BLOCK // len(first))
    if len(white) > MAX_COMPONENTS_OF_THREADS:
        n_threads = 1
    moments = np.zeros((len(first), len(first)))
    for part in map_ordered(moments_of_block, blocks(white.shape[1], size), n_threads):
        moments += part
    return np.asarray(moments / white.shape[1])


def _step_over_voxels(
    white: NDArray[np.float64], matrix: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]:
    def step_of_block(block: slice) -> NDArray[np.float64]:
        part = white[:, block]
        sources = matrix @ part
        return np.asarray((sources * sources * sources) @ part.T)

    total = np.zeros_like(matrix)
    for part in map_ordered(step_of_block, blocks(white.shape[1]), n_threads):
        total += part
    return np.asarray(total / white.shape[1])


def fastica_cube(step: CubicStep, start: NDArray[np.float64]) -> Unmixing:
    """Run FastICA from one start, all components at once (symmetric decorrelation).

    From the same start, the result is that of scikit-learn's
    ``fastica(fun="cube", whiten=False)``. Where that does not settle, the iteration is finished by
    `orthogonal_ascent.ascend`, which ends at one of its fixed points.

    Parameters
    ----------
    step : callable
        As `cubic_step` returns it.
    start : ndarray, shape (n_components, n_components)
        Any matrix of full rank.

    Returns
    -------
    Unmixing
        The sources are ``matrix @ white``.

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix became singular.
    """
    matrix = _decorrelate(start)
    for n_iter in range(1, MAX_ITERATIONS + 1):
        following = _decorrelate(step(matrix) - 3.0 * matrix)
        has_settled = _is_same(following, matrix)
        matrix = following
        if has_settled:
            return Unmixing(matrix, n_iter, converged=True)
    matrix, n_steps, has_converged = ascend(step, matrix, _is_fixed)
    return Unmixing(matrix, MAX_ITERATIONS + n_steps, has_converged)


def _is_fixed(matrix: NDArray[np.float64], moments: NDArray[np.float64]) -> bool:
    """Return whether the iteration would leave a matrix as it is."""
    return _is_same(_decorrelate(moments - 3.0 * matrix), matrix)


def _is_same(following: NDArray[np.float64], matrix: NDArray[np.float64]) -> bool:
    change = np.abs(np.abs(np.einsum("ij,ij->i", following, matrix)) - 1.0).max()
    return bool(change < TOLERANCE)


def _decorrelate(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest orthogonal matrix, (W Wᵀ)^(-1/2) W."""
    U, _, V = np.linalg.svd(matrix)
    return np.asarray(U @ V)
