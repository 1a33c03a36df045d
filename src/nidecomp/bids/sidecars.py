"""Find the JSON sidecars that apply to a file by the inheritance principle of BIDS.

A sidecar in the file's folder or in one above, up to that of the dataset, applies if it has the
file's suffix and no entity that the file has not. The nearest one has precedence (BIDS 1.11.1,
"The Inheritance Principle"). fMRIPrep 20 to 22 wrote a second one for grayordinates, which has an
extension (``_bold.dtseries.json``): it says less, and the other one has precedence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from nidecomp.bids.entities import entities_of_name, wrong_name

# A file, and the entities in its name.
_Sidecar = tuple[Path, dict[str, str]]


class Sidecars:
    """The sidecars of a dataset; each folder is listed once.

    Parameters
    ----------
    root : Path
        The dataset.
    names : mapping, optional
        Folders that were listed already, and the names in them.
    """

    def __init__(self, root: Path, names: Mapping[Path, list[str]] | None = None) -> None:
        # Text, because comparing and joining a Path takes longer than all else.
        self._root = str(root)
        self._names = {str(folder): listed for folder, listed in (names or {}).items()}
        self._by_suffix: dict[str, dict[str, list[str]]] = {}
        self._above: dict[tuple[str, str], list[_Sidecar]] = {}

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
        folder, name = os.path.split(path)
        entities, suffix = _parsed(name)
        return tuple(
            sidecar
            for sidecar, own in self._leading_to(folder, suffix)
            if own.items() <= entities.items() and _is_of_kind(sidecar.name, name)
        )

    def _leading_to(self, folder: str, suffix: str) -> list[_Sidecar]:
        """Return the sidecars with a suffix from the dataset's folder down to another one."""
        key = folder, suffix
        if key not in self._above:
            is_top = len(folder) <= len(self._root)
            above = [] if is_top else self._leading_to(os.path.dirname(folder), suffix)  # noqa: PTH120  text
            # Most folders have none, so that the list is that of the folder above.
            inside = self._inside(folder, suffix)
            self._above[key] = [*above, *inside] if inside else above
        return self._above[key]

    def _inside(self, folder: str, suffix: str) -> list[_Sidecar]:
        """Return the sidecars in a folder, those with fewer entities first."""
        if folder not in self._by_suffix:
            names = self._names[folder] if folder in self._names else _names_in(folder)
            self._by_suffix[folder] = _json_by_suffix(names)
        paths = [Path(folder, name) for name in self._by_suffix[folder].get(suffix, ())]
        # A label that would be cut off makes the sidecar one of other files.
        found = [(path, _parsed(path.name)[0]) for path in paths if wrong_name(path) is None]
        return sorted(found, key=lambda one: (len(one[1]), not _kind(one[0].name), one[0].name))


def _kind(sidecar: str) -> str:
    """Return the extension before that of a sidecar, of the files that it is for: ``dtseries``."""
    return sidecar.partition(".")[2].rpartition(".")[0]


def _is_of_kind(sidecar: str, name: str) -> bool:
    kind = _kind(sidecar)
    return not kind or name.partition(".")[2].startswith(f"{kind}.")


def own_sidecars(sidecars: Iterable[Path], image: Path) -> tuple[Path, ...]:
    """Return those of a run's sidecars that are of one of its images.

    Parameters
    ----------
    sidecars : iterable of Path
        Of both hemispheres, where there are two.
    image : Path

    Returns
    -------
    tuple of Path
        In the same order.
    """
    hemi = _parsed(image.name)[0].get("hemi")
    return tuple(path for path in sidecars if _parsed(path.name)[0].get("hemi") in {None, hemi})


def _json_by_suffix(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(".json"):
            found.setdefault(_suffix(name), []).append(name)
    return found


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  names alone are needed
    except OSError:
        # A folder that cannot be listed has no file that could be used.
        return []


def ambiguous_sidecars(sidecars: tuple[Path, ...]) -> str | None:
    """Return a message if it is not defined which of two sidecars has precedence, or None."""
    for one, other in pairwise(sidecars):
        both = [_parsed(path.name)[0] for path in (one, other)]
        is_same = one.parent == other.parent and _kind(one.name) == _kind(other.name)
        if is_same and len(both[0]) == len(both[1]):
            return (
                f"the sidecars {one.name} and {other.name} apply to it equally: remove one, or put "
                "its content into the other"
            )
    return None


def _parsed(name: str) -> tuple[dict[str, str], str]:
    """Return the entities and the suffix of a file name."""
    return entities_of_name(name.split(".", maxsplit=1)[0]), _suffix(name)


def _suffix(name: str) -> str:
    last = name.split(".", maxsplit=1)[0].rsplit("_", 1)[-1]
    # fMRIPrep 20.0 wrote surfaces without a suffix.
    return "bold" if last in {"hemi-L", "hemi-R"} else last
