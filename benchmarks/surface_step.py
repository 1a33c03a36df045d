"""Measure the reduce step of grayordinates on one core: ``surface_step.py --volumes 150 400 1200``.

Runs of 91,282 grayordinates are simulated (`make_surfaces.py`) in ``--data``, one of each length.
Reading and smoothing with 6 mm is compared with reading the bytes of the file alone, in a process
of its own for each length, so that peak memory is that of one run; kernels and compiled code are
there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from make_surfaces import grayordinates, space_of, write_run
from threadpoolctl import threadpool_limits

REPEATS = 5


def run_of(data: Path, n_volumes: int) -> Path:
    """Return the path of the run of a length."""
    folder = data / f"volumes-{n_volumes}"
    return folder / "sub-01" / "func" / "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"


def fastest(work: Callable[[], object]) -> float:
    """Return the shortest time of several repetitions, in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mb() -> float:
    """Return the peak resident memory of this process; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (one for one in status.splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(data: Path, n_volumes: int) -> dict[str, float]:
    """Return times in s and the peak memory in MB for one run."""
    path, kept = run_of(data, n_volumes), np.arange(n_volumes)
    space = space_of(grayordinates(), "fsLR", data / "kernels")
    space.prepare((6.0,))
    space.read_packed(path, kept[:3], (6.0, 0.0))
    before = peak_mb()
    with threadpool_limits(limits=1):
        return {
            "smoothed": fastest(lambda: space.read_packed(path, kept, (6.0,))),
            "peak": peak_mb(),
            "before": before,
            "as it is": fastest(lambda: space.read_packed(path, kept, (0.0,))),
            "bytes": fastest(path.read_bytes),
        }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", type=int, nargs="+", default=[150, 400, 1200])
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.data, options.one)))
        return
    space = space_of(grayordinates(), "fsLR", options.data / "kernels")
    space.prepare((6.0,))
    print("| volumes | bytes, s | read, s | read and smoothed, s | peak MB (before reading) |")
    print("|---|---|---|---|---|")
    for n_volumes in options.volumes:
        write_run(options.data / f"volumes-{n_volumes}", 1, n_volumes, [space])
        words = ["--data", str(options.data), "--one", str(n_volumes)]
        done = subprocess.run(
            [sys.executable, __file__, *words], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout)
        print(
            f"| {n_volumes} | {found['bytes']:.2f} | {found['as it is']:.2f} | "
            f"{found['smoothed']:.2f} | {found['peak']:.0f} ({found['before']:.0f}) |"
        )


if __name__ == "__main__":
    main()
