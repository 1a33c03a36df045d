"""Runs of NiDecomp in forked children of one process, which spares each of them the imports.

They take longer than all else on data as small as the tests'. A child is a process of its
own that begins where ``python -m nidecomp`` is after its imports; it may run a few lines instead,
and be another user's. ``python served.py`` is what `Server` starts.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).with_name("faults")


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: signal), what it said, and how many events it had.

    Events are counted where there is a fault, if only one that never happens.
    """

    code: int
    stdout: str
    stderr: str
    events: dict[str, int]


class Server:
    """Starts servers, as many as have runs at a time, hands them runs one by one and ends them."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[str]] = []
        self._idle: list[subprocess.Popen[str]] = []

    def _start(self) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._all.append(started)
        return started

    def run(
        self,
        *words: object,
        fault: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> Ended:
        """Run the command in a child, in this process's folder and with its variables.

        A run that takes longer than `timeout` seconds ends by SIGALRM.
        """
        return self._ask(words, environment, {"fault": fault, "timeout": timeout})

    def run_lines(self, lines: str, *words: object, user: int | None, **environment: str) -> Ended:
        """Run some lines of Python in a child, as ``python -c`` would, as this user's."""
        job = {"lines": lines, "user": user, "timeout": 60}
        return self._ask(words, environment, job)

    def _ask(
        self, words: Sequence[object], environment: Mapping[str, str] | None, job: dict[str, Any]
    ) -> Ended:
        job = {
            "words": [os.fsdecode(os.fsencode(str(word))) for word in words],
            "folder": str(Path.cwd()),
            "environment": {**os.environ, **(environment or {})},
            **job,
        }
        try:
            process = self._idle.pop()
        except IndexError:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        self._idle.append(process)
        return Ended(**answer)

    def close(self) -> None:
        """End them."""
        for process in self._all:
            process.communicate(timeout=60)


# ---------------------------------------------------------------- in the server
def _serve(folder: Path) -> None:
    # Imports are what this is for, also of what is imported late because not every run needs it.
    import nilearn.connectome
    import nilearn.image
    import nilearn.regions  # noqa: F401
    import pandas.io.formats.csvs  # noqa: F401
    import sklearn.covariance  # noqa: F401
    import sqlalchemy.dialects.sqlite  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    from nidecomp import pipeline, pipeline_maps  # noqa: F401
    from nidecomp.runs.reduce import warm_up

    warm_up()
    configure_mappers()
    # Else each child searches all that was imported for garbage, and has it copied by that: a third
    # of the time of a small run.
    gc.collect()
    gc.freeze()
    said, counts = (folder / "stdout.txt", folder / "stderr.txt"), folder / "counts.json"
    for line in sys.stdin:
        counts.write_text("{}")
        child = os.fork()
        if child == 0:
            _replace_streams(*said)
            _end(json.loads(line), counts)
        _, status = os.waitpid(child, 0)
        stdout, stderr = (path.read_text(errors="backslashreplace") for path in said)
        ended = {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": stdout,
            "stderr": stderr,
            "events": json.loads(counts.read_text()),
        }
        print(json.dumps(ended), flush=True)  # noqa: T201  this is how it answers


# ---------------------------------------------------------------- in the child
def _replace_streams(stdout: Path, stderr: Path) -> None:
    for descriptor, path in enumerate((Path(os.devnull), stdout, stderr)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


def _end(job: dict[str, Any], counts: Path) -> None:
    """Do the job and end this process."""
    code = 99
    try:
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["folder"])
        signal.alarm(round(job["timeout"]))
        if "lines" in job:
            _become(job["user"])
            sys.argv = ["-c", *job["words"]]
            exec(job["lines"], {"__name__": "__main__"})  # noqa: S102  our own words
            code = 0
        else:
            code = _run(job["words"], job["fault"], counts)
    except BaseException:
        logging.exception("not foreseen")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # What ends an interpreter is not for a child that was forked in the middle of one.
        os._exit(code)


def _become(user: int | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def _run(words: list[str], fault: dict[str, Any] | None, counts: Path) -> int:
    from nidecomp.cli import main

    try:
        if fault is None:
            return main(words)
        sys.path.append(str(FAULTS))
        from injected import main_with

        return main_with(fault, words, counts)
    except SystemExit as ended:
        return int(ended.code or 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="nidecomp-served-") as name:
        _serve(Path(name))
