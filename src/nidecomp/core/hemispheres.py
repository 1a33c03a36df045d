"""Pairs of files: surfaces in GIFTI have one for each hemisphere.

A pair is named by the path of its left file, in which ``hemi-L`` stands; every other path is that
of a single file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Literal, TypeVar

Hemisphere = Literal["L", "R"]
HEMISPHERES: tuple[Hemisphere, ...] = ("L", "R")
_LEFT = "hemi-L"

AnyPath = TypeVar("AnyPath", bound=PurePath)


def is_pair(path: PurePath) -> bool:
    """Return whether a path stands for the files of both hemispheres."""
    return _LEFT in path.name.split(".")[0].split("_")


def of_hemisphere(path: AnyPath, hemi: Hemisphere | None) -> AnyPath:
    """Return the path of the file of one hemisphere.

    Parameters
    ----------
    path : PurePath
        That of the left file, where there are two.
    hemi : {"L", "R"} or None
        None: there is one file.

    Returns
    -------
    PurePath
        Of the same type.
    """
    if hemi is None:
        return path
    # The hemisphere may be the last part of a name that has no suffix.
    stem, dot, extension = path.name.partition(".")
    parts = [f"hemi-{hemi}" if part == _LEFT else part for part in stem.split("_")]
    return path.with_name("_".join(parts) + dot + extension)


def side_in_name(hemispheres: Sequence[Hemisphere | None]) -> str:
    """Return what the name of a left file has for its hemisphere; nothing where there is one."""
    return f"_{_LEFT}" if hemispheres[0] else ""


def all_there(paths: Iterable[Path]) -> bool:
    """Return whether the files that some paths stand for exist."""
    return all(file.exists() for path in paths for file in files_of(path))


def files_of(path: AnyPath) -> tuple[AnyPath, ...]:
    """Return the files that a path stands for: both of a pair, or the one.

    Parameters
    ----------
    path : PurePath

    Returns
    -------
    tuple of PurePath
        The left one first.
    """
    if not is_pair(path):
        return (path,)
    return tuple(of_hemisphere(path, hemi) for hemi in HEMISPHERES)
