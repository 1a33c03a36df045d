"""Meshes of standard spaces, how they follow from each other, and those in a user's folder."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel import freesurfer
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.spaces.meshes import FSAVERAGE, picture_mesh, template_mesh
from nidecomp.spaces.spheres import barycentric, nearest
from nidecomp.spaces.subdivision import coarser, gathered, in_the_middle, subdivide
from nidecomp.spaces.surface_files import vertex_areas

HEMISPHERES = get_args(Hemisphere)
SMALL = [("fsaverage3", 642), ("fsaverage4", 2562), ("fsaverage5", 10242)]
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


# ---------------------------------------------------------------- standard spaces
@pytest.mark.parametrize("hemi", HEMISPHERES)
@pytest.mark.parametrize(("space", "n"), [*SMALL, ("fsaverage6", 40962), ("fsLR", 32492)])
def test_every_mesh_is_a_closed_surface_seen_from_outside(space, n, hemi) -> None:
    mesh = template_mesh(space, n, hemi)
    assert len(mesh.coordinates) == len(mesh.areas) == len(mesh.sphere) == len(mesh.wall) == n
    corners = mesh.sphere[mesh.faces]
    outward = np.einsum("ij,ij->i", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2])
    assert (outward > 0).all()
    first, second = np.sort(_edges(mesh.faces), axis=1).T.astype(np.int64)
    edges = np.unique(first * n + second)
    assert len(edges) == 3 * n - 6 == 3 * len(mesh.faces) // 2  # Euler's formula for a sphere
    np.testing.assert_allclose(np.linalg.norm(mesh.sphere, axis=1), 100)
    # A hemisphere has about 0.09 m², a tenth of the vertices are wall, at the midline.
    assert 85_000 < mesh.areas.sum() < 100_000
    assert 0.08 < mesh.wall.mean() < 0.09
    assert np.abs(mesh.coordinates[mesh.wall, 0]).mean() < np.abs(mesh.coordinates[:, 0]).mean()
    side = -1 if hemi == "L" else 1
    assert side * mesh.coordinates[:, 0].mean() > 20


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_geometry_is_that_of_nilearns_fsaverage5(hemi) -> None:
    from nilearn.datasets import load_fsaverage, load_fsaverage_data

    side = {"L": "left", "R": "right"}[hemi]
    parts = {name: mesh.parts[side] for name, mesh in load_fsaverage().items() if name in _KINDS}
    expected = (parts["pial"].coordinates + parts["white_matter"].coordinates) / 2
    for space, n in SMALL:
        mesh, picture = template_mesh(space, n, hemi), picture_mesh(space, n, hemi)
        np.testing.assert_allclose(mesh.coordinates, expected[:n], atol=1e-3)
        np.testing.assert_allclose(
            picture.coordinates, parts["inflated"].coordinates[:n], atol=1e-3
        )
    np.testing.assert_array_equal(mesh.faces, parts["sphere"].faces)
    np.testing.assert_allclose(mesh.sphere, parts["sphere"].coordinates, atol=0.01)
    sulci = load_fsaverage_data(data_type="sulcal").data.parts[side]
    assert np.corrcoef(picture.depth, sulci)[0, 1] > 0.95
    assert picture.depth.min() == 0
    assert picture.depth.max() == 1


_KINDS = {"pial", "white_matter", "inflated", "sphere"}


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_dividing_a_mesh_of_freesurfer_gives_its_next_one(hemi) -> None:
    fine = template_mesh("fsaverage5", 10242, hemi)
    for space in ("fsaverage4", "fsaverage3"):
        coarse = template_mesh(space, FSAVERAGE[space], hemi)
        divided = subdivide(coarse.faces, coarse.n_vertices)
        np.testing.assert_array_equal(divided.faces, fine.faces)
        np.testing.assert_array_equal(coarser(fine.faces), coarse.faces)
        between = in_the_middle(coarse.sphere, divided.parents)
        between *= 100 / np.linalg.norm(between, axis=1, keepdims=True)
        np.testing.assert_allclose(between, fine.sphere, atol=0.02)
        np.testing.assert_allclose(gathered(fine.areas, divided.parents), coarse.areas)
        fine = coarse


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_areas_of_people_fit_the_subdivided_mesh(hemi) -> None:
    """Areas that were measured on fsaverage6 are nearly means of those of the edges' ends."""
    fine, coarse = (
        template_mesh(f"fsaverage{n}", FSAVERAGE[f"fsaverage{n}"], hemi) for n in (6, 5)
    )
    parents = subdivide(coarse.faces, coarse.n_vertices).parents
    expected = in_the_middle(coarse.areas, parents)
    assert np.corrcoef(expected, fine.areas)[0, 1] > 0.995
    # A shuffled order would show: neighbours have similar areas.
    assert np.corrcoef(expected[::-1], fine.areas)[0, 1] < 0.5


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_fs_lr_lies_on_fsaverage(hemi) -> None:
    """Its medial wall, drawn by others, is where fsaverage's is."""
    fs_lr, fsaverage = template_mesh("fsLR", 32492, hemi), template_mesh("fsaverage5", 10242, hemi)
    there = fsaverage.wall[nearest(fsaverage.sphere, fs_lr.sphere)]
    both = np.count_nonzero(there & fs_lr.wall)
    assert 2 * both / (there.sum() + fs_lr.wall.sum()) > 0.85
    np.testing.assert_allclose(
        fs_lr.coordinates,
        fsaverage.coordinates[nearest(fsaverage.sphere, fs_lr.sphere)],
        atol=8,
    )


def test_a_mesh_is_made_once_and_its_digest_tells_meshes_apart() -> None:
    assert template_mesh("fsaverage3", 642, "L") is template_mesh("fsaverage3", 642, "L")
    digests = {template_mesh(*which, hemi).digest for which in SMALL for hemi in HEMISPHERES}
    assert len(digests) == 6
    assert (
        template_mesh("fsaverage", 10242, "L").digest
        == template_mesh("fsaverage5", 10242, "L").digest
    )


@pytest.mark.parametrize(
    ("space", "n", "said"),
    [
        ("onavg", 10242, "no mesh with 10242 vertices in each hemisphere is known in space-onavg"),
        ("fsaverage5", 40962, "space-fsaverage5 has 10242 vertices in each hemisphere, not 40962"),
        ("fsLR", 163842, "no mesh with 163842 vertices in each hemisphere is known in space-fsLR"),
        ("fsaverage", 162, "no mesh with 162 vertices"),
        ("fsaverage", 1000, "no mesh with 1000 vertices"),
        ("fsaverage", 30000, "no mesh with 30000 vertices"),
        ("fsaverage", 655362, "no mesh with 655362 vertices"),
    ],
)
def test_what_is_unknown_is_said_with_what_to_give(space, n, said, tmp_path: Path) -> None:
    with pytest.raises(FailedRunError, match=f"{said}.*; --surfaces-dir takes a folder with"):
        template_mesh(space, n, "L")
    if space != "fsaverage5":
        said = f"{tmp_path} has no surface with {n} vertices of space-{space}"
    with pytest.raises(FailedRunError, match=f"{said}; --surfaces-dir takes a folder with"):
        template_mesh(space, n, "L", tmp_path)
    with pytest.raises(FailedRunError, match="vertices"):
        picture_mesh(space, n, "L")


def test_a_folder_that_was_given_is_never_passed_over(tmp_path: Path) -> None:
    with pytest.raises(FailedRunError, match="has no surface with 642 vertices of space-fsaverage"):
        template_mesh("fsaverage3", 642, "L", tmp_path)


# ---------------------------------------------------------------- spheres
@few
@given(st.integers(0, 2**32 - 1))
def test_interpolation_keeps_linear_functions_and_finds_vertices(seed) -> None:
    mesh = template_mesh("fsaverage3", 642, "L")
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((50, 3))
    weights = barycentric(mesh.sphere, mesh.faces, places)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights.min() >= 0
    # The point in the triangle's plane is on the line from the centre through the place.
    met = weights @ mesh.sphere
    unit = places / np.linalg.norm(places, axis=1, keepdims=True)
    np.testing.assert_allclose(met / np.linalg.norm(met, axis=1, keepdims=True), unit, atol=1e-9)
    chosen = rng.integers(642, size=20)
    values = rng.standard_normal(642)
    there = barycentric(mesh.sphere, mesh.faces, 3 * mesh.sphere[chosen]) @ values
    np.testing.assert_allclose(there, values[chosen], atol=1e-4)
    np.testing.assert_array_equal(nearest(mesh.sphere, 3 * mesh.sphere[chosen]), chosen)


# ---------------------------------------------------------------- a user's folder
def _edges(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _gifti(path: Path, coordinates, faces) -> None:
    arrays = [
        nib.gifti.GiftiDataArray(coordinates.astype("f4"), "NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(faces.astype("i4"), "NIFTI_INTENT_TRIANGLE"),
    ]
    nib.save(nib.GiftiImage(darrays=arrays), path)


@pytest.fixture
def small():
    return template_mesh("fsaverage3", 642, "R")


def test_freesurfers_folder_gives_an_unknown_mesh(tmp_path: Path, small) -> None:
    surf, label = tmp_path / "other" / "surf", tmp_path / "other" / "label"
    surf.mkdir(parents=True)
    label.mkdir()
    for name, shift in (("white", -1), ("pial", 1), ("sphere.reg", None)):
        places = small.coordinates + shift if shift else 2 * small.sphere
        freesurfer.write_geometry(surf / f"rh.{name}", places, small.faces)
    cortex = np.flatnonzero(~small.wall)
    rows = "".join(f"{vertex} 0 0 0 0\n" for vertex in cortex)
    (label / "rh.cortex.label").write_text(f"#!ascii label\n{len(cortex)}\n{rows}")
    mesh = template_mesh("other", 642, "R", tmp_path)
    np.testing.assert_allclose(mesh.coordinates, small.coordinates, atol=1e-4)
    np.testing.assert_allclose(mesh.sphere, small.sphere, atol=1e-3)
    np.testing.assert_array_equal(mesh.wall, small.wall)
    np.testing.assert_allclose(mesh.areas, vertex_areas(small.coordinates, small.faces), rtol=1e-4)
    with pytest.raises(FailedRunError, match=r"rh\.white has 642 vertices, and the runs have 700"):
        template_mesh("other", 700, "R", tmp_path)
    with pytest.raises(FailedRunError, match=r"lh\.white cannot be read"):
        template_mesh("other", 642, "L", tmp_path)
    (surf / "rh.sphere.reg").unlink()
    with pytest.raises(FailedRunError, match="there is no sphere that is registered to fsaverage"):
        template_mesh("other", 642, "R", tmp_path)


def test_coordinates_of_freesurfer_are_around_the_centre_of_its_volume(tmp_path, small) -> None:
    surf = tmp_path / "fsaverage3" / "surf"
    surf.mkdir(parents=True)
    volume = {
        "head": np.array([2, 0, 20], dtype=np.int32),
        "valid": "1  # volume info valid",
        "filename": "orig.mgz",
        "volume": np.array([256, 256, 256]),
        "voxelsize": np.ones(3),
        "xras": np.array([-1.0, 0, 0]),
        "yras": np.array([0, 0, -1.0]),
        "zras": np.array([0, 1.0, 0]),
        "cras": np.array([1.0, 2.0, 3.0]),
    }
    for name in ("white", "pial"):
        freesurfer.write_geometry(
            surf / f"rh.{name}", small.coordinates, small.faces, volume_info=volume
        )
    mesh = template_mesh("fsaverage3", 642, "R", tmp_path)
    np.testing.assert_allclose(mesh.coordinates, small.coordinates + volume["cras"], atol=1e-4)
    # Areas, sphere and wall are known, whatever the folder has.
    np.testing.assert_array_equal(mesh.areas, small.areas)


def test_gifti_files_give_the_mesh_that_fits(tmp_path: Path, small) -> None:
    name = "tpl-onavg_hemi-R_den-1k"
    _gifti(tmp_path / f"{name}_midthickness.surf.gii", small.coordinates, small.faces)
    tiny = template_mesh("fsaverage4", 2562, "R")
    _gifti(tmp_path / "tpl-onavg_hemi-R_den-3k_midthickness.surf.gii", tiny.coordinates, tiny.faces)
    _gifti(tmp_path / "sub-01_space-fsLR_hemi-R_midthickness.surf.gii", small.sphere, small.faces)
    with pytest.raises(FailedRunError, match="no sphere that is registered"):
        template_mesh("onavg", 642, "R", tmp_path)
    _gifti(
        tmp_path / "tpl-onavg_hemi-R_space-fsaverage_den-1k_sphere.surf.gii",
        small.sphere,
        small.faces,
    )
    _gifti(tmp_path / f"{name}_sphere.surf.gii", -small.sphere, small.faces)
    mesh = template_mesh("onavg", 642, "R", tmp_path)
    np.testing.assert_allclose(mesh.coordinates, small.coordinates, atol=1e-4)
    np.testing.assert_allclose(mesh.sphere, small.sphere, atol=1e-3)
    assert not mesh.wall.any()
    assert template_mesh("onavg", 642, "R", tmp_path) is mesh
    labels = nib.gifti.GiftiDataArray((~small.wall).astype("i4"), "NIFTI_INTENT_LABEL")
    wall = tmp_path / "tpl-onavg_hemi-R_den-1k_desc-nomedialwall_dparc.label.gii"
    nib.save(nib.GiftiImage(darrays=[labels]), wall)
    np.testing.assert_array_equal(template_mesh("onavg", 642, "R", tmp_path).wall, small.wall)
    with pytest.raises(FailedRunError, match="has no surface with 10242 vertices of space-onavg"):
        template_mesh("onavg", 10242, "R", tmp_path)
    _gifti(tmp_path / "tpl-onavg_hemi-R_other_midthickness.surf.gii", small.sphere, small.faces)
    with pytest.raises(FailedRunError, match="has several surfaces of space-onavg with 642 vert"):
        template_mesh("onavg", 642, "R", tmp_path)


def test_a_mesh_with_other_triangles_does_not_fit_a_known_space(tmp_path: Path, small) -> None:
    path = tmp_path / "tpl-fsaverage_hemi-R_midthickness.surf.gii"
    shuffled = small.faces[np.random.default_rng(0).permutation(len(small.faces))][:, [1, 2, 0]]
    _gifti(path, 2 * small.coordinates, shuffled)
    mesh = template_mesh("fsaverage", 642, "R", tmp_path)
    np.testing.assert_allclose(mesh.coordinates, 2 * small.coordinates, atol=1e-4)
    np.testing.assert_array_equal(mesh.faces, small.faces)
    of_number = template_mesh("fsaverage3", 642, "R", tmp_path)
    np.testing.assert_array_equal(of_number.coordinates, mesh.coordinates)
    _gifti(path, small.coordinates, (small.faces + 1) % 642)
    with pytest.raises(FailedRunError, match=r"the triangles of .* are not those of the space"):
        template_mesh("fsaverage", 642, "R", tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"<GIFTI",
        b"not a surface at all",
    ],
)
def test_files_that_cannot_be_read_are_named(damaged, tmp_path: Path) -> None:
    path = tmp_path / "tpl-onavg_hemi-L_midthickness.surf.gii"
    path.write_bytes(damaged)
    with pytest.raises(FailedRunError, match=r"the surface .*hemi-L_midthickness.*cannot be read"):
        template_mesh("onavg", 642, "L", tmp_path)
    surf = tmp_path / "fsnative" / "surf"
    surf.mkdir(parents=True)
    (surf / "lh.white").write_bytes(damaged)
    with pytest.raises(FailedRunError, match=r"the surface .*lh.white cannot be read"):
        template_mesh("fsnative", 642, "L", tmp_path)


def test_triangles_without_corners_are_refused(tmp_path: Path, small) -> None:
    path = tmp_path / "tpl-onavg_hemi-L_midthickness.surf.gii"
    _gifti(path, small.coordinates, small.faces + 1)
    with pytest.raises(FailedRunError, match="its triangles have corners that are not there"):
        template_mesh("onavg", 642, "L", tmp_path)


def test_surfaces_that_were_changed_are_read_again(tmp_path: Path, small) -> None:
    path = tmp_path / "tpl-fsaverage_hemi-R_midthickness.surf.gii"
    digests = set()
    for scale in (1, 2):
        _gifti(path, scale * small.coordinates, small.faces)
        digests.add(template_mesh("fsaverage3", 642, "R", tmp_path).digest)
    assert len(digests) == 2


@pytest.mark.parametrize("harm", ["no triangle", "one place"])
def test_vertices_without_an_area_are_refused(tmp_path: Path, small, harm: str) -> None:
    path = tmp_path / "tpl-onavg_hemi-R_midthickness.surf.gii"
    around = (small.faces == 5).any(axis=1)
    if harm == "no triangle":
        _gifti(path, small.coordinates, small.faces[~around])
    else:
        places = small.coordinates.copy()
        places[small.faces[around]] = places[5]
        _gifti(path, places, small.faces)
    with pytest.raises(FailedRunError, match=r"midthickness.* without an area \(1 of 642\)"):
        template_mesh("onavg", 642, "R", tmp_path)


def test_a_surface_of_the_other_hemisphere_is_refused(tmp_path: Path, small) -> None:
    _gifti(tmp_path / "tpl-onavg_hemi-L_midthickness.surf.gii", small.coordinates, small.faces)
    with pytest.raises(
        FailedRunError, match="should be the left hemisphere, and lies on the other"
    ):
        template_mesh("onavg", 642, "L", tmp_path)
