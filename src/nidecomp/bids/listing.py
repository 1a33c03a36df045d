"""List the images, masks and confounds tables of a dataset and their entities with pybids.

pybids 0.22 matches its own entity patterns against the absolute path, so that a parent folder such
as ``sub-study`` hides all files. ``layout.json`` has the same entities anchored to the file name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy.exc import DatabaseError

from nidecomp.bids.entities import wrong_folder
from nidecomp.bids.folders import Folders, find_folders, participant_of, with_closed_links
from nidecomp.core.errors import UsageError
from nidecomp.core.garbage import no_garbage
from nidecomp.core.kept import keep, read_kept
from nidecomp.core.text import in_one_line, inside

_LOG = logging.getLogger(__name__)

try:
    import bids
    from bids import BIDSLayout
    from bids.layout import BIDSLayoutIndexer
    from bids.layout.models import Tag

    if not isinstance(bids.config.get_option("config_paths"), dict):
        raise TypeError("config_paths is not a table")
except (OSError, ValueError, TypeError, RecursionError) as error:
    # pybids reads its configuration on import. It is not used here, but has to be valid.
    raise UsageError(
        "pybids cannot read its configuration (pybids_config.json in the home folder, in the "
        f"current folder, or the file given by PYBIDS_CONFIG): {in_one_line(error)}. Correct or "
        "remove it, or set HOME to another folder."
    ) from None

_CONFIG = Path(__file__).with_name("layout.json")
# pybids reads entities from a layout_config.json in any folder; this unused name prevents that.
_NO_CONFIG = ".no-layout-config"
# Everything except the parents of func folders and the files needed. Also names that are not UTF-8,
# which are not valid in BIDS and cannot be stored in the database.
_IGNORE = re.compile(
    r"[\ud800-\udfff]|^(?!.*(?:"
    r"[/\\](?:sub|ses)-[a-zA-Z0-9+]+"
    r"|[/\\]func"
    r"|_bold\.nii(?:\.gz)?"
    # fMRIPrep 20.0 wrote surfaces without a suffix.
    r"|_bold\.dtseries\.nii|_(?:bold|hemi-[LR])\.func\.gii"
    r"|_desc-brain(?:_[^/\\]*)?_mask\.nii(?:\.gz)?"
    r"|_desc-confounds(?:_[^/\\]*)?_(?:timeseries|regressors)\.tsv"
    r")$)"
)


@dataclass(frozen=True)
class ListedFile:
    """A file and the entities in its name, with pybids' entity names."""

    path: Path
    entities: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """The files of a dataset, and its folders.

    Parameters
    ----------
    files : list of ListedFile
        Sorted by path.
    folders : Folders
        The folders of participants, sessions and runs; some of them cannot be read.
    """

    files: list[ListedFile]
    folders: Folders


def entity_names() -> set[str]:
    """Return the names of the entities that are read from file names."""
    return {entry["name"] for entry in _entities()}


@cache
def _entities() -> list[dict[str, str]]:
    return cast(list[dict[str, str]], json.loads(_CONFIG.read_text())["entities"])


class KeptListing:
    """The file of the work folder that has what pybids found.

    Parameters
    ----------
    file : Path
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._new: object = None

    def read(self) -> object:
        """Return what was kept, or None if it is missing or damaged."""
        return read_kept(self._file)

    def replace(self, content: object) -> None:
        """Replace what was kept, once `write` is called."""
        self._new = content

    def write(self) -> None:
        """Write what is new, if anything: a search that failed leaves no folder behind."""
        if self._new is not None:
            # A folder that cannot be written to is reported when results are written.
            with suppress(OSError):
                keep(self._new, self._file)


def list_files(
    root: Path, database_dir: Path | None, *, reset: bool, kept: KeptListing | None = None
) -> Listing:
    """Return the files of a dataset, indexed by pybids, with entities read from their names only.

    Parameters
    ----------
    root : Path
        The derivative dataset.
    database_dir : Path or None
        Folder to save the index in.
    reset : bool
        Index the dataset again, even if there is a saved index.
    kept : KeptListing, optional
        Where the list is kept: it is used as long as the folders hold the same names. The caller
        writes it.

    Returns
    -------
    Listing

    Raises
    ------
    UsageError
        The dataset folder cannot be read.

    Notes
    -----
    pybids indexes a folder with links to the participants' folders. In the dataset itself it would
    always read dataset_description.json and fail if that is invalid or outdated; and other folders
    (figures, logs, sourcedata) are not needed.

    pybids raises an error for any link whose target cannot be accessed, even if it is ignored.
    Files of participants with such links are listed without pybids.
    """
    with no_garbage():
        folders = find_folders(root)
    if kept is None:
        files = _listed(root, database_dir, folders, reset=reset)
        return Listing(_unique(root, files, folders), folders)
    key = _key(root, folders)
    known = None if reset else _as_kept(root, kept.read(), key)
    files = _listed(root, database_dir, folders, reset=reset) if known is None else known
    if known is None:
        names = [[inside(root, file.path), file.entities] for file in files]
        kept.replace({"key": key, "files": names})
    return Listing(_unique(root, files, folders), folders)


def _as_kept(root: Path, content: object, key: str) -> list[ListedFile] | None:
    """Return the files of a list that was kept, or None if it is another dataset's or damaged."""
    try:
        listed = cast(dict[str, Any], content)
        if listed["key"] != key:
            return None
        with no_garbage():
            return [ListedFile(root / name, entities) for name, entities in listed["files"]]
    except (KeyError, TypeError, ValueError):
        return None


def _listed(
    root: Path, database_dir: Path | None, folders: Folders, *, reset: bool
) -> list[ListedFile]:
    """Return the files that pybids finds, and those that it would find if it could."""
    apart: set[Path] = set()
    while True:
        try:
            files = _indexed(root, database_dir, folders, apart, reset=reset)
        except _UnreadableLinkError as error:
            apart |= {error.participant, *with_closed_links(root, folders)}
        else:
            return [*files, *_by_name(root, folders, apart)]


class _UnreadableLinkError(Exception):
    """Raised if pybids failed because of a participant's link that cannot be accessed."""

    def __init__(self, participant: Path) -> None:
        super().__init__(participant)
        self.participant = participant


def _indexed(
    root: Path, database_dir: Path | None, folders: Folders, apart: Set[Path], *, reset: bool
) -> list[ListedFile]:
    """Return the files indexed by pybids, except those of the participants in `apart`."""
    closed = [path.relative_to(root).as_posix() for path in folders.closed]
    with _home_of_index(root, database_dir, folders, apart) as home:
        links = home / "links"
        try:
            links.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--bids-database-dir {database_dir} cannot be written: {error.strerror}."
            ) from None
        for folder in folders.times:
            if folder.parent == root and folder not in apart:
                # Another job of a cluster array may create the same link at the same time.
                with suppress(FileExistsError):
                    (links / folder.name).symlink_to(folder.absolute())
        saved = home / "index"
        try:
            if database_dir is None:
                return _files_of(_layout(links, None, closed), root)
            if reset or not saved.is_dir():
                _save_index(links, saved, closed, reset=reset)
            try:
                return _files_of(_layout(links, saved, closed), root)
            except DatabaseError:
                _LOG.warning("The saved index in %s is damaged; indexing again", database_dir)
                _save_index(links, saved, closed, reset=True)
                return _files_of(_layout(links, saved, closed), root)
        except PermissionError as error:
            path = Path(str(error.filename))
            if not path.is_relative_to(links):
                raise
            raise _UnreadableLinkError(root / path.relative_to(links).parts[0]) from None


def _save_index(links: Path, saved: Path, closed: Sequence[str], *, reset: bool) -> None:
    """Save an index under a temporary name and rename it, so that it is never read incomplete."""
    fresh = saved.with_name(f"index-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        _close(_layout(links, fresh, closed))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    # Without reset, an index that exists by now was saved by another job, which may be reading it.
    if reset and saved.is_dir():
        shutil.rmtree(saved, ignore_errors=True)
    try:
        fresh.rename(saved)
    except OSError:
        # Another job saved its index first, made from the same folders.
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
    """Return the path and entities of all indexed files."""
    try:
        # In one query: BIDSFile.get_entities is one for each file.
        query = layout.connection_manager.session.query(Tag.file_path, Tag.entity_name, Tag._value)
        entities: dict[str, dict[str, str]] = {}
        for path, name, value in query:
            entities.setdefault(path, {})[name] = str(value)
        home = Path(layout.root)
        return [
            ListedFile(root / Path(path).relative_to(home), found)
            for path, found in entities.items()
        ]
    finally:
        _close(layout)


def _by_name(root: Path, folders: Folders, apart: Set[Path]) -> Iterator[ListedFile]:
    """Yield the files of the participants in `apart`, with entities as pybids would read them."""
    for folder in folders.times:
        if folder.name == "func" and participant_of(root, folder) in apart:
            for path in folder.glob("sub-*"):
                if not _IGNORE.search(str(path)):
                    yield listed_by_name(path)


def listed_by_name(path: Path) -> ListedFile:
    """Return a file with the entities in its name, as pybids would read them."""
    found = {entry["name"]: re.search(entry["pattern"], str(path)) for entry in _entities()}
    return ListedFile(path, {name: match[1] for name, match in found.items() if match})


def _unique(root: Path, files: list[ListedFile], folders: Folders) -> list[ListedFile]:
    """Return files sorted by path, without those found again through a link to another folder.

    The path that is kept is one whose folders agree with the name of the file, if there is any.
    """

    def preference(file: ListedFile) -> tuple[object, ...]:
        is_elsewhere = wrong_folder(root, file.path, file.entities) is not None
        return is_elsewhere, len(file.path.parts), str(file.path)

    if not any(os.path.islink(folder) for folder in folders.times):  # noqa: PTH114  many folders
        return sorted(files, key=lambda file: str(file.path))
    files = sorted(files, key=preference)
    real = {folder: folder.resolve() for folder in {file.path.parent for file in files}}
    first: dict[Path, ListedFile] = {}
    for file in files:
        first.setdefault(real[file.path.parent] / file.path.name, file)
    return sorted(first.values(), key=lambda file: str(file.path))


@contextmanager
def _home_of_index(
    root: Path, database_dir: Path | None, folders: Folders, apart: Set[Path]
) -> Iterator[Path]:
    """Yield a folder for the index and links, which is temporary if the index is not to be saved.

    pybids opens a saved index whatever its root and options, and does not detect new files.
    Therefore its folder is named by a hash of the root, the options, and the names and modification
    times of all indexed folders.
    """
    if database_dir is None:
        with tempfile.TemporaryDirectory(prefix="nidecomp-") as folder:
            yield Path(folder)
    else:
        left_out = [str(path) for path in (*folders.closed, *sorted(apart))]
        key = hashlib.sha256(json.dumps([_key(root, folders), left_out]).encode()).hexdigest()
        yield database_dir.absolute() / f"nidecomp-{key[:16]}"


def _key(root: Path, folders: Folders) -> str:
    """Return a hash of all that a list of the files depends on."""
    # Some ways of copying keep the time of a folder whose files have changed.
    names = [[str(path), time, folders.names[path]] for path, time in folders.times.items()]
    closed = [str(path) for path in folders.closed]
    what = [bids.__version__, _IGNORE.pattern, _CONFIG.read_text(), names, closed]
    return hashlib.sha256(json.dumps([str(root), *what]).encode()).hexdigest()
