"""Processes on this machine.

loky rather than `concurrent.futures`: it needs no ``if __name__ == "__main__"`` guard in a user's
script, and it notices workers that die.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from loky import ProcessPoolExecutor, cpu_count, get_reusable_executor
from loky.process_executor import BrokenProcessPool

from nidecomp.execution.executor import Item, Result, WorkerDied

_LOG = logging.getLogger(__name__)
# How often a worker looks whether anybody waits for it: so long may one outlive its parent.
_GLANCE_S = 1.0


def available_cores() -> int:
    """Count the cores that this process may use (a container or SLURM may allow it only some)."""
    return int(cpu_count())


def _pool(n_processes: int) -> ProcessPoolExecutor:
    """Give the one pool of workers that there is, with so many of them."""
    with warnings.catch_warnings():
        # Where fewer or more were started early it waits until they are warm, and says so.
        warnings.filterwarnings("ignore", "Trying to resize an executor")
        return get_reusable_executor(
            max_workers=n_processes, initializer=_end_with, initargs=(os.getpid(),)
        )


def _end_with(parent: int) -> None:
    """Have this worker end when the process that started it is gone, which nothing else tells it.

    (It waits at a pipe whose other end it holds itself.)
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_GLANCE_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def started_early(warm_up: Callable[[], object], n_processes: int) -> Iterator[Callable[[], None]]:
    """Start the workers that `LocalProcesses` will use, while this process does something else.

    Parameters
    ----------
    warm_up : callable
        Picklable; what a worker needs to do once (its imports are done, too).
    n_processes : int
        Fewer than 2 start nothing.

    Yields
    ------
    callable
        Ends the workers, where it turns out that they will not be used: they hold memory. Those
        that were not used are killed afterwards in any case: a mistake in the request must not
        wait for them.
    """
    if n_processes <= 1:
        yield lambda: None
        return
    pool = _pool(n_processes)
    for _ in range(n_processes):
        pool.submit(warm_up)
    end = partial(pool.shutdown, wait=True, kill_workers=True)
    try:
        yield end
    finally:
        end()


@dataclass(frozen=True)
class LocalProcesses:
    """So many processes on this machine; 1 stays in this process.

    Items that were under way when a worker died are tried once more, each alone, so that an
    innocent neighbour of the culprit is not lost. (In this process itself nothing can outlive what
    kills it.)
    """

    n_processes: int

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to every item: see `Executor`."""
        n_processes = min(self.n_processes, len(items))
        if n_processes <= 1:
            yield from map(func, items)
            return
        waiting = deque(items)
        while waiting:
            suspects = yield from _until_a_worker_dies(func, waiting, n_processes)
            if suspects:
                _LOG.warning("A worker process died; trying again, one by one: %d", len(suspects))
            for item in suspects:
                yield _alone(func, item)


def _until_a_worker_dies(
    func: Callable[[Item], Result], waiting: deque[Item], n_processes: int
) -> Generator[Result, None, list[Item]]:
    """Work the queue down; return what was under way when a worker died, or nothing."""
    suspects: list[Item] = []
    under_way: dict[Future[Result], Item] = {}
    # Those that `started_early` started, if it did; ended here, so that their memory is given back.
    with _pool(n_processes) as pool:
        try:
            while (waiting or under_way) and not suspects:
                # Two for each process, so that none waits and few are suspects.
                while waiting and len(under_way) < 2 * n_processes:
                    under_way[pool.submit(func, waiting[0])] = waiting[0]
                    waiting.popleft()
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    item = under_way.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
                    else:
                        yield result
        except BrokenProcessPool:
            # It died while the next one was handed over.
            pass
        except BaseException:
            # An error in `func`, a caller that stops early, Ctrl-C: nobody waits for the rest.
            pool.shutdown(wait=True, kill_workers=True)
            raise
    for future, item in under_way.items():
        if future.done() and not future.cancelled() and future.exception() is None:
            yield future.result()
        else:
            suspects.append(item)
    return suspects


def _alone(func: Callable[[Item], Result], item: Item) -> Result | WorkerDied[Item]:
    """Run one item in a process of its own, so that only it can be what kills the process."""
    with ProcessPoolExecutor(1, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        try:
            result: Result = pool.submit(func, item).result()
        except BrokenProcessPool:
            return WorkerDied(item)
    return result
