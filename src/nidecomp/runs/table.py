"""Read a run's confounds table, and check that it has valid numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.text import MOST_BYTES, count, in_one_line, quoted
from nidecomp.runs.strategy import FD

# A thousand columns of ten thousand volumes, 27 bytes a number: far beyond any fMRIPrep table.
_MOST_TABLE_BYTES = 16 * MOST_BYTES
# Larger than any measured value, and its square is still finite.
_LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Table:
    """Columns with names, such as a confounds table.

    Parameters
    ----------
    names : tuple of str
        Of the columns.
    values : ndarray, shape (n_volumes, n_columns)
        NaN where there is no value.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def empty(self) -> frozenset[str]:
        """The columns without any number."""
        return frozenset(self.where(~np.isfinite(self.values).any(axis=0)))

    def where(self, is_it: NDArray[np.bool_] | np.bool_) -> list[str]:
        """Return the columns for which an array of shape (n_columns,) is True."""
        return [self.names[place] for place in np.flatnonzero(is_it)]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the values of a column, shape (n_volumes,)."""
        return self.values[:, self._places[name]]

    def of(self, names: Iterable[str]) -> Table:
        """Return a table with a copy of some columns, in the order of `names`."""
        chosen = tuple(names)
        return Table(chosen, self.values[:, [self._places[name] for name in chosen]])


def read_table(path: Path, n_volumes: int) -> Table:
    """Read a confounds table and check that it has valid numbers.

    Parameters
    ----------
    path : Path
    n_volumes : int
        Number of volumes of the image.

    Returns
    -------
    Table
        ``n/a`` is read as NaN.

    Raises
    ------
    RefusedRunError
        The table cannot be read, contains text or extreme numbers, or its number of rows is not
        `n_volumes`.
    """
    table = _read(path)
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would use the first columns as row names and shift all others.
        raise RefusedRunError(
            f"its confounds table {path.name} has rows with more columns than the header"
        )
    if len(table) != n_volumes:
        raise RefusedRunError(
            f"its confounds table {path.name} has {count(len(table), 'row')}, but its image has "
            f"{count(n_volumes, 'volume')}"
        )
    names = tuple(map(str, table.columns.tolist()))
    known = set(names)
    twice = [name for name in names if f"{name}.1" in known]
    if twice:
        # pandas renames the second of two columns.
        raise RefusedRunError(
            f"its confounds table {path.name} has the column {quoted(min(twice))} twice"
        )
    # Numbers; True and False are text.
    is_number = [dtype.kind in "iuf" for dtype in table.dtypes.tolist()]
    if not all(is_number):
        raise RefusedRunError(
            f"its confounds table {path.name} has text in column "
            f"{in_one_line(repr(names[is_number.index(False)]))}"
        )
    read = Table(names, table.to_numpy(dtype=np.float64))
    _check_values(read, path)
    return read


def n_rows_of(path: Path) -> int:
    """Return the number of rows of a table.

    Raises
    ------
    RefusedRunError
        The table cannot be read.
    """
    return len(_read(path))


def _read(path: Path) -> pd.DataFrame:
    try:
        size = path.stat().st_size
        if size > _MOST_TABLE_BYTES:
            raise ValueError(
                f"its size is {size / 1e6:.0f} MB (at most {_MOST_TABLE_BYTES / 1e6:.0f} MB)"
            )
        # n/a is one of the texts that pandas takes for a missing value.
        return pd.read_csv(path, sep="\t")
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its confounds table {path.name} cannot be read: {in_one_line(error)}"
        ) from None


def _check_values(table: Table, path: Path) -> None:
    """Refuse a table with values that cannot have been measured."""
    if FD in table and (table.column(FD) < 0).any():
        raise RefusedRunError(f"its confounds table {path.name} has a negative {FD}")
    sizes = np.abs(table.values)
    largest = sizes.max(axis=0, where=np.isfinite(sizes), initial=0.0)
    if (largest > _LARGEST).any():
        first = int(np.argmax(largest > _LARGEST))
        raise RefusedRunError(
            f"its confounds table {path.name} has a value of {largest[first]:g} in column "
            f"{in_one_line(repr(table.names[first]))}; the file may be damaged"
        )
