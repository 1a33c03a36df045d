"""Reading images: headers for the checks, masks for the group's mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.image import resample_img
from nilearn.image.resampling import BoundingBoxError
from numpy.typing import NDArray

from nidecomp.errors import FailedRunError
from nidecomp.records import Grid
from nidecomp.signal.stream import grid_of, open_image, told_as_failure, voxels_of

# What NIfTI's xyzt_units say of the fourth dimension, in seconds.
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}


@dataclass(frozen=True)
class Header:
    """What an image's header says.

    `stored_bytes` is the size of one number in the file; the repetition time is None where the
    header says nothing.
    """

    grid: Grid
    n_volumes: int
    stored_bytes: int
    repetition_time_s: float | None


def read_header(path: Path) -> Header:
    """Read the header of a 4D image without its voxels.

    Parameters
    ----------
    path : Path
        A NIfTI file.

    Returns
    -------
    Header

    Raises
    ------
    FailedRunError
        The file cannot be read, is not 4D or has an affine that maps nothing.
    """
    image = open_image(path)
    with told_as_failure(path):
        shape, header = image.shape, image.header
        stored_bytes = int(header.get_data_dtype().itemsize)
        step = float(header["pixdim"][4]) * _SECONDS.get(_unit_of_time(header), np.nan)
    if len(shape) != 4:
        raise FailedRunError(f"{path.name} has {len(shape)} dimensions; a BOLD run has 4")
    return Header(
        grid=grid_of(image, path),
        n_volumes=int(shape[3]),
        stored_bytes=stored_bytes,
        repetition_time_s=step if np.isfinite(step) and step > 0 else None,
    )


def _unit_of_time(header: nib.Nifti1Header) -> str:
    try:
        return str(header.get_xyzt_units()[1])
    except KeyError:  # a number that NIfTI does not know
        return ""


def read_mask(path: Path, grid: Grid | None = None) -> tuple[NDArray[np.bool_], Grid]:
    """Read a brain mask, on its own grid or another.

    Parameters
    ----------
    path : Path
        A 3D image; voxels above 0 are inside.
    grid : Grid, optional
        Where to resample it to (nearest neighbour) if its own differs.

    Returns
    -------
    mask : ndarray of bool
    own_grid : Grid
        The grid that the file has.

    Raises
    ------
    FailedRunError
        The file cannot be read, is damaged or is not 3D.
    """
    image = open_image(path)
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3:
        raise FailedRunError(f"{path.name} has {len(shape)} dimensions; a mask has 3")
    own = grid_of(image, path)
    data = voxels_of(image, path)
    # NaN is not above 0.
    inside = (data[..., 0] if data.ndim > len(shape) else data) > 0
    if grid is None or grid == own:
        return inside, own
    try:
        moved = resample_img(
            nib.Nifti1Image(inside.astype(np.uint8), own.matrix),
            target_affine=grid.matrix,
            target_shape=grid.shape,
            interpolation="nearest",
            copy_header=True,
            force_resample=True,
        )
    except BoundingBoxError:
        # The two grids have no point in common.
        return np.zeros(grid.shape, dtype=bool), own
    return np.asarray(moved.dataobj) > 0, own
