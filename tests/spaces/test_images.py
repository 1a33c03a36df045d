"""Headers for the checks, masks for the group's mask; broken files are told by name."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from example_images import AFFINE, N_VOLUMES, SHAPE, ball, grid_at, intensities, save

from nidecomp.core.errors import FailedRunError
from nidecomp.spaces.images import read_header, read_mask
from nidecomp.spaces.nifti import nifti


# ---------------------------------------------------------------- headers
@pytest.mark.parametrize(
    ("unit", "stored", "seconds"),
    [
        ("sec", 0.8, 0.8),
        ("msec", 800.0, 0.8),
        ("usec", 800000.0, 0.8),
        ("unknown", 0.8, 0.8),
        ("sec", 0.0, None),
        ("sec", np.nan, None),
        ("hz", 0.8, None),
    ],
)
def test_repetition_time_of_the_header_comes_in_seconds(tmp_path, unit, stored, seconds):
    image = nib.Nifti1Image(intensities().astype(np.float32), AFFINE)
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = stored
    nib.save(image, tmp_path / "run.nii.gz")
    header = read_header(tmp_path / "run.nii.gz")
    assert header.repetition_time_s == (None if seconds is None else pytest.approx(seconds))
    assert header.n_volumes == N_VOLUMES
    assert header.grid == grid_at(AFFINE)


@pytest.mark.parametrize(("dtype", "n_bytes"), [("uint8", 1), ("int16", 2), ("float64", 8)])
def test_header_says_how_large_a_number_is(tmp_path, dtype, n_bytes):
    path = save(tmp_path / "run.nii.gz", intensities(), dtype=dtype, endian=">")
    assert read_header(path).stored_bytes == n_bytes


def test_unit_that_does_not_exist_is_none(tmp_path):
    image = nib.Nifti1Image(intensities().astype(np.float32), AFFINE)
    image.header["xyzt_units"] = 255
    image.to_filename(tmp_path / "run.nii.gz")
    assert read_header(tmp_path / "run.nii.gz").repetition_time_s is None


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 5, 2)])
def test_image_that_is_not_4d_is_no_run(tmp_path, shape):
    path = save(tmp_path / "flat.nii.gz", np.zeros(shape))
    with pytest.raises(FailedRunError, match=rf"flat\.nii\.gz has {len(shape)} dimensions"):
        read_header(path)


@pytest.mark.parametrize("size", [0, -3])
def test_dimension_that_holds_nothing_is_told(tmp_path, size):
    path = save(tmp_path / "odd.nii", intensities())
    content = bytearray(path.read_bytes())
    content[42:44] = size.to_bytes(2, "little", signed=True)  # the field `dim[1]`
    path.write_bytes(content)
    with pytest.raises(FailedRunError, match=rf"odd\.nii has a dimension of {size}"):
        read_header(path)


def test_header_with_a_data_type_that_does_not_exist_is_told(tmp_path):
    path = save(tmp_path / "odd.nii", intensities())
    content = bytearray(path.read_bytes())
    content[70:72] = (999).to_bytes(2, "little")  # the field `datatype`
    path.write_bytes(content)
    with pytest.raises(FailedRunError, match=r"odd\.nii"):
        read_header(path)


@pytest.mark.parametrize("packed", [False, True])
def test_text_under_an_images_name_is_told_by_its_name(tmp_path, packed):
    path = tmp_path / "text.nii.gz"
    text = b"This is not an image.\n" * 100
    path.write_bytes(gzip.compress(text) if packed else text)
    for reads in (read_header, read_mask):
        with pytest.raises(FailedRunError, match=r"text\.nii\.gz cannot be read"):
            reads(path)


def test_file_that_is_gone_is_told_by_its_name(tmp_path):
    for reads in (read_header, read_mask):
        with pytest.raises(FailedRunError, match=r"gone\.nii\.gz does not exist"):
            reads(tmp_path / "gone.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_mask_that_was_cut_off_is_told_by_its_name(tmp_path, suffix):
    path = save(tmp_path / f"mask{suffix}", np.random.default_rng(0).random(SHAPE))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FailedRunError, match=r"mask\.nii"):
        read_mask(path)


def test_mask_that_is_not_what_was_compressed_is_told(tmp_path):
    """All its voxels can be read; the checksum behind them says that they are others."""
    path = save(tmp_path / "mask.nii.gz", ball().astype(np.uint8))
    content = gzip.decompress(path.read_bytes())
    third = len(content) // 3
    damaged = gzip.compress(content[:-third] + bytes(third))
    path.write_bytes(damaged[:-8] + path.read_bytes()[-8:])
    with pytest.raises(FailedRunError, match=r"mask\.nii\.gz cannot be read"):
        read_mask(path)


def test_mask_of_colours_is_told(tmp_path):
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(colours, AFFINE).to_filename(tmp_path / "mask.nii.gz")
    with pytest.raises(FailedRunError, match="one real number in each voxel"):
        read_mask(tmp_path / "mask.nii.gz")


# ---------------------------------------------------------------- masks
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize(("outside", "inside"), [(0, 1), (0, 100), (1, 2)])
def test_the_greater_of_two_values_is_inside(tmp_path, dtype, outside, inside):
    values = np.where(ball(), inside, outside).astype(float)
    mask = read_mask(save(tmp_path / "mask.nii.gz", values, dtype=dtype))
    np.testing.assert_array_equal(mask.inside, ball())
    assert mask.inside.dtype == bool
    assert mask.grid == grid_at(AFFINE)
    assert mask.n_voxels == np.count_nonzero(ball())
    assert mask.note is None


@pytest.mark.parametrize(("value", "is_inside"), [(0, False), (1, True), (np.nan, False)])
def test_a_mask_of_a_single_value_is_full_or_empty(tmp_path, value, is_inside):
    mask = read_mask(save(tmp_path / "mask.nii.gz", np.full(SHAPE, value, dtype=float)))
    assert (mask.inside == is_inside).all()
    assert mask.note is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_of_a_mask_that_are_not_finite_count_as_zero(tmp_path, bad):
    values = ball().astype(float)
    values[0, 0, 0] = bad
    values[4, 4, 4] = bad
    mask = read_mask(save(tmp_path / "mask.nii.gz", values))
    expected = ball()
    expected[4, 4, 4] = False
    np.testing.assert_array_equal(mask.inside, expected)
    assert mask.note is None


def test_faint_tails_of_a_mask_are_outside(tmp_path):
    """As a mask is that was resampled with a spline, or a probability: above 0 is everywhere."""
    values = np.full(SHAPE, 1e-6)
    values[ball()] = 0.8
    values[4, 4, 3:5] = (0.4, 0.39)
    values[0, 0] = -0.05
    expected = ball()
    expected[4, 4, 4] = False
    mask = read_mask(save(tmp_path / "mask.nii.gz", values, dtype="float64"))
    np.testing.assert_array_equal(mask.inside, expected)
    tenths = round(10 * np.count_nonzero(expected) / np.count_nonzero(values > 0))
    assert mask.note == (
        "is not binary: voxels of at least half of its maximum are used, "
        f"about {10 * tenths} % of those above 0"
    )


def test_half_of_the_maximum_of_whole_numbers_is_inside(tmp_path):
    values = np.zeros(SHAPE)
    values[2:6], values[6] = 128, 255
    values[1] = 127
    mask = read_mask(save(tmp_path / "mask.nii.gz", values, dtype="uint8"))
    np.testing.assert_array_equal(mask.inside, values > 127)
    assert mask.note is not None
    assert "about 80 % of those above 0" in mask.note


def test_negative_values_are_no_mask(tmp_path):
    values = np.random.default_rng(1).uniform(-1, 1, SHAPE)
    with pytest.raises(FailedRunError, match=r"mask\.nii\.gz has negative values"):
        read_mask(save(tmp_path / "mask.nii.gz", values))


def test_mask_of_one_volume_is_a_mask(tmp_path):
    path = save(tmp_path / "mask.nii.gz", ball()[..., None].astype(float))
    np.testing.assert_array_equal(read_mask(path).inside, ball())


def test_run_is_no_mask(tmp_path):
    with pytest.raises(FailedRunError, match=r"run\.nii\.gz has 4 dimensions; a mask has 3"):
        read_mask(save(tmp_path / "run.nii.gz", intensities()))


def test_mask_on_a_flipped_grid_is_the_same_brain(tmp_path):
    """Nearest neighbours of voxels that lie on each other are those voxels."""
    mask = ball()
    mask[2, 3, 4] = False
    flipped = AFFINE.copy()
    flipped[0, 0], flipped[0, 3] = -AFFINE[0, 0], AFFINE[0, 3] + AFFINE[0, 0] * (SHAPE[0] - 1)
    nib.save(nifti(mask[::-1].astype(np.uint8), grid_at(flipped)), tmp_path / "mask.nii.gz")
    found = read_mask(tmp_path / "mask.nii.gz")
    assert found.grid == grid_at(flipped)
    np.testing.assert_array_equal(found.on(grid_at(AFFINE)), mask)
    assert found.share_within(grid_at(AFFINE)) == 1


def test_mask_whose_affine_differs_by_rounding_is_not_resampled(tmp_path):
    rounded = AFFINE + 1e-4 * np.eye(4)[[0, 1, 2, 2]]
    found = read_mask(save(tmp_path / "mask.nii.gz", ball().astype(float), rounded))
    assert found.grid != grid_at(AFFINE)
    assert found.on(grid_at(AFFINE)) is found.inside


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift_mm", [500.0, -500.0])
def test_mask_that_lies_beside_the_grid_holds_none_of_it(tmp_path, shift_mm, axis):
    displaced = AFFINE.copy()
    displaced[axis, 3] += shift_mm
    found = read_mask(save(tmp_path / "mask.nii.gz", ball().astype(float), displaced))
    mask = found.on(grid_at(AFFINE))
    assert mask.shape == SHAPE
    assert not mask.any()
    assert found.share_within(grid_at(AFFINE)) == 0


def test_the_share_of_a_mask_in_the_field_of_view_is_by_volume(tmp_path):
    """A box of 6 voxels along x, at half of the voxel size, of which the image holds a part."""
    half = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    box = np.zeros(SHAPE)
    box[2:8, 3:5, 3:5] = 1
    found = read_mask(save(tmp_path / "mask.nii.gz", box, half))
    assert found.share_within(grid_at(AFFINE)) == 1
    cut = AFFINE.copy()
    # The image begins before the fifth of these voxels.
    cut[0, 3] += 3 * 3.0
    assert found.share_within(grid_at(cut)) == pytest.approx(3 / 6)
