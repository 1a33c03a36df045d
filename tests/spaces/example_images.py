"""Small images to read: their places, their masks, and every way to store their numbers."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from nidecomp.spaces.grid import Grid

SHAPE = (9, 10, 8)
N_VOLUMES = 5
ALL = np.arange(N_VOLUMES)
AFFINE = np.array([[3.0, 0, 0, -12], [0, 3, 0, -15], [0, 0, 4, -9], [0, 0, 0, 1]])
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = (*INTEGERS, "float32", "float64")
SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=30, derandomize=True, database=None)


def grid_at(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Grid:
    return Grid(shape, tuple(tuple(float(value) for value in row) for row in affine))


def ball(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Make a mask that keeps clear of the image's border."""
    places = np.indices(shape).T - (np.array(shape) - 1) / 2
    return (np.sum((places / (np.array(shape) / 2 - 1)) ** 2, axis=-1) <= 1).T


def turned_affine(rng: np.random.Generator) -> np.ndarray:
    """Draw an affine with any turn, any flip and unequal voxel sizes.

    Its entries have four decimals, as `Grid` keeps them: nilearn sees the same voxel sizes.
    """
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.7, 6, 3) * rng.choice([-1, 1], 3)
    affine[:3, 3] = rng.uniform(-90, 90, 3)
    return np.round(affine, 4)


def intensities(seed: int = 0, low: int = 20, high: int = 120) -> np.ndarray:
    """Draw whole numbers that every type holds."""
    drawn = np.random.default_rng(seed).integers(low, high, (*SHAPE, N_VOLUMES))
    return drawn.astype(np.float64)


def save(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray = AFFINE,
    *,
    dtype: str = "float32",
    endian: str = "<",
    slope: float | None = None,
    inter: float = 0.0,
    version: int = 1,
    extension: int = 0,
) -> Path:
    """Store numbers as they are: slope and intercept say what they mean, and scale nothing."""
    header_type = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    image_type = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    stored = np.dtype(dtype).newbyteorder(endian)
    header = header_type(endianness=endian)
    header.set_data_dtype(stored)
    header.set_xyzt_units("mm", "sec")
    # int64 is named, or nibabel warns of it.
    image = image_type(data.astype(stored), affine, header, dtype=stored)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    image.header["pixdim"][4] = 2.0
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * extension))
    nib.save(image, path)
    written = nib.load(path)
    assert written.get_data_dtype() == stored
    assert (int(written.dataobj.offset) > 352) == (extension > 0 or version == 2)
    return path
