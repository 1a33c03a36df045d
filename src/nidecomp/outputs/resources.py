"""Time and memory of the steps, and the command: like the log, these differ between runs."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import psutil

from nidecomp.config.settings import Settings
from nidecomp.core.atomic import replace_atomically
from nidecomp.core.tsv import encoded, table_text
from nidecomp.execution.monitor import Monitor, Usage, watching

RESOURCES = PurePosixPath("logs/resources.tsv")
RESOURCES_COLUMNS: dict[str, str] = {
    "step": "Name of the step",
    "run": "Run that was processed; n/a: the step as a whole",
    "seconds": "Elapsed time",
    "cpu_seconds": "Processor time, sum over all processes",
    "peak_memory_mb": "Peak memory in 10^6 bytes: of a step, that of all processes together, with "
    "shared memory counted once (Linux); of a run, that of the process that worked on it; n/a "
    "without --resource-monitor",
}
_UNITS = {"seconds": "s", "cpu_seconds": "s", "peak_memory_mb": "MB"}
_LOG = logging.getLogger(__name__)


def write_resources(output_dir: Path, monitor: Monitor) -> None:
    """Write the table of resources with its JSON.

    They are not in the manifest, because they differ between runs.

    Parameters
    ----------
    output_dir : Path
    monitor : Monitor
        It has measured the steps that have ended.
    """
    rows = [asdict(one) for one in monitor.used]
    with replace_atomically(output_dir / RESOURCES) as temporary:
        temporary.write_bytes(encoded(table_text(tuple(RESOURCES_COLUMNS), rows)))
    columns = {
        name: {"Description": text, **({"Units": _UNITS[name]} if name in _UNITS else {})}
        for name, text in RESOURCES_COLUMNS.items()
    }
    about = {
        "Command": shlex.join(monitor.command) or None,
        "Finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "Machine": {
            "System": platform.platform(),
            "Cores": os.cpu_count(),
            "MemoryMB": round(psutil.virtual_memory().total / 1e6),
        },
        # The largest resident set of one process, which the system keeps without being asked.
        "PeakMemoryMB": {"ThisProcess": _peak_mb(RUSAGE_SELF), "Others": _peak_mb(RUSAGE_CHILDREN)},
        **columns,
    }
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    with replace_atomically((output_dir / RESOURCES).with_suffix(".json")) as temporary:
        temporary.write_bytes(encoded(text))


def _peak_mb(who: int) -> int:
    # In kilobytes, but on a Mac.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(unit * getrusage(who).ru_maxrss / 1e6)


def log_resources(used: Sequence[Usage]) -> None:
    """Write the table to the log."""
    rows = [
        (one.step, one.run or "", f"{one.seconds:.1f}", f"{one.cpu_seconds:.1f}",
         f"{one.peak_memory_mb or 0:,.0f}")
        for one in used
    ]  # fmt: skip
    head = ("step", "run", "seconds", "CPU seconds", "peak MB")
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    _LOG.info("Time and memory:\n%s", "\n".join(line.rstrip() for line in lines))


@contextmanager
def recording_steps(settings: Settings, command: Sequence[str]) -> Iterator[Monitor]:
    """Measure the steps, and write the table at the end, also where one of them failed.

    Parameters
    ----------
    settings : Settings
        Where the results go, and whether memory and single runs are measured.
    command : sequence of str
        The words of the command line; none for a call from Python.

    Yields
    ------
    Monitor
    """
    with watching(command, looks=settings.execution.resource_monitor) as monitor:
        try:
            yield monitor
        finally:
            has_done_work = len(monitor.used) > 1
            if settings.analysis_level == "group" and has_done_work:
                try:
                    write_resources(settings.output_dir, monitor)
                except OSError as error:
                    # Whatever ended the run, a full disk perhaps, must not be hidden by this.
                    _LOG.error(
                        "Time and memory of the steps could not be written: %s",
                        error,
                    )
            if settings.execution.resource_monitor:
                log_resources(monitor.used)
