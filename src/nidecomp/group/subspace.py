"""The space that the group shares, out of every run's leading components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.linalg import blocks, leading_left


def stack_runs(
    runs: Sequence[NDArray[np.float32]], weights: Sequence[float], n_rows: int, *, canonical: bool
) -> NDArray[np.float32]:
    """Stack the leading rows of every run.

    Parameters
    ----------
    runs : sequence of ndarray, each (at least n_rows, n_voxels)
        The runs' orthogonal rows, each scaled by its singular value.
    weights : sequence of float
        What each run's rows are multiplied by. With 1/√(runs of the participant) the runs of one
        participant weigh together as one.
    n_rows : int
        How many rows of each run to take.
    canonical : bool
        Scale each row to unit norm first. The singular value decomposition of such a stack is the
        generalised canonical correlation analysis of CanICA (Varoquaux et al. 2010, NeuroImage
        51:288, section 2.2): what the participants share counts, not what is large in one.

    Returns
    -------
    ndarray of float32, shape (len(runs) · n_rows, n_voxels)
    """
    n_voxels = runs[0].shape[1]
    stack = np.empty((len(runs) * n_rows, n_voxels), dtype=np.float32)
    for index, (run, weight) in enumerate(zip(runs, weights, strict=True)):
        rows = np.asarray(run[:n_rows], dtype=np.float32)
        scale = np.full(n_rows, weight)
        if canonical:
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
            scale = scale / np.where(norms == 0, 1.0, norms)
        stack[index * n_rows : (index + 1) * n_rows] = rows * scale[:, None]
    return stack


def leading_subspace(stack: NDArray[np.float32], n_components: int) -> NDArray[np.float64]:
    """Give the leading right singular vectors of a stack of rows.

    Parameters
    ----------
    stack : ndarray of float32, shape (n_rows, n_voxels)
    n_components : int
        At most n_rows.

    Returns
    -------
    ndarray, shape (n_components, n_voxels)
        Orthonormal rows, the one of the largest singular value first.
    """
    vectors, squared = leading_left(stack, n_components)
    singular = np.sqrt(np.maximum(squared[:n_components], np.finfo(np.float64).tiny))
    subspace = np.empty((n_components, stack.shape[1]))
    for block in blocks(stack.shape[1]):
        subspace[:, block] = (vectors / singular).T @ stack[:, block].astype(np.float64)
    return subspace
