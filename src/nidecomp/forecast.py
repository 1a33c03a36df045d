"""What a run will take, from the headers alone: memory, disk, processes."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nidecomp.errors import UsageError
from nidecomp.fit_group import wanted_subspaces
from nidecomp.gather_evidence import MOST_VOXELS, sample_dims
from nidecomp.group.fastica import MAX_COMPONENTS_OF_MOMENTS, MAX_COMPONENTS_OF_THREADS
from nidecomp.group.model_order import OrderSettings
from nidecomp.records import UsableRun
from nidecomp.settings import Execution, Science, Settings, subspace_dims
from nidecomp.signal.geometry import VoxelGeometry

_MB = 1e6
_CGROUP = Path("/sys/fs/cgroup")
# An interpreter with all that a worker imports and its compiled loops, measured as resident memory.
_INTERPRETER_MB = 310.0
# Blocks of voxels under way, in both steps.
_BLOCKS_MB = 60.0
# float32 copies of the components in the group fit: float64 subspace, centred, whitened and maps.
_ICA_COPIES = 8.0
# The same at the end of it: float64 maps and those in order; then copies of one image and its
# bytes.
_MAP_COPIES = 5.0
_IMAGE_COPIES = 3.0
# Maps that are held beside a decomposition's own while it is described: thresholded, scaled, and
# the networks and tissues that NiDecomp brings.
_DESCRIBED_COPIES = 3.0
_REFERENCE_MAPS = 17
# float32 copies of all decompositions' maps while runs are projected to them.
_WAITING_COPIES = 2.0
# Drawing the report's pictures: an interpreter with the plotting libraries and one component, and
# for the overview two float32 copies of each component on the viewer's grid.
_DRAWING_MB = 380.0
_DRAWING_MB_OF_COMPONENT = 2.7

# Where runs are worked on: in this process where one is enough, in others on this machine in any
# case, or on other machines.
Where = Literal["here", "beside", "elsewhere"]


@dataclass(frozen=True)
class Forecast:
    """What a run will take, and how it is going to be executed.

    `n_processes` of this machine work at once, `where` says whether on runs; `n_drawing` draw the
    report's pictures, each with `drawing_mb` (0 where there is no report); the group fit uses
    `n_threads` and gathers `at_once` of its `n_subspaces` in one pass over the reduced runs, and
    `samples_at_once` of the halves that maps are judged by. `waiting_mb` is what this process holds
    while others work.
    """

    map_mb: float
    group_mb: float
    disk_mb: float
    n_processes: int
    n_threads: int
    n_subspaces: int
    at_once: int
    samples_at_once: int = 0
    waiting_mb: float = _INTERPRETER_MB
    where: Where = "here"
    n_drawing: int = 1
    drawing_mb: float = 0.0

    @property
    def peak_mb(self) -> float:
        """Memory of the whole on this machine at its largest moment, in MB."""
        # This process puts the pictures together, and draws some of them.
        drawing = self.drawing_mb * (self.n_drawing + 1 if self.n_drawing > 1 else 1)
        if self.where == "elsewhere":
            return max(self.waiting_mb, self.group_mb, drawing)
        # One process works where it is; several have this one waiting beside them.
        is_waiting = self.where == "beside" or self.n_processes > 1
        waiting_mb = self.waiting_mb if is_waiting else 0.0
        return max(self.map_mb * self.n_processes + waiting_mb, self.group_mb, drawing)

    def as_text(self) -> str:
        """Say it in a line each."""
        is_elsewhere = self.where == "elsewhere"
        at_once = (
            "one at a time in each worker" if is_elsewhere else f"{self.n_processes} at a time"
        )
        lines = [
            f"Map step: {self.map_mb:,.0f} MB for one run, {at_once} with one thread each",
            f"Disk: {self.disk_mb:,.0f} MB of reduced runs in the work folder",
            f"Memory at the peak: {self.peak_mb:,.0f} MB"
            + (f" here, {self.map_mb:,.0f} MB in each worker" if is_elsewhere else ""),
        ]
        if self.group_mb:
            passes = -(-self.n_subspaces // self.at_once)
            fit = (
                f"Group fit: {self.group_mb:,.0f} MB whatever the number of runs, "
                f"threads: {self.n_threads}, passes over the reduced runs for each number of "
                f"components: {passes}"
            )
            lines.insert(1, fit)
        return "\n".join(lines)


def forecast(
    runs: tuple[UsableRun, ...],
    geometry: VoxelGeometry,
    settings: Settings,
    n_cores: int,
    worker_mb: float | None = None,
) -> Forecast:
    """Work out memory, disk, how many runs may be processed at once and how the group is fitted.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs to be reduced; at least one.
    geometry : VoxelGeometry
        The voxels that they are reduced on.
    settings : Settings
        Numbers of components, methods and smoothings; ``nprocs``, ``omp_nthreads`` and ``mem_mb``,
        of which 0 stands for what the machine has; whether the group is fitted, its maps judged
        and the runs projected.
    n_cores : int
        Cores of this machine that may be used.
    worker_mb : float, optional
        Memory of each worker, where they are on other machines: infinite where it is not known.

    Returns
    -------
    Forecast

    Raises
    ------
    UsageError
        ``--mem-mb``, or a worker's memory, is too little for a single run, or for the group fit,
        with the arithmetic.
    """
    science, execution = settings.science, settings.execution
    is_given = science.projection.maps is not None
    with_fit = settings.analysis_level == "group" and not is_given
    is_full = with_fit and settings.extent.level == "full"
    limit_mb = execution.mem_mb or _free_mb()
    limit = (
        f"--mem-mb {limit_mb:.0f} is too little"
        if execution.mem_mb
        else f"The {limit_mb:.0f} MB that are free now are too little"
    )
    n_rows = science.decomposition.largest_order
    n_smoothings = len(science.smoothings_fwhm)
    rows = n_rows
    with_images = settings.extent.participant_maps or bool(science.projection.regress_out)
    if is_full or is_given:
        rows = max(rows, _projecting_rows(geometry, n_rows, with_images))
    map_mb = max(_map_mb(run, geometry, rows, n_smoothings) for run in runs)
    waiting_mb = _INTERPRETER_MB
    if is_full:
        waiting_mb += _WAITING_COPIES * _n_maps(science) * _row_mb(geometry)
    where = _where(execution, worker_mb)
    if worker_mb is not None and map_mb > worker_mb:
        too_little = f"The {worker_mb:.0f} MB of each worker (--dask-config) are too little"
        raise UsageError(f"{too_little}: {_run_takes(map_mb, runs, geometry, n_smoothings)}.")
    beside_mb = waiting_mb if where == "beside" else 0.0
    if where != "elsewhere" and map_mb + beside_mb > limit_mb:
        beside = f", beside {beside_mb:.0f} MB of the process that waits" if beside_mb else ""
        raise UsageError(f"{limit}: {_run_takes(map_mb, runs, geometry, n_smoothings)}{beside}.")
    cores = execution.nprocs or n_cores
    n_subspaces = _n_subspaces(science)
    # Fewer threads first, then more passes: both change no byte, and passes cost more.
    ways = [
        (n_threads, at_once)
        for at_once in range(n_subspaces, 0, -1)
        for n_threads in range(min(cores, execution.omp_nthreads or cores), 0, -1)
    ]
    sizes = {way: _group_mb(len(runs), geometry, science, *way) for way in ways}
    n_threads, at_once = next((way for way in ways if sizes[way] <= limit_mb), ways[-1])
    group_mb = sizes[n_threads, at_once]
    if with_fit and group_mb > limit_mb:
        dims = subspace_dims(science.decomposition, n_rows)
        fewer = "--max-components" if science.decomposition.is_auto else "--n-components"
        raise UsageError(
            f"{limit}: the group fit takes {group_mb:.0f} MB with one thread "
            f"({_INTERPRETER_MB:.0f} MB for Python and its libraries, the rest for a subspace of "
            f"{dims} dimensions × {geometry.n_features} voxels in float32, held twice, and "
            f"{n_rows} components). Fewer --subspace-dims or {fewer} take less."
        )
    fitting = int((limit_mb - waiting_mb) // map_mb)
    drawing_mb = _drawing_mb(settings)
    drawing = int(limit_mb // drawing_mb) - 1 if drawing_mb else 1
    return Forecast(
        map_mb=map_mb,
        group_mb=group_mb if with_fit else 0.0,
        disk_mb=len(runs) * n_smoothings * n_rows * _row_mb(geometry),
        n_processes=max(1, min(cores, fitting, len(runs))),
        n_threads=n_threads,
        n_subspaces=n_subspaces,
        at_once=at_once,
        waiting_mb=waiting_mb,
        where=where,
        n_drawing=max(1, min(cores, drawing)),
        drawing_mb=drawing_mb,
        samples_at_once=_samples_at_once(geometry, science, group_mb) if is_full else 0,
    )


def _drawing_mb(settings: Settings) -> float:
    """Memory of one process that draws for the report; 0 where there is none."""
    extent = settings.extent
    if settings.analysis_level != "group" or extent.level != "full" or extent.no_report:
        return 0.0
    n_components = settings.science.decomposition.largest_order
    return _DRAWING_MB + _DRAWING_MB_OF_COMPONENT * n_components


def _where(execution: Execution, worker_mb: float | None) -> Where:
    if worker_mb is not None:
        return "elsewhere"
    return "here" if execution.executor == "local" else "beside"


def _run_takes(
    map_mb: float, runs: tuple[UsableRun, ...], geometry: VoxelGeometry, n_smoothings: int
) -> str:
    """Say what one run takes, with the arithmetic."""
    most = max(run.n_kept for run in runs)
    smoothings = f", {n_smoothings} smoothings" if n_smoothings > 1 else ""
    return (
        f"one run takes {map_mb:.0f} MB in the map step ({_INTERPRETER_MB:.0f} MB for Python and "
        f"its libraries, {map_mb - _INTERPRETER_MB:.0f} MB for {most} volumes × "
        f"{geometry.n_features} voxels in float32{smoothings}, and the volumes and blocks that are "
        "worked on)"
    )


def _n_maps(science: Science) -> int:
    """Count the maps of all decompositions together."""
    decomposition = science.decomposition
    orders = decomposition.orders or (decomposition.largest_order,)
    return sum(orders) * len(decomposition.methods)


def _row_mb(geometry: VoxelGeometry) -> float:
    return 4 * geometry.n_features / _MB


def _map_mb(run: UsableRun, geometry: VoxelGeometry, n_rows: int, n_smoothings: int) -> float:
    """Memory of one run's map step: its series over the brain, and a few volumes."""
    numbers = math.prod(run.grid.shape)
    volumes = numbers * (run.stored_bytes + 5) / _MB
    # Moving a volume to another grid is done by libraries that work in float64.
    resampling = numbers * 40 / _MB if run.resampled else 0.0
    # A smoothing's rows are written before the next one is reduced; a series stays.
    series = (run.n_kept * n_smoothings + n_rows) * _row_mb(geometry)
    return _INTERPRETER_MB + series + volumes + resampling + _BLOCKS_MB


def _projecting_rows(geometry: VoxelGeometry, n_components: int, with_images: bool) -> int:
    """Count what projecting a run holds beside its series, in rows over the mask.

    The group's maps and the run's own; where images are written, too, variance and z of these and
    copies of one image of all of them.
    """
    if not with_images:
        return 2 * n_components
    per_map = math.prod(geometry.grid.shape) / geometry.n_features
    return math.ceil(n_components * (4 + _IMAGE_COPIES * per_map))


def _n_subspaces(science: Science) -> int:
    """Count the group's subspaces at one number of components: the canonical one, and the scaled.

    Each smoothing at which a method is fitted has a scaled one.
    """
    canonical, scaled = wanted_subspaces(science)
    return len({canonical, *scaled.values()})


def _group_mb(
    n_runs: int, geometry: VoxelGeometry, science: Science, n_threads: int, at_once: int
) -> float:
    """Memory of the group fit at its largest moment."""
    k = science.decomposition.largest_order
    n_dims = min(subspace_dims(science.decomposition, k), n_runs * k)
    n_subspaces = _n_subspaces(science)
    # Subspaces that are finished, those that are gathered (held twice), and a run's rows.
    gathering = 3 * k + n_dims * max(
        finished + 2 * min(at_once, n_subspaces - finished)
        for finished in range(0, n_subspaces, at_once)
    )
    canica = n_subspaces * n_dims + _ICA_COPIES * k
    pairs = 0.0
    if k <= MAX_COMPONENTS_OF_MOMENTS:
        pairs = (
            8
            * (k * (k + 1) / 2) ** 2
            / _MB
            * (n_threads + 2 if k <= MAX_COMPONENTS_OF_THREADS else 2)
        )
    # The voxels' rows beside each other, for dictionary learning.
    learning = n_subspaces * n_dims + n_dims + (_MAP_COPIES + 4) * k
    n_maps = k * len(science.decomposition.methods)
    image = 4 * math.prod(geometry.grid.shape) * k / _MB
    described = (_DESCRIBED_COPIES * k + _REFERENCE_MAPS) * _row_mb(geometry)
    writing = _MAP_COPIES * n_maps * _row_mb(geometry) + _IMAGE_COPIES * image + described
    rows = max(gathering, canica, learning) * _row_mb(geometry)
    fitting = max(rows, _choosing_mb(geometry, science)) + pairs + _BLOCKS_MB * n_threads
    return _INTERPRETER_MB + max(fitting, writing)


def _choosing_mb(geometry: VoxelGeometry, science: Science) -> float:
    """Memory of the choice of the number of components: see `group.model_order.choose_order`."""
    if not science.decomposition.is_auto:
        return 0.0
    how = OrderSettings(max_components=science.decomposition.largest_order)
    n_voxels = min(geometry.n_features, how.most_voxels)
    streams = 16 * (2 * how.n_splits + 1) * how.max_components * n_voxels / _MB
    return streams + how.max_components * _row_mb(geometry)


def _samples_at_once(geometry: VoxelGeometry, science: Science, group_mb: float) -> int:
    """Count the halves and bootstraps that fit into what the group fit takes in any case.

    A pair of halves at least.
    """
    n_maps = science.decomposition.largest_order * len(science.decomposition.methods)
    room_mb = group_mb - _INTERPRETER_MB - n_maps * _row_mb(geometry)
    n_samples = 2 * science.evidence.n_splits + science.evidence.n_bootstraps
    return min(max(2, int(room_mb // _sample_mb(geometry, science))), n_samples)


def _sample_mb(geometry: VoxelGeometry, science: Science) -> float:
    """Memory of one half of the group: its subspaces, which are held twice, on some voxels."""
    n_dims = sample_dims(science.decomposition.largest_order)
    n_voxels = min(geometry.n_features, MOST_VOXELS)
    return 2 * _n_subspaces(science) * n_dims * 4 * n_voxels / _MB


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
    limit_mb = execution.mem_mb or _free_mb()
    return max(0, int(limit_mb // _INTERPRETER_MB) - 1)


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
