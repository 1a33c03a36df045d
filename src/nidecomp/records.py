"""The small frozen records that the steps hand to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32] | NDArray[np.float64]
Matrix4 = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RunKey:
    """Which run: its entities, in the order in which BIDS names them."""

    entities: tuple[tuple[str, str], ...]

    def get(self, entity: str) -> str | None:
        """Give the label of one entity (its short name, such as ``ses``) or None."""
        return dict(self.entities).get(entity)

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return dict(self.entities)["sub"]

    @property
    def task(self) -> str:
        """The task's label, without ``task-``."""
        return dict(self.entities)["task"]

    @property
    def label(self) -> str:
        """The run's name as its files carry it: ``sub-01_ses-1_task-rest``."""
        return "_".join(f"{name}-{value}" for name, value in self.entities)


@dataclass(frozen=True)
class RunFiles:
    """One run as the index found it: its name and its files."""

    key: RunKey
    space: str
    res: str | None
    bold: Path
    mask: Path | None
    confounds: Path | None
    cohort: str | None = None
    desc: str | None = None


@dataclass(frozen=True)
class Grid:
    """A voxel grid: how many voxels, and where they are (4 × 4, voxel to RAS+ mm)."""

    shape: tuple[int, int, int]
    affine: Matrix4

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array, 4 × 4."""
        return np.array(self.affine, dtype=np.float64)


@dataclass(frozen=True)
class UsableRun:
    """One run that passed every check of its files.

    `stored_bytes` is the size of one number in the file, `kept` are the volumes that are used,
    `notes` says what had to be assumed.
    """

    files: RunFiles
    grid: Grid
    repetition_time_s: float
    start_time_s: float | None
    n_volumes: int
    stored_bytes: int
    kept: tuple[int, ...]
    n_regressors: int
    mean_fd_mm: float | None
    notes: tuple[str, ...] = ()
    resampled: bool = False
    coverage: float | None = None

    @property
    def n_kept(self) -> int:
        """How many volumes are used."""
        return len(self.kept)

    @property
    def degrees_of_freedom(self) -> int:
        """How many dimensions cleaning leaves: no more components can be had from the run."""
        return self.n_kept - self.n_regressors


@dataclass(frozen=True)
class RefusedRun:
    """One run that cannot be used, and the sentence that says why."""

    key: RunKey
    bold: Path
    reason: str


@dataclass(frozen=True)
class FailedRun:
    """One run that broke while it was processed, and the sentence that says how.

    `traceback` is there where the error was none that was foreseen.
    """

    key: RunKey
    bold: Path
    reason: str
    traceback: str | None = None


@dataclass(frozen=True)
class ReducedRun:
    """One run after the map step: where its reduced rows are, and a few numbers.

    The array in `path` is float32, (n_rows, n_voxels): the leading right singular vectors of the
    cleaned, standardised run, each scaled by its singular value. A run that is wanted at several
    smoothings (full widths at half maximum in mm) has a record for each.
    """

    key: RunKey
    path: Path
    smoothing_fwhm: float
    n_rows: int
    n_voxels: int
    total_variance: float
    squared_singular_values: tuple[float, ...]
    n_nonfinite: int
    n_constant: int

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the array in `path`."""
        return self.n_rows, self.n_voxels

    @property
    def volumes_path(self) -> Path:
        """Where what is known of each volume kept lies beside the rows (see `process_run`)."""
        return self.path.with_suffix(".npz")

    def variance_share(self, n_components: int) -> float:
        """Give the share of the cleaned run's variance that its leading components hold."""
        kept = sum(self.squared_singular_values[:n_components])
        return kept / self.total_variance if self.total_variance else 0.0


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


@dataclass(frozen=True)
class Inventory:
    """Every run that was found, each in one of three lists.

    Parameters
    ----------
    used : tuple of UsableRun
    refused : tuple of RefusedRun
        Each with its `reason`.
    failed : tuple of FailedRun
        Each with its `reason`.
    """

    used: tuple[UsableRun, ...] = ()
    refused: tuple[RefusedRun, ...] = ()
    failed: tuple[FailedRun, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run of NiDecomp ended.

    Parameters
    ----------
    inventory : Inventory
        What became of each run that was found.
    output_dir : Path
        Where the results are.
    components : tuple of Components
        The decompositions, in the order of methods within numbers of components; none where
        nothing was fitted.
    is_reported : bool
        Whether the report could be made, or was not wanted.
    """

    inventory: Inventory
    output_dir: Path
    components: tuple[Components, ...] = ()
    is_reported: bool = True

    @property
    def exit_code(self) -> int:
        """0 where every usable run went through, 1 where some failed, or the report did."""
        return 1 if self.inventory.failed or not self.is_reported else 0
