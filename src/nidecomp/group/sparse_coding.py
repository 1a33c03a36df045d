"""Sparse codes of voxels in a dictionary: the lasso, by coordinate descent on the Gram matrix.

Friedman, Hastie & Tibshirani (2010), Regularization paths for generalized linear models via
coordinate descent, Journal of Statistical Software 33:1. The lasso sees a voxel through its inner
products with the atoms only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.compiled import compiled
from nidecomp.linalg import blocks
from nidecomp.parallel import map_ordered

# A lasso has converged when no coordinate's last change moved its inner product with the residual
# by more than this share of the largest inner product.
TOLERANCE = 1e-9
# Sweeps over the coordinates: scikit-learn's limit. It is met where atoms are nearly alike.
MAX_SWEEPS = 1000

# Voxels in one block of work for a thread. Voxels do not see each other: it changes no byte.
_BLOCK = 2048


def encode(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    alpha: float,
    n_threads: int = 1,
) -> tuple[NDArray[np.float32], int]:
    """Code every voxel: minimise ½‖sample − code · dictionary‖² + alpha ‖code‖₁.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_voxels, n_rows)
    dictionary : ndarray, shape (n_components, n_rows)
    alpha : float
        0 or more.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    maps : ndarray of float32, shape (n_components, n_voxels)
    n_unfinished : int
        Voxels whose lasso met the limit of sweeps.
    """
    gram = dictionary @ dictionary.T
    maps = np.empty((len(dictionary), len(samples)), dtype=np.float32)

    def encode_one(block: slice) -> int:
        return encode_block(samples[block], dictionary, gram, alpha, maps[:, block])

    ends = map_ordered(encode_one, blocks(len(samples), _BLOCK), n_threads)
    return maps, sum(ends)


@compiled
def encode_block(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    gram: NDArray[np.float64],
    alpha: float,
    maps: NDArray[np.float32],
) -> int:
    """Code some voxels into `maps`, (n_components, n_voxels); count the unfinished ones."""
    n_atoms = len(dictionary)
    code, products, slopes = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    n_unfinished = 0
    for voxel in range(len(samples)):
        inner_products(dictionary, samples[voxel], products)
        if not lasso(gram, products, alpha, code, slopes):
            n_unfinished += 1
        for atom in range(n_atoms):
            maps[atom, voxel] = code[atom]
    return n_unfinished


@compiled
def inner_products(
    dictionary: NDArray[np.float64], sample: NDArray[np.float32], products: NDArray[np.float64]
) -> None:
    """Compute ``dictionary @ sample`` in float64, into `products`."""
    for atom in range(len(dictionary)):
        weights = dictionary[atom]
        total = 0.0
        for row in range(len(sample)):
            total += weights[row] * sample[row]
        products[atom] = total


@compiled
def lasso(
    gram: NDArray[np.float64],
    products: NDArray[np.float64],
    alpha: float,
    code: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> bool:
    """Minimise ½ cᵀ G c − pᵀ c + alpha ‖c‖₁ from c = 0.

    Sweeps visit the coordinates that are not 0 until these have settled, then all of them, and end
    with one over all that changes nothing.

    Parameters
    ----------
    gram : ndarray, shape (n_atoms, n_atoms)
        Inner products of the atoms, G.
    products : ndarray, shape (n_atoms,)
        Inner products of the sample with the atoms, p.
    alpha : float
    code : ndarray, shape (n_atoms,)
        Out: c.
    slopes : ndarray, shape (n_atoms,)
        Out: p − G c, the inner products of the residual with the atoms.

    Returns
    -------
    bool
        Whether it converged.
    """
    largest = 0.0
    for atom in range(len(code)):
        code[atom] = 0.0
        slopes[atom] = products[atom]
        largest = max(largest, abs(products[atom]))
    negligible = TOLERANCE * largest
    over_all = True
    for _ in range(MAX_SWEEPS):
        change = 0.0
        for atom in range(len(code)):
            if over_all or code[atom] != 0.0:
                change = max(change, _descend(gram[atom], atom, alpha, code, slopes))
        if change > negligible:
            over_all = False
        elif over_all:
            return True
        else:
            over_all = True
    return False


@compiled
def _descend(
    gram_row: NDArray[np.float64],
    atom: int,
    alpha: float,
    code: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> float:
    """Minimise over one coordinate; give by how much its inner product with the residual moved."""
    power = gram_row[atom]
    if power == 0.0:
        return 0.0
    before = code[atom]
    pull = slopes[atom] + power * before
    after = 0.0
    if pull > alpha:
        after = (pull - alpha) / power
    elif pull < -alpha:
        after = (pull + alpha) / power
    step = after - before
    if step != 0.0:
        code[atom] = after
        for other in range(len(code)):
            slopes[other] -= step * gram_row[other]
    return abs(step) * power
