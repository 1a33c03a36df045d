"""Process items in worker processes on this machine.

loky is used instead of `concurrent.futures`, because it does not need an
``if __name__ == "__main__"`` guard in the user's script, and detects workers that die.
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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from loky import ProcessPoolExecutor, cpu_count, get_reusable_executor
from loky.process_executor import BrokenProcessPool

from nidecomp.core.text import count
from nidecomp.execution.executor import Item, Result, WorkerDied

_LOG = logging.getLogger(__name__)
# How often a worker checks for its parent process, and thus how long it may outlive it.
_CHECK_INTERVAL_S = 1.0
# How long to wait for threads that need a millisecond: those of another pool, in a script that has
# its own, do not end.
_FEEDERS_END_WITHIN_S = 1.0


def available_cores() -> int:
    """Return the number of cores available to this process (a container or SLURM may limit it)."""
    return int(cpu_count())


def _pool(n_processes: int) -> ProcessPoolExecutor:
    """Return loky's shared pool of workers, resized to a number of processes."""
    with warnings.catch_warnings():
        # loky warns that it waits for workers to start before it resizes the pool.
        warnings.filterwarnings("ignore", "Trying to resize an executor")
        return get_reusable_executor(
            max_workers=n_processes, initializer=_exit_with, initargs=(os.getpid(),)
        )


def _exit_with(parent: int) -> None:
    """Make this worker exit when its parent process has ended.

    (A worker does not notice it otherwise, because it holds the other end of its pipe itself.)
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_CHECK_INTERVAL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _shut_down(pool: ProcessPoolExecutor) -> None:
    """End a pool: its workers, and the threads that fed its queues.

    Workers are killed, because nothing is lost when results have arrived or are not wanted, and
    because an interpreter that has imported so much needs half a second to end by itself.

    loky ends these threads, but does not wait for them. If this process ends at the same time, one
    of them may be frozen while it releases the semaphores of its queue, and they are reported on
    stderr as leaked.
    """
    pool.shutdown(wait=True, kill_workers=True)
    deadline = time.monotonic() + _FEEDERS_END_WITHIN_S
    for thread in threading.enumerate():
        # The name that multiprocessing gives them.
        if thread.name == "QueueFeederThread":
            thread.join(max(0, deadline - time.monotonic()))


@contextmanager
def _shut_down_at_end(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """End a pool with the block, without waiting for what its workers do."""
    try:
        yield pool
    finally:
        _shut_down(pool)


@contextmanager
def started_early(warm_up: Callable[[], object], n_processes: int) -> Iterator[Callable[[], None]]:
    """Start the workers that `LocalProcesses` will use in the background.

    Parameters
    ----------
    warm_up : callable
        Called once in each worker; must be picklable.
    n_processes : int
        With fewer than 2, no worker is started.

    Yields
    ------
    callable
        Stops the workers, to free their memory if they are not needed. Workers that were not used
        are killed at the end of the block in any case, so that an error does not wait for them.
    """
    if n_processes <= 1:
        yield lambda: None
        return
    pool = _pool(n_processes)
    for _ in range(n_processes):
        pool.submit(warm_up)
    end = partial(_shut_down, pool)
    try:
        yield end
    finally:
        end()


@dataclass(frozen=True)
class LocalProcesses:
    """Worker processes on this machine; with `n_processes` 1, items are processed in this process.

    Items that were being processed when a worker died are tried once more, one at a time, so that
    only the item that killed it is lost. (This does not apply to work in this process.) Workers are
    stopped at the end to free their memory, unless `keeps_workers` says that they are needed again.
    """

    n_processes: int
    keeps_workers: bool = False

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
            kept = nullcontext if self.keeps_workers else _shut_down_at_end
            suspects = yield from _until_a_worker_dies(func, waiting, n_processes, kept)
            if suspects:
                items_text = count(len(suspects), "item")
                _LOG.warning("A worker process died; trying %s again, one at a time", items_text)
            for item in suspects:
                yield _alone(func, item)


def _until_a_worker_dies(
    func: Callable[[Item], Result],
    waiting: deque[Item],
    n_processes: int,
    kept: Callable[[ProcessPoolExecutor], AbstractContextManager[ProcessPoolExecutor]],
) -> Generator[Result, None, list[Item]]:
    """Process the queue; return the items in progress when a worker died, if one did."""
    suspects: list[Item] = []
    under_way: dict[Future[Result], Item] = {}
    # Uses workers of `started_early`. Unless they are kept, they are stopped at the end, also after
    # an error in `func`, an iteration that is stopped early, or Ctrl-C.
    with kept(_pool(n_processes)) as pool:
        try:
            while (waiting or under_way) and not suspects:
                # Two items per process, so that no process is idle and few items are suspects.
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
            # A worker died while an item was submitted.
            pass
    for future, item in under_way.items():
        if future.done() and not future.cancelled() and future.exception() is None:
            yield future.result()
        else:
            suspects.append(item)
    return suspects


def _alone(func: Callable[[Item], Result], item: Item) -> Result | WorkerDied[Item]:
    """Process one item in a separate process, to find out whether it kills the process."""
    alone = ProcessPoolExecutor(1, initializer=_exit_with, initargs=(os.getpid(),))
    with _shut_down_at_end(alone) as pool:
        try:
            result: Result = pool.submit(func, item).result()
        except BrokenProcessPool:
            return WorkerDied(item)
    return result
