"""Maps of the cortex are images of nilearn; where there are none, that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from surface_reports import CORTEX, N_VERTICES, grayordinates, write_cifti, write_pair

from nidecomp.core.errors import UsageError
from nidecomp.outputs.surface_images import surface_image
from nidecomp.spaces.brain_models import BrainModels


def test_vertices_of_both_hemispheres_are_at_their_places(tmp_path: Path) -> None:
    models = grayordinates(n_left=600)
    maps = np.random.default_rng(0).random((2, models.n_numbers)).astype(np.float32)
    image = surface_image(write_cifti(tmp_path / "a.dscalar.nii", models, maps), "fsaverage3")
    np.testing.assert_array_equal(image.data.parts["right"], maps[:, :N_VERTICES].T)
    np.testing.assert_array_equal(image.data.parts["left"][:600], maps[:, :-601:-1].T)
    assert not image.data.parts["left"][600:].any()


def test_maps_without_vertices_or_a_mesh_are_refused(tmp_path: Path) -> None:
    models = grayordinates()
    voxels = BrainModels(models.structures[1:2], models.grid)
    path = write_cifti(tmp_path / "a.dscalar.nii", voxels, np.ones((2, voxels.n_numbers)))
    with pytest.raises(UsageError, match="has voxels alone, and no vertices of the cortex"):
        surface_image(path, "fsLR")
    path = write_pair(tmp_path / "a_hemi-L.func.gii", np.ones((2, CORTEX.n_numbers)))
    for inflated in (False, True):
        with pytest.raises(UsageError, match="cannot be shown on the cortex: no mesh with 642"):
            surface_image(path, "onavg", inflated=inflated)
