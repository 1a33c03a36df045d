"""From a run's file to its features: nilearn's numbers, in one read of little memory."""

from __future__ import annotations

import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from example_images import (
    AFFINE,
    ALL,
    DTYPES,
    N_VOLUMES,
    SEEDS,
    SHAPE,
    ball,
    few,
    grid_at,
    intensities,
    save,
    turned_affine,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.image import smooth_img
from nilearn.maskers import NiftiMasker

from nidecomp.core.errors import FailedRunError
from nidecomp.spaces import series as module
from nidecomp.spaces.images import grid_of
from nidecomp.spaces.voxels import VoxelSpace

SPACE = VoxelSpace(grid_at(AFFINE), ball(), "MNI152NLin2009cAsym")
# What float32 loses on the way, as a share of the largest number.
ROUNDING = 2e-6


def read_one(path, space=SPACE, kept=ALL, fwhm=6.0):
    """Read a run at one smoothing."""
    (series,), n_nonfinite, _ = space.read_series(path, kept, (fwhm,))
    return series, n_nonfinite


def masked(path, space, fwhm, **resampling):
    """Take the same voxels with nilearn's masker; it has no detrending or scaling to do here."""
    masker = NiftiMasker(
        mask_img=space.mask_image(),
        smoothing_fwhm=fwhm or None,
        standardize=None,
        detrend=False,
        **resampling,
    )
    masker.fit()
    if not resampling:
        return as_features(space, masker.transform(nib.load(path)))
    with pytest.warns(UserWarning, match="imgs are being resampled"):
        return as_features(space, masker.transform(nib.load(path)))


def as_features(space, series):
    """Bring the masker's columns (last axis fastest) into the order of features (first fastest)."""
    volume = np.empty((*space.mask.shape, len(series)), dtype=series.dtype)
    volume[space.mask] = series.T
    return volume.T[:, space.mask.T]


def smoothed(path, space, kept, fwhm):
    """Take the same voxels with nilearn's functions, in float64."""
    image = nib.load(path)
    values = np.asarray(image.dataobj)[..., kept].astype(np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    # nilearn warns of 0 and takes None.
    whole = smooth_img(nib.Nifti1Image(values, image.affine), fwhm or None)
    series = np.asarray(whole.dataobj).T[:, space.mask.T]
    series[:, without_data(values.T[:, space.mask.T].astype(np.float32))] = 0
    return series


def without_data(values):
    """Return which voxels have one value in all volumes, of those that have several values."""
    empty = np.ptp(values, axis=1) == 0 if values.shape[1] > 1 else np.zeros(len(values), bool)
    used = values[~empty]
    return np.ptp(used, axis=0) == 0 if len(used) > 1 else np.zeros(values.shape[1], bool)


def assert_same_within_float32(series, reference):
    assert series.dtype == np.float32
    np.testing.assert_allclose(series, reference, rtol=0, atol=ROUNDING * np.abs(reference).max())


# ---------------------------------------------------------------- nilearn as oracle
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "endian", "slope", "inter"),
    [
        ("uint8", "<", None, 0.0),
        ("int16", "<", None, 0.0),
        ("int16", "<", 0.37, -12.5),
        ("int16", ">", 0.37, -12.5),
        ("float32", "<", None, 0.0),
        ("float32", ">", None, 0.0),
        ("float64", "<", None, 0.0),
        ("float64", ">", None, 0.0),
    ],
)
def test_series_equals_the_masker(tmp_path, dtype, endian, slope, inter, suffix):
    path = save(
        tmp_path / f"run{suffix}",
        intensities(),
        dtype=dtype,
        endian=endian,
        slope=slope,
        inter=inter,
    )
    series, n_nonfinite = read_one(path)
    assert n_nonfinite == 0
    assert_same_within_float32(series, masked(path, SPACE, 6.0))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("scaling", [{}, {"slope": -1.7, "inter": 20.0}])
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("dtype", DTYPES)
def test_series_equals_nilearn_for_every_way_to_store_numbers(
    tmp_path, dtype, endian, scaling, suffix
):
    path = save(tmp_path / f"run{suffix}", intensities(), dtype=dtype, endian=endian, **scaling)
    for fwhm in (0.0, 6.0):
        assert_same_within_float32(read_one(path, fwhm=fwhm)[0], smoothed(path, SPACE, ALL, fwhm))


@st.composite
def ways_to_store(draw):
    floats = draw(st.booleans())
    return {
        "dtype": draw(st.sampled_from(DTYPES[-2:] if floats else DTYPES[:-2])),
        "endian": draw(st.sampled_from("<>")),
        "slope": draw(st.sampled_from([None, 1.0, -0.3, 1e-3, 40.0])),
        "inter": draw(st.sampled_from([0.0, 0.5, -20.0, 1000.0])),
        "version": draw(st.sampled_from([1, 2])),
        "extension": draw(st.sampled_from([0, 0, 1, 700])),
    }


@settings(few, max_examples=80)
@given(
    seed=SEEDS,
    way=ways_to_store(),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    fwhm=st.sampled_from([0.0, 1.0, 4.0, 8.0, 25.0, 80.0]),
    share=st.sampled_from([0.02, 0.5, 1.0]),
    bad=st.sampled_from([0.0, 0.0, 0.05]),
)
def test_series_equals_nilearn_for_any_image(tmp_path_factory, seed, way, suffix, fwhm, share, bad):
    """Any shape, voxels of any size and turn, any mask, kernels from nothing to four images."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 12, 3))
    data = rng.integers(0, 120, (*shape, 4)).astype(np.float64)
    if way["dtype"].startswith("float"):
        data = data + rng.standard_normal(data.shape)
        broken = rng.random(data.shape) < bad
        data[broken] = rng.choice([np.nan, np.inf, -np.inf], broken.sum())
    path = save(tmp_path_factory.getbasetemp() / f"any{suffix}", data, turned_affine(rng), **way)
    mask = rng.random(shape) < share
    mask[tuple(rng.integers(0, shape))] = True
    space = VoxelSpace(grid_of(nib.load(path), path), mask, "MNI152NLin2009cAsym")
    kept = np.flatnonzero(rng.permuted([True, True, False, rng.random() < 0.5]))
    series, n_nonfinite = read_one(path, space, kept, fwhm)
    assert_same_within_float32(series, smoothed(path, space, kept, fwhm))
    lost = ~np.isfinite(data[..., kept]).all(axis=-1)
    assert n_nonfinite == np.count_nonzero(lost & mask)


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_series_equals_the_masker_for_flipped_axes(tmp_path, signs):
    affine = AFFINE @ np.diag([*signs, 1])
    space = VoxelSpace(grid_at(affine), ball(), "MNI152NLin2009cAsym")
    path = save(tmp_path / "run.nii.gz", intensities(), affine)
    assert_same_within_float32(read_one(path, space)[0], masked(path, space, 6.0))


@pytest.mark.parametrize("sizes", [(1.0, 3.0, 20.0), (20.0, 1.0, 3.0), (3.0, 20.0, 1.0)])
def test_each_axis_has_the_kernel_of_its_voxel_size(tmp_path, sizes):
    """At 20 mm a voxel is wider than the kernel of 4 mm: nothing is smoothed along that axis."""
    affine = np.diag([*sizes, 1.0])
    space = VoxelSpace(grid_at(affine), np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
    path = save(tmp_path / "run.nii", intensities(), affine)
    series, _ = read_one(path, space, fwhm=4.0)
    assert_same_within_float32(series, smoothed(path, space, ALL, 4.0))
    assert_same_within_float32(series, masked(path, space, 4.0))


def test_without_smoothing_the_voxels_are_read_as_they_are(tmp_path):
    data = intensities()
    series, _ = read_one(save(tmp_path / "run.nii.gz", data), fwhm=0.0)
    expected = np.stack([SPACE.features(data[..., index]) for index in ALL])
    np.testing.assert_array_equal(series, expected.astype(np.float32))


def test_a_voxel_comes_back_to_its_place(tmp_path):
    data = intensities()
    series, _ = read_one(save(tmp_path / "run.nii.gz", data), fwhm=0.0)
    image = np.asarray(SPACE.image(series).dataobj)
    np.testing.assert_array_equal(image[SPACE.mask], data[SPACE.mask])


# ---------------------------------------------------------------- which volumes, which smoothings
@few
@given(
    kept=st.sets(st.integers(0, N_VOLUMES - 1), min_size=1),
    fwhm=st.sampled_from([0.0, 6.0]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_only_kept_volumes_are_read_and_in_their_order(tmp_path_factory, kept, fwhm, suffix):
    kept = np.array(sorted(kept))
    data = intensities()
    folder = tmp_path_factory.getbasetemp()
    every, _ = read_one(save(folder / f"every{suffix}", data), fwhm=fwhm)
    some, _ = read_one(folder / f"every{suffix}", kept=kept, fwhm=fwhm)
    raw, _ = read_one(folder / f"every{suffix}", fwhm=0.0)
    # Voxels that do not change over several volumes have no signal.
    has_signal = (np.ptp(raw[kept], axis=0) > 0) | (len(kept) == 1)
    expected = np.where(has_signal, every[kept], 0)
    assert some.tobytes() == expected.astype(np.float32).tobytes()
    # What stands in the dropped ones does not matter, even where it is no number.
    data[..., np.setdiff1d(ALL, kept)] = np.nan
    other, n_nonfinite = read_one(save(folder / f"other{suffix}", data), kept=kept, fwhm=fwhm)
    assert other.tobytes() == some.tobytes()
    assert n_nonfinite == 0


@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize("fwhms", [(6.0, 0.0), (0.0, 6.0, 3.0), (4.0, 4.5)])
def test_several_smoothings_of_one_read_are_those_of_a_read_each(tmp_path, fwhms, shift):
    shifted = AFFINE.copy()
    shifted[0, 3] += shift
    space = VoxelSpace(grid_at(shifted), ball(), "MNI152NLin2009cAsym")
    data = intensities()
    data[4, 4, 4, 2] = np.nan
    path = save(tmp_path / "run.nii.gz", data)
    together, n_nonfinite, _ = space.read_series(path, ALL, fwhms)
    assert len(together) == len(fwhms)
    assert n_nonfinite == 1
    for series, fwhm in zip(together, fwhms, strict=True):
        assert series.tobytes() == read_one(path, space, fwhm=fwhm)[0].tobytes()


def test_the_same_numbers_stored_in_another_byte_order_give_the_same_bytes(tmp_path):
    given = {"slope": 0.3, "inter": 5.0}
    for dtype in DTYPES:
        series = {
            read_one(
                save(tmp_path / f"run{suffix}", intensities(), dtype=dtype, endian=endian, **given)
            )[0].tobytes()
            for endian in "<>"
            for suffix in (".nii", ".nii.gz")
        }
        assert len(series) == 1


def test_a_run_with_fewer_volumes_than_were_announced_fails(tmp_path):
    """It was replaced after its header was read: rows that nobody filled would be garbage."""
    path = save(tmp_path / "run.nii.gz", intensities())
    with pytest.raises(FailedRunError, match=r"run\.nii\.gz has 5 volumes"):
        read_one(path, kept=np.arange(N_VOLUMES + 1))


# ---------------------------------------------------------------- other grids
@pytest.mark.parametrize("fwhm", [0.0, 6.0])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("flip", [1, -1])
def test_another_grid_is_resampled_as_the_masker_does(tmp_path, dtype, flip, fwhm):
    shape = (7, 8, 7)
    target = np.array([[3.5 * flip, 0, 0, -10.0 * flip], [0, 3.5, 0, -13], [0, 0, 4.5, -8]])
    target = np.vstack([target, [0, 0, 0, 1]])
    space = VoxelSpace(grid_at(target, shape), ball(shape), "MNI152NLin2009cAsym")
    path = save(tmp_path / "run.nii.gz", intensities(), dtype=dtype)
    # nilearn rounds interpolated uint8 to whole numbers, so it is given the numbers as float32.
    as_float = save(tmp_path / "float.nii.gz", intensities(), dtype="float32")
    reference = masked(as_float, space, fwhm, target_affine=target, target_shape=shape)
    assert_same_within_float32(read_one(path, space, fwhm=fwhm)[0], reference)


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_type_are_resampled(tmp_path, dtype, endian):
    shifted = AFFINE.copy()
    shifted[:3, 3] += 1.0
    space = VoxelSpace(grid_at(shifted), ball(), "MNI152NLin2009cAsym")
    path = save(
        tmp_path / "run.nii.gz", intensities(), dtype=dtype, endian=endian, slope=-0.3, inter=4.0
    )
    as_float = save(tmp_path / "float.nii.gz", -0.3 * intensities() + 4.0, dtype="float64")
    reference = masked(as_float, space, 5.0, target_affine=shifted, target_shape=SHAPE)
    assert_same_within_float32(read_one(path, space, fwhm=5.0)[0], reference)


# ---------------------------------------------------------------- values that are no numbers
def test_voxels_that_are_not_finite_count_as_zero(tmp_path):
    data = intensities()
    inside, outside = np.argwhere(SPACE.mask), np.argwhere(~SPACE.mask)
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
        series, n_nonfinite = read_one(save(tmp_path / "broken.nii.gz", broken), fwhm=fwhm)
        expected, none = read_one(save(tmp_path / "zeroed.nii.gz", zeroed), fwhm=fwhm)
        np.testing.assert_array_equal(series, expected)
        assert (n_nonfinite, none) == (3, 0)


def test_only_kept_volumes_are_searched_for_values_that_are_not_finite(tmp_path):
    data = intensities()
    data[(*np.argwhere(SPACE.mask)[0], 0)] = np.nan
    path = save(tmp_path / "run.nii.gz", data)
    assert read_one(path, kept=ALL[1:], fwhm=0.0)[1] == 0
    assert read_one(path, fwhm=0.0)[1] == 1


def test_a_run_without_any_number_is_zero(tmp_path):
    path = save(tmp_path / "run.nii.gz", np.full((*SHAPE, N_VOLUMES), np.nan))
    found = SPACE.read_series(path, ALL, (6.0,))
    assert not found.series[0].any()
    # The values of empty volumes are not counted.
    assert (found.n_nonfinite, found.empty) == (0, tuple(ALL.tolist()))


def test_resampled_series_has_no_value_that_is_not_finite(tmp_path):
    data = intensities()
    data[4, 4, 4, :] = np.nan
    data[0, 0, 0, 2] = np.inf
    shifted = AFFINE.copy()
    shifted[0, 3] += 1.5
    space = VoxelSpace(grid_at(shifted), ball(), "MNI152NLin2009cAsym")
    series, n_nonfinite = read_one(save(tmp_path / "run.nii.gz", data), space)
    assert np.isfinite(series).all()
    # On another grid the whole image is counted.
    assert n_nonfinite == 2


# ---------------------------------------------------------------- voxels without data
def cut(level=0.0):
    """Return volumes beside whose field of view all values are the same."""
    data = intensities()
    data[6:] = level
    return data


@pytest.mark.parametrize("level", [0.0, 40.0, np.nan])
@pytest.mark.parametrize("fwhm", [0.0, 4.0, 12.0])
def test_voxels_beside_a_cut_field_of_view_get_nothing_of_their_neighbours(tmp_path, fwhm, level):
    path = save(tmp_path / "run.nii.gz", cut(level))
    series, n_nonfinite = read_one(path, fwhm=fwhm)
    beside = np.zeros(SHAPE, dtype=bool)
    beside[6:] = True
    beside = SPACE.features(beside)
    assert 0 < beside.sum() < len(beside) / 2
    np.testing.assert_array_equal(series[:, beside], 0)
    assert n_nonfinite == (beside.sum() if np.isnan(level) else 0)
    # In all other voxels, nothing changes.
    reference = smoothed(path, SPACE, ALL, fwhm)
    assert_same_within_float32(series[:, ~beside], reference[:, ~beside])


def test_a_voxel_that_varies_in_one_volume_keeps_its_series(tmp_path):
    data = intensities()
    voxel = (*np.argwhere(SPACE.mask)[7],)
    data[voxel] = 5
    data[(*voxel, 4)] = 6
    path = save(tmp_path / "run.nii.gz", data, dtype="int16", slope=0.5)
    assert_same_within_float32(read_one(path)[0], smoothed(path, SPACE, ALL, 6.0))
    series, _ = read_one(path, kept=ALL[:4])
    assert (~series.any(axis=0)).sum() == 1
    # A single volume cannot tell.
    assert read_one(path, kept=ALL[:1])[0].all()


def test_empty_volumes_do_not_make_voxels_vary(tmp_path):
    data = cut()
    data[..., 2] = 3
    found = SPACE.read_series(save(tmp_path / "run.nii.gz", data), ALL, (6.0,))
    assert found.empty == (2,)
    expected, _ = read_one(save(tmp_path / "cut.nii.gz", cut()))
    np.testing.assert_array_equal(found.series[0][[0, 1, 3, 4]], expected[[0, 1, 3, 4]])


@pytest.mark.parametrize("fwhm", [0.0, 6.0])
def test_resampled_voxels_nearest_to_a_voxel_without_data_have_none(tmp_path, fwhm):
    """And those beyond the image."""
    shifted = AFFINE.copy()
    shifted[:3, 3] -= AFFINE[:3, 0] * 0.3
    space = VoxelSpace(grid_at(shifted), np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
    series, _ = read_one(save(tmp_path / "run.nii.gz", cut()), space, fwhm=fwhm)
    whole, _ = read_one(save(tmp_path / "whole.nii.gz", intensities()), space, fwhm=fwhm)
    without = ~series.any(axis=0)
    expected = np.zeros(SHAPE, dtype=bool)
    # Index 6 of the target lies at 5.7 of the image, 0 at -0.3.
    expected[[0, *range(6, SHAPE[0])]] = True
    np.testing.assert_array_equal(without, space.features(expected))
    assert (~whole.any(axis=0)).sum() == expected[0].size


# ---------------------------------------------------------------- volumes without signal
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize(("slope", "inter"), [(None, 0.0), (0.37, -12.5)])
def test_volumes_of_one_value_within_the_mask_are_empty(tmp_path, dtype, slope, inter):
    data = intensities()
    data[..., 1] = 0
    data[SPACE.mask, 3] = 50
    # One voxel in hundreds is signal, wherever it is.
    data[..., 4] = 7
    data[(*np.argwhere(SPACE.mask)[101], 4)] = 8
    scaling = {"dtype": dtype, "slope": slope, "inter": inter}
    path = save(tmp_path / "run.nii.gz", data, **scaling)
    assert SPACE.read_series(path, ALL, (0.0, 6.0)).empty == (1, 3)
    assert SPACE.read_series(path, np.array([0, 3]), (6.0,)).empty == (1,)


def test_resampled_volumes_are_empty_if_the_whole_image_has_one_value(tmp_path):
    data = intensities()
    data[..., 1] = 0
    data[..., 2] = 9
    data[..., 3] = np.nan
    shifted = AFFINE.copy()
    shifted[0, 3] += 1.5
    space = VoxelSpace(grid_at(shifted), ball(), "MNI152NLin2009cAsym")
    found = space.read_series(save(tmp_path / "run.nii.gz", data), ALL, (0.0, 6.0))
    assert (found.n_nonfinite, found.empty) == (0, (1, 2, 3))


def test_the_mask_is_only_looked_at_where_a_few_voxels_are_the_same(tmp_path, monkeypatch):
    """Looking for empty volumes takes no time in a run that has none."""
    looked_at = []
    whole = module.Probe._is_constant

    def counted(probe, stored):
        looked_at.append(stored.size)
        return whole(probe, stored)

    monkeypatch.setattr(module.Probe, "_is_constant", counted)
    data = intensities()
    data[..., 2] = 0
    read_one(save(tmp_path / "run.nii.gz", data))
    assert looked_at == [64, 64, 64, SPACE.n_features, 64, 64]


def test_a_mask_of_one_voxel_cannot_tell_empty_volumes(tmp_path):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4, 4, 4] = True
    space = VoxelSpace(grid_at(AFFINE), mask, "MNI152NLin2009cAsym")
    assert space.read_series(save(tmp_path / "run.nii", intensities()), ALL, (0.0,)).empty == ()


def test_a_grid_that_differs_by_rounding_is_not_resampled(tmp_path):
    rounded = AFFINE.copy()
    rounded[:3] += 1e-4
    exact, other = save(tmp_path / "exact.nii", intensities()), tmp_path / "rounded.nii"
    save(other, intensities(), rounded)
    assert read_one(other)[0].tobytes() == read_one(exact)[0].tobytes()


# ---------------------------------------------------------------- memory
@pytest.mark.parametrize(
    ("suffix", "moved"), [(".nii", False), (".nii.gz", False), (".nii.gz", True)]
)
def test_memory_is_what_is_returned_and_a_few_volumes(tmp_path, moved, suffix):
    """As stored, as float32 (in part), what is no number: and 1.5 MB for reading and headers."""
    shape, n_volumes = (50, 50, 40), 60
    data = np.random.default_rng(0).integers(0, 99, (*shape, n_volumes), dtype=np.int16)
    path = save(tmp_path / f"run{suffix}", data, dtype="int16")
    place = AFFINE.copy()
    place[0, 3] += 1.0 if moved else 0.0
    mask = np.zeros(shape, dtype=bool)
    mask[10:40, 10:40, 10:30] = True
    space = VoxelSpace(grid_at(place, shape), mask, "MNI152NLin2009cAsym")
    # Imports and compiled loops come first.
    read_one(path, space, ALL[:1])
    tracemalloc.start()
    try:
        series, _ = read_one(path, space, np.arange(n_volumes))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_voxels = np.prod(shape)
    # nilearn moves a volume in float64, with copies of its own: the forecast says 40 bytes.
    volumes = n_voxels * (40 if moved else 2 + 1 + 4)
    assert peak - series.nbytes < volumes + 1.5e6
    assert volumes + 1.5e6 < data.nbytes / (2 if moved else 4)


def test_a_packed_run_takes_its_numbers_and_a_few_volumes(tmp_path):
    shape, n_volumes = (50, 50, 40), 60
    data = np.random.default_rng(0).integers(0, 99, (*shape, n_volumes), dtype=np.int16)
    path = save(tmp_path / "run.nii.gz", data, dtype="int16")
    mask = np.zeros(shape, dtype=bool)
    mask[10:40, 10:40, 10:30] = True
    space = VoxelSpace(grid_at(AFFINE, shape), mask, "MNI152NLin2009cAsym")
    space.read_packed(path, ALL[:1], (6.0,))
    tracemalloc.start()
    try:
        (series,), _, _ = space.read_packed(path, np.arange(n_volumes), (6.0,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As stored, what is no number, and as float32 (in part), as for `read_series`.
    assert peak - series.nbytes < np.prod(shape) * (2 + 1 + 4) + 1.5e6
    assert series.nbytes < 0.65 * 4 * n_volumes * mask.sum()


def test_the_file_is_read_once_whatever_is_asked_of_it(tmp_path, monkeypatch):
    path = save(tmp_path / "run.nii.gz", intensities())
    calls = []
    really_stored = module.stored_volumes
    monkeypatch.setattr(
        module, "stored_volumes", lambda *given: calls.append(given) or really_stored(*given)
    )
    SPACE.read_series(path, ALL, (0.0, 3.0, 6.0))
    assert len(calls) == 1
