"""Reading images: headers for the checks, masks for the group's mask, series for the map step."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nilearn.image import resample_img, smooth_img
from nilearn.image.resampling import BoundingBoxError
from numpy.typing import NDArray

from nidecomp.errors import FailedRunError
from nidecomp.records import Grid
from nidecomp.signal.geometry import VoxelGeometry

# What NIfTI's xyzt_units say of the fourth dimension, in seconds.
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}
_CHUNK = 1 << 20
# What nibabel raises for files and headers that make no sense; it has no one class for them.
_BROKEN_FILE = (
    OSError,
    EOFError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    TypeError,
)


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


@contextmanager
def _told_as_failure(path: Path) -> Iterator[None]:
    """Turn what a broken file raises into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise FailedRunError(f"{path.name} is not there (any more)") from None
    except EOFError:
        raise FailedRunError(
            f"{path.name} ends in the middle of its data: it was cut off, copy it again"
        ) from None
    except _BROKEN_FILE as error:
        text = " ".join(str(error).split())
        raise FailedRunError(f"{path.name} cannot be read: {text}") from None


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
    with _told_as_failure(path):
        image = nib.load(path)
        shape, header = image.shape, image.header
        stored_bytes = int(header.get_data_dtype().itemsize)
        step = float(header["pixdim"][4]) * _SECONDS.get(header.get_xyzt_units()[1], np.nan)
    if len(shape) != 4:
        raise FailedRunError(f"{path.name} has {len(shape)} dimensions; a BOLD run has 4")
    if min(shape) < 1:
        raise FailedRunError(f"{path.name} has a dimension of {min(shape)} in its header")
    return Header(
        grid=grid_of(image, path),
        n_volumes=int(shape[3]),
        stored_bytes=stored_bytes,
        repetition_time_s=step if np.isfinite(step) and step > 0 else None,
    )


def grid_of(image: nib.Nifti1Image, path: Path) -> Grid:
    """Take an image's voxel grid, refusing an affine that cannot be one.

    Raises
    ------
    FailedRunError
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise FailedRunError(f"{path.name} has an affine that maps its voxels nowhere")
    shape = tuple(int(size) for size in image.shape[:3])
    # float32 is what a NIfTI header holds: finer differences come from how it was computed.
    rounded = np.round(affine, 4) + 0.0
    return Grid(
        shape=(shape[0], shape[1], shape[2]),
        affine=tuple(tuple(float(value) for value in row) for row in rounded),
    )


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
        The file cannot be read or is not 3D.
    """
    with _told_as_failure(path):
        image = nib.load(path)
        own = grid_of(image, path)
        data = np.asarray(image.dataobj)
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise FailedRunError(f"{path.name} has {data.ndim} dimensions; a mask has 3")
    inside = np.nan_to_num(data) > 0
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


def read_series(
    path: Path, geometry: VoxelGeometry, kept: NDArray[np.intp], smoothing_fwhm: float
) -> tuple[NDArray[np.float32], int]:
    """Read the kept volumes of one run, smooth them and take the features.

    Each step is nilearn's own, in the order of its maskers: values that are not finite become 0,
    then the volume is resampled (where its grid is another one), smoothed and masked.

    Parameters
    ----------
    path : Path
        The run's 4D image.
    geometry : VoxelGeometry
        What to take.
    kept : ndarray of int, shape (n_kept,)
        The volumes to take.
    smoothing_fwhm : float
        Full width at half maximum of the Gaussian in mm; 0 for none.

    Returns
    -------
    series : ndarray of float32, shape (n_kept, n_features)
    n_nonfinite : int
        How many voxels were NaN or infinite in at least one volume: of the mask's, or of the
        whole image where that is on another grid.

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    with _told_as_failure(path):
        data, grid = _read_whole(path)
    series = np.empty((len(kept), geometry.n_features), dtype=np.float32)
    nonfinite = np.zeros(grid.shape, dtype=bool)
    for row, volume_index in enumerate(kept):
        volume = data[..., volume_index]
        bad = ~np.isfinite(volume)
        if bad.any():
            nonfinite |= bad
            volume = np.where(bad, np.float32(0), volume)
        series[row] = geometry.features(
            _on_grid(volume, grid, geometry.grid, smoothing_fwhm).astype(np.float32, copy=False)
        )
    if grid == geometry.grid:
        nonfinite &= geometry.mask
    return series, int(np.count_nonzero(nonfinite))


def _read_whole(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read all numbers of an image, and the file to its end.

    A gzip file's checksum stands behind its data, where nibabel alone never looks: without it a
    damaged file gives wrong numbers in silence.
    """
    kind = type(nib.load(path))
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        image = kind.from_stream(stream)
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
        while stream.read(_CHUNK):
            pass
    return data, grid_of(image, path)


def _on_grid(
    volume: NDArray[np.float32], grid: Grid, target: Grid, smoothing_fwhm: float
) -> NDArray[np.float32]:
    """Resample and smooth one volume as nilearn's maskers do."""
    if grid == target and smoothing_fwhm == 0:
        return volume
    image = nib.Nifti1Image(volume, grid.matrix)
    if grid != target:
        image = resample_img(
            image,
            target_affine=target.matrix,
            target_shape=target.shape,
            interpolation="continuous",
            copy_header=True,
            force_resample=True,
        )
    if smoothing_fwhm > 0:
        image = smooth_img(image, smoothing_fwhm)
    return np.asarray(image.dataobj, dtype=np.float32)
