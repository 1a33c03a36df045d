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
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from nidecomp.bids.folders import Folders, find_folders, participant_of, with_closed_links
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line

try:
    import bids
    from bids import BIDSLayout
    from bids.layout import BIDSLayoutIndexer

    if not isinstance(bids.config.get_option("config_paths"), dict):
        raise TypeError("config_paths is no table")
except (OSError, ValueError, TypeError, RecursionError) as error:
    # What it reads while it is imported has no say here, but must be fit to be read.
    raise UsageError(
        "pybids cannot read its configuration, pybids_config.json in HOME, in the current folder "
        f"or where PYBIDS_CONFIG points: {in_one_line(error)}. Mend it, remove it, or set HOME to "
        "another folder."
    ) from None

_CONFIG = Path(__file__).with_name("layout.json")
# pybids would take entities from a layout_config.json in any folder; none has one of this name.
_NO_CONFIG = ".no-layout-config"
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


@dataclass(frozen=True)
class Listing:
    """What is there.

    Parameters
    ----------
    files : list of ListedFile
        Sorted by path.
    closed : mapping of Path to str
        Folders of participants that cannot be read, and what the system says of each.
    """

    files: list[ListedFile]
    closed: Mapping[Path, str]


def entity_names() -> set[str]:
    """Name the entities that are read from file names."""
    return {entry["name"] for entry in _entities()}


def _entities() -> list[dict[str, str]]:
    return cast(list[dict[str, str]], json.loads(_CONFIG.read_text())["entities"])


def list_files(root: Path, database_dir: Path | None, *, reset: bool) -> Listing:
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
    Listing

    Raises
    ------
    UsageError
        The dataset's folder cannot be read.

    Notes
    -----
    pybids gets a folder with links to the participants' folders. It would otherwise read the
    dataset's description, whatever it is told, and stumble over a broken or an old one; and what
    lies beside the participants (figures, logs, sourcedata) is no business of ours.

    It ends at whatever may not be looked at, such as a link to where we may not go, be it ignored
    or not: files of a participant who has one are read by their names alone.
    """
    folders = find_folders(root)
    apart: set[Path] = set()
    while True:
        try:
            files = _indexed(root, database_dir, folders, apart, reset=reset)
        except _EndedInError as error:
            apart |= {error.participant, *with_closed_links(root, folders)}
        else:
            return Listing(_each_once([*files, *_by_name(root, folders, apart)]), folders.closed)


class _EndedInError(Exception):
    """pybids ended at something of this participant that may not be looked at."""

    def __init__(self, participant: Path) -> None:
        super().__init__(participant)
        self.participant = participant


def _indexed(
    root: Path, database_dir: Path | None, folders: Folders, apart: Set[Path], *, reset: bool
) -> list[ListedFile]:
    """Let pybids index all but some participants."""
    closed = [path.relative_to(root).as_posix() for path in folders.closed]
    with _home_of_index(root, database_dir, folders, apart) as home:
        links = home / "links"
        links.mkdir(parents=True, exist_ok=True)
        for folder in folders.times:
            if folder.parent == root and folder not in apart:
                # Another job of a cluster array may make the same link at the same moment.
                with suppress(FileExistsError):
                    (links / folder.name).symlink_to(folder.absolute())
        saved = home / "index"
        try:
            if database_dir is None:
                layout = _layout(links, None, closed)
            else:
                if reset or not saved.is_dir():
                    _save_index(links, saved, closed, reset=reset)
                layout = _layout(links, saved, closed)
        except PermissionError as error:
            path = Path(str(error.filename))
            if not path.is_relative_to(links):
                raise
            raise _EndedInError(root / path.relative_to(links).parts[0]) from None
        return _files_of(layout, root)


def _save_index(links: Path, saved: Path, closed: Sequence[str], *, reset: bool) -> None:
    """Make an index under a name of its own and rename it: nobody ever opens half of one."""
    fresh = saved.with_name(f"index-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        _close(_layout(links, fresh, closed))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    # Without a reset, one that is there by now is another job's, which may just be reading it.
    if reset and saved.is_dir():
        shutil.rmtree(saved, ignore_errors=True)
    try:
        fresh.rename(saved)
    except OSError:
        # Another job was first; its index was made from the same folders.
        shutil.rmtree(fresh, ignore_errors=True)


def _layout(links: Path, database: Path | None, closed: Sequence[str]) -> BIDSLayout:
    ignore = [_IGNORE, *(re.compile(f"^/{re.escape(path)}$") for path in closed)]
    indexer = BIDSLayoutIndexer(
        validate=False, index_metadata=False, ignore=ignore, config_filename=_NO_CONFIG
    )
    return BIDSLayout(
        str(links),
        validate=False,
        config=[str(_CONFIG)],
        database_path=database,
        indexer=indexer,
    )


def _close(layout: BIDSLayout) -> None:
    layout.connection_manager.session.close()
    layout.connection_manager.engine.dispose()


def _files_of(layout: BIDSLayout, root: Path) -> list[ListedFile]:
    """Read path and entities of every file that was indexed."""
    try:
        return [
            ListedFile(
                root / Path(file.path).relative_to(Path(layout.root)),
                {name: str(value) for name, value in file.get_entities().items()},
            )
            for file in layout.get()
        ]
    finally:
        _close(layout)


def _by_name(root: Path, folders: Folders, apart: Set[Path]) -> Iterator[ListedFile]:
    """Read the files of these participants, and the entities of their names, as pybids does."""
    patterns = {entry["name"]: entry["pattern"] for entry in _entities()}
    for folder in folders.times:
        if folder.name == "func" and participant_of(root, folder) in apart:
            for path in folder.glob("sub-*"):
                if not _IGNORE.search(str(path)):
                    found = {name: re.search(rule, str(path)) for name, rule in patterns.items()}
                    yield ListedFile(path, {name: one[1] for name, one in found.items() if one})


def _each_once(files: list[ListedFile]) -> list[ListedFile]:
    """Leave out what is found again through a link to a folder above it, sorted by path."""
    files = sorted(files, key=lambda file: (len(file.path.parts), str(file.path)))
    real = {folder: folder.resolve() for folder in {file.path.parent for file in files}}
    first: dict[Path, ListedFile] = {}
    for file in files:
        first.setdefault(real[file.path.parent] / file.path.name, file)
    return sorted(first.values(), key=lambda file: str(file.path))


@contextmanager
def _home_of_index(
    root: Path, database_dir: Path | None, folders: Folders, apart: Set[Path]
) -> Iterator[Path]:
    """Give a folder for index and links: one that lasts where the index is to be saved.

    A saved index ignores the root and the options that it is opened with, and does not see new
    files: root, options, and name and time of every folder that is indexed make its name.
    """
    if database_dir is None:
        with tempfile.TemporaryDirectory(prefix="nidecomp-") as folder:
            yield Path(folder)
    else:
        times = [[str(path), time] for path, time in folders.times.items()]
        left_out = [str(path) for path in (*folders.closed, *sorted(apart))]
        what = [bids.__version__, _IGNORE.pattern, _CONFIG.read_text(), times, left_out]
        key = json.dumps([str(root), *what])
        yield database_dir.absolute() / f"nidecomp-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
