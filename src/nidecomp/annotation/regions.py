"""Regions: the connected pieces of the networks' maps, and the parcellation made of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.annotation.places import hemisphere, rank_by_place
from nidecomp.annotation.thresholds import apply_rule, parse_rule
from nidecomp.config.science import Science
from nidecomp.decomposition.components import Components
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.spaces.contract import FeatureSpace, RegionKind

_LOG = logging.getLogger(__name__)
# The rounding error of sizes, as a share of a feature.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Region:
    """One region of one map, which may overlap with those of other maps.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        Indices into the features, ascending.
    weights : ndarray of float32, shape (n,)
        The map's values there, above 0.
    """

    features: NDArray[np.intp]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parcel:
    """What a region has in the parcellation: the features at which its weight is the largest.

    Parameters
    ----------
    row : int
        Which map it belongs to.
    number : int
        Its number among the parcels of this map, from 1, the largest first.
    region : Region
    features : ndarray of int, shape (n,)
        The features of the region that are in the parcel, ascending.
    size : float
        Their size, at least `Measure.min_region`.
    centre : tuple of float
        The centre of their size, RAS+ coordinates in mm.
    hemisphere : str
        ``L``, ``R``, ``B`` for both or ``M`` for the midline: see `places.hemisphere`.
    """

    row: int
    number: int
    region: Region
    features: NDArray[np.intp]
    size: float
    centre: tuple[float, float, float]
    hemisphere: str


def extract_regions(
    values: NDArray[np.float32], space: FeatureSpace, kind: RegionKind
) -> tuple[Region, ...]:
    """Return the regions of one map.

    Parameters
    ----------
    values : ndarray of float32, shape (n_features,)
        The thresholded map; negative values are ignored.
    space : FeatureSpace
    kind : {"local_regions", "connected_components"}
        Regions around the peaks of the smoothed map, or the connected components of the map.

    Returns
    -------
    tuple of Region
        The largest first, of several of the same size the one with the lowest feature
        (`rank_by_place`); none smaller than `Measure.min_region` of the space.
    """
    positive = np.maximum(values, 0)
    if not positive.any():
        return ()
    regions = []
    for weights in space.split(positive, kind):
        features = np.flatnonzero(weights > 0)
        if len(features):
            regions.append(Region(features, weights[features].astype(np.float32)))
    rank = rank_by_place(space, np.flatnonzero(positive))
    return tuple(
        sorted(regions, key=lambda one: (-space.size_of(one.features), rank[one.features].min()))
    )


def parcellate(of_maps: Sequence[Sequence[Region]], space: FeatureSpace) -> tuple[Parcel, ...]:
    """Return the parcels of the regions of all maps of a decomposition.

    Each feature belongs to the region with the largest weight (the first of several equal ones).
    Regions that are left with less than `Measure.min_region` are dropped, one at a time, the
    smallest first (the last of several equal ones), and their features belong to the region with
    the next largest weight.

    Parameters
    ----------
    of_maps : sequence of sequence of Region
        The regions of each map. Their weights are comparable.
    space : FeatureSpace

    Returns
    -------
    tuple of Parcel
        In the order of the maps, those of a map the largest first, of several of the same size the
        one with the lowest feature (`rank_by_place`).
    """
    left = [(row, region) for row, of_map in enumerate(of_maps) for region in of_map]
    # A parcel of exactly the smallest size must not be lost to rounding.
    least = space.measure.min_region - _ROUNDING * float(space.sizes.min())
    while left:
        won = _won([region for _, region in left], space.n_features)
        sizes = [space.size_of(features) for features in won]
        smallest = min(sizes)
        if smallest >= least:
            return _parcels(left, won, sizes, space)
        last = max(index for index, size in enumerate(sizes) if size == smallest)
        del left[last]
    return ()


def _won(regions: Sequence[Region], n_features: int) -> list[NDArray[np.intp]]:
    """Return the features at which each region has the largest weight."""
    winner = np.full(n_features, -1)
    largest = np.zeros(n_features, dtype=np.float32)
    for number, region in enumerate(regions):
        wins = region.weights > largest[region.features]
        winner[region.features[wins]] = number
        largest[region.features[wins]] = region.weights[wins]
    return [
        region.features[winner[region.features] == number] for number, region in enumerate(regions)
    ]


def _parcels(
    regions: Sequence[tuple[int, Region]],
    won: Sequence[NDArray[np.intp]],
    sizes: Sequence[float],
    space: FeatureSpace,
) -> tuple[Parcel, ...]:
    rank = rank_by_place(space, np.concatenate(won))
    order = sorted(
        range(len(regions)),
        key=lambda one: (regions[one][0], -sizes[one], rank[won[one]].min()),
    )
    numbers: Counter[int] = Counter()
    parcels = []
    for one in order:
        (row, region), features = regions[one], won[one]
        numbers[row] += 1
        weights = space.sizes[features] / space.sizes[features].sum()
        x, y, z = (weights @ space.coordinates(features)).tolist()
        side = hemisphere(features, space)
        parcels.append(Parcel(row, numbers[row], region, features, sizes[one], (x, y, z), side))
    return tuple(parcels)


# nilearn's RegionExtractor is meant for dictionary maps; ICA maps are split as they are.
KIND_OF_METHOD: dict[str, RegionKind] = {
    "dictlearning": "local_regions",
    "canica": "connected_components",
}


@dataclass(frozen=True, eq=False)
class RegionTask:
    """The task of splitting one map: its file and row there, and its threshold."""

    path: Path
    decomposition: int
    row: int
    threshold: float
    kind: RegionKind
    space: FeatureSpace


@dataclass(frozen=True, eq=False)
class RegionsOfMap:
    """The regions of one map."""

    decomposition: int
    row: int
    regions: tuple[Region, ...]


def find_regions(
    components: Sequence[Components],
    paths: Sequence[Path],
    space: FeatureSpace,
    science: Science,
    executor: Executor,
) -> tuple[tuple[tuple[Region, ...], ...], ...]:
    """Return the regions of every map.

    Parameters
    ----------
    components : sequence of Components
    paths : sequence of Path
        The stored maps of each; empty where no regions are wanted.
    space : FeatureSpace
    science : Science
        The threshold.
    executor : Executor
        The result does not depend on it.

    Returns
    -------
    tuple
        The regions of each component of each decomposition, the largest first; none of a map that
        is no more reproducible than chance.
    """
    if not paths:
        return ()
    rule = parse_rule(science.evidence.threshold)
    tasks = [
        RegionTask(path, index, row, high, KIND_OF_METHOD[one.method], space)
        for index, (one, path) in enumerate(zip(components, paths, strict=True))
        for row, (_, high) in enumerate(apply_rule(one.maps, rule).limits.tolist())
        if not one.at_chance[row]
    ]
    found: dict[tuple[int, int], tuple[Region, ...]] = {}
    for result in executor.map_unordered(regions_of_map, tasks):
        match result:
            case RegionsOfMap():
                found[result.decomposition, result.row] = result.regions
            case WorkerDied(item=RegionTask(decomposition=index, row=row)):
                name = components[index].names[row]
                _LOG.error("The regions of %s were not found: %s", name, lost_worker())
    return tuple(
        tuple(found.get((index, row), ()) for row in range(one.n_components))
        for index, one in enumerate(components)
    )


def regions_of_map(task: RegionTask) -> RegionsOfMap:
    """Return the regions of one map, thresholded and scaled to a maximum of 1."""
    values = np.array(np.load(task.path, mmap_mode="r")[task.row])
    # The threshold is infinite or NaN where nothing is kept.
    values[~(values >= max(task.threshold, 0))] = 0
    largest = values.max()
    if not largest > 0:
        return RegionsOfMap(task.decomposition, task.row, ())
    with threadpool_limits(limits=1):
        regions = extract_regions(values / largest, task.space, task.kind)
    return RegionsOfMap(task.decomposition, task.row, regions)
