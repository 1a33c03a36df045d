"""Find the folders of a dataset that may contain runs, and those that cannot be read."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nidecomp.core.errors import UsageError
from nidecomp.core.text import inside, quoted

_PARTICIPANT = re.compile(r"sub-[a-zA-Z0-9+]+")
_SESSION_OR_FUNC = re.compile(r"ses-[a-zA-Z0-9+]+|func")
_FUNC = re.compile(r"func")
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Folders:
    """The participant, session and func folders of a dataset.

    Parameters
    ----------
    times : dict of Path to int
        Folders that can be read, with their modification time in ns.
    names : dict of Path to list of str
        The same folders, with the sorted names of what is in them.
    closed : dict of Path to str
        Folders that cannot be read, with the system's error message.
    without_runs : dict of Path to str
        Folders of participants and sessions that cannot have runs, with the reason: their name is
        not a BIDS label, they are links to nothing, or they are empty.
    """

    times: dict[Path, int] = field(default_factory=dict)
    names: dict[Path, list[str]] = field(default_factory=dict)
    closed: dict[Path, str] = field(default_factory=dict)
    without_runs: dict[Path, str] = field(default_factory=dict)


def find_folders(root: Path) -> Folders:
    """Return the folders that may contain runs.

    Folders that cannot be read are listed separately, because pybids raises an error for some of
    them and skips others silently.

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
        names = _names_in(root)
    except OSError as error:
        raise UsageError(f"BIDS_DIR {root} cannot be read: {error.strerror}.") from None
    for participant in _matching(root, names, _PARTICIPANT, folders):
        for session in _add_folder(participant, _SESSION_OR_FUNC, folders):
            inner = _NOTHING if session.name == "func" else _FUNC
            for func in _add_folder(session, inner, folders):
                _add_folder(func, _NOTHING, folders)
    return folders


def _add_folder(folder: Path, inner: re.Pattern[str], folders: Folders) -> list[Path]:
    """Add a folder to the record, as readable or not, and return the subfolders that match."""
    try:
        status = folder.stat()
        if not stat.S_ISDIR(status.st_mode):
            if _PARTICIPANT.fullmatch(folder.name):
                folders.without_runs[folder] = (
                    "it is a file, not a folder (perhaps a link that was copied as text)"
                )
            return []
        names = _names_in(folder)
    except OSError as error:
        # Dangling and circular links are not folders.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            folders.closed[folder] = error.strerror or "it cannot be read"
        else:
            folders.without_runs[folder] = "it is a link to a folder that does not exist"
        return []
    folders.times[folder] = status.st_mtime_ns
    folders.names[folder] = names
    return _matching(folder, names, inner, folders)


def _names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, after checking that it can be entered."""
    names = sorted(os.listdir(folder))  # noqa: PTH208  names alone are needed
    os.stat(os.path.join(folder, ".."))  # noqa: PTH116, PTH118  many folders: it is faster
    return names


def _matching(
    folder: Path, names: list[str], pattern: re.Pattern[str], folders: Folders
) -> list[Path]:
    """Return the entries of a folder whose names match, and record those that cannot have runs."""
    if not names and folder.name.startswith(("sub-", "ses-")):
        folders.without_runs[folder] = (
            "its folder is empty (if it is a DataLad subdataset, install it with "
            f"'datalad get -n {folder}')"
        )
    short = "sub" if pattern is _PARTICIPANT else "ses"
    for name in names:
        if _is_misnamed(folder, name, short):
            folders.without_runs[folder / name] = (
                f"the label in its name may have letters and digits only: rename the folder "
                f"{quoted(name)} and its files"
            )
    return [folder / name for name in names if pattern.fullmatch(name)]


def _is_misnamed(folder: Path, name: str, short: str) -> bool:
    if not name.startswith(f"{short}-") or re.fullmatch(rf"{short}-[a-zA-Z0-9+]+", name):
        return False
    return os.path.isdir(folder / name)  # noqa: PTH112  it never raises an error


def with_closed_links(root: Path, folders: Folders) -> Iterator[Path]:
    """Yield the folders of participants with symbolic links to files that cannot be accessed."""
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
        # Dangling links are reported when they are read.
        return False
    return False


def participant_of(root: Path, folder: Path) -> Path:
    """Return the participant's folder that contains another folder."""
    return root / top_folder(root, folder)


def top_folder(root: Path, path: Path) -> str:
    """Return the name of the folder in the dataset that contains a file or folder."""
    return inside(root, path).partition("/")[0]
