"""Detect files of a git-annex (DataLad) dataset whose content was not fetched."""

from __future__ import annotations

import re
from pathlib import Path
from stat import S_ISREG

# The largest file that git-annex takes for a pointer.
_LARGEST_POINTER = 32768
# The text of a pointer (of an unlocked file), or of a link on a file system without links.
_POINTER = re.compile(rb"(?:/|(?:\.\./)*\.git/)annex/objects/[^\n]+")


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
        status = path.stat()
        if not S_ISREG(status.st_mode) or status.st_size > _LARGEST_POINTER:
            return False
        with path.open("rb") as file:
            return _POINTER.match(file.read(_LARGEST_POINTER)) is not None
    except PermissionError:
        # The target cannot be accessed, so that it may exist.
        return False
    except OSError:
        return path.is_symlink()


def not_fetched(what: str, path: Path) -> str:
    """Return a message about a file whose content was not fetched, and how to fetch it.

    Examples
    --------
    >>> not_fetched("its image", Path("sub-01_task-rest_bold.nii.gz"))
    "the content of its image was not fetched; try 'datalad get sub-01_task-rest_bold.nii.gz'"
    """
    return f"the content of {what} was not fetched; try 'datalad get {path}'"
