"""Surfaces in a folder of the user: FreeSurfer's, or GIFTI such as TemplateFlow's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nibabel as nib
import numpy as np
from nibabel import freesurfer
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.text import in_one_line
from nidecomp.spaces.spheres import on_sphere

# A surface of 164k vertices has 6 MB.
_LARGEST_FILE = 200 * 2**20
Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class GivenSurface:
    """A midthickness surface in files of the user.

    Parameters
    ----------
    path : Path
        The file that it is from, for messages.
    coordinates : ndarray of float64, shape (n_vertices, 3)
    faces : ndarray of int32, shape (n_faces, 3)
    sphere : ndarray of float64, shape (n_vertices, 3), or None
        On a sphere of 100 mm, registered to fsaverage's.
    wall : ndarray of bool, shape (n_vertices,)
        The medial wall; nothing, where no file says it.
    """

    path: Path
    coordinates: NDArray[np.float64]
    faces: NDArray[np.int32]
    sphere: NDArray[np.float64] | None
    wall: NDArray[np.bool_]

    def fitting(self, faces: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the coordinates, of a mesh that has these triangles in any order.

        Raises
        ------
        FailedRunError
            It has others.
        """
        if not np.array_equal(_in_order(self.faces), _in_order(faces)):
            raise FailedRunError(
                f"the triangles of {self.path} are not those of the space: give the mesh on which "
                "the runs were sampled"
            )
        return self.coordinates

    def alone(self) -> Parts:
        """Return all that a mesh is made of; areas are those of this surface.

        Raises
        ------
        FailedRunError
            It has no sphere.
        """
        if self.sphere is None:
            raise FailedRunError(
                f"beside {self.path} there is no sphere that is registered to fsaverage "
                "(lh.sphere.reg, or *_hemi-L_*_sphere.surf.gii) and has as many vertices"
            )
        areas = vertex_areas(self.coordinates, self.faces)
        return Parts(self.coordinates, self.faces, areas, self.sphere, self.wall)


class FileState(NamedTuple):
    """What changes when a file is changed."""

    path: Path
    size: int
    time_ns: int


class Parts(NamedTuple):
    """What a `Mesh` is made of."""

    coordinates: NDArray[np.float64]
    faces: NDArray[np.int32]
    areas: NDArray[np.float64]
    sphere: NDArray[np.float64]
    wall: NDArray[np.bool_]


def vertex_areas(coordinates: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the area of each vertex: a third of the triangles around it.

    Parameters
    ----------
    coordinates : ndarray, shape (n_vertices, 3)
    faces : ndarray of int32, shape (n_faces, 3)

    Returns
    -------
    ndarray of float64, shape (n_vertices,)
    """
    a, b, c = (coordinates[corner] for corner in faces.T)
    normals = np.cross(b - a, c - a)
    thirds = np.sqrt(np.einsum("ij,ij->i", normals, normals)) / 6
    sizes = np.bincount(faces.ravel(), np.repeat(thirds, 3), minlength=len(coordinates))
    return np.asarray(sizes, dtype=np.float64)


def given_surface(
    folder: Path, space: str, n_vertices: int, hemi: Hemisphere
) -> GivenSurface | None:
    """Return the midthickness surface of one hemisphere in a space, from a folder.

    Parameters
    ----------
    folder : Path
        FreeSurfer's SUBJECTS_DIR with a folder of the space's name, or a folder with GIFTI files
        whose names have ``hemi-`` and end in ``midthickness.surf.gii``. Those with another space
        (``tpl-``, ``space-``) or number of vertices are passed over.
    space : str
        The BIDS label.
    n_vertices : int
    hemi : {"L", "R"}

    Returns
    -------
    GivenSurface or None
        None: nothing in the folder is of this space.

    Raises
    ------
    FailedRunError
        A file cannot be read, its number of vertices does not fit, or several files do; it is of
        the other hemisphere; or a vertex has no area.
    """
    if (folder / space / "surf").is_dir():
        found: GivenSurface | None = _of_freesurfer(folder / space, n_vertices, hemi)
    else:
        found = _of_gifti(folder, space, n_vertices, hemi)
    if found is not None:
        _check_side(found, hemi)
        _check_areas(found)
    return found


def state_of_files(folder: Path, space: str) -> tuple[FileState, ...]:
    """Return the state of all files that a surface may be made of.

    Parameters
    ----------
    folder : Path
        As for `given_surface`.
    space : str

    Returns
    -------
    tuple of FileState
    """
    patterns = ("*.gii", f"{space}/surf/[lr]h.*", f"{space}/label/[lr]h.cortex.label")
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    states = [(path, path.stat()) for path in found if path.is_file()]
    return tuple(FileState(path, one.st_size, one.st_mtime_ns) for path, one in states)


def _check_side(surface: GivenSurface, hemi: Hemisphere) -> None:
    """Check that a surface lies on the side of its hemisphere."""
    name, middle_mm = {"L": "left", "R": "right"}[hemi], surface.coordinates[:, 0].mean()
    if (middle_mm > 0 and hemi == "L") or (middle_mm < 0 and hemi == "R"):
        raise FailedRunError(
            f"{surface.path} should be the {name} hemisphere, and lies on the other side (x is "
            f"{middle_mm:.1f} mm in the mean): it may have been mixed up with the other hemisphere"
        )


def _check_areas(surface: GivenSurface) -> None:
    """Check that all vertices have an area, by which smoothing weights and distances divide."""
    n_empty = np.count_nonzero(vertex_areas(surface.coordinates, surface.faces) == 0)
    if n_empty:
        raise FailedRunError(
            f"{surface.path} has vertices without an area ({n_empty} of {len(surface.wall)}): they "
            "are in no triangle, or where all their neighbours are; give the whole surface"
        )


# ---------------------------------------------------------------- FreeSurfer
def _of_freesurfer(subject: Path, n_vertices: int, hemi: Hemisphere) -> GivenSurface:
    side = {"L": "lh", "R": "rh"}[hemi]
    path = subject / "surf" / f"{side}.white"
    white, faces = _read(_freesurfer_surface, path, n_vertices)
    pial, _ = _read(_freesurfer_surface, path.with_name(f"{side}.pial"), n_vertices)
    sphere = path.with_name(f"{side}.sphere.reg")
    label = subject / "label" / f"{side}.cortex.label"
    return GivenSurface(
        path,
        (white + pial) / 2,
        faces,
        on_sphere(_read(_freesurfer_surface, sphere, n_vertices)[0]) if sphere.exists() else None,
        ~_read(_cortex, label, n_vertices) if label.exists() else np.zeros(n_vertices, np.bool_),
    )


def _freesurfer_surface(
    path: Path, n_vertices: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    with warnings.catch_warnings():
        # Surfaces of templates often do not say where their volume was.
        warnings.simplefilter("ignore")
        coordinates, faces, volume = freesurfer.read_geometry(path, read_metadata=True)
    # Coordinates are around the centre of that volume.
    places = np.asarray(coordinates, dtype=np.float64) + volume.get("cras", np.zeros(3))
    return _checked(places, faces, path, n_vertices)


def _cortex(path: Path, n_vertices: int) -> NDArray[np.bool_]:
    inside = np.zeros(n_vertices, dtype=np.bool_)
    inside[freesurfer.read_label(path)] = True
    return inside


# ---------------------------------------------------------------- GIFTI
def _of_gifti(folder: Path, space: str, n_vertices: int, hemi: Hemisphere) -> GivenSurface | None:
    found = _gifti_files(folder, space, hemi, "midthickness", n_vertices)
    if not found:
        return None
    if found[1:]:
        raise FailedRunError(
            f"{folder} has several surfaces of space-{space} with {n_vertices} vertices "
            f"({found[0].name}, {found[1].name}): leave the one to use"
        )
    coordinates, faces = _read(_gifti_surface, found[0], n_vertices)
    spheres = _gifti_files(folder, space, hemi, "sphere", n_vertices)
    # TemplateFlow has those that are registered to each other's spaces.
    registered = [path for path in spheres if "space-fsaverage" in path.name.split("_")] or spheres
    sphere = _read(_gifti_surface, registered[0], n_vertices)[0] if registered else None
    return GivenSurface(
        found[0],
        coordinates,
        faces,
        None if sphere is None else on_sphere(sphere),
        _gifti_wall(folder, space, n_vertices, hemi),
    )


def _gifti_files(
    folder: Path, space: str, hemi: Hemisphere, kind: str, n_vertices: int
) -> list[Path]:
    """Return the surfaces of one kind whose names do not say another space, and which fit."""
    return [
        path
        for path in sorted(folder.glob(f"*hemi-{hemi}_*{kind}.surf.gii"))
        if _is_of(path, space) and _n_vertices(path) == n_vertices
    ]


def _gifti_wall(folder: Path, space: str, n_vertices: int, hemi: Hemisphere) -> NDArray[np.bool_]:
    """Return the medial wall, which TemplateFlow gives by labels of all the rest."""
    for path in sorted(folder.glob(f"*hemi-{hemi}_*desc-nomedialwall_*.label.gii")):
        labels = _read(_gifti_labels, path, n_vertices)
        if _is_of(path, space) and len(labels) == n_vertices:
            return np.asarray(labels == 0)
    return np.zeros(n_vertices, dtype=np.bool_)


def _gifti_labels(path: Path, _: int) -> NDArray[Any]:
    return np.asarray(nib.load(path).darrays[0].data)


def _is_of(path: Path, space: str) -> bool:
    """Return whether the mesh of a file may be of a space, by its name."""
    entities = dict(part.split("-", 1) for part in path.name.split("_") if "-" in part)
    # A template's own file says by space- where its coordinates are.
    template = entities.get("tpl", entities.get("space", space))
    # TemplateFlow tells fsaverage5 from fsaverage by the density.
    return template == space or (template == "fsaverage" and space.startswith("fsaverage"))


def _n_vertices(path: Path) -> int:
    return len(_read(_gifti_arrays, path, 0)[0])


def _gifti_surface(path: Path, n_vertices: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    coordinates, faces = _gifti_arrays(path, n_vertices)
    return _checked(coordinates, faces, path, n_vertices)


def _gifti_arrays(path: Path, _: int) -> tuple[NDArray[Any], NDArray[Any]]:
    image = nib.load(path)
    (coordinates,) = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    (faces,) = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
    return coordinates.data, faces.data


# ---------------------------------------------------------------- both
def _read(function: Callable[[Path, int], Read], path: Path, n_vertices: int) -> Read:
    """Return what a function reads from a file, or say that it cannot."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"it has more than {_LARGEST_FILE // 2**20} MB")
        return function(path, n_vertices)
    except FailedRunError:
        raise
    # Libraries raise anything for damaged files.
    except Exception as error:
        raise FailedRunError(
            f"the surface {path} cannot be read ({in_one_line(error) or type(error).__name__})"
        ) from None


def _checked(
    coordinates: NDArray[Any], faces: NDArray[Any], path: Path, n_vertices: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    if len(coordinates) != n_vertices:
        raise FailedRunError(
            f"{path} has {len(coordinates)} vertices, and the runs have "
            f"{n_vertices} in each hemisphere: give the mesh on which they were sampled"
        )
    places = np.asarray(coordinates, dtype=np.float64)
    triangles = np.asarray(faces, dtype=np.int32)
    if places.shape[1:] != (3,) or triangles.shape[1:] != (3,):
        raise ValueError("it has no triangles in three dimensions")
    if not np.isfinite(places).all() or triangles.min() < 0 or triangles.max() >= n_vertices:
        raise ValueError("its triangles have corners that are not there")
    return places, triangles


def _in_order(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return triangles as sets: their corners sorted, and they among themselves."""
    corners = np.sort(faces, axis=1)
    return np.asarray(corners[np.lexsort(corners.T)])
