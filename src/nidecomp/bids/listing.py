"""Which files are there: pybids lists the few kinds that we need, and reads their entities.

pybids 0.22 matches its own entities against the absolute path, so that a parent folder such as
``sub-study`` hides every file; ``layout.json`` has the same entities anchored to the file name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bids
from bids import BIDSLayout
from bids.layout import BIDSLayoutIndexer

_CONFIG = Path(__file__).with_name("layout.json")
# Everything that is neither a folder on the way to a func folder nor one of the files we need, and
# names that are no UTF-8, which are none of BIDS and no database takes.
_IGNORE = re.compile(
    r"[\ud800-\udfff]|^(?!.*(?:"
    r"[/\\](?:sub|ses)-[a-zA-Z0-9+]+"
    r"|[/\\]func"
    r"|_bold\.nii(?:\.gz)?"
    r"|_desc-brain_mask\.nii(?:\.gz)?"
    r"|_desc-confounds_(?:timeseries|regressors)\.tsv"
    r")$)"
)


@dataclass(frozen=True)
class ListedFile:
    """One file and the entities that its name carries, by pybids' names."""

    path: Path
    entities: Mapping[str, str]


def entity_names() -> set[str]:
    """Name the entities that are read from file names."""
    return {entry["name"] for entry in json.loads(_CONFIG.read_text())["entities"]}


def list_files(root: Path, database_dir: Path | None, *, reset: bool) -> list[ListedFile]:
    """Let pybids index the files; the entities of each are read from its name alone.

    Parameters
    ----------
    root : Path
        The derivative dataset.
    database_dir : Path or None
        Where the index is kept between starts.
    reset : bool
        Index anew although an index is kept.

    Returns
    -------
    list of ListedFile
        Sorted by path.

    Notes
    -----
    pybids gets a folder with links to the participants' folders. It would otherwise read the
    dataset's description, whatever it is told, and stumble over a broken or an old one; and what
    lies beside the participants (figures, logs, sourcedata) is no business of ours.
    """
    with _home_of_index(root, database_dir) as home:
        links = home / "links"
        links.mkdir(parents=True, exist_ok=True)
        for participant in sorted(root.glob("sub-*")):
            if participant.is_dir():
                # Another job of a cluster array may make the same link at the same moment.
                with suppress(FileExistsError):
                    (links / participant.name).symlink_to(participant.absolute())
        saved = home / "index"
        if database_dir is None:
            return _files_of(_layout(links, None), root)
        if reset or not saved.is_dir():
            _save_index(links, saved, reset=reset)
        return _files_of(_layout(links, saved), root)


def _save_index(links: Path, saved: Path, *, reset: bool) -> None:
    """Make an index under a name of its own and rename it: nobody ever opens half of one."""
    fresh = saved.with_name(f"index-{os.getpid()}-{secrets.token_hex(4)}")
    _close(_layout(links, fresh))
    # Without a reset, one that is there by now is another job's, which may just be reading it.
    if reset and saved.is_dir():
        shutil.rmtree(saved, ignore_errors=True)
    try:
        fresh.rename(saved)
    except OSError:
        # Another job was first; its index was made from the same folders.
        shutil.rmtree(fresh, ignore_errors=True)


def _layout(links: Path, database: Path | None) -> BIDSLayout:
    return BIDSLayout(
        str(links),
        validate=False,
        config=[str(_CONFIG)],
        database_path=database,
        indexer=BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=[_IGNORE]),
    )


def _close(layout: BIDSLayout) -> None:
    layout.connection_manager.session.close()
    layout.connection_manager.engine.dispose()


def _files_of(layout: BIDSLayout, root: Path) -> list[ListedFile]:
    """Read path and entities of every file that was indexed, in the order of their paths."""
    try:
        files = [
            ListedFile(
                root / Path(file.path).relative_to(Path(layout.root)),
                {name: str(value) for name, value in file.get_entities().items()},
            )
            for file in layout.get()
        ]
    finally:
        _close(layout)
    return _each_once(sorted(files, key=lambda file: (len(file.path.parts), str(file.path))))


def _each_once(files: list[ListedFile]) -> list[ListedFile]:
    """Leave out what is found again through a link to a folder above it, sorted by path."""
    real = {folder: folder.resolve() for folder in {file.path.parent for file in files}}
    first: dict[Path, ListedFile] = {}
    for file in files:
        first.setdefault(real[file.path.parent] / file.path.name, file)
    return sorted(first.values(), key=lambda file: str(file.path))


@contextmanager
def _home_of_index(root: Path, database_dir: Path | None) -> Iterator[Path]:
    """Give a folder for index and links: one that lasts where the index is to be saved.

    A saved index ignores the root and the options that it is opened with, and does not see new
    files: root, options, and name and time of every folder that is indexed make its name.
    """
    if database_dir is None:
        with tempfile.TemporaryDirectory(prefix="nidecomp-") as folder:
            yield Path(folder)
    else:
        key = json.dumps(
            [str(root), bids.__version__, _IGNORE.pattern, _CONFIG.read_text(), _folders(root)]
        )
        yield database_dir.absolute() / f"nidecomp-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _folders(root: Path) -> list[list[object]]:
    """List the folders that are indexed with the times of their last change."""
    folders = [
        folder
        for pattern in ("sub-*", "sub-*/ses-*", "sub-*/func", "sub-*/ses-*/func")
        for folder in sorted(root.glob(pattern))
    ]
    return [
        [str(folder.relative_to(root)), folder.stat().st_mtime_ns]
        for folder in folders
        if folder.is_dir()
    ]
