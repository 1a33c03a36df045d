"""Interpolating atlases, networks and tissue masks at the features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from nidecomp.core.errors import FailedRunError
from nidecomp.core.text import count
from nidecomp.spaces.images import grid_of, open_image, voxels_of
from nidecomp.spaces.volumes import describe_image, stored_volumes


def maps_at(path: Path, places: NDArray[np.float64], n_maps: int) -> NDArray[np.float32]:
    """Return the volumes of a 4D image, interpolated linearly, one in memory at a time.

    Parameters
    ----------
    path : Path
    places : ndarray, shape (n, 3)
        RAS+ coordinates in mm.
    n_maps : int
        How many volumes there must be.

    Returns
    -------
    ndarray of float32, shape (n_maps, n)
        0 beyond the image.

    Raises
    ------
    FailedRunError
        The file cannot be read or has another number of volumes.
    """
    image = describe_image(path)
    if image.n_volumes != n_maps:
        n_volumes = count(image.n_volumes, "volume")
        raise FailedRunError(f"{path.name} has {n_volumes} in place of {n_maps}")
    maps = np.empty((n_maps, len(places)), dtype=np.float32)
    voxels = _voxels(image.grid.matrix, places)
    for values, one in zip(_volumes(path), maps, strict=True):
        # Splines of order 1 need no filter; values beyond the image are 0.
        map_coordinates(values, voxels, output=one, order=1)
    return maps


def _volumes(path: Path) -> Iterator[NDArray[np.float32]]:
    image = describe_image(path)
    for stored in stored_volumes(image, np.arange(image.n_volumes)):
        values = stored.T.astype(np.float32) * np.float32(image.slope) + np.float32(image.inter)
        yield np.nan_to_num(values)


def share_at(path: Path, places: NDArray[np.float64], beyond: float) -> NDArray[np.float32]:
    """Return a 3D image that NiDecomp ships, interpolated linearly.

    Parameters
    ----------
    path : Path
    places : ndarray, shape (n, 3)
        RAS+ coordinates in mm.
    beyond : float
        The value beyond the image.

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    image = nib.load(path)
    volume = np.asarray(image.dataobj, dtype=np.float32)
    found = map_coordinates(volume, _voxels(image.affine, places), order=1, cval=beyond)
    return np.asarray(found)


def labels_at(
    path: Path, places: NDArray[np.float64]
) -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Return the labels of a 3D image at some coordinates, by nearest neighbour.

    Parameters
    ----------
    path : Path
    places : ndarray, shape (n, 3)
        RAS+ coordinates in mm.

    Returns
    -------
    labels : ndarray, shape (n_labels,)
        All values above 0 that the image holds, ascending.
    here : ndarray, shape (n,)

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    image = open_image(path)
    affine = grid_of(image, path).matrix
    volume = np.nan_to_num(voxels_of(image, path))
    values = np.unique(volume)
    return values[values > 0], map_coordinates(volume, _voxels(affine, places), order=0)


def _voxels(affine: NDArray[np.floating], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates in the voxels of another image, shape (3, n)."""
    # Rounded as grids are, so that no voxel at the edge is outside by a rounding error.
    return np.asarray(np.round(apply_affine(np.linalg.inv(affine), places), 6).T)
