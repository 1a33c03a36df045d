"""Reading headers, masks and other small images; damaged files cannot take all memory."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip
from isal.igzip_lib import IsalError
from nibabel.affines import apply_affine
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.records import Sampling
from nidecomp.core.text import count, in_one_line
from nidecomp.spaces.grid import Grid

# The size of reads of data that are not needed, such as the end of a file.
_CHUNK = 1 << 20
# Largest amount of data after the last volume (or as much as the volumes): quickly read.
_MOST_PADDING = 1 << 26
# Room for a NIfTI header with extensions.
_HEADER_ROOM = 1 << 20
# More than any image of a brain has (a whole head at 0.4 mm, a day at one volume per second): a
# header with larger numbers is damaged, and trusting it would take all memory.
MAXIMUM_VOXELS = 512**3
MAXIMUM_VOLUMES = 100_000
_FAR_MM = 1e6
# The largest compression ratio of gzip.
_MOST_INFLATED = 1032
# The errors of nibabel and the decoders for broken files, which have no common class.
_BROKEN_FILE: tuple[type[BaseException], ...] = (
    OSError,
    EOFError,
    zlib.error,
    cast(type[Exception], IsalError),
    ImageFileError,
    HeaderDataError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    TypeError,
)


@contextmanager
def unreadable_file_fails(path: Path) -> Iterator[None]:
    """Raise FailedRunError with one sentence for every error of a broken file.

    Parameters
    ----------
    path : Path
        The file that the sentence names.

    Raises
    ------
    FailedRunError
    """
    try:
        yield
    except FileNotFoundError:
        raise FailedRunError(f"{path.name} does not exist (any more)") from None
    except EOFError:
        raise FailedRunError(
            f"{path.name} ends in the middle of its data: it was cut off, copy it again"
        ) from None
    except MemoryError:
        raise FailedRunError(f"{path.name} does not fit into the memory that there is") from None
    except _BROKEN_FILE as error:
        # The message of the system, without the path that it adds.
        text = in_one_line(getattr(error, "strerror", None) or error)
        raise FailedRunError(f"{path.name} cannot be read: {text}") from None


def open_image(path: Path) -> nib.Nifti1Image:
    """Return an image of which only the header was read, checked against the size of the file.

    Parameters
    ----------
    path : Path
        A NIfTI file, gzipped or not.

    Returns
    -------
    nibabel.Nifti1Image
        Of which no voxel has been read.

    Raises
    ------
    FailedRunError
        The header cannot be read, has a dimension without voxels, or says more of its file than
        this can hold.
    """
    with unreadable_file_fails(path):
        # Opened first, because nibabel does not report why it cannot open a file.
        path.open("rb").close()
        image = nib.load(path)
        shape = tuple(int(size) for size in image.shape)
        itemsize = int(np.dtype(image.dataobj.dtype).itemsize)
        n_bytes = int(getattr(image.dataobj, "offset", 0)) + math.prod(shape) * itemsize
        most = path.stat().st_size * (1 if path.suffix == ".nii" else _MOST_INFLATED)
    if min(shape, default=0) < 1:
        raise FailedRunError(
            f"{path.name} has a dimension of {min(shape, default=0)} in its header"
        )
    if math.prod(shape[:3]) > MAXIMUM_VOXELS or math.prod(shape[3:]) > MAXIMUM_VOLUMES:
        raise FailedRunError(
            f"{path.name} has {' × '.join(map(str, shape))} voxels in its header, more than any "
            "image of a brain: it is damaged"
        )
    if n_bytes > most:
        raise FailedRunError(
            f"{path.name} is smaller than the {n_bytes} bytes that its header describes: "
            "it was cut off, copy it again"
        )
    return image


def voxels_of(image: nib.Nifti1Image, path: Path) -> NDArray[Any]:
    """Return all voxels of a small image such as a mask or an atlas.

    Parameters
    ----------
    image : Nifti1Image
        As `open_image` gave it.
    path : Path
        Its file.

    Returns
    -------
    ndarray, of the image's shape

    Raises
    ------
    FailedRunError
        The file cannot be read, is cut off or damaged, or does not hold real numbers. All of it is
        read, as `stored_volumes` does, because nibabel stops before a gzip file's checksum.
    """
    with unreadable_file_fails(path):
        data = np.asarray(image.dataobj)
        if data.dtype.kind not in "biuf":
            raise FailedRunError(f"{path.name} does not hold one real number in each voxel")
        with opened(path) as file:
            read_to_the_end(file, path, _HEADER_ROOM + data.size * data.itemsize)
    return data


def grid_of(image: nib.Nifti1Image, path: Path) -> Grid:
    """Return the voxel grid of an image.

    Raises
    ------
    FailedRunError
    """
    # NIfTI headers store float32: smaller differences are rounding.
    with np.errstate(over="ignore"):
        rounded = np.round(np.asarray(image.affine, dtype=np.float64), 4) + 0.0
    # No voxel is a kilometre from the origin.
    is_near = bool(np.all(np.abs(rounded) < _FAR_MM))
    if not is_near or abs(np.linalg.det(rounded[:3, :3])) < 1e-6:
        raise FailedRunError(f"{path.name} has an invalid affine")
    shape = tuple(int(size) for size in image.shape[:3])
    return Grid(
        shape=(shape[0], shape[1], shape[2]),
        affine=tuple(tuple(float(value) for value in row) for row in rounded),
    )


def opened(path: Path) -> BinaryIO:
    """Open a file; a ``.gz`` is decompressed while it is read."""
    if path.suffix == ".gz":
        return cast(BinaryIO, igzip.IGzipFile(path, "rb"))  # type: ignore[no-untyped-call]
    return path.open("rb", buffering=0)


def read_to_the_end(file: BinaryIO, path: Path, n_before: int) -> None:
    """Read what follows the last volume, which may be padding.

    Raises
    ------
    FailedRunError
        It goes on: a small gzip file can inflate without end.
    """
    n_read = 0
    while part := file.read(_CHUNK):
        n_read += len(part)
        if n_read > max(_MOST_PADDING, n_before):
            raise FailedRunError(
                f"{path.name} continues long after the {n_before} bytes of its volumes: its header "
                "belongs to another image"
            )


# NIfTI's units of time (xyzt_units) in seconds.
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}


@dataclass(frozen=True)
class Header:
    """The content of an image's header.

    `stored_bytes` is the size of one number in the file; the repetition time is None where the
    header says nothing.
    """

    grid: Sampling
    n_volumes: int
    stored_bytes: int
    repetition_time_s: float | None


def read_header(path: Path) -> Header:
    """Return the header of a 4D image.

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
    with unreadable_file_fails(path):
        shape, header = image.shape, image.header
        stored_bytes = int(header.get_data_dtype().itemsize)
        step = float(header["pixdim"][4]) * _SECONDS.get(_unit_of_time(header), np.nan)
    if len(shape) != 4:
        raise FailedRunError(f"{path.name} has {count(len(shape), 'dimension')}; a BOLD run has 4")
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


@dataclass(frozen=True, eq=False)
class BrainMask:
    """A brain mask as its file holds it.

    Parameters
    ----------
    inside : ndarray of bool, shape grid.shape
    grid : Grid
        The grid of the file.
    note : str or None
        What had to be assumed to make a mask of the file's values: "is not binary: …".
    """

    inside: NDArray[np.bool_]
    grid: Grid
    note: str | None = None

    @property
    def n_voxels(self) -> int:
        """The number of voxels inside."""
        return int(np.count_nonzero(self.inside))

    def on(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the mask on a grid, by nearest neighbour if that is not its own.

        Parameters
        ----------
        grid : Grid

        Returns
        -------
        ndarray of bool, shape grid.shape
        """
        if grid.is_same(self.grid):
            return self.inside
        # It takes long, and most datasets have one grid.
        from nilearn.image import resample_img  # noqa: PLC0415
        from nilearn.image.resampling import BoundingBoxError  # noqa: PLC0415

        try:
            moved = resample_img(
                nib.Nifti1Image(self.inside.astype(np.uint8), self.grid.matrix),
                target_affine=grid.matrix,
                target_shape=grid.shape,
                interpolation="nearest",
                copy_header=True,
                force_resample=True,
            )
        except BoundingBoxError:
            # The two grids do not overlap.
            return np.zeros(grid.shape, dtype=bool)
        return np.asarray(moved.dataobj) > 0

    def share_within(self, grid: Grid) -> float:
        """Return the share of the mask that is within the field of view of another image.

        Parameters
        ----------
        grid : Grid
            Of the other image.

        Returns
        -------
        float
            By volume; 0 for an empty mask.
        """
        if not self.inside.any():
            return 0.0
        return grid.share_of(apply_affine(self.grid.matrix, np.argwhere(self.inside)))


def read_mask(path: Path) -> BrainMask:
    """Return the brain mask that an image holds.

    Parameters
    ----------
    path : Path
        A 3D image. Of two values, the greater one is inside; of more, those of at least half of the
        maximum are. A single value is inside if it is above 0. What is not finite counts as 0.

    Returns
    -------
    BrainMask

    Raises
    ------
    FailedRunError
        The file cannot be read, is damaged, is not 3D, or has large negative values.
    """
    image = open_image(path)
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3:
        raise FailedRunError(f"{path.name} has {count(len(shape), 'dimension')}; a mask has 3")
    grid = grid_of(image, path)
    data = voxels_of(image, path)
    inside, note = _inside(data[..., 0] if data.ndim > len(shape) else data, path)
    return BrainMask(inside, grid, note)


def _inside(values: NDArray[Any], path: Path) -> tuple[NDArray[np.bool_], str | None]:
    """Return which voxels a mask's values put inside, and a note if this is an assumption."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = values.min(), values.max()
    # Resampling with a spline leaves faint negative values around a mask.
    if -float(low) > 0.5 * float(high):
        raise FailedRunError(f"{path.name} has negative values, so that it is no mask")
    greatest = values == high
    n_greatest = np.count_nonzero(greatest)
    if low == high:
        return greatest if high > 0 else np.zeros_like(greatest), None
    # Counting is much faster than finding all distinct values.
    if n_greatest + np.count_nonzero(values == low) == values.size:
        return greatest, None
    # A probability, or a mask that was resampled: faint tails are not brain.
    inside = values >= 0.5 * float(high)
    # Rounded, so that runs have the same note.
    tenths = round(10 * np.count_nonzero(inside) / np.count_nonzero(values > 0))
    return inside, (
        "is not binary: voxels of at least half of its maximum are used, "
        f"about {10 * tenths} % of those above 0"
    )
