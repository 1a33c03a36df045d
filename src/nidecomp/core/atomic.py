"""Files that are either whole under their name or not there, and folders that one process has."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nidecomp.core.errors import UsageError

# What `replace_atomically` calls a file while it is written.
_TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{8}-.+")


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


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that processes which were killed left in a folder.

    Parameters
    ----------
    folder : Path
        Where no other process writes.
    """
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written, which has its name when the block ends well.

    Parameters
    ----------
    path : Path

    Yields
    ------
    file
        Open for bytes.
    """
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        try:
            yield file
        except OSError as error:
            if error.errno is not None:
                raise
            # numpy counts what was written, and does not say why it was not all.
            raise OSError(
                f"{path} could not be written whole ({error}): the disk is full, or a quota reached"
            ) from None


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder; make it where it is not there.

    The lock goes with the process, however that ends, and leaves no file.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    UsageError
        Another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another NiDecomp is at work in {folder}: wait for it, or choose another folder."
            ) from None
        except OSError:
            # Some network file systems know no locks: then nobody is kept out.
            pass
        yield
    finally:
        os.close(descriptor)
