"""A run's confounds table, and what nilearn chooses of it.

nilearn's `load_confounds` chooses the regressors. It looks for the table by name beside the image
and gets lost where runs with and without ``acq-`` coexist, so it is given a folder of its own with
links to just the files that the index found.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nilearn.interfaces.fmriprep import load_confounds
from numpy.typing import NDArray

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.text import MOST_BYTES, in_one_line, parse_json, read_text
from nidecomp.runs.strategy import FD, RIGID_BODY, is_full_aroma

# A thousand columns of ten thousand volumes, 27 bytes a number: far beyond any fMRIPrep table.
_MOST_TABLE_BYTES = 16 * MOST_BYTES
# Nothing that is measured is this large, and its square is still a number.
_LARGEST = 1e100


def read_table(path: Path, n_volumes: int) -> pd.DataFrame:
    """Read a confounds table of numbers.

    Parameters
    ----------
    path : Path
        The table.
    n_volumes : int
        How many volumes the image has.

    Returns
    -------
    pandas.DataFrame, shape (n_volumes, n_columns)
        NaN where the table says ``n/a``.

    Raises
    ------
    RefusedRunError
        It cannot be read, holds text or impossible numbers, or is not as long as the image.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_TABLE_BYTES:
            raise ValueError(f"it is {size / 1e6:.0f} MB large, and no such table is")
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its confounds table {path.name} cannot be read: {in_one_line(error)}"
        ) from None
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would take the first columns for names of rows, and shift all others.
        raise RefusedRunError(
            f"its confounds table {path.name} has rows with more cells than its header has names"
        )
    if len(table) != n_volumes:
        raise RefusedRunError(
            f"its confounds table {path.name} has {len(table)} rows and its image {n_volumes} "
            "volumes"
        )
    text = [str(name) for name in table.columns if not _holds_numbers(table[name])]
    if text:
        raise RefusedRunError(
            f"its confounds table {path.name} holds text in column {in_one_line(repr(text[0]))}"
        )
    for name in table.columns:
        values = np.abs(table[name].to_numpy(dtype=float))
        largest = values.max(where=np.isfinite(values), initial=0.0)
        if largest > _LARGEST:
            raise RefusedRunError(
                f"its confounds table {path.name} holds a number as large as {largest:g} in column "
                f"{in_one_line(repr(name))}: it is damaged"
            )
    return table


def _holds_numbers(column: pd.Series) -> bool:
    """Tell numbers from words; True and False are words."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def mean_displacement(table: pd.DataFrame) -> float | None:
    """Give the mean framewise displacement of the whole run in mm; None where none is known."""
    if FD not in table.columns:
        return None
    values = table[FD].to_numpy(dtype=float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def motion_of(table: pd.DataFrame | None, n_volumes: int) -> NDArray[np.float64]:
    """Give how the head moved.

    Parameters
    ----------
    table : pandas.DataFrame or None
        The run's confounds table.
    n_volumes : int
        How many volumes the run has.

    Returns
    -------
    ndarray, shape (n_volumes, n_columns)
        The six rigid-body parameters (mm and radians) and framewise displacement (mm), as many of
        them as the table has; 0 where a value is missing.
    """
    there = [name for name in (*RIGID_BODY, FD) if table is not None and name in table]
    if table is None or not there:
        return np.zeros((n_volumes, 0))
    # The first volume has no displacement yet; 0 would be a jump.
    motion = table[there].bfill(limit=1).to_numpy(dtype=np.float64)
    return np.asarray(np.nan_to_num(motion, posinf=0.0, neginf=0.0))


# ---------------------------------------------------------------- nilearn's choice
def choose_regressors(
    table_path: Path, n_volumes: int, arguments: Mapping[str, Any] | None
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Ask nilearn for the regressors and the volumes that it keeps.

    Parameters
    ----------
    table_path : Path
        The run's confounds table; compcor reads the JSON beside it.
    n_volumes : int
        How many volumes the run has.
    arguments : mapping or None
        Arguments for `load_confounds`; None: nothing is regressed out.

    Returns
    -------
    regressors : pandas.DataFrame, shape (n_volumes, n_regressors)
        What is to be regressed out, of all volumes.
    kept : ndarray of bool, shape (n_volumes,)
        False for volumes that are scrubbed, and for those before the steady state with every
        strategy, none at all included.

    Raises
    ------
    RefusedRunError
        nilearn does not accept the table, or its JSON cannot be read.
    """
    # `high_pass` alone is asked for where nothing is, since nilearn warns of an empty strategy;
    # its columns are dropped below.
    asked = dict(arguments) if arguments else {"strategy": ("high_pass",), "demean": False}
    with _folder() as folder:
        image = _alone_in(folder, table_path, asked)
        try:
            with warnings.catch_warnings():
                # It warns where scrubbing leaves nothing; that is refused with a reason below.
                warnings.simplefilter("ignore", RuntimeWarning)
                frame, sample_mask = load_confounds(str(image), **asked)
        except MemoryError:
            raise
        except Exception as error:  # it trusts the table and its JSON, and stumbles in many ways
            text = in_one_line(error.args[0] if error.args else error)
            raise RefusedRunError(
                f"nilearn's load_confounds does not accept its confounds table: {text}"
            ) from None
    kept = np.ones(n_volumes, dtype=bool)
    if sample_mask is not None:
        kept[:] = False
        kept[sample_mask] = True
    # Where fMRIPrep wrote no cosines (short runs), nilearn's frame has neither columns nor rows.
    nothing = arguments is None or frame is None or frame.shape[1] == 0
    return (pd.DataFrame(index=range(n_volumes)) if nothing else frame), kept


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a temporary folder whose path does not hold "tsv".

    nilearn finds the sidecar by replacing every "tsv" in the table's whole path.
    """
    parent = "/tmp" if "tsv" in tempfile.gettempdir() else None  # noqa: S108  mkdtemp makes it safe
    while "tsv" in (folder := tempfile.mkdtemp(prefix="nidecomp-", dir=parent)):
        Path(folder).rmdir()
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alone_in(folder: Path, table_path: Path, arguments: Mapping[str, Any]) -> Path:
    """Link the table (and its JSON) into an empty folder; name the image that nilearn asks for."""
    stem = "sub-x_task-x"
    (folder / f"{stem}_desc-confounds_timeseries.tsv").symlink_to(table_path.absolute())
    sidecar = table_path.with_suffix(".json")
    if "compcor" in arguments["strategy"] and os.path.lexists(sidecar):
        try:
            parse_json(read_text(sidecar))
        except (OSError, ValueError) as error:
            raise RefusedRunError(
                f"the JSON of its confounds table, {sidecar.name}, cannot be read: "
                f"{in_one_line(error)}"
            ) from None
        (folder / f"{stem}_desc-confounds_timeseries.json").symlink_to(sidecar.absolute())
    else:
        # Only compcor reads what the sidecar says; nilearn trips over an absent or a broken one.
        (folder / f"{stem}_desc-confounds_timeseries.json").write_text("{}")
    # nilearn asks for one of these two names; which image there really is has been checked before.
    desc = "smoothAROMAnonaggr" if is_full_aroma(arguments) else "preproc"
    return folder / f"{stem}_space-x_desc-{desc}_bold.nii.gz"
