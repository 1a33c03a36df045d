"""What the viewer shows at a voxel is the map's value there."""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
from PIL import Image

from nidecomp.outputs.report.viewer import make_background, on_grid, take_slices, viewer_library

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE = (5, 6, 7)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def at(mosaic: np.ndarray, x: int, y: int, z: int) -> np.ndarray:
    """Find a voxel as brainsprite does: slices row by row, up upwards."""
    n_columns = mosaic.shape[1] // SHAPE[1]
    row, column = divmod(x, n_columns)
    return mosaic[row * SHAPE[2] + SHAPE[2] - z - 1, column * SHAPE[1] + y]


def test_a_voxel_is_where_the_viewer_looks_for_it() -> None:
    values = np.zeros(SHAPE, dtype=np.float32)
    values[1, 2, 3], values[4, 5, 0] = 2.0, -4.0
    found = take_slices(nib.Nifti1Image(values, AFFINE), is_mni=False)
    assert found.limit == 4.0
    mosaic = pixels(found.webp)
    shown = np.argwhere(mosaic[..., 3] > 0)
    assert len(shown) == 2, "all else is clear"
    red, blue = at(mosaic, 1, 2, 3), at(mosaic, 4, 5, 0)
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_colours_are_read_back_as_values() -> None:
    """The viewer finds a value by the nearest colour of the bar."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=SHAPE).astype(np.float32)
    image = nib.Nifti1Image(values, AFFINE)
    found = take_slices(image, is_mni=False)
    bar = pixels(make_background(image, is_mni=False).colours)[0, :, :3].astype(int)
    mosaic = pixels(found.webp).astype(int)
    for x, y, z in ((0, 0, 0), (2, 3, 4), (4, 5, 6)):
        nearest = np.abs(bar - at(mosaic, x, y, z)[:3]).sum(axis=1).argmin()
        read = (2 * nearest / (len(bar) - 1) - 1) * found.limit
        assert abs(read - values[x, y, z]) < 0.02 * found.limit


def test_an_empty_map_is_clear() -> None:
    values = np.zeros(SHAPE, dtype=np.float32)
    assert not pixels(take_slices(nib.Nifti1Image(values, AFFINE), is_mni=False).webp).any()


def test_maps_and_mask_lie_on_one_grid() -> None:
    values = np.ones((8, 9, 10), dtype=np.float32)
    image = nib.Nifti1Image(values, np.diag([-2.0, 2.0, 2.5, 1.0]))
    stage = make_background(image, is_mni=False)
    assert on_grid(image, is_mni=False, interpolation="nearest").shape == stage.shape
    assert (np.diag(stage.affine) > 0).all(), "RAS+"


def test_the_library_is_there() -> None:
    assert "function brainsprite(" in viewer_library()


def test_a_map_of_which_nothing_is_left_is_no_reason_for_a_warning() -> None:
    """Warnings are errors in tests."""
    empty = nib.Nifti1Image(np.zeros((*SHAPE, 2), dtype=np.float32), AFFINE)
    assert not on_grid(empty, is_mni=False, interpolation="linear").get_fdata().any()
