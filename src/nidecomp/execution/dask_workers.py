"""Workers of dask as an executor; where they come from is no matter here (`dask_sources`)."""

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
# How often it is looked whether workers came or went while nothing was finished. A rule of thumb,
# as the next: runs take seconds to minutes, and queues longer.
GLANCE_S = 0.5
# The first word about workers that do not come; each further one takes twice as long.
_FIRST_WORD_S = 30.0
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
                    future = finished.get(timeout=GLANCE_S)
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
        if time.monotonic() - self._counted_at > GLANCE_S or not self._n_workers:
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
    return {"python": python, "nidecomp": __version__, **numerical_versions()}
