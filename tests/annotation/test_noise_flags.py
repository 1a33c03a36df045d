"""Flags of noise: by the place of components, their time courses and their participants."""

import math
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
from component_examples import evidence, fitted
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter

from nidecomp.annotation import noise_flags as noise
from nidecomp.annotation.atlases import shipped_networks, tissues
from nidecomp.annotation.describe import ReferenceMaps, noise_numbers
from nidecomp.annotation.noise_flags import (
    Flag,
    NoiseNumbers,
    dominance_limit,
    flags,
    reason,
    tissue_shares,
)
from nidecomp.decomposition.components import DatasetEvidence
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)

SHAPE = (46, 55, 46)
AFFINE = (
    (4.0, 0.0, 0.0, -90.0),
    (0.0, 4.0, 0.0, -126.0),
    (0.0, 0.0, 4.0, -72.0),
    (0.0, 0.0, 0.0, 1.0),
)
NOTHING = NoiseNumbers(
    csf=0.0,
    edge=0.0,
    out=0.0,
    coverage=0.0,
    edge_limit=0.5,
    high_frequency=0.0,
    motion_r=0.0,
    dominance=0.0,
)


# ---------------------------------------------------------------- place of the map
def maps_and_tissues(seed, n_maps=4, n_voxels=400):
    rng = np.random.default_rng(seed)
    tissue = rng.dirichlet([1, 1, 1, 3], n_voxels).T[:3].astype(np.float32)
    return rng.laplace(size=(n_maps, n_voxels)).astype(np.float32), tissue


@few
@given(seed=SEEDS)
def test_shares_are_those_of_the_strong_voxels_squares(seed):
    maps, tissue = maps_and_tissues(seed)
    shares = tissue_shares(maps, *tissue)
    for index, one in enumerate(maps.astype(np.float64)):
        limit = min(2 * np.sqrt(np.mean(one**2)), np.abs(one).max() / 2)
        strong = np.abs(one) >= limit
        for share, where in zip((shares.csf, shares.edge, shares.out), tissue, strict=True):
            expected = np.average(where[strong], weights=one[strong] ** 2)
            assert share[index] == pytest.approx(expected, abs=1e-6)


@few
@given(seed=SEEDS, power=st.integers(-20, 20), sign=st.sampled_from([-1, 1]))
def test_scale_and_sign_do_not_matter(seed, power, sign):
    maps, tissue = maps_and_tissues(seed)
    before = tissue_shares(maps, *tissue)
    # Multiplying by a power of two changes the exponent of numbers only.
    after = tissue_shares(maps * np.float32(sign * 2.0**power), *tissue)
    for name in ("csf", "edge", "out"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-12)
    np.testing.assert_array_equal(after.edge_limit, before.edge_limit)
    np.testing.assert_allclose(after.coverage, before.coverage, rtol=1e-12)


def test_weak_background_noise_does_not_change_shares():
    maps, tissue = maps_and_tissues(1, n_maps=1)
    maps[:] = 0.0
    maps[0, :20] = 5.0
    before = tissue_shares(maps, *tissue)
    maps[0, 20:] = 0.5
    after = tissue_shares(maps, *tissue)
    assert after.csf[0] == pytest.approx(before.csf[0], abs=1e-12)


def test_the_shares_of_a_constant_map_are_those_of_the_mask():
    _, tissue = maps_and_tissues(2)
    shares = tissue_shares(np.full((1, 400), -3.0, dtype=np.float32), *tissue)
    got = [shares.csf[0], shares.edge[0], shares.out[0]]
    np.testing.assert_allclose(got, tissue.mean(axis=1), rtol=1e-5)


def test_an_empty_map_has_no_shares_and_raises_no_flag():
    maps, tissue = maps_and_tissues(3)
    maps[1] = 0.0
    shares = tissue_shares(maps, *tissue)
    for share in (shares.csf, shares.edge, shares.out):
        np.testing.assert_array_equal(np.isnan(share), [False, True, False, False])
    assert not flags(numbers_of(shares)[1], 10)


@few
@given(expected=st.floats(0.0, 1.0))
def test_the_limit_at_the_edge_has_a_fixed_multiple_of_the_mask_s_odds(expected):
    """The multiple is smaller for a map that is strong in all of the edge than for a local one."""
    edge = np.full(400, expected, dtype=np.float32)
    nothing = np.zeros(400, dtype=np.float32)
    maps = np.array([np.ones(400), [1.0] * 4 + [0.0] * 396], dtype=np.float32)
    limits = tissue_shares(maps, nothing, edge, nothing).edge_limit
    for limit, odds in zip(limits, (noise.EDGE_ODDS_IF_COVERED, noise.EDGE_ODDS), strict=True):
        assert noise.EDGE_LEAST <= limit <= 1
        if expected > 1e-30 and noise.EDGE_LEAST < limit < 0.999:
            assert limit / (1 - limit) == pytest.approx(odds * expected / (1 - expected), rel=1e-3)


def test_coverage_is_the_share_of_edge_and_outside_in_which_a_map_is_strong():
    maps = np.array([[5, 5, -5, 0.1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    edge = np.array([1, 0, 0.5, 1, 0, 0], dtype=np.float32)
    out = np.array([0, 0, 0.5, 0, 1, 0], dtype=np.float32)
    shares = tissue_shares(maps, np.zeros(6, dtype=np.float32), edge, out)
    np.testing.assert_allclose(shares.coverage, [0.5, 0])
    inside = np.zeros(6, dtype=np.float32)
    np.testing.assert_array_equal(tissue_shares(maps, edge, inside, inside).coverage, [0, 0])


def test_blocks_of_voxels_add_up(monkeypatch):
    maps, tissue = maps_and_tissues(4)
    before = tissue_shares(maps, *tissue)
    # `blocks` bound its default when it was defined: patching the constant has no effect.
    monkeypatch.setattr("nidecomp.core.linalg.blocks.__defaults__", (17,))
    after = tissue_shares(maps, *tissue)
    np.testing.assert_allclose(after.edge, before.edge, rtol=1e-12)


# ---------------------------------------------------------------- networks and simulated noise
def numbers_of(shares):
    return [
        NoiseNumbers(*of_map, high_frequency=0.0, motion_r=0.0, dominance=0.0)
        for of_map in zip(
            *(getattr(shares, field.name) for field in fields(shares)),
            strict=True,
        )
    ]


def smooth(volume):
    """Smooth with a full width at half maximum of 6 mm."""
    return gaussian_filter(volume.astype(float), 6 / 2.3548 / 4)


class Brain:
    """A mask with 4 mm voxels, its tissues, and simulated noise in it."""

    def __init__(self, mask):
        self.mask = mask
        grid = Grid(SHAPE, AFFINE)
        self.space = VoxelSpace(grid, mask, "MNI152NLin2009cAsym")
        whole = VoxelSpace(grid, np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
        self.ventricles = whole.image(tissues(whole).csf).get_fdata() > 0.5
        self.tissues = tissues(self.space)
        self.rng = np.random.default_rng(0)
        axes = [np.arange(size) for size in SHAPE]
        places = apply_affine(grid.matrix, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
        self.places = places - places[mask].mean(axis=0)

    def numbers(self, maps):
        here = self.tissues
        return numbers_of(tissue_shares(np.asarray(maps), here.csf, here.edge, here.out))

    def flags(self, maps):
        return [flags(numbers, 10) for numbers in self.numbers(maps)]

    def noisy(self, volume, noise_share):
        """Return a map with equally smooth noise, which has `noise_share` of the variance."""
        signal = self.space.features(smooth(volume))
        added = self.space.features(smooth(self.rng.standard_normal(SHAPE)))
        signal *= np.sqrt((1 - noise_share) / np.mean(signal**2))
        return signal + added * np.sqrt(noise_share / np.mean(added**2))

    def ring(self):
        """Return the outermost voxels of the mask."""
        filled = binary_fill_holes(self.mask)
        return filled & ~binary_erosion(filled) & self.mask

    def one_side(self, volume):
        """Return the part of a volume on one side of the mask, in a random direction."""
        along = self.places @ self.rng.standard_normal(3)
        return volume & (along > np.quantile(along[self.mask], self.rng.uniform(0.6, 0.85)))


def masks():
    """Return masks from one wider than the brain, as of groups, to one that is 4 mm smaller."""
    grid = Grid(SHAPE, AFFINE)
    whole = VoxelSpace(grid, np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
    image = whole.image(shipped_networks(whole).maps).get_fdata()
    wide = (image != 0).any(axis=-1)
    brain = wide & (whole.image(tissues(whole).out).get_fdata() < 0.5)
    return {
        "wide": wide,
        "less wide": binary_erosion(wide),
        "brain": brain,
        "tight": binary_erosion(brain),
    }


@pytest.fixture(scope="module", params=["wide", "less wide", "brain", "tight"])
def brain(request):
    return Brain(masks()[request.param])


def test_no_published_network_is_flagged(brain):
    assert brain.flags(shipped_networks(brain.space).maps) == [()] * 14


@pytest.mark.parametrize("noise_share", [0.1, 0.6])
def test_simulated_edges_are_flagged(brain, noise_share):
    ring = brain.ring()
    planted = [ring, *(brain.one_side(ring) for _ in range(9))]
    found = brain.flags([brain.noisy(volume, noise_share) for volume in planted])
    assert all({"edge", "outside"} & set(raised) for raised in found)
    assert not any("csf" in raised for raised in found)


@pytest.mark.parametrize("noise_share", [0.1, 0.6])
def test_simulated_ventricles_are_flagged(brain, noise_share):
    left = brain.ventricles & (brain.places[..., 0] < 0)
    front = brain.ventricles & (brain.places[..., 1] > 0)
    planted = [brain.ventricles, left, front]
    found = brain.flags([brain.noisy(volume, noise_share) for volume in planted])
    assert found == [("csf",)] * 3


def test_small_networks_beside_ventricles_and_edge_are_not_flagged(brain):
    """Caudate heads, thalami, orbitofrontal cortex, temporal and occipital poles."""
    middle = np.array([9, 16, 4]), np.array([10, -18, 8])
    outer = np.array([20, 34, -18]), np.array([44, 12, -32]), np.array([12, -98, 2])
    origin = apply_affine(np.array(AFFINE), np.zeros(3)) - brain.places[0, 0, 0]
    planted = []
    for centre, radius in [(middle[0], 6), (middle[1], 9), *((one, 10) for one in outer)]:
        sides = [centre * [side, 1, 1] - origin for side in (-1, 1)]
        distances = [np.linalg.norm(brain.places - side, axis=-1) for side in sides]
        planted.append(np.min(distances, axis=0) < radius)
    assert brain.flags([brain.noisy(volume, 0.3) for volume in planted]) == [()] * 5


# ---------------------------------------------------------------- flags
ABOVE = {
    "csf": {"csf": 0.41},
    "edge": {"edge": 0.3, "out": 0.21, "coverage": 0.2},
    "outside": {"out": 0.61, "edge_limit": 0.9},
    "high-frequency": {"high_frequency": 0.51},
    "motion": {"motion_r": 0.36},
    "single-participant": {"dominance": 0.33},
    "single-dataset": {"without_dataset": 0.12, "dataset_share": 0.91, "dataset": "B"},
}
REASONS = {
    "csf": "41 % of the map's weight is in CSF; the limit is 40 %.",
    "edge": (
        "51 % of the map's weight is at the brain's edge or outside; the limit is 50 % for a map "
        "that covers 20 % of both in this mask."
    ),
    "outside": "61 % of the map's weight is outside the brain; the limit is 60 %.",
    "high-frequency": "51 % of the time courses' power is above 0.1 Hz; the limit is 50 %.",
    "motion": "The time courses correlate with motion, |r| = 0.36; the limit is 0.35.",
    "single-participant": (
        "One participant has 33 % of the variance that only this component explains; the limit is "
        "32 % with 10 participants."
    ),
    "single-dataset": (
        "Without dataset B, which has 91 % of what it explains, the most similar map has "
        "|r| = 0.12; the limits are 60 % and 0.30."
    ),
}


@pytest.mark.parametrize("flag", get_args(Flag))
def test_each_value_above_its_limit_raises_its_flag_with_a_reason(flag):
    numbers = replace(NOTHING, **ABOVE[flag])
    assert flags(numbers, 10) == (flag,)
    assert reason(flag, numbers, 10) == REASONS[flag]


def test_values_that_are_unknown_or_at_the_limit_raise_no_flag():
    unknown = NoiseNumbers(*[math.nan] * 10)
    assert flags(unknown, 10) == ()
    at_limit = NoiseNumbers(0.4, 0.3, 0.2, 1.0, 0.5, 0.5, 0.35, dominance_limit(10), 0.3, 1)
    assert flags(at_limit, 10) == ()
    assert flags(replace(NOTHING, without_dataset=0.1, dataset_share=0.6), 10) == ()


@pytest.mark.parametrize(
    ("r_without", "shares", "is_raised"),
    [
        ((0.05, 0.2), (0.3, 0.7), True),
        ((0.2, 0.05), (0.3, 0.7), True),
        ((math.nan, 0.2), (0.3, 0.7), True),
        ((0.05, math.nan), (0.3, 0.7), False),
        ((0.05, 0.4), (0.3, 0.7), False),
        ((0.05, 0.2), (0.5, 0.5), False),
    ],
)
def test_a_component_of_a_single_dataset_is_flagged_whatever_is_found_without_others(
    r_without, shares, is_raised
):
    of_datasets = DatasetEvidence(
        ("", "B"),
        (4, 4),
        np.tile(np.array(shares)[:, None], 4),
        np.tile([[r] for r in r_without], 4),
    )
    components = fitted(evidence=replace(evidence(), datasets=of_datasets))
    numbers = noise_numbers(components, ReferenceMaps())[0]
    assert ("single-dataset" in flags(numbers, 8)) == is_raised
    if is_raised:
        assert "Without dataset B, which has 70 %" in reason("single-dataset", numbers, 8)
        assert f"|r| = {r_without[1]:.2f}" in reason("single-dataset", numbers, 8)


def test_flags_are_always_in_the_same_order():
    everything = NoiseNumbers(1.0, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0)
    assert flags(everything, 10) == get_args(Flag)


def test_no_participant_is_flagged_as_dominant_among_three():
    whole = replace(NOTHING, dominance=1.0)
    assert flags(whole, 3) == ()
    assert flags(whole, 4) == ("single-participant",)


@few
@given(n=st.integers(4, 10_000))
def test_a_share_at_the_limit_halves_the_effective_number_of_participants(n):
    share = dominance_limit(n)
    others = (1 - share) / (n - 1)
    effective = 1 / (share**2 + (n - 1) * others**2)
    assert n / 2 <= effective <= n / 2 * (1 + 2 / math.sqrt(n))
