"""The group's subspace, computed from the principal components of one run after the other.

This is a truncated singular value decomposition whose memory does not grow with the number of runs.
Incoming rows are collected until there are as many as are kept, then the leading directions of both
are kept. The scheme is that of frequent directions without the shrinkage (Liberty 2013, Simple and
deterministic matrix sketching, KDD, doi:10.1145/2487575.2487623). It is exact as long as no
direction had to be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, leading_vectors
from nidecomp.core.parallel import map_ordered

RowNorm = Literal["unit", "sqrt", "singular"]
# The norm of a row is this power of its singular value.
NORM_POWERS: dict[RowNorm, float] = {"unit": 0.0, "sqrt": 0.5, "singular": 1.0}


@dataclass(frozen=True, eq=False)
class Subspace:
    """The leading right singular vectors of many rows.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_dims, n_voxels)
        The orthogonal singular vectors, the largest first, each scaled by its singular value.
    squared : ndarray, shape (n_dims,)
        The squared singular values.
    total_variance : float
        The sum of squares of all rows that were added.
    error_bound : float
        The largest possible error of `squared`: the squared singular values of all rows together
        are not smaller than `squared`, and larger by at most this. It is the largest squared
        singular value that was left out, summed over all times that directions were left out. It is
        0 if that happened at the end only.
    n_rows : int
        The number of rows that were added.
    """

    rows: NDArray[np.float32]
    squared: NDArray[np.float64]
    total_variance: float
    error_bound: float
    n_rows: int

    def orthonormal(self, n_leading: int) -> NDArray[np.float64]:
        """Return the leading directions with unit norm, shape (n_leading, n_voxels)."""
        singular = np.sqrt(np.maximum(self.squared[:n_leading], np.finfo(np.float64).tiny))
        return np.asarray(self.rows[:n_leading] / singular[:, None])


class SubspaceStream:
    """Computes a subspace from rows that are added in parts.

    Parameters
    ----------
    n_voxels : int
    n_dims : int
        The number of directions that are kept.
    n_threads : int
        The number of threads. The result does not depend on it.

    Notes
    -----
    Memory is ``2 · n_dims · n_voxels`` float32 numbers. Rows are merged `n_dims` at a time. This
    number changes the last digits of the result, so it must not depend on how a job is executed.
    Merging costs about ``4 · n_dims · n_voxels`` multiplications for each row.
    """

    def __init__(self, n_voxels: int, n_dims: int, n_threads: int = 1) -> None:
        # The directions that are kept, followed by the incoming rows.
        self._rows = np.empty((2 * n_dims, n_voxels), dtype=np.float32)
        self._n_dims = n_dims
        self._squared = np.zeros(0)
        self._n_threads = n_threads
        self._n_kept = self._n_incoming = self._n_added = 0
        self._total = self._dropped = 0.0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Add rows, shape (n_rows, n_voxels). Their order changes the rounding of the result."""
        self._n_added += len(rows)
        while len(rows):
            if self._n_incoming == self._n_dims:
                self._merge()
            taken = rows[: self._n_dims - self._n_incoming]
            first = self._n_kept + self._n_incoming
            self._rows[first : first + len(taken)] = taken
            self._n_incoming += len(taken)
            rows = rows[len(taken) :]

    def finish(self) -> Subspace:
        """Return the subspace; no more rows can be added afterwards."""
        dropped_before = self._dropped
        if self._n_incoming:
            self._merge()
        # Directions that the last merge leaves out do not change the values that are kept.
        bound = dropped_before
        # Gives the memory of the incoming rows back. (No other array has been made of this one.)
        self._rows.resize((self._n_kept, self._rows.shape[1]), refcheck=False)
        return Subspace(self._rows, self._squared, self._total, bound, self._n_added)

    def _merge(self) -> None:
        """Replace the kept directions by the leading ones of kept and incoming rows together."""
        n_voxels = self._rows.shape[1]
        n_both = self._n_kept + self._n_incoming
        gram = np.zeros((n_both, n_both))
        # The directions that are kept are orthogonal: their inner products are known.
        gram[: self._n_kept, : self._n_kept] = np.diag(self._squared)
        for part in map_ordered(self._gram_of_incoming, blocks(n_voxels), self._n_threads):
            gram[self._n_kept :] += part
        gram[: self._n_kept, self._n_kept :] = gram[self._n_kept :, : self._n_kept].T
        self._total += float(np.trace(gram[self._n_kept :, self._n_kept :]))
        n_leading = min(self._n_dims, n_both)
        vectors, squared = leading_vectors(gram, n_leading)
        across = np.ascontiguousarray(vectors.T, dtype=np.float32)
        for _ in map_ordered(partial(self._rotate, across), blocks(n_voxels), self._n_threads):
            pass
        self._squared = squared[:n_leading]
        self._dropped += float(squared[n_leading]) if n_leading < n_both else 0.0
        self._n_kept, self._n_incoming = n_leading, 0

    def _gram_of_incoming(self, block: slice) -> NDArray[np.float32]:
        both = self._rows[: self._n_kept + self._n_incoming, block]
        return np.asarray(both[self._n_kept :] @ both.T)

    def _rotate(self, across: NDArray[np.float32], block: slice) -> None:
        both = self._rows[: self._n_kept + self._n_incoming, block]
        self._rows[: len(across), block] = across @ both


def weighted_rows(
    rows: NDArray[np.float32], weight: float, row_norm: RowNorm
) -> NDArray[np.float32]:
    """Return the rows of one run, scaled for the group's subspace.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The run's orthogonal rows, each scaled by its singular value.
    weight : float
        The factor of all rows. With 1/√(runs of the participant), all runs of a participant
        together have the weight of one run.
    row_norm : {"unit", "sqrt", "singular"}
        The norm of each row before that: 1, the square root of its singular value, or its singular
        value. The singular value decomposition of rows of unit norm is the generalised canonical
        correlation analysis of CanICA (Varoquaux et al. 2010, NeuroImage 51:288, section 2.2):
        directions that participants share lead, not those with a large variance in one participant.
        With the singular value, it is the principal component analysis of all runs. The square root
        is between both (docs/decisions/0022-weighting.md).

    Returns
    -------
    ndarray of float32, shape (n_rows, n_voxels)
    """
    scale = np.full(len(rows), weight)
    if row_norm != "singular":
        norms = np.array([np.linalg.norm(row) for row in rows], dtype=np.float64)
        scale = scale * np.where(norms == 0, 1.0, norms) ** (NORM_POWERS[row_norm] - 1.0)
    return rows * scale[:, None].astype(np.float32)
