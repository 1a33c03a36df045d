"""The voxel grid of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix4 = tuple[tuple[float, ...], ...]


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
    def n_numbers(self) -> int:
        """The number of voxels."""
        return math.prod(self.shape)

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel in mm³."""
        # The determinant; unlike numpy's it is exact for axes that are not rotated.
        i, j, k = self.matrix[:3, :3]
        return abs(float(np.cross(i, j) @ k))
