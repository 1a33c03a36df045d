"""Write tab-separated tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence


def encoded(text: str) -> bytes:
    """Return text encoded as UTF-8; bytes of file names that are not UTF-8 are escaped."""
    return text.encode("utf-8", errors="backslashreplace")


def table_text(columns: Sequence[str], table: Iterable[Mapping[str, object]]) -> str:
    """Return a table as tab-separated text.

    Parameters
    ----------
    columns : sequence of str
        Column names, in order.
    table : iterable of mapping
        Rows with a value for each column; None and NaN are written as ``n/a``.

    Returns
    -------
    str
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    for row in table:
        writer.writerow([_cell(row[column]) for column in columns])
    return text.getvalue()


def _cell(value: object) -> str:
    # Nearly all cells of long tables.
    if type(value) is float:
        return f"{value:.6g}" if value == value else "n/a"  # noqa: PLR0124  NaN is unlike itself
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    # Tabs and line breaks in a text would break the table.
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)
