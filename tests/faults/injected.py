"""A server that runs NiDecomp again and again in forked children, each with a fault of its own.

Forking spares each run the imports. A fault is put where Python itself tells of what it is about to
do (audit events: files that are opened, renamed) and before messages: nothing in NiDecomp is
replaced. ``Server`` is for tests; ``python injected.py`` is what it starts.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
        ``kill`` and ``terminate`` (signals), ``delete`` and ``replace`` (`path`), or the name of an
        error number, such as ``ENOSPC``, with which that and every later event fails.
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


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: signal), what it said, and how many events it had."""

    code: int
    stderr: str
    events: dict[str, int]


class Server:
    """Starts the server, hands it runs and ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: object, fault: Fault | None = None) -> Ended:
        """Run the command in a child with a fault."""
        job = {"words": [os.fsdecode(os.fsencode(str(word))) for word in words]}
        job["fault"] = asdict(fault or Fault())
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


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
        handler = logging.Handler()
        handler.emit = lambda _: self._happens(MESSAGE)  # type: ignore[method-assign]
        logging.getLogger("nidecomp").addHandler(handler)

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
    "delete": _delete,
    "replace": _replace,
}


def _child(job: dict[str, Any], folder: Path) -> int:
    from nidecomp.cli import main

    fault = Fault(**job["fault"])
    injector = _Injector(fault, folder / "counts.json")
    if fault.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest_file, fault.largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if fault.is_deadly else signal.SIG_IGN)
    if fault.clock_runs_back:
        started, looks = time.time(), iter(range(10**9))
        time.time = lambda: started - 3600.0 * next(looks)  # type: ignore[assignment]
    injector.install()
    code = main(job["words"])
    injector.save()
    return code


def _serve(folder: Path) -> None:
    from nidecomp import pipeline

    pipeline.warm_up()
    said, counts = folder / "stderr.txt", folder / "counts.json"
    for line in sys.stdin:
        counts.write_text("{}")
        child = os.fork()
        if child == 0:
            descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            code = 99
            try:
                code = _child(json.loads(line), folder)
            except BaseException:
                logging.exception("not foreseen")
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        ended = {
            "code": os.waitstatus_to_exitcode(status),
            "stderr": said.read_text(errors="backslashreplace"),
            "events": json.loads(counts.read_text()),
        }
        print(json.dumps(ended), flush=True)  # noqa: T201  this is how it answers


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="nidecomp-faults-") as name:
        _serve(Path(name))
