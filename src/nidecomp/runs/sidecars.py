"""Read the JSON files that describe an image or a confounds table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nidecomp.bids.sidecars import own_sidecars
from nidecomp.core.errors import RefusedRunError
from nidecomp.core.records import RunFiles
from nidecomp.core.surface_files import without_extension
from nidecomp.core.text import in_one_line, parse_json, quoted, read_text

# What two hemispheres must say alike, if both say it.
_TIMES = ("RepetitionTime", "VolumeTiming", "StartTime")


@dataclass(frozen=True)
class Entry:
    """A value in a JSON file, and the file: ``sidecar``, with its name if it was inherited."""

    value: object
    source: str


def sidecar_path(image: Path) -> Path:
    """Return the path of the JSON sidecar of an image."""
    return image.with_name(f"{without_extension(image.name)}.json")


def image_sidecars(files: RunFiles, image: Path) -> tuple[Path, ...]:
    """Return the JSON files that apply to one of a run's images, the most general first."""
    return own_sidecars(files.sidecars, image) or _if_there(sidecar_path(image))


def confounds_sidecars(table: Path, inherited: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return the JSON files that apply to a confounds table, the most general first.

    Parameters
    ----------
    table : Path
    inherited : sequence of Path
        Those that were found; if there are none, the file next to the table is looked for.

    Returns
    -------
    tuple of Path
    """
    return tuple(inherited) or _if_there(table.with_suffix(".json"))


def _if_there(path: Path) -> tuple[Path, ...]:
    # A link to nothing counts as there: its content was not fetched, which must not go unnoticed.
    return (path,) if os.path.lexists(path) else ()


def read_json_object(path: Path, what: str) -> dict[str, object]:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : Path
    what : str
        What the file is, for messages.

    Returns
    -------
    dict

    Raises
    ------
    RefusedRunError
        It cannot be read, or does not contain a JSON object.
    """
    try:
        if path.exists() and not path.is_file():
            raise RefusedRunError(f"{what} {path.name} is not a regular file")
        content = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise RefusedRunError(f"{what} {path.name} cannot be read: {in_one_line(error)}") from None
    if not isinstance(content, dict):
        raise RefusedRunError(f"{what} {path.name} does not contain a JSON object")
    return content


def sidecar_entries(files: RunFiles) -> dict[str, Entry]:
    """Return what the JSON files that apply to a run's image say, and which of them says it.

    Parameters
    ----------
    files : RunFiles

    Returns
    -------
    dict of str to Entry
        Where files contradict each other, the most specific one counts; empty if there are none.
        Of two hemispheres, that of the left one counts.

    Raises
    ------
    RefusedRunError
        A file cannot be read, or does not contain a JSON object; or hemispheres contradict each
        other in when volumes were acquired.
    """
    first, *others = [_entries_of(files, image) for image in files.images]
    for other in others:
        for name in _TIMES:
            if name in first and name in other and first[name].value != other[name].value:
                raise RefusedRunError(
                    f"its hemispheres differ: {name} is {quoted(first[name].value)} in the sidecar "
                    f"of the left one, and {quoted(other[name].value)} in that of the right one: "
                    "correct the wrong one"
                )
        first = other | first
    return first


def _entries_of(files: RunFiles, image: Path) -> dict[str, Entry]:
    own = sidecar_path(image)
    entries: dict[str, Entry] = {}
    for path in image_sidecars(files, image):
        source = "sidecar" if path == own else f"sidecar {path.name}"
        content = read_json_object(path, "its sidecar")
        # null says nothing, and does not hide what a more general file says.
        entries |= {
            name: Entry(value, source) for name, value in content.items() if value is not None
        }
    return entries


def read_sidecar(files: RunFiles) -> dict[str, object]:
    """Return what the JSON files that apply to a run's image say, as `sidecar_entries` does."""
    return {name: entry.value for name, entry in sidecar_entries(files).items()}
