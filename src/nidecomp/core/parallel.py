"""Threads over blocks of voxels whose results do not depend on how many threads there are.

Linear algebra libraries split sums between their threads, so that the last digits depend on the
number of threads. Here each block of voxels is one call with one thread, blocks are fixed, and
what they give is put together in the blocks' order.
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
    """Apply a function to every item in threads; give the results in the order of the items.

    Parameters
    ----------
    func : callable
        Spends its time outside of the interpreter (linear algebra, compiled loops, compression).
    items : iterable
        Blocks of voxels, files: what the function takes.
    n_threads : int
        1 makes no thread.

    Yields
    ------
    result
        At most `n_threads` of them wait to be taken: memory does not grow with the items.
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
