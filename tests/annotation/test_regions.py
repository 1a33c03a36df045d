"""Regions of maps: connected clusters, their place, and the parcellation made of them."""

from __future__ import annotations

from dataclasses import astuple, replace

import nibabel as nib
import numpy as np
import pytest
from component_examples import evidence, fitted
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray
from scipy import ndimage

from nidecomp.annotation.peaks import peak_table
from nidecomp.annotation.places import hemisphere, rank_by_place
from nidecomp.annotation.regions import (
    Parcel,
    Region,
    extract_regions,
    find_regions,
    parcellate,
)
from nidecomp.config.science import Science
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VOLUME, VoxelSpace

SHAPE = (20, 18, 16)
AFFINE = ((4.0, 0, 0, -38), (0, 4.0, 0, -34), (0, 0, 4.0, -30), (0, 0, 0, 1.0))
MASK = np.ones(SHAPE, dtype=bool)
MASK[:, :2] = False
SPACE = VoxelSpace(Grid(SHAPE, AFFINE), MASK, "MNI152NLin2009cAsym")
KINDS = ("local_regions", "connected_components")


def boxes(*places: tuple[slice, slice, slice], gains: tuple[float, ...] = ()) -> NDArray:
    volume = np.zeros(SHAPE, dtype=np.float32)
    for place, gain in zip(places, gains or (1.0,) * len(places), strict=True):
        volume[place] = gain
    return SPACE.features(volume)


LEFT = (slice(2, 6), slice(8, 12), slice(8, 12))
RIGHT = (slice(14, 19), slice(8, 12), slice(8, 12))
TINY = (slice(10, 12), slice(4, 5), slice(4, 5))


def parcels_of(values: NDArray, kind: str = "connected_components") -> tuple[Parcel, ...]:
    return parcellate([extract_regions(values, SPACE, kind)], SPACE)


@pytest.mark.parametrize("kind", KINDS)
def test_two_sides_are_two_regions_the_larger_first(kind: str) -> None:
    parcels = parcels_of(boxes(LEFT, RIGHT), kind)
    assert [parcel.hemisphere for parcel in parcels] == ["R", "L"]
    assert [parcel.number for parcel in parcels] == [1, 2]
    assert [len(parcel.features) for parcel in parcels] == [5 * 4 * 4, 4 * 4 * 4]
    for parcel, middle in zip(parcels, [(16.0, 9.5, 9.5), (3.5, 9.5, 9.5)], strict=True):
        expected = np.array(AFFINE)[:3, :3] @ middle + np.array(AFFINE)[:3, 3]
        np.testing.assert_allclose(parcel.centre, expected, atol=1e-4)
        assert (np.diff(parcel.region.features) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_maps_values(kind: str) -> None:
    values = boxes(LEFT, RIGHT, gains=(0.5, 1.0))
    for region in extract_regions(values, SPACE, kind):
        np.testing.assert_allclose(region.weights, values[region.features])


@pytest.mark.parametrize("kind", KINDS)
def test_small_or_negative_clusters_are_not_regions(kind: str) -> None:
    assert SPACE.size_of(np.arange(2)) == 128 < SPACE.measure.units[0].min_region
    parcels = parcels_of(boxes(LEFT, RIGHT, TINY, gains=(1, -1, 1)), kind)
    assert [parcel.hemisphere for parcel in parcels] == ["L"]
    assert extract_regions(boxes(TINY), SPACE, kind) == ()
    assert extract_regions(np.zeros(SPACE.n_features, np.float32), SPACE, kind) == ()


def test_a_region_across_the_midline_is_bilateral() -> None:
    (parcel,) = parcels_of(boxes((slice(8, 12), slice(8, 12), slice(8, 12))))
    assert parcel.hemisphere == "B"
    assert abs(parcel.centre[0]) < 1e-4


@pytest.mark.parametrize(
    ("columns", "side"),
    [
        ((9, 10), "M"),
        ((9, 11), "R"),
        ((8, 10), "L"),
        ((8, 11), "B"),
        ((2, 10), "L"),
        ((9, 15), "R"),
        ((2, 9), "L"),
    ],
)
def test_voxels_at_the_midline_count_for_neither_side(columns: tuple[int, int], side: str) -> None:
    """Column 9 is at x = 0 here, as a column of MNI grids with an odd number of columns is."""
    affine = ((4.0, 0, 0, -36), *AFFINE[1:])
    for shift in (0.0, 1.9, -1.9):
        moved = ((4.0, 0, 0, -36 + shift), *affine[1:])
        space = VoxelSpace(Grid(SHAPE, moved), MASK, "MNI152NLin2009cAsym")
        assert space.midline_mm == pytest.approx(2, rel=1e-5)
        volume = np.zeros(SHAPE, dtype=np.float32)
        volume[slice(*columns), 6:12, 6:12] = 1
        assert hemisphere(np.flatnonzero(space.features(volume)), space) == side
    # Where the plane is between voxels, every voxel is on a side.
    volume = boxes((slice(9, 10), slice(6, 12), slice(6, 12)))
    assert hemisphere(np.flatnonzero(volume), SPACE) == "L"


def slab(first: int, stop: int, weight: float, *others: tuple[int, int, float]) -> Region:
    """Columns of voxels from left to right, of 8 × 8 = 64 voxels or 4096 mm³ each."""
    volume = np.zeros(SHAPE, dtype=np.float32)
    for one, end, value in ((first, stop, weight), *others):
        volume[one:end, 4:12, 4:12] = value
    values = SPACE.features(volume)
    features = np.flatnonzero(values)
    return Region(features, values[features].astype(np.float32))


def columns_of(parcel: Parcel) -> list[int]:
    x = SPACE.coordinates(parcel.features)[:, 0]
    return sorted({round((value + 38) / 4) for value in x.tolist()})


def test_each_voxel_belongs_to_the_region_with_the_largest_weight() -> None:
    regions = [[slab(0, 3, 0.5)], [slab(1, 5, 0.4, (2, 3, 0.6))]]
    parcels = parcellate(regions, SPACE)
    assert [columns_of(parcel) for parcel in parcels] == [[0, 1], [2, 3, 4]]
    assert [(parcel.row, parcel.number) for parcel in parcels] == [(0, 1), (1, 1)]
    # The first of equal ones, so that nothing is left of the second.
    (parcel,) = parcellate([regions[0], regions[0]], SPACE)
    assert (parcel.row, columns_of(parcel)) == (0, [0, 1, 2])
    assert parcellate([(), ()], SPACE) == ()


def test_a_region_that_is_left_too_small_gives_its_voxels_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = replace(SPACE.measure, units=(replace(VOLUME, min_region=3 * 4096),))
    monkeypatch.setattr(VoxelSpace, "measure", large)
    # The second is left with column 4, which the third gets: it is just large enough with it.
    first, second, third = slab(0, 4, 0.9), slab(2, 5, 0.8), slab(4, 7, 0.7)
    parcels = parcellate([[first], [second], [third]], SPACE)
    assert [parcel.row for parcel in parcels] == [0, 2]
    assert [columns_of(parcel) for parcel in parcels] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [parcel.size for parcel in parcels] == [4 * 4096, 3 * 4096]
    # Without runner-up, the voxels are in no region.
    (alone,) = parcellate([[first], [second]], SPACE)
    assert columns_of(alone) == [0, 1, 2, 3]


def test_regions_of_a_map_are_numbered_by_what_is_left_of_them() -> None:
    """In the table, volumes of a network descend, and the numbers have no gaps."""
    of_map = (slab(0, 6, 0.5), slab(8, 12, 0.5), slab(14, 15, 0.5))
    other = slab(0, 3, 0.9, (14, 15, 0.9))
    parcels = parcellate([of_map, [other]], SPACE)
    assert [(one.row, one.number) for one in parcels] == [(0, 1), (0, 2), (1, 1)]
    assert [columns_of(one) for one in parcels] == [
        [8, 9, 10, 11],
        [3, 4, 5],
        [0, 1, 2, 14],
    ]


# ---------------------------------------------------------------- the order of the axes
STORED = ["RAS", "LAS", "LPI", "SRA", "PIR"]


def stored_as(axes: str) -> VoxelSpace:
    """The same voxels, in an image whose axes have another order or direction."""
    image = nib.Nifti1Image(MASK.astype(np.uint8), np.array(AFFINE))
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    other = image.as_reoriented(change)
    affine = tuple(tuple(row) for row in other.affine.tolist())
    return VoxelSpace(Grid(other.shape, affine), np.asarray(other.dataobj) > 0, SPACE.label)


def at_places(values: NDArray, space: VoxelSpace) -> NDArray:
    """Values of `SPACE`, where `space` has its features."""
    places = space.coordinates(np.arange(space.n_features))
    voxels = np.rint((places - np.array(AFFINE)[:3, 3]) / 4).astype(int)
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume.T[MASK.T] = values
    return volume[tuple(voxels.T)]


@pytest.mark.parametrize("axes", STORED[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_names_do_not_depend_on_how_an_image_is_stored(kind: str, axes: str) -> None:
    """Boxes of the same size in all corners, smooth blobs, and a map that overlaps with them."""
    rng = np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(rng.standard_normal((2, *SHAPE)), (0, 1.6, 1.6, 1.6))
    blobs = np.maximum(blobs / blobs.max() - 0.2, 0).astype(np.float32)
    corners = [
        (slice(*x), slice(*y), slice(*z))
        for x in ((1, 5), (14, 18))
        for y in ((3, 7), (12, 16))
        for z in ((1, 5), (10, 14))
    ]
    maps = np.array([boxes(*corners), *(SPACE.features(one) for one in blobs)])
    space = stored_as(axes)
    moved = np.array([at_places(one, space) for one in maps])
    here = parcellate([extract_regions(one, SPACE, kind) for one in maps], SPACE)
    there = parcellate([extract_regions(one, space, kind) for one in moved], space)
    assert len(here) > 9
    assert len(there) == len(here)
    for one, other in zip(here, there, strict=True):
        assert (one.row, one.number, one.hemisphere) == (other.row, other.number, other.hemisphere)
        np.testing.assert_allclose(one.centre, other.centre, atol=1e-9)
        assert one.size == pytest.approx(other.size)
    peaks, moved_peaks = (peak_table(m, s, min_size=0) for m, s in ((maps, SPACE), (moved, space)))
    for peak, other_peak in zip(peaks, moved_peaks, strict=True):
        # Features are numbered as the image is stored.
        assert astuple(replace(peak, feature=other_peak.feature)) == pytest.approx(
            astuple(other_peak)
        )


@pytest.mark.parametrize("axes", STORED)
def test_features_are_ranked_from_below_behind_and_left(axes: str) -> None:
    space = stored_as(axes)
    rank = rank_by_place(space, np.arange(space.n_features))
    places = space.coordinates(np.argsort(rank))
    np.testing.assert_allclose(places, SPACE.coordinates(np.arange(SPACE.n_features)))
    some = rank_by_place(space, np.array([5, 2, 900]))
    assert sorted(some[[2, 5, 900]]) == [0, 1, 2]
    assert np.count_nonzero(some >= 0) == 3
    assert np.argsort(some[[2, 5, 900]]).tolist() == np.argsort(rank[[2, 5, 900]]).tolist()


# ---------------------------------------------------------------- maps at chance
def test_maps_at_chance_have_no_regions() -> None:
    maps = np.array([boxes(LEFT), boxes(RIGHT)])
    known = evidence(2)
    halves = replace(known.halves, reproducibility=np.array([[0.9, 0.2], [0.8, 0.4]]), chance=0.35)
    components = fitted(2, maps=maps, evidence=replace(known, halves=halves))
    assert components.at_chance.tolist() == [False, True]
    (found,) = find_regions((components,), SPACE, Science(), n_threads=2)
    assert [len(of_map) for of_map in found] == [1, 0]
