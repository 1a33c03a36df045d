"""The voxel grid of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

Matrix4 = tuple[tuple[float, ...], ...]
# Programs round affines in different ways: the qform and the sform of one image, or two versions of
# a program, differ by up to 1e-4 in an element, which moves the far corner of a whole head by up to
# 0.03 mm. That is nothing beside a voxel or an error of registration, but interpolating because
# of it would smooth the data.
_SAME_MM = 0.05


@dataclass(frozen=True)
class Grid:
    """A voxel grid: its shape, and its affine (4 × 4, from voxels to RAS+ mm)."""

    shape: tuple[int, int, int]
    affine: Matrix4

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array, 4 × 4."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def corners(self) -> NDArray[np.float64]:
        """The centres of the voxels in the eight corners, RAS+ in mm, shape (8, 3)."""
        ends = np.array(list(product(*((0, size - 1) for size in self.shape))), dtype=np.float64)
        matrix = self.matrix
        return np.asarray(ends @ matrix[:3, :3].T + matrix[:3, 3])

    def is_same(self, other: Grid) -> bool:
        """Return whether another grid differs from this one by rounding at most.

        Parameters
        ----------
        other : Grid

        Returns
        -------
        bool
            Whether it has the same shape, and no corner is more than 0.05 mm away.
        """
        if self.shape != other.shape:
            return False
        if self.affine == other.affine:
            return True
        # Most grids that differ begin elsewhere, which is found out faster.
        if math.dist(self._origin, other._origin) > _SAME_MM:
            return False
        apart = np.linalg.norm(self.corners - other.corners, axis=1)
        return bool(apart.max() <= _SAME_MM)

    @property
    def _origin(self) -> list[float]:
        return [row[3] for row in self.affine[:3]]

    def share_of(self, places: NDArray[np.floating]) -> float:
        """Return the share of some places that are within the field of view.

        Parameters
        ----------
        places : ndarray, shape (n, 3)
            RAS+ coordinates in mm; at least one.

        Returns
        -------
        float
        """
        voxels = apply_affine(np.linalg.inv(self.matrix), places)
        # A voxel reaches half of its size beyond its centre.
        inside = (voxels >= -0.5) & (voxels <= np.array(self.shape) - 0.5)
        return float(np.mean(inside.all(axis=1)))

    @property
    def n_numbers(self) -> int:
        """The number of voxels."""
        return math.prod(self.shape)

    @cached_property
    def voxel_mm3(self) -> float:
        """The volume of a voxel in mm³."""
        # The determinant; unlike numpy's it is exact for axes that are not rotated.
        i, j, k = self.matrix[:3, :3]
        return abs(float(np.cross(i, j) @ k))
