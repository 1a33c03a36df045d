"""Remember the images of reduced runs, so that they can be used after the images were removed.

For each image, the work folder has a small file with its identity and its header. If the image was
deleted, or its content was dropped (git-annex), the reduced run is found by them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nidecomp.core.atomic import replace_atomically
from nidecomp.core.content import annex_key, identity_of, is_not_fetched
from nidecomp.core.errors import FailedRunError
from nidecomp.core.records import RunFiles, UsableRun
from nidecomp.core.text import parse_json, read_text
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import Header, read_header, unreadable_file_fails

_FOLDER = "images"


@dataclass(frozen=True)
class KnownImage:
    """What is remembered of an image: where it was, its content, and its header.

    `annex_key` is None if it was not in a git-annex repository.
    """

    path: Path
    identity: str
    annex_key: str | None
    header: Header


def remember_image(run: UsableRun, work_dir: Path) -> None:
    """Write the identity and the header of a run's image to the work folder.

    Parameters
    ----------
    run : UsableRun
        Of another kind than a NIfTI image, nothing is remembered.
    work_dir : Path

    Raises
    ------
    FailedRunError
        The image cannot be read.
    """
    path = run.files.bold
    if not is_at_hand(run.files) or not isinstance(run.grid, Grid):
        return
    with unreadable_file_fails(path):
        header = read_header(path)
        known = KnownImage(path, identity_of(path), annex_key(path), header)
    file = _file(path, work_dir)
    if _read(file, _root_of(path)) == known:
        return
    content = {
        "path": str(path.relative_to(_root_of(path))),
        "identity": known.identity,
        "annex_key": known.annex_key,
        "shape": header.grid.shape,
        "affine": header.grid.affine,
        "n_volumes": header.n_volumes,
        "stored_bytes": header.stored_bytes,
        "repetition_time_s": header.repetition_time_s,
    }
    with replace_atomically(file) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


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
        try:
            names = os.listdir(self._folder)  # noqa: PTH208  names alone are needed
        except OSError:
            names = []
        self._names = {name for name in names if name.startswith(f"{_digest(root)}_")}

    def __contains__(self, path: object) -> bool:
        return isinstance(path, Path) and self.get(path) is not None

    def get(self, path: Path) -> KnownImage | None:
        """Return an image, or None if it is not known or another version is annexed now."""
        name = _name(path)
        return self._known(name) if name in self._names else None

    def other_than(self, paths: Iterable[Path]) -> list[Path]:
        """Return the images that are known, without some that need not be read."""
        others = self._names.difference(map(_name, paths))
        return sorted(known.path for name in others if (known := self._known(name)) is not None)

    def _known(self, name: str) -> KnownImage | None:
        known = _read(self._folder / name, self._root)
        return known if known is not None and _is_same_version(known) else None


def image_identity(files: RunFiles, work_dir: Path) -> str:
    """Return the identity of a run's image, as remembered if the image is not there any more.

    Raises
    ------
    FailedRunError
        The image cannot be read, or nothing is remembered of it.
    """
    if is_at_hand(files):
        with unreadable_file_fails(files.bold):
            return identity_of(files.bold)
    known = _known(files, work_dir)
    if known is None:
        raise FailedRunError(f"{files.bold.name} is not there")
    return known.identity


def is_at_hand(files: RunFiles) -> bool:
    """Return whether the image of a run is there, and need not be fetched."""
    is_annexed = files.is_fetched_when_read
    return not files.image_is_gone and not (is_annexed and is_not_fetched(files.bold))


def known_header(files: RunFiles, work_dir: Path) -> Header | None:
    """Return the header of a run's image as remembered, or None if nothing is."""
    known = _known(files, work_dir)
    return known.header if known is not None else None


def _known(files: RunFiles, work_dir: Path) -> KnownImage | None:
    """Return what is remembered of a run's image, if the same version is annexed now."""
    known = _read(_file(files.bold, work_dir), _root_of(files.bold))
    return known if known is not None and _is_same_version(known) else None


def _is_same_version(known: KnownImage) -> bool:
    """Return whether the annex has the same content under this path, as far as can be told."""
    key = annex_key(known.path)
    if key is None:
        return True
    if known.annex_key is not None:
        return key == known.annex_key
    # The content of an unlocked file has no key, but keys usually have the size.
    return f"-s{known.identity.partition('-')[0]}-" in key


def _root_of(path: Path) -> Path:
    """Return the dataset of an image: ``sub-*/[ses-*/]func`` are below it."""
    folder = path.parent.parent
    return folder.parent.parent if folder.name.startswith("ses-") else folder.parent


def _file(path: Path, work_dir: Path) -> Path:
    return work_dir / _FOLDER / _name(path)


def _name(path: Path) -> str:
    root = _root_of(path)
    return f"{_digest(root)}_{_digest(path.relative_to(root))}.json"


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:20]


def _read(file: Path, root: Path) -> KnownImage | None:
    """Return a remembered image, or None if its file is missing or damaged."""
    try:
        content = cast(dict[str, Any], parse_json(read_text(file)))
        rows = tuple(tuple(float(value) for value in row) for row in content["affine"])
        header = Header(
            grid=Grid(shape=tuple(content["shape"]), affine=rows),
            n_volumes=int(content["n_volumes"]),
            stored_bytes=int(content["stored_bytes"]),
            repetition_time_s=content["repetition_time_s"],
        )
        path = root / content["path"]
        return KnownImage(path, content["identity"], content["annex_key"], header)
    except (OSError, ValueError, KeyError, TypeError):
        return None
