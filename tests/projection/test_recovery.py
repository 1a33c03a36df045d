"""Recovery of simulated time courses of real networks, compared with nilearn's masker."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMapsMasker
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nidecomp.annotation.atlases import shipped_networks
from nidecomp.projection.dual_regression import time_courses
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE, N_VOLUMES = (23, 28, 23), 120
AFFINE = ((8.0, 0, 0, -90), (0, 8.0, 0, -126), (0, 0, 8.0, -72), (0, 0, 0, 1.0))
# Standard deviation of the noise, relative to that of one network's part of the series (root mean
# square over the mask).
NOISE = 5.0


class Planted:
    """Networks that overlap and have negative parts, and a simulated series with them."""

    def __init__(self) -> None:
        grid = Grid(SHAPE, AFFINE)
        whole = VoxelSpace(grid, np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
        networks = whole.image(shipped_networks(whole).maps).get_fdata()
        self.space = VoxelSpace(grid, (networks != 0).any(axis=-1), "MNI152NLin2009cAsym")
        maps = np.stack([self.space.features(one) for one in np.moveaxis(networks, -1, 0)])
        # Maps of an ICA hardly overlap, but those of dictionary learning and atlases do.
        maps = maps + 0.6 * np.roll(maps, 1, axis=0)
        self.maps = (maps / np.sqrt(np.mean(maps**2, axis=1, keepdims=True))).astype(np.float32)
        rng = np.random.default_rng(0)
        # A part is common to all networks, so that their time courses correlate.
        own = rng.normal(size=(N_VOLUMES, len(maps)))
        self.courses = own + 0.6 * rng.normal(size=(N_VOLUMES, 1))
        noise = gaussian_filter(rng.normal(size=(N_VOLUMES, *SHAPE)), (0, 0.7, 0.7, 0.7))
        features = np.stack([self.space.features(one) for one in noise])
        series = self.courses @ self.maps + NOISE * features / features.std()
        self.series = (series - series.mean(axis=0)).astype(np.float32)

    def r_with_truth(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.array(
            [np.corrcoef(*pair)[0, 1] for pair in zip(found.T, self.courses.T, strict=True)]
        )


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


def test_time_courses_of_real_networks_are_found_at_realistic_noise(planted: Planted) -> None:
    overlap = np.corrcoef(planted.maps) - np.eye(len(planted.maps))
    assert np.abs(overlap).max() > 0.3, "the maps must overlap"
    assert (planted.maps < -1).any()
    found = time_courses(planted.series, planted.maps, 1.0).values
    assert planted.r_with_truth(found).min() >= 0.95


def test_time_courses_are_better_than_averages_and_as_good_as_nilearns(planted: Planted) -> None:
    found = time_courses(planted.series, planted.maps, 1.0).values
    averages = planted.series @ planted.maps.T
    assert planted.r_with_truth(found).mean() > planted.r_with_truth(averages).mean() + 0.05
    image = planted.space.image
    masker = NiftiMapsMasker(
        image(planted.maps),
        mask_img=planted.space.mask_image(),
        standardize=None,
        keep_masked_maps=False,
    )
    series: nib.Nifti1Image = image(planted.series)
    theirs = masker.fit_transform(series)
    np.testing.assert_array_less(planted.r_with_truth(theirs) - 1e-4, planted.r_with_truth(found))
