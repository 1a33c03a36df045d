"""What the projection of one run depends on, and what comes out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.records import RunKey, UsableRun
from nidecomp.runs.task import ReduceTask

# Part of every key: raise it whenever the numbers that this module writes change.
_FORMAT = 2
STATISTICS = ("effect", "z")


@dataclass(frozen=True)
class Target:
    """A decomposition's maps, stored where every process finds them.

    `path` is an array of float32, (n_components, n_voxels); `digest` tells maps apart.
    """

    path: Path
    digest: str
    smoothing_fwhm: float


@dataclass(frozen=True, eq=False)
class ProjectTask:
    """Everything that one run's projection depends on.

    `cleaning` says how the run is read and cleaned; its smoothings are those of the targets.
    `with_maps`: whether the run's own maps are wanted; `with_variance`: whether other runs of the
    participant will be combined with them. `removed`: for each target the components that its image
    is wanted without.
    """

    cleaning: ReduceTask
    targets: tuple[Target, ...]
    normalise: bool
    with_maps: bool
    with_variance: bool
    removed: tuple[tuple[int, ...], ...] = ()
    aggressive: bool = False

    @property
    def label(self) -> str:
        """The run's name."""
        return self.cleaning.label

    def regressed_out_of(self, index: int) -> tuple[int, ...]:
        """Give the components of one target that are taken out of the run's image."""
        return self.removed[index] if self.removed else ()

    def regressed_path(self, stem: Path, index: int) -> Path:
        """Name the image without one target's components."""
        what = json.dumps([self.regressed_out_of(index), self.aggressive])
        digest = hashlib.sha256(what.encode()).hexdigest()
        extension = self.cleaning.space.extensions.run
        return stem.with_name(f"{stem.name}_{index}_bold_{digest[:12]}{extension}")

    @property
    def stem(self) -> Path:
        """Name what is stored, without extension; the name is its identity.

        The ends of the run's files are read each time that it is asked for.
        """
        smoothings = sorted({target.smoothing_fwhm for target in self.targets})
        identity = {
            "format": _FORMAT,
            "cleaned": [self.cleaning.stem(fwhm).name for fwhm in smoothings],
            "targets": [(target.digest, target.smoothing_fwhm) for target in self.targets],
            "normalise": self.normalise,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.cleaning.work_dir / "projected" / f"{self.label}_{digest[:20]}"


@dataclass(frozen=True, eq=False)
class Projection:
    """What one run holds of one decomposition.

    Parameters
    ----------
    courses : ndarray, shape (n_kept, n_components)
        Time courses at the volumes kept.
    explained_variance : float
        The share of the cleaned run's variance that all maps explain together.
    map_r : ndarray, shape (n_components,)
        Correlation of the run's own map of each component with the group's.
    maps : mapping
        Statistic to the file with the run's own maps of it, as they are to be written; empty where
        they were not wanted.
    denoised : Path or None
        The run's image without some components, as it is to be written.
    """

    courses: NDArray[np.float64]
    explained_variance: float
    map_r: NDArray[np.float64]
    maps: Mapping[str, Path]
    denoised: Path | None = None


@dataclass(frozen=True, eq=False)
class ProjectedRun:
    """One run after the second pass: a projection for each target, in the task's order.

    `stem` names what is stored, as the task did when it began. `tsnr` is the median over voxels of
    mean / standard deviation over the volumes kept, as read and smoothed at the first target's
    smoothing.
    """

    run: UsableRun
    stem: Path
    tsnr: float
    projections: tuple[Projection, ...]

    @property
    def key(self) -> RunKey:
        """Which run it is."""
        return self.run.key
