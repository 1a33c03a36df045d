"""Compare participants: their maps, the amplitudes of networks, and the edges of connectomes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.comparison.answers import ALPHA
from nidecomp.comparison.correct import corrected_maps
from nidecomp.comparison.data import DecompositionData
from nidecomp.comparison.features import features_of_kinds
from nidecomp.comparison.maps import MapsDone, MapsTask, compare_component
from nidecomp.comparison.records import (
    Compared,
    Comparison,
    Design,
    MapsOfContrast,
    ValuesOfContrast,
)
from nidecomp.comparison.transformations import Transformations, draw_transformations
from nidecomp.comparison.usable_features import usable_features
from nidecomp.comparison.values import compare_values, smallest_drawn_p
from nidecomp.config.request import Request
from nidecomp.core.errors import NidecompError
from nidecomp.execution import progress
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)


def compare(
    design: Design,
    data: Sequence[DecompositionData],
    space: FeatureSpace,
    request: Request,
    executor: Executor,
) -> Comparison:
    """Compare participants by permutation.

    P values are corrected over the components and contrasts of each decomposition: decompositions
    are views of the same data, of which the user reads one.

    Parameters
    ----------
    design : Design
    data : sequence of DecompositionData
        What is compared of each decomposition.
    space : FeatureSpace
        That of the maps.
    request : Request
        The options of the comparison, the seed, and the work folder, where the result of each
        component is kept.
    executor : Executor
        Works on the components. The result does not depend on it.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        A contrast cannot be tested by permutation within blocks.
    NothingToDoError
        There is no feature where all participants have data.
    NidecompError
        A component was not compared, because its process was killed.
    """
    options = request.science.comparison
    seed = request.science.decomposition.random_seed
    transformations = draw_transformations(design, options.n_permutations, seed)
    _say_what_p_can_be(design, transformations)
    n_tfce = min(options.n_tfce_permutations, len(transformations))
    is_exhaustive = n_tfce == transformations.n_possible
    used = [usable_features(one, design, space) for one in data]
    stored = _compare_maps(_tasks(design, data, used, space, request), executor, data)
    decompositions = []
    for number, one in enumerate(data):
        maps = _maps(
            stored.get(number, {}), one, design, space, used[number], is_exhaustive=is_exhaustive
        )
        # Sums must not depend on the number of threads.
        with threadpool_limits(1):
            decompositions.append(
                Compared(
                    components=one.families,
                    n_features=int(np.count_nonzero(used[number])),
                    maps=maps,
                    amplitudes=_amplitudes(design, transformations, one),
                    amplitude_values=_amplitude_values(design, one),
                    edges={
                        kind: compare_values(design, transformations, edges, options.nbs_threshold)
                        for kind, edges in one.edges.items()
                        if edges.shape[1]
                    },
                )
            )
    return Comparison(
        design=design,
        kind=transformations.kind,
        n_permutations=len(transformations),
        n_tfce_permutations=n_tfce,
        n_possible=transformations.n_possible,
        decompositions=tuple(decompositions),
        kept=tuple(sorted(path for one in stored.values() for path in one.values())),
    )


def _say_what_p_can_be(design: Design, transformations: Transformations) -> None:
    """Warn of tests in which nothing can be found, because there are too few permutations."""
    for contrast in design.contrasts:
        least = smallest_drawn_p(design, contrast, transformations)
        if least >= ALPHA:
            _LOG.warning(
                "'%s' can have no p value below %.2g, because so few %s of these participants "
                "differ from each other: nothing can be found at %g.",
                contrast.text,
                least,
                transformations.kind,
                ALPHA,
            )


def _amplitudes(
    design: Design, transformations: Transformations, data: DecompositionData
) -> tuple[ValuesOfContrast, ...]:
    if data.amplitudes is None or not data.families:
        return ()
    return compare_values(design, transformations, data.amplitudes)


def _amplitude_values(design: Design, data: DecompositionData) -> NDArray[np.float64]:
    none = np.zeros((len(design.people), 0))
    return none if data.amplitudes is None else data.amplitudes


def _tasks(
    design: Design,
    data: Sequence[DecompositionData],
    used: Sequence[NDArray[np.bool_]],
    space: FeatureSpace,
    request: Request,
) -> list[MapsTask]:
    # What is in no formula need not be sent to other processes.
    design = replace(design, variables={}, left_out=(), notes=())
    return [
        MapsTask(
            design=design,
            rows=one.paths,
            decomposition=number,
            component=component,
            used=used[number],
            space=space,
            options=request.science.comparison,
            seed=request.science.decomposition.random_seed,
            work_dir=request.work_dir,
        )
        for number, one in enumerate(data)
        if one.paths
        for component in one.families
    ]


def _compare_maps(
    tasks: Sequence[MapsTask], executor: Executor, data: Sequence[DecompositionData]
) -> dict[int, dict[int, Path]]:
    """Return where the result of each component of each decomposition is stored."""
    stored: dict[int, dict[int, Path]] = {}
    lost = []
    results = executor.map_unordered(compare_component, tasks)
    for result in progress.with_progress(results, len(tasks), "Comparing maps", unit="map"):
        match result:
            case MapsDone():
                stored.setdefault(result.decomposition, {})[result.component] = result.path
            case WorkerDied(item=MapsTask(decomposition=number, component=component)):
                lost.append(f"component {component + 1} of {data[number].name or number + 1}")
    if lost:
        raise NidecompError(
            f"The maps of {', '.join(sorted(lost))} were not compared: {lost_worker()}. What is "
            "finished is kept: run the same command again with a smaller --nprocs or more memory."
        )
    return stored


def _maps(
    stored: dict[int, Path],
    data: DecompositionData,
    design: Design,
    space: FeatureSpace,
    used: NDArray[np.bool_],
    *,
    is_exhaustive: bool,
) -> tuple[MapsOfContrast, ...]:
    """Return the maps of one decomposition; nothing where they are not compared."""
    if not data.paths or not data.families:
        return ()
    return corrected_maps(
        [stored[component] for component in data.families],
        design,
        features_of_kinds(space, used),
        used,
        is_exhaustive=is_exhaustive,
    )
