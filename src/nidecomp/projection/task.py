"""Records of the projection of one run: its inputs and its results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.hemispheres import side_in_name
from nidecomp.core.records import RunKey, UsableRun
from nidecomp.projection.dual_regression import NoiseSummary
from nidecomp.runs.task import ReduceTask

# Part of the name of stored files. Increase it whenever the stored numbers change.
_FORMAT = 4
STATISTICS = ("effect", "z")


@dataclass(frozen=True)
class Target:
    """A decomposition's maps in a file that every process can read.

    `path` has an array of float32, (n_components, n_voxels), and `digest` is its hash.
    `smoothing_fwhm` is the smoothing of the runs that are projected to it, in mm.
    """

    path: Path
    digest: str
    smoothing_fwhm: float


@dataclass(frozen=True, eq=False)
class ProjectTask:
    """Everything that the projection of one run depends on.

    Parameters
    ----------
    cleaning : ReduceTask
        How the run is read and cleaned.
    targets : tuple of Target
        The decompositions that the run is projected to.
    normalise : bool
        Whether time courses are scaled to unit variance before stage 2 of dual regression.
    with_maps : bool
        Whether the run's own maps are stored.
    arrays : tuple of str
        What is stored as arrays (`store.array_file`): ``effect`` and ``noise`` of runs whose maps
        are combined with those of the participant's other runs, and the statistic (``effect`` or
        ``z``) of maps that participants are compared by.
    removed : tuple of tuple of int
        For each target, the components that are regressed out of the run's image.
    aggressive : bool
        Whether this removes the variance that they share with other components, too.
    """

    cleaning: ReduceTask
    targets: tuple[Target, ...]
    normalise: bool
    with_maps: bool
    arrays: tuple[str, ...] = ()
    removed: tuple[tuple[int, ...], ...] = ()
    aggressive: bool = False

    @property
    def label(self) -> str:
        """The run's name."""
        return self.cleaning.label

    @property
    def needs_noise(self) -> bool:
        """Whether the noise of the run's voxels is needed, which takes longer than the effect."""
        return self.with_maps or not {"noise", "z"}.isdisjoint(self.arrays)

    def regressed_out_of(self, index: int) -> tuple[int, ...]:
        """Return the components of one target that are regressed out of the run's image."""
        return self.removed[index] if self.removed else ()

    def regressed_path(self, stem: Path, index: int) -> Path:
        """Return the path of the image that components of one target are regressed out of."""
        what = json.dumps([self.regressed_out_of(index), self.aggressive])
        digest = hashlib.sha256(what.encode()).hexdigest()
        extension = self.cleaning.space.extensions.run
        side = side_in_name(self.cleaning.space.hemispheres)
        return stem.with_name(f"{stem.name}_{index}{side}_bold_{digest[:12]}{extension}")

    @property
    def stem(self) -> Path:
        """The path of the stored files, without extension; its hash stands for all inputs.

        Each access reads the ends of the run's files.
        """
        smoothings = sorted({target.smoothing_fwhm for target in self.targets})
        identity = {
            "format": _FORMAT,
            "cleaned": [self.cleaning.path(fwhm).name for fwhm in smoothings],
            "targets": [(target.digest, target.smoothing_fwhm) for target in self.targets],
            "normalise": self.normalise,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.cleaning.work_dir / "projected" / f"{self.label}_{digest[:20]}"


@dataclass(frozen=True, eq=False)
class Projection:
    """The projection of one run to one decomposition.

    Parameters
    ----------
    courses : ndarray, shape (n_kept, n_components)
        The time courses of dual regression stage 1, at the volumes kept.
    explained_variance : float
        The share of the cleaned run's variance that all maps explain together.
    map_r : ndarray, shape (n_components,)
        The correlation of the run's own map of each component with the group's map.
    maps : mapping
        Statistic to the file with the run's own maps (stage 2), ready to be copied to the outputs;
        empty if they are not wanted.
    noise : NoiseSummary or None
        Degrees of freedom and serial correlation of the z values, if there are maps.
    denoised : Path or None
        The run's image with components regressed out, ready to be copied to the outputs.
    """

    courses: NDArray[np.float64]
    explained_variance: float
    map_r: NDArray[np.float64]
    maps: Mapping[str, Path]
    noise: NoiseSummary | None = None
    denoised: Path | None = None


@dataclass(frozen=True, eq=False)
class CombinedMaps:
    """The maps of a participant over their runs: statistic to file, and what z depends on."""

    maps: Mapping[str, Path]
    noise: NoiseSummary


@dataclass(frozen=True, eq=False)
class ProjectedRun:
    """The projections of one run, one for each target, in the order of the task.

    `run` is the run without the volumes that turned out to be empty. `stem` is the path of the
    stored files, as the task had it when it began. `tsnr` is the median over voxels of the mean
    divided by the standard deviation over the volumes kept, without cleaning, at the smoothing of
    the first target; NaN for data without a baseline.
    """

    run: UsableRun
    stem: Path
    tsnr: float
    projections: tuple[Projection, ...]

    @property
    def key(self) -> RunKey:
        """Which run it is."""
        return self.run.key
