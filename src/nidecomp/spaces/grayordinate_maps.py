"""Files of maps and labels at grayordinates: what they contain, and their names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.core.surface_files import kind_of_series
from nidecomp.spaces.brain_models import BrainModels
from nidecomp.spaces.cifti import open_cifti
from nidecomp.spaces.gifti import data_arrays, head_of_side, label_names, read_head
from nidecomp.spaces.grayordinate_series import cortex_of
from nidecomp.spaces.meshes import FSAVERAGE7
from nidecomp.spaces.records import MapKind
from nidecomp.spaces.volumes import describe_maps_of_volume

FileKind = Literal["cifti", "gifti", "volume"]
_CIFTI = re.compile(r"\.[dp](tseries|scalar|label|conn)\.nii$")
# How names say which hemisphere a file is of: BIDS, FreeSurfer, HCP, and others.
_FS_LR = re.compile(r"fs_?LR", re.IGNORECASE)
_SIDES = (("hemi-L", "hemi-R"), ("lh", "rh"), ("L", "R"), ("left", "right"))


class MapFile(NamedTuple):
    """The values of a file of maps or labels, and where they lie.

    Parameters
    ----------
    models : BrainModels
    values : ndarray of float32, shape (n_maps, models.n_numbers)
    labels : dict
        The names of labels, by number; empty where there are none.
    """

    models: BrainModels
    values: NDArray[np.float32]
    labels: dict[int, str]


def file_kind(path: Path) -> FileKind:
    """Return which kind of file maps or labels are in, by its name."""
    if path.name.endswith(".gii"):
        return "gifti"
    return "cifti" if _CIFTI.search(path.name) else "volume"


def describe_maps(path: Path) -> tuple[MapKind, int]:
    """Return what a file contains: see `contract.FeatureSpace.describe_maps`."""
    match file_kind(path):
        case "volume":
            return describe_maps_of_volume(path)
        case "cifti":
            if kind_of_series(path):
                raise FailedRunError(f"{path.name} is the series of a run and holds no maps")
            file = open_cifti(path)
            return ("labels", 1) if file.is_labels else ("maps", file.n_maps)
        case _:
            head = read_head(both_files(path)[0])
            return ("labels", 1) if head.is_labels else ("maps", head.n_arrays)


def map_names(path: Path) -> tuple[str, ...]:
    """Return the names that a file has of its maps; empty without names."""
    match file_kind(path):
        case "volume":
            return ()
        case "cifti":
            return open_cifti(path).names
        case _:
            arrays = data_arrays(both_files(path)[0])
            return tuple(one.metadata.get("Name", "") for one in arrays)


def read_values(path: Path, space: str) -> MapFile:
    """Return the values of a file of maps or labels at grayordinates.

    Parameters
    ----------
    path : Path
        A CIFTI-2 file, or the left one of a pair of GIFTI files.
    space : str
        What BIDS calls the space of the runs, in which the file is unless it says another.

    Returns
    -------
    MapFile

    Raises
    ------
    FailedRunError
        The file cannot be read, has a mesh that may be one of two, or is of the other hemisphere.
    """
    if file_kind(path) == "cifti":
        file = open_cifti(path)
        _check_mesh(path, file.models, space)
        values = np.ascontiguousarray(file.values(slice(None)).T)
        return MapFile(file.models, values, file.label_names if file.is_labels else {})
    files = both_files(path)
    for one, hemi in zip(files, HEMISPHERES, strict=True):
        head_of_side(one, hemi)
    sides = [_arrays(one) for one in files]
    if sides[0].shape != sides[1].shape:
        raise FailedRunError(
            f"{files[0].name} and {files[1].name} have different numbers of maps or vertices"
        )
    models = cortex_of(sides[0].shape[1])
    _check_mesh(path, models, space)
    labels = _told_apart(sides, [label_names(one) for one in files])
    return MapFile(models, np.concatenate(sides, axis=1), labels)


def _check_mesh(path: Path, models: BrainModels, space: str) -> None:
    """Check that a mesh with as many vertices as fsaverage and fs_LR's of 164k is fsaverage's.

    Numbers of vertices tell all other meshes apart.
    """
    if all(one.n_vertices != FSAVERAGE7 for one in models.structures):
        return
    if file_kind(path) == "cifti" or _FS_LR.search(path.name):
        raise FailedRunError(
            f"{path.name} is on the mesh of fs_LR with {FSAVERAGE7} vertices (164k), which "
            "NiDecomp does not have, and the vertices of fsaverage are other ones: take the file "
            "of the 32k mesh"
        )
    if not (space.startswith("fsaverage") or "fsaverage" in path.name):
        raise FailedRunError(
            f"{path.name} has {FSAVERAGE7} vertices, as fsaverage and a mesh of fs_LR (164k) have: "
            "if it is of fsaverage, give it a name with fsaverage; if not, take that of the 32k "
            "mesh"
        )


def _arrays(path: Path) -> NDArray[np.float32]:
    arrays = [one.values for one in data_arrays(path)]
    if not arrays or any(one.ndim != 1 or len(one) != len(arrays[0]) for one in arrays):
        raise FailedRunError(f"{path.name} has no maps with one value for each vertex")
    return np.stack(arrays).astype(np.float32)


def _told_apart(sides: list[NDArray[Any]], names: Sequence[dict[int, str]]) -> dict[int, str]:
    """Return the names of the labels of both hemispheres, giving right ones numbers of their own.

    In some parcellations each hemisphere counts its regions from 1. They have new numbers where
    the files call the same one by different names; otherwise a number is one region of both.
    """
    left, right = ({key: name for key, name in one.items() if key > 0} for one in names)
    if any(left[key] != right[key] for key in left.keys() & right.keys()):
        beyond = max(left)
        sides[1] = np.where(sides[1] > 0, sides[1] + np.float32(beyond), sides[1])
        right = {key + beyond: name for key, name in right.items()}
    return left | right


# ---------------------------------------------------------------- pairs of files
def both_files(path: Path) -> tuple[Path, Path]:
    """Return the files of both hemispheres, of which the left one is given.

    Parameters
    ----------
    path : Path
        Such as ``…_hemi-L_….label.gii``, ``lh.x.label.gii`` or ``x.L.label.gii``.

    Returns
    -------
    left, right : Path

    Raises
    ------
    FailedRunError
        The name says no hemisphere or the right one, or the other file is not there.
    """
    missing = []
    for left, right in _SIDES:
        for other in _replaced(path, left, right):
            if other.exists():
                return path, other
            missing.append(other)
        if any(other.exists() for other in _replaced(path, right, left)):
            raise FailedRunError("it is the right one of a pair, which is named by its left file")
    if missing:
        raise FailedRunError(f"the file of the right hemisphere is missing ({missing[0].name})")
    raise FailedRunError(
        "its name does not say that it is the left one of a pair (hemi-L, lh. or .L.)"
    )


def _replaced(path: Path, old: str, new: str) -> Iterator[Path]:
    """Yield the paths in whose names one of the words that are `old` is replaced."""
    for found in re.finditer(rf"(?<![^._]){old}(?![^._])", path.name):
        yield path.with_name(path.name[: found.start()] + new + path.name[found.end() :])
