"""Processes on this machine.

loky rather than `concurrent.futures`: it needs no ``if __name__ == "__main__"`` guard in a user's
script, and it notices workers that die.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from typing import Generic, TypeVar

from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerDied(Generic[Item]):
    """An item whose worker process was killed, most often by the system for want of memory."""

    item: Item


def available_cores() -> int:
    """Count the cores that this process may use (a container or SLURM may allow it only some)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_unordered(
    func: Callable[[Item], Result], items: Sequence[Item], n_processes: int
) -> Iterator[Result | WorkerDied[Item]]:
    """Apply a function to every item, in whatever order they finish.

    Parameters
    ----------
    func : callable
        Picklable; a function that reports failures in its result rather than by raising.
    items : sequence
        Picklable items.
    n_processes : int
        1 stays in this process.

    Yields
    ------
    result or WorkerDied
        One for each item. An item during which the pool broke is tried once more, alone, so that
        an innocent neighbour of the culprit is not lost.
    """
    n_processes = min(n_processes, len(items))
    if n_processes <= 1:
        yield from map(func, items)
        return
    unfinished: list[Item] = []
    with ProcessPoolExecutor(max_workers=n_processes) as pool:
        futures = {pool.submit(func, item): item for item in items}
        try:
            yield from _results(futures, unfinished)
        finally:
            # Reached by an error in `func` or by a caller that stops early, too.
            for future in futures:
                future.cancel()
    if unfinished:
        _LOG.warning("A worker process died; trying its %d runs one by one", len(unfinished))
    for item in unfinished:
        yield _alone(func, item)


def _results(futures: dict[Future[Result], Item], unfinished: list[Item]) -> Iterator[Result]:
    for future in as_completed(futures):
        try:
            result = future.result()
        except BrokenProcessPool:
            unfinished.append(futures[future])
        else:
            yield result


def _alone(func: Callable[[Item], Result], item: Item) -> Result | WorkerDied[Item]:
    """Run one item in a process of its own, so that only it can be what kills the process."""
    with ProcessPoolExecutor(max_workers=1) as pool:
        try:
            result: Result = pool.submit(func, item).result()
        except BrokenProcessPool:
            return WorkerDied(item)
    return result
