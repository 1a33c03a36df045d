"""Project all runs to the group's maps, and combine the runs of each participant."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nidecomp.config.request import Request
from nidecomp.core.inventory import FailedRun, Inventory
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.execution import progress
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.projection.one_run import CombineTask, combine_runs, project_run
from nidecomp.projection.store import store_target
from nidecomp.projection.task import CombinedMaps, ProjectedRun, ProjectTask, Target
from nidecomp.runs.task import ReduceTask

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Projections:
    """The projections of all runs, sorted by name.

    `paths` are the stored maps of each decomposition. `combined` has the maps of participants with
    several runs, for each participant and decomposition.
    """

    runs: tuple[ProjectedRun, ...] = ()
    paths: tuple[Path, ...] = ()
    failed: tuple[FailedRun, ...] = ()
    removed: tuple[Mapping[int, str], ...] = ()
    combined: Mapping[str, tuple[CombinedMaps, ...]] = field(default_factory=dict)


def project_runs(
    components: Sequence[Components],
    cleaning: Sequence[ReduceTask],
    request: Request,
    executor: Executor,
    removed: Sequence[Mapping[int, str]] = (),
) -> Projections:
    """Project all runs to the group's maps.

    Parameters
    ----------
    components : sequence of Components
        The decompositions, as they are written.
    cleaning : sequence of ReduceTask
        How each run is read and cleaned.
    request : Request
        Smoothing of each method, normalisation, whether maps are wanted, the work folder.
    executor : Executor
        The result does not depend on it.
    removed : sequence of mapping
        For each decomposition, the components that are regressed out of the runs' images (index to
        reason); by default none.

    Returns
    -------
    Projections
    """
    smoothing_of = request.science.denoising.smoothing_of
    targets = tuple(
        store_target(one, smoothing_of(one.method), request.work_dir) for one in components
    )
    tasks = _tasks(targets, cleaning, request, tuple(tuple(sorted(one)) for one in removed))
    if tasks:
        tasks[0].cleaning.space.prepare(request.science.smoothings_fwhm)
    results = executor.map_unordered(project_run, tasks)
    projected, failed = [], []
    for result in progress.with_progress(results, len(tasks), "Projecting runs"):
        match result:
            case ProjectedRun():
                projected.append(result)
            case FailedRun():
                failed.append(result)
            case WorkerDied(item=ProjectTask(cleaning=ReduceTask(run=lost))):
                failed.append(FailedRun(lost.key, lost.files.bold, lost_worker()))
    failed = [replace(run, reason=f"not projected: {run.reason}") for run in failed]
    projected.sort(key=lambda record: record.key.label)
    failed.sort(key=lambda record: record.key.label)
    if failed:
        reasons = Inventory(failed=tuple(failed)).reasons()
        _LOG.error("%s could not be projected:\n%s", count(len(failed), "run"), reasons)
    combined = _combined(projected, tasks, executor) if request.extent.participant_maps else {}
    return Projections(
        runs=tuple(projected),
        paths=tuple(target.path for target in targets),
        failed=tuple(failed),
        removed=tuple(removed),
        combined=combined,
    )


def _tasks(
    targets: tuple[Target, ...],
    cleaning: Sequence[ReduceTask],
    request: Request,
    removed: tuple[tuple[int, ...], ...],
) -> list[ProjectTask]:
    n_runs = Counter(task.run.participant for task in cleaning)
    with_maps = request.extent.participant_maps
    return [
        ProjectTask(
            cleaning=task,
            targets=targets,
            normalise=request.science.projection.normalise_time_courses,
            with_maps=with_maps,
            arrays=_arrays(request, is_alone=n_runs[task.run.participant] == 1),
            removed=removed,
            aggressive=request.science.projection.aggressive,
        )
        for task in cleaning
    ]


def _arrays(request: Request, *, is_alone: bool) -> tuple[str, ...]:
    """Return what is stored as arrays of a run, which may be the participant's only one."""
    statistic = request.science.comparison.statistic_of_maps
    names = {"effect", "noise"} if request.extent.participant_maps or statistic else set()
    of_comparison = {statistic} if statistic else set()
    return tuple(sorted((set() if is_alone else names) | of_comparison))


def _combined(
    projected: Sequence[ProjectedRun], tasks: Sequence[ProjectTask], executor: Executor
) -> dict[str, tuple[CombinedMaps, ...]]:
    """Return the combined maps of participants with several runs."""
    stems: dict[str, list[Path]] = {}
    for run in projected:
        stems.setdefault(run.run.participant, []).append(run.stem)
    to_combine = [
        CombineTask(label, tuple(of_runs), len(tasks[0].targets), tasks[0].cleaning.space)
        for label, of_runs in stems.items()
        if len(of_runs) > 1
    ]
    return dict(sorted(_each_combined(to_combine, executor)))


def _each_combined(
    tasks: Sequence[CombineTask], executor: Executor
) -> Iterable[tuple[str, tuple[CombinedMaps, ...]]]:
    for result in executor.map_unordered(combine_runs, tasks):
        match result:
            case WorkerDied(item=CombineTask(participant=label)):
                _LOG.error("The runs of sub-%s were not combined: %s", label, lost_worker("them"))
            case tuple():
                yield result
