"""Files that are either whole under their name or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a sibling name to write to; rename it to `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The final name; its folder is made where it is not there.

    Yields
    ------
    Path
        A name in the same folder that no other process uses, with the same extensions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
