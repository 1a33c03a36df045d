"""Reading atlases: networks to compare components with, and tissue masks."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grayordinate_maps import both_files, file_kind

# Every map is held on the group's features: as many as this are 0.5 GB at 2 mm.
MAXIMUM_MAPS = 512


@dataclass(frozen=True, eq=False)
class Reference:
    """Named maps, resampled to the features of the group.

    Parameters
    ----------
    names : tuple of str
    maps : ndarray of float32, shape (n_maps, n_features)
        One map for each name, in arbitrary units; 0 where the published file ends.
    """

    names: tuple[str, ...]
    maps: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tissues:
    """Tissue shares of each feature of the group: tissues in which no network should be.

    All three are ndarrays of float32, shape (n_features,), from 0 to 1; what is left is the brain.

    Parameters
    ----------
    csf : ndarray
        The ventricles.
    edge : ndarray, optional
        The brain's outermost millimetres; None where they say nothing of noise.
    out : ndarray, optional
        Outside of the brain; None as for the edge.
    """

    csf: NDArray[np.float32]
    edge: NDArray[np.float32] | None = None
    out: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Shipped:
    """The files in ``annotation/data`` that fit some spaces; empty where there are none.

    Networks are in one file, or each at other features. Some are not where the features are. Of
    tissues, there are the first of what `Tissues` has.
    """

    networks: tuple[str, ...]
    tissues: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


# The left one of the files of both hemispheres.
_AT_VERTICES, _AT_VOXELS = "networks_hemi-L.func.gii", "networks.nii.gz"
# By `FeatureSpace.references`. Of the structures below the cortex, only the cerebellum has an edge,
# to which a quarter of small places in it belong as much as motion does, and nothing is outside
# (see `noise_flags.CSF_LIMIT`). The cortex has neither.
_SHIPPED: Mapping[str, _Shipped] = {
    "MNI": _Shipped((_AT_VOXELS,), ("csf.nii.gz", "edge.nii.gz", "out.nii.gz")),
    "cortex": _Shipped((_AT_VERTICES,), without=frozenset({"Cerebellum"})),
    "grayordinates": _Shipped((_AT_VERTICES, _AT_VOXELS), ("csf.nii.gz",)),
    "subcortex": _Shipped((_AT_VOXELS,), ("csf.nii.gz",)),
}
# Beyond their images there is neither CSF nor an edge, and everything is outside.
_BEYOND = (0.0, 0.0, 1.0)


def shipped_networks(space: FeatureSpace) -> Reference | None:
    """Return the 14 networks that NiDecomp ships (see annotation/data/README.md).

    Parameters
    ----------
    space : FeatureSpace

    Returns
    -------
    Reference or None
        z-values, linearly interpolated from 4 mm, or from the vertices of fsaverage5; None where
        they are in another space.
    """
    shipped = _SHIPPED.get(space.references or "")
    if shipped is None:
        return None
    data = files("nidecomp.annotation.data")
    with as_file(data / "networks.tsv") as table:
        names = tuple(row["name"] for row in _rows(table))
    maps = np.zeros((len(names), space.n_features), dtype=np.float32)
    for name in shipped.networks:
        with as_file(data / name) as path:
            # Each is 0 at the features of the others.
            maps += space.read_maps(path, len(names))
    here = [index for index, name in enumerate(names) if name not in shipped.without]
    return Reference(tuple(names[index] for index in here), maps[here])


def tissues(space: FeatureSpace) -> Tissues | None:
    """Return the tissue masks that NiDecomp ships (see annotation/data/README.md).

    Parameters
    ----------
    space : FeatureSpace

    Returns
    -------
    Tissues or None
        Linearly interpolated from 2 mm. What lies beyond the masks' images is outside, vertices of
        the cortex are brain. None where they are in another space or there are only vertices.
    """
    shipped = _SHIPPED.get(space.references or "")
    if shipped is None or not shipped.tissues:
        return None
    shares = []
    for name, beyond in zip(shipped.tissues, _BEYOND, strict=False):
        with as_file(files("nidecomp.annotation.data") / name) as path:
            shares.append(space.read_share(path, beyond))
    return Tissues(*shares)


def label_atlas(path: Path, space: FeatureSpace, option: str = "--label-atlas") -> Reference:
    """Return a user's atlas, resampled to the features of the group.

    Parameters
    ----------
    path : Path
        Maps (linearly interpolated), or labels: every whole number above 0 becomes a map of 0 and
        1 (nearest neighbour). For voxels a 4D NIfTI file is one of maps, each volume one, and a 3D
        one of labels. Names come from the table of the same name with ``.tsv``. For labels it
        is BIDS's ``dseg.tsv``, with columns ``index`` and ``name``; for maps it has one row a
        volume, in their order, with a column ``name`` or ``label``. Without a table, names are
        those in the file (CIFTI, GIFTI), or ``map01…`` or ``label01…``.
    space : FeatureSpace
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
        match space.describe_maps(path):
            case ("maps", n_maps):
                atlas = _map_atlas(path, space, n_maps, option)
            case _:
                atlas = _region_atlas(path, space, option)
    except FailedRunError as error:
        raise UsageError(f"{option} {path}: {error}; give {space.atlas_format}.") from None
    if not atlas.maps.any():
        raise UsageError(
            f"{option} {path} is 0 in every {space.measure.feature} of the brain mask: it must be "
            "in the space of the runs."
        )
    return atlas


def files_of_atlas(path: Path) -> tuple[Path, ...]:
    """Return all files that an atlas is read from.

    Parameters
    ----------
    path : Path
        As for `label_atlas`.

    Returns
    -------
    tuple of Path
        Both hemispheres where there are two, and the table of names where there is one.

    Raises
    ------
    FailedRunError
        One of a pair is missing.
    """
    images = both_files(path) if file_kind(path) == "gifti" else (path,)
    table = _table_of(path)
    return (*images, table) if table.is_file() else images


# ---------------------------------------------------------------- the two kinds of atlas
def _map_atlas(path: Path, space: FeatureSpace, n_maps: int, option: str) -> Reference:
    _check_number(path, n_maps, "maps", option)
    table = _table_of(path)
    names = space.map_names(path)
    if len(names) != n_maps or len(set(names)) != n_maps or "" in names:
        # Programs often leave the names empty.
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
    return Reference(names, space.read_maps(path, n_maps))


def _region_atlas(path: Path, space: FeatureSpace, option: str) -> Reference:
    labels, here, in_file = space.read_labels(path)
    if np.any(labels != np.round(labels)):
        raise UsageError(
            f"{option} {path} holds fractions and no labels: give whole numbers, or a file of maps."
        )
    _check_number(path, len(labels), "labels", option)
    table = _table_of(path)
    names = _label_names(table, labels) if table.exists() else _numbered(labels, in_file)
    return Reference(names, np.stack([here == label for label in labels]).astype(np.float32))


def _check_number(path: Path, number: int, what: str, option: str) -> None:
    if not 0 < number <= MAXIMUM_MAPS:
        raise UsageError(
            f"{option} {path} has {number} {what}; between 1 and {MAXIMUM_MAPS} are possible."
        )


# ---------------------------------------------------------------- names
# Of NIfTI, CIFTI and GIFTI: ``.nii.gz``, ``.dlabel.nii``, ``.label.gii``.
_ENDING = re.compile(r"(\.nii\.gz|(\.(label|func|shape))?\.gii|(\.d(scalar|label|tseries))?\.nii)$")


def _table_of(path: Path) -> Path:
    """Return where the table of an atlas is: beside it, for both hemispheres if there is one."""
    stem = _ENDING.sub("", path.name)
    of_both = path.with_name(f"{stem.replace('_hemi-L', '')}.tsv")
    return of_both if of_both.exists() else path.with_name(f"{stem}.tsv")


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; missing cells are empty."""
    try:
        # Spreadsheets write a byte-order mark, which would be part of the first column's name.
        with table.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"Table {table} cannot be read ({error}): give tab-separated text in UTF-8."
        ) from None


def _numbered(labels: NDArray[np.number], in_file: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(in_file.get(int(label)) or f"label{int(label):02d}" for label in labels)


def _label_names(table: Path, labels: NDArray[np.number]) -> tuple[str, ...]:
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
