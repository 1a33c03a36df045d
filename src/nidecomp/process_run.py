"""The map step of one run: read, mask, smooth, clean, standardise, reduce, store.

One picklable function of one picklable task. What it needs is in the task, what it gives is a
record; the array itself lies in the work folder under a name made of everything that it depends
on, so that a second start, a killed run and the jobs of a cluster array find what is done.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.errors import FailedRunError, NidecompError
from nidecomp.files import replace_atomically
from nidecomp.records import FailedRun, ReducedRun, UsableRun
from nidecomp.settings import Denoising
from nidecomp.signal.clean import clean
from nidecomp.signal.confounds import build_design
from nidecomp.signal.geometry import VoxelGeometry
from nidecomp.signal.read import read_series
from nidecomp.signal.reduce import reduce_rows

# Part of every key: raise it whenever the numbers that this module writes change.
_FORMAT = 1
# What decides the numbers: another version may give others.
_LIBRARIES = ("nibabel", "nilearn", "numpy", "pandas", "scipy")
# The end of a gzip file holds the checksum of its content: reading this much of both ends tells
# apart files of one size and one time without reading them whole.
_END_BYTES = 65536
# A squared singular value this much smaller than the largest is rounding: the run has no such row.
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class MapTask:
    """Everything that one run's map step depends on."""

    run: UsableRun
    geometry: VoxelGeometry
    denoising: Denoising
    n_rows: int
    work_dir: Path

    @property
    def stem(self) -> Path:
        """Where the reduced run is stored, without extension; the name is its identity."""
        confounds = self.run.files.confounds
        # Which runs are used is no property of a run's numbers.
        cleaning = asdict(replace(self.denoising, min_volumes=1, mean_fd_cutoff=None))
        identity = {
            "format": _FORMAT,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "bold": _identity(self.run.files.bold),
            "confounds": _identity(confounds),
            "confounds_sidecar": _identity(confounds and confounds.with_suffix(".json")),
            "repetition_time_s": self.run.repetition_time_s,
            "geometry": self.geometry.digest,
            "denoising": cleaning,
            "n_rows": self.n_rows,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.work_dir / "reduced" / f"{self.run.files.key.label}_{digest[:20]}"


def _identity(path: Path | None) -> list[object] | None:
    if path is None or not path.exists():
        return None
    status = path.stat()
    with path.open("rb") as file:
        ends = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, status.st_size - _END_BYTES))
        ends.update(file.read())
    return [status.st_size, status.st_mtime_ns, ends.hexdigest()]


def process_run(task: MapTask) -> ReducedRun | FailedRun:
    """Reduce one run, or find that it was reduced before.

    Parameters
    ----------
    task : MapTask

    Returns
    -------
    ReducedRun or FailedRun
        Never raises for what is wrong with the run: this is the one place where that is caught.
    """
    files = task.run.files
    try:
        # One thread: sums that are split between threads depend on how many there are.
        with threadpool_limits(limits=1):
            stem = task.stem
            return find_reduced(task, stem) or _reduce(task, stem)
    except NidecompError as error:
        return FailedRun(files.key, files.bold, str(error))
    except MemoryError:
        return FailedRun(files.key, files.bold, "there was not enough memory to process it")
    except Exception as error:
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}"
        return FailedRun(files.key, files.bold, reason, traceback.format_exc())


def find_reduced(task: MapTask, stem: Path) -> ReducedRun | None:
    """Give the record of a run that was reduced before with the same inputs and settings.

    Parameters
    ----------
    task : MapTask
    stem : Path
        Its ``stem``, which reads the ends of its files each time that it is asked for.

    Returns
    -------
    ReducedRun or None
        None where there is nothing or where what is there is incomplete.
    """
    array, record = stem.with_name(stem.name + ".npy"), stem.with_name(stem.name + ".json")
    try:
        numbers = json.loads(record.read_text(encoding="utf-8"))
        shape = np.load(array, mmap_mode="r").shape
        numbers["squared_singular_values"] = tuple(numbers["squared_singular_values"])
        reduced = ReducedRun(key=task.run.files.key, path=array, **numbers)
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return None
    return reduced if shape == (reduced.n_rows, reduced.n_voxels) else None


def _reduce(task: MapTask, stem: Path) -> ReducedRun:
    series, n_nonfinite, n_constant = cleaned_series(task)
    rows, total, squared = reduce_rows(series, task.n_rows)
    rank = int(np.count_nonzero(squared > _RANK_TOLERANCE * squared[0]))
    if rank < task.n_rows:
        raise FailedRunError(
            f"its cleaned data hold only {rank} dimensions (were they denoised before?), and "
            f"--n-components {task.n_rows} needs as many"
        )
    if task.stem != stem:
        raise FailedRunError("its files changed while it was processed: start again")
    array = stem.with_name(stem.name + ".npy")
    with replace_atomically(array) as temporary, temporary.open("wb") as file:
        np.save(file, rows)
    reduced = ReducedRun(
        key=task.run.files.key,
        path=array,
        n_rows=rows.shape[0],
        n_voxels=rows.shape[1],
        total_variance=total,
        squared_singular_values=tuple(squared.tolist()),
        n_nonfinite=n_nonfinite,
        n_constant=n_constant,
    )
    numbers = asdict(reduced)
    del numbers["key"], numbers["path"]
    # The record comes last: where it is, the array is whole.
    with replace_atomically(stem.with_name(stem.name + ".json")) as temporary:
        temporary.write_text(json.dumps(numbers), encoding="utf-8")
    return reduced


def cleaned_series(task: MapTask) -> tuple[NDArray[np.float32], int, int]:
    """Read and clean one run.

    Parameters
    ----------
    task : MapTask

    Returns
    -------
    series : ndarray of float32, shape (n_kept, n_voxels)
        Orthogonal to every regressor; each voxel has unit variance, or is 0 throughout.
    n_nonfinite, n_constant : int
        How many voxels were not finite at least once, and how many hold no signal.

    Raises
    ------
    FailedRunError
        The data cannot be read, or most of the brain holds no signal.
    """
    run = task.run
    design = build_design(run.files.confounds, run.n_volumes, run.repetition_time_s, task.denoising)
    series, n_nonfinite = read_series(
        run.files.bold, task.geometry, design.kept, task.denoising.smoothing_fwhm
    )
    series, n_constant = clean(series, design.nuisance)
    if 2 * n_constant > task.geometry.n_features:
        raise FailedRunError(
            f"{n_constant} of the group mask's {task.geometry.n_features} voxels hold no signal "
            "in it"
        )
    return series, n_nonfinite, n_constant
