"""Read small text and JSON files safely, and format text for messages."""

from __future__ import annotations

import json
import os
from pathlib import Path

# Sidecars have kilobytes; that of a confounds table with all CompCor components a few megabytes.
MOST_BYTES = 1 << 24
# Maximum length in characters of a message and of a value in it, chosen for readability.
_LONGEST_LINE, _LONGEST_QUOTED = 400, 100
# The largest float has 309 digits.
_MOST_DIGITS = 300


def read_text(path: Path) -> str:
    """Return the content of a small UTF-8 text file.

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
        The file is not UTF-8, or is larger than `MOST_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES / 1e6:.0f} MB")
    # Some editors write a byte order mark, which is not part of the text.
    return content.decode("utf-8").removeprefix("\ufeff")


def parse_json(text: str) -> object:
    """Return the content of JSON text.

    Raises
    ------
    ValueError
        The text is not valid JSON, is nested too deeply, or holds a number that is too large.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole_number(digits: str) -> int:
    # Larger integers cannot be converted to float and would fail later, in arithmetic.
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it contains a number of {len(digits)} digits")
    return int(digits)


def quoted(value: object) -> str:
    """Return the repr of a value for a message, shortened if it is long."""
    return in_one_line(repr(value), _LONGEST_QUOTED)


def in_one_line(text: object, longest: int | None = _LONGEST_LINE) -> str:
    """Return text on one printable line of limited length, for messages.

    Parameters
    ----------
    text : object
        For example an exception raised by a library.
    longest : int or None
        Maximum length in characters, before unprintable characters are escaped. None for
        NiDecomp's own messages, which are not shortened.

    Returns
    -------
    str
        Unprintable characters are escaped; the middle of a long text is replaced by an ellipsis.
    """
    line = " ".join(str(text).split())
    if longest is not None and len(line) > longest:
        line = f"{line[: longest // 2]} … {line[-longest // 2 :]}"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: ``1 run``, ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verb(number: int, singular: str, plural: str) -> str:
    """Return the verb that goes with a number: is or are, has or have."""
    return singular if number == 1 else plural


def inside(folder: Path, path: Path) -> str:
    """Return the path of a file below a folder that contains it, with slashes.

    `Path.relative_to` takes ten times as long, and there are thousands of files.

    Examples
    --------
    >>> inside(Path("/data"), Path("/data/sub-01/func"))
    'sub-01/func'
    """
    return str(path).removeprefix(os.path.join(folder, ""))  # noqa: PTH118  it is faster


def size_in_words(n_bytes: int) -> str:
    """Return a number of bytes in kB, MB or GB.

    Examples
    --------
    >>> size_in_words(1_234_567)
    '1.2 MB'
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:,.1f} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"
