"""The second pass over one run: what it holds of the group's maps.

As in the map step, one picklable function of one picklable task, and what it depends on is in the
names of what it stores: a second start and the jobs of a cluster array find what is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.bids.write import compressed, compressed_parts
from nidecomp.errors import FailedRunError
from nidecomp.files import replace_atomically, writing
from nidecomp.process_run import MapTask, done_or_failed, read_run
from nidecomp.project.dual_regression import (
    OwnMaps,
    combine,
    map_correlations,
    own_effects,
    own_maps,
    time_courses,
)
from nidecomp.project.removal import fit_removal, without
from nidecomp.records import Components, FailedRun, RunKey
from nidecomp.signal.clean import clean
from nidecomp.signal.geometry import VoxelGeometry
from nidecomp.signal.quality import temporal_snr
from nidecomp.signal.stream import describe_image, values_of

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

    cleaning: MapTask
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

    def removed_of(self, index: int) -> tuple[int, ...]:
        """Give the components of one target that are taken out of the run's image."""
        return self.removed[index] if self.removed else ()

    def denoised_path(self, stem: Path, index: int) -> Path:
        """Name the image without one target's components."""
        what = json.dumps([self.removed_of(index), self.aggressive])
        digest = hashlib.sha256(what.encode()).hexdigest()
        return stem.with_name(f"{stem.name}_{index}_bold_{digest[:12]}.nii.gz")

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

    key: RunKey
    stem: Path
    tsnr: float
    projections: tuple[Projection, ...]


def store_target(components: Components, smoothing_fwhm: float, work_dir: Path) -> Target:
    """Store a decomposition's maps for the workers.

    Parameters
    ----------
    components : Components
    smoothing_fwhm : float
        Of the data that they were fitted to, in mm.
    work_dir : Path

    Returns
    -------
    Target
    """
    maps = np.ascontiguousarray(components.maps, dtype=np.float32)
    digest = _digest(maps)
    path = work_dir / "projected" / f"maps_{digest[:20]}.npy"
    if not _holds(path, digest):
        with writing(path) as file:
            np.save(file, maps)
    return Target(path, digest, smoothing_fwhm)


def _digest(maps: NDArray[np.float32]) -> str:
    return hashlib.sha256(repr(maps.shape).encode() + maps.tobytes()).hexdigest()


def _holds(path: Path, digest: str) -> bool:
    """Tell whether a file has the maps that its name says; another job may be reading it."""
    try:
        return _digest(np.load(path)) == digest
    except Exception:  # numpy raises anything for a damaged file, which is made anew
        return False


def project_run(task: ProjectTask) -> ProjectedRun | FailedRun:
    """Project one run to the group's maps, or find that it was done before.

    Parameters
    ----------
    task : ProjectTask

    Returns
    -------
    ProjectedRun or FailedRun
        Never raises for what is wrong with the run.
    """
    return done_or_failed(task.cleaning.run.files, lambda: _found_or_projected(task))


def _found_or_projected(task: ProjectTask) -> ProjectedRun:
    stem = task.stem
    return _found(task, stem) or _project(task, stem)


def _project(task: ProjectTask, stem: Path) -> ProjectedRun:
    smoothings = tuple(sorted({target.smoothing_fwhm for target in task.targets}))
    series, _, design = read_run(task.cleaning, smoothings)
    tsnr = temporal_snr(series[smoothings.index(task.targets[0].smoothing_fwhm)])
    n_regressors = design.nuisance.shape[1]
    cleaned = {
        fwhm: clean(one, design.nuisance) for fwhm, one in zip(smoothings, series, strict=True)
    }
    stored: dict[str, NDArray[np.float64]] = {"tsnr": np.array(tsnr)}
    for index, target in enumerate(task.targets):
        maps = np.load(target.path, mmap_mode="r")
        here = cleaned[target.smoothing_fwhm]
        courses = time_courses(here.series, maps, float(np.trace(here.gram)))
        if task.normalise:
            courses = courses.normalised()
        effect = own_effects(here.series, courses.values)
        stored |= {
            f"courses_{index}": courses.values,
            f"explained_variance_{index}": np.array(courses.explained_variance),
            f"map_r_{index}": map_correlations(effect, maps),
        }
        if task.removed_of(index):
            _store_denoised(task, stem, index, courses.values, design.kept)
        if not task.with_maps:
            continue
        own = own_maps(here.series, courses.values, effect, n_regressors)
        _store_maps(own, stem, index, task.cleaning.geometry)
        if task.with_variance:
            _store_variance(own, stem, index)
    if task.stem != stem:
        raise FailedRunError("its files changed while it was processed: start again")
    # What the record stands for comes last: where it is, the rest is whole.
    with writing(stem.with_name(stem.name + ".npz")) as file:
        np.savez(file, allow_pickle=False, **stored)
    found = _found(task, stem)
    assert found is not None  # noqa: S101  it was stored above
    return found


def _found(task: ProjectTask, stem: Path) -> ProjectedRun | None:
    """Read what is stored; None where there is nothing or where something is missing."""
    projections = []
    try:
        # Opened here: where it is no archive, numpy would leave it open.
        with stem.with_name(stem.name + ".npz").open("rb") as file, np.load(file) as content:
            for index in range(len(task.targets)):
                maps = {name: _map_file(stem, index, name) for name in STATISTICS}
                wanted = list(maps.values()) if task.with_maps else []
                if task.with_variance:
                    wanted += [_array_file(stem, index, name) for name in ("effect", "variance")]
                denoised = task.denoised_path(stem, index) if task.removed_of(index) else None
                if denoised is not None:
                    wanted.append(denoised)
                if not all(path.exists() for path in wanted):
                    return None
                projections.append(
                    Projection(
                        content[f"courses_{index}"],
                        float(content[f"explained_variance_{index}"]),
                        content[f"map_r_{index}"],
                        maps if task.with_maps else {},
                        denoised,
                    )
                )
            tsnr = float(content["tsnr"])
    except Exception:  # numpy raises anything for a damaged file, which is made anew
        return None
    return ProjectedRun(task.cleaning.run.files.key, stem, tsnr, tuple(projections))


def _store_denoised(
    task: ProjectTask,
    stem: Path,
    index: int,
    courses: NDArray[np.float64],
    kept: NDArray[np.intp],
) -> None:
    """Write the run's image without some components: two passes over it, volume by volume."""
    bold = task.cleaning.run.files.bold
    image = describe_image(bold)
    removal = fit_removal(
        values_of(image, kept), courses, task.removed_of(index), aggressive=task.aggressive
    )
    header = nib.load(bold).header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    volumes = without(values_of(image, np.arange(image.n_volumes)), kept, removal)
    with writing(task.denoised_path(stem, index)) as file:
        for part in compressed_parts(header, volumes):
            file.write(part)


# ---------------------------------------------------------------- maps
@dataclass(frozen=True, eq=False)
class CombineTask:
    """The runs of one participant that are to be combined, in a fixed order."""

    participant: str
    stems: tuple[Path, ...]
    n_targets: int
    geometry: VoxelGeometry

    @property
    def stem(self) -> Path:
        """Name what is stored, without extension."""
        names = "\n".join(stem.name for stem in self.stems)
        digest = hashlib.sha256(names.encode()).hexdigest()
        return self.stems[0].with_name(f"sub-{self.participant}_{digest[:20]}")


def combine_runs(task: CombineTask) -> tuple[str, tuple[Mapping[str, Path], ...]]:
    """Combine the maps of a participant's runs by fixed effects.

    Parameters
    ----------
    task : CombineTask

    Returns
    -------
    participant : str
    files : tuple of mapping
        For each target, statistic to the file with the participant's maps.
    """
    files = tuple(
        {name: _map_file(task.stem, index, name) for name in STATISTICS}
        for index in range(task.n_targets)
    )
    if all(path.exists() for of_target in files for path in of_target.values()):
        return task.participant, files
    with threadpool_limits(limits=1):
        for index in range(task.n_targets):
            effects, variances = (
                [np.load(_array_file(stem, index, name)) for stem in task.stems]
                for name in ("effect", "variance")
            )
            _store_maps(combine(effects, variances), task.stem, index, task.geometry)
    return task.participant, files


def _map_file(stem: Path, index: int, statistic: str) -> Path:
    return stem.with_name(f"{stem.name}_{index}_{statistic}.nii.gz")


def _array_file(stem: Path, index: int, name: str) -> Path:
    return stem.with_name(f"{stem.name}_{index}_{name}.npy")


def _store_maps(own: OwnMaps, stem: Path, index: int, geometry: VoxelGeometry) -> None:
    """Store maps as the files that they will be: compressing them is work for many processes."""
    for name in STATISTICS:
        content = compressed(geometry.image(getattr(own, name)))
        with replace_atomically(_map_file(stem, index, name)) as temporary:
            temporary.write_bytes(content)


def _store_variance(own: OwnMaps, stem: Path, index: int) -> None:
    for name in ("effect", "variance"):
        with writing(_array_file(stem, index, name)) as file:
            np.save(file, getattr(own, name))
