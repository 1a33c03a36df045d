"""Local regions are those of nilearn's RegionExtractor, on a graph of the map's features alone."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.regions import connected_regions
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array

from nidecomp.annotation.random_walk import walk_to_seeds
from nidecomp.annotation.regions import _spread, extract_regions
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (44, 40, 36)
MM = 3.0


@pytest.fixture
def space() -> VoxelSpace:
    mask = np.ones(SHAPE, dtype=bool)
    mask[:, :3] = False
    affine = tuple(map(tuple, np.diag([MM, MM, MM, 1.0]).tolist()))
    return VoxelSpace(Grid(SHAPE, affine), mask, "MNI152NLin2009cAsym")


def smooth_map(space: VoxelSpace, seed: int, kept: float) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    values = space.features(ndimage.gaussian_filter(noise, 2.5).astype(np.float32))
    return np.where(values > np.quantile(values, 1 - kept), values / values.max(), 0).astype("f4")


@pytest.mark.parametrize("kind", ["local_regions", "connected_components"])
@pytest.mark.parametrize("kept", [0.1, 0.4])
def test_regions_are_those_of_nilearn(space: VoxelSpace, kind: str, kept: float) -> None:
    values = smooth_map(space, 3, kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, _ = connected_regions(
            nib.Nifti1Image(np.asarray(space.image(values[None]).dataobj), space.grid.matrix),
            min_region_size=space.measure.units[0].min_region,
            extract_type=kind,
            smoothing_fwhm=6,
        )
    theirs = np.zeros(space.n_features, dtype=int)
    volumes = np.moveaxis(np.asarray(image.dataobj), -1, 0)
    for number, volume in enumerate(sorted(volumes, key=np.count_nonzero, reverse=True), start=1):
        theirs[space.features(volume) > 0] = number
    ours = np.zeros_like(theirs)
    regions = extract_regions(values, space, kind)
    for number, region in enumerate(regions, start=1):
        ours[region.features] = number
    assert len(regions) == len(volumes) > 1
    # Both solve for probabilities approximately: a few voxels between two regions may differ.
    assert np.mean(ours[theirs > 0] == theirs[theirs > 0]) > (
        0.995 if kind == "local_regions" else 0.999999
    )


def test_the_spread_of_a_map_is_that_of_its_file_and_never_0(space: VoxelSpace) -> None:
    values = smooth_map(space, 0, 0.2)
    in_file = np.asarray(space.image(values).dataobj, dtype=np.float64).std()
    assert _spread(values[values > 0], space) == pytest.approx(in_file)
    whole = VoxelSpace(space.grid, np.ones(SHAPE, dtype=bool), space.label)
    assert _spread(np.ones(whole.n_features, np.float32), whole) == 1.0


def chain(n: int) -> csr_array:
    return csr_array(np.eye(n, k=1) + np.eye(n, k=-1))


def test_a_walk_does_not_cross_an_edge() -> None:
    """The middle is nearer to the first seed, and its values are those of the second."""
    values = np.array([1, 1, 0, 0, 0, 0, 0, 0.0])
    seeds = np.array([4, 0, 0, 0, 0, 0, 0, 9])
    reached = walk_to_seeds(values, seeds, chain(8), spread=0.1)
    assert reached.tolist() == [4, 4, 9, 9, 9, 9, 9, 9]


def test_probabilities_are_those_of_the_linear_system() -> None:
    """On a chain of equal values, the nearer of two seeds is the more likely one."""
    seeds = np.zeros(101, dtype=int)
    seeds[[10, 60, 61, 100]] = 1, 2, 2, 3
    reached = walk_to_seeds(np.zeros(101), seeds, chain(101), spread=1.0)
    expected = np.where(np.arange(101) < 35, 1, np.where(np.arange(101) < 81, 2, 3))
    # Features 35 and 80 or so are half way.
    assert np.flatnonzero(reached != expected).tolist() in ([], [35], [80], [81], [35, 81])


def test_one_seed_takes_all_and_seeds_alone_stay() -> None:
    assert walk_to_seeds(np.ones(4), np.array([0, 0, 7, 0]), chain(4), 1.0).tolist() == [7] * 4
    assert walk_to_seeds(np.ones(3), np.array([1, 2, 3]), chain(3), 1.0).tolist() == [1, 2, 3]
