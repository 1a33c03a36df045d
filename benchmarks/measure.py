"""Run a command; measure time and memory of all its processes: ``measure.py -- COMMAND …``.

Everything that the command starts stays in its session, and every 50 ms /proc is asked for the
processes of that session. Memory is summed over them, in three ways:

- RSS: pages that are in memory; those that processes share count once for each of them.
- PSS: the same, with shared pages divided by the number of processes that share them.
- anonymous: the part that belongs to no file. The rest are programs and mapped files, whose pages
  the system may drop when it needs memory.
"""

import argparse
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERVAL_S = 0.05
PSS_SHARE = 0.02
"""Share of the time that asking for PSS may take: the system walks all pages for it."""

PEAK_RISE = 1.02
"""When RSS has risen by this since PSS was last asked for at a peak, it is asked for at once."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measurement:
    """What a command took; megabytes are 10^6 bytes, peaks are those of the whole process tree.

    `stopped` says that the command was killed because it passed the memory limit.
    """

    command: tuple[str, ...]
    exit_code: int
    stopped: bool
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    peak_pss_mb: float
    peak_anonymous_mb: float


@dataclass(frozen=True)
class _Process:
    pid: int
    cpu_s: float
    rss_bytes: int


def _processes(session: int) -> Iterator[_Process]:
    """Give the processes of a session."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (20 times a second: names are enough)
        if not name.isdigit():
            continue
        # A process may end between two of these lines.
        with suppress(OSError):
            line = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
            # The second field is the program's name in parentheses, which may hold anything.
            cells = line.rpartition(")")[2].split()
            if int(cells[3]) == session:
                cpu_s = (int(cells[11]) + int(cells[12])) / _TICKS_PER_S
                yield _Process(int(name), cpu_s, int(cells[21]) * _PAGE_BYTES)


def _rollup_bytes(pid: int) -> tuple[int, int]:
    """Give PSS and anonymous memory of a process; nothing where it has ended."""
    with suppress(OSError):
        text = Path("/proc", str(pid), "smaps_rollup").read_text(encoding="utf-8")
        rows = [line.split() for line in text.splitlines()[1:]]
        kilobytes = {row[0]: int(row[1]) for row in rows}
        return kilobytes["Pss:"] * 1024, kilobytes["Anonymous:"] * 1024
    return 0, 0


@dataclass
class _Sampler:
    """Peaks of a session, asked for in a thread until `end`."""

    session: int
    limit_bytes: float
    peak_rss: int = 0
    peak_pss: int = 0
    peak_anonymous: int = 0
    stopped: bool = False
    cpu_s: dict[int, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _next_rollup_s: float = 0.0
    _rolled_up_at: int = 0

    def run(self) -> None:
        """Sample until `end` is called."""
        while not self._over.is_set():
            started_s = time.perf_counter()
            processes = list(_processes(self.session))
            self.cpu_s |= {process.pid: process.cpu_s for process in processes}
            rss = sum(process.rss_bytes for process in processes)
            self.peak_rss = max(self.peak_rss, rss)
            if rss > PEAK_RISE * self._rolled_up_at or started_s >= self._next_rollup_s:
                self._rolled_up_at = max(self._rolled_up_at, rss)
                self._roll_up(processes)
            self._over.wait(max(0.0, started_s + INTERVAL_S - time.perf_counter()))

    def _roll_up(self, processes: Sequence[_Process]) -> None:
        started_s = time.perf_counter()
        sizes = [_rollup_bytes(process.pid) for process in processes]
        anonymous = sum(size[1] for size in sizes)
        self.peak_pss = max(self.peak_pss, sum(size[0] for size in sizes))
        self.peak_anonymous = max(self.peak_anonymous, anonymous)
        ended_s = time.perf_counter()
        self._next_rollup_s = ended_s + (ended_s - started_s) / PSS_SHARE
        # Mapped files do not count: the system can take their pages back.
        if anonymous > self.limit_bytes and not self.stopped:
            self.stopped = True
            os.killpg(self.session, signal.SIGKILL)

    def end(self) -> None:
        """Stop sampling."""
        self._over.set()


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def measure(
    command: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    limit_mb: float = float("inf"),
) -> Measurement:
    """Run a command to its end and measure it.

    Parameters
    ----------
    command : sequence
        Program and arguments.
    env : mapping, optional
        Environment variables to set besides those of this process.
    log : Path, optional
        Where its output goes; it is dropped by default.
    limit_mb : float
        Anonymous memory above which the command is killed, so that the machine goes on.

    Returns
    -------
    Measurement
        CPU seconds are those of the command and all descendants that were waited for, or the sum
        of what each process was last seen with, whichever is more.
    """
    words = tuple(str(word) for word in command)
    with (log or Path(os.devnull)).open("wb") as output:
        started_s = time.perf_counter()
        process = subprocess.Popen(
            words,
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        sampler = _Sampler(process.pid, limit_mb * 1e6)
        thread = threading.Thread(target=sampler.run, daemon=True)
        thread.start()
        # Whoever ends this process wants the command to end, too.
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            wall_s = time.perf_counter() - started_s
            signal.signal(signal.SIGTERM, before)
            sampler.end()
            thread.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measurement(
        command=words,
        exit_code=process.returncode,
        stopped=sampler.stopped,
        wall_s=wall_s,
        cpu_s=max(usage.ru_utime + usage.ru_stime, sum(sampler.cpu_s.values())),
        peak_rss_mb=sampler.peak_rss / 1e6,
        peak_pss_mb=sampler.peak_pss / 1e6,
        peak_anonymous_mb=sampler.peak_anonymous / 1e6,
    )


def write_json(measurement: Measurement, path: Path) -> None:
    """Write a measurement as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(measurement), indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Read the command line, run the command and print its measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", type=Path, help="write the measurement here, too")
    parser.add_argument("--log", type=Path, help="where the command's output goes")
    parser.add_argument("--limit-mb", type=float, default=float("inf"))
    parser.add_argument("command", nargs="+", help="after --")
    arguments = parser.parse_args()
    measured = measure(arguments.command, log=arguments.log, limit_mb=arguments.limit_mb)
    if arguments.json:
        write_json(measured, arguments.json)
    print(json.dumps(asdict(measured), indent=2))
    return measured.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
