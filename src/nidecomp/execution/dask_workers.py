"""An executor that uses dask workers, which are started by `dask_sources`."""

from __future__ import annotations

import logging
import math
import platform
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, cast

import cloudpickle
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from nidecomp.core.errors import NidecompError
from nidecomp.execution.executor import Item, Result, WorkerDied
from nidecomp.version import __version__, numerical_versions

_LOG = logging.getLogger(__name__)
# How often the number of workers is checked while no item finishes. A rule of thumb, as is the
# next: runs take seconds to minutes, and queues longer.
CHECK_INTERVAL_S = 0.5
# Delay of the first message that no worker is available; it doubles for each further message.
_FIRST_MESSAGE_S = 30.0
# An item is given up when as many workers died while processing it. One more than with processes of
# this machine: a worker of a cluster may also end with its job, or be lost while it starts.
_MAX_DEATHS = 3
# One item at a time in each worker process, even if it has several threads, because memory is
# planned for one run, and the limit to one thread in linear algebra applies to the whole process.
_ALONE = threading.Lock()


@dataclass(frozen=True)
class DaskWorkers:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client : Client
    where : str
        What to check if no worker is available, for messages.
    patience_s : float
        Maximum time without any worker, in seconds.
    want : callable
        Called with the number of items to process, and with 0 when all are done.
    refusals : queue of str
        Error messages about jobs that could not be submitted.
    """

    client: Any
    where: str
    patience_s: float
    want: Callable[[int], object]
    refusals: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to all items: see `Executor`.

        No more items are submitted than there are workers, so that a worker that dies does not
        affect other items.
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
                    future = finished.get(timeout=CHECK_INTERVAL_S)
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
        # Pickled here, because dask would search the arguments for tasks.
        payload = cloudpickle.dumps((func, item))
        return self.client.submit(_do, payload, _versions(), pure=False)

    def _result(
        self, future: Any, attempt: _Attempt[Item]
    ) -> Result | WorkerDied[Item] | _Attempt[Item]:
        """Return the result of an item, or its next attempt if its worker died."""
        try:
            return cast(Result, future.result())
        except KilledWorker as error:
            # A scheduler started by the user may have tried the item several times itself.
            again = _Attempt(attempt.item, attempt.deaths + error.allowed_failures + 1)
            if again.deaths >= _MAX_DEATHS:
                return WorkerDied(attempt.item)
            _LOG.warning("A worker died; its item is tried again")
            return again
        except FutureCancelledError:
            raise self.lost() from None
        except ModuleNotFoundError as error:
            raise NidecompError(
                f"The dask workers cannot import {error.name}: install NiDecomp there, with the "
                f"same versions as here (see {self.where})."
            ) from None

    def _forget(self, futures: list[Any]) -> None:
        try:
            if futures:
                self.client.cancel(futures, force=True)
            self.want(0)
        except (OSError, RuntimeError, TimeoutError):
            # The scheduler has been closed.
            pass

    def lost(self) -> NidecompError:
        """Return the error for a lost connection to the scheduler."""
        return NidecompError(
            f"The connection to the dask scheduler was lost (see {self.where}). Reduced runs are "
            "kept; repeat the command to resume."
        )


@dataclass(frozen=True, eq=False)
class _Attempt(Generic[Item]):
    """An item to process, and the number of workers that died while processing it."""

    item: Item
    deaths: int = 0


class _Watch:
    """Counts the workers, logs a message if there is none, and raises an error after a while."""

    def __init__(self, workers: DaskWorkers) -> None:
        self._workers = workers
        self._since = time.monotonic()
        self._next_message_s = _FIRST_MESSAGE_S
        self._counted_at, self._n_workers = -math.inf, 0

    def look_again(self) -> None:
        """Make the next call of `count_workers` count again, because a worker died."""
        self._counted_at = -math.inf

    def count_workers(self) -> int:
        """Return the number of workers, counted again after `CHECK_INTERVAL_S`."""
        if time.monotonic() - self._counted_at > CHECK_INTERVAL_S or not self._n_workers:
            self._n_workers = self._count()
            self._counted_at = time.monotonic()
        return self._n_workers

    def _count(self) -> int:
        workers = self._workers
        try:
            n_workers = len(workers.client.nthreads())
        except (OSError, RuntimeError, TimeoutError):
            raise workers.lost() from None
        self._report_refusals(n_workers)
        if n_workers:
            self._since, self._next_message_s = time.monotonic(), _FIRST_MESSAGE_S
            return n_workers
        waited_s = time.monotonic() - self._since
        if waited_s > workers.patience_s:
            raise NidecompError(
                f"No dask worker was available for {workers.patience_s:.0f} s (--dask-patience). "
                f"Check {workers.where}."
            )
        if waited_s > self._next_message_s:
            self._next_message_s *= 2
            _LOG.info("No dask worker for %.0f s; check %s", waited_s, workers.where)
        return 0

    def _report_refusals(self, n_workers: int) -> None:
        while not self._workers.refusals.empty():
            reason = self._workers.refusals.get()
            if not n_workers:
                raise NidecompError(f"The cluster rejected the jobs for workers: {reason}")
            _LOG.warning("The cluster rejected a job for workers: %s", reason)


# ---------------------------------------------------------------- in a worker
def _do(payload: bytes, versions: dict[str, str]) -> object:
    """Process an item, after checking that the versions are those of the main process."""
    here = _versions()
    if different := [name for name in versions if here.get(name) != versions[name]]:
        listed = "; ".join(
            f"{name} {here.get(name)} instead of {versions[name]}" for name in different
        )
        raise NidecompError(
            f"The worker on {platform.node()} has {listed}. All workers must have the same "
            "versions as the main process."
        )
    with _ALONE:
        func, item = cloudpickle.loads(payload)
        return func(item)


def _versions() -> dict[str, str]:
    """Return the versions that must be the same in all processes."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "nidecomp": __version__, **numerical_versions()}
