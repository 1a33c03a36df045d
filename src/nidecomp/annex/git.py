"""Call git in a repository, which may be a subdataset or another user's."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

# Variables that have git work on another repository, as in hooks.
_OF_ANOTHER = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)


def search_path() -> str:
    """Return PATH with the folder of this Python, where pip installs git-annex."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def repository_of(path: Path) -> Path | None:
    """Return the top folder of the git repository that a file is in, or None.

    Parameters
    ----------
    path : Path
        Links to folders are followed; a file that is a link is not.
    """
    return _top_of(path.parent.resolve())


@cache
def _top_of(folder: Path) -> Path | None:
    return next((top for top in (folder, *folder.parents) if (top / ".git").exists()), None)


def git_folder(top: Path) -> Path:
    """Return the folder with the data of a repository: of a subdataset, a file may say where it is.

    Parameters
    ----------
    top : Path
        The repository's top folder.
    """
    git = top / ".git"
    if git.is_file():
        where = git.read_text(encoding="utf-8", errors="replace").partition("gitdir:")[2].strip()
        return (top / where).resolve()
    return git


def run_in(
    top: Path,
    command: Sequence[str],
    settings: Mapping[str, str] = MappingProxyType({}),
    holding: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of git in a repository, with settings for this command alone.

    Parameters
    ----------
    top : Path
        The repository's top folder.
    command : sequence of str
        A program and its arguments. It ends with this process, however that ends.
    settings : mapping, optional
        Names of git's settings to their values.
    holding : int, optional
        A descriptor that the command keeps open.

    Returns
    -------
    subprocess.CompletedProcess
        With what it wrote.
    """
    return subprocess.run(  # noqa: S603  no shell reads the names of files
        command,
        cwd=top,
        env=_environment(top, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        pass_fds=() if holding is None else (holding,),
        # Between fork and exec, only a function of the C library is called.
        preexec_fn=_end_with_parent,
    )


def _environment(top: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command, with settings of git.

    The repository may be another user's, as in containers: it was named by the user.
    """
    given = {"safe.directory": str(top), **settings}
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
    first = int(environment.get("GIT_CONFIG_COUNT", "0") or 0)
    for number, (name, value) in enumerate(given.items(), start=first):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    # Nobody is there to be asked for a password.
    return environment | {
        "GIT_CONFIG_COUNT": str(first + len(given)),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        # git calls git-annex to write files that are unlocked.
        "PATH": search_path(),
    }


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent ends, so that no download goes on alone.

    Where it cannot (macOS), the download ends by itself, and holds the lock until then.
    """
    if _PRCTL is not None:
        _PRCTL(_END_WITH_PARENT, signal.SIGTERM)
