"""Read and write reduced runs in the work folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nidecomp.core.atomic import replace_atomically, writing
from nidecomp.core.records import ReducedRun, UsableRun
from nidecomp.core.text import parse_json, read_text


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


def find_reduced(run: UsableRun, stem: Path) -> ReducedRun | None:
    """Return the record of a run that was reduced earlier with the same inputs and settings.

    Parameters
    ----------
    run : UsableRun
        As it was before it was read, or without empty volumes already.
    stem : Path
        The path of its files without extension, see `ReduceTask.stem`.

    Returns
    -------
    ReducedRun or None
        None if its files are missing, incomplete or damaged.
    """
    array, record = stem.with_name(stem.name + ".npy"), stem.with_name(stem.name + ".json")
    try:
        numbers = cast(dict[str, Any], parse_json(read_text(record)))
        rows = np.load(array, mmap_mode="r")
        is_whole = _checksum(rows) == numbers.pop("checksum")
        numbers["squared_singular_values"] = tuple(numbers["squared_singular_values"])
        numbers["empty"] = tuple(numbers["empty"])
        used = run.without_volumes(numbers["empty"], numbers.pop("n_regressors"))
        reduced = ReducedRun(run=used, path=array, **numbers)
        n_rows = read_volumes(reduced).rows.shape[1]
    except Exception:  # numpy raises all kinds of errors for damaged files; the run is reduced anew
        return None
    has_its_shape = (n_rows, *rows.shape) == (reduced.n_rows, *reduced.shape)
    return reduced if is_whole and has_its_shape else None


def _checksum(rows: NDArray[np.float32]) -> int:
    """Return the CRC-32 of a reduced run's rows, to detect a file damaged since it was written.

    (numpy's ``.npz`` archives have checksums of their own.)
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
    # Opened here because numpy leaves the file open if it is not an archive.
    with reduced.volumes_path.open("rb") as file, np.load(file) as content:
        return RunVolumes(content["rows"], content["times_s"], content["motion"])


def store_reduced(reduced: ReducedRun, rows: NDArray[np.float32], volumes: RunVolumes) -> None:
    """Write a reduced run to the work folder.

    Parameters
    ----------
    reduced : ReducedRun
        Written to its `path`.
    rows : ndarray of float32, shape (n_rows, n_voxels)
    volumes : RunVolumes
    """
    with writing(reduced.path) as file:
        np.save(file, rows)
    with writing(reduced.volumes_path) as file:
        np.savez(file, rows=volumes.rows, times_s=volumes.times_s, motion=volumes.motion)
    # The run itself is not stored; `find_reduced` is given it as it was before it was read.
    numbers = {
        entry.name: getattr(reduced, entry.name)
        for entry in fields(reduced)
        if entry.name not in {"run", "path"}
    }
    # The record is written last: if it exists, the arrays are complete.
    with replace_atomically(reduced.path.with_suffix(".json")) as temporary:
        more = {"checksum": _checksum(rows), "n_regressors": reduced.run.n_regressors}
        text = json.dumps(numbers | more)
        temporary.write_text(text, encoding="utf-8")
