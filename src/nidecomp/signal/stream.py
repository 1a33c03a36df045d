"""The numbers of an image, volume by volume, as they lie in the file.

A run is never whole in memory: its bytes are read and decompressed once, into a buffer of one
volume. Compressed files go through ISA-L, the fastest well-kept decoder of gzip.
"""

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
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from nidecomp.errors import FailedRunError
from nidecomp.records import Grid
from nidecomp.small_files import in_one_line

# What is read at once of what is not needed: dropped volumes, the end of the file.
_CHUNK = 1 << 20
# What may follow the last volume, or as much as the volumes themselves: reading it takes no time.
_MOST_PADDING = 1 << 26
# A NIfTI header with extensions.
_HEADER_ROOM = 1 << 20
# Beyond all images and runs of brains (a whole head at 0.4 mm, a day at a volume a second): a
# header that says more is damaged, and believing it would take all memory.
MAXIMUM_VOXELS = 512**3
MAXIMUM_VOLUMES = 100_000
_FAR_MM = 1e6
# A byte of a gzip file cannot become more than this many.
_MOST_INFLATED = 1032
# What nibabel and the decoders raise for files that make no sense; there is no one class for them.
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


@dataclass(frozen=True)
class StoredImage:
    """Where the numbers of a 4D image lie in its file, and how they become values.

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


@contextmanager
def told_as_failure(path: Path) -> Iterator[None]:
    """Turn what a broken file raises into one sentence.

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
        raise FailedRunError(f"{path.name} is not there (any more)") from None
    except EOFError:
        raise FailedRunError(
            f"{path.name} ends in the middle of its data: it was cut off, copy it again"
        ) from None
    except MemoryError:
        raise FailedRunError(f"{path.name} does not fit into the memory that there is") from None
    except _BROKEN_FILE as error:
        # The system's own words without the path that it adds.
        text = in_one_line(getattr(error, "strerror", None) or error)
        raise FailedRunError(f"{path.name} cannot be read: {text}") from None


def open_image(path: Path) -> nib.Nifti1Image:
    """Read an image's header, refusing one that its file cannot stand for.

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
    with told_as_failure(path):
        # nibabel does not say why it cannot open a file.
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
            f"{path.name} is too small a file for the {n_bytes} bytes that its header speaks of: "
            "it was cut off, copy it again"
        )
    return image


def voxels_of(image: nib.Nifti1Image, path: Path) -> NDArray[Any]:
    """Read all voxels of a small image: a mask, an atlas.

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
    with told_as_failure(path):
        data = np.asarray(image.dataobj)
        if data.dtype.kind not in "biuf":
            raise FailedRunError(f"{path.name} does not hold one real number in each voxel")
        with _opened(path) as file:
            _read_to_the_end(file, path, _HEADER_ROOM + data.size * data.itemsize)
    return data


def grid_of(image: nib.Nifti1Image, path: Path) -> Grid:
    """Take an image's voxel grid, refusing an affine that cannot be one.

    Raises
    ------
    FailedRunError
    """
    # float32 is what a NIfTI header holds: finer differences come from how it was computed.
    with np.errstate(over="ignore"):
        rounded = np.round(np.asarray(image.affine, dtype=np.float64), 4) + 0.0
    # Nothing in a scanner is a kilometre away.
    is_near = bool(np.all(np.abs(rounded) < _FAR_MM))
    if not is_near or abs(np.linalg.det(rounded[:3, :3])) < 1e-6:
        raise FailedRunError(f"{path.name} has an affine that maps its voxels nowhere")
    shape = tuple(int(size) for size in image.shape[:3])
    return Grid(
        shape=(shape[0], shape[1], shape[2]),
        affine=tuple(tuple(float(value) for value in row) for row in rounded),
    )


def describe_image(path: Path) -> StoredImage:
    """Find out where and how a 4D image stores its numbers, from its header.

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
    with told_as_failure(path):
        proxy = image.dataobj
        dtype, shape = np.dtype(proxy.dtype), image.shape
        slope, inter, offset = float(proxy.slope), float(proxy.inter), int(proxy.offset)
    if len(shape) != 4:
        raise FailedRunError(f"{path.name} has {len(shape)} dimensions; a BOLD run has 4")
    # Beyond 8 bytes: the compiled loops know no such numbers.
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise FailedRunError(
            f"{path.name} stores {dtype.name} in its voxels; a BOLD run has one real number in each"
        )
    return StoredImage(path, grid_of(image, path), int(shape[3]), dtype, slope, inter, offset)


def stored_volumes(image: StoredImage, kept: NDArray[np.intp]) -> Iterator[NDArray[np.generic]]:
    """Read some volumes of an image in one pass over its file.

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
            f"{image.path.name} has {image.n_volumes} volumes and had more before: start again"
        )
    i, j, k = image.grid.shape
    buffer = np.empty(i * j * k * image.dtype.itemsize, dtype=np.uint8)
    native = image.dtype.newbyteorder("=")
    with told_as_failure(image.path), _opened(image.path) as file:
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
        _read_to_the_end(file, image.path, image.n_volumes * buffer.size)


def values_of(image: StoredImage, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
    """Read some volumes of an image as values, in the file's order.

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


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, igzip.IGzipFile(path, "rb"))  # type: ignore[no-untyped-call]
    return path.open("rb", buffering=0)


def _read_to_the_end(file: BinaryIO, path: Path, n_before: int) -> None:
    """Read what follows the last volume: nothing, or some padding.

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
                f"{path.name} goes on long after the {n_before} bytes of its volumes: its header "
                "belongs to another image"
            )


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
