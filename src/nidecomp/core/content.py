"""Identify files by their content, and detect those whose content was not fetched (git-annex)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

# A gzip file ends with a checksum of its content, so that reading this many bytes of both ends
# distinguishes files of the same size without reading them completely.
_END_BYTES = 65536
# The largest file that git-annex takes for a pointer.
_LARGEST_POINTER = 32768
# The text of a pointer (of an unlocked file), or of a link on a file system without links.
_POINTER = re.compile(rb"(?:/|(?:\.\./)*\.git/)annex/objects/([^\n]+)")


def is_not_fetched(path: Path) -> bool:
    """Return whether a file is a link to nothing, or a pointer that stands for its content.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        False for a file that does not exist, or that cannot be accessed.
    """
    try:
        return stands_for_content(path, path.stat())
    except PermissionError:
        # The target cannot be accessed, so that it may exist.
        return False
    except OSError:
        return path.is_symlink()


def stands_for_content(path: Path, status: os.stat_result) -> bool:
    """Return whether a file is a pointer to content that was not fetched.

    Parameters
    ----------
    path : Path
    status : os.stat_result
        Of the file. Only small ones are read.

    Returns
    -------
    bool
        False for a file that cannot be read.
    """
    if not S_ISREG(status.st_mode) or status.st_size > _LARGEST_POINTER:
        return False
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  many files: it is faster
            return _POINTER.match(file.read(_LARGEST_POINTER)) is not None
    except OSError:
        return False


def not_fetched(what: str, path: Path) -> str:
    """Return a message about a file whose content was not fetched, and how to fetch it.

    Examples
    --------
    >>> not_fetched("its image", Path("sub-01_task-rest_bold.nii.gz"))
    "the content of its image was not fetched; try 'datalad get sub-01_task-rest_bold.nii.gz'"
    """
    return f"the content of {what} was not fetched; try 'datalad get {path}'"


def annex_key(path: Path) -> str | None:
    """Return the key of an annexed file, fetched or not, or None if none can be read.

    A key has the size and usually a checksum of the content: ``MD5E-s1234--….nii.gz``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str or None
    """
    try:
        if path.is_symlink():
            target = path.readlink()
            return target.name if "annex" in target.parts else None
        if not path.is_file() or path.stat().st_size > _LARGEST_POINTER:
            return None
        with path.open("rb") as file:
            match = _POINTER.match(file.read(_LARGEST_POINTER))
    except OSError:
        return None
    return match[1].decode(errors="replace").rsplit("/", 1)[-1] if match else None


def annex_key_of_all(paths: Iterable[Path]) -> str | None:
    """Return the keys of annexed files as one, or None if one of them has none that can be read."""
    keys = [annex_key(path) for path in paths]
    return None if None in keys else "+".join(filter(None, keys))


def identity_of_all(paths: Iterable[Path]) -> str:
    """Return the identities of files as one.

    Raises
    ------
    OSError
        One of them cannot be read.
    """
    return "+".join(map(identity_of, paths))


def identity_of(path: Path) -> str:
    """Return the size and a hash of a file's content; when it was written does not matter.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Raises
    ------
    OSError
        The file cannot be read.

    Notes
    -----
    Of a gzip file, the beginning and the end are read, which has a checksum of its content. A
    process reads other files again only if their size or time has changed.
    """
    status = path.stat()
    if path.suffix == ".gz" or status.st_size <= 2 * _END_BYTES:
        return f"{status.st_size}-{_hash_of_ends(path, status.st_size)}"
    state = (status.st_size, status.st_mtime_ns, status.st_ino, _hash_of_ends(path, status.st_size))
    return f"{status.st_size}-{_hash(path, state)}"


def _hash_of_ends(path: Path, size: int) -> str:
    with path.open("rb") as file:
        ends = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(_END_BYTES, size - _END_BYTES))
        ends.update(file.read())
    return ends.hexdigest()[:32]


@lru_cache(maxsize=4096)
def _hash(path: Path, state: tuple[object, ...]) -> str:
    """Return the hash of a file that is in a certain state."""
    del state
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
