"""Published maps on the group's voxels: networks to compare components with, and tissues."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.spaces.images import grid_of, open_image, voxels_of
from nidecomp.spaces.volumes import describe_image, stored_volumes
from nidecomp.spaces.voxels import VoxelGeometry

# Every map is held on the group's voxels: as many as this are 0.5 GB at 2 mm.
MAXIMUM_MAPS = 512


@dataclass(frozen=True, eq=False)
class Reference:
    """Named maps on the group's voxels.

    Parameters
    ----------
    names : tuple of str
    maps : ndarray of float32, shape (n_maps, n_features)
        One map for each name, in arbitrary units; 0 where the published image ends.
    """

    names: tuple[str, ...]
    maps: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tissues:
    """How much of each of the group's voxels is what no network should be.

    All three are ndarrays of float32, shape (n_features,), from 0 to 1; what is left is the brain.

    Parameters
    ----------
    csf : ndarray
        The ventricles.
    edge : ndarray
        The brain's outermost millimetres.
    out : ndarray
        Outside of the brain.
    """

    csf: NDArray[np.float32]
    edge: NDArray[np.float32]
    out: NDArray[np.float32]


def shipped_networks(geometry: VoxelGeometry) -> Reference:
    """Give the 14 networks that come with NiDecomp (reference/README.md says whence).

    Parameters
    ----------
    geometry : VoxelGeometry
        In MNI space: nothing in an image says that it is not.

    Returns
    -------
    Reference
        z-values, linearly interpolated from 4 mm.
    """
    with (
        as_file(files("nidecomp.annotation.data") / "networks.nii.gz") as path,
        as_file(files("nidecomp.annotation.data") / "networks.tsv") as table,
    ):
        names = tuple(row["name"] for row in _rows(table))
        return Reference(names, maps_of_file(path, geometry, len(names)))


def tissues(geometry: VoxelGeometry) -> Tissues:
    """Give the tissue masks that come with NiDecomp (reference/README.md says whence).

    Parameters
    ----------
    geometry : VoxelGeometry
        In MNI space: nothing in an image says that it is not.

    Returns
    -------
    Tissues
        Linearly interpolated from 2 mm. What lies beyond the masks' images is outside.
    """
    shares = []
    for name, beyond in (("csf", 0.0), ("edge", 0.0), ("out", 1.0)):
        with as_file(files("nidecomp.annotation.data") / f"{name}.nii.gz") as path:
            image = nib.load(path)
            volume = np.asarray(image.dataobj, dtype=np.float32)
        voxels = _voxels(image.affine, geometry)
        shares.append(map_coordinates(volume, voxels, order=1, cval=beyond))
    return Tissues(*shares)


def label_atlas(path: Path, geometry: VoxelGeometry, option: str = "--label-atlas") -> Reference:
    """Read an atlas that the user has and bring it to the group's voxels.

    Parameters
    ----------
    path : Path
        A 4D NIfTI file, each volume a map (linearly interpolated), or a 3D one that holds labels:
        every whole number above 0 becomes a map of 0 and 1 (nearest neighbour). Names come from
        the table of the same name with ``.tsv`` in place of ``.nii`` or ``.nii.gz``. For labels it
        is BIDS's ``dseg.tsv``, with columns ``index`` and ``name``; for maps it has one row a
        volume, in their order, with a column ``name`` or ``label``. Without a table, names are
        ``map01…`` or ``label01…``.
    geometry : VoxelGeometry
        In the same space as the atlas.
    option : str
        The option that it was given by, for messages.

    Returns
    -------
    Reference

    Raises
    ------
    UsageError
        The file is missing, cannot be read, is neither of the two, holds more than
        `MAXIMUM_MAPS` maps or none, or no voxel of the mask; or its table does not fit.
    """
    try:
        shape = open_image(path).shape
        if len(shape) == 4:
            atlas = _map_atlas(path, geometry, shape[3], option)
        elif len(shape) == 3:
            atlas = _region_atlas(path, geometry, option)
        else:
            raise UsageError(
                f"{option} {path} has {len(shape)} dimensions: give a 4D file of maps or a "
                "3D file of labels."
            )
    except FailedRunError as error:
        raise UsageError(f"{option} {path}: {error}; give a NIfTI file.") from None
    if not atlas.maps.any():
        raise UsageError(
            f"{option} {path} is 0 in every voxel of the brain mask: give one in the space "
            "of the runs."
        )
    return atlas


# ---------------------------------------------------------------- the two kinds of atlas
def _map_atlas(path: Path, geometry: VoxelGeometry, n_maps: int, option: str) -> Reference:
    _check_number(path, n_maps, "maps", option)
    table = _table_of(path)
    names = tuple(f"map{number:02d}" for number in range(1, n_maps + 1))
    if table.exists():
        rows = _rows(table)
        column = "name" if rows and "name" in rows[0] else "label"
        if len(rows) != n_maps or column not in rows[0]:
            raise UsageError(
                f"Table {table} does not fit its atlas: it needs one row for each of the {n_maps} "
                "volumes and a column called name or label."
            )
        names = tuple(row[column] for row in rows)
    return Reference(names, maps_of_file(path, geometry, n_maps))


def _region_atlas(path: Path, geometry: VoxelGeometry, option: str) -> Reference:
    image = open_image(path)
    affine = grid_of(image, path).matrix
    volume = np.nan_to_num(voxels_of(image, path))
    values = np.unique(volume)
    labels = values[values > 0]
    if np.any(labels != np.round(labels)):
        raise UsageError(
            f"{option} {path} is 3D and holds fractions: give whole-number labels, or a 4D "
            "file with one map a volume."
        )
    _check_number(path, len(labels), "labels", option)
    table = _table_of(path)
    names = _label_names(table, labels) if table.exists() else _numbered(labels)
    found = map_coordinates(volume, _voxels(affine, geometry), order=0)
    return Reference(names, np.stack([found == label for label in labels]).astype(np.float32))


def _check_number(path: Path, number: int, what: str, option: str) -> None:
    if not 0 < number <= MAXIMUM_MAPS:
        raise UsageError(
            f"{option} {path} holds {number} {what}: give one with 1 to {MAXIMUM_MAPS} of them."
        )


# ---------------------------------------------------------------- names
def _table_of(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.nii')}.tsv")


def _rows(table: Path) -> list[dict[str, str]]:
    """Read a table; cells that a row lacks are empty."""
    try:
        # Spreadsheets write a byte-order mark, which would be part of the first column's name.
        with table.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"Table {table} cannot be read ({error}): give tab-separated text in UTF-8."
        ) from None


def _numbered(labels: NDArray[np.generic]) -> tuple[str, ...]:
    return tuple(f"label{int(label):02d}" for label in labels)


def _label_names(table: Path, labels: NDArray[np.generic]) -> tuple[str, ...]:
    try:
        names = {float(row["index"]): row["name"] for row in _rows(table)}
    except (KeyError, ValueError):
        raise UsageError(
            f"Table {table} does not fit its atlas: it needs a column index with numbers and a "
            "column name."
        ) from None
    unnamed = [int(label) for label in labels if float(label) not in names]
    if unnamed:
        raise UsageError(
            f"Table {table} does not fit its atlas: it needs a row for label {unnamed[0]}"
            f"{f' and {len(unnamed) - 1} more' if unnamed[1:] else ''}."
        )
    return tuple(names[float(label)] for label in labels)


# ---------------------------------------------------------------- voxels
def _voxels(affine: NDArray[np.floating], geometry: VoxelGeometry) -> NDArray[np.float64]:
    """Give where the features lie in another image, in its voxels, shape (3, n_features)."""
    places = geometry.coordinates(np.arange(geometry.n_features))
    # Rounded as grids are: an edge voxel must not lie outside by a rounding error.
    voxels = nib.affines.apply_affine(np.linalg.inv(affine), places)
    return np.asarray(np.round(voxels, 6).T)


def maps_of_file(path: Path, geometry: VoxelGeometry, n_maps: int) -> NDArray[np.float32]:
    """Interpolate the volumes of a 4D image linearly, one in memory at a time.

    Raises
    ------
    FailedRunError
        The file cannot be read or has another number of volumes.
    """
    image = describe_image(path)
    if image.n_volumes != n_maps:
        raise FailedRunError(f"{path.name} has {image.n_volumes} volumes in place of {n_maps}")
    maps = np.empty((n_maps, geometry.n_features), dtype=np.float32)
    voxels = _voxels(image.grid.matrix, geometry)
    for values, one in zip(_volumes(path), maps, strict=True):
        # Splines of order 1 need no filter; values beyond the image are 0.
        map_coordinates(values, voxels, output=one, order=1)
    return maps


def _volumes(path: Path) -> Iterator[NDArray[np.float32]]:
    image = describe_image(path)
    for stored in stored_volumes(image, np.arange(image.n_volumes)):
        values = stored.T.astype(np.float32) * np.float32(image.slope) + np.float32(image.inter)
        yield np.nan_to_num(values)
