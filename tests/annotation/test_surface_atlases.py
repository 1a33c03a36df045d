"""Networks, tissues and users' atlases at grayordinates."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from grayordinate_examples import N_VERTICES, cifti_space, gifti_space
from nibabel.affines import apply_affine

from nidecomp.annotation.atlases import label_atlas, shipped_networks, tissues
from nidecomp.annotation.noise_flags import CSF_LIMIT, NoiseNumbers, flags, tissue_shares
from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.spaces.brain_models import CORTEX, BrainModels, Structure
from nidecomp.spaces.cifti import cifti_head
from nidecomp.spaces.grayordinate_maps import read_values
from nidecomp.spaces.grayordinate_series import cortex_of
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.meshes import FSAVERAGE7, template_mesh

SIDES = {"L": "CortexLeft", "R": "CortexRight"}


@cache
def on_fs_lr() -> GrayordinateSpace:
    """The cortex of fs_LR, 32k."""
    models = cortex_of(32492)
    inside = np.concatenate([~template_mesh("fsLR", 32492, hemi).wall for hemi in HEMISPHERES])
    return GrayordinateSpace(models, inside, "fsLR", "32k", "gifti")


def write(path: Path, arrays, hemi: str | None = None, names=(), table=()) -> Path:
    """One hemisphere's file by nibabel: labels where there is a table."""
    intent = "NIFTI_INTENT_LABEL" if table else "NIFTI_INTENT_NONE"
    kind = "NIFTI_TYPE_INT32" if table else "NIFTI_TYPE_FLOAT32"
    names = names or [None] * len(arrays)
    image = nib.GiftiImage()
    for values, name in zip(arrays, names, strict=True):
        array = nib.gifti.GiftiDataArray(
            np.asarray(values, dtype="i4" if table else "f4"), intent, kind
        )
        if name is not None:
            array.meta["Name"] = name
        image.add_gifti_data_array(array)
    for key, name in dict(table).items():
        label = nib.gifti.GiftiLabel(key, 1, 0, 0, 1)
        label.label = name
        image.labeltable.labels.append(label)
    if hemi:
        image.meta["AnatomicalStructurePrimary"] = SIDES[hemi]
    nib.save(image, path)
    return path


def pair(folder: Path, left: str, right: str, of_sides, **options) -> Path:
    """Both files; returns the left one."""
    for hemi, name in zip(HEMISPHERES, (left, right), strict=True):
        write(folder / name, of_sides[hemi], hemi, **options)
    return folder / left


def front(n_vertices: int, space: str = "fsaverage"):
    """Labels of each hemisphere: 1 in front, 2 behind, by the sphere."""
    return {
        hemi: [1 + (template_mesh(space, n_vertices, hemi).sphere[:, 1] < 0)]
        for hemi in HEMISPHERES
    }


# ---------------------------------------------------------------- what NiDecomp ships
def test_networks_lie_where_their_names_say() -> None:
    """On the mesh of fs_LR, which they were not sampled on, and without the cerebellum."""
    space = on_fs_lr()
    networks = shipped_networks(space)
    assert len(networks.names) == 13
    assert "Cerebellum" not in networks.names
    places = space.coordinates(np.arange(space.n_features))
    middle = {
        name: places[values > 0.5 * values.max()].mean(axis=0)
        for name, values in zip(networks.names, networks.maps, strict=True)
    }
    assert middle["Primary visual"][1] < -60
    assert middle["Anterior default mode"][1] > 10 > -40 > middle["Posterior default mode"][1]
    assert middle["Primary sensorimotor"][2] > 40
    assert middle["Left frontoparietal"][0] < -20
    assert middle["Right frontoparietal"][0] > 20
    assert max(networks.maps.max(axis=1)) < 60


def test_networks_are_the_volumes_at_the_midthickness_surface() -> None:
    """fsaverage5's vertices have what nilearn's interpolation gives, to the step of the numbers."""
    from importlib.resources import files

    from nilearn.image import load_img, resample_img

    models = cortex_of(10242)
    space = GrayordinateSpace(models, np.ones(models.n_numbers, bool), "fsaverage5", None, "gifti")
    networks = shipped_networks(space)
    image = load_img(files("nidecomp.annotation.data") / "networks.nii.gz")
    fine = resample_img(
        image.slicer[..., 0],
        target_affine=np.diag([1.0, 1, 1]),
        interpolation="linear",
        copy_header=True,
        force_resample=True,
    )
    # FreeSurfer's matrix from MNI305 to MNI152, as its documentation has it.
    rows = [[0.9975, -0.0073, 0.0176, -0.0429], [0.0146, 1.0009, -0.0024, 1.5496],
            [-0.0130, -0.0093, 0.9971, 1.1840], [0, 0, 0, 1]]  # fmt: skip
    places = apply_affine(np.array(rows), space.coordinates(np.arange(space.n_features)))
    voxels = np.rint(apply_affine(np.linalg.inv(fine.affine), places)).astype(int)
    near = np.asarray(fine.dataobj)[tuple(voxels.T)]
    assert np.corrcoef(near, networks.maps[0])[0, 1] > 0.995


def test_voxels_have_the_networks_of_the_volumes_and_csf_alone() -> None:
    space = cifti_space()
    networks, found = shipped_networks(space), tissues(space)
    assert len(networks.names) == 14
    only = GrayordinateSpace(
        space.models, space.inside & space.models.of_structures("subcortex"), "fsLR", None, "cifti"
    )
    of_voxels = shipped_networks(only)
    at = np.flatnonzero([one in set(np.flatnonzero(only.inside)) for one in
                         np.flatnonzero(space.inside)])  # fmt: skip
    np.testing.assert_array_equal(networks.maps[:, at], of_voxels.maps)
    np.testing.assert_array_equal(found.csf[at], tissues(only).csf)
    assert found.csf.max() > 0
    assert not np.delete(found.csf, at).any()
    assert found.edge is None
    assert found.out is None
    cerebellum = networks.names.index("Cerebellum")
    here = np.flatnonzero(only.coordinates(np.arange(only.n_features))[:, 2] < -20)
    assert of_voxels.maps[:, here].mean(axis=1).argmax() == cerebellum
    assert tissues(gifti_space()) is None


def test_without_an_edge_nothing_follows_from_it() -> None:
    csf = np.array([0, 0, 1, 0.5], dtype=np.float32)
    maps = np.array([[0, 0, 5, 0.1], [3, 0, 0, 0.0]], dtype=np.float32)
    shares = tissue_shares(maps, csf)
    np.testing.assert_array_equal(shares.csf, tissue_shares(maps, csf, 0 * csf, 0 * csf).csf)
    for unknown in (shares.edge, shares.out, shares.coverage, shares.edge_limit):
        assert np.isnan(unknown).all()
    nan = float("nan")
    numbers = NoiseNumbers(float(shares.csf[0]), nan, nan, nan, nan, nan, nan, nan)
    assert flags(numbers, 10) == ("csf",)


def test_ventricles_are_flagged_and_what_lies_beside_them_is_not() -> None:
    """At voxels of 4 mm in the middle of the brain, and vertices of the cortex."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-90, -126, -72)
    ijk = np.indices((46, 55, 46)).reshape(3, -1).T
    near = np.linalg.norm(apply_affine(affine, ijk) - [0, -12, 10], axis=1) < 36
    grid = Grid((46, 55, 46), tuple(tuple(row) for row in affine.tolist()))
    cortex = cortex_of(N_VERTICES).structures
    models = BrainModels((*cortex, Structure("CIFTI_STRUCTURE_OTHER", ijk[near], None)), grid)
    space = GrayordinateSpace(models, np.ones(models.n_numbers, bool), "fsaverage3", None, "cifti")
    found = tissues(space)
    places = space.coordinates(np.arange(space.n_features))
    beside = [
        np.linalg.norm(places - middle, axis=1) < 8 for middle in ((13, 12, 10), (12, -19, 6))
    ]
    networks = shipped_networks(space).maps
    maps = np.concatenate([[found.csf], beside, networks]).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((len(maps), space.n_features))
    noisy = maps / maps.std(axis=1, keepdims=True) + 0.5 * (space.kernel(12.0) @ noise.T).T
    shares = tissue_shares(noisy, found.csf, found.edge, found.out)
    assert shares.csf[0] > CSF_LIMIT
    assert (shares.csf[1:] < 0.75 * CSF_LIMIT).all()


# ---------------------------------------------------------------- atlases of users
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("tpl-x_hemi-L_dseg.label.gii", "tpl-x_hemi-R_dseg.label.gii"),
        ("lh.x.label.gii", "rh.x.label.gii"),
        ("x.L.32k.label.gii", "x.R.32k.label.gii"),
        ("x_L_.label.gii", "x_R_.label.gii"),
        ("x.left.label.gii", "x.right.label.gii"),
    ],
)
def test_a_pair_is_given_by_its_left_file_under_any_usual_name(left, right, tmp_path) -> None:
    space = gifti_space()
    labels = front(N_VERTICES)
    table = {0: "???", 1: "Front", 2: "Back"}
    path = pair(tmp_path, left, right, labels, table=table)
    atlas = label_atlas(path, space)
    assert atlas.names == ("Front", "Back")
    expected = np.concatenate([labels[hemi][0] for hemi in HEMISPHERES])[space.inside]
    np.testing.assert_array_equal(atlas.maps, [expected == 1, expected == 2])
    with pytest.raises(UsageError, match="right one of a pair, which is named by its left file"):
        label_atlas(tmp_path / right, space)
    (tmp_path / right).unlink()
    with pytest.raises(UsageError, match=f"the right hemisphere is missing .{right}"):
        label_atlas(path, space)


def test_labels_of_another_density_are_those_of_the_nearest_vertex(tmp_path) -> None:
    space = on_fs_lr()
    path = pair(tmp_path, "lh.a.label.gii", "rh.a.label.gii", front(2562), table={1: "F", 2: "B"})
    atlas = label_atlas(path, space)
    assert atlas.names == ("F", "B")
    expected = np.concatenate(
        [template_mesh("fsLR", 32492, hemi).sphere[:, 1] < 0 for hemi in HEMISPHERES]
    )[space.inside]
    agree = np.mean((atlas.maps[1] > 0) == expected)
    assert 0.97 < agree < 1
    np.testing.assert_array_equal(atlas.maps.sum(axis=0), 1)


def test_maps_of_another_density_are_interpolated_linearly(tmp_path) -> None:
    """The coordinates of the sphere are nearly linear within triangles."""
    space = on_fs_lr()
    maps = {hemi: template_mesh("fsaverage", 2562, hemi).sphere.T for hemi in HEMISPHERES}
    path = pair(tmp_path, "a_hemi-L.func.gii", "a_hemi-R.func.gii", maps, names=["x", "y", "z"])
    atlas = label_atlas(path, space)
    assert atlas.names == ("x", "y", "z")
    expected = np.concatenate([template_mesh("fsLR", 32492, hemi).sphere for hemi in HEMISPHERES])[
        space.inside
    ]
    np.testing.assert_allclose(atlas.maps, expected.T, atol=0.3)


def test_values_that_are_missing_take_no_part(tmp_path) -> None:
    space = on_fs_lr()
    ones = {}
    for hemi in HEMISPHERES:
        mesh = template_mesh("fsaverage", 2562, hemi)
        ones[hemi] = [np.where(mesh.wall, np.nan, 1.0)]
    atlas = label_atlas(pair(tmp_path, "lh.a.shape.gii", "rh.a.shape.gii", ones), space)
    assert atlas.names == ("map01",)
    assert set(np.unique(atlas.maps)) == {np.float32(0), np.float32(1)}
    assert atlas.maps.mean() > 0.97


def test_regions_that_each_hemisphere_counts_from_1_are_told_apart(tmp_path) -> None:
    space = gifti_space()
    labels = front(N_VERTICES)
    write(tmp_path / "lh.a.label.gii", labels["L"], "L", table={0: "???", 1: "L_F", 2: "L_B"})
    write(tmp_path / "rh.a.label.gii", labels["R"], "R", table={0: "???", 1: "R_F", 2: "R_B"})
    atlas = label_atlas(tmp_path / "lh.a.label.gii", space)
    assert atlas.names == ("L_F", "L_B", "R_F", "R_B")
    x = space.coordinates(np.arange(space.n_features))[:, 0]
    means = [x[values > 0].mean() for values in atlas.maps]
    assert max(means[:2]) < 0 < min(means[2:])


def test_dlabel_and_dscalar_have_their_names_in_them(tmp_path) -> None:
    space = cifti_space()
    labels = (np.arange(space.n_features) % 3).astype(np.int32)
    path = tmp_path / "a_dseg.dlabel.nii"
    path.write_bytes(space.encode_labels(labels, names=("One", "Two & more")))
    atlas = label_atlas(path, space)
    assert atlas.names == ("One", "Two & more")
    np.testing.assert_array_equal(atlas.maps, [labels == 1, labels == 2])
    (tmp_path / "a_dseg.tsv").write_text("index\tname\n1\tA\n2\tB\n")
    assert label_atlas(path, space).names == ("A", "B")
    maps = np.random.default_rng(0).standard_normal((2, space.n_features)).astype(np.float32)
    path = tmp_path / "a.dscalar.nii"
    path.write_bytes(space.encode(maps, names=("left", "right")))
    atlas = label_atlas(path, space)
    assert atlas.names == ("left", "right")
    np.testing.assert_array_equal(atlas.maps, maps)
    path.write_bytes(space.encode(maps, names=("same", "same")))
    assert label_atlas(path, space).names == ("map01", "map02")


def test_a_table_for_both_hemispheres_stands_beside_them(tmp_path) -> None:
    space = gifti_space()
    table = {1: "F", 2: "B"}
    path = pair(
        tmp_path, "a_hemi-L_dseg.label.gii", "a_hemi-R_dseg.label.gii", front(N_VERTICES),
        table=table,
    )  # fmt: skip
    (tmp_path / "a_hemi-L_dseg.tsv").write_text("index\tname\n1\tI\n2\tII\n")
    assert label_atlas(path, space).names == ("I", "II")
    (tmp_path / "a_dseg.tsv").write_text("index\tname\n1\tone\n2\ttwo\n")
    assert label_atlas(path, space).names == ("one", "two")


def test_grayordinates_of_another_grid_are_found_by_their_places(tmp_path) -> None:
    """Voxels of half the size, and another mesh, in one CIFTI file."""
    space = cifti_space()
    fine = 4.0
    shape = (46, 56, 46)
    affine = np.diag([-fine, fine, fine, 1.0])
    affine[:3, 3] = (90, -126, -72)
    ijk = np.indices(shape).reshape(3, -1).T
    places = apply_affine(affine, ijk)
    own = space.coordinates(np.flatnonzero(space._is_voxel))
    from scipy.spatial import KDTree

    inside = ijk[KDTree(own).query(places)[0] < 8]
    axis = nib.cifti2.BrainModelAxis("CIFTI_STRUCTURE_OTHER", voxel=inside, affine=affine,
                                     volume_shape=shape)  # fmt: skip
    of_mesh = template_mesh("fsaverage4", 2562, "L")
    axis = nib.cifti2.BrainModelAxis.from_mask(np.ones(2562, bool), name=CORTEX["L"]) + axis
    height = np.concatenate([of_mesh.sphere[:, 2], apply_affine(affine, inside)[:, 2]])
    header = nib.cifti2.Cifti2Header.from_axes((nib.cifti2.ScalarAxis(["z"]), axis))
    path = tmp_path / "a.dscalar.nii"
    nib.save(nib.Cifti2Image(height[None].astype("f4"), header), path)
    atlas = label_atlas(path, space)
    assert atlas.names == ("z",)
    np.testing.assert_allclose(atlas.maps[0][space._is_voxel], own[:, 2], atol=1e-3)
    left = slice(0, space._parts[0].features.stop)
    vertices = space._parts[0].structure.places
    expected = template_mesh("fsaverage3", 642, "L").sphere[vertices, 2]
    np.testing.assert_allclose(atlas.maps[0][left], expected, atol=0.05)
    assert not atlas.maps[0][space._parts[1].features].any()


def test_volumes_are_atlases_of_what_is_below_the_cortex(tmp_path) -> None:
    space = cifti_space()
    data = np.zeros((23, 28, 23), dtype=np.int16)
    affine = np.array([[8.0, 0, 0, -90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1]])
    data[:, :, :8], data[:, :, 8:] = 3, 7
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    atlas = label_atlas(tmp_path / "a.nii.gz", space)
    assert atlas.names == ("label03", "label07")
    z = space.coordinates(np.arange(space.n_features))[:, 2]
    np.testing.assert_array_equal(atlas.maps[0] > 0, space._is_voxel & (z < -10))
    assert not atlas.maps[:, ~space._is_voxel].any()
    with pytest.raises(UsageError, match="is a volume, and the features are vertices; give a"):
        label_atlas(tmp_path / "a.nii.gz", gifti_space())


# ---------------------------------------------------------------- mistakes
def test_what_is_no_atlas_is_refused_in_a_sentence(tmp_path) -> None:
    space = gifti_space()

    def told(path: Path) -> str:
        with pytest.raises(UsageError) as caught:
            label_atlas(path, space)
        return str(caught.value)

    assert "does not say that it is the left one of a pair" in told(
        write(tmp_path / "x.label.gii", [np.ones(642)], table={1: "a"})
    )
    labels = front(N_VERTICES)
    for broken, said in (
        ({"L": labels["L"], "R": front(2562)["R"]}, "different numbers of maps or vertices"),
        ({"L": labels["L"], "R": [*labels["R"], *labels["R"]]}, "different numbers of maps"),
        ({hemi: [np.ones(500)] for hemi in HEMISPHERES}, "no mesh with 500 vertices"),
        ({hemi: [np.zeros(642)] for hemi in HEMISPHERES}, "has 0 labels"),
        ({hemi: [np.ones((642, 2))] for hemi in HEMISPHERES}, "one value for each vertex"),
    ):
        path = pair(tmp_path, "lh.b.label.gii", "rh.b.label.gii", broken, table={1: "a", 2: "b"})
        assert said in told(path), said
    path.write_bytes(path.read_bytes()[:-300])
    assert str(path) in told(path)
    (tmp_path / "c.dlabel.nii").write_bytes(b"no cifti")
    assert str(tmp_path / "c.dlabel.nii") in told(tmp_path / "c.dlabel.nii")
    assert "the file of the right hemisphere is missing" in told(tmp_path / "lh.none.label.gii")


# ---------------------------------------------------------------- other meshes and sides
@pytest.mark.parametrize(
    ("left", "space", "said"),
    [
        ("x.L.164k_fs_LR.label.gii", "fsaverage", "on the mesh of fs_LR with 163842 vertices"),
        ("tpl-fsLR_hemi-L_den-164k_x.label.gii", "fsLR", "on the mesh of fs_LR"),
        ("lh.x.label.gii", "fsLR", "as fsaverage and a mesh of fs_LR"),
        ("lh.x.label.gii", "fsaverage6", None),
        ("tpl-fsaverage_hemi-L_den-164k_x.label.gii", "fsLR", None),
    ],
)
def test_as_many_vertices_as_fsaverage_has_are_of_fsaverage_only_where_that_is_said(
    tmp_path, left: str, space: str, said: str | None
) -> None:
    right = left.replace("lh", "rh").replace(".L.", ".R.").replace("hemi-L", "hemi-R")
    ones = [np.ones(FSAVERAGE7)]
    path = pair(tmp_path, left, right, {"L": ones, "R": ones}, table={1: "all"})
    if said is None:
        assert read_values(path, space).values.all()
    else:
        with pytest.raises(FailedRunError, match=said):
            read_values(path, space)


def test_a_cifti_file_with_as_many_vertices_as_fsaverage_is_of_fs_lr(tmp_path) -> None:
    """That of the HCP has no such mesh but fs_LR's."""
    models = BrainModels((Structure(CORTEX["L"], np.arange(5), FSAVERAGE7),))
    path = tmp_path / "fsaverage.dscalar.nii"
    path.write_bytes(cifti_head(models, "dscalar", ["x"]) + np.ones(5, "<f4").tobytes())
    with pytest.raises(FailedRunError, match="on the mesh of fs_LR"):
        read_values(path, "fsaverage")


def test_hemispheres_that_were_mixed_up_are_refused(tmp_path) -> None:
    regions = front(N_VERTICES)
    path = pair(tmp_path, "lh.x.label.gii", "rh.x.label.gii", regions, table={1: "a", 2: "b"})
    right = tmp_path / "rh.x.label.gii"
    right.write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=r"rh\.x\.label\.gii says that it is CortexLeft"):
        label_atlas(path, gifti_space())
