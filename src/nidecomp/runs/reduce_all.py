"""Reduce all runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from nidecomp.config.request import Request
from nidecomp.core.inventory import FailedRun
from nidecomp.core.records import ReducedRun, UsableRun
from nidecomp.core.text import count
from nidecomp.execution import progress
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.runs.answers import answers
from nidecomp.runs.reduce import reduce_run
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)
# Runs in a warning; the table of runs has all.
_MOST_NAMED = 10


def reduce_runs(
    runs: Sequence[UsableRun], space: FeatureSpace, executor: Executor, request: Request
) -> tuple[tuple[ReducedRun, ...], tuple[FailedRun, ...]]:
    """Reduce all runs with each smoothing.

    Parameters
    ----------
    runs : sequence of UsableRun
    space : FeatureSpace
        The voxel grid and group mask.
    executor : Executor
        The results do not depend on it.
    request : Request

    Returns
    -------
    reduced : tuple of ReducedRun
        Sorted by run, then by smoothing in descending order.
    failed : tuple of FailedRun
        Sorted by run. With ``--stop-on-first-crash``, no more runs are processed after the first.
    """
    reduced: list[ReducedRun] = []
    failed: list[FailedRun] = []
    space.prepare(request.science.smoothings_fwhm)
    tasks = [reduce_task(run, space, request) for run in runs]
    results = executor.map_unordered(reduce_run, tasks)
    for result in progress.with_progress(results, len(runs), "Reducing runs"):
        match result:
            case tuple():
                reduced.extend(result)
            case FailedRun():
                failed.append(result)
            case WorkerDied(item=ReduceTask(run=lost)):
                failed.append(FailedRun(lost.key, lost.files.bold, lost_worker()))
        if failed and request.execution.stop_on_first_crash:
            break
    reduced.sort(key=lambda record: (record.key.label, -record.smoothing_fwhm))
    failed.sort(key=lambda record: record.key.label)
    for failure in failed:
        if failure.traceback:
            _LOG.debug("%s: %s", failure.key.label, failure.traceback)
    return tuple(reduced), tuple(failed)


def reduce_task(run: UsableRun, space: FeatureSpace, request: Request) -> ReduceTask:
    """Return the task to read, clean and reduce a run, used by the reduce and projection steps.

    Parameters
    ----------
    run : UsableRun
    space : FeatureSpace
    request : Request

    Returns
    -------
    ReduceTask
    """
    science = request.science
    return ReduceTask(
        run=run,
        space=space,
        denoising=request.denoising_of(run.key.dataset),
        smoothing_fwhm=science.smoothings_fwhm,
        n_rows=science.decomposition.largest_rows,
        # Template maps can be projected to runs of any length.
        n_required=1 if science.projection.maps else science.decomposition.largest_model_order,
        work_dir=request.work_dir,
        answers=answers(),
    )


def warn_of_empty_volumes(runs: Sequence[UsableRun]) -> None:
    """Log a warning about runs of which volumes without signal were dropped.

    Parameters
    ----------
    runs : sequence of UsableRun
        As they are after they were read.
    """
    empty = {run.label: dict(run.dropped).get("empty", 0) for run in runs}
    some = [f"{label} ({number})" for label, number in sorted(empty.items()) if number]
    if some:
        _LOG.warning(
            "Volumes without signal (all values in the brain are the same) were dropped from %s: "
            "%s%s",
            count(len(some), "run"),
            ", ".join(some[:_MOST_NAMED]),
            ", …" * (len(some) > _MOST_NAMED),
        )


def warn_of_copies(reduced: Sequence[ReducedRun]) -> None:
    """Log a warning about runs with identical data, which inflate reproducibility.

    Parameters
    ----------
    reduced : sequence of ReducedRun
    """
    same: dict[tuple[float, ...], set[str]] = {}
    for run in reduced:
        # Different measurements never agree in all digits.
        numbers = (run.smoothing_fwhm, run.total_variance, *run.squared_singular_values)
        same.setdefault(numbers, set()).add(run.key.label)
    for names in sorted({tuple(sorted(names)) for names in same.values() if len(names) > 1}):
        _LOG.warning(
            "%s have identical data: is one a copy of the other? Copies inflate the "
            "reproducibility of maps",
            ", ".join(names),
        )
