"""Writing a BIDS-Derivatives dataset: no file is ever half written, and a manifest lists them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from nidecomp.core.atomic import remove_leftovers, replace_atomically
from nidecomp.core.errors import UsageError
from nidecomp.core.tsv import encoded, table_text

MANIFEST = PurePosixPath("logs/manifest.tsv")
_COLUMNS = ("path", "size", "sha256")
# Bytes of a file that takes long to read again.
_LARGE = 1_000_000
# Limits of file systems, in bytes: a longer name in a list cannot be one of our files.
_LONGEST_NAME, _LONGEST_PATH = 255, 1000


class OutputTree:
    """One output folder while it is written.

    The manifest of an earlier run is removed first and a new one is written last: a folder with a
    manifest is complete and has the results of one run only. In between, a journal lists the files
    that were there and those that are written, so that the next run knows them if this one is
    interrupted.

    Parameters
    ----------
    root : Path
        The output folder; made where it is not there.
    job : str, optional
        A name for the manifest of this job, where several jobs write to one folder.
    adding : bool
        Whether the files of an earlier run are kept, and files are only added. A folder that was
        incomplete remains so.
    """

    def __init__(self, root: Path, job: str | None = None, *, adding: bool = False) -> None:
        self.root = root
        self._manifest = MANIFEST.with_stem(f"{MANIFEST.stem}_{job}") if job else MANIFEST
        self._journal = self._manifest.with_suffix(".unfinished.tsv")
        self._written: dict[str, tuple[int, str]] = {}
        self._is_whole = True
        self._earlier = _read_manifest(root / self._manifest) | _read_manifest(root / self._journal)
        with replace_atomically(root / self._journal) as temporary:
            rows = [
                {"path": name, "size": None, "sha256": digest}
                for name, digest in sorted(self._earlier)
            ]
            temporary.write_text(table_text(_COLUMNS, rows), encoding="utf-8")
        if adding:
            self._is_whole = (root / self._manifest).exists()
            self._written = {
                name: ((root / name).stat().st_size, digest)
                for name, digest in self._earlier
                if (root / name).is_file()
            }
        (root / self._manifest).unlink(missing_ok=True)

    def write_bytes(self, path: PurePosixPath, content: bytes) -> None:
        """Write a file; `path` is relative to the output folder."""
        self._check_inside(path)
        entry = (len(content), hashlib.sha256(content).hexdigest())
        self._note(path, entry)
        with replace_atomically(self.root / path) as temporary:
            temporary.write_bytes(content)
        self._written[str(path)] = entry

    def _remove_leftovers(self) -> None:
        """Remove temporary files of killed runs; a job leaves them: other jobs may use them."""
        if self._manifest != MANIFEST:
            return
        _remove_leftovers(self.root, {name for name, _ in self._earlier} | set(self._written))

    def _check_inside(self, path: PurePosixPath) -> None:
        """Raise UsageError where a folder is a link that leads out of the output folder."""
        folder = (self.root / path).parent
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise UsageError(
                f"{folder} is a link that leads out of the output folder, where nothing may be "
                "written: remove the link."
            )

    def _note(self, path: PurePosixPath, entry: tuple[int, str]) -> None:
        """Note in the journal a file that is about to be written."""
        with (self.root / self._journal).open("a", encoding="utf-8") as journal:
            journal.write(f"{path}\t{entry[0]}\t{entry[1]}\n")

    def write_text(self, path: PurePosixPath, text: str) -> None:
        """Write text in UTF-8 (see `encoded`)."""
        self.write_bytes(path, encoded(text))

    def write_json(self, path: PurePosixPath, content: Mapping[str, object]) -> None:
        """Write a JSON object; its keys stay in the order given."""
        self.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_tsv(
        self,
        path: PurePosixPath,
        columns: Sequence[str],
        table: Iterable[Mapping[str, object]],
    ) -> None:
        """Write a table; None becomes ``n/a``, as BIDS requires."""
        self.write_text(path, table_text(columns, table))

    def write_table(
        self,
        path: PurePosixPath,
        columns: Mapping[str, str],
        table: Iterable[Mapping[str, object]],
        *,
        units: Mapping[str, str] | None = None,
        about: Mapping[str, object] | None = None,
    ) -> None:
        """Write a table, and the JSON that describes it beside it.

        Parameters
        ----------
        path : PurePosixPath
            Path of the ``.tsv``.
        columns : mapping
            Column to its description, in the order of the columns; empty where BIDS itself defines
            the column.
        table : iterable of mapping
        units : mapping, optional
            Column to its unit, for those that have one.
        about : mapping, optional
            Entries of the JSON about the table as a whole.
        """
        self.write_tsv(path, tuple(columns), table)
        units = units or {}
        described = {
            name: {"Description": text, **({"Units": units[name]} if name in units else {})}
            for name, text in columns.items()
            if text
        }
        self.write_json(path.with_suffix(".json"), {**(about or {}), **described})

    def take_file(self, path: PurePosixPath, source: Path) -> None:
        """Copy a file that another process made, which is kept; it may be large."""
        self._check_inside(path)
        with source.open("rb") as file:
            entry = (source.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
        self._note(path, entry)
        with replace_atomically(self.root / path) as temporary:
            shutil.copyfile(source, temporary)
        self._written[str(path)] = entry

    def remove_earlier(self, patterns: Iterable[str]) -> None:
        """Remove files of an earlier run that this one did not write, by patterns of their names.

        `finish` removes all of them, but what is made of the files in the folder, such as the
        report, is made before.
        """
        for pattern in patterns:
            self._remove_earlier(pattern)

    def _remove_earlier(self, pattern: str) -> None:
        for name, digest in sorted(self._earlier):
            path = self.root / name
            is_inside = path.parent.resolve().is_relative_to(self.root.resolve())
            if (
                name not in self._written
                and fnmatchcase(path.name, pattern)
                and is_inside
                and path.is_file()
                and _digest(path) == digest
            ):
                path.unlink()
                _remove_empty_folders(path.parent, self.root)

    def finish(self, about: Mapping[str, object] | None = None) -> None:
        """Remove files of an earlier run that this one did not write, and write the manifest.

        Parameters
        ----------
        about : mapping, optional
            The JSON that stands beside the manifest.
        """
        if about is not None:
            self.write_json(self._manifest.with_suffix(".json"), about)
        self._remove_earlier("*")
        self._remove_leftovers()
        if not self._is_whole:
            return
        written = dict(sorted(self._written.items()))
        self.write_tsv(
            self._manifest,
            _COLUMNS,
            [
                {"path": name, "size": size, "sha256": digest}
                for name, (size, digest) in written.items()
            ],
        )
        (self.root / self._journal).unlink()


def remove_leftovers_of_results(root: Path) -> None:
    """Remove temporary files of killed runs from a folder with complete results.

    Parameters
    ----------
    root : Path
        An output folder that no other process writes to.
    """
    _remove_leftovers(root, {name for name, _ in _read_manifest(root / MANIFEST)})


def _remove_leftovers(root: Path, names: Iterable[str]) -> None:
    for folder in sorted({(root / name).parent for name in names}, reverse=True):
        if folder.is_dir() and folder.resolve().is_relative_to(root.resolve()):
            remove_leftovers(folder)
            _remove_empty_folders(folder, root)


def is_whole(root: Path) -> bool:
    """Return whether an output folder has all files of its manifest, as they were written.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
        Large files are compared by size only.
    """
    table = _read_table(root / MANIFEST)
    return bool(table) and all(_is_unchanged(root, row) for row in table)


def _is_unchanged(root: Path, row: Mapping[str, str | None]) -> bool:
    name, size, digest = (row.get(column) for column in _COLUMNS)
    if not (name and size and digest and _is_inside(name)):
        return False
    try:
        n_bytes = (root / name).stat().st_size
        is_large = n_bytes > _LARGE
        return str(n_bytes) == size and (is_large or _digest(root / name) == digest)
    except OSError:
        return False


def _remove_empty_folders(folder: Path, root: Path) -> None:
    """Remove an empty folder, and its parents where these become empty, below the output folder."""
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> set[tuple[str, str]]:
    """Return path and hash of every file in a manifest; an empty set where there is none."""
    entries = {(row.get("path"), row.get("sha256")) for row in _read_table(path)}
    return {(name, digest) for name, digest in entries if name and digest and _is_inside(name)}


def _read_table(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _is_inside(name: str) -> bool:
    """Return whether a listed path is below the output folder: the list may have been edited."""
    path = PurePosixPath(name)
    is_name = (
        len(name) < _LONGEST_PATH
        and "\0" not in name
        and all(len(part.encode()) <= _LONGEST_NAME for part in path.parts)
    )
    return is_name and not path.is_absolute() and ".." not in path.parts
