"""Where the voxels of an image are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix4 = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Grid:
    """A voxel grid: how many voxels, and where they are (4 × 4, voxel to RAS+ mm)."""

    shape: tuple[int, int, int]
    affine: Matrix4

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array, 4 × 4."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def n_numbers(self) -> int:
        """How many voxels it has."""
        return math.prod(self.shape)

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel in mm³."""
        # The determinant, exact for axes that are not turned, which numpy's is not.
        i, j, k = self.matrix[:3, :3]
        return abs(float(np.cross(i, j) @ k))
