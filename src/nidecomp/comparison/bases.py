"""Orthonormal bases of what a contrast tests, of its nuisance, and of what permutations change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# What rounding leaves of a unit vector that lies in a space.
_TOLERANCE = 1e-7


def nuisance_of(matrix: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the model where ``weights @ coefficients`` is 0.

    Parameters
    ----------
    matrix : ndarray, shape (n_people, n_columns)
        Of full column rank.
    weights : ndarray, shape (m, n_columns)
        Of full row rank.

    Returns
    -------
    ndarray, shape (n_people, n_columns - m)
    """
    scaled, weights = _in_same_unit(matrix, weights)
    rotation = np.linalg.svd(weights)[2]
    return np.linalg.qr(scaled @ rotation[len(weights) :].T)[0]


def estimating(matrix: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what data are multiplied by to estimate a contrast, shape (m, n_people).

    Parameters
    ----------
    matrix, weights : ndarray
        As in `nuisance_of`.
    """
    scaled, weights = _in_same_unit(matrix, weights)
    return np.asarray(weights @ np.linalg.pinv(scaled))


def orthonormal(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of what the columns of a matrix of full rank can give."""
    return np.linalg.qr(matrix / np.linalg.norm(matrix, axis=0))[0]


def _in_same_unit(
    matrix: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the same model with columns of length 1, so that no unit is lost in rounding."""
    sizes = np.linalg.norm(matrix, axis=0)
    return matrix / sizes, weights / sizes


def effect_of(matrix: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of what a contrast adds to the nuisance, shape (n_people, m).

    With one row of weights, the product with data has the sign of the estimate.
    """
    # The estimate of the contrast is a product with the data that the nuisance adds nothing to.
    product = estimating(matrix, weights).T
    basis = np.linalg.qr(product)[0]
    return np.asarray(basis * np.sign(np.sum(basis * product, axis=0)))


def constant_within(effect: NDArray[np.float64], blocks: Sequence[str]) -> bool:
    """Return whether vectors, (n_people, m), are the same for all people of each block."""
    within = _of_blocks(blocks)
    return bool(np.linalg.norm(effect - within @ (within.T @ effect)) < _TOLERANCE)


def has_constant(basis: NDArray[np.float64]) -> bool:
    """Return whether an orthonormal basis, (n_people, n), can give the same for all people."""
    one = np.full(len(basis), len(basis) ** -0.5)
    return bool(np.linalg.norm(one - basis @ (basis.T @ one)) < _TOLERANCE)


def changing_part(basis: NDArray[np.float64], blocks: Sequence[str]) -> NDArray[np.float64]:
    """Return the part of a basis that permutations within blocks change.

    Parameters
    ----------
    basis : ndarray, shape (n_people, n)
        Orthonormal.
    blocks : sequence of str
        The block of each person.

    Returns
    -------
    ndarray, shape (n_people, n_changing)
        Orthonormal, and orthogonal to all in the basis that is constant in each block.
    """
    if not basis.shape[1]:
        return basis
    _, shared, turned = np.linalg.svd(_of_blocks(blocks).T @ basis)
    is_changed = np.ones(basis.shape[1], dtype=np.bool_)
    # A direction that is shared with what is constant has a cosine of 1.
    is_changed[: len(shared)] = shared < 1 - _TOLERANCE
    return np.asarray(basis @ turned[is_changed].T)


def _of_blocks(blocks: Sequence[str]) -> NDArray[np.float64]:
    """Return an orthonormal basis of what is constant in each block."""
    labels = np.array(blocks)
    members = (labels[:, None] == np.unique(labels)).astype(np.float64)
    return np.asarray(members / np.sqrt(members.sum(axis=0)))
