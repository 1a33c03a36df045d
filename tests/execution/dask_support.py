"""Helpers for tests of dask workers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from nidecomp.config.execution import Execution

JOBS = """
jobqueue:
  slurm: {cores: 4, memory: 8GB}
distributed:
  adaptive: {maximum: 40}
"""

# Options of schedulers in tests: with dask's default port they would warn if it is in use.
NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def execution(**options: Any) -> Execution:
    return Execution(executor="dask", **options)


OPENS = """
import sys
from pathlib import Path
import dask
from distributed.deploy.spec import SpecCluster
from nidecomp.core.errors import UsageError
from nidecomp.execution.choose import check_executor, executor_for
from nidecomp.config.execution import Execution
dask.config.set({"distributed.comm.timeouts.connect": "0.3s"})
# When an interpreter ends, dask waits 10 s for a scheduler that never started.
close = SpecCluster.close
SpecCluster.close = lambda self, timeout=None: close(self, timeout=timeout and 1)
for value in sys.argv[2:]:
    where = Execution(executor="dask", **{sys.argv[1]: value})
    check_executor(where)
    try:
        with executor_for(where, Path(), 1):
            pass
    except UsageError as error:
        print(error)
"""


def what_is_said(option: str, *values: str) -> list[str]:
    """Open executors that cannot be reached, in a separate process, and return a line for each."""
    done = subprocess.run(
        [sys.executable, "-c", OPENS, option, *values],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(values)
    return lines
