"""Call git-annex: fetch the content of files, and drop it."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from nidecomp.annex.git import git_folder, repository_of, run_in, search_path
from nidecomp.core.content import annex_key, is_not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line

# A command line has room for more, but what failed is known earlier.
_FILES_AT_ONCE = 200
# Options of every command. What is fetched is dropped again soon: where it is need not be committed
# each time. The content was not here before, so that one copy elsewhere is what there was.
_SETTINGS = {
    "annex.alwayscommit": "false",
    "annex.numcopies": "1",
    "annex.mincopies": "1",
    "annex.retry": "3",
}
# For commits to the branch git-annex, of users that have not told git who they are.
_NOBODY = {"user.name": "NiDecomp", "user.email": "nidecomp@localhost"}


def check_installed() -> None:
    """Check that git and git-annex can be called.

    Raises
    ------
    UsageError
        One of them is not installed.
    """
    for program, how in (
        ("git", "'apt install git' or 'conda install git'"),
        (
            "git-annex",
            "'pip install git-annex', 'apt install git-annex' or "
            "'conda install -c conda-forge git-annex'",
        ),
    ):
        if shutil.which(program, path=search_path()) is None:
            raise UsageError(f"--fetch needs {program}, which is not installed: try {how}.")


def check_writable(path: Path) -> None:
    """Check that content can be fetched to the repository of a file.

    Raises
    ------
    UsageError
        The file is in no repository, or its repository cannot be written to.
    """
    top = repository_of(path)
    if top is None:
        raise UsageError(
            f"--fetch: {path} has no content, and is in no git repository that it could be fetched "
            "to: was only a part of the dataset mounted or copied? Use the top folder of the "
            "DataLad dataset."
        )
    git = git_folder(top)
    if not all(os.access(folder, os.W_OK) for folder in (git, git / "annex") if folder.exists()):
        raise UsageError(
            f"--fetch: the repository {top} cannot be written to, so that nothing can be fetched "
            f"there. Use a clone of your own: 'git clone {top} CLONE', with CLONE (or the same "
            "folder in it) as BIDS_DIR; it can be deleted afterwards ('chmod -R u+w CLONE' first)."
        )


def size_of(path: Path) -> int:
    """Return the size of a file's content in bytes, fetched or not; 0 if its key has no size.

    Parameters
    ----------
    path : Path
    """
    if not is_not_fetched(path):
        return path.stat().st_size
    key = annex_key(path) or ""
    # BACKEND[-s123][-m…]--NAME
    sizes = [field[1:] for field in key.partition("--")[0].split("-")[1:] if field[:1] == "s"]
    return int(sizes[0]) if sizes and sizes[0].isdecimal() else 0


def is_annexed(path: Path) -> bool:
    """Return whether the repository of a file has annexed content, such as that of unlocked files.

    Parameters
    ----------
    path : Path
    """
    top = repository_of(path)
    return top is not None and (git_folder(top) / "annex").is_dir()


def set_up(top: Path) -> None:
    """Let git-annex set up a clone, which several processes must not do at the same time.

    Parameters
    ----------
    top : Path
        The repository's top folder.
    """
    names = ("annex.uuid", "annex.version")
    if any(run_in(top, ["git", "config", name]).returncode for name in names):
        run_in(top, [_git_annex(), "init"], {} if _knows_user(top) else _NOBODY)


def get(paths: Iterable[Path], *, holding: int | None = None) -> dict[Path, str]:
    """Fetch the content of files.

    Parameters
    ----------
    paths : iterable of Path
        Annexed files.
    holding : int, optional
        A descriptor that git-annex keeps open as long as it runs, as that of a lock.

    Returns
    -------
    dict of Path to str
        Those that have no content now, and why.
    """
    said = _each("get", paths, holding)
    return {path: why for path, why in said.items() if is_not_fetched(path)}


def drop(paths: Iterable[Path]) -> dict[Path, str]:
    """Drop the content of files. git-annex checks first that there is a copy elsewhere.

    Parameters
    ----------
    paths : iterable of Path
        Annexed files.

    Returns
    -------
    dict of Path to str
        Those that still have content, and why.
    """
    return {path: why for path, why in _each("drop", paths).items() if not is_not_fetched(path)}


def remove_partial(path: Path) -> None:
    """Remove what an interrupted transfer of a file's content left in the repository."""
    top, key = repository_of(path), annex_key(path)
    if top is not None and key is not None:
        (git_folder(top) / "annex" / "tmp" / _as_file_name(key)).unlink(missing_ok=True)


def _as_file_name(key: str) -> str:
    """Return the name that git-annex gives the file of a key."""
    escaped = key.replace("&", "&a").replace("%", "&s").replace(":", "&c")
    return escaped.replace("/", "%")


def _each(command: str, paths: Iterable[Path], holding: int | None = None) -> dict[Path, str]:
    """Call git-annex for files of any repositories; return what it says of each."""
    of_repository: dict[Path, list[Path]] = defaultdict(list)
    said: dict[Path, str] = {}
    for path in paths:
        top = repository_of(path)
        if top is None:
            said[path] = "it is in no git repository"
        else:
            of_repository[top].append(path)
    for top, inside in of_repository.items():
        for first in range(0, len(inside), _FILES_AT_ONCE):
            said |= _call(command, top, inside[first : first + _FILES_AT_ONCE], holding)
    return said


def _call(command: str, top: Path, paths: Sequence[Path], holding: int | None) -> dict[Path, str]:
    names = {
        (path.parent.resolve() / path.name).relative_to(top).as_posix(): path for path in paths
    }
    settings = {**_SETTINGS, **({} if _knows_user(top) else _NOBODY)}
    words = [_git_annex(), command, "--json", "--json-error-messages", "--", *names]
    done = run_in(top, words, settings, holding)
    said = dict.fromkeys(
        paths, in_one_line(done.stderr.decode(errors="replace")) or "no reason given"
    )
    for line in done.stdout.decode(errors="replace").splitlines():
        try:
            result = json.loads(line)
            path, messages = names[result["file"]], result.get("error-messages", [])
        except (ValueError, KeyError, TypeError):
            continue
        if reasons := "; ".join([*messages, *_lines(result.get("note"))]):
            said[path] = in_one_line(reasons)
    return said


def _git_annex() -> str:
    """Return the program itself: 'git annex' is a process between, which ends alone."""
    return shutil.which("git-annex", path=search_path()) or "git-annex"


def _lines(note: object) -> list[str]:
    return [line for line in note.splitlines() if line] if isinstance(note, str) else []


@cache
def _knows_user(top: Path) -> bool:
    """Return whether git knows the user's name and address, for commits."""
    return all(run_in(top, ["git", "config", name]).returncode == 0 for name in _NOBODY)
