"""Remember the images of reduced runs, so that they can be used after the images were removed.

For each image, the work folder has its identity and its header. If the image was deleted, or its
content was dropped (git-annex), the reduced run is found by them. Each process writes a small file
for each of its runs, so that jobs of a cluster array do not disturb each other; a group run then
gathers these in one file for the dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nidecomp.core.atomic import exclusive_lock, replace_atomically
from nidecomp.core.content import annex_key_of_all, identity_of_all, is_not_fetched
from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.core.hemispheres import files_of
from nidecomp.core.kept import keep, read_kept
from nidecomp.core.records import RunFiles, Sampling
from nidecomp.core.surface_files import kind_of_series
from nidecomp.core.text import inside, parse_json, read_text
from nidecomp.spaces.brain_models import Grayordinates
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.headers import read_header, sampling_as_json, sampling_from_json
from nidecomp.spaces.images import Header, unreadable_file_fails

_FOLDER = "images"
# A file that was written so shortly before it was read may be written again without another time:
# file systems have times of up to 2 s.
SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class KnownImage:
    """What is remembered of an image: where it was, its content, and its header.

    `annex_key` is None if it was not in a git-annex repository. `state` is that of its files when
    its content was read, for images that have to be read completely to identify them.
    """

    path: Path
    identity: str
    annex_key: str | None
    header: Header
    state: tuple[int, ...] | None = None


def remember_image(files: RunFiles, sampling: Sampling, work_dir: Path) -> None:
    """Write the identity and the header of a run's image to the work folder.

    Parameters
    ----------
    files : RunFiles
    sampling : Sampling
        Of other kinds than volumes, grayordinates and surfaces, nothing is remembered.
    work_dir : Path

    Raises
    ------
    FailedRunError
        The image cannot be read.
    """
    path = files.bold
    if not is_at_hand(files) or not isinstance(sampling, Grid | Grayordinates):
        return
    before = _find(path, work_dir)
    with unreadable_file_fails(path):
        header = read_header(path)
        key = files.annex_key or annex_key_of_all(files.images)
        state = _settled_state(files)
        known = KnownImage(path, _identity(files, before), key, header, state)
    if before == known:
        return
    content = {
        "path": inside(_root_of(path), path),
        "identity": known.identity,
        "annex_key": known.annex_key,
        **({"state": known.state} if known.state else {}),
        **sampling_as_json(header.grid),
        "n_volumes": header.n_volumes,
        "stored_bytes": header.stored_bytes,
        "repetition_time_s": header.repetition_time_s,
    }
    with replace_atomically(_file(path, work_dir)) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def gather_images(root: Path, work_dir: Path) -> None:
    """Put what is remembered of a dataset's images into one file, to spare inodes.

    Parameters
    ----------
    root : Path
        The dataset.
    work_dir : Path

    Notes
    -----
    If another process gathers, too, or the folder cannot be written to, all remains as it is.
    """
    folder = work_dir / _FOLDER
    if not _own_files(folder, root):
        return
    with suppress(UsageError, OSError), exclusive_lock(folder):
        files = [folder / name for name in _own_files(folder, root)]
        found = {str(one["path"]): one for one in map(_content, files) if "path" in one}
        together = {**_gathered(folder, root), **found}
        keep(dict(sorted(together.items())), _gathered_file(folder, root))
        for file in files:
            file.unlink(missing_ok=True)


class KnownImages:
    """The images of a dataset that are remembered. Each is read when it is asked for.

    Parameters
    ----------
    root : Path
        The dataset.
    work_dir : Path
    """

    def __init__(self, root: Path, work_dir: Path) -> None:
        self._root = root
        self._folder = work_dir / _FOLDER
        self._prefix = _prefix(root)
        self._names = frozenset(_own_files(self._folder, root))
        self._gathered = _gathered(self._folder, root)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, Path) and self.get(path) is not None

    def get(self, path: Path) -> KnownImage | None:
        """Return an image, or None if it is not known or another version is annexed now."""
        relative = inside(self._root, path)
        name = self._name(relative)
        if name in self._names:
            return self._known(_content(self._folder / name))
        return self._known(self._gathered.get(relative, {}))

    def other_than(self, paths: Iterable[Path]) -> list[Path]:
        """Return the images that are known, without some that need not be read."""
        there = {inside(self._root, path) for path in paths}
        names = self._names.difference(map(self._name, there)) if self._names else ()
        contents = [_content(self._folder / name) for name in names]
        contents += [self._gathered[name] for name in self._gathered.keys() - there]
        return sorted({known.path for one in contents if (known := self._known(one)) is not None})

    def _name(self, relative: str) -> str:
        return f"{self._prefix}{_digest(relative)}.json"

    def _known(self, content: Mapping[str, Any]) -> KnownImage | None:
        known = _decoded(content, self._root)
        return known if known is not None and _is_same_version(known) else None


def image_identity(files: RunFiles, work_dir: Path) -> str:
    """Return the identity of a run's image, as remembered if the image is not there any more.

    Raises
    ------
    FailedRunError
        The image cannot be read, or nothing is remembered of it.
    """
    if is_at_hand(files):
        # Volumes are mostly compressed: then their ends tell them apart, which are read quickly.
        before = _find(files.bold, work_dir) if kind_of_series(files.bold) else None
        with unreadable_file_fails(files.bold):
            return _identity(files, before)
    known = _known(files, work_dir)
    if known is None:
        raise FailedRunError(f"{files.bold.name} is not there")
    return known.identity


def _identity(files: RunFiles, before: KnownImage | None) -> str:
    """Return the identity of images, which need not be read if they are as they were before."""
    if before is not None and before.state and before.state == _settled_state(files):
        return before.identity
    return identity_of_all(files.images)


def _settled_state(files: RunFiles) -> tuple[int, ...] | None:
    """Return sizes and times of surfaces and grayordinates, or None where they may not tell."""
    if kind_of_series(files.bold) is None:
        return None
    found = [path.stat() for path in files.images]
    newest = max(max(one.st_mtime_ns, one.st_ctime_ns) for one in found)
    if time.time_ns() - newest <= SETTLED_NS:
        return None
    return tuple(
        number
        for one in found
        for number in (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino)
    )


def is_at_hand(files: RunFiles) -> bool:
    """Return whether the image of a run is there, and need not be fetched."""
    is_annexed = files.is_fetched_when_read
    return not files.image_is_gone and not (is_annexed and any(map(is_not_fetched, files.images)))


def known_header(files: RunFiles, work_dir: Path) -> Header | None:
    """Return the header of a run's image as remembered, or None if nothing is."""
    known = _known(files, work_dir)
    return known.header if known is not None else None


def _known(files: RunFiles, work_dir: Path) -> KnownImage | None:
    """Return what is remembered of a run's image, if the same version is annexed now."""
    known = _find(files.bold, work_dir)
    return known if known is not None and _is_same_version(known) else None


def _is_same_version(known: KnownImage) -> bool:
    """Return whether the annex has the same content under this path, as far as can be told."""
    key = annex_key_of_all(files_of(known.path))
    if key is None:
        return True
    if known.annex_key is not None:
        return key == known.annex_key
    # The content of an unlocked file has no key, but keys usually have the size, which tells
    # compressed images apart.
    return known.path.suffix == ".gz" and f"-s{known.identity.partition('-')[0]}-" in key


def _root_of(path: Path) -> Path:
    """Return the dataset of an image: ``sub-*/[ses-*/]func`` are below it."""
    folder = path.parent.parent
    return folder.parent.parent if folder.name.startswith("ses-") else folder.parent


def _find(path: Path, work_dir: Path) -> KnownImage | None:
    """Return what is remembered of an image: in a file of its own, or in that of its dataset."""
    root = _root_of(path)
    content = _content(_file(path, work_dir))
    gathered = _gathered(work_dir / _FOLDER, root)
    return _decoded(content or gathered.get(inside(root, path), {}), root)


def _file(path: Path, work_dir: Path) -> Path:
    return work_dir / _FOLDER / _name(path)


def _name(path: Path) -> str:
    root = _root_of(path)
    return f"{_prefix(root)}{_digest(inside(root, path))}.json"


def _prefix(root: Path) -> str:
    """Return how the names of a dataset's files begin."""
    return f"{_digest(str(root))}_"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:20]


def _own_files(folder: Path, root: Path) -> list[str]:
    """Return the names of the files that each have one image of a dataset."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  names alone are needed
    except OSError:
        return []
    return sorted(name for name in names if name.startswith(_prefix(root)))


def _gathered_file(folder: Path, root: Path) -> Path:
    return folder / f"{_digest(str(root))}.json"


def _gathered(folder: Path, root: Path) -> Mapping[str, Any]:
    """Return the images of a dataset that were gathered: path below the dataset to content."""
    file = _gathered_file(folder, root)
    try:
        status = file.stat()
    except OSError:
        return {}
    return _read_gathered(file, (status.st_mtime_ns, status.st_size, status.st_ino))


# Runs of several datasets may follow each other.
@lru_cache(maxsize=32)
def _read_gathered(file: Path, state: tuple[int, ...]) -> Mapping[str, Any]:
    """Return the content of a file that is in a certain state."""
    del state
    content = read_kept(file)
    return content if isinstance(content, dict) else {}


def _content(file: Path) -> dict[str, Any]:
    """Return what a file says of its image; nothing if it is missing or damaged."""
    try:
        content = parse_json(read_text(file))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _decoded(content: Mapping[str, Any], root: Path) -> KnownImage | None:
    """Return a remembered image, or None if something of it is missing."""
    try:
        header = Header(
            grid=sampling_from_json(content),
            n_volumes=int(content["n_volumes"]),
            stored_bytes=int(content["stored_bytes"]),
            repetition_time_s=content["repetition_time_s"],
        )
        path = root / content["path"]
        state = tuple(map(int, content["state"])) if "state" in content else None
        return KnownImage(path, content["identity"], content["annex_key"], header, state)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
