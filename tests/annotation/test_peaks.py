"""Peaks of thresholded maps: agreement with nilearn's clusters, connectivity, order."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from nilearn.reporting import get_clusters_table
from scipy import ndimage

from nidecomp.annotation.peaks import Peak, peak_table
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (14, 16, 12)
SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def space_of(mask, voxel_mm=(3.0, 2.0, 4.0), flip=False):
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = (-20.0, 10.0, 5.5)
    if flip:
        affine[0, 0] *= -1
    return VoxelSpace(
        Grid(mask.shape, tuple(map(tuple, affine.tolist()))), mask, "MNI152NLin2009cAsym"
    )


def smooth_map(seed, limit=1.0):
    """Return a map of blobs of both signs in a mask with holes; it is 0 below the limit."""
    rng = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.3)
    volume /= volume.std()
    mask = rng.random(SHAPE) < 0.95
    volume[(np.abs(volume) < limit) | ~mask] = 0
    return space_of(mask, flip=bool(seed % 2)), volume.astype(np.float32)


def whole_box(volume):
    """Return a space of all voxels of a volume, and the volume's features."""
    space = space_of(np.ones(volume.shape, dtype=bool))
    return space, space.features(volume.astype(np.float32))[None]


def everything(maps, space):
    """Return the peaks of all clusters of any size."""
    return peak_table(maps, space, n_clusters=10**6, min_size=0.0)


@few
@given(seed=SEEDS)
def test_clusters_are_those_of_nilearn(seed):
    space, volume = smooth_map(seed)
    values = space.features(volume)
    peaks = everything(values[None], space)
    table = get_clusters_table(
        space.image(values), stat_threshold=0.5, two_sided=True, min_distance=1e3
    )
    # Rows without a size are further peaks of the cluster above.
    table = table[table["Cluster Size (mm3)"] != ""]
    columns = ["X", "Y", "Z", "Peak Stat", "Cluster Size (mm3)"]
    expected = sorted(table[columns].astype(float).itertuples(index=False, name=None))
    found = sorted((one.x, one.y, one.z, one.value, one.size) for one in peaks)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@few
@given(seed=SEEDS, n_clusters=st.integers(0, 6), min_voxels=st.integers(0, 40))
def test_the_largest_clusters_are_listed_if_they_are_large_enough(seed, n_clusters, min_voxels):
    space, volume = smooth_map(seed)
    maps = space.features(volume)[None]
    peaks = peak_table(maps, space, n_clusters, min_size=24.0 * min_voxels)
    large = [one for one in everything(maps, space) if one.size >= 24.0 * min_voxels]
    assert peaks == large[:n_clusters]
    sizes = [one.size for one in large]
    assert sizes == sorted(sizes, reverse=True)
    assert [one.cluster for one in large] == list(range(1, len(large) + 1))


@few
@given(seed=SEEDS)
def test_every_suprathreshold_voxel_is_in_one_cluster(seed):
    space, volume = smooth_map(seed)
    peaks = everything(space.features(volume)[None], space)
    for sign in (1, -1):
        total = sum(one.size for one in peaks if one.sign == sign)
        assert total == pytest.approx(24.0 * np.count_nonzero(volume * sign > 0))


@few
@given(seed=SEEDS)
def test_a_peak_is_a_voxel_with_its_value(seed):
    space, volume = smooth_map(seed)
    peaks = everything(space.features(volume)[None], space)
    for one in peaks:
        place = apply_affine(np.linalg.inv(space.grid.matrix), [one.x, one.y, one.z])
        assert volume[tuple(np.rint(place).astype(int))] == np.float32(one.value)
        assert np.sign(one.value) == one.sign
    strongest = max(peaks, key=lambda one: abs(one.value))
    assert abs(strongest.value) == np.abs(volume).max()


@few
@given(seed=SEEDS)
def test_negating_a_map_negates_values_and_signs(seed):
    space, volume = smooth_map(seed)
    maps = space.features(volume)[None]
    negated = [
        dataclasses.replace(one, value=-one.value, sign=-one.sign)
        for one in everything(maps, space)
    ]
    assert everything(-maps, space) == negated


@few
@given(seed=SEEDS)
def test_the_peaks_of_a_map_do_not_depend_on_other_maps(seed):
    space, volume = smooth_map(seed)
    one = space.features(volume)
    maps = np.stack([one, np.zeros_like(one), 2 * one[::-1]])
    alone = [
        dataclasses.replace(peak, component_index=index)
        for index in range(3)
        for peak in peak_table(maps[index : index + 1], space)
    ]
    assert peak_table(maps, space) == alone


def test_voxels_that_touch_at_edges_or_corners_are_different_clusters():
    volume = np.zeros((5, 5, 5))
    volume[1, 1, 1] = volume[2, 2, 1] = volume[3, 3, 2] = 1.0
    space, maps = whole_box(volume)
    assert len(everything(maps, space)) == 3
    volume[2, 1, 1] = 1.0
    space, maps = whole_box(volume)
    assert [one.size for one in everything(maps, space)] == [72.0, 24.0]


def test_neighbours_of_different_sign_are_different_clusters():
    volume = np.zeros((5, 5, 5))
    volume[1, 1, 1:4] = (1.0, 2.0, -3.0)
    space, maps = whole_box(volume)
    positive, negative = everything(maps, space)
    assert (positive.value, positive.size, positive.sign) == (2.0, 48.0, 1)
    assert (negative.value, negative.size, negative.sign) == (-3.0, 24.0, -1)


def test_voxels_outside_the_mask_do_not_connect_clusters():
    mask = np.ones((5, 1, 1), dtype=bool)
    mask[2] = False
    space = space_of(mask)
    assert len(everything(np.ones((1, 4), dtype=np.float32), space)) == 2


def test_equal_peaks_and_clusters_are_in_the_order_of_the_file():
    volume = np.zeros((6, 5, 4))
    volume[4, 0, 0] = volume[0, 1, 0] = volume[0, 0, 2] = 1.0
    # A cluster of equal voxels. In the file, the first axis varies fastest.
    volume[2:4, 3:5, 3] = -1.0
    space, maps = whole_box(volume)
    peaks = everything(maps, space)
    voxels = [
        tuple(apply_affine(np.linalg.inv(space.grid.matrix), [one.x, one.y, one.z]).round())
        for one in peaks
    ]
    assert voxels == [(2, 3, 3), (4, 0, 0), (0, 1, 0), (0, 0, 2)]
    assert peaks[1:3] == peak_table(maps, space, 3, min_size=0)[1:]


def test_a_cluster_of_exactly_the_smallest_volume_is_large_enough():
    volume = np.zeros((6, 5, 4))
    volume[1:5, 2, 2] = 1.0
    # The determinant of rotated axes has a rounding error.
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * 2.5
    space = VoxelSpace(
        Grid(volume.shape, tuple(map(tuple, affine.tolist()))),
        np.ones(volume.shape, dtype=bool),
        "MNI152NLin2009cAsym",
    )
    maps = space.features(volume)[None]
    (peak,) = peak_table(maps, space, min_size=4 * 2.5**3)
    assert peak.size == pytest.approx(4 * 2.5**3)
    assert peak_table(maps, space, min_size=4.01 * 2.5**3) == []


def test_empty_maps_have_no_peaks():
    space, _ = smooth_map(1)
    assert peak_table(np.zeros((3, space.n_features), dtype=np.float32), space) == []


def test_a_peak_is_an_immutable_record_of_plain_numbers():
    space, volume = smooth_map(2)
    peak = peak_table(space.features(volume)[None], space)[0]
    assert [type(value) for value in dataclasses.astuple(peak)] == [
        *(int, int, int),
        *(float, float, float, float, float),
        *(str, int),
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        peak.value = 0.0
    assert isinstance(peak, Peak)
