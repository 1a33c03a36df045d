"""Regions: a network's map taken apart into pieces that hang together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.annotation.thresholds import apply_rule, parse_rule
from nidecomp.config.science import Science
from nidecomp.decomposition.components import Components
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.spaces.contract import FeatureSpace, RegionKind

# Of a region in one hemisphere, this share of its weight at least lies there.
_ONE_SIDED = 0.95


@dataclass(frozen=True, eq=False)
class Region:
    """One region of one map.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        Indices into the features, ascending.
    weights : ndarray of float32, shape (n,)
        The map's values there, above 0.
    centre : tuple of float
        Centre of the weights, RAS+ coordinates in mm.
    hemisphere : str
        ``L``, ``R``, or ``B`` for both.
    """

    features: NDArray[np.intp]
    weights: NDArray[np.float32]
    centre: tuple[float, float, float]
    hemisphere: str


def extract_regions(
    values: NDArray[np.float32], space: FeatureSpace, kind: RegionKind
) -> tuple[Region, ...]:
    """Take one map apart.

    Parameters
    ----------
    values : ndarray of float32, shape (n_features,)
        The thresholded map; what is below 0 is no part of it.
    space : FeatureSpace
    kind : {"local_regions", "connected_components"}
        Around the peaks of the smoothed map, or what hangs together as it is.

    Returns
    -------
    tuple of Region
        The largest first; none smaller than the least that the space's measure says.
    """
    positive = np.maximum(values, 0)
    if not positive.any():
        return ()
    found = [_described(weights, space) for weights in space.split(positive, kind)]
    regions = [region for region in found if region is not None]
    return tuple(sorted(regions, key=lambda one: (-space.size_of(one.features), one.features[0])))


def parcellation(regions: tuple[Region, ...], n_features: int) -> NDArray[np.int32]:
    """Give each feature to the region that weighs most in it.

    Parameters
    ----------
    regions : tuple of Region
        Of all maps; their weights are comparable.
    n_features : int

    Returns
    -------
    ndarray of int32, shape (n_features,)
        Number of the region, from 1; 0 where there is none. Of equals the first.
    """
    labels = np.zeros(n_features, dtype=np.int32)
    largest = np.zeros(n_features, dtype=np.float32)
    for number, region in enumerate(regions, start=1):
        wins = region.weights > largest[region.features]
        labels[region.features[wins]] = number
        largest[region.features[wins]] = region.weights[wins]
    return labels


def _described(weights: NDArray[np.floating], space: FeatureSpace) -> Region | None:
    features = np.flatnonzero(weights > 0)
    if not len(features):
        return None
    own = weights[features].astype(np.float32)
    places = space.coordinates(features)
    share = own.astype(np.float64) / own.sum(dtype=np.float64)
    x, y, z = (share @ places).tolist()
    left = float(share[places[:, 0] < 0].sum())
    hemisphere = "L" if left >= _ONE_SIDED else "R" if left <= 1 - _ONE_SIDED else "B"
    return Region(features, own, (x, y, z), hemisphere)


_LOG = logging.getLogger(__name__)

# nilearn's RegionExtractor was made for dictionary maps; an ICA's are what their threshold leaves.
KIND_OF_METHOD: dict[str, RegionKind] = {
    "dictlearning": "local_regions",
    "canica": "connected_components",
}


@dataclass(frozen=True, eq=False)
class RegionTask:
    """One map: where it lies (an array and a row of it), from what value on it is taken apart."""

    path: Path
    decomposition: int
    row: int
    threshold: float
    kind: RegionKind
    space: FeatureSpace


@dataclass(frozen=True, eq=False)
class RegionsOfMap:
    """What one map was taken apart into."""

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
    """Take every map apart.

    Parameters
    ----------
    components : sequence of Components
    paths : sequence of Path
        Where the maps of each are stored; none where no regions are wanted.
    space : FeatureSpace
    science : Science
        The threshold.
    executor : Executor
        The result does not depend on it.

    Returns
    -------
    tuple
        For each decomposition, for each component, its regions, the largest first.
    """
    if not paths:
        return ()
    rule = parse_rule(science.evidence.threshold)
    tasks = [
        RegionTask(path, index, row, high, KIND_OF_METHOD[one.method], space)
        for index, (one, path) in enumerate(zip(components, paths, strict=True))
        for row, (_, high) in enumerate(apply_rule(one.maps, rule).limits.tolist())
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
    """Threshold one map, bring its largest value to 1, and take it apart."""
    values = np.array(np.load(task.path, mmap_mode="r")[task.row])
    # The threshold is infinite or not a number where nothing is kept.
    values[~(values >= max(task.threshold, 0))] = 0
    largest = values.max()
    if not largest > 0:
        return RegionsOfMap(task.decomposition, task.row, ())
    with threadpool_limits(limits=1):
        regions = extract_regions(values / largest, task.space, task.kind)
    return RegionsOfMap(task.decomposition, task.row, regions)
