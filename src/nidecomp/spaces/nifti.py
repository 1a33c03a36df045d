"""Writing NIfTI images."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import nibabel as nib
import numpy as np
from nibabel.volumeutils import native_code
from numpy.typing import NDArray

from nidecomp.spaces.grid import Grid


def nifti(data: NDArray[np.generic], grid: Grid) -> nib.Nifti1Image:
    """Return a NIfTI image with space codes and units in its header, and no scaling.

    Parameters
    ----------
    data : ndarray, shape grid.shape or grid.shape + (n,)
    grid : Grid

    Returns
    -------
    nibabel.Nifti1Image
    """
    image = nib.Nifti1Image(data, grid.matrix)
    # Code 4: coordinates of a template, such as MNI.
    image.set_sform(grid.matrix, code=4)
    image.set_qform(grid.matrix, code=4)
    # The validator warns about images whose units are unknown.
    image.header.set_xyzt_units("mm", "sec")
    return image


# zlib and not ISA-L, which is used for reading: ISA-L compresses ten times as fast, but its bytes
# differed once in hundreds of runs for the same content. Below level 4, files of sparse maps are
# half as large again.
_LEVEL = 4
# zlib's code for the gzip format with the largest window; the header has no time stamp.
_GZIP = 31
# The header of a NIfTI-1 file without extensions.
_HEADER_BYTES = 352


def compressed(image: nib.Nifti1Image) -> bytes:
    """Return the bytes of a .nii.gz without a time stamp."""
    return zlib.compress(image.to_bytes(), _LEVEL, wbits=_GZIP)


def compressed_parts(
    header: nib.Nifti1Header, volumes: Iterable[NDArray[np.generic]]
) -> Iterator[bytes]:
    """Yield the parts of a .nii.gz, one volume at a time.

    Parameters
    ----------
    header : Nifti1Header or Nifti2Header
        Of the whole image, in any byte order.
    volumes : iterable of ndarray
        Of the header's type in this machine's byte order, as they stand in a file: the image's
        first axis varies fastest.

    Yields
    ------
    bytes
        What comes out so far, perhaps nothing.
    """
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    # A run's may be that of NIfTI-2, which is longer; nibabel would say that it mends the length.
    own = nib.Nifti1Header.from_header(header, check=False).as_byteswapped(native_code)
    own["sizeof_hdr"] = own.sizeof_hdr
    own.set_data_offset(_HEADER_BYTES)
    # Four bytes say that there are no extensions.
    yield compressor.compress(own.binaryblock + bytes(_HEADER_BYTES - own.sizeof_hdr))
    for volume in volumes:
        yield compressor.compress(np.ascontiguousarray(volume).tobytes())
    yield compressor.flush()
