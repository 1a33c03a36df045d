"""FastICA with the cubic nonlinearity, from fourth moments.

The iteration of Hyvärinen (1999, Fast and robust fixed-point algorithms for independent component
analysis, IEEE Transactions on Neural Networks 10:626) is, for white data z and an orthogonal W,

    W ← decorrelate(E[(W z)³ zᵀ] − 3 W),

and E[(wᵀz)³ z] needs nothing of the data but E[z_i z_j z_k z_l]. These moments are summed over the
voxels once; every iteration of every restart then costs the same, however many voxels there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered

# The change of W below which the iteration has converged: scikit-learn's default.
TOLERANCE = 1e-4
# An iteration costs no pass over the voxels, so a slow start is waited for.
MAX_ITERATIONS = 1000
# The moments take (n (n + 1) / 2)² numbers: 530 MB at 128 components. Above, every iteration
# passes over the voxels instead.
MAX_COMPONENTS_OF_MOMENTS = 128

# Numbers in one block of products of pairs: 16 MB.
_PRODUCTS_OF_A_BLOCK = 1 << 21
# Their moments take 35 MB for each thread; above, one thread sums them.
MAX_COMPONENTS_OF_THREADS = 64

# From W (n × n, rows are directions) to E[(W z)³ zᵀ], n × n.
CubicStep = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Unmixing:
    """Where one start led: the orthogonal matrix, after how many iterations, settled or not."""

    matrix: NDArray[np.float64]
    n_iter: int
    converged: bool


def cubic_step(white: NDArray[np.float64], n_threads: int = 1) -> CubicStep:
    """Prepare the one thing that the iteration asks of the data.

    Parameters
    ----------
    white : ndarray, shape (n_components, n_voxels)
        Centred, uncorrelated rows of unit variance.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    callable
        From W to ``E[(W z)³ zᵀ]``, both (n_components, n_components).
    """
    if len(white) > MAX_COMPONENTS_OF_MOMENTS:
        return lambda matrix: _step_over_voxels(white, matrix, n_threads)
    first, second = np.triu_indices(len(white))
    moments = _fourth_moments(white, first, second, n_threads)
    # Each unordered pair stands for two ordered ones, but for the squares.
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
    """Sum E[z_i z_j z_k z_l] over the voxels, for all unordered pairs (i, j) and (k, l)."""

    def moments_of_block(block: slice) -> NDArray[np.float64]:
        part = white[:, block]
        products = part[first] * part[second]
        return np.asarray(products @ products.T)

    # Each thread holds the products of a block and their moments: both have a bound.
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
    """Iterate from one start, all components at once (symmetric decorrelation).

    From the same start this is scikit-learn's ``fastica(fun="cube", whiten=False)``.

    Parameters
    ----------
    step : callable
        As `cubic_step` prepares it.
    start : ndarray, shape (n_components, n_components)
        Any matrix of full rank.

    Returns
    -------
    Unmixing
        The sources are ``matrix @ white``.

    Raises
    ------
    numpy.linalg.LinAlgError
        The iteration broke down.
    """
    matrix = _decorrelate(start)
    for n_iter in range(1, MAX_ITERATIONS + 1):
        following = _decorrelate(step(matrix) - 3.0 * matrix)
        change = float(np.abs(np.abs(np.einsum("ij,ij->i", following, matrix)) - 1.0).max())
        matrix = following
        if change < TOLERANCE:
            return Unmixing(matrix, n_iter, converged=True)
    return Unmixing(matrix, MAX_ITERATIONS, converged=False)


def _decorrelate(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the orthogonal matrix nearest to one: (W Wᵀ)^(-1/2) W."""
    U, _, V = np.linalg.svd(matrix)
    return np.asarray(U @ V)
