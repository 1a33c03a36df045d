"""Write records to a file and read them back: arrays in an npz file, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.atomic import writing

_STRUCTURE = "structure"


def store_record(path: Path, record: object) -> None:
    """Write a record to a file, whole or not at all.

    Parameters
    ----------
    path : Path
        An ``.npz`` file.
    record : dataclass
        Its fields are arrays, numbers, text, None, and tuples, lists, mappings and dataclasses of
        such.

    Raises
    ------
    TypeError
        It has a field of another type.
    """
    with writing(path) as file:
        write_record(file, record)


def write_record(file: BinaryIO, record: object) -> None:
    """Write a record to an open file, from its present position to the end; see `store_record`."""
    arrays: list[NDArray[Any]] = []
    structure = json.dumps(_described(record, arrays)).encode()
    np.savez(
        file,
        allow_pickle=False,
        **{_STRUCTURE: np.frombuffer(structure, dtype=np.uint8)},
        **{f"array_{number}": one for number, one in enumerate(arrays)},
    )


def load_record(path: Path, types: Iterable[type]) -> Any:
    """Return a record that `store_record` wrote.

    Parameters
    ----------
    path : Path
    types : iterable of type
        The dataclasses that it may consist of; no other object is made.

    Returns
    -------
    dataclass or None
        None if the file is missing or damaged. Arrays are C-contiguous.
    """
    try:
        # Opened here because numpy does not close a file that is not an archive.
        with path.open("rb") as file:
            return read_record(file, types)
    except Exception:  # numpy raises various errors for a damaged file, whose content is made again
        return None


def read_record(file: BinaryIO, types: Iterable[type]) -> Any:
    """Return the record that `write_record` wrote, from the present position of an open file.

    Raises
    ------
    Exception
        Of various kinds: the file is damaged.
    """
    known = {one.__name__: one for one in types}
    with np.load(file, allow_pickle=False) as content:
        # A small file from elsewhere could be unpacked to one that fills the memory.
        if any(one.compress_type for one in content.zip.infolist()):
            raise ValueError("a file of records is not compressed")
        arrays = {name: content[name] for name in content.files}
    return _made(json.loads(arrays.pop(_STRUCTURE).tobytes()), arrays, known)


def _described(value: object, arrays: list[NDArray[Any]]) -> object:
    """Return a value as JSON has it; arrays are added to the list."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.ndarray():
            arrays.append(np.array(value, order="C"))
            return {"array": f"array_{len(arrays) - 1}"}
        case np.generic():
            return value.item()
        case tuple() | list():
            return {type(value).__name__: [_described(one, arrays) for one in value]}
        case Mapping():
            return {"mapping": {name: _described(one, arrays) for name, one in value.items()}}
        case _ if is_dataclass(value):
            own = {one.name: _described(getattr(value, one.name), arrays) for one in fields(value)}
            return {"record": type(value).__name__, "fields": own}
    raise TypeError(f"{type(value).__name__} cannot be stored in a file of records.")


def _made(described: Any, arrays: Mapping[str, NDArray[Any]], known: Mapping[str, type]) -> Any:
    """Return the value that was described."""
    match described:
        case {"array": name}:
            return arrays[name]
        case {"tuple": values}:
            return tuple(_made(one, arrays, known) for one in values)
        case {"list": values}:
            return [_made(one, arrays, known) for one in values]
        case {"mapping": values}:
            return {name: _made(one, arrays, known) for name, one in values.items()}
        case {"record": name, "fields": values}:
            own = {field: _made(one, arrays, known) for field, one in values.items()}
            return known[name](**own)
    return described
