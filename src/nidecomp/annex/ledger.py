"""Keep a list of the files that were fetched, in the repository that they were fetched to.

While a file is fetched, read and dropped, it has an entry: a small file with its path, which is
locked by the process that reads it, and by git-annex as long as that runs. An entry that is not
locked is of a process that was killed. What was there before has no entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nidecomp.annex.git import git_folder, repository_of
from nidecomp.core.content import annex_key
from nidecomp.core.errors import FailedRunError

_FOLDER = "nidecomp"


@dataclass(frozen=True)
class Entry:
    """The entry of a fetched file, which need not exist."""

    file: Path

    @classmethod
    def of(cls, path: Path) -> Entry | None:
        """Return the entry of a file, or None if it is in no repository."""
        top = repository_of(path)
        if top is None:
            return None
        # Links to the same content are to one copy in the repository.
        key = annex_key(path) if path.is_symlink() else None
        name = hashlib.sha256(os.fsencode(key or path.absolute())).hexdigest()[:20]
        return cls(_folder_in(top) / f"{name}.json")

    def exists(self) -> bool:
        """Return whether somebody has fetched the file, and has not dropped it."""
        return self.file.exists()

    def path(self) -> Path | None:
        """Return the path of the fetched file, or None if nothing was fetched yet."""
        lines = self._lines()
        return Path(lines[0]) if lines else None

    def reason(self) -> str | None:
        """Return why the file could not be dropped, or None."""
        lines = self._lines()
        return lines[-1] if len(lines) > 1 else None

    def add_reason(self, why: str) -> None:
        """Write why the file could not be dropped."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(why)}\n")

    def remove(self) -> None:
        """Remove the entry: the file was dropped."""
        self.file.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        try:
            lines = self.file.read_bytes().split(b"\n")
            return [str(json.loads(line)) for line in lines if line]
        except (OSError, ValueError):
            return []

    @contextmanager
    def made(self, path: Path) -> Iterator[int]:
        """Make the entry of a file and hold its lock, after waiting for others that have it.

        Parameters
        ----------
        path : Path
            The file.

        Yields
        ------
        int
            The descriptor that holds the lock.

        Raises
        ------
        FailedRunError
            The entry cannot be written.
        """
        try:
            descriptor = self._opened()
        except OSError as error:
            raise FailedRunError(
                f"its image cannot be fetched: {self.file.parent} cannot be written to "
                f"({error.strerror})"
            ) from None
        try:
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{json.dumps(str(path.absolute()))}\n".encode(), 0)
            except OSError as error:
                self.remove()
                raise FailedRunError(
                    f"its image cannot be fetched: {self.file} cannot be written ({error.strerror})"
                ) from None
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        self.file.parent.mkdir(exist_ok=True)
        while True:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
            # Some network file systems do not support locks: continue without one.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is(descriptor):
                return descriptor
            # Whoever had it has ended, and removed it.
            os.close(descriptor)

    @contextmanager
    def taken_over(self) -> Iterator[int | None]:
        """Hold the lock of an entry whose process was killed.

        Yields
        ------
        int or None
            The descriptor that holds the lock. None if another process reads the file, or if the
            file system has no locks, so that nobody can tell.
        """
        try:
            descriptor = os.open(self.file, os.O_RDWR)
        except OSError:
            yield None
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = self._is(descriptor)
        except OSError:
            is_ours = False
        try:
            yield descriptor if is_ours else None
        finally:
            os.close(descriptor)

    def _is(self, descriptor: int) -> bool:
        """Return whether an open file is still the one of this name."""
        try:
            return os.path.samestat(self.file.stat(), os.fstat(descriptor))
        except OSError:
            return False


def entries(top: Path) -> list[Entry]:
    """Return the entries of a repository.

    Parameters
    ----------
    top : Path
        Its top folder.

    Returns
    -------
    list of Entry
    """
    return [Entry(file) for file in sorted(_folder_in(top).glob("*.json"))]


@contextmanager
def one_at_a_time(top: Path) -> Iterator[None]:
    """Have other processes that set up the same repository, or fetch many files to it, wait.

    Parameters
    ----------
    top : Path
        Its top folder.
    """
    try:
        _folder_in(top).mkdir(exist_ok=True)
        descriptor = os.open(_folder_in(top) / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        # That it cannot be written to is said where something is fetched.
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _folder_in(top: Path) -> Path:
    return git_folder(top) / _FOLDER
