"""Maps in the format of brainsprite, the viewer of the report: all sagittal slices in one image.

See https://brainsprite.github.io: slices stand row by row, each seen from the left, with the front
to the right and up upwards. Everything is on one grid of 3 mm, so that a map is 10 to 20 KB.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

_VOXEL_MM = 3
_COLOURS = "RdBu_r"
_N_COLOURS = 256


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of one component as a WebP image, transparent where the map is 0.

    `limit` is the value that has the last colour, as its negative has the first.
    """

    webp: bytes
    limit: float


@dataclass(frozen=True, eq=False)
class Background:
    """The background image of the viewer.

    `background` and `colours` are WebP pictures; `shape` is that of the grid, `affine` leads from
    its indices to RAS+ mm.
    """

    background: bytes
    colours: bytes
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]


def viewer_library() -> str:
    """Return brainsprite's script, which nilearn ships; empty where it does not."""
    script = files("nilearn") / "_assets" / "js" / "brainsprite.min.js"
    return script.read_text(encoding="utf-8") if script.is_file() else ""


def on_grid(image: nib.Nifti1Image, *, is_mni: bool, interpolation: str) -> nib.Nifti1Image:
    """Resample an image, 3D or 4D, to the grid of the viewer.

    Parameters
    ----------
    image : Nifti1Image
    is_mni : bool
        Whether to use the grid of nilearn's template; otherwise one around the image.
    interpolation : str
        As nilearn names it.

    Returns
    -------
    Nifti1Image
    """
    from nilearn.image import resample_img, resample_to_img  # noqa: PLC0415  it takes long

    with warnings.catch_warnings():
        # A map may be 0 everywhere after thresholding.
        warnings.filterwarnings("ignore", "Resampling binary images")
        if is_mni:
            return resample_to_img(image, _template(), interpolation=interpolation)
        return resample_img(image, np.eye(3) * _VOXEL_MM, interpolation=interpolation)


def take_slices(image: nib.Nifti1Image, *, is_mni: bool) -> Slices:
    """Return the slices of a map for the viewer.

    Parameters
    ----------
    image : Nifti1Image
        3D; voxels of 0 are clear.
    is_mni : bool
        As for `on_grid`.

    Returns
    -------
    Slices
    """
    from matplotlib import colormaps  # noqa: PLC0415  it takes long

    # No interpolation: the value that is shown at a voxel is one of the map.
    values = on_grid(image, is_mni=is_mni, interpolation="nearest").get_fdata(dtype=np.float32)
    limit = float(np.abs(values).max()) or 1.0
    mosaic = _mosaic(values)
    shown = colormaps[_COLOURS](0.5 + mosaic / (2 * limit), bytes=True)
    shown[mosaic == 0] = 0
    return Slices(_webp(shown), limit)


def make_background(mask: nib.Nifti1Image, *, is_mni: bool) -> Background:
    """Return the background of the viewer: the template, or the mask where there is none.

    Parameters
    ----------
    mask : Nifti1Image
    is_mni : bool

    Returns
    -------
    Background
    """
    from matplotlib import colormaps  # noqa: PLC0415  it takes long

    image = _template() if is_mni else on_grid(mask, is_mni=False, interpolation="nearest")
    values = image.get_fdata(dtype=np.float32)
    grey = np.clip(values / (np.percentile(values, 99.9) or 1) * (1 if is_mni else 0.4), 0, 1)
    line = np.linspace(0, 1, _N_COLOURS)[np.newaxis]
    return Background(
        background=_webp((255 * _mosaic(grey)).astype(np.uint8)),
        colours=_webp(colormaps[_COLOURS](line, bytes=True)),
        shape=image.shape[:3],
        affine=tuple(map(tuple, image.affine.tolist())),
    )


@lru_cache(maxsize=1)
def _template() -> nib.Nifti1Image:
    from nilearn.datasets import load_mni152_template  # noqa: PLC0415  it takes long

    return load_mni152_template(resolution=_VOXEL_MM)


def _mosaic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Arrange the sagittal slices of a volume, (x, y, z), as one image."""
    n_x, n_y, n_z = values.shape
    n_rows = math.ceil(math.sqrt(n_x))
    n_columns = math.ceil(n_x / n_rows)
    padded = np.zeros((n_rows * n_columns, n_y, n_z), dtype=np.float32)
    padded[:n_x] = values[:, :, ::-1]
    grid = padded.reshape(n_rows, n_columns, n_y, n_z).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(grid).reshape(n_rows * n_z, n_columns * n_y)


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    """Return a lossless WebP image: the viewer derives values from colours."""
    from PIL import Image  # noqa: PLC0415  it takes long

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, method=4)
    return file.getvalue()
