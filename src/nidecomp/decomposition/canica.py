"""CanICA: independent components in the space that the participants share.

Varoquaux et al. (2010), A group model for stable multi-subject ICA on fMRI datasets, NeuroImage
51:288. The iteration is FastICA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered
from nidecomp.core.text import count
from nidecomp.decomposition.components import Restart
from nidecomp.decomposition.fastica import Unmixing, cubic_step, fastica_cube
from nidecomp.decomposition.orthogonal_ascent import CubicStep


@dataclass(frozen=True, eq=False)
class CanicaFit:
    """The result of CanICA.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        The maps of the chosen restart: not yet sorted, signed or scaled.
    restarts : tuple of Restart
        All restarts, each with its unmixing matrix.
    chosen : int
        The index of the restart whose maps are sparsest: the sum of their L1 norms is smallest.
        (nilearn's CanICA compares the largest map of each restart, a single one.) If any restart
        converged, only those that did are compared.
    """

    maps: NDArray[np.float64]
    restarts: tuple[Restart, ...]
    chosen: int

    @property
    def n_converged(self) -> int:
        """The number of restarts that converged."""
        return sum(restart.converged for restart in self.restarts)


def fit_canica(
    subspace: NDArray[np.float64], n_init: int, seed: int, n_threads: int = 1
) -> CanicaFit:
    """Fit CanICA: rotate the group's subspace to independent maps, from several random starts.

    Parameters
    ----------
    subspace : ndarray, shape (n_components, n_voxels)
        Orthonormal rows.
    n_init : int
        The number of restarts. A restart costs a few milliseconds, because its iterations make no
        pass over the voxels; choosing among restarts takes one pass for each.
    seed : int
        The seed from which the seeds of the restarts are drawn.
    n_threads : int
        The number of threads. The result does not depend on it.

    Returns
    -------
    CanicaFit

    Raises
    ------
    NidecompError
        All restarts failed.
    """
    white = whiten(subspace)
    step = cubic_step(white, n_threads)
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=n_init).tolist()
    ends = [_one_restart(step, len(white), restart_seed) for restart_seed in seeds]
    finished = [index for index, end in enumerate(ends) if end is not None]
    if not finished:
        raise NidecompError(
            f"All ICA restarts ({n_init}) failed with {count(len(subspace), 'component')}: "
            "the data have fewer dimensions. Use fewer components."
        )
    norms = _l1_norms(white, ends, n_threads)
    restarts = tuple(map(_record, seeds, ends, norms))
    chosen = min(finished, key=lambda index: (not restarts[index].converged, norms[index]))
    unmixing = restarts[chosen].unmixing
    assert unmixing is not None  # noqa: S101  for the type checker: the chosen restart finished
    return CanicaFit(unmixing @ white, restarts, chosen)


def _record(seed: int, end: Unmixing | None, norm: float) -> Restart:
    if end is None:
        return Restart(seed, 0, converged=False, l1_norm=norm)
    return Restart(seed, end.n_iter, end.converged, norm, end.matrix)


def _l1_norms(
    white: NDArray[np.float64], ends: Sequence[Unmixing | None], n_threads: int
) -> list[float]:
    """Return the sum of the L1 norms of each restart's maps; infinity for those that failed."""
    matrices = [end.matrix for end in ends if end is not None]

    def norms_of_block(block: slice) -> NDArray[np.float64]:
        part = white[:, block]
        return np.array([np.abs(matrix @ part).sum() for matrix in matrices])

    total = np.zeros(len(matrices))
    for part in map_ordered(norms_of_block, blocks(white.shape[1]), n_threads):
        total += part
    norms = iter(total.tolist())
    return [np.inf if end is None else next(norms) for end in ends]


def whiten(subspace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return centred, uncorrelated rows of unit variance.

    scikit-learn's whitening multiplies by the signs of the first entries of singular vectors. In
    a group's subspace, whose rows are orthonormal, these entries can be exactly 0: dimensions are
    lost and the iteration never converges. The symmetric square root has no signs to choose.

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
    # A row that is constant over the mask has no variance. The floor keeps it from being amplified.
    floor = values[-1] * len(values) * np.finfo(np.float64).eps
    inverse_root = (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
    return np.asarray(inverse_root @ centred)


def _one_restart(step: CubicStep, n_components: int, seed: int) -> Unmixing | None:
    """Run FastICA from one random start; return None where its matrix became singular."""
    start = np.random.RandomState(seed).normal(size=(n_components, n_components))
    try:
        return fastica_cube(step, start)
    except np.linalg.LinAlgError:
        return None
