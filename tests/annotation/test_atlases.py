"""Reference maps on the group's voxels: NiDecomp's own, and the atlases of users."""

from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn.image import resample_img

from nidecomp.annotation import atlases as reference
from nidecomp.annotation.atlases import label_atlas, shipped_networks, tissues
from nidecomp.core.errors import UsageError
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHIPPED = files("nidecomp.annotation.data")
NETWORKS = (
    "Anterior default mode",
    "Primary visual",
    "Salience",
    "Posterior default mode",
    "Auditory",
    "Left frontoparietal",
    "Right frontoparietal",
    "Lateral visual",
    "Lateral sensorimotor",
    "Cerebellum",
    "Primary sensorimotor",
    "Dorsal attention",
    "Language",
    "Occipital visual",
)


def space_at(step, origin=(-90.0, -126.0, -72.0), extent=(180, 216, 180), mask=None):
    """Return the space of isotropic voxels in MNI space; by default, the mask is a ball."""
    shape = tuple(int(length / step) + 1 for length in extent)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = origin
    axes = [np.arange(size) for size in shape]
    places = apply_affine(affine, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    ball = np.linalg.norm((places - [0, -18, 10]) / [70, 88, 70], axis=-1) < 1
    grid = Grid(shape, tuple(tuple(float(value) for value in row) for row in affine))
    return VoxelSpace(grid, ball if mask is None else mask(places), "MNI152NLin2009cAsym")


@pytest.fixture(scope="module")
def space():
    # This is neither the grid of the shipped maps nor a multiple of it.
    return space_at(6.0, origin=(-91.0, -125.5, -70.0))


def by_nilearn(image, space, interpolation="linear"):
    moved = resample_img(
        image,
        target_affine=space.grid.matrix,
        target_shape=space.grid.shape,
        interpolation=interpolation,
        copy_header=True,
        force_resample=True,
    )
    return space.features(moved.get_fdata())


# ---------------------------------------------------------------- shipped maps
def test_the_networks_are_those_of_the_table_as_nilearn_resamples_them(space):
    networks = shipped_networks(space)
    assert networks.names == NETWORKS
    assert networks.maps.shape == (14, space.n_features)
    assert networks.maps.dtype == np.float32
    image = nib.load(SHIPPED / "networks.nii.gz")
    for index, one in enumerate(networks.maps):
        expected = by_nilearn(image.slicer[..., index], space)
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_on_their_own_grid_the_networks_are_as_they_are_stored():
    image = nib.load(SHIPPED / "networks.nii.gz")
    grid = Grid(image.shape[:3], tuple(tuple(map(float, row)) for row in image.affine))
    space = VoxelSpace(grid, np.ones(image.shape[:3], dtype=bool), "MNI152NLin2009cAsym")
    maps = shipped_networks(space).maps
    data = image.get_fdata(dtype=np.float32)
    for index, one in enumerate(maps):
        np.testing.assert_array_equal(one, space.features(data[..., index]))


@pytest.mark.filterwarnings("ignore:Resampling binary images:UserWarning")
@pytest.mark.parametrize("name", ["csf", "edge", "out"])
def test_tissues_are_as_nilearn_resamples_them(space, name):
    found = getattr(tissues(space), name)
    assert found.dtype == np.float32
    mask = nib.load(SHIPPED / f"{name}.nii.gz")
    # nilearn would round the result of an integer image.
    mask = nib.Nifti1Image(mask.get_fdata(dtype=np.float32), mask.affine)
    expected = by_nilearn(mask, space)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_voxel_is_more_than_one_tissue(space):
    found = tissues(space)
    total = found.csf + found.edge + found.out
    assert min(found.csf.min(), found.edge.min(), found.out.min()) >= 0
    assert total.max() <= 1 + 1e-6
    assert 0 < found.csf.mean() < found.out.mean() < 0.5


def test_voxels_beyond_the_masks_are_outside():
    far = space_at(10.0, origin=(-90.0, -126.0, -172.0), mask=lambda at: at[..., 2] < -80)
    found = tissues(far)
    assert (found.out == 1).all()
    assert not found.csf.any()
    assert not found.edge.any()
    assert not shipped_networks(far).maps.any()


def test_the_shipped_images_are_small_and_have_a_space_and_no_time_stamp():
    for path in SHIPPED.iterdir():
        if not path.name.endswith(".nii.gz"):
            continue
        assert path.stat().st_size < 1_000_000
        assert int(nib.load(path).header["sform_code"]) > 0
    # The gzip headers that `tools/make_reference.py` writes have no time stamp and no file name.
    for name in ("networks", "edge"):
        content = (SHIPPED / f"{name}.nii.gz").read_bytes()
        assert content[3:8] == bytes(5)


def test_the_edge_is_the_outer_edge_of_the_brain():
    """A band around the ventricles would contain the caudate and the thalamus."""
    middle = space_at(
        2.0, mask=lambda at: np.linalg.norm(at - np.array([10, -2, 10]), axis=-1) < 14
    )
    assert not tissues(middle).edge.any()


# ---------------------------------------------------------------- atlases of users
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
AFFINE[:3, 3] = -90, -126, -72
SHAPE = (23, 28, 23)


def save(path, data):
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return path


def regions(dtype=np.int16):
    """Return an image with three boxes, labelled 2, 5 and 11."""
    data = np.zeros(SHAPE, dtype=dtype)
    data[8:12, 10:20, 8:14] = 2
    data[12:15, 10:20, 8:14] = 5
    data[10:14, 12:15, 14:17] = 11
    return data


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float32, np.float64])
def test_labels_become_maps_of_0_and_1(tmp_path, space, dtype):
    data = regions(dtype)
    atlas = label_atlas(save(tmp_path / "atlas.nii.gz", data), space)
    assert atlas.names == ("label02", "label05", "label11")
    assert atlas.maps.dtype == np.float32
    image = nib.Nifti1Image(data.astype(np.float32), AFFINE)
    expected = by_nilearn(image, space, "nearest")
    for one, label in zip(atlas.maps, (2, 5, 11), strict=True):
        np.testing.assert_array_equal(one, expected == label)
        assert one.any()


def test_labels_are_named_by_the_bids_table(tmp_path, space):
    path = save(tmp_path / "atlas_dseg.nii.gz", regions())
    table = "index\tname\tcolor\n0\tBackground\t#000\n11\tEleven\t#111\n2\tTwo\n5\tFive\t#555\n"
    (tmp_path / "atlas_dseg.tsv").write_text(table)
    assert label_atlas(path, space).names == ("Two", "Five", "Eleven")
    # As a spreadsheet program writes it.
    (tmp_path / "atlas_dseg.tsv").write_text("\ufeff" + table.replace("\n", "\r\n"))
    assert label_atlas(path, space).names == ("Two", "Five", "Eleven")


def test_negative_labels_and_missing_numbers_are_background(tmp_path, space):
    data = regions(np.float32)
    data[data == 5] = np.nan
    data[data == 2] = -2
    atlas = label_atlas(save(tmp_path / "atlas.nii", data), space)
    assert atlas.names == ("label11",)


def four_d(n=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((*SHAPE, n)).astype(np.float32)


@pytest.mark.parametrize("name", ["maps.nii", "maps.nii.gz"])
def test_volumes_become_maps(tmp_path, space, name):
    data = four_d()
    atlas = label_atlas(save(tmp_path / name, data), space)
    assert atlas.names == ("map01", "map02", "map03")
    for index, one in enumerate(atlas.maps):
        expected = by_nilearn(nib.Nifti1Image(data[..., index], AFFINE), space)
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_scaled_integers_become_their_values(tmp_path, space):
    data = np.round(four_d() * 100).astype(np.int16)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_slope_inter(0.01, 3.0)
    image.to_filename(tmp_path / "maps.nii.gz")
    stored = nib.load(tmp_path / "maps.nii.gz")
    atlas = label_atlas(tmp_path / "maps.nii.gz", space)
    for index, one in enumerate(atlas.maps):
        expected = by_nilearn(stored.slicer[..., index], space)
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_missing_numbers_in_maps_are_0(tmp_path, space):
    data = four_d()
    empty = np.abs(data) < 0.5
    broken = save(tmp_path / "broken.nii.gz", np.where(empty, np.float32(np.nan), data))
    whole = save(tmp_path / "whole.nii.gz", np.where(empty, np.float32(0), data))
    np.testing.assert_array_equal(label_atlas(broken, space).maps, label_atlas(whole, space).maps)


@pytest.mark.parametrize("column", ["name", "label"])
def test_volumes_are_named_by_the_rows_of_their_table(tmp_path, space, column):
    path = save(tmp_path / "maps.nii.gz", four_d())
    (tmp_path / "maps.tsv").write_text(f"index\t{column}\n7\tA\n8\tB b\n9\tÇ\n", encoding="utf-8")
    assert label_atlas(path, space).names == ("A", "B b", "Ç")


def test_the_shipped_file_can_be_used_as_an_atlas(space):
    atlas, networks = label_atlas(SHIPPED / "networks.nii.gz", space), shipped_networks(space)
    assert atlas.names == networks.names
    np.testing.assert_array_equal(atlas.maps, networks.maps)


# ---------------------------------------------------------------- mistakes
def told(path, space):
    with pytest.raises(UsageError) as caught:
        label_atlas(path, space)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_files_that_are_not_an_atlas_are_refused(tmp_path, space):
    missing = told(tmp_path / "none.nii.gz", space)
    assert str(tmp_path / "none.nii.gz") in missing
    assert "does not exist" in missing
    (tmp_path / "text.nii.gz").write_text("no image")
    assert "cannot be read" in told(tmp_path / "text.nii.gz", space)
    path = save(tmp_path / "cut.nii.gz", four_d())
    path.write_bytes(path.read_bytes()[:-2000])
    assert str(path) in told(path, space)
    path = save(tmp_path / "cut3.nii.gz", regions())
    path.write_bytes(path.read_bytes()[:-200])
    assert str(path) in told(path, space)
    assert "5 dimensions" in told(
        save(tmp_path / "5d.nii.gz", np.zeros((*SHAPE, 2, 2), np.uint8)), space
    )
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert str(tmp_path) in told(save(tmp_path / "rgb.nii.gz", colours), space)


def test_a_3d_image_with_fractions_is_refused(tmp_path, space):
    data = regions(np.float32) / 2
    assert "holds fractions and no labels" in told(save(tmp_path / "a.nii.gz", data), space)


def test_too_many_maps_and_no_maps_are_refused(tmp_path, space, monkeypatch):
    monkeypatch.setattr(reference, "MAXIMUM_MAPS", 2)
    sentence = told(save(tmp_path / "a.nii.gz", regions()), space)
    assert "has 3 labels; between 1 and 2 are possible" in sentence
    assert "has 3 maps" in told(save(tmp_path / "b.nii.gz", four_d()), space)
    empty = save(tmp_path / "c.nii.gz", np.zeros(SHAPE, np.int16))
    assert "has 0 labels" in told(empty, space)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("index\tname\n2\tTwo\n11\tEleven\n", "a row for label 5."),
        ("index\tname\n11\tEleven\n", "a row for label 2 and 1 more."),
        ("number\tname\n2\tTwo\n", "a column index with numbers and a column name"),
        ("index\tlabel\n2\tTwo\n", "a column index with numbers and a column name"),
        ("index\tname\ntwo\tTwo\n", "a column index with numbers and a column name"),
        ("", "a row for label 2 and 2 more."),
    ],
)
def test_a_table_that_does_not_fit_the_labels_is_refused(tmp_path, space, table, what):
    path = save(tmp_path / "atlas.nii.gz", regions())
    (tmp_path / "atlas.tsv").write_text(table)
    sentence = told(path, space)
    assert str(tmp_path / "atlas.tsv") in sentence
    assert what in sentence


@pytest.mark.parametrize("table", ["", "name\nA\nB\n", "index\n1\n2\n3\n", "name\nA\nB\nC\nD\n"])
def test_a_table_that_does_not_fit_the_volumes_is_refused(tmp_path, space, table):
    path = save(tmp_path / "atlas.nii.gz", four_d())
    (tmp_path / "atlas.tsv").write_text(table)
    assert "one row for each of the 3 volumes" in told(path, space)


def test_a_table_that_is_not_text_is_refused(tmp_path, space):
    path = save(tmp_path / "atlas.nii.gz", four_d())
    (tmp_path / "atlas.tsv").write_bytes(b"name\n\xff\xfe\n")
    assert "cannot be read" in told(path, space)


def test_an_atlas_outside_the_mask_is_refused(tmp_path):
    elsewhere = space_at(10.0, origin=(400.0, 0.0, 0.0), mask=lambda at: at[..., 0] > 0)
    for name, data in (("a", regions()), ("b", four_d())):
        path = save(tmp_path / f"{name}.nii.gz", data)
        assert "0 in every voxel of the brain mask" in told(path, elsewhere)
