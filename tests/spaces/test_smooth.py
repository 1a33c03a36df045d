"""Smoothing within a mask is scipy's Gaussian filter of the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from example_images import DTYPES, INTEGERS, SEEDS, few
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nidecomp.spaces.smooth import half_kernel, make_smoother

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
# What float32 loses in three passes of sums, as a share of the largest number.
ROUNDING = 1e-6


def taken(mask, sizes, fwhm, volume, scaling=(1.0, 0.0)):
    """Smooth one volume, given with the first axis first; features begin as garbage."""
    stored = np.ascontiguousarray(volume.T)
    features = np.full(np.count_nonzero(mask), np.nan, dtype=np.float32)
    nonfinite = np.zeros(stored.shape, dtype=np.bool_)
    make_smoother(mask, sizes, fwhm).take(stored, scaling, features, nonfinite)
    return features, nonfinite.T


def expected(mask, sizes, fwhm, volume):
    sigma = fwhm / FWHM_PER_SIGMA / np.array(sizes)
    return gaussian_filter(volume.astype(np.float64), sigma).T[mask.T]


def draw(seed, sizes=(0.7, 6.0), shapes=(1, 13)):
    """Draw a shape, a mask with at least one voxel, and voxel sizes."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(*shapes, 3))
    mask = rng.random(shape) < rng.choice([0.02, 0.5, 1.0])
    mask[tuple(rng.integers(0, shape))] = True
    return rng, mask, tuple(rng.uniform(*sizes, 3))


# ---------------------------------------------------------------- kernels
@few
@given(fwhm=st.floats(0.1, 40), size=st.floats(0.5, 6))
def test_half_kernel_is_what_scipy_makes_of_an_impulse(fwhm, size):
    sigma = fwhm / FWHM_PER_SIGMA / size
    half = half_kernel(fwhm, size)
    radius = len(half) - 1
    assert radius == int(4 * sigma + 0.5)
    impulse = np.zeros(2 * radius + 3)
    impulse[radius + 1] = 1.0
    answer = gaussian_filter1d(impulse, sigma, mode="constant")
    np.testing.assert_allclose(half, answer[radius + 1 : -1], rtol=1e-6)
    assert half[0] + 2 * half[1:].sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("fwhm", [0.0, 0.1])
def test_a_kernel_narrower_than_a_voxel_changes_nothing(fwhm):
    np.testing.assert_array_equal(half_kernel(fwhm, 2.0), [1.0])


# ---------------------------------------------------------------- volumes
@few
@given(seed=SEEDS, fwhm=st.floats(0, 25))
def test_the_masks_voxels_are_those_of_the_whole_volume_smoothed(seed, fwhm):
    rng, mask, sizes = draw(seed)
    volume = (rng.standard_normal(mask.shape) * 100 + 1e4).astype(np.float32)
    features, nonfinite = taken(mask, sizes, fwhm, volume)
    np.testing.assert_allclose(features, expected(mask, sizes, fwhm, volume), rtol=ROUNDING)
    assert not nonfinite.any()


@pytest.mark.parametrize("radii", [(0, 0, 9), (0, 4, 0), (7, 0, 1), (2, 5, 6), (3, 11, 8)])
def test_every_radius_has_its_loop(radii):
    """Sums are unrolled by five, two and one step: each axis has a radius of its own."""
    rng = np.random.default_rng(0)
    # Voxel sizes at which a Gaussian of 8 mm reaches that far.
    sizes = tuple(8.0 / FWHM_PER_SIGMA * 4 / (radius + 0.01) for radius in radii)
    assert tuple(len(half_kernel(8.0, size)) - 1 for size in sizes) == radii
    volume = rng.standard_normal((15, 14, 16)).astype(np.float32)
    mask = rng.random(volume.shape) < 0.3
    features, _ = taken(mask, sizes, 8.0, volume)
    np.testing.assert_allclose(features, expected(mask, sizes, 8.0, volume), atol=ROUNDING)


@pytest.mark.parametrize("corner", [(0, 0, 0), (-1, -1, -1), (0, -1, 3)])
@pytest.mark.parametrize("fwhm", [3.0, 60.0])
def test_voxels_at_the_border_see_the_image_mirrored(corner, fwhm):
    """60 mm is four times wider than the image: it is mirrored again and again."""
    volume = np.random.default_rng(1).uniform(0, 100, (5, 6, 7)).astype(np.float32)
    mask = np.zeros(volume.shape, dtype=bool)
    mask[corner] = True
    features, _ = taken(mask, (3.0, 2.0, 4.0), fwhm, volume)
    np.testing.assert_allclose(
        features, expected(mask, (3.0, 2.0, 4.0), fwhm, volume), rtol=ROUNDING
    )


@few
@given(seed=SEEDS, fwhm=st.floats(0, 25), level=st.integers(-10000, 10000))
def test_a_constant_stays_one_up_to_the_border(seed, fwhm, level):
    _, mask, sizes = draw(seed)
    features, _ = taken(mask, sizes, fwhm, np.full(mask.shape, level, dtype=np.float32))
    np.testing.assert_allclose(features, level, rtol=ROUNDING)


@few
@given(seed=SEEDS, fwhm=st.floats(0, 12), axis=st.integers(0, 2))
def test_a_mirrored_volume_gives_the_mirrored_result(seed, fwhm, axis):
    rng, mask, sizes = draw(seed)
    volume = rng.standard_normal(mask.shape).astype(np.float32)
    places = np.zeros(mask.shape, dtype=np.float32)
    places.T[mask.T] = taken(mask, sizes, fwhm, volume)[0]
    mirrored = np.zeros_like(places)
    flipped = np.flip(mask, axis)
    mirrored.T[flipped.T] = taken(flipped, sizes, fwhm, np.flip(volume, axis))[0]
    np.testing.assert_allclose(np.flip(mirrored, axis), places, atol=4 * ROUNDING)


@few
@given(seed=SEEDS)
def test_what_lies_beyond_the_kernel_changes_no_byte(seed):
    """Not even where it is not finite: it is not looked at."""
    rng, mask, sizes = draw(seed, sizes=(2.0, 6.0), shapes=(6, 13))
    mask[:] = False
    mask[tuple(rng.integers(0, mask.shape))] = True
    radii = [len(half_kernel(4.0, size)) - 1 for size in sizes]
    (place,) = np.argwhere(mask)
    within = [slice(max(0, p - r), p + r + 1) for p, r in zip(place, radii, strict=True)]
    volume = rng.standard_normal(mask.shape).astype(np.float32)
    other = np.full(mask.shape, np.nan, dtype=np.float32)
    other[tuple(within)] = volume[tuple(within)]
    (one, _), (another, nonfinite) = (taken(mask, sizes, 4.0, data) for data in (volume, other))
    assert one.tobytes() == another.tobytes()
    assert not nonfinite.any()


@few
@given(seed=SEEDS, fwhm=st.sampled_from([0.0, 5.0]), dtype=st.sampled_from(["float32", "float64"]))
def test_values_that_are_not_finite_count_as_zero_and_are_marked(seed, fwhm, dtype):
    rng, mask, sizes = draw(seed)
    whole = rng.standard_normal(mask.shape)
    bad = rng.random(mask.shape) < 0.2
    broken = np.where(bad, rng.choice([np.nan, np.inf, -np.inf], mask.shape), whole)
    features, nonfinite = taken(mask, sizes, fwhm, broken.astype(dtype), (2.0, 5.0))
    # What counts is the value, not the stored number: 0, not the intercept.
    zeroed = np.where(bad, 0.0, 2.0 * whole + 5.0)
    np.testing.assert_allclose(features, expected(mask, sizes, fwhm, zeroed), atol=20 * ROUNDING)
    np.testing.assert_array_equal(nonfinite & mask, bad & mask)
    assert not (nonfinite & ~bad).any()


def test_a_number_beyond_float32_is_not_finite():
    volume = np.array([[[1.0, 1e300, -1e39]]])
    features, nonfinite = taken(np.ones((1, 1, 3), dtype=bool), (2.0, 2.0, 2.0), 0.0, volume)
    np.testing.assert_array_equal(features, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(nonfinite, [[[False, True, True]]])


# ---------------------------------------------------------------- stored numbers
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.37, -12.5), (-2.5, 1000.0), (1.0, 7.0)])
@pytest.mark.parametrize("fwhm", [0.0, 6.0])
def test_numbers_of_every_type_become_values(dtype, scaling, fwhm):
    rng = np.random.default_rng(3)
    mask = rng.random((6, 7, 5)) < 0.5
    volume = rng.integers(0, 120, mask.shape).astype(dtype)
    features, _ = taken(mask, (3.0, 2.0, 4.0), fwhm, volume, scaling)
    values = scaling[0] * volume.astype(np.float64) + scaling[1]
    np.testing.assert_allclose(
        features,
        expected(mask, (3.0, 2.0, 4.0), fwhm, values),
        rtol=0,
        atol=ROUNDING * np.abs(values).max(),
    )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_largest_and_smallest_numbers_of_a_type_are_kept(dtype):
    info = np.iinfo(dtype)
    volume = np.array([[[info.min, info.max, 0]]], dtype=dtype)
    mask = np.ones(volume.shape, dtype=bool)
    for slope in (1.0, 0.5):
        features, _ = taken(mask, (2.0, 2.0, 2.0), 0.0, volume, (slope, 0.0))
        np.testing.assert_allclose(
            features, [slope * float(info.min), slope * float(info.max), 0], rtol=1e-7
        )


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32", "float64"])
def test_an_intercept_that_cancels_loses_nothing(dtype):
    """Values are made in float64, as nibabel makes them: 2²³ + small − 2²³ is small."""
    rng = np.random.default_rng(4)
    mask = np.ones((5, 6, 4), dtype=bool)
    small = rng.integers(0, 100, mask.shape)
    volume = (small + 2**23).astype(dtype)
    features, _ = taken(mask, (2.0, 2.0, 2.0), 5.0, volume, (1.0, -(2.0**23)))
    np.testing.assert_allclose(
        features, expected(mask, (2.0, 2.0, 2.0), 5.0, small), atol=100 * ROUNDING
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_small_types_are_scaled_afterwards_within_rounding_of_what_is_stored(dtype):
    """Smoothing is linear; what an intercept cancels was rounded to float32 before."""
    rng = np.random.default_rng(5)
    mask = np.ones((5, 6, 4), dtype=bool)
    top = np.iinfo(dtype).max
    volume = (top - rng.integers(0, 10, mask.shape)).astype(dtype)
    features, _ = taken(mask, (2.0, 2.0, 2.0), 5.0, volume, (0.5, -0.5 * top))
    values = 0.5 * (volume.astype(np.float64) - top)
    np.testing.assert_allclose(
        features, expected(mask, (2.0, 2.0, 2.0), 5.0, values), atol=0.5 * top * ROUNDING
    )
