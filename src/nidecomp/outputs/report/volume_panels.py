"""Drawing NIfTI images: slices and a glass brain, as arrays on one coarse grid."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from nidecomp.outputs.report.colours import Scale
from nidecomp.outputs.report.compared_views import ComparedPicture, draw_compared
from nidecomp.outputs.report.grid import Grid, Position, box_of, grid_around, nearest_voxels
from nidecomp.outputs.report.pictures import (
    COMPARED_WIDTH,
    Cut,
    MapPictures,
    in_steps,
    packed,
    scale_of,
    window_of,
)
from nidecomp.outputs.report.volume_views import Stage, draw_large, draw_small

Number = TypeVar("Number", np.float32, np.bool_)
# Voxels of the pictures, and of the page: 3 mm, or 4 mm where there are many maps, of which each
# takes about 60 or 25 KB. Larger voxels of the maps themselves are shown as they are.
_PICTURE_MM, _PAGE_MM, _PAGE_MM_OF_MANY, MANY_MAPS = 2.0, 3.0, 4.0, 120
_DATA = files("nidecomp.outputs.report") / "data"
# How bright the template is beside structures, where pictures show these alone.
_OUTSIDE = 0.5
# Without a template, the mask is shown in this shade.
_GREY = 70


@dataclass(frozen=True, eq=False)
class _Sampled:
    """A grid, its voxels within the mask, and where these lie in the images of maps."""

    grid: Grid
    inside: NDArray[np.intp]
    of_image: NDArray[np.intp]

    def volume(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values within the mask as a volume, (x, y, z)."""
        volume = np.zeros(int(np.prod(self.grid.shape)), dtype=np.float32)
        volume[self.inside] = values
        return volume.reshape(self.grid.shape, order="F")


@dataclass(frozen=True, eq=False)
class _Template:
    """The template's anatomy in shades of grey."""

    values: NDArray[np.uint8]
    affine: NDArray[np.float64]

    @property
    def grid(self) -> Grid:
        x, y, z = self.affine[:3, 3].tolist()
        n_x, n_y, n_z = self.values.shape
        return Grid((x, y, z), _PICTURE_MM, (n_x, n_y, n_z))


class VoxelPictures:
    """Draws values of voxels on the template's anatomy.

    Parameters
    ----------
    inside : ndarray of bool, shape (n_x, n_y, n_z)
        The voxels that are shown.
    affine : ndarray, shape (4, 4)
    is_mni : bool
        Whether the template's anatomy and glass brain fit; without them maps stand on these voxels.
    n_maps : int
        How many maps the page holds.
    is_cropped : bool
        Whether pictures show the box around the voxels only, without a glass brain.
    """

    def __init__(
        self,
        inside: NDArray[np.bool_],
        affine: NDArray[np.float64],
        *,
        is_mni: bool,
        n_maps: int,
        is_cropped: bool = False,
    ) -> None:
        self._affine, self._shape, self._is_cropped = affine, inside.shape, is_cropped
        self._template = _read_template() if is_mni else None
        boxes = [box_of(inside, affine)]
        if self._template is not None and not is_cropped:
            boxes.append(box_of(self._template.values > 0, self._template.affine))
        own_mm = float(np.linalg.norm(affine[:3, :3], axis=0).min())
        page_mm = _PAGE_MM if n_maps <= MANY_MAPS else _PAGE_MM_OF_MANY
        # The template between large voxels is seen where it is most of the picture.
        picture_mm = _PICTURE_MM if is_cropped else max(_PICTURE_MM, own_mm)
        self._fine = self._sampled(boxes, picture_mm, inside)
        self._coarse = self._sampled(boxes, max(page_mm, own_mm), inside)

    def of_page(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values of the page's voxels, from a volume that is flat with x fastest."""
        return volume[self._coarse.of_image]

    def of_picture(self, volume: NDArray[Number]) -> NDArray[Number]:
        """Return the values of the voxels of pictures, from a volume as above."""
        return volume[self._fine.of_image]

    def filled(self, of_picture: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values of the voxels of pictures as a volume, (x, y, z)."""
        return self._fine.volume(of_picture)

    def peak_mm(self, of_picture: NDArray[np.float32]) -> Position:
        """Return the place of the largest value of pictures; the origin where there are none."""
        if not of_picture.any():
            return (0.0, 0.0, 0.0)
        grid = self._fine.grid
        index = np.unravel_index(
            self._fine.inside[np.abs(of_picture).argmax()], grid.shape, order="F"
        )
        x, y, z = (np.array(grid.origin_mm) + grid.step_mm * np.array(index)).tolist()
        return x, y, z

    def scene(self) -> dict[str, object]:
        """Return the grid, the mask, and the template with its outlines, as JSON."""
        inside = np.zeros(int(np.prod(self._coarse.grid.shape)), dtype=np.uint8)
        inside[self._coarse.inside] = 1
        scene: dict[str, object] = {"grid": _as_json(self._coarse.grid), "inside": packed(inside)}
        if self._template is not None:
            values = packed(self._template.values.ravel(order="F"))
            scene["template"] = _as_json(self._template.grid) | {"values": values}
            if self._is_cropped:
                scene["outside"] = _OUTSIDE
            else:
                scene["lines"] = _read_lines()
        return scene

    @cached_property
    def stage(self) -> Stage:
        """What all maps are drawn on."""
        grid = self._fine.grid
        grey = np.zeros(int(np.prod(grid.shape)), dtype=np.uint8)
        if self._template is None:
            grey[self._fine.inside] = _GREY
        else:
            values = self._template.values
            of_grid, of_template = nearest_voxels(grid, self._template.affine, values.shape)
            grey[of_grid] = values.ravel(order="F")[of_template]
            if self._is_cropped:
                # The template goes on beyond the structures that maps have.
                outside = np.ones(len(grey), dtype=np.bool_)
                outside[self._fine.inside] = False
                grey[outside] = grey[outside] * _OUTSIDE
        lines = _read_lines() if self._template is not None else {}
        return Stage(grid, grey.reshape(grid.shape, order="F"), lines)

    def _sampled(
        self, boxes: list[NDArray[np.float64]], step_mm: float, inside: NDArray[np.bool_]
    ) -> _Sampled:
        x, y, z = self._affine[:3, 3].tolist()
        grid = grid_around(boxes, step_mm, (x, y, z))
        of_grid, of_image = nearest_voxels(grid, self._affine, self._shape)
        is_in = inside.ravel(order="F")[of_image]
        return _Sampled(grid, of_grid[is_in], of_image[is_in])


class VolumePanels:
    """Draws volumes; see `panels.MapPanels` for the methods.

    Parameters
    ----------
    mask : Path
        The group mask; or maps, of which the whole image is then shown.
    is_mni : bool
        Whether the template's anatomy and glass brain fit; without them maps stand on their mask.
    n_maps : int
        How many maps the page holds.
    """

    def __init__(self, mask: Path, is_mni: bool, n_maps: int) -> None:
        image = nib.load(mask)
        self._shape = image.shape[:3]
        is_mask = image.ndim == len(self._shape)
        inside = np.asarray(image.dataobj) > 0 if is_mask else np.ones(self._shape, dtype=bool)
        self._voxels = VoxelPictures(inside, np.asarray(image.affine), is_mni=is_mni, n_maps=n_maps)

    def maps(self, path: Path) -> Iterator[NDArray[np.float32]]:
        """Yield one volume at a time, flat, with x fastest."""
        image = nib.load(path, mmap=False, keep_file_open=True)
        if image.shape[:3] != self._shape:
            raise ValueError(f"{path.name} is on another grid than the group mask")
        for index in range(image.shape[3]):
            volume = np.asarray(image.dataobj[..., index], dtype=np.float32)
            yield np.nan_to_num(volume.ravel(order="F"), posinf=0, neginf=0)

    def sample(self, brain_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values of the page's voxels."""
        return self._voxels.of_page(brain_map)

    def pictures(self, brain_map: NDArray[np.float32], cut: Cut) -> MapPictures:
        """Return slices at the peak, and the values on the page's grid."""
        volume, scale = self._shown(brain_map, cut)
        small = draw_small(self._voxels.stage, volume, scale, cut)
        return MapPictures(small, *in_steps(self.sample(brain_map)), window=scale.window)

    def figure(self, brain_map: NDArray[np.float32], cut: Cut) -> Image:
        """Return slices at the peak with a glass brain and the scale of colours."""
        return draw_large(self._voxels.stage, *self._shown(brain_map, cut), cut)

    def _shown(self, brain_map: NDArray[np.float32], cut: Cut) -> tuple[NDArray[np.float32], Scale]:
        """Return a map as pictures show it, and how its values become colours."""
        values = self._voxels.of_picture(brain_map)
        return self._voxels.filled(values), scale_of(values, cut)

    def compared(self, statistic: NDArray[np.float32], found: NDArray[np.bool_]) -> ComparedPicture:
        """Return slices through the largest value that was found, and a glass brain."""
        voxels = self._voxels
        values, kept = voxels.of_picture(statistic), voxels.of_picture(found)
        window, peak_mm = window_of(values), voxels.peak_mm(np.where(kept, values, np.float32(0)))
        volume, inside = voxels.filled(values), voxels.filled(kept) > 0
        picture = draw_compared(voxels.stage, volume, inside, window, peak_mm, COMPARED_WIDTH)
        shows = "in slices, and what was found alone in a glass brain"
        return ComparedPicture(picture, window, peak_mm, shows)

    def scene(self) -> Mapping[str, object]:
        """Return the grid, the mask, and the template with its outlines."""
        return self._voxels.scene()


def _as_json(grid: Grid) -> dict[str, object]:
    return {"origin": grid.origin_mm, "step": grid.step_mm, "shape": grid.shape}


def _read_template() -> _Template:
    with as_file(_DATA / "mni152.nii.gz") as path:
        image = nib.load(path)
        return _Template(np.asarray(image.dataobj), image.affine)


def _read_lines() -> Mapping[str, list[list[list[int]]]]:
    """Return the outlines of the glass brain, as lines in tenths of a millimetre for each view."""
    lines: dict[str, list[list[list[int]]]] = json.loads(
        (_DATA / "glass_brain.json").read_text(encoding="utf-8")
    )
    return lines
