"""Meshes of the cortex: the geometry of standard spaces, and that in a folder of the user.

Distances and coordinates are those of the midthickness surface of fsaverage5, which nilearn brings.
It is the average of many people, which is smoother than any of them: its own areas are 1.6 times
too small. Areas of vertices are therefore means over people (HCP Pipelines, see data/README.md),
and distances are corrected by them (`geodesic`). Other meshes take coordinates from that one:
fsaverage6 and fsaverage by dividing its triangles, fs_LR through the registered spheres.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.spaces.spheres import barycentric, on_sphere
from nidecomp.spaces.subdivision import coarser, gathered, in_the_middle, subdivide
from nidecomp.spaces.surface_files import (
    FileState,
    GivenSurface,
    given_surface,
    state_of_files,
)

# Of fsaverage3, 4, 5, 6 and fsaverage itself, which is also called fsaverage7.
FSAVERAGE = {"fsaverage3": 642, "fsaverage4": 2562, "fsaverage5": 10242, "fsaverage6": 40962}
FSAVERAGE7 = 163842
FS_LR = {32492: "32k", 59292: "59k"}
# The surfaces of fsaverage are in the space MNI305, fs_LR in MNI152:
# https://surfer.nmr.mgh.harvard.edu/fswiki/CoordinateSystems
MNI152_OF_MNI305 = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0, 0, 0, 1],
    ]
)
# As tools/make_surfaces.py stores numbers.
_SPHERE_STEP, _AREA_STEP = 1 / 300, 1 / 2048
# Coordinates in mm and areas in mm² that differ by less are the same.
_SAME = 1e-3
_SIDE = {"L": "left", "R": "right"}


@dataclass(frozen=True, eq=False)
class Mesh:
    """The surface of one hemisphere.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n_vertices, 3)
        Of the midthickness surface, RAS+ in mm; of fs_LR in MNI152, of fsaverage in MNI305.
    faces : ndarray of int32, shape (n_faces, 3)
        Counter-clockwise seen from outside.
    areas : ndarray of float64, shape (n_vertices,)
        In mm², a mean over people where that is known: more than the triangles have.
    sphere : ndarray of float64, shape (n_vertices, 3)
        Places on a sphere of 100 mm, registered to fsaverage's.
    wall : ndarray of bool, shape (n_vertices,)
        The medial wall, which is no cortex.
    """

    coordinates: NDArray[np.float64]
    faces: NDArray[np.int32]
    areas: NDArray[np.float64]
    sphere: NDArray[np.float64]
    wall: NDArray[np.bool_]

    @property
    def n_vertices(self) -> int:
        """The number of vertices."""
        return len(self.coordinates)

    @cached_property
    def digest(self) -> str:
        """A hash of all that distances and areas follow from.

        It names reduced runs, which the jobs of a cluster share: interpolated coordinates may
        differ in the last digit between processors.
        """
        content = hashlib.sha256(np.ascontiguousarray(self.faces, dtype="<i4").tobytes())
        for array in (self.coordinates, self.areas):
            content.update(np.rint(array / _SAME).astype("<i8").tobytes())
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class PictureMesh:
    """The inflated surface of one hemisphere, on which maps are drawn.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n_vertices, 3)
        RAS+ in mm, around a centre of its own.
    faces : ndarray of int32, shape (n_faces, 3)
        Counter-clockwise seen from outside.
    depth : ndarray of float64, shape (n_vertices,)
        From 0 (top of a gyrus) to 1 (bottom of a sulcus).
    wall : ndarray of bool, shape (n_vertices,)
        The medial wall.
    """

    coordinates: NDArray[np.float64]
    faces: NDArray[np.int32]
    depth: NDArray[np.float64]
    wall: NDArray[np.bool_]


def template_mesh(
    space: str, n_vertices: int, hemi: Hemisphere, surfaces_dir: Path | None = None
) -> Mesh:
    """Return the mesh of one hemisphere in a space.

    Parameters
    ----------
    space : str
        The BIDS label, for example ``fsLR`` or ``fsaverage5``.
    n_vertices : int
        Which of the meshes of that space.
    hemi : {"L", "R"}
    surfaces_dir : Path, optional
        Surfaces of the user (`surface_files.given_surface`), to take the coordinates from. Meshes
        that NiDecomp does not know are taken from there altogether.

    Returns
    -------
    Mesh
        Not to be changed: later calls return the same, unless files of the user were changed.

    Raises
    ------
    FailedRunError
        There is no such mesh, or that of the user is missing or does not fit.
    """
    state = state_of_files(surfaces_dir, space) if surfaces_dir else ()
    return _mesh_of(space, n_vertices, hemi, surfaces_dir, state)


@cache
def _mesh_of(
    space: str,
    n_vertices: int,
    hemi: Hemisphere,
    surfaces_dir: Path | None,
    state: tuple[FileState, ...],
) -> Mesh:
    """Return a mesh, which is made once as long as files are in the same state."""
    del state
    given = given_surface(surfaces_dir, space, n_vertices, hemi) if surfaces_dir else None
    known = _known(space, n_vertices, hemi)
    if given is None and (known is None or surfaces_dir):
        raise FailedRunError(_unknown(space, n_vertices, surfaces_dir))
    if known is None:
        return Mesh(*cast(GivenSurface, given).alone())
    if given is not None:
        coordinates = given.fitting(known.faces)
    else:
        places = _midthickness(hemi)
        if space == "fsLR":
            places = apply_affine(MNI152_OF_MNI305, places)
        coordinates = known.values(places, hemi)
    return Mesh(coordinates, known.faces, known.areas, known.sphere, known.wall)


@cache
def picture_mesh(space: str, n_vertices: int, hemi: Hemisphere) -> PictureMesh:
    """Return the inflated surface of one hemisphere in a space.

    Parameters
    ----------
    space, n_vertices, hemi
        As for `template_mesh`.

    Returns
    -------
    PictureMesh
        Not to be changed: later calls return the same.

    Raises
    ------
    FailedRunError
        NiDecomp has no such mesh.
    """
    known = _known(space, n_vertices, hemi)
    if known is None:
        raise FailedRunError(_unknown(space, n_vertices, None))
    (sulci,) = _of_nilearn("sulc", hemi)
    # Sulcal depth is measured from half way between gyri and sulci, which are 1 apart at most.
    depth = np.clip(0.5 + 0.5 * np.asarray(sulci, dtype=np.float64), 0, 1)
    coordinates = _of_nilearn("infl", hemi)[0].astype(np.float64)
    return PictureMesh(
        known.values(coordinates, hemi), known.faces, known.values(depth, hemi), known.wall
    )


def _unknown(space: str, n_vertices: int, surfaces_dir: Path | None) -> str:
    """Return what is missing, and how it can be given."""
    if FSAVERAGE.get(space, n_vertices) != n_vertices:
        what = f"space-{space} has {FSAVERAGE[space]} vertices in each hemisphere, not {n_vertices}"
    elif surfaces_dir:
        what = f"{surfaces_dir} has no surface with {n_vertices} vertices of space-{space}"
    else:
        what = f"no mesh with {n_vertices} vertices in each hemisphere is known in space-{space}"
    return (
        f"{what}; --surfaces-dir takes a folder with {space}/surf/lh.white, lh.pial and "
        "lh.sphere.reg (FreeSurfer), or with *_hemi-L_*_midthickness.surf.gii and "
        "*_hemi-L_*_sphere.surf.gii, and the same of the right hemisphere"
    )


# ---------------------------------------------------------------- what NiDecomp knows
class _Known(NamedTuple):
    """What is known of a mesh without coordinates: see `Mesh`."""

    faces: NDArray[np.int32]
    areas: NDArray[np.float64]
    sphere: NDArray[np.float64]
    wall: NDArray[np.bool_]

    def values(self, of_fsaverage5: NDArray[np.float64], hemi: Hemisphere) -> NDArray[np.float64]:
        """Return values at these vertices, from values at those of fsaverage5."""
        base = _fsaverage5(hemi)
        weights = barycentric(base.sphere, base.faces, self.sphere)
        # Machines round sums in their own ways, and the digest is to be the same on all.
        return np.asarray(np.round(weights @ of_fsaverage5, 3) + 0.0)


def is_of_freesurfer(space: str, n_vertices: int) -> bool:
    """Return whether a file of fs_LR is on a mesh of FreeSurfer: those of fs_LR have other numbers.

    Such files are small stand-ins for real ones, whose geometry is then that of fsaverage.
    """
    return space == "fsLR" and n_vertices in FSAVERAGE.values()


@cache
def _known(space: str, n_vertices: int, hemi: Hemisphere) -> _Known | None:
    if space == "fsLR" and n_vertices in FS_LR:
        return _fs_lr(FS_LR[n_vertices], hemi)
    if space == "fsLR" and is_of_freesurfer(space, n_vertices):
        return _known("fsaverage", n_vertices, hemi)
    if not space.startswith("fsaverage") or FSAVERAGE.get(space, n_vertices) != n_vertices:
        return None
    if n_vertices < FSAVERAGE["fsaverage5"]:
        return _coarser_fsaverage(n_vertices, hemi)
    return _finer_fsaverage(n_vertices, hemi)


def _fs_lr(density: str, hemi: Hemisphere) -> _Known:
    stored = _shipped(f"fsLR_{density}.npz")
    first, to_second, to_third = stored["faces"]
    first = np.cumsum(first)
    faces = np.stack([first, first + to_second, first + to_third], axis=1).astype(np.int32)
    sphere = on_sphere(stored[f"sphere_{hemi}"] * _SPHERE_STEP)
    return _Known(
        # Vertices of the right hemisphere are mirrored ones of the left.
        faces if hemi == "L" else np.ascontiguousarray(faces[:, ::-1]),
        stored[f"areas_{hemi}"] * _AREA_STEP,
        sphere,
        _bits(stored[f"wall_{hemi}"], len(sphere)),
    )


@cache
def _fsaverage5(hemi: Hemisphere) -> _Known:
    stored = _shipped("fsaverage.npz")
    places, faces = _of_nilearn("sphere", hemi)
    return _Known(
        faces.astype(np.int32),
        stored[f"areas_fsaverage5_{hemi}"] * _AREA_STEP,
        on_sphere(places.astype(np.float64)),
        _bits(stored[f"wall_{hemi}"], len(places)),
    )


def _coarser_fsaverage(n_vertices: int, hemi: Hemisphere) -> _Known | None:
    """Return one of the meshes that have the first vertices of fsaverage5."""
    mesh = _fsaverage5(hemi)
    faces, areas = mesh.faces, mesh.areas
    while len(areas) > n_vertices:
        faces = coarser(faces)
        # A closed mesh has two vertices more than half of its triangles.
        areas = gathered(areas, subdivide(faces, len(faces) // 2 + 2).parents)
    if len(areas) < n_vertices or n_vertices < FSAVERAGE["fsaverage3"]:
        return None
    return _Known(faces, areas, mesh.sphere[:n_vertices], mesh.wall[:n_vertices])


def _finer_fsaverage(n_vertices: int, hemi: Hemisphere) -> _Known | None:
    """Return fsaverage5, or a mesh with vertices in the middles of its edges."""
    mesh = _fsaverage5(hemi)
    while len(mesh.areas) < n_vertices <= FSAVERAGE7:
        faces, parents = subdivide(mesh.faces, len(mesh.areas))
        areas = in_the_middle(mesh.areas, parents) / 4
        if len(areas) == FSAVERAGE["fsaverage6"]:
            areas = _shipped("fsaverage.npz")[f"areas_fsaverage6_{hemi}"] * _AREA_STEP
        sphere = on_sphere(in_the_middle(mesh.sphere, parents))
        wall = in_the_middle(mesh.wall.astype(np.float64), parents) == 1
        mesh = _Known(faces, areas, sphere, wall)
    return mesh if len(mesh.areas) == n_vertices else None


def _bits(packed: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, count=number).astype(np.bool_)


def _shipped(name: str) -> Mapping[str, NDArray[Any]]:
    """Return the arrays of a file that NiDecomp ships (see data/README.md)."""
    with (
        as_file(files("nidecomp.spaces.data") / name) as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


def _midthickness(hemi: Hemisphere) -> NDArray[np.float64]:
    white, pial = (_of_nilearn(kind, hemi)[0] for kind in ("white", "pial"))
    return np.asarray((white.astype(np.float64) + pial) / 2)


def _of_nilearn(kind: str, hemi: Hemisphere) -> list[NDArray[Any]]:
    """Return the arrays of a file of fsaverage5 that nilearn has in its package.

    Its own function for that would import all of nilearn.datasets, which takes seconds.
    """
    name = f"{kind}_{_SIDE[hemi]}.gii.gz"
    with as_file(files("nilearn") / "datasets" / "data" / "fsaverage5" / name) as path:
        return [array.data for array in nib.load(path).darrays]
