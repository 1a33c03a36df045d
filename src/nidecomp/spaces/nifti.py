"""Writing NIfTI images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import nibabel as nib
import numpy as np
from nibabel.volumeutils import native_code
from numpy.typing import NDArray

from nidecomp.spaces.grid import Grid
from nidecomp.spaces.gzipped import gzipped


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


# The header of a NIfTI-1 file without extensions.
_HEADER_BYTES = 352


def compressed(image: nib.Nifti1Image, n_threads: int = 1) -> bytes:
    """Return the bytes of a .nii.gz without a time stamp, for any number of threads the same."""
    return b"".join(gzipped([image.to_bytes()], n_threads))


def compressed_parts(
    header: nib.Nifti1Header, volumes: Iterable[NDArray[np.generic]], n_threads: int = 1
) -> Iterator[bytes]:
    """Yield the parts of a .nii.gz, of which only a few volumes are in memory.

    Parameters
    ----------
    header : Nifti1Header or Nifti2Header
        Of the whole image, in any byte order.
    volumes : iterable of ndarray
        Of the header's type in this machine's byte order, as they stand in a file: the image's
        first axis varies fastest.
    n_threads : int
        The result does not depend on it.

    Yields
    ------
    bytes
    """
    # A run's may be that of NIfTI-2, which is longer; nibabel would say that it mends the length.
    own = nib.Nifti1Header.from_header(header, check=False).as_byteswapped(native_code)
    own["sizeof_hdr"] = own.sizeof_hdr
    own.set_data_offset(_HEADER_BYTES)
    # Four bytes say that there are no extensions.
    first = own.binaryblock + bytes(_HEADER_BYTES - own.sizeof_hdr)
    stored = (np.ascontiguousarray(volume).tobytes() for volume in volumes)
    yield from gzipped(chain([first], stored), n_threads)
