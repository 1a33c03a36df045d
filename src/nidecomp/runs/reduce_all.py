"""The first pass over all runs: each is reduced, and what comes back is sorted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from nidecomp.config.request import Request
from nidecomp.core.records import FailedRun, ReducedRun, UsableRun
from nidecomp.execution import progress
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.runs.reduce import reduce_run
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)


def reduce_runs(
    runs: Sequence[UsableRun], space: FeatureSpace, executor: Executor, request: Request
) -> tuple[tuple[ReducedRun, ...], tuple[FailedRun, ...]]:
    """Reduce every run at every smoothing, in whatever order they finish.

    Parameters
    ----------
    runs : sequence of UsableRun
    space : FeatureSpace
        The features that they are reduced on.
    executor : Executor
        The result does not depend on it.
    request : Request

    Returns
    -------
    reduced : tuple of ReducedRun
        Sorted by run, then by smoothing, the widest first.
    failed : tuple of FailedRun
        Sorted by run. With ``--stop-on-first-crash`` the others are not done.
    """
    reduced: list[ReducedRun] = []
    failed: list[FailedRun] = []
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
    """Say how a run is read, cleaned and reduced, in both passes over it.

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
        denoising=science.denoising,
        smoothing_fwhm=science.smoothings_fwhm,
        n_rows=science.decomposition.largest_model_order,
        work_dir=request.work_dir,
    )


def warn_of_copies(reduced: Sequence[ReducedRun]) -> None:
    """Say which runs are one under several names: they make everything look reproducible.

    Parameters
    ----------
    reduced : sequence of ReducedRun
    """
    same: dict[tuple[float, ...], set[str]] = {}
    for run in reduced:
        # No two runs that were measured agree in every digit.
        numbers = (run.smoothing_fwhm, run.total_variance, *run.squared_singular_values)
        same.setdefault(numbers, set()).add(run.key.label)
    for names in sorted({tuple(sorted(names)) for names in same.values() if len(names) > 1}):
        _LOG.warning(
            "%s hold the same data: is one a copy of the other? What is reproducible between "
            "copies is so by construction",
            ", ".join(names),
        )
