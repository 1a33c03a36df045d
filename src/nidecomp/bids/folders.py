"""Which folders a dataset has that may hold runs, and which of them may not be read."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nidecomp.core.errors import UsageError

_PARTICIPANT = re.compile(r"sub-[a-zA-Z0-9+]+")
_SESSION_OR_FUNC = re.compile(r"ses-[a-zA-Z0-9+]+|func")
_FUNC = re.compile(r"func")
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Folders:
    """Participants' folders, their sessions' and their func folders.

    Parameters
    ----------
    times : dict of Path to int
        Those that can be read, with the times of their last change in ns.
    closed : dict of Path to str
        Those that cannot, and what the system says of each.
    """

    times: dict[Path, int] = field(default_factory=dict)
    closed: dict[Path, str] = field(default_factory=dict)


def find_folders(root: Path) -> Folders:
    """Look which folders can be indexed: pybids would end at one that cannot be read, or pass by.

    Parameters
    ----------
    root : Path
        The derivative dataset.

    Returns
    -------
    Folders

    Raises
    ------
    UsageError
        The dataset's own folder cannot be read.
    """
    folders = Folders()
    try:
        participants = _inside(root, _PARTICIPANT)
    except OSError as error:
        raise UsageError(f"BIDS_DIR {root} cannot be read: {error.strerror}.") from None
    for participant in participants:
        for session in _look_at(participant, _SESSION_OR_FUNC, folders):
            inner = _NOTHING if session.name == "func" else _FUNC
            for func in _look_at(session, inner, folders):
                _look_at(func, _NOTHING, folders)
    return folders


def _look_at(folder: Path, inner: re.Pattern[str], folders: Folders) -> list[Path]:
    """Add a folder to those that can be read or to those that cannot; give what is inside it."""
    try:
        status = folder.stat()
        if not stat.S_ISDIR(status.st_mode):
            return []
        inside = _inside(folder, inner)
    except OSError as error:
        # Links to nothing and in circles are no folders.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            folders.closed[folder] = error.strerror or "it cannot be read"
        return []
    folders.times[folder] = status.st_mtime_ns
    return inside


def _inside(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """List what may be a folder of ours in a folder; see that it may be entered, too."""
    found = sorted(folder.iterdir())
    (folder / "..").stat()
    return [path for path in found if names.fullmatch(path.name)]


def with_closed_links(root: Path, folders: Folders) -> Iterator[Path]:
    """Find the participants in whose folders there are links to where we may not go."""
    for folder in folders.times:
        with os.scandir(folder) as entries:
            links = [Path(entry.path) for entry in entries if entry.is_symlink()]
        if any(map(_is_closed, links)):
            yield participant_of(root, folder)


def _is_closed(link: Path) -> bool:
    try:
        link.stat()
    except PermissionError:
        return True
    except OSError:
        # Whoever reads links to nothing says so.
        return False
    return False


def participant_of(root: Path, folder: Path) -> Path:
    """Give the participant's folder in which another lies."""
    return root / folder.relative_to(root).parts[0]
