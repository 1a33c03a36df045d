"""CanICA: independent components in the space that the participants share.

Varoquaux et al. (2010), A group model for stable multi-subject ICA on fMRI datasets, NeuroImage
51:288. The iteration is FastICA; the choice among restarts is nilearn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered
from nidecomp.decomposition.components import Restart
from nidecomp.decomposition.fastica import CubicStep, Unmixing, cubic_step, fastica_cube


@dataclass(frozen=True, eq=False)
class CanicaFit:
    """How CanICA went.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        Of the chosen restart: unsigned, unordered, unscaled.
    restarts : tuple of Restart
        One for each start, in order, each with its unmixing matrix.
    chosen : int
        The restart whose largest map (by L1 norm) is smallest, as in nilearn's CanICA; only those
        that converged are compared, if any did.
    """

    maps: NDArray[np.float64]
    restarts: tuple[Restart, ...]
    chosen: int

    @property
    def n_converged(self) -> int:
        """How many restarts converged."""
        return sum(restart.converged for restart in self.restarts)


def fit_canica(
    subspace: NDArray[np.float64], n_init: int, seed: int, n_threads: int = 1
) -> CanicaFit:
    """Rotate the group's subspace to independent maps, from several starts.

    Parameters
    ----------
    subspace : ndarray, shape (n_components, n_voxels)
        Orthonormal rows.
    n_init : int
        How many restarts. One costs a few milliseconds: the iteration makes no pass over the
        voxels, and the choice among restarts one pass for each.
    seed : int
        Seeds the restarts' own seeds.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    CanicaFit

    Raises
    ------
    NidecompError
        No restart came to an end.
    """
    white = whiten(subspace)
    step = cubic_step(white, n_threads)
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=n_init).tolist()
    ends = [_one_restart(step, len(white), restart_seed) for restart_seed in seeds]
    finished = [index for index, end in enumerate(ends) if end is not None]
    if not finished:
        raise NidecompError(
            f"Each of the {n_init} ICA restarts broke down at {len(subspace)} components: the "
            "data hold fewer dimensions; use fewer components."
        )
    norms = _largest_l1_norms(white, ends, n_threads)
    restarts = tuple(map(_record, seeds, ends, norms))
    chosen = min(finished, key=lambda index: (not restarts[index].converged, norms[index]))
    unmixing = restarts[chosen].unmixing
    assert unmixing is not None  # noqa: S101  for the type checker: it is among the finished
    return CanicaFit(unmixing @ white, restarts, chosen)


def _record(seed: int, end: Unmixing | None, norm: float) -> Restart:
    if end is None:
        return Restart(seed, 0, converged=False, max_l1_norm=norm)
    return Restart(seed, end.n_iter, end.converged, norm, end.matrix)


def _largest_l1_norms(
    white: NDArray[np.float64], ends: Sequence[Unmixing | None], n_threads: int
) -> list[float]:
    """Give the L1 norm of each restart's largest map; infinity where it has none."""
    matrices = [end.matrix for end in ends if end is not None]

    def norms_of_block(block: slice) -> NDArray[np.float64]:
        part = white[:, block]
        return np.array([np.abs(matrix @ part).sum(axis=1) for matrix in matrices])

    total = np.zeros((len(matrices), len(white)))
    for norms in map_ordered(norms_of_block, blocks(white.shape[1]), n_threads):
        total += norms
    largest = iter(total.max(axis=1).tolist())
    return [np.inf if end is None else next(largest) for end in ends]


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
