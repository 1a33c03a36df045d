"""Maps that are turned at random on the sphere."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.spaces.geodesic import surface_kernel
from nidecomp.spaces.meshes import template_mesh
from nidecomp.spaces.spins import random_rotation, spun

few = settings(deadline=None, max_examples=20, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


def _smooth_maps(hemi, n_maps: int = 3):
    mesh = template_mesh("fsaverage4", 2562, hemi)
    vertices = np.flatnonzero(~mesh.wall)
    noise = np.random.default_rng(1).standard_normal((len(vertices), n_maps))
    noise[:, 1] += noise[:, 0]
    return mesh, vertices, (surface_kernel(mesh, vertices, 20.0) @ noise).T


@few
@given(seeds)
def test_a_rotation_keeps_lengths_and_handedness(seed) -> None:
    rotation = random_rotation(seed)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0


def test_all_rotations_are_equally_likely() -> None:
    """A place is turned to anywhere on the sphere: moments of a uniform distribution."""
    rotations = np.stack([random_rotation(seed) for seed in range(4000)])
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)
    # The angle of a uniform rotation has the density (1 - cos) / pi, with this mean.
    angles = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert abs(angles.mean() - (np.pi / 2 + 2 / np.pi)) < 0.04


@few
@given(seeds, st.sampled_from(["L", "R"]))
def test_turned_maps_keep_their_norms_and_correlations(seed, hemi) -> None:
    mesh, vertices, maps = _smooth_maps(hemi)
    turned = spun(maps, mesh, vertices, seed, mirrored=hemi == "R")
    assert turned.shape == maps.shape
    assert turned.dtype == np.float32
    # A tenth of the sphere is wall, from where nothing comes.
    ratio = np.linalg.norm(turned, axis=1) / np.linalg.norm(maps, axis=1)
    assert ((ratio > 0.75) & (ratio < 1.2)).all()
    np.testing.assert_allclose(np.corrcoef(turned), np.corrcoef(maps), atol=0.25)
    np.testing.assert_array_equal(spun(maps, mesh, vertices, seed, mirrored=hemi == "R"), turned)
    # What is not there is 0, and everything else is from the maps, all from the same vertex.
    empty = ~turned.any(axis=0)
    assert 0 < np.count_nonzero(empty) <= 1.5 * mesh.wall.sum()
    columns = {tuple(column) for column in maps.astype(np.float32).T.tolist()}
    assert {tuple(column) for column in turned[:, ~empty].T.tolist()} <= columns


def test_turned_maps_stay_smooth_and_have_nothing_in_common() -> None:
    mesh, vertices, maps = _smooth_maps("L")
    kernel = surface_kernel(mesh, vertices, 10.0)
    turned = [spun(maps, mesh, vertices, seed, mirrored=False) for seed in range(200)]

    def roughness(values) -> float:
        return 1 - np.linalg.norm(kernel @ values.T) / np.linalg.norm(values)

    shuffled = roughness(np.random.default_rng(0).permutation(maps, axis=1))
    assert roughness(maps) < 0.2 * shuffled
    assert max(map(roughness, turned[:5])) < 0.3 * shuffled
    similar = [np.corrcoef(values[0], maps[0])[0, 1] for values in turned]
    assert abs(np.mean(similar)) < 0.03
    assert np.std(similar) < 0.2


def test_what_is_at_the_same_places_of_both_hemispheres_stays_so() -> None:
    """A vertex of fs_LR is the same place of the left and of the right hemisphere."""
    left, right = (template_mesh("fsLR", 32492, hemi) for hemi in "LR")
    vertices = np.flatnonzero(~left.wall & ~right.wall)
    places = left.sphere[vertices].T
    one = spun(places, left, vertices, 3, mirrored=False)
    other = spun(places, right, vertices, 3, mirrored=True)
    both = one.any(axis=0) & other.any(axis=0)
    assert np.median(np.linalg.norm(one - other, axis=0)[both]) < 4
    straight = spun(places, right, vertices, 3, mirrored=False)
    assert np.median(np.linalg.norm(one - straight, axis=0)[both]) > 20
