"""One run's reduce step against decompression and the second pass: ``reduce_step.py --data DIR``.

In a fresh process, on one core and with one thread; all are timed in turn, several times. With
``--volumes 150 400 1200``, runs of these lengths are made in folders of DIR, and a line for each
has the CPU time of the reduce step against decompression, its peak memory, and how far its
components are from those that numpy computes in float64 from the same series.
"""

import argparse
import cProfile
import gzip
import os
import pstats
import resource
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
from nidecomp.core.inventory import FailedRun, Inventory
from nidecomp.core.linalg import blocks
from nidecomp.core.records import ReducedRun, UsableRun
from nidecomp.core.reduced_runs import read_volumes
from nidecomp.decomposition.components import Components
from nidecomp.projection.one_run import project_run
from nidecomp.projection.store import store_target
from nidecomp.projection.task import ProjectTask, Target
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.read import read_run
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
    found, *_ = find_runs(data, Selection(participant_label=(label,)))
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


def _seconds(step: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started_s = clock()
    step()
    return clock() - started_s


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


def _peak_mb() -> float:
    """Give the largest memory (RSS) that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def lengths_line(task: ReduceTask, repeats: int) -> str:
    """Time the reduce step against decompression, in pairs, after one that does not count.

    CPU time: the ratio of pairs holds while other processes run, too.
    """
    reduce(task)
    peak_mb = _peak_mb()
    name = "isal" if "isal" in OPENERS else "zlib"
    decompress = partial(_decompress, OPENERS[name], task.run.files.bold)
    clock = time.process_time
    pairs = [
        (_seconds(decompress, clock), _seconds(partial(reduce, task), clock))
        for _ in range(repeats)
    ]
    parts_s, whole_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = [whole / part for part, whole in pairs]
    cells = [
        task.run.n_volumes,
        f"{parts_s:.2f}",
        f"{whole_s:.2f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{peak_mb:.0f}",
        largest_angles(task),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def largest_angles(task: ReduceTask) -> str:
    """Compare the leading subspaces with numpy's, at a third, two thirds and all of the rows.

    Returns
    -------
    str
        Sines of the largest angles between the subspaces of the time courses.
    """
    read = read_run(task, task.smoothing_fwhm)
    nuisance, series = read.design.nuisance, read.series[0]
    gram = np.zeros((len(series), len(series)))
    for block in blocks(series.shape[1], 2048):
        part = series[:, block].astype(np.float64)
        part -= nuisance @ (nuisance.T @ part)
        norms = np.linalg.norm(part, axis=0)
        part[:, norms > 0] /= norms[norms > 0]
        gram += part @ part.T
    exact = np.linalg.eigh(gram)[1][:, ::-1]
    with tempfile.TemporaryDirectory(dir=task.work_dir) as folder:
        (record,) = reduce_run(replace(task, work_dir=Path(folder)))
        ours = read_volumes(record).rows.astype(np.float64)
    sines = []
    for count in (task.n_rows // 3, 2 * task.n_rows // 3, task.n_rows):
        own, _ = np.linalg.qr(ours[:, :count])
        others = exact[:, :count]
        sines.append(f"{np.linalg.norm(others - own @ (own.T @ others), 2):.0e}")
    return ", ".join(sines)


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
        if arguments.one_line:
            print(lengths_line(task, arguments.repeats), flush=True)
            return
        n_voxels = task.space.n_features
        print(f"{task.run.n_volumes} volumes, {n_voxels} voxels in the mask\n", flush=True)
        if arguments.profile:
            profile(task)
        else:
            print(compare(task, arguments.repeats))


def _compare_lengths(arguments: argparse.Namespace, env: dict[str, str]) -> int:
    """Print a line for each length, from a process of its own."""
    header = ["volumes", "decompress, s", "reduce step, s", "ratio", "peak, MB", "angles"]
    print(table(header, ()), flush=True)
    for n_volumes in arguments.volumes:
        data = arguments.data / f"volumes-{n_volumes}"
        make = [Path(__file__).with_name("make_dataset.py"), data, "--runs", "1"]
        command = [sys.executable, *make, "--volumes", str(n_volumes)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        options = {
            "--data": data,
            "--n-components": arguments.n_components,
            "--smoothing-fwhm": arguments.smoothing_fwhm,
            "--repeats": arguments.repeats,
        }
        given = [str(part) for option in options.items() for part in option]
        command = [sys.executable, __file__, "--one-line", *given]
        done = subprocess.run(command, env=env, check=False)
        if done.returncode:
            return done.returncode
    return 0


def main() -> int:
    """Read the command line and start a process with one thread that does the work."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="made by make_dataset.py")
    parser.add_argument("--participant-label", nargs=1, help="(default: the first)")
    parser.add_argument("--n-components", type=int, default=20)
    parser.add_argument("--smoothing-fwhm", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--volumes", type=int, nargs="+", help="lengths to make and to compare")
    parser.add_argument("--one-line", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if _INSIDE in os.environ:
        _inside(arguments)
        return 0
    env = {**os.environ, **ONE_THREAD, _INSIDE: "1"}
    if arguments.volumes:
        return _compare_lengths(arguments, env)
    return subprocess.run([sys.executable, *sys.argv], env=env, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
