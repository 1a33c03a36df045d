"""The map step of one run: read, mask, smooth, clean, standardise, reduce, store.

One picklable function of one picklable task. What it needs is in the task, what it gives is a
record; the array itself lies in the work folder under a name made of everything that it depends
on, so that a second start, a killed run and the jobs of a cluster array find what is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.errors import FailedRunError, NidecompError
from nidecomp.files import replace_atomically, writing
from nidecomp.records import FailedRun, ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.settings import Denoising
from nidecomp.signal.clean import Cleaned, clean
from nidecomp.signal.design import Design, build_design
from nidecomp.signal.geometry import VoxelGeometry
from nidecomp.signal.reduce import reduce_rows
from nidecomp.signal.series import read_series
from nidecomp.signal.smooth import make_smoother
from nidecomp.signal.stream import told_as_failure
from nidecomp.small_files import in_one_line, parse_json, read_text
from nidecomp.version import library_versions

Result = TypeVar("Result")

# Part of every key: raise it whenever the numbers that this module writes change.
_FORMAT = 4
# The end of a gzip file holds the checksum of its content: reading this much of both ends tells
# apart files of one size and one time without reading them whole.
_END_BYTES = 65536
# A squared singular value this much smaller than the largest is rounding of float32 data: the run
# has no such row.
_RANK_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class MapTask:
    """Everything that one run's map step depends on.

    `smoothing_fwhm` are the smoothings wanted, in mm: each gives a reduced run of its own, all of
    them from one read of the file.
    """

    run: UsableRun
    geometry: VoxelGeometry
    denoising: Denoising
    smoothing_fwhm: tuple[float, ...]
    n_rows: int
    work_dir: Path

    @property
    def label(self) -> str:
        """The run's name."""
        return self.run.files.key.label

    def stem(self, smoothing_fwhm: float) -> Path:
        """Name a reduced run, without extension; the name is its identity.

        The ends of its files are read each time that it is asked for.
        """
        confounds = self.run.files.confounds
        identity = {
            "format": _FORMAT,
            "libraries": library_versions(),
            "bold": _identity(self.run.files.bold),
            "confounds": _identity(confounds),
            "confounds_sidecar": _identity(confounds and confounds.with_suffix(".json")),
            "repetition_time_s": self.run.repetition_time_s,
            "geometry": self.geometry.digest,
            "denoising": _cleaning(self.denoising),
            "smoothing_fwhm": smoothing_fwhm,
            "n_rows": self.n_rows,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.work_dir / "reduced" / f"{self.run.files.key.label}_{digest[:20]}"


@dataclass(frozen=True, eq=False)
class RunVolumes:
    """What is known of each volume kept of a reduced run.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_kept, n_rows)
        What each reduced row has in each volume: with the row's norm its time course.
    times_s : ndarray, shape (n_kept,)
        When each was acquired, in seconds from the run's first volume.
    motion : ndarray, shape (n_kept, n_columns)
        The rigid-body parameters (mm and radians) and framewise displacement (mm) that the
        confounds table has, without what cleaning removed.
    """

    rows: NDArray[np.float32]
    times_s: NDArray[np.float64]
    motion: NDArray[np.float64]


def _cleaning(denoising: Denoising) -> dict[str, object]:
    """Take the settings that decide a run's numbers: which runs are used is no property of one.

    How they are smoothed is named apart, for each of the smoothings.
    """
    elsewhere = {"min_volumes", "mean_fd_cutoff", "smoothing_fwhm", "dictlearning_smoothing_fwhm"}
    settings = asdict(denoising).items()
    return {name: value for name, value in settings if name not in elsewhere}


def _identity(path: Path | None) -> list[object] | None:
    # Path.exists raises where we may not look; a table's JSON there matters only where it is read.
    if path is None or not os.path.exists(path):  # noqa: PTH110
        return None
    with told_as_failure(path), path.open("rb") as file:
        status = path.stat()
        ends = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, status.st_size - _END_BYTES))
        ends.update(file.read())
    return [status.st_size, status.st_mtime_ns, ends.hexdigest()]


def warm_up(stored: str = "int16") -> None:
    """Do what a worker does once: this module's imports, and getting its loops compiled.

    Parameters
    ----------
    stored : str
        The type of the numbers that images store.
    """
    volume = np.zeros((3, 3, 3), dtype=stored)
    smoother = make_smoother(np.ones(volume.shape, dtype=np.bool_), (1.0, 1.0, 1.0), 1.0)
    series = np.empty((3, volume.size), dtype=np.float32)
    for features in series:
        smoother.take(volume, (1.0, 0.0), features, np.zeros(volume.shape, dtype=np.bool_))
    clean(series, np.full((3, 1), 3**-0.5))


def process_run(task: MapTask) -> tuple[ReducedRun, ...] | FailedRun:
    """Reduce one run, or find that it was reduced before.

    Parameters
    ----------
    task : MapTask

    Returns
    -------
    tuple of ReducedRun, or FailedRun
        One for each smoothing, in the task's order. Never raises for what is wrong with the run.
    """
    return done_or_failed(task.run.files, partial(_found_or_reduced, task))


def done_or_failed(files: RunFiles, work: Callable[[], Result]) -> Result | FailedRun:
    """Do something with one run: the one place where what is wrong with it is caught.

    Parameters
    ----------
    files : RunFiles
        The run.
    work : callable
        With one thread in it: sums that are split between threads depend on how many there are.

    Returns
    -------
    result or FailedRun
    """
    try:
        with threadpool_limits(limits=1):
            return work()
    except NidecompError as error:
        return FailedRun(files.key, files.bold, str(error))
    except MemoryError:
        return FailedRun(files.key, files.bold, "there was not enough memory to process it")
    except Exception as error:
        reason = f"{type(error).__name__}: {in_one_line(error)}"
        return FailedRun(files.key, files.bold, reason, traceback.format_exc())


def _found_or_reduced(task: MapTask) -> tuple[ReducedRun, ...]:
    stems = {fwhm: task.stem(fwhm) for fwhm in task.smoothing_fwhm}
    found = {fwhm: find_reduced(task.run.files.key, stem) for fwhm, stem in stems.items()}
    missing = tuple(fwhm for fwhm, record in found.items() if record is None)
    if missing:
        found |= _reduce(task, {fwhm: stems[fwhm] for fwhm in missing})
    return tuple(record for record in found.values() if record is not None)


def find_reduced(key: RunKey, stem: Path) -> ReducedRun | None:
    """Give the record of a run that was reduced before with the same inputs and settings.

    Parameters
    ----------
    key : RunKey
    stem : Path
        What `MapTask.stem` names it.

    Returns
    -------
    ReducedRun or None
        None where there is nothing or where what is there is incomplete or damaged.
    """
    array, record = stem.with_name(stem.name + ".npy"), stem.with_name(stem.name + ".json")
    try:
        numbers = cast(dict[str, Any], parse_json(read_text(record)))
        rows = np.load(array, mmap_mode="r")
        is_whole = _checksum(rows) == numbers.pop("checksum")
        numbers["squared_singular_values"] = tuple(numbers["squared_singular_values"])
        reduced = ReducedRun(key=key, path=array, **numbers)
        n_rows = read_volumes(reduced).rows.shape[1]
    except Exception:  # numpy raises anything for a damaged file, which is made anew
        return None
    has_its_shape = (n_rows, *rows.shape) == (reduced.n_rows, *reduced.shape)
    return reduced if is_whole and has_its_shape else None


def _checksum(rows: NDArray[np.float32]) -> int:
    """Sum up the bytes of a reduced run's rows, whatever lies between this start and the last.

    (numpy's archives of several arrays have sums of their own.)
    """
    return int(isal_zlib.crc32(np.ascontiguousarray(rows).data.cast("B")))


def read_volumes(reduced: ReducedRun) -> RunVolumes:
    """Read what is known of a reduced run's volumes.

    Parameters
    ----------
    reduced : ReducedRun

    Returns
    -------
    RunVolumes
    """
    # Opened here: where it is no archive, numpy would leave it open.
    with reduced.volumes_path.open("rb") as file, np.load(file) as content:
        return RunVolumes(content["rows"], content["times_s"], content["motion"])


def _reduce(task: MapTask, stems: Mapping[float, Path]) -> dict[float, ReducedRun]:
    """Reduce a run at some smoothings and store what comes out under the names given."""
    reduced: dict[float, ReducedRun] = {}
    for fwhm, (cleaned, n_nonfinite, design) in cleaned_series(task, tuple(stems)).items():
        leading = reduce_rows(cleaned, task.n_rows)
        squared = leading.squared
        rank = int(np.count_nonzero(squared > _RANK_TOLERANCE * squared[0]))
        if rank < task.n_rows:
            raise FailedRunError(
                f"its cleaned data hold only {rank} dimensions (were they denoised before?), and "
                f"{task.n_rows} are asked for: fewer --n-components, or fewer --max-components to "
                "choose from, would do"
            )
        if task.stem(fwhm) != stems[fwhm]:
            raise FailedRunError("its files changed while it was processed: start again")
        array = stems[fwhm].with_name(stems[fwhm].name + ".npy")
        with writing(array) as file:
            np.save(file, leading.rows)
        with writing(array.with_suffix(".npz")) as file:
            np.savez(
                file,
                rows=leading.volumes,
                times_s=design.kept * task.run.repetition_time_s,
                motion=design.motion,
            )
        record = ReducedRun(
            key=task.run.files.key,
            path=array,
            smoothing_fwhm=fwhm,
            n_rows=leading.rows.shape[0],
            n_voxels=leading.rows.shape[1],
            total_variance=leading.total_variance,
            squared_singular_values=tuple(squared.tolist()),
            n_nonfinite=n_nonfinite,
            n_constant=cleaned.n_constant,
        )
        numbers = asdict(record) | {"checksum": _checksum(leading.rows)}
        del numbers["key"], numbers["path"]
        # The record comes last: where it is, the array is whole.
        with replace_atomically(array.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(numbers), encoding="utf-8")
        reduced[fwhm] = record
    return reduced


def cleaned_series(
    task: MapTask, smoothing_fwhm: tuple[float, ...]
) -> dict[float, tuple[Cleaned, int, Design]]:
    """Read one run once and clean it at each smoothing.

    Parameters
    ----------
    task : MapTask
    smoothing_fwhm : tuple of float
        In mm.

    Returns
    -------
    dict
        Smoothing to the cleaned series, the number of voxels that were not finite at least once,
        and what cleaning did.

    Raises
    ------
    FailedRunError
        The data cannot be read, or most of the brain holds no signal.
    """
    read, n_nonfinite, design = read_run(task, smoothing_fwhm)
    cleaned = {
        fwhm: clean(smoothed, design.nuisance)
        for fwhm, smoothed in zip(smoothing_fwhm, read, strict=True)
    }
    n_constant = max(result.n_constant for result in cleaned.values())
    if 2 * n_constant > task.geometry.n_features:
        raise FailedRunError(
            f"{n_constant} of the group mask's {task.geometry.n_features} voxels hold no signal "
            "in it"
        )
    return {fwhm: (result, n_nonfinite, design) for fwhm, result in cleaned.items()}


def read_run(
    task: MapTask, smoothing_fwhm: tuple[float, ...]
) -> tuple[tuple[NDArray[np.float32], ...], int, Design]:
    """Read one run once at each smoothing, and find out what is to be removed from it.

    Parameters
    ----------
    task : MapTask
    smoothing_fwhm : tuple of float
        In mm.

    Returns
    -------
    series : tuple of ndarray of float32, each (n_kept, n_features)
    n_nonfinite : int
        The number of voxels that were not finite at least once.
    design : Design

    Raises
    ------
    FailedRunError
        The data cannot be read.
    """
    run = task.run
    design = build_design(run.files.confounds, run.n_volumes, run.repetition_time_s, task.denoising)
    series, n_nonfinite = read_series(run.files.bold, task.geometry, design.kept, smoothing_fwhm)
    return series, n_nonfinite, design
