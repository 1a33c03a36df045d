"""Write files atomically and lock folders, so that an interrupted run leaves no partial file."""

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

# Temporary names given by `replace_atomically`.
_TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{8}-.+")
# Their length beyond that of the final name; process numbers of Linux have at most 7 digits.
LONGEST_PREFIX = len(".1234567-0123abcd-")


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Write to a temporary file and rename it to `path` when the block succeeds.

    Parameters
    ----------
    path : Path
        The final name. Its folder is created if needed.

    Yields
    ------
    Path
        A unique temporary name in the same folder, with the same extensions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files left in a folder by processes that were killed.

    Parameters
    ----------
    folder : Path
        A folder that no other process writes to.
    """
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for atomic writing: it appears under `path` when the block succeeds.

    Parameters
    ----------
    path : Path

    Yields
    ------
    file
        Open in binary mode.
    """
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        try:
            yield file
        except OSError as error:
            if error.errno is not None:
                raise
            # numpy reports how much was written, but not why the rest was not.
            raise OSError(
                f"{path} could not be written completely ({error}): the disk is full or a quota "
                "is exceeded"
            ) from None


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a folder against other NiDecomp processes, creating it if needed.

    The lock is released when the process ends, however it ends, and leaves no file.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    UsageError
        Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another NiDecomp process is using {folder}. Wait until it has finished, or "
                "choose another folder."
            ) from None
        except OSError:
            # Some network file systems do not support locks: continue without one.
            pass
        yield
    finally:
        os.close(descriptor)
