"""Tables as tab-separated text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence


def encoded(text: str) -> bytes:
    """Encode text as UTF-8; what a file name holds beyond that becomes an escape."""
    return text.encode("utf-8", errors="backslashreplace")


def table_text(columns: Sequence[str], table: Iterable[Mapping[str, object]]) -> str:
    """Lay a table out as tab-separated values.

    Parameters
    ----------
    columns : sequence of str
        In the order in which they are to stand.
    table : iterable of mapping
        Rows with a value for each column; None and NaN become ``n/a``.

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
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    # A tab or a line break in a reason would break the table.
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)
