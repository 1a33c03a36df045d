"""Keep a list of the images that were fetched, so that each is dropped again, whatever happens.

While an image is fetched, read and dropped, the work folder has a small file with its path, which
is locked by the process that reads it. A file that is not locked is of a process that was killed:
the next one that finds it drops the image. What was there before is never listed, and never
dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nidecomp.annex.commands import drop, get, remove_partial, repository_of
from nidecomp.core.content import annex_key, is_not_fetched
from nidecomp.core.errors import FailedRunError

_LOG = logging.getLogger(__name__)
_FOLDER = "fetched"


@contextmanager
def at_hand(path: Path, work_dir: Path) -> Iterator[None]:
    """Fetch the content of a file if it is not there, and drop it at the end of the block.

    Parameters
    ----------
    path : Path
        An annexed file. Processes that use the same work folder and need the same file take turns.
    work_dir : Path

    Raises
    ------
    FailedRunError
        The content cannot be fetched, or what was fetched before cannot be dropped.
    """
    entry = _entry(path, work_dir)
    # Before and after: another process may have fetched it, and would drop it while it is read.
    if not entry.exists() and not is_not_fetched(path) and not entry.exists():
        yield
        return
    _refuse_to_pile_up(work_dir)
    with _locked(entry, path):
        if why := get([path]).get(path):
            _drop(path, entry)
            raise FailedRunError(f"its image {path.name} could not be fetched: {why}")
        try:
            yield
        finally:
            _drop(path, entry)


@contextmanager
def without_leftovers(work_dir: Path) -> Iterator[None]:
    """Drop what processes that were killed have fetched, before and after the block.

    Parameters
    ----------
    work_dir : Path
    """
    _report(drop_leftovers(work_dir))
    try:
        yield
    finally:
        _report(drop_leftovers(work_dir))


def _report(failed: Mapping[Path, str]) -> None:
    for path, why in failed.items():
        _LOG.warning("%s was fetched, and could not be dropped again: %s", path, why)


def drop_leftovers(work_dir: Path) -> dict[Path, str]:
    """Drop the images that processes fetched and could not drop, as they were killed.

    Parameters
    ----------
    work_dir : Path
        Images that others use now are left alone.

    Returns
    -------
    dict of Path to str
        Those that could not be dropped, and why.
    """
    failed = {}
    for entry in sorted((work_dir / _FOLDER).glob("*.txt")):
        try:
            descriptor = os.open(entry, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_current(entry, descriptor):
                continue
            path = _path_in(entry)
            if path is None:
                # It was killed before it fetched anything.
                entry.unlink(missing_ok=True)
                continue
            _drop(path, entry)
            if why := _reason_in(entry):
                failed[path] = why
        except OSError:
            # Another process reads the image, or the file system has no locks and nobody can tell.
            continue
        finally:
            os.close(descriptor)
    return failed


def _drop(path: Path, entry: Path) -> None:
    """Drop a file's content, and its entry with it; if that fails, the entry says why."""
    remove_partial(path)
    if not is_not_fetched(path) and (why := drop([path]).get(path)):
        entry.write_text(f"{path}\n{why}\n", encoding="utf-8", errors="surrogateescape")
    else:
        entry.unlink(missing_ok=True)


def _refuse_to_pile_up(work_dir: Path) -> None:
    """Raise if something that was fetched could not be dropped: the disk would fill up."""
    for entry in (work_dir / _FOLDER).glob("*.txt"):
        if why := _reason_in(entry):
            raise FailedRunError(
                f"no further image is fetched, because {_path_in(entry)} could not be dropped "
                f"after it was read ({why}): drop it with"
                " 'git annex drop', then run the command again"
            )


def _entry(path: Path, work_dir: Path) -> Path:
    # Links to the same content are to one copy in the repository.
    key = annex_key(path) if path.is_symlink() else None
    what = f"{repository_of(path)} {key or path.absolute()}"
    name = hashlib.sha256(os.fsencode(what)).hexdigest()[:20]
    return work_dir / _FOLDER / f"{name}.txt"


def _path_in(entry: Path) -> Path | None:
    lines = _lines_of(entry)
    return Path(lines[0]) if lines else None


def _reason_in(entry: Path) -> str | None:
    lines = _lines_of(entry)
    return lines[1] if len(lines) > 1 else None


def _lines_of(entry: Path) -> list[str]:
    try:
        return entry.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


@contextmanager
def _locked(entry: Path, path: Path) -> Iterator[None]:
    """Make an entry and hold its lock, after waiting for others that have it."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(entry, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            # Some network file systems do not support locks: continue without one.
            break
        if _is_current(entry, descriptor):
            break
        os.close(descriptor)
    try:
        entry.write_text(f"{path.absolute()}\n", encoding="utf-8", errors="surrogateescape")
        yield
    finally:
        os.close(descriptor)


def _is_current(entry: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one of that name: whoever had it may have ended."""
    try:
        return os.path.samestat(entry.stat(), os.fstat(descriptor))
    except OSError:
        return False
