"""Memory, processes and threads of a request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from nidecomp.comparison.forecast import compared_mb, comparison_mb, comparison_minutes
from nidecomp.comparison.records import Design
from nidecomp.config.execution import Execution
from nidecomp.config.request import Request
from nidecomp.config.science import Science
from nidecomp.core.errors import UsageError
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.decomposition.memory import (
    count_maps,
    count_samples_at_once,
    count_subspaces,
    group_fit_mb,
)
from nidecomp.execution.choose import wanted_processes, worker_memory_mb
from nidecomp.execution.local import available_cores
from nidecomp.execution.memory import INTERPRETER_MB, free_mb, row_mb
from nidecomp.forecast import Forecast, Where
from nidecomp.projection.task import STATISTICS
from nidecomp.runs.fetching import images_in_words
from nidecomp.runs.memory import memory_of_run_mb, projecting_rows
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)

# float32 copies of all decompositions' maps while runs are projected to them.
_WAITING_COPIES = 2.0
# Drawing the report's pictures: an interpreter with its libraries and the template, and of each map
# its pictures and its values on the page's grid until everything is written.
_DRAWING_MB = 380.0
_DRAWING_MB_OF_MAP = 2.0


def make_plan(
    runs: tuple[UsableRun, ...],
    space: FeatureSpace,
    request: Request,
    end_workers: Callable[[], None],
    design: Design | None = None,
) -> Forecast:
    """Forecast the resources needed, log them, and stop workers that will not be used.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs to be reduced; at least one.
    space : FeatureSpace
    request : Request
    end_workers : callable
        Stops workers that were started early.
    design : Design or None
        In which participants are compared.

    Returns
    -------
    Forecast

    Raises
    ------
    UsageError
        There is not enough memory.
    """
    worker_mb = worker_memory_mb(request.execution)
    plan = forecast(runs, space, request, available_cores(), worker_mb, design)
    plan = replace(plan, fetching=images_in_words(runs, plan.n_processes))
    for line in plan.as_text().splitlines():
        _LOG.info(line)
    if plan.n_processes == 1:
        # Everything is done in this process, so that workers would only use memory.
        end_workers()
    return plan


def forecast(
    runs: tuple[UsableRun, ...],
    space: FeatureSpace,
    request: Request,
    n_cores: int,
    worker_mb: float | None = None,
    design: Design | None = None,
) -> Forecast:
    """Return the memory and disk space needed, and the number of processes and threads to use.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs to be reduced; at least one.
    space : FeatureSpace
        The feature space of the reduced runs.
    request : Request
        Its numbers of components, methods, smoothings, analysis level and extent determine the
        resources needed; ``nprocs``, ``omp_nthreads`` and ``mem_mb`` limit them (0: all that the
        machine has).
    n_cores : int
        Number of cores available on this machine.
    worker_mb : float, optional
        Memory of each worker if they are on other machines; infinite if it is unknown.
    design : Design, optional
        In which participants are compared.

    Returns
    -------
    Forecast

    Raises
    ------
    UsageError
        ``--mem-mb`` or the memory of a worker is not enough for a single run or for the group fit.
        The message has the calculation.
    """
    science, extent = request.science, request.extent
    limit = _Limit.of(request.execution)
    is_template = science.projection.maps is not None
    with_fit = request.analysis_level == "group" and not is_template
    is_full = with_fit and extent.level == "full"
    n_rows, n_smoothings = science.decomposition.largest_rows, len(science.smoothings_fwhm)
    n_components = science.decomposition.largest_model_order
    rows = n_rows
    if is_full or is_template:
        with_images = extent.participant_maps or bool(science.projection.regress_out)
        rows = max(rows, projecting_rows(space, n_components, with_images))
    is_written = (is_full or is_template) and bool(science.projection.regress_out)
    run_mb = max(
        memory_of_run_mb(run, space, rows, science.smoothings_fwhm, is_written=is_written)
        for run in runs
    )
    waiting_mb = INTERPRETER_MB
    if is_full:
        waiting_mb += _WAITING_COPIES * count_maps(science) * row_mb(space.n_features)
    where = _where(request.execution, worker_mb)
    _check_run_fits(run_mb, _run_takes(run_mb, runs, space, n_smoothings), limit, worker_mb,
                    waiting_mb if where == "beside" else 0.0)  # fmt: skip
    comparing_mb = _comparing_mb(design, space, science)
    _check_comparison_fits(comparing_mb, design, limit, worker_mb)
    cores = request.execution.nprocs or n_cores
    # Runs and components are worked on by the same processes.
    fitting = int((limit.mb - waiting_mb) // max(run_mb, comparing_mb))
    n_processes = max(1, min(wanted_processes(request.execution, cores), fitting, len(runs)))
    n_threads, at_once, group_mb = _fit_group_into(len(runs), space, request, cores, limit)
    if with_fit:
        _check_group_fits(group_mb, space, science, limit)
    n_datasets = len({run.key.dataset for run in runs})
    n_samples = (
        count_samples_at_once(space.n_features, science, group_mb, n_datasets) if is_full else 0
    )
    return Forecast(
        run_mb=run_mb,
        group_mb=group_mb if with_fit else 0.0,
        disk_mb=len(runs) * n_smoothings * n_rows * row_mb(space.n_features),
        n_processes=n_processes,
        n_threads=n_threads,
        n_subspaces=count_subspaces(science),
        at_once=at_once,
        waiting_mb=waiting_mb,
        where=where,
        drawing_mb=_drawing_mb(request),
        samples_at_once=n_samples,
        images_mb=_images_mb(runs, space, request) if is_full or is_template else 0.0,
        comparing_mb=comparing_mb,
        rows_mb=_rows_mb(runs, space, science) if comparing_mb else 0.0,
        compared_mb=_compared_mb(design, space, science) if comparing_mb else 0.0,
        comparing_minutes=_minutes(design, space, science, n_processes) if comparing_mb else 0.0,
    )


@dataclass(frozen=True)
class _Limit:
    """The memory that may be used, and the beginning of the message if it is not enough."""

    mb: float
    not_enough: str

    @classmethod
    def of(cls, execution: Execution) -> _Limit:
        """Return ``--mem-mb``, or the free memory."""
        if execution.mem_mb:
            return cls(execution.mem_mb, f"--mem-mb {execution.mem_mb:.0f} is not enough")
        free = free_mb()
        return cls(free, f"The free memory of {free:.0f} MB is not enough")


def _check_run_fits(
    run_mb: float, run_takes: str, limit: _Limit, worker_mb: float | None, beside_mb: float
) -> None:
    """Raise UsageError if there is not enough memory for a single run."""
    if worker_mb is not None:
        if run_mb > worker_mb:
            not_enough = (
                f"The memory of {worker_mb:.0f} MB per worker (--dask-config) is not enough"
            )
            raise UsageError(f"{not_enough}: {run_takes}.")
    elif run_mb + beside_mb > limit.mb:
        beside = f", in addition to {beside_mb:.0f} MB for the main process" if beside_mb else ""
        raise UsageError(f"{limit.not_enough}: {run_takes}{beside}.")


def _comparing_mb(design: Design | None, space: FeatureSpace, science: Science) -> float:
    """Return the memory in MB of comparing the maps of one component, or 0."""
    if design is None or science.comparison.statistic_of_maps is None:
        return 0.0
    return comparison_mb(
        len(design.people), space.n_features, len(design.contrasts), science.comparison
    )


def _rows_mb(runs: tuple[UsableRun, ...], space: FeatureSpace, science: Science) -> float:
    """Return the disk space in MB of the maps of runs, and those over a participant's runs."""
    n_participants = len({run.participant for run in runs})
    n_arrays = len(runs) + (n_participants if n_participants < len(runs) else 0)
    return n_arrays * count_maps(science) * row_mb(space.n_features)


def _compared_mb(design: Design | None, space: FeatureSpace, science: Science) -> float:
    """Return the memory in MB of all results of a comparison."""
    n_contrasts = len(design.contrasts) if design else 0
    return compared_mb(count_maps(science), space.n_features, n_contrasts, science.comparison)


def _minutes(
    design: Design | None, space: FeatureSpace, science: Science, n_processes: int
) -> float:
    """Return about how many minutes it takes to compare maps."""
    n_people, n_contrasts = (len(design.people), len(design.contrasts)) if design else (0, 0)
    n_maps, options = count_maps(science), science.comparison
    return comparison_minutes(n_people, n_maps, space.n_features, n_contrasts, options, n_processes)


def _check_comparison_fits(
    comparing_mb: float, design: Design | None, limit: _Limit, worker_mb: float | None
) -> None:
    """Raise UsageError if there is not enough memory to compare the maps of one component."""
    if design is None or comparing_mb <= (limit.mb if worker_mb is None else worker_mb):
        return
    not_enough = (
        limit.not_enough
        if worker_mb is None
        else f"The memory of {worker_mb:.0f} MB per worker (--dask-config) is not enough"
    )
    raise UsageError(
        f"{not_enough}: comparing the maps of one component needs {comparing_mb:.0f} MB, with "
        f"those of {count(len(design.people), 'participant')} in memory together. --compare "
        "amplitudes connectomes needs no maps."
    )


def _fit_group_into(
    n_runs: int, space: FeatureSpace, request: Request, cores: int, limit: _Limit
) -> tuple[int, int, float]:
    """Return threads, subspaces per pass and memory of the group fit, as fast as memory allows."""
    # Prefer fewer threads to more passes, which cost more time. Neither changes the results.
    most_threads = min(cores, request.execution.omp_nthreads or cores)
    ways = [
        (n_threads, at_once)
        for at_once in range(count_subspaces(request.science), 0, -1)
        for n_threads in range(most_threads, 0, -1)
    ]
    sizes = {
        way: group_fit_mb(n_runs, space.n_features, space.n_stored, request.science, *way)
        for way in ways
    }
    chosen = next((way for way in ways if sizes[way] <= limit.mb), ways[-1])
    return (*chosen, sizes[chosen])


def _check_group_fits(
    group_mb: float, space: FeatureSpace, science: Science, limit: _Limit
) -> None:
    """Raise UsageError if there is not enough memory for the group fit."""
    if group_mb <= limit.mb:
        return
    n_components = science.decomposition.largest_model_order
    dims = science.decomposition.kept_dims(n_components)
    fewer = "--max-components" if science.decomposition.is_auto else "--n-components"
    raise UsageError(
        f"{limit.not_enough}: the group fit needs {group_mb:.0f} MB with one thread "
        f"({INTERPRETER_MB:.0f} MB for Python and its libraries, the rest for two copies of a "
        f"subspace of {count(dims, 'dimension')} × {_features(space)} in float32, and for "
        f"{count(n_components, 'component')}). Decrease --subspace-dims or {fewer} to use less."
    )


def _images_mb(runs: tuple[UsableRun, ...], space: FeatureSpace, request: Request) -> float:
    """Return the disk space in MB of the images of all runs: their maps, and after regression."""
    science = request.science
    of_maps = 0.0
    if request.extent.participant_maps:
        of_maps = len(STATISTICS) * count_maps(science) * row_mb(space.n_features)
    of_image = 0.0
    if science.projection.regress_out:
        options = science.decomposition
        n_decompositions = len(options.methods) * max(1, len(options.model_orders))
        of_image = n_decompositions * row_mb(space.n_stored)
    return sum(of_maps + of_image * run.n_volumes for run in runs)


def _drawing_mb(request: Request) -> float:
    """Return the memory in MB of drawing figures, or 0 where there are none."""
    extent = request.extent
    if request.analysis_level != "group" or not (extent.has_report or extent.figures):
        return 0.0
    return _DRAWING_MB + _DRAWING_MB_OF_MAP * count_maps(request.science)


def _where(execution: Execution, worker_mb: float | None) -> Where:
    if worker_mb is not None:
        return "elsewhere"
    return "here" if execution.executor == "local" else "beside"


def _run_takes(
    run_mb: float, runs: tuple[UsableRun, ...], space: FeatureSpace, n_smoothings: int
) -> str:
    """Return a description of the memory needed for one run, with the calculation."""
    most = max(run.n_kept for run in runs)
    smoothings = f", {n_smoothings} smoothings" if n_smoothings > 1 else ""
    return (
        f"one run needs {run_mb:.0f} MB in the reduce step ({INTERPRETER_MB:.0f} MB for Python and "
        f"its libraries, {run_mb - INTERPRETER_MB:.0f} MB for {count(most, 'volume')} × "
        f"{_features(space)} in float32{smoothings}, and the volumes and blocks being processed)"
    )


def _features(space: FeatureSpace) -> str:
    return space.measure.count(space.n_features)
