"""Text that is read whole: only where it is as small and as flat as such text is."""

from __future__ import annotations

import json
from pathlib import Path

# A sidecar has kilobytes; that of a confounds table with all CompCor components a few megabytes.
MOST_BYTES = 1 << 24
# Characters of a message, and of a value in it: a rule of thumb, for the reader's sake.
_LONGEST_LINE, _LONGEST_QUOTED = 400, 100
# The largest float has 309.
_MOST_DIGITS = 300


def read_text(path: Path) -> str:
    """Read a small text file in UTF-8.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Raises
    ------
    OSError
    ValueError
        It is no UTF-8, or larger than `MOST_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES / 1e6:.0f} MB")
    return content.decode("utf-8")


def parse_json(text: str) -> object:
    """Understand JSON.

    Raises
    ------
    ValueError
        For everything that JSON text can be wrong in.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole_number(digits: str) -> int:
    # Beyond this it would be no float, and arithmetic would stumble over it wherever it goes.
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def quoted(value: object) -> str:
    """Name what a user gave in a sentence: in quotes as Python has them, short whatever it is."""
    return in_one_line(repr(value), _LONGEST_QUOTED)


def in_one_line(text: object, longest: int | None = _LONGEST_LINE) -> str:
    """Return what a library or a file says as one printable line of bounded length.

    Parameters
    ----------
    text : object
        An exception, for instance.
    longest : int, optional
        Characters at most, but for what becomes of those that cannot be printed; None for a reason
        of ours, which is kept whole.

    Returns
    -------
    str
        What cannot be printed becomes an escape; the middle of what is too long is left out.
    """
    line = " ".join(str(text).split())
    if longest is not None and len(line) > longest:
        line = f"{line[: longest // 2]} … {line[-longest // 2 :]}"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


def count(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
