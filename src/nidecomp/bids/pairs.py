"""Surfaces in GIFTI: a run has a file for each hemisphere, and is listed by the left one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nidecomp.bids.listing import ListedFile
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.core.surface_files import kind_of_series


def paired(files: Iterable[ListedFile]) -> list[ListedFile]:
    """Return files of runs without those of right hemispheres whose left one is there.

    Parameters
    ----------
    files : iterable of ListedFile
        Runs of any kind.

    Returns
    -------
    list of ListedFile
        In the same order.
    """
    listed = list(files)
    rights = {of_hemisphere(file.path, "R") for file in listed if file.entities.get("hemi") == "L"}
    return [file for file in listed if file.path not in rights or file.entities.get("hemi") == "L"]


def wrong_hemisphere(file: ListedFile) -> str | None:
    """Return why a file of surfaces, as `paired` leaves it, is no run, or None.

    Parameters
    ----------
    file : ListedFile

    Returns
    -------
    str or None
        A reason to refuse the run.
    """
    if kind_of_series(file.path) != "gifti":
        return None
    hemi = file.entities.get("hemi")
    if hemi == "R":
        return _missing("left", _other(file.path))
    if hemi != "L":
        return "its file name has neither hemi-L nor hemi-R"
    right = of_hemisphere(file.path, "R")
    return None if os.path.lexists(right) else _missing("right", right)


def _other(right: Path) -> Path:
    return right.with_name(right.name.replace("hemi-R", "hemi-L"))


def _missing(side: str, path: Path) -> str:
    return f"its {side} hemisphere is missing: there is no {path.name}"
