"""The interface of executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerDied(Generic[Item]):
    """An item whose worker process was killed each time it was tried.

    That is twice, three times with dask, and usually because it ran out of memory.
    """

    item: Item


def lost_worker(work: str = "it") -> str:
    """Return the message about a `WorkerDied`, for a report of what has no result."""
    return f"the process working on {work} was killed, probably because it ran out of memory"


class Executor(Protocol):
    """Applies functions to many items in parallel; opened once and passed to all steps."""

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to all items, yielding results in the order in which they finish.

        Parameters
        ----------
        func : callable
            Must be picklable, and should report failures in its result instead of raising errors.
        items : sequence
            Must be picklable.

        Yields
        ------
        result or WorkerDied
            One for each item. Items that were being processed when a worker died are tried again.
            Errors raised by `func` stop the iteration.
        """
        ...
