"""Which executor does the work, and on how many cores; dask is imported when it is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from nidecomp.config.execution import Execution
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line
from nidecomp.execution.executor import Executor
from nidecomp.execution.local import LocalProcesses, available_cores, started_early
from nidecomp.execution.memory import idle_workers
from nidecomp.execution.monitor import Monitor
from nidecomp.execution.monitored import MeasuredExecutor


def wanted_cores(execution: Execution) -> int:
    """Return how many cores of this machine are to be used."""
    return execution.nprocs or available_cores()


def workers_started_early(
    settings: Settings, warm_up: Callable[[], object]
) -> AbstractContextManager[Callable[[], None]]:
    """Start workers while runs are looked for: no more of them than will be of use.

    Parameters
    ----------
    settings : Settings
    warm_up : callable
        What a worker needs to do once; picklable.

    Returns
    -------
    context manager
        Yields a callable that ends the workers.
    """
    execution = settings.execution
    if execution.dry_run or execution.executor != "local":
        return started_early(warm_up, 0)
    named = settings.science.selection.participant_label
    n_participants = len(named) or sum(1 for _ in settings.bids_dir.glob("sub-*"))
    n_workers = min(wanted_cores(execution), idle_workers(execution), n_participants)
    return started_early(warm_up, n_workers)


@contextmanager
def open_executor(request: Request, n_processes: int, monitor: Monitor) -> Iterator[Executor]:
    """Open the executor that was asked for; with ``--resource-monitor`` each item is measured.

    Parameters
    ----------
    request : Request
    n_processes : int
        How many may work at once on this machine.
    monitor : Monitor

    Yields
    ------
    Executor

    Raises
    ------
    NidecompError
        No worker can be had.
    """
    with executor_for(request.execution, request.work_dir, n_processes) as executor:
        is_measured = request.execution.resource_monitor
        yield MeasuredExecutor(executor, monitor) if is_measured else executor


@contextmanager
def executor_for(execution: Execution, work_dir: Path, n_processes: int) -> Iterator[Executor]:
    """Open the executor that was asked for; what it started is ended with it.

    Parameters
    ----------
    execution : Execution
    work_dir : Path
        Where jobs of a cluster leave what they say.
    n_processes : int
        How many may work at once on this machine.

    Yields
    ------
    Executor

    Raises
    ------
    NidecompError
        No worker can be had.
    """
    if execution.executor == "local":
        yield LocalProcesses(n_processes)
        return
    from nidecomp.execution.dask_sources import open_workers  # noqa: PLC0415

    with open_workers(execution, work_dir, n_processes) as workers:
        yield workers


def check_executor(execution: Execution) -> None:
    """Find out whether the executor can be had at all, without starting anything.

    Raises
    ------
    UsageError
        Options that make no sense together, dask is not installed, or the configuration of the jobs
        is not one.
    """
    if execution.dask_scheduler and execution.dask_config:
        raise UsageError(
            "--dask-scheduler and --dask-config both say where workers come from: give one."
        )
    if execution.executor != "dask":
        for option in ("dask_scheduler", "dask_config"):
            if value := getattr(execution, option):
                flag = "--" + option.replace("_", "-")
                raise UsageError(f"{flag} {value} is for --executor dask: add it.")
        return
    try:
        from nidecomp.execution.dask_sources import check_workers  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--executor dask needs packages that are not installed ({error.name} is missing): "
            "pip install 'nidecomp[dask]'"
        ) from None
    except (ValueError, OSError) as error:
        # It reads the user's configuration while it is imported.
        raise UsageError(f"--executor dask: dask cannot be used: {in_one_line(error)}") from None
    check_workers(execution)


def worker_memory_mb(execution: Execution) -> float | None:
    """Give the memory of a worker on another machine: infinite where it is not known.

    Returns
    -------
    float or None
        In MB; None where all work is done on this machine.
    """
    if execution.dask_config:
        from nidecomp.execution.dask_config import read_jobs  # noqa: PLC0415

        return read_jobs(Path(execution.dask_config)).worker_mb
    return math.inf if execution.dask_scheduler else None
