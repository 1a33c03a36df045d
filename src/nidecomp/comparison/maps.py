"""Compare the participants' maps of one component, in all contrasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.comparison.clusters import cluster_extents, threshold_of
from nidecomp.comparison.data import RowFiles
from nidecomp.comparison.enhancement import enhance
from nidecomp.comparison.features import FeatureKind, feature_kinds
from nidecomp.comparison.glm import (
    LinearTest,
    largest_statistics,
    linear_test,
    statistic_maps,
)
from nidecomp.comparison.largest_enhancement import largest_enhancement
from nidecomp.comparison.records import Design
from nidecomp.comparison.stored import ComponentMaps, find_maps, maps_file, store_maps
from nidecomp.comparison.transformations import Transformations, draw_transformations
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.linalg import blocks
from nidecomp.execution.memory import release_freed_memory
from nidecomp.spaces.contract import FeatureSpace

# Maps that are enhanced at once.
MAPS_AT_ONCE = 16
# Features whose residuals are computed at once, in float64.
_FEATURES_AT_ONCE = 16384


@dataclass(frozen=True, eq=False)
class MapsTask:
    """One component whose maps are compared.

    Parameters
    ----------
    design : Design
        What else it has is not needed but `matrix`, `contrasts`, `blocks` and `people`.
    rows : tuple of RowFiles
        The maps of each row of the design.
    decomposition, component : int
        Indices: of the decomposition among all, of the component among its maps.
    used : ndarray of bool, shape (n_features,)
        Which features are compared.
    space : FeatureSpace
    options : ComparisonOptions
    seed : int
    work_dir : Path
        Where the result is stored.
    """

    design: Design
    rows: tuple[RowFiles, ...]
    decomposition: int
    component: int
    used: NDArray[np.bool_]
    space: FeatureSpace
    options: ComparisonOptions
    seed: int
    work_dir: Path


@dataclass(frozen=True)
class MapsDone:
    """Where the result of a component is stored."""

    decomposition: int
    component: int
    path: Path


def compare_component(task: MapsTask) -> MapsDone:
    """Compare the maps of a component, unless the result is there, and store it.

    Parameters
    ----------
    task : MapsTask

    Returns
    -------
    MapsDone
    """
    # Sums must not depend on the number of threads.
    with threadpool_limits(1):
        transformations = draw_transformations(task.design, task.options.n_permutations, task.seed)
        data = _read(task)
        path = _path(task, data, transformations)
        if find_maps(path) is None:
            kinds = feature_kinds(task.space, task.used)
            store_maps(path, component_maps(data, task, transformations, kinds))
    release_freed_memory()
    return MapsDone(task.decomposition, task.component, path)


def _path(task: MapsTask, data: NDArray[np.float32], transformations: Transformations) -> Path:
    contrasts = [one.weights for one in task.design.contrasts]
    return maps_file(
        task.work_dir,
        [data, task.design.matrix, *contrasts, transformations.orders, transformations.signs,
         task.used],
        [task.options.n_tfce_permutations, task.options.cluster_threshold, task.space.label,
         task.space.digest],
    )  # fmt: skip


def _read(task: MapsTask) -> NDArray[np.float32]:
    """Return the maps of all rows, (n_people, n_compared)."""
    features = np.flatnonzero(task.used)
    data = np.empty((len(task.rows), len(features)), dtype=np.float32)
    for one, row in zip(data, task.rows, strict=True):
        one[...] = row.read(task.component, features)
    return data


def component_maps(
    data: NDArray[np.float32],
    task: MapsTask,
    transformations: Transformations,
    kinds: Sequence[FeatureKind],
) -> ComponentMaps:
    """Return the statistics of a component in all contrasts, and the maxima of permutations.

    Parameters
    ----------
    data : ndarray of float32, shape (n_people, n_compared)
        Overwritten, so that the maps are in memory once.
    task : MapsTask
    transformations : Transformations
    kinds : sequence of FeatureKind

    Returns
    -------
    ComponentMaps
    """
    found = []
    for number, contrast in enumerate(task.design.contrasts):
        if number:
            data[...] = _read(task)
        test = linear_test(task.design, contrast, transformations.kind)
        statistic, effect = _observe(test, data)
        residuals = data
        by_kind = [_voxel_maxima(test, residuals, transformations, one) for one in kinds]
        for maxima, kind in zip(by_kind, kinds, strict=True):
            maxima[0] = np.abs(statistic[kind.features]).max()
        clusters = _clusters(test, residuals, transformations, kinds, statistic, task.options)
        found.append((statistic, effect, np.array(by_kind), *clusters))
    return ComponentMaps(*map(np.stack, zip(*found, strict=True)))


def _observe(
    test: LinearTest, data: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the statistic and the estimate (0 for F); put residuals in the place of the data."""
    statistic = np.empty(data.shape[1], dtype=np.float32)
    effect = np.zeros_like(statistic)
    for block in blocks(data.shape[1], _FEATURES_AT_ONCE):
        values = data[:, block].astype(np.float64)
        residuals = test.residuals(values)
        statistic[block] = test.statistic(residuals)
        if test.estimating is not None:
            effect[block] = test.estimating @ values
        data[:, block] = residuals
    return statistic, effect


def _voxel_maxima(
    test: LinearTest,
    residuals: NDArray[np.float32],
    transformations: Transformations,
    kind: FeatureKind,
) -> NDArray[np.float64]:
    return largest_statistics(test, kind.of(residuals), transformations)


class _Measure(NamedTuple):
    """What is measured of maps: at each feature, and the largest absolute value of each map."""

    maps: Callable[..., NDArray[np.float32]]
    largest: Callable[[NDArray[np.float32], FeatureKind], NDArray[np.floating]]


def _clusters(
    test: LinearTest,
    residuals: NDArray[np.float32],
    transformations: Transformations,
    kinds: Sequence[FeatureKind],
    statistic: NDArray[np.float32],
    options: ComparisonOptions,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Return TFCE and its maxima, and extents of clusters and theirs.

    What was not asked for has no features and no maxima.
    """
    n = min(options.n_tfce_permutations, len(transformations))
    measures: list[_Measure] = [_Measure(enhance, largest_enhancement)]
    if options.cluster_threshold is not None:
        limit = threshold_of(test, options.cluster_threshold)
        extents = partial(cluster_extents, threshold=limit)
        measures.append(_Measure(extents, lambda maps, kind: extents(maps, kind=kind).max(axis=1)))
    observed = np.zeros((2, len(statistic) if n else 0), dtype=np.float32)
    maxima = np.zeros((2, len(kinds), n))
    for some in blocks(n, MAPS_AT_ONCE):
        maps = statistic_maps(test, residuals, transformations, some)
        if some.start == 0:
            maps[0] = statistic
        for index, measure in enumerate(measures):
            for number, kind in enumerate(kinds):
                own = np.ascontiguousarray(kind.of(maps))
                maxima[index, number, some] = measure.largest(own, kind)
                if some.start == 0:
                    found = measure.maps(own[:1], kind=kind)[0]
                    observed[index, kind.features] = found
                    maxima[index, number, 0] = np.abs(found).max()
    n_extents = slice(None if len(measures) > 1 else 0)
    return observed[0], maxima[0], observed[1, n_extents], maxima[1, :, n_extents]
