"""What handing an item to a worker costs: ``executors.py``, on this machine."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import measure_or_stop, table

from nidecomp.config.execution import Execution
from nidecomp.execution.choose import executor_for

N_WORKERS = 2
EXECUTORS = ("local", "dask")
# What a run's task holds of the group at 2 mm: the mask, a byte a voxel.
MASK_BYTES = 99 * 117 * 95


def _nothing(item: bytes) -> int:
    return len(item)


def hand_over(name: str, n_items: int, n_bytes: int) -> tuple[float, float]:
    """Give the seconds until the first result is there, and those of each further item."""
    items = [bytes(n_bytes)] * n_items
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with executor_for(Execution(executor=name), Path(folder), N_WORKERS) as executor:
            results = executor.map_unordered(_nothing, items)
            next(results)
            first = time.perf_counter()
            assert sum(1 for _ in results) == n_items - 1  # noqa: S101  a benchmark of nothing else
            return first - started, (time.perf_counter() - first) / (n_items - 1)


def reduce_runs(name: str, data: Path, out: Path) -> float:
    """Give the seconds that the reduce step of a dataset takes, as a command."""
    command = [sys.executable, "-m", "nidecomp", data, out / "out", "participant"]
    words = ["--n-components", 5, "--executor", name, "--nprocs", N_WORKERS, "-w", out]
    log = out.with_suffix(".log")
    return measure_or_stop([*command, *words], log, {}).wall_s


def main() -> None:
    """Read the command line, measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--runs", type=int, default=64)
    arguments = parser.parse_args()
    rows = []
    for n_bytes in (1, MASK_BYTES):
        for name in EXECUTORS:
            first_s, each_s = hand_over(name, arguments.items, n_bytes)
            rows.append((name, f"{n_bytes / 1e6:.1f}", f"{first_s:.1f}", f"{1000 * each_s:.1f}"))
    header = ("executor", "MB per item", "first result after, s", "each further result, ms")
    print(table(header, rows), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        make = Path(__file__).with_name("make_dataset.py")
        small = ("--runs", str(arguments.runs), "--shape", "25", "30", "24", "--voxel", "8")
        subprocess.run(
            [sys.executable, str(make), str(data), *small, "--nprocs", "2"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # The first run, which compiles, does not count.
        reduce_runs("local", data, Path(folder, "first"))
        rows = []
        for name in EXECUTORS * 2:
            wall_s = reduce_runs(name, data, Path(folder, f"{name}{len(rows)}"))
            rows.append((name, str(arguments.runs), f"{wall_s:.1f}"))
    print("\n" + table(("executor", "small runs", "participant command, s"), rows))


if __name__ == "__main__":
    main()
