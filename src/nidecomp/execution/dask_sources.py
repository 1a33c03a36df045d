"""Where dask's workers come from: any scheduler's address, jobs of a cluster, or this machine."""

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
from nidecomp.execution.dask_workers import GLANCE_S, DaskWorkers

# What dask says by itself: of workers that come and go, and of the end of connections when it is
# closed. What matters of it is told in our own words.
_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
# Jobs that are not needed stay for as many glances, a minute: the next step may need them.
_GLANCES_IDLE = 120
# Of schedulers and workers that are ours. Whether an item is tried again is decided here, where it
# is known how often it was.
_OURS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    # A run's task holds the mask of the group.
    "distributed.admin.large-graph-warning-threshold": "1GB",
    **{f"distributed.worker.memory.{what}": False for what in dask_jobs.PAUSES},
}


# A worker that its nanny has not replaced by then is replaced by a new one: without a queue there
# is nothing to wait for.
_HERE = {"distributed.deploy.lost-worker-timeout": "5s"}
# A terminal sends Ctrl-C to them, too; they are ended by the process that started them.
_LEAVE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


def check_workers(execution: Execution) -> None:
    """Check what can be seen of a scheduler's address or of a configuration of jobs.

    Raises
    ------
    UsageError
    """
    if execution.dask_scheduler:
        check_address(execution.dask_scheduler)
    if execution.dask_config:
        dask_jobs.check_can_submit(read_jobs(Path(execution.dask_config)))


@contextmanager
def open_workers(execution: Execution, work_dir: Path, n_processes: int) -> Iterator[DaskWorkers]:
    """Find or start workers; end those that were started.

    Parameters
    ----------
    execution : Execution
        Where they come from: a scheduler's address, a configuration of jobs, or else this machine.
    work_dir : Path
        Jobs leave their output in ``logs`` of it.
    n_processes : int
        How many workers there are on this machine, where they are here.

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
        where = f"the jobs' output in {log_dir} and the cluster's queue"
        want = _scaling(cluster, jobs.minimum, jobs.maximum, _GLANCES_IDLE)
        yield DaskWorkers(client, where, patience_s, want, refusals)


@contextmanager
def _on_this_machine(n_processes: int, patience_s: float) -> Iterator[DaskWorkers]:
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_OURS | _HERE))
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            # The forecast sees to it that they fit.
            memory_limit=0,
            host="127.0.0.1",
            scheduler_kwargs=dask_jobs.NO_PAGE,
            preload=[_LEAVE_CTRL_C],
            silence_logs=logging.CRITICAL,
        )
        stack.callback(_close, cluster)
        client = stack.enter_context(TidyClient(cluster, set_as_default=False))
        # Ended at once when all is done: the next step needs their memory.
        want = _scaling(cluster, 0, n_processes, idle_glances=1)
        yield DaskWorkers(client, "the workers on this machine", patience_s, want)


def _nothing(_n_items: int) -> None:
    """Leave the workers as they are."""


def _scaling(
    cluster: Any, minimum: int, maximum: int, idle_glances: int
) -> Callable[[int], object]:
    """Have as many workers as there are items, within bounds.

    dask would guess it from how long tasks take. What it does is replace those that are lost, and
    end those that were idle for a number of glances.
    """

    def want(n_items: int) -> None:
        n_workers = min(max(n_items, minimum), maximum)
        cluster.adapt(
            minimum=n_workers,
            maximum=n_workers,
            interval=GLANCE_S,
            wait_count=idle_glances,
            # Not used, and not to be looked for in a configuration.
            target_duration=1.0,
        )

    return want


def _close(cluster: Any) -> None:
    """End the workers and the scheduler."""
    # A job that was refused was never begun: dask asserts, when all is ended, that there is none.
    with suppress(AssertionError):
        cluster.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's own messages from the user."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
