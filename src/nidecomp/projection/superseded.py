"""Remove stored projections that no later start can use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from nidecomp.projection.all_runs import Projections

# The name of whatever was projected, with the hash of what it was made from.
_NAME = re.compile(r".+?_[0-9a-f]{20}(?=[_.])")


def remove_superseded(projections: Projections, folder: Path, compared: Iterable[Path] = ()) -> int:
    """Remove stored projections to other maps than the present ones.

    Parameters
    ----------
    projections : Projections
        The present ones; those of all runs must have succeeded.
    folder : Path
        The work folder. Nobody else may use its projections.
    compared : iterable of Path
        What comparing participants left there: maps of sets of runs, and what was compared.

    Returns
    -------
    int
        The number of files that were removed.
    """
    compared = frozenset(compared)
    kept = set(map(_name, (*_files(projections), *compared)))
    n_removed = 0
    for path in (folder / "projected").glob("*"):
        name = _name(path)
        # Temporary files of other processes and whatever we do not know have other names.
        if name and name not in kept and not path.name.startswith("."):
            path.unlink(missing_ok=True)
            n_removed += 1
    for path in (folder / "compared").glob("[!.]*.npz"):
        if path not in compared:
            path.unlink(missing_ok=True)
            n_removed += 1
    return n_removed


def _files(projections: Projections) -> Iterable[Path]:
    yield from projections.paths
    for run in projections.runs:
        yield run.stem.with_name(run.stem.name + ".npz")
    for combined in projections.combined.values():
        for one in combined:
            yield from one.maps.values()


def _name(path: Path) -> str | None:
    match = _NAME.match(path.name)
    return match[0] if match else None
