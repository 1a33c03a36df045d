"""Gaussian smoothing within one structure of voxels, as a matrix.

As ``wb_command -cifti-smoothing`` does it: voxels of other structures give nothing, and what
arrives at a voxel is divided by the weights that arrived.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nidecomp.spaces.geodesic import FWHM_OF_SIGMA, TRUNCATE, with_rows_of_1

# Of a voxel: a reach that ends on a voxel has it, whatever is rounded.
_NEARLY = 1e-6


def voxel_kernel(
    ijk: NDArray[np.intp], voxel_mm: NDArray[np.floating], fwhm_mm: float
) -> csr_array:
    """Return the matrix that smooths values at the voxels of one structure.

    Parameters
    ----------
    ijk : ndarray of int, shape (n, 3)
        The voxels, each once, in any order.
    voxel_mm : ndarray, shape (3,)
        The size of a voxel along each axis.
    fwhm_mm : float
        The full width at half maximum of the Gaussian, above 0.

    Returns
    -------
    csr_array of float32, shape (n, n)
        Its rows sum to 1.
    """
    sizes = np.asarray(voxel_mm, dtype=np.float64)
    sigma = fwhm_mm / FWHM_OF_SIGMA
    reach = np.floor(TRUNCATE * sigma / sizes + _NEARLY).astype(np.intp)
    places = ijk - ijk.min(axis=0) + reach
    number = np.full(places.max(axis=0) + reach + 1, -1, dtype=np.int32)
    number[tuple(places.T)] = np.arange(len(ijk), dtype=np.int32)
    rows, columns, weights = [], [], []
    for step in product(*(range(-most, most + 1) for most in reach.tolist())):
        other = number[tuple((places + step).T)]
        here = np.flatnonzero(other >= 0).astype(np.int32)
        rows.append(here)
        columns.append(other[here])
        weight = np.exp(-0.5 * float(np.sum((sizes * step / sigma) ** 2)))
        weights.append(np.full(len(here), weight, dtype=np.float32))
    kernel = csr_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(ijk), len(ijk)),
    )
    return with_rows_of_1(kernel)
