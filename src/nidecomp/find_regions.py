"""Regions of every map of every decomposition, many maps at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nidecomp.execute.contract import Executor, WorkerDied
from nidecomp.group.thresholds import apply_rule, parse_rule
from nidecomp.project.regions import Kind, Region, extract_regions
from nidecomp.records import Components
from nidecomp.settings import Science
from nidecomp.signal.geometry import VoxelGeometry

_LOG = logging.getLogger(__name__)

# nilearn's RegionExtractor was made for dictionary maps; an ICA's are what their threshold leaves.
KIND_OF_METHOD: dict[str, Kind] = {
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
    kind: Kind
    geometry: VoxelGeometry


@dataclass(frozen=True, eq=False)
class RegionsOfMap:
    """What one map was taken apart into."""

    decomposition: int
    row: int
    regions: tuple[Region, ...]


def find_regions(
    components: Sequence[Components],
    paths: Sequence[Path],
    geometry: VoxelGeometry,
    science: Science,
    executor: Executor,
) -> tuple[tuple[tuple[Region, ...], ...], ...]:
    """Take every map apart.

    Parameters
    ----------
    components : sequence of Components
    paths : sequence of Path
        Where the maps of each are stored; none where no regions are wanted.
    geometry : VoxelGeometry
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
        RegionTask(path, index, row, high, KIND_OF_METHOD[one.method], geometry)
        for index, (one, path) in enumerate(zip(components, paths, strict=True))
        for row, (_, high) in enumerate(apply_rule(one.maps, rule).limits.tolist())
    ]
    found: dict[tuple[int, int], tuple[Region, ...]] = {}
    for result in executor.map_unordered(regions_of_map, tasks):
        match result:
            case RegionsOfMap():
                found[result.decomposition, result.row] = result.regions
            case WorkerDied(item=RegionTask(decomposition=index, row=row)):
                _LOG.error(
                    "The regions of %s were not found: the process that worked on it was killed, "
                    "probably for want of memory",
                    components[index].names[row],
                )
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
        regions = extract_regions(values / largest, task.geometry, task.kind)
    return RegionsOfMap(task.decomposition, task.row, regions)
