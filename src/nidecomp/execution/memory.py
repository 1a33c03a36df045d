"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import math
import os
from contextlib import suppress
from pathlib import Path

from nidecomp.config.execution import Execution


def release_freed_memory() -> None:
    """Have the C library give back what it keeps of freed memory; nothing where it cannot.

    glibc keeps freed blocks for the next ones. While other processes work and this one waits they
    are of no use to it: 200 MB after the fit of 20 components to 235,000 voxels.
    """
    # Other C libraries have no such function, other systems no such way to ask for it.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


MB = 1e6
_CGROUP = Path("/sys/fs/cgroup")
# An interpreter with all that a worker imports and its compiled loops, as resident memory: what a
# run of bids_fixtures/rest, which has hardly any data, is told to take in logs/resources.tsv by
# nidecomp bids_fixtures/rest OUT group --resource-monitor (310 to 320 MB).
INTERPRETER_MB = 310.0
# Blocks of voxels under way, in both steps: a rule of thumb, from above.
BLOCKS_MB = 60.0
# float32 copies of an image while it is written: its volumes in order, as bytes, and compressed.
IMAGE_COPIES = 3.0


def row_mb(n_features: int) -> float:
    """Return the size of one map or volume over the features in float32, in MB."""
    return 4 * n_features / MB


def idle_workers(execution: Execution) -> int:
    """Count the workers that fit into memory beside this process before they are given anything.

    Parameters
    ----------
    execution : Execution
        With ``mem_mb``.

    Returns
    -------
    int
        Perhaps 0.
    """
    limit_mb = execution.mem_mb or free_mb()
    return max(0, int(limit_mb // INTERPRETER_MB) - 1)


def free_mb() -> float:
    """Memory that can be had now without swapping, in MB: the machine's, or this job's if less."""
    return min(_free_on_machine_mb(), *_limits_of_job_mb())


def _limits_of_job_mb() -> list[float]:
    """Read what a container or a cluster job may take (control groups), infinity among it."""
    limits = [math.inf]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        # The file says "max" where there is no limit.
        with suppress(OSError, ValueError):
            limits.append(float((_CGROUP / name).read_text()) / MB)
    return limits


def _free_on_machine_mb() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  procfs, not a path
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024 / MB
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MB
