"""The grid that maps are drawn on: coarse, along the axes of RAS+ space, and shared by all maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Position = tuple[float, float, float]
# Beyond the brain, so that its edge is not that of the picture.
_MARGIN_MM = 4.0


@dataclass(frozen=True)
class Grid:
    """A grid of cubes along the axes of RAS+ space.

    `origin_mm` is the centre of its first voxel, `step_mm` the size of the voxels.
    """

    origin_mm: Position
    step_mm: float
    shape: tuple[int, int, int]

    def positions_mm(self) -> NDArray[np.float64]:
        """Return the centres of all voxels, shape (n_voxels, 3), x fastest."""
        z, y, x = np.meshgrid(*(np.arange(n) for n in self.shape[::-1]), indexing="ij")
        indices = np.stack([axis.ravel() for axis in (x, y, z)], axis=1)
        return np.asarray(np.array(self.origin_mm) + self.step_mm * indices)

    def index_of(self, position_mm: Position) -> tuple[int, int, int]:
        """Return the voxel that is nearest to a position."""
        nearest = np.rint((np.array(position_mm) - self.origin_mm) / self.step_mm)
        x, y, z = np.clip(nearest, 0, np.array(self.shape) - 1).astype(int).tolist()
        return x, y, z


def grid_around(
    boxes_mm: Sequence[NDArray[np.float64]], step_mm: float, through_mm: Position
) -> Grid:
    """Return a grid that contains boxes and of which a voxel's centre lies at a position.

    Parameters
    ----------
    boxes_mm : sequence of ndarray, shape (2, 3)
        The lowest and highest corner of each.
    step_mm : float
    through_mm : tuple of float

    Returns
    -------
    Grid
    """
    lowest = np.min([box[0] for box in boxes_mm], axis=0) - _MARGIN_MM
    highest = np.max([box[1] for box in boxes_mm], axis=0) + _MARGIN_MM
    first = np.floor((lowest - through_mm) / step_mm)
    shape = np.ceil((highest - through_mm) / step_mm) - first + 1
    x, y, z = (first * step_mm + through_mm).tolist()
    n_x, n_y, n_z = shape.astype(int).tolist()
    return Grid((x, y, z), step_mm, (n_x, n_y, n_z))


def box_of(inside: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest and highest corner of the voxels that are inside, in mm, shape (2, 3)."""
    edges = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(inside.any(axis=others))
        edges.append((found[0], found[-1]) if len(found) else (0, inside.shape[axis] - 1))
    corners = np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1)
    positions = affine[:3, :3] @ corners + affine[:3, 3:]
    return np.array([positions.min(axis=1), positions.max(axis=1)])


def nearest_voxels(
    grid: Grid, affine: NDArray[np.float64], shape: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the voxels of a grid lie in an image.

    Parameters
    ----------
    grid : Grid
    affine : ndarray, shape (4, 4)
        Of the image, as its shape.
    shape : sequence of int

    Returns
    -------
    of_grid, of_image : ndarray of int
        Voxels of the grid that lie in the image, and the nearest voxels of the image; both counted
        with x fastest.
    """
    to_index = np.linalg.inv(affine)
    found = np.rint(grid.positions_mm() @ to_index[:3, :3].T + to_index[:3, 3]).astype(np.intp)
    is_in = ((found >= 0) & (found < np.array(shape[:3]))).all(axis=1)
    x, y, z = found[is_in].T
    return np.flatnonzero(is_in), x + shape[0] * (y + shape[1] * z)
