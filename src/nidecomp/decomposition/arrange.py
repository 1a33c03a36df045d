"""Order, sign and scale of components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
