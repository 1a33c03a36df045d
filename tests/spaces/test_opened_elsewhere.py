"""Workbench and nilearn open the files of maps, labels and runs that are written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from grayordinate_examples import (
    N_VERTICES,
    SPACE,
    cifti_space,
    gifti_space,
    write_dense_series,
)
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage, load_surf_data

from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.meshes import template_mesh

WORKBENCH = shutil.which("wb_command")
needs_workbench = pytest.mark.skipif(WORKBENCH is None, reason="wb_command is not installed")


def workbench(*words: object) -> str:
    """Run Workbench and return what it prints; whatever is wrong with a file, it fails."""
    assert WORKBENCH is not None
    done = subprocess.run(
        [WORKBENCH, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def example_maps(space: GrayordinateSpace, n_maps: int = 2) -> np.ndarray:
    shape = (n_maps, space.n_features)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def example_labels(space: GrayordinateSpace) -> np.ndarray:
    return (np.arange(space.n_features) % 3).astype(np.int32)


@needs_workbench
def test_workbench_opens_files_of_grayordinates(tmp_path: Path) -> None:
    space = cifti_space()
    maps, series = tmp_path / "a.dscalar.nii", tmp_path / "a.dtseries.nii"
    maps.write_bytes(space.encode(example_maps(space), names=("first one", "<second>")))
    labels, mask = tmp_path / "a.dlabel.nii", tmp_path / "mask.dlabel.nii"
    labels.write_bytes(space.encode_labels(example_labels(space), names=("A", "B & C")))
    mask.write_bytes(space.encode_mask())
    source = tmp_path / "run.dtseries.nii"
    values = np.random.default_rng(1).standard_normal((5, space.models.n_numbers))
    write_dense_series(source, values, space.models)
    run = space.open_run(source)
    series.write_bytes(b"".join(run.encode(run.volumes(np.arange(5)))))
    told = workbench("-file-information", maps)
    assert "first one" in told
    assert "<second>" in told
    assert "B & C" in workbench("-file-information", labels)
    for path in (maps, series):
        out = tmp_path / f"{path.name}.left.func.gii"
        workbench("-cifti-separate", path, "COLUMN", "-metric", "CORTEX_LEFT", out)
        assert load_surf_data(out).shape[0] == N_VERTICES
        workbench("-cifti-convert", "-to-nifti", path, tmp_path / f"{path.name}.converted.nii")
    for path in (labels, mask):
        out = tmp_path / f"{path.name}.left.label.gii"
        workbench("-cifti-separate", path, "COLUMN", "-label", "CORTEX_LEFT", out)


@needs_workbench
def test_workbench_opens_files_of_surfaces(tmp_path: Path) -> None:
    space = gifti_space()
    for hemi, name in zip(HEMISPHERES, ("CortexLeft", "CortexRight"), strict=True):
        maps, labels = tmp_path / f"{hemi}.func.gii", tmp_path / f"{hemi}.label.gii"
        maps.write_bytes(space.encode(example_maps(space), names=("first one", "b"), hemi=hemi))
        labels.write_bytes(space.encode_labels(example_labels(space), names="AB", hemi=hemi))
        for path in (maps, labels):
            assert name in workbench("-file-information", path)


def test_nilearn_opens_pairs(tmp_path: Path) -> None:
    space, maps = gifti_space(), example_maps(gifti_space())
    paths = {hemi: tmp_path / f"hemi-{hemi}.func.gii" for hemi in HEMISPHERES}
    for hemi, path in paths.items():
        path.write_bytes(space.encode(maps, hemi=hemi))
    meshes = [template_mesh(SPACE, N_VERTICES, hemi) for hemi in HEMISPHERES]
    left, right = (InMemoryMesh(mesh.coordinates, mesh.faces) for mesh in meshes)
    image = SurfaceImage(PolyMesh(left, right), {"left": paths["L"], "right": paths["R"]})
    together = np.concatenate([image.data.parts["left"], image.data.parts["right"]])
    np.testing.assert_array_equal(together[space.inside].T, maps)
    np.testing.assert_array_equal(load_surf_data(paths["L"]), image.data.parts["left"])
