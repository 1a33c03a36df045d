"""Measure the resources used for each item of an executor."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from nidecomp.execution.executor import Executor, Item, Result, WorkerDied
from nidecomp.execution.monitor import Monitor, Usage

_OWN = Path("/proc/self")
# Writing this resets the peak memory to the current memory (proc(5), since Linux 4.0).
_RESET_PEAK = "5"


@dataclass(frozen=True)
class MeasuredExecutor:
    """Wraps an executor and adds the usage of each item that has a `label` to a monitor."""

    executor: Executor
    monitor: Monitor

    def map_unordered(
        self, func: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result | WorkerDied[Item]]:
        """Apply a function to all items as `Executor.map_unordered`, measuring each item.

        Parameters
        ----------
        func : callable
        items : sequence

        Yields
        ------
        result or WorkerDied
        """
        step = self.monitor.current_step
        for result in self.executor.map_unordered(_Measured(func), items):
            if isinstance(result, WorkerDied):
                yield result
                continue
            if result.usage.run is not None:
                self.monitor.add(replace(result.usage, step=step))
            yield result.value


@dataclass(frozen=True)
class _Done(Generic[Result]):
    value: Result
    usage: Usage


@dataclass(frozen=True)
class _Measured(Generic[Item, Result]):
    """Wraps a function to measure its calls; picklable if the function is."""

    func: Callable[[Item], Result]

    def __call__(self, item: Item) -> _Done[Result]:
        with suppress(OSError):
            (_OWN / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        began, cpu = time.monotonic(), time.process_time()
        value = self.func(item)
        usage = Usage(
            step="",
            run=getattr(item, "label", None),
            seconds=time.monotonic() - began,
            cpu_seconds=time.process_time() - cpu,
            peak_memory_mb=_peak_bytes() / 1e6,
        )
        return _Done(value, usage)


def _peak_bytes() -> int:
    """Return the peak memory of this process since it was reset, or since its start."""
    with suppress(OSError):
        for line in (_OWN / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    # In kilobytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
