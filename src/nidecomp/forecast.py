"""What a run will take, from the headers alone: memory, disk, processes."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nidecomp.errors import UsageError
from nidecomp.records import UsableRun
from nidecomp.settings import Decomposition, Execution
from nidecomp.signal.geometry import VoxelGeometry

_MB = 1e6
# An interpreter with numpy, scipy, pandas, nibabel and nilearn, measured as resident memory.
_INTERPRETER_MB = 220.0
# Copies of an image on its full grid while it is read: the bytes on disk as stored numbers
# (up to 4 a voxel) and float32.
_GRID_COPIES = 2
# float32 copies of a series over the brain: itself, and the blocks that are worked on.
_SERIES_COPIES = 1.5


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
        return max(self.map_mb * self.n_processes + _INTERPRETER_MB, self.group_mb)

    def as_text(self) -> str:
        """Say it in a line each."""
        return (
            f"Memory: {self.map_mb:,.0f} MB for one run in the map step, "
            f"{self.n_processes} at a time; {self.group_mb:,.0f} MB for the group fit; "
            f"{self.peak_mb:,.0f} MB at the peak\n"
            f"Disk: {self.disk_mb:,.0f} MB of reduced runs in the work folder"
        )


def forecast(
    runs: tuple[UsableRun, ...],
    geometry: VoxelGeometry,
    decomposition: Decomposition,
    execution: Execution,
    n_cores: int,
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

    Returns
    -------
    Forecast

    Raises
    ------
    UsageError
        ``--mem-mb`` is too little for a single run, with the arithmetic.
    """
    n_rows = max(decomposition.n_components)
    n_voxels = geometry.n_features
    map_mb = _INTERPRETER_MB + max(_map_bytes(run, n_voxels, n_rows) for run in runs) / _MB
    row_mb = 4 * n_voxels / _MB
    stacked_mb = len(runs) * n_rows * row_mb
    # The stack, a float64 subspace and what FastICA copies of it.
    group_mb = _INTERPRETER_MB + stacked_mb * 1.1 + 8 * n_rows * row_mb
    limit_mb = execution.mem_mb or _free_mb()
    if map_mb > limit_mb:
        raise UsageError(
            f"--mem-mb {limit_mb:.0f} is too little: one run takes {map_mb:.0f} MB in the map step "
            f"({_INTERPRETER_MB:.0f} MB for Python and its libraries, "
            f"{map_mb - _INTERPRETER_MB:.0f} MB for its volumes)."
        )
    fitting = int((limit_mb - _INTERPRETER_MB) // map_mb)
    wanted = execution.nprocs or n_cores
    return Forecast(
        map_mb=map_mb,
        group_mb=group_mb,
        disk_mb=stacked_mb,
        n_processes=max(1, min(wanted, fitting, len(runs))),
    )


def _map_bytes(run: UsableRun, n_voxels: int, n_rows: int) -> float:
    i, j, k = run.grid.shape
    image = 4 * i * j * k * run.n_volumes * _GRID_COPIES
    series = 4 * n_voxels * run.n_kept * _SERIES_COPIES
    return image + series + 4 * n_voxels * n_rows


def _free_mb() -> float:
    """Memory that can be had now without swapping, in MB."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  procfs, not a path
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024 / _MB
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MB
