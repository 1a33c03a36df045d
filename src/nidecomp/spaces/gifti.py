"""Reading and writing GIFTI: series, maps and labels of the vertices of one hemisphere.

Each volume of a series is a data array of its own, compressed and written as text. Files are read
one array at a time, so that memory does not grow with their length.

References
----------
GIFTI 1.0: https://www.nitrc.org/frs/download.php/2871/GIFTI_Surface_Format.pdf
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NoReturn, cast
from xml.parsers import expat

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere, of_hemisphere
from nidecomp.core.text import count, in_one_line
from nidecomp.spaces.brain_models import Grayordinates, cortex_models
from nidecomp.spaces.images import MAXIMUM_VOLUMES, Header, unreadable_file_fails
from nidecomp.spaces.label_tables import Label, as_xml, escaped

_CHUNK = 1 << 20
_MOST_VERTICES = 10_000_000
_TYPES = {
    "NIFTI_TYPE_INT8": "i1", "NIFTI_TYPE_INT16": "i2", "NIFTI_TYPE_INT32": "i4",
    "NIFTI_TYPE_INT64": "i8", "NIFTI_TYPE_UINT8": "u1", "NIFTI_TYPE_UINT16": "u2",
    "NIFTI_TYPE_UINT32": "u4", "NIFTI_TYPE_UINT64": "u8", "NIFTI_TYPE_FLOAT32": "f4",
    "NIFTI_TYPE_FLOAT64": "f8",
}  # fmt: skip
_SIDES: dict[Hemisphere, str] = {"L": "CortexLeft", "R": "CortexRight"}
# Of our own files; more takes several times as long and saves little.
_LEVEL = 4


@dataclass(frozen=True, eq=False)
class DataArray:
    """One array of a file.

    Parameters
    ----------
    values : ndarray
    attributes : mapping
        Of the element.
    metadata : mapping
        Of the array.
    """

    values: NDArray[Any]
    attributes: dict[str, str]
    metadata: dict[str, str]


@dataclass(frozen=True)
class GiftiHead:
    """What a file says of itself before its first array, and of that.

    Parameters
    ----------
    n_arrays : int
    n_vertices : int
    structure : str or None
        ``CortexLeft`` or ``CortexRight``, where the file says it.
    stored_bytes : int
        The size of one number.
    is_labels : bool
        Whether there is a table of labels.
    """

    n_arrays: int
    n_vertices: int
    structure: str | None
    stored_bytes: int
    is_labels: bool


class _FoundFirst(Exception):  # noqa: N818  it is no error: enough was read
    """Raised at the first array of a file."""


@dataclass
class _Parser:
    """Collects the arrays of a file while expat reads it."""

    only_head: bool = False
    ready: list[DataArray] = field(default_factory=list)
    file: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    attributes: dict[str, str] | None = None
    _own: dict[str, str] = field(default_factory=dict)
    _data: list[str] = field(default_factory=list)
    _words: list[str] = field(default_factory=list)
    _name: str = ""
    _key: int = 0
    _is_data: bool = False

    def parser(self) -> expat.XMLParserType:
        made = expat.ParserCreate()
        made.buffer_text, made.buffer_size = True, _CHUNK
        made.StartElementHandler = self._start
        made.EndElementHandler = self._end
        made.CharacterDataHandler = self._text
        return made

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._words = []
        if name == "GIFTI":
            self.file = attributes
        elif name == "DataArray":
            self.attributes, self._own = attributes, {}
        elif name == "Label":
            self._key = int(attributes.get("Key", attributes.get("Index", 0)))
        elif name == "Data":
            if self.only_head:
                raise _FoundFirst
            self._is_data, self._data = True, []

    def _text(self, text: str) -> None:
        (self._data if self._is_data else self._words).append(text)

    def _end(self, name: str) -> None:
        words = "".join(self._words).strip()
        if name == "Name":
            self._name = words
        elif name == "Value":
            (self.metadata if self.attributes is None else self._own)[self._name] = words
        elif name == "Label":
            self.labels[self._key] = words
        elif name == "Data" and self.attributes is not None:
            self._is_data = False
            values = _decoded("".join(self._data), self.attributes)
            self.ready.append(DataArray(values, self.attributes, self._own))
            self._data = []
        elif name == "DataArray":
            self.attributes = None

    @property
    def structure(self) -> str | None:
        """Which hemisphere the file says it is of; some programs say it of each array."""
        name = "AnatomicalStructurePrimary"
        return self.metadata.get(name) or self._own.get(name)


def _shape(attributes: dict[str, str]) -> tuple[int, ...]:
    n_dimensions = int(attributes["Dimensionality"])
    shape = tuple(int(attributes[f"Dim{index}"]) for index in range(n_dimensions))
    # No array that is read has more than three numbers for each vertex.
    if not all(0 < size <= _MOST_VERTICES for size in shape) or prod(shape) > 3 * _MOST_VERTICES:
        raise ValueError(f"an array of {' × '.join(map(str, shape))} numbers")
    # Some programs write one number for each vertex as a column.
    return shape[:1] if prod(shape[1:]) == 1 else shape


def _dtype(attributes: dict[str, str]) -> np.dtype[Any]:
    """Return the type of an array's numbers, in the byte order of the file."""
    name = attributes["DataType"]
    if name not in _TYPES:
        raise ValueError(f"numbers of the type {name}")
    order = "<" if attributes.get("Endian") == "LittleEndian" else ">"
    return np.dtype(order + _TYPES[name])


def _decoded(text: str, attributes: dict[str, str]) -> NDArray[Any]:
    encoding = attributes["Encoding"]
    shape, dtype = _shape(attributes), _dtype(attributes)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    if encoding == "ASCII":
        values = np.array(text.split(), dtype=dtype)
    elif encoding in {"GZipBase64Binary", "Base64Binary"}:
        raw = base64.b64decode(text)
        if encoding.startswith("GZip"):
            # No more than the array can hold: a damaged file cannot take all memory.
            unpacker = isal_zlib.decompressobj()
            raw = unpacker.decompress(raw, n_bytes + 1)
        values = np.frombuffer(raw, dtype=dtype)
    else:
        raise ValueError(f"its data are in another file ({encoding})")
    if values.size != np.prod(shape):
        raise EOFError
    is_column = attributes.get("ArrayIndexingOrder", "RowMajorOrder").startswith("Column")
    return values.reshape(shape, order="F" if is_column else "C")


def read_head(path: Path) -> GiftiHead:
    """Return what a file of one hemisphere says of itself, without reading its arrays.

    Parameters
    ----------
    path : Path

    Returns
    -------
    GiftiHead

    Raises
    ------
    FailedRunError
        The file cannot be read, or has no array.
    """
    found = _Parser(only_head=True)
    parser = found.parser()
    with unreadable_file_fails(path), path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                _parse(parser, chunk)
            _parse(parser, b"", is_last=True)
        except _FoundFirst:
            attributes = found.attributes or {}
            return GiftiHead(
                n_arrays=int(found.file.get("NumberOfDataArrays", 0)),
                n_vertices=_shape(attributes)[0],
                structure=found.structure,
                stored_bytes=_dtype(attributes).itemsize,
                is_labels=bool(found.labels) or attributes.get("Intent") == "NIFTI_INTENT_LABEL",
            )
    raise FailedRunError(f"{path.name} has no data")


def _parse(parser: expat.XMLParserType, chunk: bytes, *, is_last: bool = False) -> None:
    try:
        parser.Parse(chunk, is_last)
    except expat.ExpatError as error:
        if is_last or "no element" in str(error):
            raise EOFError from None
        raise ValueError(f"its XML is damaged ({error})") from None
    # An attribute is missing, or Python does not know the encoding.
    except LookupError as error:
        raise ValueError(f"its XML is damaged ({error})") from None


def data_arrays(path: Path) -> Iterator[DataArray]:
    """Yield the arrays of a file, one in memory at a time.

    Parameters
    ----------
    path : Path

    Yields
    ------
    DataArray

    Raises
    ------
    FailedRunError
        The file cannot be read, or has fewer arrays than it says.
    """
    found, n_arrays = _Parser(), 0
    parser = found.parser()
    with unreadable_file_fails(path), path.open("rb") as file:
        is_last = False
        while not is_last:
            chunk = file.read(_CHUNK)
            is_last = not chunk
            _decode(parser, chunk, is_last=is_last)
            n_arrays += len(found.ready)
            yield from found.ready
            found.ready.clear()
        said = int(found.file.get("NumberOfDataArrays", n_arrays))
    if said != n_arrays:
        raise FailedRunError(
            f"{path.name} has {count(n_arrays, 'array')} in place of the {said} that it says it "
            "has: it is damaged"
        )


def _decode(parser: expat.XMLParserType, chunk: bytes, *, is_last: bool) -> None:
    try:
        _parse(parser, chunk, is_last=is_last)
    except cast(type[Exception], isal_zlib.error) as error:
        raise ValueError(f"its data are damaged ({error})") from None


# ---------------------------------------------------------------- runs
def read_gifti_header(left: Path) -> Header:
    """Return the header of a run of both hemispheres.

    Parameters
    ----------
    left : Path
        Its left file (see `core.hemispheres`).

    Returns
    -------
    Header
        Without repetition time: what GIFTI files say of it cannot be relied on.

    Raises
    ------
    FailedRunError
        A file cannot be read, is of another hemisphere, or differs from the other one in its
        number of volumes or vertices.
    """
    heads = [_head_of_run(left, hemi) for hemi in HEMISPHERES]
    first, second = heads
    for what, one, other in (
        ("volumes", first.n_arrays, second.n_arrays),
        ("vertices", first.n_vertices, second.n_vertices),
    ):
        if one != other:
            raise FailedRunError(
                f"its hemispheres differ: the left one has {one} {what}, the right one {other} "
                f"({of_hemisphere(left, 'R').name})"
            )
    models = cortex_models(first.n_vertices)
    sampling = Grayordinates("gifti", models.digest, models.n_numbers)
    return Header(sampling, first.n_arrays, max(one.stored_bytes for one in heads), None)


def _head_of_run(left: Path, hemi: Hemisphere) -> GiftiHead:
    path = of_hemisphere(left, hemi)
    head = head_of_side(path, hemi)
    if not 0 < head.n_arrays <= MAXIMUM_VOLUMES:
        raise FailedRunError(f"{path.name} has {count(head.n_arrays, 'volume')}")
    return head


def head_of_side(path: Path, hemi: Hemisphere) -> GiftiHead:
    """Return what a file of one hemisphere says of itself: see `read_head`.

    Parameters
    ----------
    path : Path
    hemi : {"L", "R"}
        That which its name says.

    Returns
    -------
    GiftiHead

    Raises
    ------
    FailedRunError
        The file cannot be read, has no array, or says that it is of something else.
    """
    head = read_head(path)
    if head.structure not in {None, _SIDES[hemi]}:
        raise FailedRunError(
            f"{path.name} says that it is {in_one_line(head.structure)} "
            "(AnatomicalStructurePrimary): it may have been mixed up with the other hemisphere"
        )
    return head


def volumes_of(left: Path, n_vertices: int) -> Iterator[NDArray[np.float32]]:
    """Yield the volumes of a run of both hemispheres, one in memory at a time.

    Parameters
    ----------
    left : Path
        Its left file.
    n_vertices : int
        Of each hemisphere.

    Yields
    ------
    ndarray of float32, shape (2 n_vertices,)
        The left hemisphere, then the right one.

    Raises
    ------
    FailedRunError
        A file cannot be read, or has another number of vertices or volumes than the other.
    """
    sides = [_values_of(of_hemisphere(left, hemi), n_vertices) for hemi in HEMISPHERES]
    volume = np.empty(2 * n_vertices, dtype=np.float32)
    while True:
        parts = [next(side, None) for side in sides]
        if all(part is None for part in parts):
            return
        if any(part is None for part in parts):
            raise FailedRunError(f"{left.name} and its right hemisphere have different lengths")
        for part, start in zip(parts, (0, n_vertices), strict=True):
            volume[start : start + n_vertices] = part
        yield volume


def _values_of(path: Path, n_vertices: int) -> Iterator[NDArray[Any]]:
    for one in data_arrays(path):
        if one.values.shape != (n_vertices,):
            _refuse_shape(path, one.values.shape, n_vertices)
        yield one.values


def _refuse_shape(path: Path, shape: tuple[int, ...], n_vertices: int) -> NoReturn:
    raise FailedRunError(
        f"{path.name} has an array of {' × '.join(map(str, shape))} numbers where each array must "
        f"have one for each of the {n_vertices} vertices"
    )


# ---------------------------------------------------------------- maps and labels
def label_names(path: Path) -> dict[int, str]:
    """Return the names of the labels in a file's table; empty where it has none."""
    found = _Parser(only_head=True)
    parser = found.parser()
    with unreadable_file_fails(path), path.open("rb") as file:
        try:
            # The table may stand behind the arrays, but no program is known to write it there.
            while chunk := file.read(_CHUNK):
                _parse(parser, chunk)
        except _FoundFirst:
            pass
    return found.labels


def gifti_maps(
    maps: Iterable[NDArray[np.floating]], n_maps: int, hemi: Hemisphere, names: Sequence[str]
) -> Iterator[bytes]:
    """Yield the parts of a file of maps.

    Parameters
    ----------
    maps : iterable of ndarray, each of shape (n_vertices,)
    n_maps : int
    hemi : {"L", "R"}
    names : sequence of str
        One for each map.

    Yields
    ------
    bytes
    """
    yield _beginning(n_maps, hemi)
    for values, name in zip(maps, names, strict=True):
        yield _array(np.asarray(values, dtype="<f4"), "NIFTI_INTENT_NONE", name)
    yield _END


def gifti_series(
    volumes: Iterable[NDArray[np.floating]], n: int, hemi: Hemisphere
) -> Iterator[bytes]:
    """Yield the parts of a file of a series, as `gifti_maps` does."""
    yield _beginning(n, hemi)
    for values in volumes:
        yield _array(np.asarray(values, dtype="<f4"), "NIFTI_INTENT_TIME_SERIES")
    yield _END


def gifti_labels(labels: NDArray[np.integer], hemi: Hemisphere, table: Sequence[Label]) -> bytes:
    """Return a file of labels.

    Parameters
    ----------
    labels : ndarray of int, shape (n_vertices,)
    hemi : {"L", "R"}
    table : sequence of Label
        Without that of 0.

    Returns
    -------
    bytes
    """
    middle = f"{as_xml(table)}\n".encode()
    array = _array(np.asarray(labels, dtype="<i4"), "NIFTI_INTENT_LABEL")
    return _beginning(1, hemi, with_table=False) + middle + array + _END


_END = b"</GIFTI>\n"


def _beginning(n_arrays: int, hemi: Hemisphere, *, with_table: bool = True) -> bytes:
    table = "<LabelTable/>\n" if with_table else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE GIFTI SYSTEM "http://www.nitrc.org/frs/download.php/115/gifti.dtd">\n'
        f'<GIFTI Version="1.0" NumberOfDataArrays="{n_arrays}">\n'
        f"<MetaData>{_entry('AnatomicalStructurePrimary', _SIDES[hemi])}</MetaData>\n{table}"
    ).encode()


def _entry(name: str, value: str) -> str:
    return f"<MD><Name>{escaped(name)}</Name><Value>{escaped(value)}</Value></MD>"


def _array(values: NDArray[np.generic], intent: str, name: str | None = None) -> bytes:
    kind = {"f": "FLOAT32", "i": "INT32"}[values.dtype.kind]
    metadata = "" if name is None else _entry("Name", name)
    head = (
        f'<DataArray Intent="{intent}" DataType="NIFTI_TYPE_{kind}" '
        f'ArrayIndexingOrder="RowMajorOrder" Dimensionality="1" Dim0="{len(values)}" '
        'Encoding="GZipBase64Binary" Endian="LittleEndian" ExternalFileName="" '
        f'ExternalFileOffset=""><MetaData>{metadata}</MetaData><Data>'
    )
    packed = base64.b64encode(zlib.compress(values.tobytes(), _LEVEL))
    return head.encode() + packed + b"</Data></DataArray>\n"
