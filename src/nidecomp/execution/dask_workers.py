"""Workers of dask: on this machine, as jobs of a cluster, or behind any scheduler's address."""

from __future__ import annotations

import logging
import math
import platform
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, cast

import cloudpickle
import dask.config
from distributed import LocalCluster
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from nidecomp.config.execution import Execution
from nidecomp.core.errors import NidecompError
from nidecomp.execution import dask_jobs
from nidecomp.execution.dask_client import TidyClient, check_address, connect
from nidecomp.execution.dask_config import read_jobs
from nidecomp.execution.executor import Item, Result, WorkerDied
from nidecomp.version import __version__, library_versions

_LOG = logging.getLogger(__name__)
# What dask says by itself: of workers that come and go, and of the end of connections when it is
# closed. What matters of it is told in our own words.
_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
# How often it is looked whether workers came or went while nothing was finished.
_GLANCE_S = 0.5
# The first word about workers that do not come; each further one takes twice as long.
_FIRST_WORD_S = 30.0
# Jobs that are not needed stay for as many glances: the next step may need them.
_GLANCES_IDLE = 120
# Killed as many times the item itself is at fault.
_DEATHS = 2
# One item at a time in each worker process, whatever the number of its threads: memory is that of
# one run, and the limit to one thread in linear algebra holds for the whole process.
_ALONE = threading.Lock()


@dataclass(frozen=True)
class DaskWorkers:
    """Whoever works for a scheduler.

    Parameters
    ----------
    client : Client
    where : str
        What the workers are called in messages, and where to look when they do not come.
    patience_s : float
        How long there may be no worker at all.
    want : callable
        Told how many items there are to be worked on; 0 when all are done.
    refusals : queue of str
        What the cluster said of jobs that it did not take.
    """

    client: Any
    where: str
    patience_s: float
    want: Callable[[int], object]
    refusals: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to every item: see `Executor`.

        No more items are under way than there are workers, so that a worker that dies costs
        nobody else's item.
        """
        if not items:
            return
        waiting = deque(_Attempt(item) for item in items)
        under_way: dict[Any, _Attempt[Item]] = {}
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        watch = _Watch(self)
        self.want(len(items))
        try:
            while waiting or under_way:
                n_workers = watch.count_workers()
                while waiting and len(under_way) < n_workers:
                    attempt = waiting.popleft()
                    future = self._submit(func, attempt.item)
                    under_way[future] = attempt
                    future.add_done_callback(finished.put)
                try:
                    future = finished.get(timeout=_GLANCE_S)
                except queue.Empty:
                    continue
                attempt = under_way.pop(future)
                result = self._result(future, attempt)
                if isinstance(result, _Attempt | WorkerDied):
                    watch.look_again()
                if isinstance(result, _Attempt):
                    waiting.append(result)
                else:
                    yield result
        finally:
            self._forget(list(under_way))

    def _submit(self, func: Callable[[Item], Result], item: Item) -> Any:
        # As bytes: dask would look through the arguments for what it knows to be tasks.
        payload = cloudpickle.dumps((func, item))
        return self.client.submit(_do, payload, _versions(), pure=False)

    def _result(
        self, future: Any, attempt: _Attempt[Item]
    ) -> Result | WorkerDied[Item] | _Attempt[Item]:
        """Give what an item came to, or the item's next attempt."""
        try:
            return cast(Result, future.result())
        except KilledWorker as error:
            # A scheduler that others started may have tried it several times by itself.
            again = _Attempt(attempt.item, attempt.deaths + error.allowed_failures + 1)
            if again.deaths >= _DEATHS:
                return WorkerDied(attempt.item)
            _LOG.warning("A worker died; what it worked on is tried again")
            return again
        except FutureCancelledError:
            raise self.lost() from None
        except ModuleNotFoundError as error:
            raise NidecompError(
                f"{self.where} cannot import {error.name}: nidecomp must be installed there in the "
                "same versions as here."
            ) from None

    def _forget(self, futures: list[Any]) -> None:
        try:
            if futures:
                self.client.cancel(futures, force=True)
            self.want(0)
        except (OSError, RuntimeError, TimeoutError):
            # The scheduler is gone, or being closed: there is nobody to be told.
            pass

    def lost(self) -> NidecompError:
        """Say that the scheduler is gone."""
        return NidecompError(
            f"The connection to the scheduler of {self.where} was lost. What is done is kept; the "
            "same command goes on from here."
        )


@dataclass(frozen=True, eq=False)
class _Attempt(Generic[Item]):
    """An item to be worked on, and how many workers died of it."""

    item: Item
    deaths: int = 0


class _Watch:
    """Looks how many workers there are; says so where there is none, and gives up after a while."""

    def __init__(self, workers: DaskWorkers) -> None:
        self._workers = workers
        self._since = time.monotonic()
        self._next_word_s = _FIRST_WORD_S
        self._counted_at, self._n_workers = -math.inf, 0

    def look_again(self) -> None:
        """Count anew at once: a worker is known to be gone."""
        self._counted_at = -math.inf

    def count_workers(self) -> int:
        if time.monotonic() - self._counted_at > _GLANCE_S or not self._n_workers:
            self._n_workers = self._count()
            self._counted_at = time.monotonic()
        return self._n_workers

    def _count(self) -> int:
        workers = self._workers
        try:
            n_workers = len(workers.client.nthreads())
        except (OSError, RuntimeError, TimeoutError):
            raise workers.lost() from None
        self._hear_refusals(n_workers)
        if n_workers:
            self._since, self._next_word_s = time.monotonic(), _FIRST_WORD_S
            return n_workers
        waited_s = time.monotonic() - self._since
        if waited_s > workers.patience_s:
            raise NidecompError(
                f"No worker came within {workers.patience_s:.0f} s (--dask-patience): look at "
                f"{workers.where}."
            )
        if waited_s > self._next_word_s:
            self._next_word_s *= 2
            _LOG.info("No worker for %.0f s; waiting for %s", waited_s, workers.where)
        return 0

    def _hear_refusals(self, n_workers: int) -> None:
        while not self._workers.refusals.empty():
            said = self._workers.refusals.get()
            if not n_workers:
                raise NidecompError(f"The cluster does not take the jobs of workers: {said}")
            _LOG.warning("The cluster did not take the job of a worker: %s", said)


# ---------------------------------------------------------------- in a worker
def _do(payload: bytes, versions: dict[str, str]) -> object:
    """Work on one item, in the versions that it was made with."""
    here = _versions()
    if different := [name for name in versions if here.get(name) != versions[name]]:
        listed = "; ".join(
            f"{name} {here.get(name)} where this process has {versions[name]}" for name in different
        )
        raise NidecompError(
            f"The worker on {platform.node()} has {listed}: all must have the same versions."
        )
    with _ALONE:
        func, item = cloudpickle.loads(payload)
        return func(item)


def _versions() -> dict[str, str]:
    """Give the versions that must be the same everywhere."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "nidecomp": __version__, **library_versions()}


# ---------------------------------------------------------------- where workers come from
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
def dask_workers(execution: Execution, work_dir: Path, n_processes: int) -> Iterator[DaskWorkers]:
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
    with ExitStack() as stack:
        if not execution.verbose:
            stack.enter_context(_quiet())
        patience_s = float(execution.dask_patience)
        if execution.dask_scheduler:
            client = stack.enter_context(connect(execution.dask_scheduler))
            where = f"the workers of {execution.dask_scheduler}"
            yield DaskWorkers(client, where, patience_s, _nothing)
        elif execution.dask_config:
            jobs = read_jobs(Path(execution.dask_config))
            log_dir, refusals = work_dir / "logs", queue.SimpleQueue[str]()
            with dask_jobs.mistakes_named(jobs):
                stack.enter_context(dask.config.set(dask_jobs.merged(jobs)))
                stack.enter_context(dask.config.set(_OURS))
                cluster = dask_jobs.open_cluster(jobs, log_dir, refusals.put)
                stack.callback(_close, cluster)
                client = stack.enter_context(TidyClient(cluster, set_as_default=False))
            where = f"the jobs' output in {log_dir} and the cluster's queue"
            want = _scaling(cluster, jobs.minimum, jobs.maximum, _GLANCES_IDLE)
            yield DaskWorkers(client, where, patience_s, want, refusals)
        else:
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
            interval=_GLANCE_S,
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
