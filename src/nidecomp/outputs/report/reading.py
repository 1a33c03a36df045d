"""Reading text, JSON and tables of an output folder, which may be damaged."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from nidecomp.core.text import parse_json

Row = Mapping[str, str]


def read_text(path: Path, missing: list[str] | None = None) -> str:
    """Return the text of a file; if it cannot be read, add it to `missing` and return nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        if missing is not None:
            missing.append(f"{path.name} is missing.")
        return ""


def read_json(path: Path, missing: list[str] | None = None) -> Mapping[str, object]:
    """Return a JSON object; if it cannot be read, add it to `missing` and return nothing."""
    try:
        content = parse_json(read_text(path, missing) or "{}")
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    if missing is not None:
        missing.append(f"{path.name} is damaged.")
    return {}


def read_table(path: Path, missing: list[str] | None = None) -> tuple[Row, ...]:
    """Return the rows of a table; n/a becomes an empty cell."""
    lines = read_text(path, missing).splitlines()
    try:
        rows = list(csv.DictReader(lines, delimiter="\t", restval=""))
    except csv.Error:
        rows = []
        if missing is not None:
            missing.append(f"{path.name} is damaged.")
    return tuple(
        {
            str(name): "" if value in {"n/a", None} else str(value)
            for name, value in row.items()
            if isinstance(value, str | None)
        }
        for row in rows
    )


def number(text: str | None) -> float:
    """Return a number of a table; NaN where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return float("nan")
