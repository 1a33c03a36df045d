"""What every executor does, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerDied(Generic[Item]):
    """An item whose worker process was killed twice, most often for want of memory."""

    item: Item


def lost_worker(work: str = "it") -> str:
    """Return what is said of a `WorkerDied`: why what the process worked on has no result."""
    return f"the process that worked on {work} was killed, probably for want of memory"


class Executor(Protocol):
    """Says where work is done: made once, handed down to every step that has much of it."""

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to every item, in whatever order they finish.

        Parameters
        ----------
        func : callable
            Picklable; a function that reports failures in its result rather than by raising.
        items : sequence
            Picklable items.

        Yields
        ------
        result or WorkerDied
            One for each item. Items that were under way when a worker died are tried once more.
            What `func` raises all the same ends the whole.
        """
        ...
