"""Reduced runs as they lie in the work folder: rows, volumes and their record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nidecomp.core.records import ReducedRun, RunKey
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
        is_whole = checksum(rows) == numbers.pop("checksum")
        numbers["squared_singular_values"] = tuple(numbers["squared_singular_values"])
        reduced = ReducedRun(key=key, path=array, **numbers)
        n_rows = read_volumes(reduced).rows.shape[1]
    except Exception:  # numpy raises anything for a damaged file, which is made anew
        return None
    has_its_shape = (n_rows, *rows.shape) == (reduced.n_rows, *reduced.shape)
    return reduced if is_whole and has_its_shape else None


def checksum(rows: NDArray[np.float32]) -> int:
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
