"""Values at grayordinates from files of another mesh or grid.

The spheres of standard meshes are registered to each other, and voxels have coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.spaces.brain_models import BrainModels, Structure
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.meshes import FS_LR, Mesh, template_mesh
from nidecomp.spaces.spheres import barycentric, nearest

# Weights below this are rounding errors.
_LEAST_WEIGHT = 1e-6


def values_at(
    own: BrainModels,
    mesh_of: Callable[[Structure], Mesh],
    models: BrainModels,
    values: NDArray[np.float32],
    *,
    is_labels: bool,
) -> NDArray[np.float32]:
    """Return values of a file at other grayordinates.

    Parameters
    ----------
    own : BrainModels
        Where values are wanted.
    mesh_of : callable
        The mesh of one of these structures, with vertices.
    models : BrainModels
        Where the values lie. A structure with another number of vertices is of fs_LR or fsaverage,
        which the number tells.
    values : ndarray of float32, shape (n_maps, models.n_numbers)
        Those that are not finite are missing.
    is_labels : bool
        Take the nearest value, and interpolate linearly otherwise.

    Returns
    -------
    ndarray of float32, shape (n_maps, own.n_numbers)
        0 where the file has nothing.

    Raises
    ------
    FailedRunError
        The mesh of the file is unknown.
    """
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    if own.digest == models.digest:
        return np.nan_to_num(values)
    found = np.zeros((len(values), own.n_numbers), dtype=np.float32)
    theirs = {
        one.name: (one, part) for one, part in zip(models.structures, models.slices, strict=True)
    }
    for one, part in zip(own.structures, own.slices, strict=True):
        if one.n_vertices is not None and one.name in theirs:
            other, of_other = theirs[one.name]
            if other.n_vertices is not None:
                mesh = mesh_of(one)
                found[:, part] = _at_vertices(
                    one, mesh, other, values[:, of_other], is_labels=is_labels
                )
    if own.has_voxels and models.has_voxels:
        _fill_voxels(found, own, models, values, is_labels=is_labels)
    return found


# ---------------------------------------------------------------- vertices
def _at_vertices(
    one: Structure,
    mesh: Mesh,
    other: Structure,
    values: NDArray[np.float32],
    *,
    is_labels: bool,
) -> NDArray[np.float32]:
    n_vertices = cast(int, other.n_vertices)
    whole = np.full((len(values), n_vertices), np.nan, dtype=np.float32)
    whole[:, other.places] = values
    if n_vertices == one.n_vertices:
        return np.nan_to_num(whole[:, one.places])
    source = template_mesh(
        "fsLR" if n_vertices in FS_LR else "fsaverage", n_vertices, cast(Hemisphere, one.hemi)
    )
    places = mesh.sphere[one.places]
    if is_labels:
        return np.nan_to_num(whole[:, nearest(source.sphere, places)])
    return _weighted(barycentric(source.sphere, source.faces, places).__matmul__, whole)


def _weighted(
    interpolated: Callable[[NDArray[np.float32]], NDArray[np.floating]],
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return interpolated maps, to which values that are missing contribute nothing."""
    is_there = np.isfinite(values)
    maps = np.stack([interpolated(one) for one in np.nan_to_num(values)])
    weights = np.stack([interpolated(one) for one in is_there.astype(np.float32)])
    known = weights > _LEAST_WEIGHT
    return np.divide(maps, weights, out=np.zeros_like(maps), where=known).astype(np.float32)


# ---------------------------------------------------------------- voxels
def _fill_voxels(
    found: NDArray[np.float32],
    own: BrainModels,
    models: BrainModels,
    values: NDArray[np.float32],
    *,
    is_labels: bool,
) -> None:
    """Write the values at voxels, wherever the file has them in its grid."""
    if own.grid is None or models.grid is None:
        raise FailedRunError("its voxels have no grid")
    features, places = voxels_of(own)
    of_file, voxels = _voxels_in(models)
    whole = np.full((len(values), *models.grid.shape), np.nan, dtype=np.float32)
    whole[(slice(None), *voxels.T)] = values[:, of_file]
    at = np.round(apply_affine(np.linalg.inv(models.grid.matrix), places), 6).T

    def interpolated(volume: NDArray[np.float32]) -> NDArray[np.float32]:
        flat = volume.reshape(cast(Grid, models.grid).shape)
        return np.asarray(map_coordinates(flat, at, order=0 if is_labels else 1))

    found[:, features] = _weighted(interpolated, whole.reshape(len(values), -1))


def voxels_of(models: BrainModels) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which grayordinates are voxels, and their centres in mm, (n_voxels, 3)."""
    which, voxels = _voxels_in(models)
    if models.grid is None:
        return which, np.empty((0, 3))
    return which, np.asarray(apply_affine(models.grid.matrix, voxels), dtype=np.float64)


def _voxels_in(models: BrainModels) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    of_voxels = [
        (np.arange(part.start, part.stop), one.places)
        for one, part in zip(models.structures, models.slices, strict=True)
        if one.n_vertices is None
    ]
    if not of_voxels:
        return np.empty(0, dtype=np.intp), np.empty((0, 3), dtype=np.intp)
    which, voxels = zip(*of_voxels, strict=True)
    return np.concatenate(which), np.concatenate(voxels)
