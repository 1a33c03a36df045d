"""Reduced runs as they lie in the work folder: rows, volumes and their record."""

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


def find_reduced(run: UsableRun, stem: Path) -> ReducedRun | None:
    """Give the record of a run that was reduced before with the same inputs and settings.

    Parameters
    ----------
    run : UsableRun
    stem : Path
        What `ReduceTask.stem` names it.

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
        reduced = ReducedRun(run=run, path=array, **numbers)
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


def store_reduced(reduced: ReducedRun, rows: NDArray[np.float32], volumes: RunVolumes) -> None:
    """Write a reduced run to the work folder.

    Parameters
    ----------
    reduced : ReducedRun
        Its `path` says where.
    rows : ndarray of float32, shape (n_rows, n_voxels)
    volumes : RunVolumes
    """
    with writing(reduced.path) as file:
        np.save(file, rows)
    with writing(reduced.volumes_path) as file:
        np.savez(file, rows=volumes.rows, times_s=volumes.times_s, motion=volumes.motion)
    # The run itself is not stored: whoever looks for it knows it.
    numbers = {
        one.name: getattr(reduced, one.name)
        for one in fields(reduced)
        if one.name not in {"run", "path"}
    }
    # The record comes last: where it is, the arrays are whole.
    with replace_atomically(reduced.path.with_suffix(".json")) as temporary:
        text = json.dumps(numbers | {"checksum": _checksum(rows)})
        temporary.write_text(text, encoding="utf-8")
