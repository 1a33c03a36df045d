"""Decompositions as records: maps, and the evidence about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Restart:
    """One restart of the ICA: where it began, how it went and where it ended.

    `max_l1_norm` is the L1 norm of its largest map. `unmixing`, (n_components, n_components), gives
    its maps from the whitened subspace; None where the iteration broke down.
    """

    seed: int
    n_iter: int
    converged: bool
    max_l1_norm: float
    unmixing: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What other samples of participants, and each participant, say of a decomposition's maps.

    Parameters
    ----------
    reproducibility : ndarray, shape (n_splits, n_components)
        |r| between what both halves of a split found for each component. n_splits is 0 where it
        cannot be judged: one participant, or halves that could not be fitted.
    bootstrap : ndarray, shape (n_bootstraps, n_components)
        |r| of each component with its match in a group drawn with replacement.
    held_out_variance : ndarray, shape (2 n_splits, n_components)
        The share of one half's variance that the other half's match explains alone.
    total_variances : ndarray, shape (2 n_splits, 2)
        The share that all maps of a half explain together: of itself, and of the other half.
    trace : ndarray, shape (n_splits,)
        Mean matched |r| of both halves' maps, one to one.
    overlap : ndarray, shape (n_splits,)
        Mean squared cosine of the angles between what both halves' maps span.
    n_voxels : int
        The voxels that halves were fitted on.
    participants : tuple of str
        Labels, sorted.
    participant_variance : ndarray, shape (n_participants, n_components)
        The share of each participant's variance that each map explains beside all others: what
        would be lost without it. (What it explains alone is in part that of maps which overlap.)
    high_frequency : ndarray, shape (n_components,)
        The share of the time courses' power above 0.1 Hz, mean over participants; NaN: unknown.
    motion_r : ndarray, shape (n_components,)
        The largest |r| of the time courses with a motion parameter or framewise displacement, mean
        over participants; NaN: unknown.
    held_out : tuple of str
        Labels of the participants that were left out of the fit, sorted.
    holdout_variance : ndarray, shape (n_components,)
        The share of their variance that each map explains alone, mean over them; NaN without any.
    total_holdout_variance : float
        The share of their variance that all maps explain together, mean over them.
    """

    reproducibility: NDArray[np.float64]
    bootstrap: NDArray[np.float64]
    held_out_variance: NDArray[np.float64]
    total_variances: NDArray[np.float64]
    trace: NDArray[np.float64]
    overlap: NDArray[np.float64]
    n_voxels: int = 0
    participants: tuple[str, ...] = ()
    participant_variance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    high_frequency: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    motion_r: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    held_out: tuple[str, ...] = ()
    holdout_variance: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    total_holdout_variance: float = math.nan

    @property
    def dominance(self) -> NDArray[np.float64]:
        """The largest participant's share of what a component explains in all, (n_components,)."""
        total = self.participant_variance.sum(axis=0)
        largest = self.participant_variance.max(axis=0)
        return np.asarray(
            np.divide(largest, total, out=np.full(len(total), np.nan), where=total > 0)
        )

    def in_order(self, order: NDArray[np.intp]) -> Evidence:
        """Give the same for components in another order."""
        return replace(
            self,
            reproducibility=self.reproducibility[:, order],
            bootstrap=self.bootstrap[:, order],
            held_out_variance=self.held_out_variance[:, order],
            participant_variance=self.participant_variance[:, order],
            high_frequency=self.high_frequency[order],
            motion_r=self.motion_r[order],
            holdout_variance=self.holdout_variance[order],
        )


@dataclass(frozen=True)
class Components:
    """One decomposition: its maps, scaled, signed, ordered and named.

    Parameters
    ----------
    method : {"canica", "dictlearning", "given"}
    maps : ndarray of float32, shape (n_components, n_voxels)
    names : tuple of str
    explained_variance : ndarray, shape (n_components,)
        The share of the reduced runs' variance that each map alone explains.
    total_explained_variance : float
        What all of them explain together.
    total_variance : float
        That variance itself.
    fit : mapping
        How the fit went.
    restart_index : ndarray, shape (n_components,), optional
        How stably the ICA's restarts found each (Icasso's Iq); None where there are no restarts to
        compare.
    evidence : Evidence, optional
        What other samples of participants say of the maps.
    """

    method: str
    maps: NDArray[np.float32]
    names: tuple[str, ...]
    explained_variance: NDArray[np.float64]
    total_explained_variance: float
    total_variance: float = 0.0
    fit: Mapping[str, object] = field(default_factory=dict)
    restart_index: NDArray[np.float64] | None = None
    evidence: Evidence | None = None

    @property
    def n_components(self) -> int:
        """How many maps."""
        return len(self.maps)


def component_names(method: str, n_components: int) -> tuple[str, ...]:
    """Name the components of one decomposition: ``canica01`` and so on, all of one length."""
    width = max(2, len(str(n_components)))
    return tuple(f"{method}{number:0{width}d}" for number in range(1, n_components + 1))
