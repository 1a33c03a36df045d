"""Data without any difference, in several designs, and the p values that are found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from design_examples import cube, design_of
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from nidecomp.comparison.family import Family
from nidecomp.comparison.features import FeatureKind, feature_kinds
from nidecomp.comparison.maps import MapsTask, component_maps
from nidecomp.comparison.records import Design
from nidecomp.comparison.transformations import draw_transformations
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.spaces.voxels import VoxelSpace

# What p values are of: the first map by itself, or all maps; counted, or of the fitted tail.
MEASURES = (
    "voxel", "voxel all", "TFCE counted", "TFCE tail", "TFCE all counted", "TFCE all tail",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class NullDesign:
    """A design, and the standard deviation of each participant's data."""

    design: Design
    spread: NDArray[np.float64]


def groups(rng: np.random.Generator) -> NullDesign:
    """Return two groups of 12, and a covariate."""
    n = 24
    matrix = np.column_stack([np.ones(n), np.arange(n) % 2, rng.standard_normal(n)])
    return NullDesign(design_of(matrix, [0, 1, 0]), np.ones(n))


def covariate(rng: np.random.Generator) -> NullDesign:
    """Return a covariate that is correlated with another."""
    n = 24
    other = rng.standard_normal(n)
    matrix = np.column_stack([np.ones(n), other + rng.standard_normal(n), other])
    return NullDesign(design_of(matrix, [0, 1, 0]), np.ones(n))


def paired(rng: np.random.Generator) -> NullDesign:
    """Return differences of 20 participants, some of which are noisier."""
    return NullDesign(design_of(np.ones((20, 1)), [1]), rng.uniform(0.5, 2, 20))


def sites(rng: np.random.Generator) -> NullDesign:
    """Return two groups: nearly all of a quiet site are in one, and half of a noisy one."""
    noisy = np.repeat([0.0, 1.0], [20, 10])
    group = np.concatenate([np.arange(20) == 0, np.arange(10) < 5]).astype(float)
    matrix = np.column_stack([np.ones(30), group, noisy])
    blocks = ["noisy" if one else "quiet" for one in noisy]
    return NullDesign(design_of(matrix, [0, 1, 0], blocks=blocks), 1 + 3 * noisy)


def without_blocks(rng: np.random.Generator) -> NullDesign:
    """Return the same, whose sites are in the model, but not in the permutations."""
    found = sites(rng)
    return replace(found, design=replace(found.design, blocks=()))


DESIGNS: dict[str, Callable[[np.random.Generator], NullDesign]] = {
    "two groups": groups,
    "covariate": covariate,
    "paired": paired,
    "blocked": sites,
    "not blocked": without_blocks,
}


@dataclass(frozen=True, eq=False)
class NullMaps:
    """Smooth maps of noise on a cube, and how they are compared."""

    space: VoxelSpace
    kinds: tuple[FeatureKind, ...]
    n_maps: int
    options: ComparisonOptions

    def p_values(self, design: NullDesign, seed: int) -> list[float]:
        """Return the smallest p value of each of `MEASURES` in one data set."""
        rng = np.random.default_rng(seed)
        people, side = len(design.spread), self.space.grid.shape[0]
        noise = rng.standard_normal((people, self.n_maps, side, side, side))
        smooth = gaussian_filter(noise, (0, 0, 1, 1, 1), mode="wrap")
        data = (smooth.reshape(people, self.n_maps, -1) * design.spread[:, None, None]).astype("f4")
        drawn = draw_transformations(design.design, self.options.n_permutations, seed)
        task = MapsTask(
            design.design, (), 0, 0, np.ones(side**3, dtype=bool), self.space, self.options, seed,
            Path(),
        )  # fmt: skip
        found = [
            component_maps(np.ascontiguousarray(data[:, one]), task, drawn, self.kinds)
            for one in range(self.n_maps)
        ]
        voxel = np.stack([one.voxel_maxima[0, 0] for one in found])
        tfce = np.stack([one.tfce_maxima[0, 0] for one in found])
        return [*_smallest(voxel)[:1], *_smallest(voxel)[2:3], *_smallest(tfce)]


def _smallest(maxima: NDArray[np.float64]) -> list[float]:
    """Return the smallest p value, counted and by the tail: of the first map, and of all."""
    found = []
    for of in (maxima[:1], maxima):
        each = [Family(of, True).corrected(one[:1], number) for number, one in enumerate(of)]
        found += [min(float(one.counted[0]) for one in each), min(float(one.p[0]) for one in each)]
    return found


def null_maps(side: int, n_maps: int, n_permutations: int) -> NullMaps:
    """Return cubes of some side, compared with as many permutations for voxels and TFCE."""
    space = cube(side)
    kinds = feature_kinds(space, np.ones(space.n_features, dtype=bool))
    options = ComparisonOptions(
        model="x", n_permutations=n_permutations, n_tfce_permutations=n_permutations
    )
    return NullMaps(space, kinds, n_maps, options)


def false_positives(
    name: str, maps: NullMaps, seeds: Sequence[int], level: float = 0.05
) -> NDArray[np.float64]:
    """Return the share of data sets with a p value up to a level, for each of `MEASURES`."""
    with threadpool_limits(1):
        found = [
            maps.p_values(DESIGNS[name](np.random.default_rng([1, seed])), seed) for seed in seeds
        ]
    return np.mean(np.array(found) <= level, axis=0)
