"""Voxels of a mask: to features and back, their places, and the identity of a space."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine

from nidecomp.spaces.grid import Grid
from nidecomp.spaces.nifti import nifti
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (4, 5, 6)
SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def grid_of(affine):
    return Grid(SHAPE, tuple(tuple(float(value) for value in row) for row in affine))


def space_of(seed):
    """Draw a mask and an affine with flips, turns and unequal voxel sizes."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    affine[:3, :3] = turn * rng.uniform(1, 4, 3)
    affine[:3, 3] = rng.uniform(-90, 90, 3)
    mask = rng.random(SHAPE) < 0.4
    mask[0, 0, 0] = True
    return VoxelSpace(grid_of(affine), mask, "MNI152NLin2009cAsym")


@few
@given(seed=SEEDS)
def test_maps_go_into_an_image_and_come_back(seed):
    space = space_of(seed)
    maps = np.random.default_rng(seed).standard_normal((3, space.n_features))
    maps = maps.astype(np.float32)
    image = space.image(maps)
    data = np.asarray(image.dataobj)
    assert data.dtype == np.float32
    assert data.shape == (*SHAPE, 3)
    for index, one in enumerate(maps):
        np.testing.assert_array_equal(space.features(data[..., index]), one)
    assert not data[~space.mask].any()


@few
@given(seed=SEEDS)
def test_features_stand_in_the_order_of_the_file(seed):
    """The first axis varies fastest: a volume is read from one end to the other."""
    space = space_of(seed)
    places = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE, order="F")
    features = space.features(places)
    assert (np.diff(features) > 0).all()
    np.testing.assert_array_equal(np.sort(places[space.mask]), features)
    # So an image of maps lies in memory as it will in the file: writing it transposes nothing.
    assert np.asarray(space.image(np.stack([features] * 2)).dataobj).flags.f_contiguous


def test_one_map_gives_a_3d_image():
    space = space_of(1)
    image = space.image(np.arange(space.n_features, dtype=np.float32))
    assert image.shape == SHAPE
    np.testing.assert_array_equal(
        space.features(np.asarray(image.dataobj)), np.arange(space.n_features)
    )


def test_an_image_survives_the_file(tmp_path):
    space = space_of(2)
    maps = np.random.default_rng(2).standard_normal((2, space.n_features)).astype(np.float32)
    nib.save(space.image(maps), tmp_path / "maps.nii.gz")
    stored = nib.load(tmp_path / "maps.nii.gz")
    for index, one in enumerate(maps):
        np.testing.assert_array_equal(space.features(stored.dataobj[..., index]), one)
    np.testing.assert_allclose(stored.affine, space.grid.matrix, atol=1e-4)


@few
@given(seed=SEEDS)
def test_coordinates_are_those_that_nibabel_gives_the_image(seed):
    space = space_of(seed)
    n = space.n_features
    features = np.random.default_rng(seed).integers(0, n, 5)
    places = space.coordinates(features)
    # An image that holds each feature's number says which voxel the feature is.
    numbers = np.asarray(space.image(np.arange(1, n + 1, dtype=np.float32)).dataobj)
    for feature, place in zip(features, places, strict=True):
        (voxel,) = np.argwhere(numbers == feature + 1)
        expected = apply_affine(space.image(np.zeros(n, np.float32)).affine, voxel)
        np.testing.assert_allclose(place, expected, atol=1e-4)


@few
@given(seed=SEEDS, voxel=st.tuples(*(st.integers(0, size - 1) for size in SHAPE)))
def test_digest_changes_with_any_voxel(seed, voxel):
    space = space_of(seed)
    mask = space.mask.copy()
    mask[voxel] = ~mask[voxel]
    assert VoxelSpace(space.grid, mask, "MNI152NLin2009cAsym").digest != space.digest
    assert VoxelSpace(space.grid, space.mask.copy(), "MNI152NLin2009cAsym").digest == space.digest


@few
@given(seed=SEEDS, entry=st.tuples(st.integers(0, 2), st.integers(0, 3)))
def test_digest_changes_with_any_entry_of_the_affine(seed, entry):
    space = space_of(seed)
    affine = space.grid.matrix
    affine[entry] += 1e-4
    assert VoxelSpace(grid_of(affine), space.mask, "MNI152NLin2009cAsym").digest != space.digest


def test_digest_changes_with_the_shape():
    mask = np.ones((2, 3, 4), dtype=bool)
    matrix = grid_of(np.eye(4)).affine
    digests = {
        VoxelSpace(Grid(shape, matrix), mask.reshape(shape), "MNI152NLin2009cAsym").digest
        for shape in [(2, 3, 4), (4, 3, 2), (3, 2, 4)]
    }
    assert len(digests) == 3


def test_header_says_mm_and_seconds_template_space_and_no_scaling():
    space = space_of(3)
    image = space.image(np.ones((2, space.n_features), dtype=np.float32))
    header = image.header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)
    # nibabel writes NaN for "no scaling" until the image is saved.
    assert header.get_slope_inter() == (None, None)
    for form in (image.get_sform(), image.get_qform()):
        np.testing.assert_allclose(form, space.grid.matrix, atol=1e-4)


def test_mask_image_is_the_mask_as_small_numbers():
    space = space_of(4)
    image = space.mask_image()
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj) > 0, space.mask)
    assert space.n_features == int(np.asarray(image.dataobj).sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_keeps_the_type_of_its_data(dtype):
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    image = nifti(data, grid_of(np.eye(4)))
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)


def test_maps_have_no_scaling_in_their_file() -> None:
    """NaN means the same to nibabel, and other things to other programs."""
    space = space_of(0)
    maps = np.ones((2, space.n_features), dtype=np.float32)
    for content in (space.encode(maps), b"".join(space.encode_each(iter(maps), 2))):
        assert struct.unpack("<ff", gzip.decompress(content)[112:120]) == (1.0, 0.0)
