"""One run's reduce step against decompression and the second pass: ``reduce_step.py --data DIR``.

In a fresh process, on one core and with one thread; all are timed in turn, several times.
"""

import argparse
import cProfile
import gzip
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import first_labels, table, warm

from nidecomp.bids.index import find_runs
from nidecomp.config.science import Denoising, Masking, Selection
from nidecomp.core.records import FailedRun, Inventory, ReducedRun, UsableRun
from nidecomp.decomposition.components import Components
from nidecomp.projection.one_run import project_run
from nidecomp.projection.store import store_target
from nidecomp.projection.task import ProjectTask, Target
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.reduce import reduce_run
from nidecomp.runs.task import ReduceTask

OPENERS: dict[str, Callable[..., Any]] = {"zlib": gzip.open}
try:
    from isal import igzip
except ImportError:
    print("isal is not installed: zlib alone is timed.", file=sys.stderr)
else:
    OPENERS["isal"] = igzip.open

# Read by the libraries when they are loaded: a parent process has to set them.
_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ONE_THREAD = dict.fromkeys(_COUNTS, "1")
_BLOCK_BYTES = 1 << 20
_INSIDE = "_NIDECOMP_BENCHMARK_INSIDE"


def reduce_task(data: Path, label: str, n_rows: int, fwhm_mm: float, work_dir: Path) -> ReduceTask:
    """Make the task of a participant's first run, in its own brain mask.

    All that this benchmark knows of NiDecomp's steps before the reduce step stands here.
    """
    denoising = Denoising(denoise_strategy="simple", smoothing_fwhm=fwhm_mm)
    found, _, _ = find_runs(data, Selection(participant_label=(label,)))
    looked_at = inspect_run(found[0], denoising, n_rows)
    if not isinstance(looked_at, UsableRun):
        raise SystemExit(f"The run cannot be used: {looked_at.reason}")
    space, inventory = share_space(Inventory((looked_at,)), Masking(), None)
    if space is None:
        raise SystemExit("The run's brain mask cannot be used.")
    return ReduceTask(inventory.used[0], space, denoising, (fwhm_mm,), n_rows, n_rows, work_dir)


def reduce(task: ReduceTask) -> tuple[ReducedRun, ...]:
    """Run the reduce step with a work folder of its own, so that nothing is found done."""
    with tempfile.TemporaryDirectory(dir=task.work_dir) as folder:
        result = reduce_run(replace(task, work_dir=Path(folder)))
    if isinstance(result, FailedRun):
        raise SystemExit(f"The reduce step failed: {result.reason}")
    return result


def project(task: ReduceTask, targets: tuple[Target, ...], *, with_maps: bool) -> None:
    """Run the second pass, to two decompositions, with a work folder of its own."""
    with tempfile.TemporaryDirectory(dir=task.work_dir) as folder:
        cleaning = replace(task, work_dir=Path(folder))
        result = project_run(ProjectTask(cleaning, targets, False, with_maps, False))
    if isinstance(result, FailedRun):
        raise SystemExit(f"The second pass failed: {result.reason}")


def stored_targets(task: ReduceTask) -> tuple[Target, ...]:
    """Store two decompositions: the run's own leading rows, and these the other way round."""
    with tempfile.TemporaryDirectory(dir=task.work_dir) as folder:
        result = reduce_run(replace(task, work_dir=Path(folder)))
        if isinstance(result, FailedRun):
            raise SystemExit(f"The reduce step failed: {result.reason}")
        rows = np.load(result[0].path)
    names = tuple(f"row{number}" for number in range(len(rows)))
    nothing = np.zeros(len(rows))
    return tuple(
        store_target(
            Components("rows", maps, names, nothing, 0.0), task.smoothing_fwhm[0], task.work_dir
        )
        for maps in (rows, rows[:, ::-1])
    )


def _decompress(open_: Callable[..., Any], path: Path) -> None:
    buffer = bytearray(_BLOCK_BYTES)
    with open_(path, "rb") as file:
        while file.readinto(buffer):
            pass


def _seconds(step: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    step()
    return time.perf_counter() - started_s


def compare(task: ReduceTask, repeats: int) -> str:
    """Time decompression and both passes in turn, after one run of each that does not count."""
    path = task.run.files.bold
    steps: dict[str, Callable[[], object]] = {
        f"decompress, {name}": partial(_decompress, open_, path) for name, open_ in OPENERS.items()
    }
    steps["reduce step"] = partial(reduce, task)
    targets = stored_targets(task)
    steps["second pass"] = partial(project, task, targets, with_maps=False)
    steps["second pass, with maps"] = partial(project, task, targets, with_maps=True)
    for step in steps.values():
        step()
    times_s: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times_s[name].append(_seconds(step))
    rows = []
    for name, own_s in times_s.items():
        pairs = zip(times_s["reduce step"], own_s, strict=True)
        ratio = statistics.median(whole / part for whole, part in pairs)
        spread = f"{min(own_s):.2f} to {max(own_s):.2f}"
        rows.append([name, f"{statistics.median(own_s):.2f}", spread, f"{ratio:.2f}"])
    return table(["", "median, s", "minimum to maximum, s", "reduce step / this"], rows)


def profile(task: ReduceTask) -> None:
    """Print where the time of one reduce step goes, after one that does not count."""
    reduce(task)
    profiler = cProfile.Profile()
    profiler.runcall(reduce, task)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def _inside(arguments: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    (label,) = arguments.participant_label or first_labels(arguments.data, 1)
    warm(arguments.data, [label])
    with tempfile.TemporaryDirectory() as folder:
        task = reduce_task(
            arguments.data, label, arguments.n_components, arguments.smoothing_fwhm, Path(folder)
        )
        n_voxels = task.space.n_features
        print(f"{task.run.n_volumes} volumes, {n_voxels} voxels in the mask\n", flush=True)
        if arguments.profile:
            profile(task)
        else:
            print(compare(task, arguments.repeats))


def main() -> int:
    """Read the command line and start a process with one thread that does the work."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="made by make_dataset.py")
    parser.add_argument("--participant-label", nargs=1, help="(default: the first)")
    parser.add_argument("--n-components", type=int, default=20)
    parser.add_argument("--smoothing-fwhm", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    arguments = parser.parse_args()
    if _INSIDE in os.environ:
        _inside(arguments)
        return 0
    env = {**os.environ, **ONE_THREAD, _INSIDE: "1"}
    return subprocess.run([sys.executable, *sys.argv], env=env, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
