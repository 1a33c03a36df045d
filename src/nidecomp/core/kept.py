"""Keep what took long to find out in a file of the work folder, to read it at the next start."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from nidecomp.core.atomic import replace_atomically


def keep(content: object, file: Path) -> None:
    """Write content as JSON below a checksum of it, in one step.

    Parameters
    ----------
    content : object
        Of dictionaries, lists, texts and numbers.
    file : Path

    Raises
    ------
    OSError
    """
    text = json.dumps(content, separators=(",", ":")).encode()
    with replace_atomically(file) as temporary:
        temporary.write_bytes(_checksum(text) + b"\n" + text)


def read_kept(file: Path) -> object:
    """Return what was kept in a file, or None if it is missing or damaged.

    Parameters
    ----------
    file : Path

    Returns
    -------
    object
    """
    try:
        checksum, _, text = file.read_bytes().partition(b"\n")
        return json.loads(text) if checksum == _checksum(text) else None
    except (OSError, ValueError, RecursionError):
        return None


def digest(content: object) -> str:
    """Return a short hash of content as JSON, for the name of a file or as a key."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
