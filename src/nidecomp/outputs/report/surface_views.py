"""Views of the cortex: which vertices each pixel shows is worked out once, each map is a lookup.

Surfaces are drawn as triangles that the viewer sees head-on, from far away (an orthographic
projection with a depth buffer), on pixels that are finer than those of the picture: their mean
smooths edges and the borders of thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nidecomp.core.hemispheres import Hemisphere
from nidecomp.outputs.report.colours import Scale, painted, painted_where
from nidecomp.outputs.report.outlines import outlined
from nidecomp.outputs.report.raster import Colour

# Pixels are so many times finer along each axis before they are averaged.
_FINER = 2
# Shades of the crowns of gyri and of the depth of sulci, and the colour of the medial wall.
GYRUS, SULCUS, WALL = 188, 112, (116, 128, 150)
# A sulcus begins at this depth, and is as dark as it gets at that one.
SULCUS_FROM, SULCUS_TO = 0.38, 0.62
# The light comes from the viewer, and a little from above; what faces away from it keeps a share.
_LIGHT, AMBIENT = (0.0, 0.28, 1.0), 0.5
# A hemisphere of 170 mm is as wide as its view; between views and at the edge there is a gap.
_GAP = 0.03


@dataclass(frozen=True, eq=False)
class Hemisurface:
    """What one hemisphere is drawn on.

    Parameters
    ----------
    hemi : {"L", "R"}
    coordinates : ndarray of float, shape (n_vertices, 3)
        Of the inflated surface, RAS+.
    faces : ndarray of int, shape (n_faces, 3)
        Counter-clockwise seen from outside.
    depth : ndarray of float, shape (n_vertices,)
        0 on the crowns of gyri, 1 in the depth of sulci.
    wall : ndarray of bool, shape (n_vertices,)
        The medial wall, which is not cortex.
    """

    hemi: Hemisphere
    coordinates: NDArray[np.float64]
    faces: NDArray[np.int32]
    depth: NDArray[np.float64]
    wall: NDArray[np.bool_]

    @property
    def shades(self) -> NDArray[np.float32]:
        """The brightness of each vertex without light: that of gyri and sulci, with a soft edge."""
        share = np.clip((self.depth - SULCUS_FROM) / (SULCUS_TO - SULCUS_FROM), 0, 1)
        smooth = share * share * (3 - 2 * share)
        return np.asarray(GYRUS + (SULCUS - GYRUS) * smooth, dtype=np.float32)

    @property
    def normals(self) -> NDArray[np.float64]:
        """The direction that each vertex faces: the mean of its triangles, weighted by area."""
        corners = self.coordinates[self.faces]
        of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        n = len(self.coordinates)
        total = np.stack(
            [
                sum(np.bincount(self.faces[:, i], of_faces[:, axis], n) for i in range(3))
                for axis in range(3)
            ],
            axis=1,
        )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.asarray(total / np.where(length > 0, length, 1))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the pixels of one view show: the places of pixels, and triangles with weights."""

    places: NDArray[np.intp]
    corners: NDArray[np.intp]
    weights: NDArray[np.float32]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Montage:
    """Views of both hemispheres in one picture.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the picture in pixels.
    places : ndarray of int, shape (n_seen,)
        The fine pixels that show the brain.
    corners : ndarray of int, shape (n_seen, 3)
        The vertices of the triangle that each shows; those of the right come after the left ones.
    weights : ndarray of float32, shape (n_seen, 3)
        How much each counts.
    ground : ndarray of float32, shape (n_seen, 3)
        The colour without a map and without light.
    light : ndarray of float32, shape (n_seen, 1)
    """

    shape: tuple[int, int]
    places: NDArray[np.intp]
    corners: NDArray[np.intp]
    weights: NDArray[np.float32]
    ground: NDArray[np.float32]
    light: NDArray[np.float32]

    def draw(self, values: NDArray[np.float32], scale: Scale, paper: Colour) -> Image.Image:
        """Return the picture of a map.

        Parameters
        ----------
        values : ndarray, shape (n_vertices,)
            Of both hemispheres, the left one first.
        scale : Scale
        paper : tuple of int
            The colour around the brain.

        Returns
        -------
        Image
        """
        here = _at_pixels(values, self.corners, self.weights)
        return self._put(painted(self.ground, here, scale, is_faint=True), paper)

    def draw_found(
        self, values: NDArray[np.float32], found: NDArray[np.bool_], window: float, paper: Colour
    ) -> Image.Image:
        """Return the picture of a map with a line around what a test found in it.

        Parameters
        ----------
        values : ndarray, shape (n_vertices,)
            As in `draw`.
        found : ndarray of bool, shape (n_vertices,)
        window : float
            The value that has the last colour.
        paper : tuple of int

        Returns
        -------
        Image
        """
        here = _at_pixels(values, self.corners, self.weights)
        kept = _at_pixels(found.astype(np.float32), self.corners, self.weights) > 0.5
        inside = np.zeros(self.shape[0] * self.shape[1] * _FINER**2, dtype=np.bool_)
        inside[self.places] = kept
        drawn = self._put(painted_where(self.ground, here, window, kept), paper)
        return outlined(drawn, inside.reshape(self.shape[0] * _FINER, -1), _FINER)

    def _put(self, painted_pixels: NDArray[np.uint8], paper: Colour) -> Image.Image:
        """Return the picture whose fine pixels have these colours, before light falls on them."""
        size = (self.shape[1] * _FINER, self.shape[0] * _FINER)
        colours = np.empty((len(painted_pixels), 4), dtype=np.uint8)
        colours[:, :3] = painted_pixels * self.light
        # Pixels of four bytes are put in their places as one number, several times as fast.
        around = np.array([*paper, 0], dtype=np.uint8).view(np.uint32)
        fine = np.full(size[0] * size[1], around, dtype=np.uint32)
        fine[self.places] = colours.view(np.uint32)[:, 0]
        drawn = Image.frombuffer("RGBX", size, fine.tobytes(), "raw", "RGBX", 0, 1)
        return drawn.reduce(_FINER).convert("RGB")


def _at_pixels(
    values: NDArray[np.float32], corners: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what pixels show of values at vertices: means of three, by their weights."""
    return np.asarray(np.einsum("ij,ij->i", values[corners], weights))


def axes_of(view: str, hemi: Hemisphere) -> NDArray[np.float64]:
    """Return the directions of a view.

    Parameters
    ----------
    view : {"lateral", "medial", "dorsal", "ventral"}
    hemi : {"L", "R"}

    Returns
    -------
    ndarray, shape (3, 3)
        Unit vectors in RAS+ that point to the right and up in the picture, and to the viewer.
    """
    if view == "dorsal":
        return np.eye(3)
    if view == "ventral":
        return np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
    # The left hemisphere is seen from the left, but for its medial side.
    side = -1.0 if (hemi == "L") == (view == "lateral") else 1.0
    return np.array([[0, side, 0], [0, 0, 1], [side, 0, 0]])


def montage(
    surfaces: Sequence[Hemisurface], rows: Sequence[Sequence[tuple[str, int]]], width: int
) -> Montage:
    """Work out what the pixels of a picture show.

    Parameters
    ----------
    surfaces : sequence of Hemisurface
    rows : sequence of sequence of (str, int)
        The views from left to right, each with the index of its surface.
    width : int
        Of one view, in pixels. All views have one scale.

    Returns
    -------
    Montage
    """
    every = [one for row in rows for one in row]
    extents = {one: _extent(surfaces[one[1]], one[0]) for one in every}
    scale = width * (1 - 2 * _GAP) / max(high[0] - low[0] for low, high in extents.values())
    heights = [
        round(max((high[1] - low[1]) * scale for low, high in (extents[one] for one in row)))
        + round(2 * _GAP * width)
        for row in rows
    ]
    shape = (sum(heights), width * max(len(row) for row in rows))
    starts = np.cumsum([0, *(len(one.coordinates) for one in surfaces)])
    parts = []
    for number, row in enumerate(rows):
        for column, (view, index) in enumerate(row):
            corner = (sum(heights[:number]) * _FINER, column * width * _FINER)
            size = (heights[number] * _FINER, width * _FINER)
            seen = _seen(surfaces[index], view, size, scale * _FINER)
            parts.append(_lit(surfaces[index], view, seen, corner, (shape, int(starts[index]))))
    joined = [np.concatenate(one) for one in zip(*parts, strict=True)]
    return Montage(shape, *joined)


def _extent(surface: Hemisurface, view: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest place in a view, right and up, in mm."""
    flat = surface.coordinates @ axes_of(view, surface.hemi)[:2].T
    return flat.min(axis=0), flat.max(axis=0)


def _seen(surface: Hemisurface, view: str, shape: tuple[int, int], scale: float) -> _Seen:
    """Find the triangle that each pixel shows: the nearest to the viewer wins."""
    height, width = shape
    turned = surface.coordinates @ axes_of(view, surface.hemi).T
    low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
    across, up = ((turned[:, :2] - (low + high) / 2) * scale).T
    flat = np.stack([across + (width - 1) / 2, (height - 1) / 2 - up], axis=1)
    first, second, third = (flat[surface.faces[:, index]] for index in range(3))
    doubled = _cross(second - first, third - first)
    # Down the picture, triangles that face the viewer turn the other way.
    facing = np.flatnonzero(doubled < 0)
    order = facing[np.argsort(turned[surface.faces[facing], 2].mean(axis=1), kind="stable")]
    first, second, third, doubled = (one[order] for one in (first, second, third, doubled))
    start = np.ceil(np.minimum(np.minimum(first, second), third)).astype(np.intp)
    span = np.floor(np.maximum(np.maximum(first, second), third)).astype(np.intp) - start + 1
    n_pixels = span.prod(axis=1)
    # All pixels of the box around each triangle, far triangles first.
    of = np.repeat(np.arange(len(order)), n_pixels)
    within = np.arange(len(of)) - np.repeat(np.cumsum(n_pixels) - n_pixels, n_pixels)
    at = start[of] + np.stack([within % span[of, 0], within // span[of, 0]], axis=1)
    weights = np.stack(
        [
            _cross(second[of] - at, third[of] - at) / doubled[of],
            _cross(third[of] - at, first[of] - at) / doubled[of],
            _cross(first[of] - at, second[of] - at) / doubled[of],
        ],
        axis=1,
    )
    is_in = (weights >= -1e-9).all(axis=1)
    place = at[is_in, 1] * width + at[is_in, 0]
    # Where several are written to one place, the last stays: the nearest.
    nearest = np.full(height * width, -1, dtype=np.intp)
    nearest[place] = np.flatnonzero(is_in)
    places = np.flatnonzero(nearest >= 0)
    found = nearest[places]
    corners = surface.faces[order[of[found]]].astype(np.intp)
    return _Seen(places, corners, weights[found].astype(np.float32), shape)


def _cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross product of vectors in the plane."""
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


def _lit(
    surface: Hemisurface,
    view: str,
    seen: _Seen,
    corner: tuple[int, int],
    whole: tuple[tuple[int, int], int],
) -> tuple[NDArray[np.generic], ...]:
    """Return the parts of a montage that one view gives, at its corner of the whole picture.

    `whole` has the shape of the picture, and the number of vertices before those of the surface.
    """
    ((_, width), first_vertex), (top, left) = whole, corner
    rows, columns = np.divmod(seen.places, seen.shape[1])
    places = (rows + top) * width * _FINER + columns + left

    def pixels(of_vertices: NDArray[np.floating]) -> NDArray[np.float32]:
        return _at_pixels(of_vertices.astype(np.float32), seen.corners, seen.weights)

    ground = np.repeat(pixels(surface.shades)[:, None], 3, axis=1)
    ground[pixels(surface.wall.astype(np.float32)) > 0.5] = WALL
    direction = np.array(_LIGHT) / np.linalg.norm(_LIGHT) @ axes_of(view, surface.hemi)
    light = AMBIENT + (1 - AMBIENT) * np.clip(pixels(surface.normals @ direction), 0, 1)
    return places, seen.corners + first_vertex, seen.weights, ground, light[:, None]
