"""Faults, put where Python itself tells of what it is about to do, and before messages.

Audit events tell of files that are opened and renamed: nothing in NiDecomp is replaced.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of what is counted: an atomic rename, a file opened to be written, a file opened to be read, a
# message.
RENAME, WRITE, READ, MESSAGE = "rename", "write", "read", "message"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when: before the `number`-th event of a kind (from 1; 0 is never).

    Parameters
    ----------
    event : str
        One of the four above.
    number : int
    does : str
        ``kill``, ``terminate`` and ``hang up`` (signals), ``delete`` and ``replace`` (`path`), or
        the name of an error number, such as ``ENOSPC``, with which that and every later event
        fails.
    path : str
        What is deleted; what is overwritten with other content.
    only : str
        Events on files are counted where this is in their path.
    largest_file : int
        Writing beyond this many bytes of one file is an error (0: no bound).
    is_deadly : bool
        The process is killed in the middle of that write.
    clock_runs_back : bool
        Each look at the clock finds it an hour earlier than before.
    """

    event: str = RENAME
    number: int = 0
    does: str = "kill"
    path: str = ""
    only: str = ""
    largest_file: int = 0
    is_deadly: bool = False
    clock_runs_back: bool = False


# ---------------------------------------------------------------- in the child
class _Injector:
    """Counts events and does what is to be done before one of them."""

    def __init__(self, fault: Fault, counts_file: Path) -> None:
        self._fault = fault
        self._counts = dict.fromkeys((RENAME, WRITE, READ, MESSAGE), 0)
        self._counts_file = counts_file
        self._lock = threading.Lock()

    def install(self) -> None:
        sys.addaudithook(self._audit)
        make_record = logging.getLogRecordFactory()

        def make(name: str, *arguments: Any, **more: Any) -> logging.LogRecord:
            if name.startswith("nidecomp"):
                self._happens(MESSAGE)
            return make_record(name, *arguments, **more)

        # Not by a handler, which would take the place of stderr.
        logging.setLogRecordFactory(make)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            self._file_event(RENAME, arguments[1])
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            is_write = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self._file_event(WRITE if is_write else READ, arguments[0])

    def _file_event(self, event: str, path: str | bytes | os.PathLike[str]) -> None:
        name = os.fsdecode(path)
        if self._fault.only in name and not name.startswith(("/dev", "/proc")):
            self._happens(event)

    def _happens(self, event: str) -> None:
        fault = self._fault
        with self._lock:
            self._counts[event] += 1
            number = self._counts[event]
        if event != fault.event or not fault.number or number < fault.number:
            return
        if hasattr(errno, fault.does):
            code = getattr(errno, fault.does)
            raise OSError(code, os.strerror(code))
        if number == fault.number:
            _ACTIONS[fault.does](Path(fault.path))

    def save(self) -> None:
        self._counts_file.write_text(json.dumps(self._counts))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _replace(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"other" + content[len(content) // 2 :])


_ACTIONS: dict[str, Callable[[Path], None]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "hang up": lambda _: os.kill(os.getpid(), signal.SIGHUP),
    "delete": _delete,
    "replace": _replace,
}


def main_with(fault: Mapping[str, Any], words: Sequence[str], counts_file: Path) -> int:
    """Run the command with a fault in this process, and write how many events there were."""
    from nidecomp.cli import main
    from nidecomp.runs import inspected

    # Files that were just copied count as old enough, so that the events are always the same.
    inspected.SETTLED_NS = -(10**9)
    fault = Fault(**fault)
    injector = _Injector(fault, counts_file)
    if fault.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest_file, fault.largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if fault.is_deadly else signal.SIG_IGN)
    if fault.clock_runs_back:
        started, looks = time.time(), iter(range(10**9))
        time.time = lambda: started - 3600.0 * next(looks)  # type: ignore[assignment]
    injector.install()
    code = main(words)
    injector.save()
    return code
