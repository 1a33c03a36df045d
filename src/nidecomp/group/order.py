"""The order, sign and scale of components, and what they explain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.linalg import blocks


def explained_variance(
    maps: NDArray[np.floating], rows: NDArray[np.float32], total_variance: float
) -> tuple[NDArray[np.float64], float]:
    """Compute what share of the runs' variance the maps explain, each alone and all together.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The weighted rows of all runs, or of the group's subspace, which stands for them: what lies
        outside of it counts as not explained.
    total_variance : float
        Sum of squares of the weighted rows of all runs.

    Returns
    -------
    alone : ndarray, shape (n_components,)
        ``‖X c‖² / (‖c‖² ‖X‖²)``: the share that a regression on that one map explains. Maps that
        overlap share some of it, so these can sum to more than the total.
    together : float
        The share that a regression on all maps explains.
    """
    if total_variance == 0:
        return np.zeros(len(maps)), 0.0
    cross = np.zeros((len(rows), len(maps)))
    gram = np.zeros((len(maps), len(maps)))
    for block in blocks(rows.shape[1]):
        part = maps[:, block].astype(np.float64)
        cross += rows[:, block].astype(np.float64) @ part.T
        gram += part @ part.T
    norms = np.diag(gram)
    power = np.einsum("ij,ij->j", cross, cross)
    alone = np.divide(power, norms * total_variance, out=np.zeros(len(maps)), where=norms > 0)
    weights = np.linalg.pinv(gram, hermitian=True)
    return alone, float(np.einsum("ij,jk,ik->", cross, weights, cross) / total_variance)


def arrange(
    maps: NDArray[np.floating], explained: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Order, sign and scale maps.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    explained : ndarray, shape (n_components,)
        What each explains alone.

    Returns
    -------
    maps : ndarray of float32, shape (n_components, n_voxels)
        The one that explains most comes first; each has its largest absolute value positive and a
        root mean square of 1 over the mask (an empty one stays empty).
    order : ndarray of int, shape (n_components,)
        Where each of them stood before.
    """
    order = np.argsort(-explained, kind="stable")
    arranged = maps[order].astype(np.float64)
    peaks = arranged[np.arange(len(arranged)), np.abs(arranged).argmax(axis=1)]
    scale = np.sqrt(np.mean(arranged**2, axis=1))
    scale = np.where(scale == 0, 1.0, scale) * np.where(peaks < 0, -1.0, 1.0)
    return (arranged / scale[:, None]).astype(np.float32), order


def strongest_voxels(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep of each map its strongest n_voxels / n_components values; the others become 0.

    nilearn's CanICA keeps that many on average over all maps; taken for each map on its own, a
    strong map cannot empty a weak one.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)

    Returns
    -------
    ndarray of float32, shape (n_components, n_voxels)
    """
    n_components, n_voxels = maps.shape
    n_kept = max(1, n_voxels // n_components)
    magnitude = np.abs(maps)
    threshold = np.partition(magnitude, n_voxels - n_kept, axis=1)[:, n_voxels - n_kept]
    return np.where(magnitude >= threshold[:, None], maps, np.float32(0))
