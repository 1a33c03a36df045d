"""Order, sign and scale of components, and the variance that they explain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products


def explained_variance(
    maps: NDArray[np.floating], rows: NDArray[np.float32], total_variance: float
) -> tuple[NDArray[np.float64], float]:
    """Compute the share of the runs' variance that maps explain, each alone and all together.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The weighted rows of all runs, or of the group's subspace, which represents them: variance
        outside of the subspace counts as not explained.
    total_variance : float
        Sum of squares of the weighted rows of all runs.

    Returns
    -------
    alone : ndarray, shape (n_components,)
        ``‖X c‖² / (‖c‖² ‖X‖²)``: the share that a regression on this map alone explains. Maps that
        overlap explain some of the same variance, so the shares can sum to more than `together`.
    together : float
        The share that a regression on all maps explains.
    """
    if total_variance == 0:
        return np.zeros(len(maps)), 0.0
    cross, gram = products(rows, maps), products(maps, maps)
    norms = np.diag(gram)
    power = np.einsum("ij,ij->j", cross, cross)
    alone = np.divide(power, norms * total_variance, out=np.zeros(len(maps)), where=norms > 0)
    weights = np.linalg.pinv(gram, hermitian=True)
    return alone, float(np.einsum("ij,jk,ik->", cross, weights, cross) / total_variance)


def arrange(
    maps: NDArray[np.floating], explained: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return maps sorted by what they explain, signed and scaled.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    explained : ndarray, shape (n_components,)
        The share of variance that each map explains alone.

    Returns
    -------
    maps : ndarray of float32, shape (n_components, n_voxels)
        Sorted by `explained`, the largest first. The value of largest magnitude of each map is
        positive, and its root mean square over the mask is 1; an empty map stays empty.
    order : ndarray of int, shape (n_components,)
        The index that each of these maps had before.
    """
    order = np.argsort(-explained, kind="stable")
    arranged = maps[order].astype(np.float64)
    peaks = arranged[np.arange(len(arranged)), np.abs(arranged).argmax(axis=1)]
    scale = np.sqrt(np.mean(arranged**2, axis=1))
    scale = np.where(scale == 0, 1.0, scale) * np.where(peaks < 0, -1.0, 1.0)
    return (arranged / scale[:, None]).astype(np.float32), order


def by_reproducibility(
    reproducibility: NDArray[np.float64], explained: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the order of components by reproducibility, then by explained variance.

    Parameters
    ----------
    reproducibility : ndarray, shape (n_splits, n_components)
        |r| between halves of the participants. Without splits, components are sorted by
        `explained` only.
    explained : ndarray, shape (n_components,)
        The share of variance that each map explains alone. It sorts components whose mean |r| is
        the same to two decimals, which is as precise as a few splits are.

    Returns
    -------
    ndarray of int, shape (n_components,)
        The index of the component that comes first, second, …
    """
    n_splits, n_components = reproducibility.shape
    mean = reproducibility.mean(axis=0) if n_splits else np.zeros(n_components)
    return np.lexsort((-explained, -np.round(mean, 2)))
