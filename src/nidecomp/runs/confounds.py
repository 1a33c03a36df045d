"""Read a run's confounds table, and select regressors with nilearn.

The regressors are selected by nilearn's `load_confounds`. It searches for the table by name next to
the image, which fails if there are runs with and without ``acq-``. Therefore it is called in a
temporary folder with a link to the table and a copy of its sidecar.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nilearn.interfaces.fmriprep import load_confounds
from numpy.typing import NDArray

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.text import MOST_BYTES, in_one_line, quoted
from nidecomp.runs.sidecars import confounds_sidecars, read_json_object
from nidecomp.runs.strategy import FD, RIGID_BODY, is_full_aroma

# A thousand columns of ten thousand volumes, 27 bytes a number: far beyond any fMRIPrep table.
_MOST_TABLE_BYTES = 16 * MOST_BYTES
# Larger than any measured value, and its square is still finite.
_LARGEST = 1e100


def read_table(path: Path, n_volumes: int) -> pd.DataFrame:
    """Read a confounds table and check that it has valid numbers.

    Parameters
    ----------
    path : Path
    n_volumes : int
        Number of volumes of the image.

    Returns
    -------
    pandas.DataFrame, shape (n_volumes, n_columns)
        ``n/a`` is read as NaN.

    Raises
    ------
    RefusedRunError
        The table cannot be read, contains text or extreme numbers, or its number of rows is not
        `n_volumes`.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_TABLE_BYTES:
            raise ValueError(
                f"its size is {size / 1e6:.0f} MB (at most {_MOST_TABLE_BYTES / 1e6:.0f} MB)"
            )
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its confounds table {path.name} cannot be read: {in_one_line(error)}"
        ) from None
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would use the first columns as row names and shift all others.
        raise RefusedRunError(
            f"its confounds table {path.name} has rows with more columns than the header"
        )
    if len(table) != n_volumes:
        raise RefusedRunError(
            f"its confounds table {path.name} has {len(table)} rows, but its image has "
            f"{n_volumes} volumes"
        )
    names = set(map(str, table.columns))
    twice = [name for name in names if f"{name}.1" in names]
    if twice:
        # pandas renames the second of two columns.
        raise RefusedRunError(
            f"its confounds table {path.name} has the column {quoted(min(twice))} twice"
        )
    text = [str(name) for name in table.columns if not _holds_numbers(table[name])]
    if text:
        raise RefusedRunError(
            f"its confounds table {path.name} has text in column {in_one_line(repr(text[0]))}"
        )
    if FD in table and (table[FD] < 0).any():
        raise RefusedRunError(f"its confounds table {path.name} has a negative {FD}")
    for name in table.columns:
        values = np.abs(table[name].to_numpy(dtype=float))
        largest = values.max(where=np.isfinite(values), initial=0.0)
        if largest > _LARGEST:
            raise RefusedRunError(
                f"its confounds table {path.name} has a value of {largest:g} in column "
                f"{in_one_line(repr(name))}; the file may be damaged"
            )
    return table


def _holds_numbers(column: pd.Series) -> bool:
    """Return whether a column is numeric; booleans are not."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def non_steady(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which volumes the table marks as acquired before the steady state."""
    columns = [name for name in table.columns if "non_steady_state" in str(name)]
    return np.asarray(table[columns].sum(axis=1).to_numpy(dtype=float) != 0)


def motion_of(table: pd.DataFrame | None, n_volumes: int) -> NDArray[np.float64]:
    """Return the head motion parameters of a run.

    Parameters
    ----------
    table : pandas.DataFrame or None
        The run's confounds table.
    n_volumes : int
        Number of volumes of the run.

    Returns
    -------
    ndarray, shape (n_volumes, n_columns)
        The six rigid-body parameters (mm and radians) and framewise displacement (mm), as far as
        they are in the table; missing values are 0.
    """
    columns = [name for name in (*RIGID_BODY, FD) if table is not None and name in table]
    if table is None or not columns:
        return np.zeros((n_volumes, 0))
    # The first volume has no displacement; 0 would be a sudden change.
    motion = table[columns].bfill(limit=1).to_numpy(dtype=np.float64)
    return np.asarray(np.nan_to_num(motion, posinf=0.0, neginf=0.0))


# ---------------------------------------------------------------- nilearn's load_confounds
def choose_regressors(
    table_path: Path,
    n_volumes: int,
    arguments: Mapping[str, Any] | None,
    sidecars: Sequence[Path] = (),
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return the regressors selected by nilearn, and the volumes to keep.

    Parameters
    ----------
    table_path : Path
        The run's confounds table.
    n_volumes : int
        Number of volumes of the run.
    arguments : mapping or None
        Arguments of `load_confounds`; None for no regressors.
    sidecars : sequence of Path
        The JSON files of the table, the most general first; if there are none, the file next to it.
        They are read for compcor only.

    Returns
    -------
    regressors : pandas.DataFrame, shape (n_volumes, n_regressors)
        The regressors, for all volumes.
    kept : ndarray of bool, shape (n_volumes,)
        False for scrubbed and for non-steady-state volumes. The latter are dropped with any
        strategy, also if there are no regressors.

    Raises
    ------
    RefusedRunError
        nilearn does not accept the table, or its JSON sidecar is missing or cannot be read.
    """
    # nilearn warns of an empty strategy. `high_pass` is used instead, and its columns are dropped
    # below.
    asked = dict(arguments) if arguments else {"strategy": ("high_pass",), "demean": False}
    with _folder() as folder:
        image = _alone_in(folder, table_path, asked, sidecars)
        try:
            with warnings.catch_warnings():
                # nilearn warns if all volumes are scrubbed; such runs are refused later.
                warnings.simplefilter("ignore", RuntimeWarning)
                frame, sample_mask = load_confounds(str(image), **asked)
        except MemoryError:
            raise
        except Exception as error:  # invalid tables and sidecars raise all kinds of errors
            text = in_one_line(error.args[0] if error.args else error)
            raise RefusedRunError(
                f"nilearn's load_confounds does not accept its confounds table: {text}"
            ) from None
    kept = np.ones(n_volumes, dtype=bool)
    if sample_mask is not None:
        kept[:] = False
        kept[sample_mask] = True
    # For short runs without cosine columns, nilearn's frame has neither columns nor rows.
    is_empty = arguments is None or frame is None or frame.shape[1] == 0
    return (pd.DataFrame(index=range(n_volumes)) if is_empty else frame), kept


@contextmanager
def _folder() -> Iterator[Path]:
    """Create a temporary folder whose path does not contain "tsv".

    nilearn finds the sidecar by replacing all occurrences of "tsv" in the table's path.
    """
    parent = "/tmp" if "tsv" in tempfile.gettempdir() else None  # noqa: S108  mkdtemp makes it safe
    while "tsv" in (folder := tempfile.mkdtemp(prefix="nidecomp-", dir=parent)):
        Path(folder).rmdir()
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alone_in(
    folder: Path, table_path: Path, arguments: Mapping[str, Any], sidecars: Sequence[Path]
) -> Path:
    """Put the table and its sidecar in an empty folder, and return an image path for nilearn."""
    stem = "sub-x_task-x"
    (folder / f"{stem}_desc-confounds_timeseries.tsv").symlink_to(table_path.absolute())
    # Only compcor needs the sidecar, but nilearn fails if it is missing or invalid.
    described = _components(table_path, sidecars) if "compcor" in arguments["strategy"] else {}
    (folder / f"{stem}_desc-confounds_timeseries.json").write_text(json.dumps(described))
    # nilearn requires one of these descriptions; the actual image has been checked before.
    desc = "smoothAROMAnonaggr" if is_full_aroma(arguments) else "preproc"
    return folder / f"{stem}_space-x_desc-{desc}_bold.nii.gz"


def _components(table_path: Path, sidecars: Sequence[Path]) -> dict[str, object]:
    """Return what the JSON files of a confounds table say about the CompCor components."""
    found = confounds_sidecars(table_path, sidecars)
    if not found:
        raise RefusedRunError(
            f"the sidecar of its confounds table, {table_path.with_suffix('.json').name}, is "
            "missing; it is required for compcor, because it describes the components: copy it "
            "from fMRIPrep's output, or use another --denoise-strategy"
        )
    merged: dict[str, object] = {}
    for path in found:
        merged |= read_json_object(path, "the sidecar of its confounds table,")
    components = {name: entry for name, entry in merged.items() if "_comp_cor" in name}
    described: dict[str, object] = {}
    for name, entry in components.items():
        if not isinstance(entry, dict):
            raise RefusedRunError(
                f"the sidecar of its confounds table, {found[-1].name}, does not describe "
                f"{in_one_line(name)} by a JSON object"
            )
        # What is nested is not used, and could be nested too deeply to be written.
        described[name] = {
            key: value for key, value in entry.items() if not isinstance(value, dict | list)
        }
    return described
