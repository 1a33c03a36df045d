"""Find the JSON sidecars that apply to a file by the inheritance principle of BIDS.

A sidecar in the file's folder or in one above, up to that of the dataset, applies if it has the
file's suffix and no entity that the file has not. The nearest one has precedence (BIDS 1.11.1,
"The Inheritance Principle").
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from nidecomp.bids.entities import entities_of_name, wrong_name


class Sidecars:
    """The sidecars of a dataset; each folder is listed once.

    Parameters
    ----------
    root : Path
        The dataset.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, list[str]] = {}

    def of(self, path: Path) -> tuple[Path, ...]:
        """Return the sidecars of a file, the most general first.

        Parameters
        ----------
        path : Path
            A file of the dataset.

        Returns
        -------
        tuple of Path
            In each folder, those with fewer entities come first.
        """
        entities, suffix = _parsed(path.name)
        found: list[Path] = []
        for folder in self._folders(path):
            names = [
                name
                for name in self._names(folder)
                # A label that would be cut off makes the sidecar one of other files.
                if wrong_name(Path(name)) is None
                and (parsed := _parsed(name))[1] == suffix
                and parsed[0].items() <= entities.items()
            ]
            names.sort(key=lambda name: (len(_parsed(name)[0]), name))
            found += [folder / name for name in names]
        return tuple(found)

    def _folders(self, path: Path) -> list[Path]:
        """Return the dataset's folder and those below it that lead to a file."""
        inside = path.relative_to(self._root).parts[:-1]
        return [self._root.joinpath(*inside[:depth]) for depth in range(len(inside) + 1)]

    def _names(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            try:
                names = [name for name in os.listdir(folder) if name.endswith(".json")]  # noqa: PTH208  names alone are needed
            except OSError:
                # A folder that cannot be listed has no file that could be used.
                names = []
            self._listed[folder] = names
        return self._listed[folder]


def ambiguous_sidecars(sidecars: tuple[Path, ...]) -> str | None:
    """Return a message if it is not defined which of two sidecars has precedence, or None."""
    for one, other in pairwise(sidecars):
        both = [_parsed(path.name)[0] for path in (one, other)]
        if one.parent == other.parent and len(both[0]) == len(both[1]):
            return (
                f"the sidecars {one.name} and {other.name} apply to it equally: remove one, or put "
                "its content into the other"
            )
    return None


def _parsed(name: str) -> tuple[dict[str, str], str]:
    """Return the entities and the suffix of a file name."""
    stem = name.split(".", maxsplit=1)[0]
    return entities_of_name(stem), stem.rsplit("_", 1)[-1]
