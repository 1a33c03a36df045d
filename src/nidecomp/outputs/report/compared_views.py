"""Pictures of what a comparison found in a map: the statistic, and a line around what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nidecomp.outputs.report.colours import painted_where
from nidecomp.outputs.report.grid import Position
from nidecomp.outputs.report.outlines import outlined
from nidecomp.outputs.report.volume_views import AXES, Stage, glass_brain, mark_left, row, upright

# Pixels of a line are so many times finer along each axis than those of the picture.
_FINER = 3
_GAP = 4


@dataclass(frozen=True, eq=False)
class ComparedPicture:
    """A picture of a test's statistic in one component.

    Parameters
    ----------
    picture : Image
    window : float
        The value that has the last colour.
    peak_mm : tuple of float or None
        Where slices are; None where there are none.
    shows : str
        What the picture shows, as the end of a sentence.
    """

    picture: Image.Image
    window: float
    peak_mm: Position | None
    shows: str


def compared_slices(
    stage: Stage,
    volume: NDArray[np.float32],
    found: NDArray[np.bool_],
    window: float,
    peak_mm: Position,
    px_per_mm: float,
) -> list[Image.Image]:
    """Return a sagittal, a coronal and an axial slice, with a line around what was found.

    Parameters
    ----------
    stage : Stage
    volume : ndarray, shape (n_x, n_y, n_z)
        The statistic.
    found : ndarray of bool, shape (n_x, n_y, n_z)
    window : float
        The value that has the last colour.
    peak_mm : tuple of float
    px_per_mm : float

    Returns
    -------
    list of Image
    """
    at = stage.grid.index_of(peak_mm)
    pictures = []
    for axis, place in zip(AXES.values(), at, strict=True):
        grey, values, kept = (
            upright(np.moveaxis(one, axis, 0)[place]) for one in (stage.grey, volume, found)
        )
        size = _size(values, stage.grid.step_mm * px_per_mm)
        drawn = Image.fromarray(painted_where(grey, values, window, kept))
        drawn = drawn.resize(size, Image.Resampling.BICUBIC)
        pictures.append(outlined(drawn, _enlarged(kept, size), _FINER))
    for one in pictures[1:]:
        mark_left(one, px_per_mm)
    return pictures


def draw_compared(
    stage: Stage,
    volume: NDArray[np.float32],
    found: NDArray[np.bool_],
    window: float,
    peak_mm: Position,
    width: int,
) -> Image.Image:
    """Return slices, and below them a glass brain with what was found alone."""
    extent = sum(stage.grid.shape[AXES[axis]] for axis in "yxx") * stage.grid.step_mm
    px_per_mm = (width - 2 * _GAP) / extent
    upper = row(compared_slices(stage, volume, found, window, peak_mm, px_per_mm), _GAP)
    kept = np.where(found, volume, np.float32(0))
    lower = row(glass_brain(stage, kept, window), 0)
    lower = lower.resize((upper.width, round(lower.height * upper.width / lower.width)))
    joined = Image.new("RGB", (upper.width, upper.height + lower.height + _GAP))
    joined.paste(upper, (0, 0))
    joined.paste(lower, (0, upper.height + _GAP))
    return joined


def _size(plane: NDArray[Any], px_per_pixel: float) -> tuple[int, int]:
    height, width = (round(n * px_per_pixel) for n in plane.shape)
    return width, height


def _enlarged(plane: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region of a slice on finer pixels, with smooth corners."""
    grey = Image.fromarray(np.where(plane, np.uint8(255), np.uint8(0)))
    finer = grey.resize((size[0] * _FINER, size[1] * _FINER), Image.Resampling.BICUBIC)
    return np.asarray(finer) > 127
