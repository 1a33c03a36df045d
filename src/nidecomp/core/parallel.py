"""Process blocks of voxels in threads, with results that do not depend on the number of threads.

Linear algebra libraries split sums between threads, so that the last digits depend on the number
of threads. Here each block of voxels is processed by one thread, the blocks are fixed, and their
results are combined in a fixed order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    func: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Iterator[Result]:
    """Apply a function to all items in threads, yielding the results in the order of the items.

    Parameters
    ----------
    func : callable
        Should release the global interpreter lock (linear algebra, compiled loops, compression).
    items : iterable
        For example blocks of voxels, or files.
    n_threads : int
        With 1, no thread is started.

    Yields
    ------
    result
        At most `n_threads` results are queued, so that memory does not grow with the number of
        items.
    """
    if n_threads <= 1:
        yield from map(func, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(func, item))
                if len(under_way) > n_threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
