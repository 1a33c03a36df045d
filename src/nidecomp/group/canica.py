"""CanICA: independent components in the space that the participants share.

Varoquaux et al. (2010), A group model for stable multi-subject ICA on fMRI datasets, NeuroImage
51:288. The iteration is FastICA; the choice among restarts is nilearn's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.errors import NidecompError
from nidecomp.group.fastica import CubicStep, Unmixing, cubic_step, fastica_cube
from nidecomp.records import Restart


def fit_canica(
    subspace: NDArray[np.float64], n_init: int, seed: int
) -> tuple[NDArray[np.float64], tuple[Restart, ...], int]:
    """Rotate the group's subspace to independent maps, from several starts.

    Parameters
    ----------
    subspace : ndarray, shape (n_components, n_voxels)
        Orthonormal rows.
    n_init : int
        How many restarts.
    seed : int
        Seeds the restarts' own seeds.

    Returns
    -------
    maps : ndarray, shape (n_components, n_voxels)
        Of the chosen restart: unsigned, unordered, unscaled.
    restarts : tuple of Restart
        One for each start, in order.
    chosen : int
        The restart whose largest map (by L1 norm) is smallest, as in nilearn's CanICA; only
        those that converged are compared, if any did.

    Raises
    ------
    NidecompError
        No restart came to an end.
    """
    white = whiten(subspace)
    step = cubic_step(white)
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=n_init)
    restarts: list[Restart] = []
    best: tuple[bool, float] | None = None
    maps, chosen = subspace, 0
    for index, restart_seed in enumerate(seeds.tolist()):
        unmixing = _one_restart(step, len(white), restart_seed)
        if unmixing is None:
            restarts.append(Restart(restart_seed, 0, converged=False, max_l1_norm=np.inf))
            continue
        candidate = unmixing.matrix @ white
        norm = float(np.abs(candidate).sum(axis=1).max())
        restarts.append(Restart(restart_seed, unmixing.n_iter, unmixing.converged, norm))
        rank = (not unmixing.converged, norm)
        if best is None or rank < best:
            best, maps, chosen = rank, candidate, index
    if best is None:
        raise NidecompError(
            f"Each of the {n_init} ICA restarts broke down at {len(subspace)} components: the "
            "data hold fewer dimensions; use fewer components."
        )
    return maps, tuple(restarts), chosen


def whiten(subspace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre rows and make them uncorrelated with unit variance.

    scikit-learn's own whitening multiplies by the signs of singular vectors' first entries. In
    the subspace of a group, whose rows are orthonormal, those can be exactly 0: dimensions vanish
    and the iteration never converges. The symmetric square root has no signs to choose.

    Parameters
    ----------
    subspace : ndarray, shape (n_components, n_voxels)
        Linearly independent rows.

    Returns
    -------
    ndarray, shape (n_components, n_voxels)
        ``X Xᵀ / n_voxels`` is the identity.
    """
    centred = subspace - subspace.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(centred @ centred.T / centred.shape[1])
    # A row that is constant over the mask has no variance; it must not be blown up.
    floor = values[-1] * len(values) * np.finfo(np.float64).eps
    inverse_root = (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
    return np.asarray(inverse_root @ centred)


def _one_restart(step: CubicStep, n_components: int, seed: int) -> Unmixing | None:
    """Iterate from one start; None where the iteration broke down (its matrix became singular)."""
    start = np.random.RandomState(seed).normal(size=(n_components, n_components))
    try:
        return fastica_cube(step, start)
    except np.linalg.LinAlgError:
        return None
