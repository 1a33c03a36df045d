"""Reading and writing CIFTI-2: dense series, maps and labels of grayordinates.

A CIFTI-2 file is a NIfTI-2 file whose XML, in an extension of its header, says what rows and
columns are. Of a dense series, the values of one grayordinate lie together. nibabel takes 0.8 s for
the XML of 91,282 grayordinates; here, the part with the brain models, which is the same in all
files of a dataset, is parsed once for each content.

References
----------
CIFTI-2: https://www.nitrc.org/forum/attachment.php?attachid=341&group_id=454&forum_id=1955
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.text import count
from nidecomp.spaces.brain_models import (
    BrainModels,
    Grayordinates,
    Structure,
    check_names,
)
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import MAXIMUM_VOLUMES, MAXIMUM_VOXELS, Header, unreadable_file_fails
from nidecomp.spaces.label_tables import Label, as_xml, escaped

# The size of a NIfTI-2 header with the flag of its extensions; what an extension begins with.
_HEADER, _EXTENSION = 544, np.dtype("<i4,<i4")
_ECODE = 32
# XML of 170,000 grayordinates has 2 MB; more than this is damaged.
_MOST_XML = 1 << 27
_MOST_GRAYORDINATES = 10_000_000
_MAP = re.compile(rb"<MatrixIndicesMap\b[^>]*>", re.DOTALL)
_BRAIN_MODELS = "CIFTI_INDEX_TYPE_BRAIN_MODELS"
_SECONDS = {"SECOND": 1.0}
# Intent codes and names of NIfTI for what we write.
_INTENTS = {"dtseries": (3002, "ConnDenseSeries"), "dscalar": (3006, "ConnDenseScalar"),
            "dlabel": (3007, "ConnDenseLabel")}  # fmt: skip
# Rows that are brought to another order or type at once.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class CiftiFile:
    """A file of grayordinates of which only the header was read.

    Parameters
    ----------
    path : Path
    xml : bytes
    models : BrainModels
    n_maps : int
        Volumes of a series, maps, or sets of labels.
    repetition_time_s : float or None
        Of a series.
    dtype : dtype
        Of the numbers that are stored.
    slope, inter : float
        What makes values of them.
    offset : int
        Where the numbers begin, in bytes.
    """

    path: Path
    xml: bytes
    models: BrainModels
    n_maps: int
    repetition_time_s: float | None
    dtype: np.dtype[np.generic]
    slope: float
    inter: float
    offset: int

    def stored(self) -> NDArray[Any]:
        """Return the numbers as they are stored, (n_numbers, n_maps), read when they are used."""
        with unreadable_file_fails(self.path):
            shape = (self.models.n_numbers, self.n_maps)
            return np.memmap(self.path, self.dtype, "r", self.offset, shape)

    def values(self, rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Return the values of some grayordinates in memory, (n_rows, n_maps)."""
        with unreadable_file_fails(self.path):
            stored = self.stored()[rows]
            if (self.slope, self.inter) == (1.0, 0.0):
                return np.array(stored, dtype=np.float32, order="C")
            return np.asarray(stored * np.float64(self.slope) + self.inter, dtype=np.float32)

    def values_of_maps(self, maps: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return some volumes or maps in memory, (len(maps), n_numbers)."""
        values = np.empty((len(maps), self.models.n_numbers), dtype=np.float32)
        for start in range(0, values.shape[1], _ROWS):
            rows = slice(start, min(start + _ROWS, values.shape[1]))
            values[:, rows] = self.values(rows)[:, maps].T
        return values

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the maps, empty where there are none."""
        return tuple(one.findtext("MapName", "").strip() for one in self._maps("NamedMap"))

    @property
    def is_series(self) -> bool:
        """Whether it holds volumes."""
        return b"CIFTI_INDEX_TYPE_SERIES" in self.xml

    @property
    def is_labels(self) -> bool:
        """Whether it holds labels."""
        return b"CIFTI_INDEX_TYPE_LABELS" in self.xml

    @property
    def label_names(self) -> dict[int, str]:
        """The names of the labels of the first map."""
        named = self._maps("NamedMap")
        if not named:
            return {}
        with unreadable_file_fails(self.path):
            return {int(one.get("Key", 0)): one.text or "" for one in named[0].iter("Label")}

    def _maps(self, tag: str) -> list[ElementTree.Element]:
        with unreadable_file_fails(self.path), _xml_is_valid():
            return list(_parsed(_without(self.xml, _BRAIN_MODELS)).iter(tag))


# ---------------------------------------------------------------- opening
def open_cifti(path: Path) -> CiftiFile:
    """Open a dense CIFTI-2 file and read its header.

    Parameters
    ----------
    path : Path
        Whose columns are grayordinates: ``.dtseries.nii``, ``.dscalar.nii`` or ``.dlabel.nii``.

    Returns
    -------
    CiftiFile

    Raises
    ------
    FailedRunError
        The file cannot be read, is none of these, or is shorter than its header says.
    """
    with unreadable_file_fails(path), path.open("rb") as file:
        header, xml = _read_header(file)
        size = path.stat().st_size
        shape = tuple(int(one) for one in header.get_data_shape())
        dtype, (slope, inter) = header.get_data_dtype(), header.get_slope_inter()
    models = _models(path, xml)
    if len(shape) != 6 or shape[:4] != (1, 1, 1, 1) or shape[5] != models.n_numbers:
        raise FailedRunError(
            f"{path.name} has the shape {' × '.join(map(str, shape))} in its header, but its XML "
            f"describes {models.n_numbers} grayordinates: it is damaged"
        )
    n_maps = shape[4]
    if not 0 < n_maps <= MAXIMUM_VOLUMES:
        raise FailedRunError(f"{path.name} has {count(n_maps, 'volume')} in its header")
    offset = int(header["vox_offset"])
    if dtype.kind not in "iuf":
        raise FailedRunError(f"{path.name} has numbers of an unusual type ({dtype})")
    if offset + models.n_numbers * n_maps * dtype.itemsize > size:
        raise FailedRunError(
            f"{path.name} is smaller than its header describes: it was cut off, copy it again"
        )
    return CiftiFile(
        path, xml, models, n_maps, _step_of(path, xml), dtype,
        1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter), offset,
    )  # fmt: skip


def dense_image(path: Path) -> nib.Cifti2Image:
    """Return a file as an image of nibabel, for users: it takes nibabel 0.8 s to open."""
    with unreadable_file_fails(path):
        return nib.load(path)


def _read_header(file: BinaryIO) -> tuple[nib.Nifti2Header, bytes]:
    raw = file.read(_HEADER)
    if len(raw) < _HEADER:
        raise EOFError
    header = nib.Nifti2Header(raw[:540])
    place, start = _HEADER, int(header["vox_offset"])
    order = header.endianness
    while place + 8 <= start:
        size, code = np.frombuffer(file.read(8), dtype=f"{order}i4").tolist()
        if not 8 <= size <= _MOST_XML or place + size > start:
            break
        content = file.read(size - 8)
        if code == _ECODE:
            return header, content.rstrip(b"\0")
        place += size
    raise ValueError("it has no description of grayordinates, so that it is not CIFTI-2")


def _step_of(path: Path, xml: bytes) -> float | None:
    """Return the distance of volumes in seconds; None where they are maps."""
    for found in _MAP.finditer(xml):
        # The start tag alone, closed at once.
        with unreadable_file_fails(path), _xml_is_valid():
            tag = found[0] if found[0].endswith(b"/>") else found[0][:-1] + b"/>"
            attributes = _parsed(tag).attrib
        if attributes.get("IndicesMapToDataType") != "CIFTI_INDEX_TYPE_SERIES":
            continue
        unit = _SECONDS.get(attributes.get("SeriesUnit", "SECOND"))
        try:
            exponent = int(attributes.get("SeriesExponent", 0))
            step = float(attributes["SeriesStep"]) * 10.0**exponent
        except (KeyError, ValueError, OverflowError):
            return None
        return step * unit if unit is not None and step > 0 else None
    return None


def read_cifti_header(path: Path) -> Header:
    """Return the header of a dense series.

    Parameters
    ----------
    path : Path
        A ``.dtseries.nii``.

    Returns
    -------
    Header
        Its repetition time is that of the XML.

    Raises
    ------
    FailedRunError
        The file cannot be read, or is no dense series.
    """
    file = open_cifti(path)
    if not file.is_series:
        raise FailedRunError(f"{path.name} holds maps and no series of volumes")
    models = file.models
    sampling = Grayordinates("cifti", models.digest, models.n_numbers)
    return Header(sampling, file.n_maps, file.dtype.itemsize, file.repetition_time_s)


# ---------------------------------------------------------------- brain models
def _parsed(xml: bytes) -> ElementTree.Element:
    # Expat limits the expansion of entities, which is what the rule warns of.
    return ElementTree.fromstring(xml)  # noqa: S314


class _xml_is_valid:  # noqa: N801  a context manager is named like a function
    """Raise ValueError for XML that cannot be parsed."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        # An unknown encoding is a LookupError.
        if kind is not None and issubclass(kind, ElementTree.ParseError | LookupError):
            raise ValueError(f"its XML is damaged ({error})") from None


def _part(xml: bytes, kind: str) -> tuple[int, int]:
    """Return where the element of one kind of index begins and ends; twice 0 without it."""
    for found in _MAP.finditer(xml):
        if kind.encode() in found[0]:
            if found[0].endswith(b"/>"):
                return found.start(), found.end()
            end = xml.find(b"</MatrixIndicesMap>", found.end())
            return (found.start(), end + len(b"</MatrixIndicesMap>")) if end > 0 else (0, 0)
    return 0, 0


def _without(xml: bytes, kind: str) -> bytes:
    start, end = _part(xml, kind)
    return xml[:start] + xml[end:]


def _models(path: Path, xml: bytes) -> BrainModels:
    start, end = _part(xml, _BRAIN_MODELS)
    if start == end:
        raise FailedRunError(f"{path.name} describes no grayordinates: it is not dense CIFTI-2")
    try:
        with unreadable_file_fails(path):
            return _parsed_models(_Text(xml[start:end]))
    except FailedRunError as error:
        text = str(error)
        raise FailedRunError(text if path.name in text else f"{path.name}: {text}") from None


class _Text:
    """A part of the XML, known by its hash."""

    def __init__(self, content: bytes) -> None:
        self.content, self._hash = content, hashlib.sha256(content).digest()

    def __hash__(self) -> int:
        return hash(self._hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self._hash == other._hash


@lru_cache(maxsize=8)
def _parsed_models(text: _Text) -> BrainModels:
    with _xml_is_valid():
        root = _parsed(text.content)
    grid = _grid_of(root.find("Volume"))
    found: list[tuple[int, Structure]] = []
    for element in root.iter("BrainModel"):
        one = _structure(element)
        if int(element.get("IndexCount", len(one.places))) != len(one.places):
            raise ValueError(f"the number of places of {one.name} is not that of its XML")
        found.append((int(element.get("IndexOffset", 0)), one))
    # Where a structure without places begins, another one does.
    found.sort(key=lambda each: (each[0], len(each[1].places)))
    structures = [one for _, one in found]
    ends = np.cumsum([0, *(len(one.places) for one in structures)])
    if [offset for offset, _ in found] != ends[:-1].tolist() or not 0 < ends[
        -1
    ] <= _MOST_GRAYORDINATES:
        raise ValueError("its structures do not follow each other without gaps")
    check_names(structures)
    models = BrainModels(tuple(structures), grid)
    if models.has_voxels:
        if grid is None:
            raise ValueError("it has voxels, but no grid of them")
        _check_within(structures, grid)
    return models


def _structure(element: ElementTree.Element) -> Structure:
    name, kind = element.get("BrainStructure", ""), element.get("ModelType", "")
    if kind == "CIFTI_MODEL_TYPE_SURFACE":
        n_vertices = int(element.get("SurfaceNumberOfVertices", 0))
        if not 0 < n_vertices <= _MOST_GRAYORDINATES:
            raise ValueError(f"the mesh of {name} has {n_vertices} vertices")
        vertices = _numbers(element.findtext("VertexIndices"))
        if len(vertices) and not (0 <= vertices.min() and vertices.max() < n_vertices):
            raise ValueError(f"{name} has vertices that its mesh has not")
        return Structure(name, vertices, n_vertices)
    if kind == "CIFTI_MODEL_TYPE_VOXELS":
        return Structure(name, _numbers(element.findtext("VoxelIndicesIJK")).reshape(-1, 3), None)
    raise ValueError(f"{name} is neither a surface nor voxels")


def _numbers(text: str | None) -> NDArray[np.intp]:
    return np.array((text or "").split(), dtype=np.intp)


def _grid_of(volume: ElementTree.Element | None) -> Grid | None:
    if volume is None:
        return None
    shape = tuple(int(one) for one in volume.get("VolumeDimensions", "").split(","))
    element = volume.find("TransformationMatrixVoxelIndicesIJKtoXYZ")
    if element is None or len(shape) != 3:
        raise ValueError("the grid of its voxels is incomplete")
    matrix = np.array((element.text or "").split(), dtype=float).reshape(4, 4)
    matrix[:3] *= 10.0 ** (int(element.get("MeterExponent", "-3")) + 3)
    if not 0 < math.prod(shape) <= MAXIMUM_VOXELS or min(shape) <= 0:
        raise ValueError(f"the grid of its voxels has {' × '.join(map(str, shape))} voxels")
    if not np.isfinite(matrix).all() or not np.linalg.det(matrix[:3, :3]):
        raise ValueError("the voxels of its grid have no size")
    rows = tuple(tuple(row) for row in matrix.tolist())
    return Grid((shape[0], shape[1], shape[2]), rows)


def _check_within(structures: Sequence[Structure], grid: Grid) -> None:
    for one in structures:
        if one.n_vertices is None and not (
            (one.places >= 0).all() and (one.places < grid.shape).all()
        ):
            raise ValueError(f"{one.name} has voxels outside of the grid")


# ---------------------------------------------------------------- writing
def cifti_head(
    models: BrainModels,
    kind: str,
    names: Sequence[str],
    labels: Sequence[Label] = (),
) -> bytes:
    """Return the header of a file of maps or labels of grayordinates.

    Parameters
    ----------
    models : BrainModels
    kind : {"dscalar", "dlabel"}
    names : sequence of str
        Those of the maps.
    labels : sequence of Label
        Of a dlabel, without that of 0.

    Returns
    -------
    bytes
        What follows are float32 numbers, (n_numbers, n_maps).
    """
    index = "LABELS" if kind == "dlabel" else "SCALARS"
    table = as_xml(labels) if kind == "dlabel" else ""
    maps = "".join(f"<NamedMap><MapName>{escaped(name)}</MapName>{table}</NamedMap>"
                   for name in names)  # fmt: skip
    xml = _xml(
        '<MatrixIndicesMap AppliesToMatrixDimension="0" '
        f'IndicesMapToDataType="CIFTI_INDEX_TYPE_{index}">{maps}</MatrixIndicesMap>',
        models,
    )
    return _head(xml, kind, len(names), models.n_numbers)


def _xml(first: str, models: BrainModels) -> bytes:
    """Return the XML of a file, of which `first` describes the maps or volumes."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CIFTI Version="2"><Matrix>'
        f"{first}{_models_as_xml(models)}</Matrix></CIFTI>"
    ).encode()


def series_head(file: CiftiFile) -> bytes:
    """Return the header of a series like a given one, with float32 numbers."""
    return _head(file.xml, "dtseries", file.n_maps, file.models.n_numbers)


def _head(xml: bytes, kind: str, n_maps: int, n_numbers: int) -> bytes:
    header = nib.Nifti2Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((1, 1, 1, 1, n_maps, n_numbers))
    code, name = _INTENTS[kind]
    header["intent_code"], header["intent_name"] = code, name
    header.set_slope_inter(1, 0)
    size = -(-(len(xml) + 8) // 16) * 16
    header["vox_offset"] = _HEADER + size
    extension = np.array([size, _ECODE], dtype="<i4").tobytes() + xml.ljust(size - 8, b"\0")
    block: bytes = header.as_byteswapped("<").binaryblock
    return block + b"\1\0\0\0" + extension


def cifti_numbers(values: NDArray[np.generic]) -> Iterator[bytes]:
    """Yield the numbers of a file of maps.

    Parameters
    ----------
    values : ndarray, shape (n_maps, n_numbers)

    Yields
    ------
    bytes
        float32; all maps of one grayordinate lie together.
    """
    for start in range(0, values.shape[1], _ROWS):
        yield np.ascontiguousarray(values[:, start : start + _ROWS].T, dtype="<f4").tobytes()


@lru_cache(maxsize=8)
def _models_as_xml(models: BrainModels) -> str:
    parts = []
    if models.grid is not None and models.has_voxels:
        shape = ",".join(map(str, models.grid.shape))
        matrix = "\n".join(" ".join(f"{one:.10g}" for one in row) for row in models.grid.affine)
        parts.append(
            f'<Volume VolumeDimensions="{shape}"><TransformationMatrixVoxelIndicesIJKtoXYZ '
            f'MeterExponent="-3">{matrix}</TransformationMatrixVoxelIndicesIJKtoXYZ></Volume>'
        )
    for one, part in zip(models.structures, models.slices, strict=True):
        start = f'<BrainModel IndexOffset="{part.start}" IndexCount="{len(one.places)}" '
        if one.n_vertices is not None:
            places = " ".join(map(str, one.places.tolist()))
            parts.append(
                f'{start}ModelType="CIFTI_MODEL_TYPE_SURFACE" BrainStructure="{one.name}" '
                f'SurfaceNumberOfVertices="{one.n_vertices}">'
                f"<VertexIndices>{places}</VertexIndices></BrainModel>"
            )
        else:
            voxels = "\n".join(" ".join(map(str, row)) for row in one.places.tolist())
            parts.append(
                f'{start}ModelType="CIFTI_MODEL_TYPE_VOXELS" BrainStructure="{one.name}">'
                f"<VoxelIndicesIJK>{voxels}</VoxelIndicesIJK></BrainModel>"
            )
    return (
        '<MatrixIndicesMap AppliesToMatrixDimension="1" '
        f'IndicesMapToDataType="{_BRAIN_MODELS}">{"".join(parts)}</MatrixIndicesMap>'
    )
