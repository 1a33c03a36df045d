"""Measure the time, processor time and memory of each step, including child processes."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOG = logging.getLogger(__name__)
# Interval between measurements of memory, each of which takes milliseconds.
_INTERVAL_S = 0.25
# What processes have in common is only told apart from the rest (which stops them for a moment)
# when what they hold, each counted for itself, rose by this much since it was last. A rule
# of thumb: what the peak may miss.
_RISE = 1.05
# This step is not included in the report, which is made before it ends.
REPORT_STEP = "making the report"


@dataclass(frozen=True)
class Usage:
    """Time and memory used by a step, for one run or in total.

    Parameters
    ----------
    step : str
        Name of the step.
    run : str or None
        The run, or None for the whole step.
    seconds : float
        Wall-clock time.
    cpu_seconds : float
        Processor time, summed over all processors.
    peak_memory_mb : float or None
        Peak memory of all processes in MB (10^6 bytes). On Linux, shared memory counts once. None
        if memory was not measured.
    """

    step: str
    run: str | None
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float | None


class Monitor:
    """Measures this process and its child processes; created by `watching`.

    Parameters
    ----------
    command : sequence of str
        The command line.
    looks : bool
        Whether memory is measured.
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
        """The finished steps, in order, each followed by its runs if these were measured."""
        steps = [usage for usage in self._used if usage.run is None]
        runs = sorted((usage for usage in self._used if usage.run), key=lambda run: run.run or "")
        return tuple(
            usage
            for step in steps
            for usage in (step, *(run for run in runs if run.step == step.step))
        )

    def add(self, used: Usage) -> None:
        """Add the usage of a run, measured by the process that worked on it."""
        self._used.append(used)

    @contextmanager
    def step(self, name: str, *, announced: bool = True) -> Iterator[None]:
        """Announce a step in the log and measure it, also if it ends with an error."""
        if announced:
            _LOG.info(name.capitalize())
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
        """Measure memory at regular intervals until `end` is called."""
        while not self._is_over.wait(_INTERVAL_S):
            self._look()

    def end(self) -> None:
        """Stop measuring memory."""
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
        """Return the peak memory since the last call."""
        with self._lock:
            peak, self._peak_bytes, self._resident_at_peak = self._peak_bytes, 0, 0
        return peak


@contextmanager
def watching(command: Sequence[str] = (), *, looks: bool = True) -> Iterator[Monitor]:
    """Measure time and, in a background thread, memory until the end of the block.

    Parameters
    ----------
    command : sequence of str
    looks : bool
        Whether to measure memory.

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
    """Return the memory of a process, including its share of shared memory."""
    try:
        text = Path("/proc", str(process.pid), "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident_bytes(process)


def _resident_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process, including shared memory; 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _cpu_seconds() -> float:
    """Return the processor time of this process and its child processes, including ended ones."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in _tree()[1:]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)
