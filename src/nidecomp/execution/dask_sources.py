"""Open dask workers: of a running scheduler, as cluster jobs, or on this machine."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dask.config
from distributed import LocalCluster

from nidecomp.config.execution import Execution
from nidecomp.execution import dask_jobs
from nidecomp.execution.dask_client import TidyClient, check_address, connect
from nidecomp.execution.dask_config import read_jobs
from nidecomp.execution.dask_workers import CHECK_INTERVAL_S, DaskWorkers

# dask's loggers, which report workers that start and stop, and connections that are closed.
# NiDecomp has its own messages of what is relevant to the user.
_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
# Idle jobs are kept for as many checks (a minute), because the next step may need them.
_CHECKS_IDLE = 120
# Configuration of schedulers and workers started here. dask does not retry items, because
# `DaskWorkers` counts the attempts and does so.
_OURS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    # Each task includes the group mask.
    "distributed.admin.large-graph-warning-threshold": "1GB",
    **{f"distributed.worker.memory.{what}": False for what in dask_jobs.PAUSES},
}


# A lost worker on this machine is replaced after this time, because there is no queue to wait for.
_HERE = {"distributed.deploy.lost-worker-timeout": "5s"}
# Ctrl-C is sent to workers, too, but they are stopped by the process that started them.
_LEAVE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


def check_workers(execution: Execution) -> None:
    """Check the address of the scheduler or the configuration of jobs, without starting workers.

    Raises
    ------
    UsageError
        One of them is invalid.
    """
    if execution.dask_scheduler:
        check_address(execution.dask_scheduler)
    if execution.dask_config:
        dask_jobs.check_can_submit(read_jobs(Path(execution.dask_config)))


@contextmanager
def open_workers(execution: Execution, work_dir: Path, n_processes: int) -> Iterator[DaskWorkers]:
    """Connect to workers or start them; workers started here are stopped at the end.

    Parameters
    ----------
    execution : Execution
        The address of a scheduler, a configuration of jobs, or neither for workers on this machine.
    work_dir : Path
        Logs of jobs are written to its folder ``logs``.
    n_processes : int
        Number of workers, if they are on this machine.

    Yields
    ------
    DaskWorkers

    Raises
    ------
    UsageError
        The scheduler cannot be reached.
    """
    patience_s = float(execution.dask_patience)
    if execution.dask_scheduler:
        opened = _of_scheduler(execution.dask_scheduler, patience_s)
    elif execution.dask_config:
        opened = _as_jobs(Path(execution.dask_config), work_dir / "logs", patience_s)
    else:
        opened = _on_this_machine(n_processes, patience_s)
    with nullcontext() if execution.verbose else _quiet(), opened as workers:
        yield workers


@contextmanager
def _of_scheduler(address: str, patience_s: float) -> Iterator[DaskWorkers]:
    with connect(address) as client:
        yield DaskWorkers(client, f"the workers of {address}", patience_s, _nothing)


@contextmanager
def _as_jobs(configuration: Path, log_dir: Path, patience_s: float) -> Iterator[DaskWorkers]:
    jobs, refusals = read_jobs(configuration), queue.SimpleQueue[str]()
    with ExitStack() as stack:
        with dask_jobs.mistakes_named(jobs):
            stack.enter_context(dask.config.set(dask_jobs.merged(jobs)))
            stack.enter_context(dask.config.set(_OURS))
            cluster = dask_jobs.open_cluster(jobs, log_dir, refusals.put)
            stack.callback(_close, cluster)
            client = stack.enter_context(TidyClient(cluster, set_as_default=False))
        where = f"the logs of the jobs in {log_dir} and the queue of the cluster"
        want = _scaling(cluster, jobs.minimum, jobs.maximum, _CHECKS_IDLE)
        yield DaskWorkers(client, where, patience_s, want, refusals)


@contextmanager
def _on_this_machine(n_processes: int, patience_s: float) -> Iterator[DaskWorkers]:
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_OURS | _HERE))
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            # The forecast limits the number of workers to those that fit in memory.
            memory_limit=0,
            host="127.0.0.1",
            scheduler_kwargs=dask_jobs.NO_PAGE,
            preload=[_LEAVE_CTRL_C],
            silence_logs=logging.CRITICAL,
        )
        stack.callback(_close, cluster)
        client = stack.enter_context(TidyClient(cluster, set_as_default=False))
        # Stopped immediately when all is done, because the next step needs their memory.
        want = _scaling(cluster, 0, n_processes, idle_checks=1)
        yield DaskWorkers(client, "the workers on this machine", patience_s, want)


def _nothing(_n_items: int) -> None:
    """Do not change the number of workers."""


def _scaling(cluster: Any, minimum: int, maximum: int, idle_checks: int) -> Callable[[int], object]:
    """Return a function that sets the number of workers to the number of items, within limits.

    By itself, dask would estimate the number from the duration of tasks. It replaces workers that
    are lost, and stops those that were idle for a number of checks.
    """

    def want(n_items: int) -> None:
        n_workers = min(max(n_items, minimum), maximum)
        cluster.adapt(
            minimum=n_workers,
            maximum=n_workers,
            interval=CHECK_INTERVAL_S,
            wait_count=idle_checks,
            # Not used, but dask would read it from the configuration.
            target_duration=1.0,
        )

    return want


def _close(cluster: Any) -> None:
    """Stop the workers and the scheduler."""
    # dask fails on an assertion if there are jobs that were rejected.
    with suppress(AssertionError):
        cluster.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress dask's own log messages."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
