"""Smoothing along the surface and within structures of voxels, with Workbench as the oracle."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel import cifti2
from scipy.sparse.csgraph import dijkstra

from nidecomp.spaces.geodesic import (
    FWHM_OF_SIGMA,
    geodesic_graph,
    mesh_adjacency,
    surface_kernel,
)
from nidecomp.spaces.meshes import Mesh, template_mesh
from nidecomp.spaces.spheres import barycentric
from nidecomp.spaces.surface_files import vertex_areas
from nidecomp.spaces.voxel_kernels import voxel_kernel

few = settings(deadline=None, max_examples=20, derandomize=True, database=None)
WORKBENCH = shutil.which("wb_command")
with_workbench = pytest.mark.skipif(
    WORKBENCH is None, reason="Connectome Workbench is not installed"
)


# ---------------------------------------------------------------- Workbench
def _arrays(path: Path, arrays, structure: str, **intent) -> Path:
    image = nib.GiftiImage(darrays=[nib.gifti.GiftiDataArray(array, **intent) for array in arrays])
    image.meta["AnatomicalStructurePrimary"] = structure
    nib.save(image, path)
    return path


def _surface(path: Path, mesh: Mesh, structure: str) -> Path:
    arrays = [
        nib.gifti.GiftiDataArray(mesh.coordinates.astype("f4"), "NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(mesh.faces, "NIFTI_INTENT_TRIANGLE"),
    ]
    image = nib.GiftiImage(darrays=arrays)
    image.meta["AnatomicalStructurePrimary"] = structure
    nib.save(image, path)
    return path


def _workbench(*arguments: object) -> None:
    subprocess.run([WORKBENCH, *map(str, arguments)], check=True, capture_output=True)


@with_workbench
@pytest.mark.parametrize(
    ("space", "n", "hemi", "fwhm"),
    [
        ("fsaverage3", 642, "R", 9.0),
        ("fsaverage4", 2562, "L", 2.0),  # all vertices have their neighbours alone
        ("fsaverage4", 2562, "L", 5.0),  # some of them
        ("fsaverage5", 10242, "L", 6.0),
    ],
)
def test_smoothing_is_that_of_workbench(space, n, hemi, fwhm, tmp_path: Path) -> None:
    """With a medial wall, and areas that are not those of the mesh."""
    mesh = template_mesh(space, n, hemi)
    vertices = np.flatnonzero(~mesh.wall)
    structure = {"L": "CortexLeft", "R": "CortexRight"}[hemi]
    values = np.zeros((2, n), dtype=np.float32)
    values[:, vertices] = np.random.default_rng(0).standard_normal((2, len(vertices)))
    surface = _surface(tmp_path / "a.surf.gii", mesh, structure)
    single = {"intent": "NIFTI_INTENT_NONE", "datatype": "NIFTI_TYPE_FLOAT32"}
    data = _arrays(tmp_path / "a.func.gii", values, structure, **single)
    areas = _arrays(tmp_path / "b.func.gii", [mesh.areas.astype("f4")], structure, **single)
    inside = _arrays(tmp_path / "c.func.gii", [(~mesh.wall).astype("f4")], structure, **single)
    out = tmp_path / "d.func.gii"
    _workbench("-metric-smoothing", surface, data, fwhm, out, "-fwhm", "-roi", inside,
               "-corrected-areas", areas)  # fmt: skip
    expected = np.stack([array.data for array in nib.load(out).darrays])[:, vertices]
    found = (surface_kernel(mesh, vertices, fwhm) @ values[:, vertices].T).T
    assert np.abs(found - expected).max() < 1e-5 * expected.std()


@with_workbench
def test_smoothing_of_grayordinates_is_that_of_workbench(tmp_path: Path) -> None:
    """A CIFTI file of one hemisphere and of two structures of voxels that touch."""
    mesh = template_mesh("fsaverage3", 642, "L")
    mesh = replace(mesh, areas=vertex_areas(mesh.coordinates, mesh.faces))
    vertices = np.flatnonzero(~mesh.wall)
    rng = np.random.default_rng(0)
    shape, sizes = (12, 11, 10), (2.0, 2.5, 3.0)
    near = np.indices(shape).reshape(3, -1).T
    near = near[np.linalg.norm(near - [6, 5, 5], axis=1) < 4.5]
    voxels = {
        "CIFTI_STRUCTURE_THALAMUS_LEFT": near[near[:, 0] < 6],
        "CIFTI_STRUCTURE_THALAMUS_RIGHT": rng.permutation(near[near[:, 0] >= 6]),
    }
    axis = cifti2.BrainModelAxis.from_mask(~mesh.wall, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    affine = np.diag([*sizes, 1.0])
    for name, ijk in voxels.items():
        axis += cifti2.BrainModelAxis(name, voxel=ijk, affine=affine, volume_shape=shape)
    values = rng.standard_normal((2, len(axis))).astype("f4")
    header = cifti2.Cifti2Header.from_axes((cifti2.SeriesAxis(0, 2, 2), axis))
    data, out = tmp_path / "a.dtseries.nii", tmp_path / "b.dtseries.nii"
    nib.save(nib.Cifti2Image(values, header), data)
    surface = _surface(tmp_path / "a.surf.gii", mesh, "CortexLeft")
    _workbench("-cifti-smoothing", data, 8, 6, "COLUMN", out, "-fwhm", "-left-surface", surface)
    expected = np.asarray(nib.load(out).dataobj)
    kernels = [surface_kernel(mesh, vertices, 8.0)]
    kernels += [voxel_kernel(ijk, np.array(sizes), 6.0) for ijk in voxels.values()]
    start = 0
    for kernel in kernels:
        part = slice(start, start + kernel.shape[0])
        found = (kernel @ values[:, part].T).T
        assert np.abs(found - expected[:, part]).max() < 1e-5 * expected.std()
        start = part.stop
    assert start == len(axis)


# ---------------------------------------------------------------- laws
@few
@given(st.integers(0, 2**32 - 1), st.floats(1, 15))
def test_smoothing_keeps_constants_and_stays_within_the_values(seed, fwhm) -> None:
    mesh = template_mesh("fsaverage3", 642, "L")
    rng = np.random.default_rng(seed)
    vertices = np.flatnonzero(rng.random(642) < rng.uniform(0.01, 1))
    vertices = vertices if vertices.size else np.array([5])
    kernel = surface_kernel(mesh, vertices, fwhm)
    assert kernel.dtype == np.float32
    assert kernel.shape == (len(vertices), len(vertices))
    np.testing.assert_allclose(kernel @ np.ones(len(vertices)), 1, atol=1e-6)
    assert kernel.data.min() >= 0
    assert kernel.diagonal().min() > 0
    again = surface_kernel(mesh, vertices, fwhm)
    np.testing.assert_array_equal(again.data, kernel.data)
    np.testing.assert_array_equal(again.indices, kernel.indices)


def test_a_kernel_has_the_width_that_was_asked_for() -> None:
    """The variance along each of two directions is that of the Gaussian, on a flat patch."""
    steps = np.arange(-25.0, 26.0)
    x, y = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    number = np.arange(51 * 51).reshape(51, 51)
    a, b, c, d = (
        part.ravel()
        for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:])
    )
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    places = np.stack([x, y, np.zeros_like(x)], axis=1)
    flat = Mesh(places, faces, vertex_areas(places, faces), places, np.zeros(len(x), bool))
    kernel = surface_kernel(flat, np.arange(len(x)), 10.0)
    middle = kernel[[len(x) // 2]].toarray()[0]
    # A Gaussian of two dimensions that ends at three deviations has 1 - 4.5 / (e^4.5 - 1) of it.
    expected = (10 / FWHM_OF_SIGMA) ** 2 * (1 - 4.5 / (np.exp(4.5) - 1))
    for values in (x, y):
        # Paths through the mesh are a few percent longer than straight ones in most directions.
        assert np.sum(middle * values**2) == pytest.approx(expected, rel=0.08)
    # Twice as large areas are as a mesh that is as many times longer as their root.
    wider = surface_kernel(replace(flat, areas=4 * flat.areas), np.arange(len(x)), 20.0)
    np.testing.assert_allclose(wider.toarray(), kernel.toarray(), atol=1e-7)


def test_distances_are_never_shorter_than_a_straight_line_nor_longer_than_along_edges() -> None:
    mesh = template_mesh("fsaverage3", 642, "R")
    mesh = replace(mesh, areas=vertex_areas(mesh.coordinates, mesh.faces))
    graph, edges = geodesic_graph(mesh), mesh_adjacency(mesh.faces, 642)
    lengths = np.linalg.norm(mesh.coordinates[:, None] - mesh.coordinates, axis=2)
    along, free = dijkstra(edges.multiply(lengths).tocsr()), dijkstra(graph)
    assert (free <= along + 1e-9).all()
    assert (free >= lengths - 1e-9).all()
    assert free.mean() < 0.97 * along.mean()
    np.testing.assert_allclose(free, free.T)
    np.testing.assert_array_equal(edges.sum(axis=0), np.bincount(mesh.faces.ravel()))


@few
@given(st.integers(0, 2**32 - 1), st.floats(1, 12))
def test_voxels_smooth_by_their_distance_within_the_structure(seed, fwhm) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(1, 4, size=3)
    ijk = np.unique(rng.integers(-5, 5, size=(rng.integers(1, 60), 3)), axis=0)
    ijk = rng.permutation(ijk)
    sigma = fwhm / FWHM_OF_SIGMA
    apart = np.abs(ijk[:, None] - ijk) * sizes
    weights = np.exp(-0.5 * np.sum((apart / sigma) ** 2, axis=2))
    weights[(apart > 3 * sigma).any(axis=2)] = 0
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(voxel_kernel(ijk, sizes, fwhm).toarray(), expected, atol=1e-6)


@with_workbench
def test_resampling_through_the_spheres_is_that_of_workbench(tmp_path: Path) -> None:
    """From a fine mesh to a coarse one of another family, and back."""
    values = np.random.default_rng(0).standard_normal(32492).astype("f4")
    single = {"intent": "NIFTI_INTENT_NONE", "datatype": "NIFTI_TYPE_FLOAT32"}
    fine, coarse = template_mesh("fsLR", 32492, "R"), template_mesh("fsaverage4", 2562, "R")
    for source, target in ((fine, coarse), (coarse, fine)):
        spheres = [
            _surface(tmp_path / name, replace(mesh, coordinates=mesh.sphere), "CortexRight")
            for name, mesh in (("a.surf.gii", source), ("b.surf.gii", target))
        ]
        data = _arrays(tmp_path / "a.func.gii", [values], "CortexRight", **single)
        out = tmp_path / "b.func.gii"
        _workbench("-metric-resample", data, *spheres, "BARYCENTRIC", out)
        expected = nib.load(out).darrays[0].data
        values = barycentric(source.sphere, source.faces, target.sphere) @ values
        np.testing.assert_allclose(values, expected, atol=1e-3)
        assert np.corrcoef(values, expected)[0, 1] > 0.99999
        values = values.astype("f4")
