"""Chance on the cortex: maps that are as smooth as given ones, by rotations of the sphere.

Voxels below the cortex get random phases, as volumes do (`smoothness.surrogate_maps`).

References
----------
Alexander-Bloch et al. 2018, On testing for spatial correspondence between maps of human brain
structure and function, NeuroImage 178:540.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nidecomp.spaces.meshes import Mesh
from nidecomp.spaces.smoothness import surrogate_maps
from nidecomp.spaces.spins import spun

# Rotations that the similarity of unrelated maps is measured with; their seeds begin here.
_N_SPINS, _FIRST_SPIN = 6, 1000
# Of meshes with small triangles, every third vertex is enough: smooth maps hardly change between.
_DENSE, _STEP = 12_000, 3


@dataclass(frozen=True, eq=False)
class Sphere:
    """The features of one hemisphere.

    Parameters
    ----------
    features : slice
        Which of all features they are.
    mesh : Mesh
    vertices : ndarray of int, shape (n,)
        Their vertices.
    is_right : bool
        It is rotated as the mirror image of the left one.
    """

    features: slice
    mesh: Mesh
    vertices: NDArray[np.intp]
    is_right: bool

    @cached_property
    def taken(self) -> NDArray[np.intp]:
        """Which of its features surrogates have."""
        step = _STEP if self.mesh.n_vertices > _DENSE else 1
        return np.arange(0, len(self.vertices), step)


@dataclass(frozen=True, eq=False)
class Voxels:
    """The features that are voxels.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        Which of all features they are.
    voxels : ndarray of int, shape (n, 3)
    voxel_mm : ndarray, shape (3,)
    """

    features: NDArray[np.intp]
    voxels: NDArray[np.intp]
    voxel_mm: NDArray[np.float64]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The box with these voxels, (z, y, x)."""
        mask = np.zeros(self._places.max(axis=0) + 1, dtype=np.bool_)
        mask[tuple(self._places.T)] = True
        return mask

    @cached_property
    def in_order(self) -> NDArray[np.intp]:
        """The features in the order of the box."""
        flat = np.ravel_multi_index(tuple(self._places.T), self.mask.shape)
        return self.features[np.argsort(flat)]

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        return np.asarray((self.voxels - self.voxels.min(axis=0))[:, ::-1])


@dataclass(frozen=True, eq=False)
class Rotations:
    """Surrogates of maps of grayordinates.

    Parameters
    ----------
    spheres : tuple of Sphere
    voxels : Voxels, optional
    """

    spheres: tuple[Sphere, ...]
    voxels: Voxels | None = None

    def surrogates(self, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Return unrelated maps: see `contract.FeatureSpace.surrogates`.

        The mean of each hemisphere, and that of the voxels, is 0: it would stay what it is, and
        patterns such as one hemisphere against the other would be the same in all surrogates.
        """
        return np.concatenate([values for values, _ in self._unrelated(maps, seed)], axis=1)

    def independent_values(self, maps: NDArray[np.floating]) -> float:
        """Return how many independent values unrelated maps as smooth as these have.

        The variance of Pearson's r is that between maps and surrogates of the others, in which the
        means of hemispheres and voxels have random signs.
        """
        varying = maps[np.ptp(maps, axis=1) > 0]
        if len(varying) < 2:
            return float("nan")
        own = _standardised(self._thinned(varying))
        squares, n_pairs = 0.0, 0
        for seed in range(_FIRST_SPIN, _FIRST_SPIN + _N_SPINS):
            parts = self._unrelated(varying, seed)
            signs = np.random.RandomState(seed).choice([-1, 1], size=len(parts))
            other = [
                values + sign * means for (values, means), sign in zip(parts, signs, strict=True)
            ]
            r = own @ _standardised(np.concatenate(other, axis=1)).T
            np.fill_diagonal(r, 0.0)
            squares += float((r**2).sum())
            n_pairs += r.size - len(r)
        # Independent values are never more than features.
        return 1 / max(squares / n_pairs, 1 / int(maps.shape[1]))

    def _unrelated(
        self, maps: NDArray[np.floating], seed: int
    ) -> list[tuple[NDArray[np.float32], NDArray[np.floating]]]:
        """Return surrogates of each part with a mean of 0, and the means in the same scale."""
        parts = []
        for one in self.spheres:
            own = maps[:, one.features]
            means = own.mean(axis=1, keepdims=True)
            larger = np.sqrt(own.shape[1] / len(one.taken))
            parts.append((_turned(one, own - means, seed), means * larger))
        if self.voxels is not None:
            below = maps[:, self.voxels.in_order]
            means, spacing = below.mean(axis=1, keepdims=True), self.voxels.voxel_mm[::-1]
            made = surrogate_maps(below - means, self.voxels.mask, spacing, seed, thin=False)
            parts.append((made, means))
        return parts

    def _thinned(self, maps: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return maps at the features that surrogates have, with the same weight of each part."""
        parts = [
            _with_norms_of(own := maps[:, one.features], own[:, one.taken]) for one in self.spheres
        ]
        if self.voxels is not None:
            parts.append(maps[:, self.voxels.in_order].astype(np.float32))
        return np.concatenate(parts, axis=1)


def _turned(one: Sphere, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
    """Return maps of a hemisphere after a rotation, with the norms that they had."""
    moved = spun(maps, one.mesh, one.vertices, seed, mirrored=one.is_right)[:, one.taken]
    return _with_norms_of(maps, moved)


def _with_norms_of(maps: NDArray[np.floating], some: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return some values of maps, scaled so that they have the norms of all."""
    wanted = np.linalg.norm(maps.astype(np.float64), axis=1, keepdims=True)
    found = np.linalg.norm(some.astype(np.float64), axis=1, keepdims=True)
    ratio = np.divide(wanted, found, out=np.zeros_like(wanted), where=found > 0)
    return np.asarray(some * ratio, dtype=np.float32)


def _standardised(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    centred = maps - maps.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0))
