"""Read the table of participants (participants.tsv of BIDS)."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.text import count, in_one_line, quoted, read_text

ID = "participant_id"
# Variables that are known of the runs, without a table.
KNOWN = ("dataset", "mean_fd", "n_volumes")
# BIDS has n/a only; the others are what spreadsheets and statistics programs write.
_MISSING = frozenset({"", "n/a"})
_MISSING_ELSEWHERE = frozenset({"na", "nan", "#n/a", "null", "."})
_SHOWN, _MOST_SHOWN, _LONGEST_SHOWN = 5, 20, 30


@dataclass(frozen=True, eq=False)
class ParticipantTable:
    """What is known of participants.

    Parameters
    ----------
    columns : tuple of str
        Without ``participant_id``.
    rows : mapping
        The label of a participant, without ``sub-``, to the texts of the columns; missing values
        are left out.
    paths : tuple of Path
        The files that it was read from; none if there is no table.
    notes : tuple of str
        What was unusual about the files, in sentences.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return " and ".join(map(str, self.paths)) or "participants.tsv"

    @property
    def short_name(self) -> str:
        """The names of its files, for notes about each participant."""
        return " and ".join(dict.fromkeys(path.name for path in self.paths)) or "participants.tsv"

    def hint_at(self, label: str, dataset: str = "") -> str:
        """Return a hint at a participant of the table who may be the one with a label, or nothing.

        Parameters
        ----------
        label : str
            A label that the table does not have.
        dataset : str
            The name of the participant's dataset, which its label begins with.
        """
        alike = sorted(one for one in self.rows if _alike(one) == _alike(label))
        if alike:
            return f" (it has sub-{alike[0]}: labels must be the same, with zeros and case)"
        bare = label.removeprefix(dataset)
        if dataset and bare in self.rows:
            return f" (it has sub-{bare}: of dataset {dataset}, write sub-{label})"
        return ""


def _alike(label: str) -> str:
    """Return a label without case and without zeros at the start of numbers."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", label.casefold())


def check_columns(names: Iterable[str], table: ParticipantTable) -> None:
    """Check that variables are known: as columns of the table, or of the runs.

    Parameters
    ----------
    names : iterable of str
    table : ParticipantTable

    Raises
    ------
    UsageError
    """
    known = dict.fromkeys((*table.columns, *KNOWN))
    for name in names:
        if name in known:
            continue
        if name == ID:
            raise UsageError(
                f"{ID} is a name of each participant's own, and no variable that people can be "
                "compared by, or permuted within."
            )
        if not table.paths:
            raise UsageError(
                f"There is no table of participants, which {quoted(name)} would be a column of: "
                "give one with --participants-file. (Reduced runs of other sites have none.)"
            )
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        if close and not close[0].isidentifier():
            hint = (
                f" Rename its column {close[0]!r}: in a formula, names have letters, digits and _ "
                "only."
            )
        first = [in_one_line(one, _LONGEST_SHOWN) for one in list(known)[:_MOST_SHOWN]]
        shown = ", ".join(first) + (", …" if len(known) > _MOST_SHOWN else "")
        raise UsageError(f"{table.name} has no column {quoted(name)}.{hint} Known are: {shown}.")


def read_tables(files: Iterable[tuple[str, Path]]) -> ParticipantTable:
    """Return the tables of several datasets as one.

    Parameters
    ----------
    files : iterable of (str, Path)
        The name of a dataset, which the labels of its participants begin with, and its table. A
        table of all datasets has an empty name.

    Returns
    -------
    ParticipantTable
        A column that a dataset does not have is missing for its participants.

    Raises
    ------
    UsageError
        As `read_participants`.
    """
    read = [(name, read_participants(path)) for name, path in files]
    rows = {name + label: row for name, table in read for label, row in table.rows.items()}
    return ParticipantTable(
        columns=tuple(dict.fromkeys(column for _, table in read for column in table.columns)),
        rows=dict(sorted(rows.items())),
        paths=tuple(path for _, table in read for path in table.paths),
        notes=tuple(note for _, table in read for note in table.notes),
    )


def read_participants(path: Path) -> ParticipantTable:
    """Read a table of participants.

    Parameters
    ----------
    path : Path
        Tab-separated, with a header. Labels may have ``sub-`` or not.

    Returns
    -------
    ParticipantTable

    Raises
    ------
    UsageError
        The file cannot be read, is no table, or has a participant or a column twice.
    """
    if is_not_fetched(path):
        raise UsageError(f"{path}: {not_fetched('the file', path)}.")
    try:
        lines = _lines(read_text(path))
        header, rows = _header(lines)
        return _table(path, header, rows)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text: save it with this encoding.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be used: {in_one_line(error)}.") from None


_Line = tuple[int, list[str]]


def _lines(text: str) -> list[_Line]:
    """Return the lines that are not empty, as stripped cells, with their numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    found: list[_Line] = []
    for cells in reader:
        stripped = [" ".join(cell.split()) for cell in cells]
        if any(stripped):
            found.append((reader.line_num, stripped))
    return found


def _header(lines: Sequence[_Line]) -> tuple[list[str], Sequence[_Line]]:
    """Return the names of the columns, and the rows."""
    if not lines:
        raise ValueError("it is empty")
    header = lines[0][1]
    twice = [name for name, number in Counter(filter(None, header)).items() if number > 1]
    if twice:
        raise ValueError(
            f"it has the column {quoted(twice[0])} {count(header.count(twice[0]), 'time')}"
        )
    if ID not in header:
        separator = next((one for one in (",", ";") if one in header[0] and len(header) == 1), None)
        if separator:
            raise ValueError(f"its columns are separated by {separator!r}, and must be by tabs")
        found = ", ".join(quoted(name) for name in header[:_SHOWN])
        raise ValueError(f"it has no column {ID} (its first line has: {found})")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise ValueError(
                f"line {number} has {count(len(cells), 'value')}, and the header "
                f"{count(len(header), 'column')}; missing values are n/a"
            )
    return header, lines[1:]


def _table(path: Path, header: list[str], lines: Sequence[_Line]) -> ParticipantTable:
    place = header.index(ID)
    rows: dict[str, dict[str, str]] = {}
    odd: dict[str, str] = {}
    for number, cells in lines:
        label = cells[place].removeprefix("sub-")
        if not label.replace("+", "").isalnum():
            raise ValueError(
                f"{ID} in line {number} is {quoted(cells[place])}; it must be a label of letters "
                "and digits, such as sub-01"
            )
        if label in rows:
            raise ValueError(
                f"it has sub-{label} in more than one line (line {number}); each participant has "
                "one line (sessions are compared with --within)"
            )
        row = {}
        for name, cell in zip(header, cells, strict=True):
            if name == ID or cell.casefold() in _MISSING:
                continue
            if cell.casefold() in _MISSING_ELSEWHERE:
                odd.setdefault(name, cell)
            else:
                row[name] = cell
        if "" in row:
            raise ValueError(f"line {number} has a value in a column without a name")
        rows[label] = row
    if not rows:
        raise ValueError("it has no participants")
    notes = tuple(
        f"{path.name}: {quoted(cell)} in column {in_one_line(name, _LONGEST_SHOWN)} was read as a "
        "missing value (n/a in BIDS)."
        for name, cell in odd.items()
    )
    columns = tuple(name for name in header if name not in {ID, ""})
    return ParticipantTable(columns, dict(sorted(rows.items())), (path,), notes)
