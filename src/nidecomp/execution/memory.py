"""Return freed memory to the system, and estimate the memory available."""

from __future__ import annotations

import ctypes
import math
import os
from contextlib import suppress
from pathlib import Path

from nidecomp.config.execution import Execution


def release_freed_memory() -> None:
    """Return freed memory to the system, if the C library supports it.

    glibc keeps freed memory for later use: 200 MB after the fit of 20 components to 235,000 voxels,
    which are not needed while this process waits for others.
    """
    # Other C libraries do not have this function.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


MB = 1e6
_CGROUP = Path("/sys/fs/cgroup")
# Resident memory of a worker with all imports and compiled loops but hardly any data: that of a run
# in logs/resources.tsv (310 to 320 MB), as measured with
# nidecomp bids_fixtures/rest OUT group --resource-monitor
INTERPRETER_MB = 310.0
# Blocks of voxels in progress, in both steps: a rule of thumb, an upper limit.
BLOCKS_MB = 60.0
# float32 copies of an image while it is written: the array, its bytes, and the compressed bytes.
IMAGE_COPIES = 3.0


def row_mb(n_features: int) -> float:
    """Return the size of one map or volume over the features in float32, in MB."""
    return 4 * n_features / MB


def idle_workers(execution: Execution) -> int:
    """Return how many idle workers fit in memory in addition to this process.

    Parameters
    ----------
    execution : Execution
        With ``mem_mb``.

    Returns
    -------
    int
        May be 0.
    """
    limit_mb = execution.mem_mb or free_mb()
    return max(0, int(limit_mb // INTERPRETER_MB) - 1)


def free_mb() -> float:
    """Return the free memory in MB, limited by that of the container or cluster job."""
    return min(_free_on_machine_mb(), *_limits_of_job_mb())


def _limits_of_job_mb() -> list[float]:
    """Return the memory limits of control groups (containers, cluster jobs), and infinity."""
    limits = [math.inf]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        # The file contains "max" if there is no limit.
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
