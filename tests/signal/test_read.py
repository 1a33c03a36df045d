"""Reading images: the numbers are those of nilearn's masker, broken files are told by name."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from nidecomp.errors import FailedRunError
from nidecomp.records import Grid
from nidecomp.signal.geometry import VoxelGeometry, nifti
from nidecomp.signal.read import grid_of, read_header, read_mask, read_series

SHAPE = (9, 10, 8)
N_VOLUMES = 5
ALL = np.arange(N_VOLUMES)
AFFINE = np.array([[3.0, 0, 0, -12], [0, 3, 0, -15], [0, 0, 4, -9], [0, 0, 0, 1]])


def grid_at(affine, shape=SHAPE):
    return Grid(shape, tuple(tuple(float(value) for value in row) for row in affine))


def ball(shape=SHAPE):
    """Make a mask that keeps clear of the image's border."""
    places = np.indices(shape).T - (np.array(shape) - 1) / 2
    return (np.sum((places / (np.array(shape) / 2 - 1)) ** 2, axis=-1) <= 1).T


def intensities(seed=0, low=20, high=250):
    return np.random.default_rng(seed).integers(low, high, (*SHAPE, N_VOLUMES)).astype(np.float64)


def save(path, data, affine=AFFINE, *, dtype=np.float32, endian="<", slope=None, inter=0.0):
    header = nib.Nifti1Header(endianness=endian)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(endian))
    header.set_xyzt_units("mm", "sec")
    if slope is None:
        # nibabel would scale floats to the type's whole range: whole numbers are stored as such.
        data = data.astype(dtype)
    image = nib.Nifti1Image(data, affine, header)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    image.header["pixdim"][4] = 2.0
    nib.save(image, path)
    return path


def masked(path, geometry, fwhm, **resampling):
    """Take the same voxels with nilearn; it has no detrending or scaling to do here."""
    masker = NiftiMasker(
        mask_img=geometry.mask_image(),
        smoothing_fwhm=fwhm,
        standardize=None,
        detrend=False,
        **resampling,
    )
    masker.fit()
    if not resampling:
        return masker.transform(nib.load(path))
    with pytest.warns(UserWarning, match="imgs are being resampled"):
        return masker.transform(nib.load(path))


def assert_same_within_float32(series, reference):
    assert series.dtype == np.float32
    np.testing.assert_allclose(series, reference, rtol=0, atol=4e-6 * np.abs(reference).max())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "endian", "slope", "inter"),
    [
        (np.uint8, "<", None, 0.0),
        (np.int16, "<", None, 0.0),
        (np.int16, "<", 0.37, -12.5),
        (np.int16, ">", 0.37, -12.5),
        (np.float32, "<", None, 0.0),
        (np.float32, ">", None, 0.0),
        (np.float64, "<", None, 0.0),
        (np.float64, ">", None, 0.0),
    ],
)
def test_series_equals_the_masker_for_every_way_to_store_numbers(
    tmp_path, dtype, endian, slope, inter, suffix
):
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    path = save(
        tmp_path / f"run{suffix}",
        intensities(),
        dtype=dtype,
        endian=endian,
        slope=slope,
        inter=inter,
    )
    assert nib.load(path).get_data_dtype() == np.dtype(dtype).newbyteorder(endian)
    series, n_nonfinite = read_series(path, geometry, ALL, 6.0)
    assert n_nonfinite == 0
    assert_same_within_float32(series, masked(path, geometry, 6.0))


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_series_equals_the_masker_for_flipped_axes(tmp_path, signs):
    affine = AFFINE @ np.diag([*signs, 1])
    geometry = VoxelGeometry(grid_at(affine), ball())
    path = save(tmp_path / "run.nii.gz", intensities(), affine)
    series, _ = read_series(path, geometry, ALL, 6.0)
    assert_same_within_float32(series, masked(path, geometry, 6.0))


def test_without_smoothing_the_voxels_are_read_as_they_are(tmp_path):
    data = intensities()
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    series, _ = read_series(save(tmp_path / "run.nii.gz", data), geometry, ALL, 0)
    np.testing.assert_array_equal(series, data[geometry.mask].T.astype(np.float32))


@pytest.mark.parametrize("fwhm", [0.0, 6.0])
def test_only_kept_volumes_are_read_and_in_their_order(tmp_path, fwhm):
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    path = save(tmp_path / "run.nii.gz", intensities())
    every, _ = read_series(path, geometry, ALL, fwhm)
    some, _ = read_series(path, geometry, np.array([1, 2, 4]), fwhm)
    np.testing.assert_array_equal(some, every[[1, 2, 4]])


@pytest.mark.parametrize("fwhm", [0.0, 6.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("flip", [1, -1])
def test_another_grid_is_resampled_as_the_masker_does(tmp_path, dtype, flip, fwhm):
    shape = (7, 8, 7)
    target = np.array([[3.5 * flip, 0, 0, -10.0 * flip], [0, 3.5, 0, -13], [0, 0, 4.5, -8]])
    target = np.vstack([target, [0, 0, 0, 1]])
    geometry = VoxelGeometry(grid_at(target, shape), ball(shape))
    path = save(tmp_path / "run.nii.gz", intensities(), dtype=dtype)
    # nilearn rounds interpolated uint8 to whole numbers, so it is given the numbers as float32.
    as_float = save(tmp_path / "float.nii.gz", intensities(), dtype=np.float32)
    reference = masked(as_float, geometry, fwhm or None, target_affine=target, target_shape=shape)
    series, _ = read_series(path, geometry, ALL, fwhm)
    assert_same_within_float32(series, reference)


def test_voxels_that_are_not_finite_count_as_zero(tmp_path):
    data = intensities()
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    inside, outside = np.argwhere(geometry.mask), np.argwhere(~geometry.mask)
    broken, zeroed = data.copy(), data.copy()
    for voxel, volume, value in [
        (inside[0], 0, np.nan),
        (inside[0], 3, np.inf),
        (inside[1], 1, -np.inf),
        (inside[2], 4, np.inf),
        (outside[0], 2, np.nan),
    ]:
        broken[(*voxel, volume)], zeroed[(*voxel, volume)] = value, 0.0
    for fwhm in (0.0, 6.0):
        series, n_nonfinite = read_series(
            save(tmp_path / "broken.nii.gz", broken), geometry, ALL, fwhm
        )
        expected, none = read_series(save(tmp_path / "zeroed.nii.gz", zeroed), geometry, ALL, fwhm)
        np.testing.assert_array_equal(series, expected)
        assert (n_nonfinite, none) == (3, 0)


def test_only_kept_volumes_are_searched_for_values_that_are_not_finite(tmp_path):
    data = intensities()
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    data[(*np.argwhere(geometry.mask)[0], 0)] = np.nan
    path = save(tmp_path / "run.nii.gz", data)
    assert read_series(path, geometry, ALL[1:], 0)[1] == 0
    assert read_series(path, geometry, ALL, 0)[1] == 1


def test_resampled_series_has_no_value_that_is_not_finite(tmp_path):
    data = intensities()
    data[4, 4, 4, :] = np.nan
    data[0, 0, 0, 2] = np.inf
    shifted = AFFINE.copy()
    shifted[0, 3] += 1.5
    geometry = VoxelGeometry(grid_at(shifted), ball())
    series, n_nonfinite = read_series(save(tmp_path / "run.nii.gz", data), geometry, ALL, 6.0)
    assert np.isfinite(series).all()
    # On another grid the whole image is counted.
    assert n_nonfinite == 2


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


def test_grids_that_differ_by_float32_rounding_are_the_same():
    exact = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE)
    rounded = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE * (1 + 1e-7))
    moved = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 1e-3)
    places = [grid_of(image, None) for image in (exact, rounded, moved)]
    assert places[0] == places[1]
    assert places[0] != places[2]


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 5, 2)])
def test_image_that_is_not_4d_is_no_run(tmp_path, shape):
    path = save(tmp_path / "flat.nii.gz", np.zeros(shape))
    with pytest.raises(FailedRunError, match=rf"flat\.nii\.gz has {len(shape)} dimensions"):
        read_header(path)


@pytest.mark.parametrize("broken", ["nan", "singular"])
def test_affine_that_maps_nothing_is_told(tmp_path, broken):
    image = nib.Nifti1Image(intensities().astype(np.float32), AFFINE)
    image.header.set_sform(AFFINE, code=1)
    if broken == "nan":
        image.header["srow_x"] = np.nan
    else:
        image.header["srow_x"] = image.header["srow_y"]
    nib.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_filename(
        tmp_path / "lost.nii.gz"
    )
    geometry = VoxelGeometry(grid_at(AFFINE), ball())
    with pytest.raises(FailedRunError, match=r"lost\.nii\.gz has an affine"):
        read_header(tmp_path / "lost.nii.gz")
    with pytest.raises(FailedRunError, match=r"lost\.nii\.gz has an affine"):
        read_series(tmp_path / "lost.nii.gz", geometry, ALL, 0)


def test_header_with_a_data_type_that_does_not_exist_is_told(tmp_path):
    path = save(tmp_path / "odd.nii", intensities())
    content = bytearray(path.read_bytes())
    content[70:72] = (999).to_bytes(2, "little")  # the field `datatype`
    path.write_bytes(content)
    with pytest.raises(FailedRunError, match=r"odd\.nii"):
        read_header(path)


# ---------------------------------------------------------------- broken files
def read_everything(path):
    """Read all that a run's file is asked for, the header first."""
    read_header(path)
    read_series(path, VoxelGeometry(grid_at(AFFINE), ball()), ALL, 0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_file_that_was_cut_off_is_told_by_its_name(tmp_path, suffix, share):
    # Noise does not compress: the file is cut where its numbers are, not behind them.
    data = np.random.default_rng(0).standard_normal((*SHAPE, N_VOLUMES))
    path = save(tmp_path / f"cut{suffix}", data)
    read_everything(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FailedRunError, match=r"cut\.nii"):
        read_everything(path)


def test_gzip_that_was_cut_off_says_so(tmp_path):
    path = save(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((*SHAPE, N_VOLUMES)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FailedRunError, match="cut off, copy it again"):
        read_everything(path)


def test_damaged_gzip_is_told_by_its_name(tmp_path):
    """A changed byte still unpacks to numbers; only the checksum at the end knows of it."""
    image = save(tmp_path / "image.nii", intensities()).read_bytes()
    content = bytearray(gzip.compress(image, compresslevel=0))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(content)
    with pytest.raises(FailedRunError, match=r"bad\.nii\.gz"):
        read_everything(path)


@pytest.mark.parametrize("packed", [False, True])
def test_text_under_an_images_name_is_told_by_its_name(tmp_path, packed):
    path = tmp_path / "text.nii.gz"
    text = b"This is not an image.\n" * 100
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(FailedRunError, match=r"text\.nii\.gz cannot be read"):
        read_everything(path)
    with pytest.raises(FailedRunError, match=r"text\.nii\.gz cannot be read"):
        read_mask(path)


def test_file_that_is_gone_is_told_by_its_name(tmp_path):
    with pytest.raises(FailedRunError, match=r"gone\.nii\.gz is not there"):
        read_header(tmp_path / "gone.nii.gz")


# ---------------------------------------------------------------- masks
def test_mask_on_its_own_grid_is_what_is_above_zero(tmp_path):
    values = np.random.default_rng(1).uniform(-1, 1, SHAPE)
    values[0, 0, 0] = np.nan
    path = save(tmp_path / "mask.nii.gz", values)
    for grid in (None, grid_at(AFFINE)):
        mask, own = read_mask(path, grid)
        np.testing.assert_array_equal(mask, np.nan_to_num(values) > 0)
        assert own == grid_at(AFFINE)


def test_mask_of_one_volume_is_a_mask(tmp_path):
    path = save(tmp_path / "mask.nii.gz", ball()[..., None].astype(float))
    np.testing.assert_array_equal(read_mask(path)[0], ball())


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
    moved, own = read_mask(tmp_path / "mask.nii.gz", grid_at(AFFINE))
    assert own == grid_at(flipped)
    np.testing.assert_array_equal(moved, mask)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift_mm", [500.0, -500.0])
def test_mask_that_lies_beside_the_grid_holds_none_of_it(tmp_path, shift_mm, axis):
    displaced = AFFINE.copy()
    displaced[axis, 3] += shift_mm
    path = save(tmp_path / "mask.nii.gz", ball().astype(float), displaced)
    mask, _ = read_mask(path, grid_at(AFFINE))
    assert mask.shape == SHAPE
    assert not mask.any()
