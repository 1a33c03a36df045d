"""Regions: the connected pieces of a network's map."""

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

# A region is in one hemisphere if at least this share of its weight is there.
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
        The largest first; none smaller than `Measure.min_region` of the space.
    """
    positive = np.maximum(values, 0)
    if not positive.any():
        return ()
    found = [_described(weights, space) for weights in space.split(positive, kind)]
    regions = [region for region in found if region is not None]
    return tuple(sorted(regions, key=lambda one: (-space.size_of(one.features), one.features[0])))


def parcellation(regions: tuple[Region, ...], n_features: int) -> NDArray[np.int32]:
    """Return the region with the largest weight at each feature.

    Parameters
    ----------
    regions : tuple of Region
        Of all maps; their weights are comparable.
    n_features : int

    Returns
    -------
    ndarray of int32, shape (n_features,)
        Number of the region, from 1; 0 where there is none. The first of several equal ones.
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
        The regions of each component of each decomposition, the largest first.
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
