"""What a run will take, from the headers alone: memory, disk, processes."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nidecomp.errors import UsageError
from nidecomp.records import UsableRun
from nidecomp.settings import Decomposition, Execution, Method
from nidecomp.signal.geometry import VoxelGeometry

_MB = 1e6
_CGROUP = Path("/sys/fs/cgroup")
# An interpreter with numpy, scipy, pandas, nibabel and nilearn, measured as resident memory.
_INTERPRETER_MB = 220.0
# float32 copies of a series over the brain: itself, and the blocks that are worked on.
_SERIES_COPIES = 1.5
# Copies of all reduced runs in the group fit, in float32: the files and the stack; scikit-learn's
# dictionary learning adds float64 ones, transposed, shuffled and checked. Measured: 2.8 and 7.9.
_STACK_COPIES: dict[Method, float] = {"canica": 3.0, "dictlearning": 8.0}


@dataclass(frozen=True)
class Forecast:
    """What a run will take."""

    map_mb: float
    group_mb: float
    disk_mb: float
    n_processes: int

    @property
    def peak_mb(self) -> float:
        """Memory of the whole at its largest moment, in MB."""
        # One process works where it is; several have this one waiting beside them.
        waiting = _INTERPRETER_MB if self.n_processes > 1 else 0.0
        return max(self.map_mb * self.n_processes + waiting, self.group_mb)

    def as_text(self) -> str:
        """Say it in a line each."""
        fit = f"{self.group_mb:,.0f} MB for the group fit; " if self.group_mb else ""
        return (
            f"Memory: {self.map_mb:,.0f} MB for one run in the map step, "
            f"{self.n_processes} at a time; {fit}{self.peak_mb:,.0f} MB at the peak\n"
            f"Disk: {self.disk_mb:,.0f} MB of reduced runs in the work folder"
        )


def forecast(
    runs: tuple[UsableRun, ...],
    geometry: VoxelGeometry,
    decomposition: Decomposition,
    execution: Execution,
    n_cores: int,
    *,
    with_fit: bool = True,
) -> Forecast:
    """Work out memory, disk and how many runs may be processed at once.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs to be reduced; at least one.
    geometry : VoxelGeometry
        The voxels that they are reduced on.
    decomposition : Decomposition
        Numbers of components and methods.
    execution : Execution
        ``nprocs`` and ``mem_mb``; 0 stands for what the machine has.
    n_cores : int
        Cores that may be used.
    with_fit : bool
        Whether the group is fitted, too.

    Returns
    -------
    Forecast

    Raises
    ------
    UsageError
        ``--mem-mb`` is too little for a single run or for the group fit, with the arithmetic.
    """
    n_rows = max(decomposition.n_components)
    n_voxels = geometry.n_features
    map_mb = _INTERPRETER_MB + max(_map_bytes(run, n_voxels, n_rows) for run in runs) / _MB
    row_mb = 4 * n_voxels / _MB
    stacked_mb = len(runs) * n_rows * row_mb
    copies = max(_STACK_COPIES[method] for method in decomposition.methods)
    group_mb = _INTERPRETER_MB + stacked_mb * copies + 8 * n_rows * row_mb
    limit_mb = execution.mem_mb or _free_mb()
    limit = (
        f"--mem-mb {limit_mb:.0f} is too little"
        if execution.mem_mb
        else f"The {limit_mb:.0f} MB that are free now are too little"
    )
    if map_mb > limit_mb:
        raise UsageError(
            f"{limit}: one run takes {map_mb:.0f} MB in the map step "
            f"({_INTERPRETER_MB:.0f} MB for Python and its libraries, "
            f"{map_mb - _INTERPRETER_MB:.0f} MB for its volumes)."
        )
    if with_fit and group_mb > limit_mb:
        raise UsageError(
            f"{limit}: the group fit takes {group_mb:.0f} MB "
            f"({len(runs)} runs × {n_rows} rows × {n_voxels} voxels, {copies:g} times "
            f"float32, and {_INTERPRETER_MB:.0f} MB for Python and its libraries)."
        )
    fitting = int((limit_mb - _INTERPRETER_MB) // map_mb)
    wanted = execution.nprocs or n_cores
    return Forecast(
        map_mb=map_mb,
        group_mb=group_mb if with_fit else 0.0,
        disk_mb=stacked_mb,
        n_processes=max(1, min(wanted, fitting, len(runs))),
    )


def _map_bytes(run: UsableRun, n_voxels: int, n_rows: int) -> float:
    i, j, k = run.grid.shape
    numbers = i * j * k * run.n_volumes
    # First the image as stored and as float32, then the float32 one and the series over the brain.
    reading = numbers * (run.stored_bytes + 4)
    cleaning = 4 * numbers + 4 * n_voxels * run.n_kept * _SERIES_COPIES
    return max(reading, cleaning) + 4 * n_voxels * n_rows


def _free_mb() -> float:
    """Memory that can be had now without swapping, in MB: the machine's, or this job's if less."""
    return min(_free_on_machine_mb(), *_limits_of_job_mb())


def _limits_of_job_mb() -> list[float]:
    """Read what a container or a cluster job may take (control groups), infinity among it."""
    limits = [math.inf]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        # The file says "max" where there is no limit.
        with suppress(OSError, ValueError):
            limits.append(float((_CGROUP / name).read_text()) / _MB)
    return limits


def _free_on_machine_mb() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  procfs, not a path
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024 / _MB
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MB
