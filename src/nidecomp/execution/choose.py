"""Select and open the executor; dask is imported only if it is used."""

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
    """Return the number of cores of this machine to use."""
    return execution.nprocs or available_cores()


def wanted_processes(execution: Execution, n_cores: int) -> int:
    """Return the number of processes that use some cores: one more if they wait for downloads."""
    return n_cores + execution.fetch


def workers_started_early(
    settings: Settings, warm_up: Callable[[], object]
) -> AbstractContextManager[Callable[[], None]]:
    """Start worker processes while the dataset is searched for runs.

    There are no more workers than cores, participants, and as many as fit in memory.

    Parameters
    ----------
    settings : Settings
    warm_up : callable
        Called once in each worker; must be picklable.

    Returns
    -------
    context manager
        Yields a function that stops the workers.
    """
    return started_early(warm_up, _n_early(settings))


def early_workers(settings: Settings) -> LocalProcesses:
    """Return the executor with the workers that `workers_started_early` starts, and keep them.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    LocalProcesses
        Without such workers, it works in this process.
    """
    return LocalProcesses(_n_early(settings), keeps_workers=True)


def _n_early(settings: Settings) -> int:
    execution = settings.execution
    if execution.dry_run or execution.executor != "local":
        return 0
    named = settings.science.selection.participant_label
    n_participants = len(named) or sum(1 for _ in settings.bids_dir.glob("sub-*"))
    n_processes = wanted_processes(execution, wanted_cores(execution))
    return min(n_processes, idle_workers(execution), n_participants)


@contextmanager
def open_executor(request: Request, n_processes: int, monitor: Monitor) -> Iterator[Executor]:
    """Open the selected executor; with ``--resource-monitor`` it measures each item.

    Parameters
    ----------
    request : Request
    n_processes : int
        Maximum number of processes on this machine.
    monitor : Monitor

    Yields
    ------
    Executor

    Raises
    ------
    NidecompError
        Workers cannot be started or reached.
    """
    with executor_for(request.execution, request.work_dir, n_processes) as executor:
        is_measured = request.execution.resource_monitor
        yield MeasuredExecutor(executor, monitor) if is_measured else executor


@contextmanager
def executor_for(execution: Execution, work_dir: Path, n_processes: int) -> Iterator[Executor]:
    """Open the selected executor, and stop the workers that it started at the end.

    Parameters
    ----------
    execution : Execution
    work_dir : Path
        Logs of cluster jobs are written to its folder ``logs``.
    n_processes : int
        Maximum number of processes on this machine.

    Yields
    ------
    Executor

    Raises
    ------
    NidecompError
        Workers cannot be started or reached.
    """
    if execution.executor == "local":
        yield LocalProcesses(n_processes)
        return
    from nidecomp.execution.dask_sources import open_workers  # noqa: PLC0415

    with open_workers(execution, work_dir, n_processes) as workers:
        yield workers


def check_executor(execution: Execution) -> None:
    """Check the options of the executor, without starting workers.

    Raises
    ------
    UsageError
        Options contradict each other, dask is not installed, or the configuration of the jobs is
        invalid.
    """
    if execution.dask_scheduler and execution.dask_config:
        raise UsageError("--dask-scheduler and --dask-config cannot be combined: use one of them.")
    if execution.executor != "dask":
        for option in ("dask_scheduler", "dask_config"):
            if value := getattr(execution, option):
                flag = "--" + option.replace("_", "-")
                raise UsageError(f"{flag} {value} requires --executor dask.")
        return
    try:
        from nidecomp.execution.dask_sources import check_workers  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--executor dask requires packages that are not installed ({error.name} is missing). "
            "Install them with: pip install 'nidecomp[dask]'"
        ) from None
    except (ValueError, OSError) as error:
        # dask reads the user's configuration on import.
        raise UsageError(f"--executor dask: dask cannot be used: {in_one_line(error)}") from None
    check_workers(execution)


def worker_memory_mb(execution: Execution) -> float | None:
    """Return the memory in MB of workers on other machines.

    Returns
    -------
    float or None
        Infinite if it is unknown; None if all workers are on this machine.
    """
    if execution.dask_config:
        from nidecomp.execution.dask_config import read_jobs  # noqa: PLC0415

        return read_jobs(Path(execution.dask_config)).worker_mb
    return math.inf if execution.dask_scheduler else None
