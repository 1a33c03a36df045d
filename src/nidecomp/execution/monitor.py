"""What the steps cost: time, processor time and memory, of this process and all that it started."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

# Seconds between two looks at the memory: one takes milliseconds.
_INTERVAL_S = 0.25
# What processes have in common is only told apart from the rest (which stops them for a moment)
# when what they hold, each counted for itself, rose by this much since it was last. A rule
# of thumb: what the peak may miss.
_RISE = 1.05
# The one step that the report cannot tell of.
REPORT_STEP = "making the report"


@dataclass(frozen=True)
class Usage:
    """What one step took, of one run or as a whole.

    Parameters
    ----------
    step : str
        What was done.
    run : str or None
        The run that it was done to.
    seconds : float
        By the clock.
    cpu_seconds : float
        Of all processors together.
    peak_memory_mb : float or None
        The most that all processes held at once (10^6 bytes); what they share counts once where
        the system tells (Linux). None where nobody looked.
    """

    step: str
    run: str | None
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float | None


class Monitor:
    """Watches this process and all that it started; made by `watching`.

    Parameters
    ----------
    command : sequence of str
        What it was called with.
    looks : bool
        Whether the memory is looked at.
    """

    def __init__(self, command: Sequence[str] = (), *, looks: bool = True) -> None:
        self.command = tuple(command)
        self.looks = looks
        self.current_step = ""
        self._used: list[Usage] = []
        self._lock = threading.Lock()
        self._peak_bytes = 0
        self._resident_at_peak = 0
        self._is_over = threading.Event()

    @property
    def used(self) -> tuple[Usage, ...]:
        """The steps that are over, in order, each followed by its runs if these were measured."""
        steps = [one for one in self._used if one.run is None]
        of_runs = sorted((one for one in self._used if one.run), key=lambda one: one.run or "")
        return tuple(
            each
            for one in steps
            for each in (one, *(run for run in of_runs if run.step == one.step))
        )

    def add(self, used: Usage) -> None:
        """Note what was measured elsewhere: one run, by the process that worked on it."""
        self._used.append(used)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, also one that is broken off."""
        began, cpu = time.monotonic(), _cpu_seconds()
        self.current_step = name
        self._take_peak()
        try:
            yield
        finally:
            if self.looks:
                self._look()
            self._used.append(
                Usage(
                    step=name,
                    run=None,
                    seconds=time.monotonic() - began,
                    cpu_seconds=max(_cpu_seconds() - cpu, 0.0),
                    peak_memory_mb=self._take_peak() / 1e6 if self.looks else None,
                )
            )

    def watch(self) -> None:
        """Look at the memory again and again until `end` is called."""
        while not self._is_over.wait(_INTERVAL_S):
            self._look()

    def end(self) -> None:
        """Look no more."""
        self._is_over.set()

    def _look(self) -> None:
        processes = _tree()
        resident = sum(_resident_bytes(process) for process in processes)
        with self._lock:
            if resident > _RISE * self._resident_at_peak:
                self._resident_at_peak = resident
                held = sum(_memory_bytes(process) for process in processes)
                self._peak_bytes = max(self._peak_bytes, held)

    def _take_peak(self) -> int:
        """Give the peak since the last time it was taken."""
        with self._lock:
            peak, self._peak_bytes, self._resident_at_peak = self._peak_bytes, 0, 0
        return peak


@contextmanager
def watching(command: Sequence[str] = (), *, looks: bool = True) -> Iterator[Monitor]:
    """Watch until the block is left.

    Parameters
    ----------
    command : sequence of str
    looks : bool
        Whether to look at the memory, which a thread does again and again.

    Yields
    ------
    Monitor
    """
    monitor = Monitor(command, looks=looks)
    if not looks:
        yield monitor
        return
    thread = threading.Thread(target=monitor.watch, name="monitor", daemon=True)
    thread.start()
    try:
        yield monitor
    finally:
        monitor.end()
        thread.join()


def _tree() -> list[psutil.Process]:
    own = psutil.Process()
    with contextlib.suppress(psutil.Error):
        return [own, *own.children(recursive=True)]
    return [own]


def _memory_bytes(process: psutil.Process) -> int:
    """Tell what a process holds, with its share of what it has in common with others."""
    try:
        text = Path("/proc", str(process.pid), "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident_bytes(process)


def _resident_bytes(process: psutil.Process) -> int:
    """Tell what a process holds, whoever else does so, too; 0 once it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _cpu_seconds() -> float:
    """Add up the processor time of this process and of all that it started, ended ones too."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in _tree()[1:]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)
