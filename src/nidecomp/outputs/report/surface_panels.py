"""Drawing maps of surfaces and grayordinates: the cortex from its sides, voxels below it as slices.

Maps are drawn on a mesh of at most 41,000 vertices for each hemisphere: pictures do not show more.
Where a file has more, each vertex of the mesh shows the file's nearest vertex on the sphere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere
from nidecomp.outputs.report.colours import Scale
from nidecomp.outputs.report.compared_views import (
    ComparedPicture,
    compared_slices,
    draw_compared,
)
from nidecomp.outputs.report.pictures import (
    COMPARED_WIDTH,
    CannotDrawError,
    Cut,
    MapPictures,
    in_steps,
    packed,
    packed_numbers,
    scale_of,
    window_of,
)
from nidecomp.outputs.report.raster import PAPER, SOFT, shortened, write
from nidecomp.outputs.report.surface_views import Hemisurface, Montage, montage
from nidecomp.outputs.report.volume_panels import MANY_MAPS, VoxelPictures
from nidecomp.outputs.report.volume_views import draw_bar, draw_large, draw_small, row, slices
from nidecomp.spaces.brain_models import BrainModels, Structure, cortex_models
from nidecomp.spaces.cifti import open_cifti
from nidecomp.spaces.gifti import read_head, volumes_of
from nidecomp.spaces.meshes import picture_mesh, template_mesh

_VIEWS = ((("lateral", 0), ("lateral", 1)), (("medial", 0), ("medial", 1)))
_SIDES = "on the lateral and medial sides of both hemispheres"
_BLACK = (0, 0, 0)
_SMALL_WIDTH, _LARGE_WIDTH = 160, 430
_BAR_WIDTH, _TITLE_HEIGHT, _LINE_HEIGHT = 110, 40, 26
# The meshes on which maps with more vertices are drawn, and maps of pages that hold many.
_COARSER = {163842: ("fsaverage6", 40962), 59292: ("fsLR", 32492)}
_COARSEST = ("fsaverage5", 10242)
# The page has coordinates in steps of these.
_INFLATED_MM, _ANATOMY_MM = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class _Hemisphere:
    """One hemisphere of the mesh that is drawn, and what its vertices show.

    `numbers` has the place of each vertex among the numbers of a map, -1 where the file has none;
    `is_own` says whether its vertices have the numbers that they have in the file.
    """

    surface: Hemisurface
    anatomy: NDArray[np.float64]
    numbers: NDArray[np.intp]
    is_own: bool

    def values(self, brain_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each vertex shows of a map; 0 where it has nothing."""
        return np.where(self.numbers >= 0, brain_map[self.numbers], np.float32(0))

    def scene(self) -> dict[str, object]:
        """Return the mesh for the page, as JSON."""
        faces = self.surface.faces
        # Triangles begin with their lowest vertex and are sorted, which takes less than half.
        turned = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
        faces = np.take_along_axis(faces, turned, axis=1)
        faces = faces[np.lexsort(faces.T[::-1])]
        return {
            "hemi": self.surface.hemi,
            "n": len(self.numbers),
            "isOwn": self.is_own,
            "faces": packed_numbers(faces.T.ravel().astype(np.uint16)),
            "inflated": _as_json(self.surface.coordinates, _INFLATED_MM),
            "anatomy": _as_json(self.anatomy, _ANATOMY_MM),
            "shades": packed(np.rint(self.surface.shades).astype(np.uint8)),
            "wall": packed(self.surface.wall.astype(np.uint8)),
        }


def _as_json(coordinates: NDArray[np.float64], step: float) -> dict[str, object]:
    """Return coordinates for the page: all x, all y, all z, in steps from the lowest."""
    lowest = np.floor(coordinates.min(axis=0))
    steps = np.rint((coordinates - lowest) / step).astype(np.uint16)
    return {"lowest": lowest.tolist(), "step": step, "values": packed_numbers(steps.T.ravel())}


class SurfacePanels:
    """Draws maps of grayordinates; see `panels.MapPanels` for the methods.

    Parameters
    ----------
    models : BrainModels
        Where the numbers of maps lie.
    space : str
        The BIDS label of the space of vertices.
    n_maps : int
        How many maps the page holds.
    read : callable
        Yields the maps of a file, which must have these brain models.
    """

    def __init__(
        self,
        models: BrainModels,
        space: str,
        n_maps: int,
        read: Callable[[Path], Iterator[NDArray[np.float32]]],
    ) -> None:
        self._read = read
        self._n_numbers = models.n_numbers
        of_cortex = {one.hemi: one for one in models.structures if one.hemi is not None}
        starts = dict(zip((one.name for one in models.structures), models.slices, strict=True))
        self._cortex = tuple(
            _hemisphere(of_cortex[hemi], starts[of_cortex[hemi].name].start, space, n_maps)
            for hemi in HEMISPHERES
            if hemi in of_cortex
        )
        self._voxels = _Voxels(models, n_maps, is_cropped=bool(of_cortex)) if models.grid else None

    def maps(self, path: Path) -> Iterator[NDArray[np.float32]]:
        """Yield the numbers of one map at a time, in the order of the file."""
        for brain_map in self._read(path):
            if brain_map.shape != (self._n_numbers,):
                raise ValueError(f"{path.name} has other grayordinates than the maps before it")
            yield np.nan_to_num(brain_map, posinf=0, neginf=0)

    def sample(self, brain_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values that the page shows: of vertices, then of voxels."""
        voxels = self._voxels
        of_page = [] if voxels is None else [voxels.pictures.of_page(voxels.volume(brain_map))]
        return np.concatenate([self._of_vertices(brain_map), *of_page])

    def pictures(self, brain_map: NDArray[np.float32], cut: Cut) -> MapPictures:
        """Return the sides of both hemispheres, slices below the cortex, and the page's values."""
        shown = self._shown(brain_map, cut)
        return MapPictures(
            self._small(shown),
            *in_steps(self.sample(brain_map)),
            window=shown.scale.window,
            shows=self._words,
        )

    def figure(self, brain_map: NDArray[np.float32], cut: Cut) -> Image.Image:
        """Return the same larger, with the scale of colours."""
        shown = self._shown(brain_map, cut)
        if not self._cortex:
            assert self._voxels is not None  # noqa: S101  for mypy: there is one or the other
            return draw_large(self._voxels.pictures.stage, shown.volume, shown.scale, shown.cut)
        return self._large(shown)

    def compared(self, statistic: NDArray[np.float32], found: NDArray[np.bool_]) -> ComparedPicture:
        """Return the sides of both hemispheres with what was found, and slices below the cortex."""
        vertices = self._of_vertices(statistic)
        kept = self._of_vertices(found.astype(np.float32)) > 0
        if self._voxels is None:
            window = window_of(vertices)
            cortex = self._compared_montage.draw_found(vertices, kept, window, _BLACK)
            return ComparedPicture(cortex, window, None, _SIDES)
        drawn = self._voxels.pictures
        values = drawn.of_picture(self._voxels.volume(statistic))
        inside = drawn.of_picture(self._voxels.volume(found.astype(np.float32))) > 0
        window = window_of(np.concatenate([vertices, values]))
        strongest = np.where(inside, values, np.float32(0)) if inside.any() else values
        peak_mm, volume = drawn.peak_mm(strongest), drawn.filled(values)
        below = (drawn.stage, volume, drawn.filled(inside) > 0, window, peak_mm)
        if not self._cortex:
            shows = "in slices, and what was found alone in a glass brain"
            return ComparedPicture(draw_compared(*below, COMPARED_WIDTH), window, peak_mm, shows)
        cortex = self._compared_montage.draw_found(vertices, kept, window, _BLACK)
        n_x, n_y, _ = drawn.stage.grid.shape
        px_per_mm = cortex.width / ((2 * n_x + n_y) * drawn.stage.grid.step_mm)
        under = row(compared_slices(*below, px_per_mm), 0)
        joined = Image.new("RGB", (cortex.width, cortex.height + under.height))
        joined.paste(cortex, (0, 0))
        joined.paste(under, (0, cortex.height))
        return ComparedPicture(joined, window, peak_mm, f"{_SIDES} and in slices below the cortex")

    def scene(self) -> Mapping[str, object]:
        """Return the meshes, and the grid of voxels with the template."""
        scene = self._voxels.pictures.scene() if self._voxels is not None else {}
        if self._cortex:
            scene["cortex"] = [one.scene() for one in self._cortex]
        return scene

    @property
    def _words(self) -> str:
        """What small pictures show."""
        if not self._cortex:
            return "Slices of {name} through its peak"
        slices_too = " and in slices below the cortex" if self._voxels is not None else ""
        return f"{{name}} {_SIDES}{slices_too}"

    def _of_vertices(self, brain_map: NDArray[np.float32]) -> NDArray[np.float32]:
        none = np.zeros(0, dtype=np.float32)
        return np.concatenate([none, *(one.values(brain_map) for one in self._cortex)])

    def _shown(self, brain_map: NDArray[np.float32], cut: Cut) -> _Shown:
        """Return a map as pictures show it; slices go through the largest value of voxels."""
        vertices = self._of_vertices(brain_map)
        if self._voxels is None:
            nothing = np.zeros((1, 1, 1), dtype=np.float32)
            return _Shown(vertices, nothing, scale_of(vertices, cut), cut)
        drawn = self._voxels.pictures
        voxels = drawn.of_picture(self._voxels.volume(brain_map))
        if self._cortex:
            cut = replace(cut, peak_mm=drawn.peak_mm(voxels))
        scale = scale_of(np.concatenate([vertices, voxels]), cut)
        return _Shown(vertices, drawn.filled(voxels), scale, cut)

    def _small(self, shown: _Shown) -> Image.Image:
        if not self._cortex:
            assert self._voxels is not None  # noqa: S101  for mypy, as above
            return draw_small(self._voxels.pictures.stage, shown.volume, shown.scale, shown.cut)
        cortex = self._small_montage.draw(shown.vertices, shown.scale, _BLACK)
        if self._voxels is None:
            return cortex
        stage = self._voxels.pictures.stage
        _, n_y, n_z = stage.grid.shape
        px_per_mm = cortex.height / ((n_y + n_z) * stage.grid.step_mm)
        _, coronal, axial = slices(stage, shown.volume, shown.scale, shown.cut, px_per_mm)
        column = Image.new("RGB", (axial.width, cortex.height))
        column.paste(coronal, (0, 0))
        column.paste(axial, (0, coronal.height))
        return row([cortex, column], 0)

    def _large(self, shown: _Shown) -> Image.Image:
        cortex = self._large_montage.draw(shown.vertices, shown.scale, PAPER)
        parts = [cortex]
        told = ["cortex, inflated: lateral and medial sides; blue-grey: medial wall"]
        if self._voxels is not None:
            stage = self._voxels.pictures.stage
            n_x, n_y, _ = stage.grid.shape
            px_per_mm = cortex.width / ((2 * n_x + n_y) * stage.grid.step_mm)
            parts.append(row(slices(stage, shown.volume, shown.scale, shown.cut, px_per_mm), 0))
            told.append(
                "below the cortex: x = {:.0f}, y = {:.0f}, z = {:.0f} mm".format(*shown.cut.peak_mm)
            )
        told[-1] += "; fainter below the threshold"
        height = _TITLE_HEIGHT + sum(one.height + _LINE_HEIGHT for one in parts) + 8
        picture = Image.new("RGB", (cortex.width + _BAR_WIDTH, height), PAPER)
        write(picture, (8, 10), shortened(shown.cut.title, 18, picture.width - 16), size=18)
        top = _TITLE_HEIGHT
        for one, words in zip(parts, told, strict=True):
            picture.paste(one, (0, top))
            write(picture, (8, top + one.height + 5), words, size=14, colour=SOFT)
            top += one.height + _LINE_HEIGHT
        for left, words in ((8, "left"), (_LARGE_WIDTH * 2 - 8, "right")):
            anchor = "la" if words == "left" else "ra"
            write(picture, (left, _TITLE_HEIGHT), words, size=14, colour=SOFT, anchor=anchor)
        place = (cortex.width + 22, _TITLE_HEIGHT + 60)
        draw_bar(picture, shown.scale, place, cortex.height - 160)
        return picture

    @cached_property
    def _small_montage(self) -> Montage:
        return self._montage(_SMALL_WIDTH)

    @cached_property
    def _compared_montage(self) -> Montage:
        return self._montage(COMPARED_WIDTH // 2)

    @cached_property
    def _large_montage(self) -> Montage:
        return self._montage(_LARGE_WIDTH)

    def _montage(self, width: int) -> Montage:
        surfaces = [one.surface for one in self._cortex]
        views = [[view for view in line if view[1] < len(surfaces)] for line in _VIEWS]
        return montage(surfaces, views, width)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A map as pictures show it: values of vertices, and a volume of voxels."""

    vertices: NDArray[np.float32]
    volume: NDArray[np.float32]
    scale: Scale
    cut: Cut


class _Voxels:
    """The voxels of maps, and what draws them."""

    def __init__(self, models: BrainModels, n_maps: int, *, is_cropped: bool) -> None:
        assert models.grid is not None  # noqa: S101  for mypy: the caller has looked
        self._numbers = np.flatnonzero(models.of_structures("subcortex"))
        places = np.concatenate([one.places for one in models.structures if one.hemi is None])
        shape = models.grid.shape
        inside = np.zeros(shape, dtype=np.bool_)
        inside[tuple(places.T)] = True
        x, y, z = places.astype(np.intp).T
        self._at = x + shape[0] * (y + shape[1] * z)
        self._n_voxels = int(np.prod(shape))
        affine = models.grid.matrix
        # The voxels of fs_LR's grayordinates are those of MNI152NLin6Asym.
        self.pictures = VoxelPictures(
            inside, affine, is_mni=True, n_maps=n_maps, is_cropped=is_cropped
        )

    def volume(self, brain_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the voxels of a map as a volume, flat, with x fastest."""
        volume = np.zeros(self._n_voxels, dtype=np.float32)
        volume[self._at] = brain_map[self._numbers]
        return volume


def _hemisphere(structure: Structure, start: int, space: str, n_maps: int) -> _Hemisphere:
    """Return what is drawn of a hemisphere, of which the first number of a map is `start`."""
    hemi, n_vertices = structure.hemi, structure.n_vertices
    assert hemi is not None  # noqa: S101  for mypy: it has vertices
    assert n_vertices is not None  # noqa: S101  as above
    drawn = _COARSER.get(n_vertices, (space, n_vertices))
    if n_maps > MANY_MAPS and n_vertices > _COARSEST[1]:
        drawn = _COARSEST
    try:
        mesh = picture_mesh(*drawn, hemi)
    except FailedRunError:
        raise CannotDrawError(
            f"there is no inflated surface of space-{space} with {n_vertices} vertices to draw on"
        ) from None
    surface = Hemisurface(hemi, mesh.coordinates, mesh.faces, mesh.depth, mesh.wall)
    nearest = _nearest((space, n_vertices), drawn, hemi)
    numbers = np.full(n_vertices, -1, dtype=np.intp)
    numbers[structure.places] = start + np.arange(len(structure.places))
    is_own = bool((nearest == np.arange(len(nearest))).all())
    return _Hemisphere(surface, template_mesh(*drawn, hemi).coordinates, numbers[nearest], is_own)


def _nearest(own: tuple[str, int], drawn: tuple[str, int], hemi: Hemisphere) -> NDArray[np.intp]:
    """Return the vertex of a mesh that is nearest to each of another, on the sphere."""
    if own == drawn:
        return np.arange(drawn[1])
    tree = KDTree(template_mesh(*own, hemi).sphere)
    return np.asarray(tree.query(template_mesh(*drawn, hemi).sphere)[1], dtype=np.intp)


# ---------------------------------------------------------------- files
def cifti_panels(maps: Path, n_maps: int) -> SurfacePanels:
    """Return what draws the maps of dense scalar files.

    Parameters
    ----------
    maps : Path
    n_maps : int
        How many maps the page holds.

    Returns
    -------
    SurfacePanels
    """
    return SurfacePanels(open_cifti(maps).models, _space_of(maps), n_maps, _maps_of_cifti)


def gifti_panels(maps: Path, n_maps: int) -> SurfacePanels:
    """Return what draws the maps of pairs of GIFTI files.

    Parameters
    ----------
    maps : Path
        The left file.
    n_maps : int
        How many maps the page holds.

    Returns
    -------
    SurfacePanels
    """
    models = cortex_models(read_head(maps).n_vertices)
    return SurfacePanels(models, _space_of(maps), n_maps, _maps_of_gifti)


def _space_of(maps: Path) -> str:
    """Return the label of the space in a file's name."""
    return maps.name.partition("_")[0].removeprefix("tpl-")


def _maps_of_cifti(path: Path) -> Iterator[NDArray[np.float32]]:
    yield from open_cifti(path).values(slice(None)).T


def _maps_of_gifti(path: Path) -> Iterator[NDArray[np.float32]]:
    # What is yielded is written over.
    yield from (one.copy() for one in volumes_of(path, read_head(path).n_vertices))
