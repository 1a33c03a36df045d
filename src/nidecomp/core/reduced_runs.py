"""Read and write reduced runs in the work folder, each in one file.

The file is the array of the rows as `numpy.save` writes it, which `numpy.load` maps, followed by a
record of everything else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nidecomp.core.atomic import writing
from nidecomp.core.record_files import read_record, write_record
from nidecomp.core.records import REDUCED_FOLDER, ReducedRun, UsableRun

# The same data, cleaned in the same way, agree in these numbers, and in others up to rounding.
_COUNTS = ("smoothing_fwhm", "n_voxels", "n_regressors", "n_nonfinite", "n_constant", "empty")
_NUMBERS = ("squared_singular_values", "total_variance", "times_s", "motion")
_CLOSE = 1e-5


@dataclass(frozen=True, eq=False)
class RunVolumes:
    """Data of the volumes of a reduced run that were kept.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_kept, n_rows)
        The left singular vectors: the time course of each principal component, with unit norm.
    times_s : ndarray, shape (n_kept,)
        Acquisition time of each volume, in seconds from the run's first volume.
    motion : ndarray, shape (n_kept, n_columns)
        The rigid-body parameters (mm and radians) and framewise displacement (mm) from the
        confounds table, cleaned as the run was.
    """

    rows: NDArray[np.float32]
    times_s: NDArray[np.float64]
    motion: NDArray[np.float64]


def find_reduced(run: UsableRun, path: Path) -> ReducedRun | None:
    """Return the record of a run that was reduced earlier with the same inputs and settings.

    Parameters
    ----------
    run : UsableRun
        As it was before it was read, or without empty volumes already.
    path : Path
        Its file, see `ReduceTask.path`.

    Returns
    -------
    ReducedRun or None
        None if the file is missing, incomplete or damaged.
    """
    try:
        rows = np.load(path, mmap_mode="r")
        numbers = _read_record(path)
        is_whole = _checksum(rows) == numbers.pop("checksum")
        n_rows = numbers.pop("volumes").rows.shape[1]
        numbers.pop("about")
        used = run.without_volumes(numbers["empty"], numbers.pop("n_regressors"))
        reduced = ReducedRun(run=used, path=path, **numbers)
    except Exception:  # numpy raises all kinds of errors for damaged files; the run is reduced anew
        return None
    has_its_shape = (n_rows, *rows.shape) == (reduced.n_rows, *reduced.shape)
    return reduced if is_whole and has_its_shape and rows.dtype == np.float32 else None


def read_about(path: Path) -> Mapping[str, Any] | None:
    """Return what a reduced run was made of, as `store_reduced` was given it; None if damaged."""
    try:
        about = _read_record(path)["about"]
    except Exception:  # as above
        return None
    return about if isinstance(about, Mapping) else None


def are_of_same_data(first: Path, other: Path) -> bool:
    """Return whether two files have the same data, perhaps with other numbers of rows.

    Parameters
    ----------
    first, other : Path
        Reduced runs with the same settings apart from the number of rows.

    Returns
    -------
    bool
        False if one of them is damaged.
    """
    try:
        one, two = _comparable(first), _comparable(other)
        n_shared = min(len(one["squared_singular_values"]), len(two["squared_singular_values"]))
        for numbers in (one, two):
            numbers["squared_singular_values"] = numbers["squared_singular_values"][:n_shared]
        return all(one[name] == two[name] for name in _COUNTS) and all(
            _are_close(one[name], two[name]) for name in _NUMBERS
        )
    except Exception:  # as above
        return False


def _comparable(path: Path) -> dict[str, Any]:
    record = _read_record(path)
    return {**record, "times_s": record["volumes"].times_s, "motion": record["volumes"].motion}


def _are_close(one: Any, two: Any) -> bool:
    """Return whether values differ by less than other versions of libraries make them differ."""
    least = _CLOSE * float(np.max(np.abs(one), initial=0.0))
    return np.shape(one) == np.shape(two) and np.allclose(one, two, rtol=_CLOSE, atol=least)


def _read_record(path: Path) -> dict[str, Any]:
    """Return what follows the rows."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        file.seek(math.prod(shape) * dtype.itemsize, os.SEEK_CUR)
        return dict(read_record(file, (RunVolumes,)))


def _checksum(rows: NDArray[np.float32]) -> int:
    """Return the CRC-32 of a reduced run's rows, to detect a file damaged since it was written.

    (The record has checksums of its own.)
    """
    return int(isal_zlib.crc32(np.ascontiguousarray(rows).data.cast("B")))


def read_volumes(reduced: ReducedRun) -> RunVolumes:
    """Read the data of a reduced run's volumes.

    Parameters
    ----------
    reduced : ReducedRun

    Returns
    -------
    RunVolumes
    """
    volumes: RunVolumes = _read_record(reduced.path)["volumes"]
    return volumes


def store_reduced(
    reduced: ReducedRun,
    rows: NDArray[np.float32],
    volumes: RunVolumes,
    about: Mapping[str, object] | None = None,
) -> None:
    """Write a reduced run to the work folder.

    Parameters
    ----------
    reduced : ReducedRun
        Written to its `path`.
    rows : ndarray of float32, shape (n_rows, n_voxels)
    volumes : RunVolumes
    about : mapping, optional
        What the run is and how it was reduced, for those who have neither its files nor these
        settings (`runs.sites`).
    """
    # `find_reduced` is given the run as it was before it was read.
    numbers = {
        entry.name: getattr(reduced, entry.name)
        for entry in fields(reduced)
        if entry.name not in {"run", "path"}
    }
    more = {"checksum": _checksum(rows), "n_regressors": reduced.run.n_regressors}
    with writing(reduced.path) as file:
        np.save(file, rows)
        write_record(file, {**numbers, **more, "volumes": volumes, "about": dict(about or {})})


def remove_old_files(work_dir: Path) -> int:
    """Remove reduced runs in three files, as earlier versions wrote them; nobody finds them.

    Parameters
    ----------
    work_dir : Path
        A work folder that nobody else uses.

    Returns
    -------
    int
        The number of files that were removed.
    """
    old = [
        path.with_suffix(suffix)
        for path in (work_dir / REDUCED_FOLDER).glob("*.json")
        for suffix in (".npy", ".npz", ".json")
    ]
    there = [path for path in old if path.exists()]
    for path in there:
        path.unlink()
    return len(there)
