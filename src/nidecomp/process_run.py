"""The map step of one run: read, mask, smooth, clean, standardise, reduce, store.

One picklable function of one picklable task. What it needs is in the task, what it gives is a
record; the array itself lies in the work folder under a name made of everything that it depends
on, so that a second start, a killed run and the jobs of a cluster array find what is done.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
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

_LOG = logging.getLogger(__name__)
# Part of every key: raise it whenever the numbers that this module writes change.
_FORMAT = 1
# The end of a gzip file holds the checksum of its content: reading this much of an image tells
# apart files of one size and one time without reading them whole.
_TAIL_BYTES = 65536


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
        identity = {
            "format": _FORMAT,
            "bold": _identity(self.run.files.bold),
            "confounds": _identity(confounds),
            "confounds_sidecar": _identity(confounds and confounds.with_suffix(".json")),
            "repetition_time_s": self.run.repetition_time_s,
            "geometry": self.geometry.digest,
            "denoising": asdict(self.denoising),
            "n_rows": self.n_rows,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.work_dir / "reduced" / f"{self.run.files.key.label}_{digest[:20]}"


def _identity(path: Path | None) -> list[object] | None:
    if path is None or not path.exists():
        return None
    status = path.stat()
    with path.open("rb") as file:
        file.seek(max(0, status.st_size - _TAIL_BYTES))
        tail = hashlib.sha256(file.read()).hexdigest()
    return [status.st_size, status.st_mtime_ns, tail]


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
            return find_reduced(task) or _reduce(task)
    except NidecompError as error:
        return FailedRun(files.key, files.bold, str(error))
    except MemoryError:
        return FailedRun(files.key, files.bold, "there was not enough memory to process it")
    except Exception as error:
        _LOG.debug("%s failed", files.key.label, exc_info=True)
        text = " ".join(str(error).split())
        return FailedRun(files.key, files.bold, f"{type(error).__name__}: {text}")


def find_reduced(task: MapTask) -> ReducedRun | None:
    """Give the record of a run that was reduced before with the same inputs and settings.

    Parameters
    ----------
    task : MapTask

    Returns
    -------
    ReducedRun or None
        None where there is nothing or where what is there is incomplete.
    """
    stem = task.stem
    array, record = stem.with_name(stem.name + ".npy"), stem.with_name(stem.name + ".json")
    try:
        numbers = json.loads(record.read_text(encoding="utf-8"))
        shape = np.load(array, mmap_mode="r").shape
        reduced = ReducedRun(key=task.run.files.key, path=array, **numbers)
    except (OSError, ValueError, TypeError):
        return None
    return reduced if shape == (reduced.n_rows, reduced.n_voxels) else None


def _reduce(task: MapTask) -> ReducedRun:
    run = task.run
    series, n_nonfinite, n_constant = cleaned_series(task)
    rows, total, kept = reduce_rows(series, task.n_rows)
    numbers: dict[str, float | int] = {
        "n_rows": rows.shape[0],
        "n_voxels": rows.shape[1],
        "total_variance": total,
        "reduced_variance": kept,
        "n_nonfinite": n_nonfinite,
        "n_constant": n_constant,
    }
    stem = task.stem
    array = stem.with_name(stem.name + ".npy")
    with replace_atomically(array) as temporary, temporary.open("wb") as file:
        np.save(file, rows)
    # The record comes last: where it is, the array is whole.
    with replace_atomically(stem.with_name(stem.name + ".json")) as temporary:
        temporary.write_text(json.dumps(numbers), encoding="utf-8")
    return ReducedRun(key=run.files.key, path=array, **numbers)  # type: ignore[arg-type]


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
