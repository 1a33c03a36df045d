"""Read the JSON files that describe an image or a confounds table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.records import RunFiles
from nidecomp.core.text import in_one_line, parse_json, read_text


@dataclass(frozen=True)
class Entry:
    """A value in a JSON file, and the file: ``sidecar``, with its name if it was inherited."""

    value: object
    source: str


def sidecar_path(image: Path) -> Path:
    """Return the path of the JSON sidecar of an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def image_sidecars(files: RunFiles) -> tuple[Path, ...]:
    """Return the JSON files that apply to a run's image, the most general first."""
    return files.sidecars or _if_there(sidecar_path(files.bold))


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

    Raises
    ------
    RefusedRunError
        A file cannot be read, or does not contain a JSON object.
    """
    own = sidecar_path(files.bold)
    entries: dict[str, Entry] = {}
    for path in image_sidecars(files):
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
