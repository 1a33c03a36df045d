"""Pictures of one volume: three slices through its peak, and a glass brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nidecomp.outputs.report.colours import Scale, colour_table, is_kept, painted
from nidecomp.outputs.report.grid import Grid
from nidecomp.outputs.report.pictures import Cut
from nidecomp.outputs.report.raster import INK, PAPER, SOFT, shortened, write

AXES = {"x": 0, "y": 1, "z": 2}
_SMALL_PX_PER_MM = 0.6
_LARGE_WIDTH, _BAR_WIDTH, _TITLE_HEIGHT = 900, 84, 34
_LINE = (150, 156, 164)
# Lines are drawn larger and made smaller, which smooths them.
_FINER = 3
_SILHOUETTE = 46
# Name of a view of the glass brain to its axis, the side that is shown, and whether the front or
# the right of the participant is on the left.
_GLASS: Mapping[str, tuple[str, int, bool]] = {
    "left side": ("x", -1, True),
    "from behind": ("y", 0, False),
    "right side": ("x", 1, False),
    "from above": ("z", 0, False),
}


@dataclass(frozen=True, eq=False)
class Stage:
    """What maps are drawn on.

    `grey` is a volume on the grid, `lines` the outlines for each axis; none where there is no
    template.
    """

    grid: Grid
    grey: NDArray[np.uint8]
    lines: Mapping[str, list[list[list[int]]]] = field(default_factory=dict)

    @cached_property
    def outlines(self) -> Mapping[str, Image.Image]:
        """The glass brain of each axis at the size of large pictures: how much a pixel is line."""
        scale = _glass_scale(self.grid)
        return {axis: self._outline(axis, scale) for axis in AXES}

    def _outline(self, axis: str, scale: float) -> Image.Image:
        across, up = (index for name, index in AXES.items() if name != axis)
        size = [round(self.grid.shape[one] * self.grid.step_mm * scale) for one in (across, up)]
        drawn = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
        if axis not in self.lines:
            return drawn.resize(size)
        pen = ImageDraw.Draw(drawn)
        lowest = np.array(self.grid.origin_mm) - self.grid.step_mm / 2
        for line in self.lines[axis]:
            at = (np.array(line) / 10 - lowest[[across, up]]) * scale * _FINER
            at[:, 1] = drawn.height - at[:, 1]
            pen.line([tuple(point) for point in at.tolist()], fill=255, width=_FINER)
        return drawn.resize(size, Image.Resampling.BOX)

    @cached_property
    def silhouettes(self) -> Mapping[str, NDArray[np.uint8]]:
        """The mask seen along each axis, where there are no outlines."""
        return {
            axis: np.where(self.grey.any(axis=index), 0 if self.lines else _SILHOUETTE, 0).astype(
                np.uint8
            )
            for axis, index in AXES.items()
        }


def draw_small(stage: Stage, volume: NDArray[np.float32], scale: Scale, cut: Cut) -> Image.Image:
    """Return three slices side by side, for the gallery."""
    three = slices(stage, volume, scale, cut, _SMALL_PX_PER_MM)
    return row(three, 0)


def draw_large(stage: Stage, volume: NDArray[np.float32], scale: Scale, cut: Cut) -> Image.Image:
    """Return slices, a glass brain and the scale of colours, with titles, for papers."""
    width = _LARGE_WIDTH - _BAR_WIDTH
    of_slices = width / (_extent(stage.grid, "yxx"))
    upper = row(slices(stage, volume, scale, cut, of_slices), 0)
    kept = np.where(is_kept(volume, scale), volume, np.float32(0))
    lower = row(glass_brain(stage, kept, scale.window), 0)
    heights = (_TITLE_HEIGHT, upper.height, 24, lower.height, 26)
    picture = Image.new("RGB", (_LARGE_WIDTH, sum(heights)), PAPER)
    write(picture, (8, 8), shortened(cut.title, 15, _LARGE_WIDTH - 16), size=15)
    picture.paste(upper, (0, _TITLE_HEIGHT))
    top = _TITLE_HEIGHT + upper.height
    told = "x = {:.0f}, y = {:.0f}, z = {:.0f} mm; fainter below the threshold".format(*cut.peak_mm)
    write(picture, (8, top + 5), told, size=12, colour=SOFT)
    picture.paste(lower, (0, top + 24))
    names = "glass brain: largest values along the line of sight, thresholded ("
    told = f"{names}{', '.join(_GLASS)}); L: left"
    write(picture, (8, top + 24 + lower.height + 6), told, size=12, colour=SOFT)
    draw_bar(
        picture, scale, (_LARGE_WIDTH - _BAR_WIDTH + 14, _TITLE_HEIGHT + 24), upper.height - 48
    )
    return picture


def _extent(grid: Grid, axes: str) -> float:
    return sum(grid.shape[AXES[axis]] for axis in axes) * grid.step_mm


def _glass_scale(grid: Grid) -> float:
    """Return the pixels per mm of the glass brain in large pictures."""
    return (_LARGE_WIDTH - _BAR_WIDTH) / _extent(grid, "yxyx")


def slices(
    stage: Stage, volume: NDArray[np.float32], scale: Scale, cut: Cut, px_per_mm: float
) -> list[Image.Image]:
    """Return a sagittal, a coronal and an axial slice through the peak."""
    at = stage.grid.index_of(cut.peak_mm)
    found = []
    for axis, place in zip(AXES.values(), at, strict=True):
        grey, values = (upright(np.moveaxis(one, axis, 0)[place]) for one in (stage.grey, volume))
        found.append(_enlarged(painted(grey, values, scale, is_faint=True), stage.grid, px_per_mm))
    for one in found[1:]:
        mark_left(one, px_per_mm)
    return found


def glass_brain(stage: Stage, kept: NDArray[np.float32], window: float) -> list[Image.Image]:
    """Return the largest values along each line of sight, in four views.

    Parameters
    ----------
    stage : Stage
    kept : ndarray, shape (n_x, n_y, n_z)
        0 where nothing is shown.
    window : float
        The value that has the last colour.

    Returns
    -------
    list of Image
    """
    scale = Scale(window, 0, 0)
    middle = stage.grid.index_of((0, 0, 0))[0]
    px_per_mm = _glass_scale(stage.grid)
    found = []
    for axis, side, is_mirrored in _GLASS.values():
        part = kept if side == 0 else kept[: middle + 1] if side < 0 else kept[middle:]
        values = upright(_projected(part, AXES[axis]))
        ground = upright(stage.silhouettes[axis])
        picture = _enlarged(painted(ground, values, scale, is_faint=False), stage.grid, px_per_mm)
        outline = stage.outlines[axis].resize(picture.size)
        picture.paste(Image.new("RGB", picture.size, _LINE), mask=outline)
        if is_mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if side == 0:
            mark_left(picture, px_per_mm)
        found.append(picture)
    return found


def _projected(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return the value of the largest size along an axis."""
    highest, lowest = values.max(axis=axis), values.min(axis=axis)
    return np.asarray(np.where(highest >= -lowest, highest, lowest))


def upright(plane: NDArray[Any]) -> NDArray[Any]:
    """Turn (across, up) into rows from top to bottom."""
    return plane[:, ::-1].T


def _enlarged(pixels: NDArray[np.uint8], grid: Grid, px_per_mm: float) -> Image.Image:
    height, width = (round(n * grid.step_mm * px_per_mm) for n in pixels.shape[:2])
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def mark_left(picture: Image.Image, px_per_mm: float) -> None:
    """Write where left is, but for pictures that are too small for letters."""
    if px_per_mm > 1:
        write(picture, (6, 4), "L", size=12, colour=_LINE)


def row(pictures: list[Image.Image], gap: int) -> Image.Image:
    """Return pictures side by side on black, standing on one line."""
    height = max(one.height for one in pictures)
    joined = Image.new("RGB", (sum(one.width + gap for one in pictures) - gap, height))
    left = 0
    for one in pictures:
        joined.paste(one, (left, (height - one.height) // 2))
        left += one.width + gap
    return joined


def draw_bar(picture: Image.Image, scale: Scale, place: tuple[int, int], height: int) -> None:
    """Draw the scale of colours with its ends and the limits of the threshold."""
    left, top = place
    colours = colour_table()[::-1][:, None]
    bar = Image.fromarray(colours).resize((14, height), Image.Resampling.NEAREST)
    picture.paste(bar, (left, top))
    pen = ImageDraw.Draw(picture)
    for value in (scale.window, 0.0, -scale.window):
        y = top + (1 - value / scale.window) / 2 * height
        write(picture, (left + 19, y), f"{value:.1f}", size=11, anchor="lm")
    for value in (scale.high, scale.low):
        if 0 < abs(value) < scale.window:
            y = top + (1 - value / scale.window) / 2 * height
            pen.line([(left - 3, y), (left + 16, y)], fill=INK, width=2)
    write(picture, (left - 4, top + height + 8), "in units of", size=10, colour=SOFT)
    write(picture, (left - 4, top + height + 21), "its r.m.s.", size=10, colour=SOFT)
