"""Every space keeps the contract: voxels, and a space of vertices that only tests know."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from ring_space import ring_space
from space_laws import FeatureSpaceLaws, SpaceCase

from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (9, 12, 8)
AFFINE = ((4.0, 0, 0, -18), (0, 3.5, 0, -20), (0, 0, 5.0, -16), (0, 0, 0, 1.0))


class TestVoxelSpace(FeatureSpaceLaws):
    @pytest.fixture
    def case(self) -> SpaceCase:
        mask = np.ones(SHAPE, dtype=bool)
        mask[:2, :, :3] = False
        mask[5, 6] = False
        space = VoxelSpace(Grid(SHAPE, AFFINE), mask, "MNI152NLin2009cAsym")

        def write_run(path: Path, values: NDArray[np.float32], elsewhere: float) -> None:
            data = np.full((len(values), *SHAPE[::-1]), elsewhere, dtype=np.float32)
            data[:, mask.T] = values
            nib.save(nib.Nifti1Image(data.T, space.grid.matrix), path)

        return SpaceCase(space, space.grid, write_run)


class TestRingSpace(FeatureSpaceLaws):
    @pytest.fixture
    def case(self) -> SpaceCase:
        space = ring_space()

        def write_run(path: Path, values: NDArray[np.float32], elsewhere: float) -> None:
            data = np.full((len(values), space.mesh.n_numbers), elsewhere, dtype=np.float32)
            data[:, space.vertices] = values
            np.save(path, data)

        return SpaceCase(space, space.mesh, write_run)
