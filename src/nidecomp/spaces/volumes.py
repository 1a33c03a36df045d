"""Reading the volumes of an image one by one, as they are stored in the file.

A run is never whole in memory: its bytes are read and decompressed once, into a buffer of one
volume. Compressed files go through ISA-L, the fastest well-kept decoder of gzip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.text import count
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import (
    grid_of,
    open_image,
    opened,
    read_to_the_end,
    unreadable_file_fails,
)
from nidecomp.spaces.nifti import compressed_parts
from nidecomp.spaces.records import MapKind


@dataclass(frozen=True)
class StoredImage:
    """The layout of a 4D image in its file, and the scaling of its numbers.

    The value of a stored number is ``slope * number + inter``. `dtype` has the file's byte order,
    `offset` counts bytes of the decompressed file. The first spatial axis varies fastest.
    """

    path: Path
    grid: Grid
    n_volumes: int
    dtype: np.dtype[np.generic]
    slope: float
    inter: float
    offset: int


def describe_image(path: Path) -> StoredImage:
    """Return the layout of a 4D image, from its header.

    Parameters
    ----------
    path : Path
        A NIfTI file, gzipped or not.

    Returns
    -------
    StoredImage

    Raises
    ------
    FailedRunError
        The header cannot be read, the image is not 4D or empty, or it does not hold real numbers.
    """
    image = open_image(path)
    with unreadable_file_fails(path):
        proxy = image.dataobj
        dtype, shape = np.dtype(proxy.dtype), image.shape
        slope, inter, offset = float(proxy.slope), float(proxy.inter), int(proxy.offset)
    if len(shape) != 4:
        raise FailedRunError(f"{path.name} has {count(len(shape), 'dimension')}; a BOLD run has 4")
    # The compiled loops support numbers of up to 8 bytes.
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise FailedRunError(
            f"{path.name} stores {dtype.name} in its voxels; a BOLD run has one real number in each"
        )
    return StoredImage(path, grid_of(image, path), int(shape[3]), dtype, slope, inter, offset)


def stored_volumes(image: StoredImage, kept: NDArray[np.intp]) -> Iterator[NDArray[np.generic]]:
    """Yield some volumes of an image, in one pass over its file.

    Parameters
    ----------
    image : StoredImage
    kept : ndarray of int
        The volumes wanted, ascending.

    Yields
    ------
    ndarray, shape grid.shape reversed (the last axis is the image's first)
        Stored numbers in the machine's byte order, before slope and inter. It is a buffer: its
        content changes with the next volume.

    Raises
    ------
    FailedRunError
        The file cannot be read, is cut off or damaged, or it has fewer volumes than are wanted (it
        was replaced since its header was read). All of it is read, dropped volumes too: a
        gzip file's checksum stands at its end, and without it a damaged file would give wrong
        numbers in silence.
    """
    if len(kept) and kept[-1] >= image.n_volumes:
        raise FailedRunError(
            f"{image.path.name} has {count(image.n_volumes, 'volume')} and had more before: run it "
            "again"
        )
    i, j, k = image.grid.shape
    buffer = np.empty(i * j * k * image.dtype.itemsize, dtype=np.uint8)
    native = image.dtype.newbyteorder("=")
    with unreadable_file_fails(image.path), opened(image.path) as file:
        _fill(file, np.empty(image.offset, dtype=np.uint8))
        wanted = set(kept.tolist())
        for index in range(image.n_volumes):
            _fill(file, buffer)
            if index not in wanted:
                continue
            volume = buffer.view(image.dtype)
            if image.dtype != native:
                volume = volume.astype(native)
            yield volume.reshape(k, j, i)
        read_to_the_end(file, image.path, image.n_volumes * buffer.size)


def values_of(image: StoredImage, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
    """Yield some volumes of an image as values, in the order of the file.

    Parameters
    ----------
    image : StoredImage
    kept : ndarray of int
        The volumes wanted, ascending.

    Yields
    ------
    ndarray of float32, shape (n_voxels,)
        After slope and inter, whatever it is: NaN, too.
    """
    for stored in stored_volumes(image, kept):
        yield (stored.reshape(-1).astype(np.float64) * image.slope + image.inter).astype(np.float32)


@dataclass(frozen=True)
class VolumeImage:
    """A 4D image that is read volume by volume, and from which another one can be written.

    Parameters
    ----------
    stored : StoredImage
    """

    stored: StoredImage

    @property
    def n_volumes(self) -> int:
        """The number of volumes."""
        return self.stored.n_volumes

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        """Yield some volumes, as `values_of` does."""
        return values_of(self.stored, kept)

    def encode(
        self, volumes: Iterable[NDArray[np.float32]], hemi: Hemisphere | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of a .nii.gz of float32 with the header of the image and other volumes.

        Parameters
        ----------
        volumes : iterable of ndarray of float32, each (n_voxels,)
            In the file's order.
        hemi
            Unused: one file has all.

        Yields
        ------
        bytes
        """
        header = nib.load(self.stored.path).header.copy()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        yield from compressed_parts(header, volumes)


def _fill(file: BinaryIO, buffer: NDArray[np.uint8]) -> None:
    """Read until the buffer is full.

    Raises
    ------
    EOFError
        The file ends before.
    """
    view = buffer.data
    while view:
        n_read = file.readinto(view)  # type: ignore[attr-defined]  # every opened file has it
        if not n_read:
            raise EOFError
        view = view[n_read:]


def describe_maps_of_volume(path: Path) -> tuple[MapKind, int]:
    """Return what an image contains, by its dimensions: 4D maps, 3D labels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    kind : {"maps", "labels"}
    n_maps : int

    Raises
    ------
    FailedRunError
        The file cannot be read, or has other dimensions.
    """
    shape = open_image(path).shape
    match len(shape):
        case 4:
            return "maps", int(shape[3])
        case 3:
            return "labels", 1
        case n_dimensions:
            raise FailedRunError(
                f"{path.name} has {count(n_dimensions, 'dimension')}; maps have 4 and labels 3"
            )
