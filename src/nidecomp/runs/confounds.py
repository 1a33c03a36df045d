"""Select regressors from a run's confounds table with nilearn, and the motion in it.

The regressors are selected by nilearn's `load_confounds`. It searches for the table by name next to
the image, which fails if there are runs with and without ``acq-``, and reads all of it. Therefore
it is called in a temporary folder with a table that has the same columns and two rows only, once
for all runs with the same columns. The values are those of the table, which is read once.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.text import in_one_line
from nidecomp.runs.answers import answer_to
from nidecomp.runs.sidecars import confounds_sidecars, read_json_object
from nidecomp.runs.strategy import FD, RIGID_BODY, columns_of, is_full_aroma
from nidecomp.runs.table import Table

# Columns that mark single volumes. They are no regressors.
_OF_VOLUMES = re.compile(r"(?:motion_outlier|non_steady_state_outlier)\d+")
# Parts of which each run has another number of columns.
_NUMBERED_PARTS = ("compcor", "ica_aroma")


def non_steady(table: Table) -> NDArray[np.bool_]:
    """Return which volumes the table marks as acquired before the steady state."""
    marks = table.of(name for name in table.names if "non_steady_state" in name)
    return np.asarray(np.nansum(marks.values, axis=1) != 0)


def motion_of(table: Table | None, n_volumes: int) -> NDArray[np.float64]:
    """Return the head motion parameters of a run.

    Parameters
    ----------
    table : Table or None
        The run's confounds table.
    n_volumes : int
        Number of volumes of the run.

    Returns
    -------
    ndarray, shape (n_volumes, n_columns)
        The six rigid-body parameters (mm and radians) and framewise displacement (mm), as far as
        they are in the table; missing values are 0.
    """
    if table is None:
        return np.zeros((n_volumes, 0))
    motion = table.of(name for name in (*RIGID_BODY, FD) if name in table).values
    # The first volume has no displacement; 0 would be a sudden change.
    motion[:-1] = np.where(np.isnan(motion[:-1]), motion[1:], motion[:-1])
    return np.asarray(np.nan_to_num(motion, posinf=0.0, neginf=0.0))


# ---------------------------------------------------------------- nilearn's load_confounds
def choose_regressors(
    table: Table,
    table_path: Path,
    arguments: Mapping[str, Any] | None,
    sidecars: Sequence[Path] = (),
) -> Table:
    """Return the regressors selected by nilearn.

    Parameters
    ----------
    table : Table
        The run's confounds table.
    table_path : Path
        Its file.
    arguments : mapping or None
        Arguments of `load_confounds`; None for no regressors.
    sidecars : sequence of Path
        The JSON files of the table, the most general first; if there are none, the file next to it.
        They are read for compcor only.

    Returns
    -------
    Table
        For all volumes. A value that is missing at the first volume (derivatives have none) is
        that of the second, as in nilearn.

    Raises
    ------
    RefusedRunError
        nilearn does not accept the table, or its JSON sidecar is missing or cannot be read.
    """
    # nilearn warns of an empty strategy, but also checks the columns of a table that has none.
    asked: dict[str, Any] = (
        dict(arguments) if arguments else {"strategy": ("high_pass",), "demean": False}
    )
    # Only compcor needs the sidecar, but nilearn fails if it is missing or invalid.
    described = _components(table_path, sidecars) if "compcor" in asked["strategy"] else {}
    numbered = _numbered(table.names, asked["strategy"])
    columns = [name for name in table.names if name not in numbered]
    names = answer_to(
        f"columns {json.dumps([columns, asked, described])}",
        lambda: _selected_names(columns, asked, described),
    )
    regressors = table.of(names if arguments else ())
    if len(table) > 1:
        first, second = regressors.values[:2]
        first[:] = np.where(np.isnan(first), second, first)
    return regressors


def _numbered(columns: Sequence[str], strategy: Sequence[str]) -> set[str]:
    """Return columns that a strategy does not use, and of which each run has another number."""
    unused = [part for part in _NUMBERED_PARTS if part not in strategy]
    return {
        *(name for name in columns if _OF_VOLUMES.fullmatch(name)),
        *(name for part in unused for name in columns_of(part, columns)),
    }


def _selected_names(
    columns: Sequence[str], asked: Mapping[str, Any], described: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the names of the columns that nilearn selects, in its order.

    Parameters
    ----------
    columns : sequence of str
        The columns of a confounds table.
    asked : mapping
        Arguments of `load_confounds`.
    described : mapping
        What the sidecar says about components.

    Raises
    ------
    RefusedRunError
        nilearn does not accept the table.
    """
    # Workers are told, and need not import it.
    from nilearn.interfaces.fmriprep import load_confounds  # noqa: PLC0415

    with _folder() as folder:
        stem = "sub-x_task-x"
        nothing = pd.DataFrame(0.0, index=range(2), columns=list(columns))
        nothing.to_csv(folder / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False)
        (folder / f"{stem}_desc-confounds_timeseries.json").write_text(json.dumps(described))
        # nilearn requires one of these descriptions; the actual image has been checked before.
        desc = "smoothAROMAnonaggr" if is_full_aroma(asked) else "preproc"
        try:
            frame, _ = load_confounds(str(folder / f"{stem}_desc-{desc}_bold.nii.gz"), **asked)
        except MemoryError:
            raise
        except Exception as error:  # invalid tables and sidecars raise all kinds of errors
            text = in_one_line(error.args[0] if error.args else error)
            raise RefusedRunError(
                f"nilearn's load_confounds does not accept its confounds table: {text}"
            ) from None
    return () if frame is None else tuple(map(str, frame.columns))


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
