"""What grows with the number of runs: ``scale.py --runs 250 500 1000``, with tiny images.

Two sessions a participant. Images are so small that what is left is what NiDecomp does for each
run apart from computing: finding it, files, messages.
"""

import argparse
import csv
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import measure_or_stop, table
from confounds import confounds_table, motion_parameters
from layout import Entities, bold_path, confounds_path, mask_path, write_description, write_run
from measure import Measurement
from simulate import Recording, rng_for

SHAPE, VOXEL_MM, N_VOLUMES, TR_S = (10, 12, 10), 16.0, 100, 2.0
N_SESSIONS = 2
N_DIFFERENT = 8
"""Runs that are simulated; the others are copies under other names."""

SETTLED_S = 3
"""NiDecomp remembers nothing of files that were written in the last two seconds."""

FILES = (
    *((bold_path, ending) for ending in (".nii.gz", ".json")),
    *((mask_path, ending) for ending in (".nii.gz", ".json")),
    *((confounds_path, ending) for ending in (".tsv", ".json")),
)
FAST = ("--n-components", 5, "--n-init", 2, "--no-report")


# ---------------------------------------------------------------- data
def _recording(number: int) -> Recording:
    """Simulate noise in a small brain, with a confounds table."""
    rng = rng_for("scale", str(number))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:-2, 2:-2, 2:-2] = True
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(SHAPE) - 1) / 2
    bold = 1000.0 + 20.0 * rng.standard_normal((*SHAPE, N_VOLUMES))
    bold *= mask[..., np.newaxis]
    motion = motion_parameters(rng.uniform(0.05, 0.2, N_VOLUMES), rng)
    csf, white_matter = 1000 + rng.standard_normal((2, N_VOLUMES))
    found = confounds_table(motion, csf, white_matter, bold[mask].T, TR_S)
    return Recording(bold, mask, affine, found, TR_S)


def make_study(root: Path, n_runs: int) -> None:
    """Write a dataset, unless it is there."""
    if root.exists():
        return
    unfinished = root.with_name(f".{root.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_description(unfinished, f"{n_runs} runs of noise")
    models = unfinished / "sourcedata"
    for number in range(N_DIFFERENT):
        write_run(models, {"sub": f"{number}", "task": "rest"}, _recording(number))
    for number in range(n_runs):
        who, session = divmod(number, N_SESSIONS)
        run: Entities = {"sub": f"{who:04d}", "ses": f"{session + 1}", "task": "rest"}
        model: Entities = {"sub": f"{number % N_DIFFERENT}", "task": "rest"}
        for path, ending in FILES:
            target = path(unfinished, run, ending)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path(models, model, ending), target)
    unfinished.rename(root)
    time.sleep(SETTLED_S)


# ---------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Start:
    """One start of the command: its measurement, its steps, and the lines of its log."""

    measured: Measurement
    steps: dict[str, tuple[float, float]]
    """Name to elapsed and CPU seconds."""
    n_lines: int


def _start(data: Path, out: Path, level: str, more: Sequence[object], compiled: Path) -> Start:
    words = (sys.executable, "-m", "nidecomp", data, out, level, *FAST, *more)
    log = out.with_suffix(".log")
    measured = measure_or_stop(words, log, {"NUMBA_CACHE_DIR": str(compiled)})
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return Start(measured, dict(_steps(out / "logs" / "resources.tsv")), len(lines))


def _steps(resources: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    if resources.exists():
        with resources.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row["run"] == "n/a":
                    yield row["step"], (float(row["seconds"]), float(row["cpu_seconds"]))


def _n_files(folder: Path, but: Path | None = None) -> int:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sum(1 for path in found if but is None or but not in path.parents)


def measure_groups(data: Path, sizes: Sequence[int], scratch: Path, nprocs: int) -> None:
    """Start the group analysis twice for each size, and print what it took."""
    rows, steps = [], []
    for n_runs in sizes:
        out = scratch / f"group{n_runs}"
        for name in ("first", "second"):
            more = ("--nprocs", nprocs)
            start = _start(data / f"{n_runs}", out, "group", more, scratch / "compiled")
            wall_s, cpu_s = start.steps["finding runs"]
            rows.append((
                *(n_runs, name, f"{start.measured.wall_s:.1f}", f"{start.measured.cpu_s:.1f}"),
                *(f"{wall_s:.1f}", f"{cpu_s:.1f}", start.n_lines),
                f"{_n_files(out / 'work') / n_runs:.1f}",
                f"{_n_files(out, out / 'work') / n_runs:.1f}",
            ))  # fmt: skip
            steps.append((n_runs, name, start.steps))
            print(f"{n_runs} runs, {name} start: {start.measured.wall_s:.1f} s", flush=True)
    header = ("runs", "start", "wall, s", "CPU, s", "finding runs: wall, s", "CPU, s")
    per_run = ("log lines", "files in work per run", "other files per run")
    print("\n" + table((*header, *per_run), rows))
    names = list(dict.fromkeys(name for *_, taken in steps for name in taken))
    cells = [
        (n_runs, start, *(f"{taken[name][0]:.1f}" if name in taken else "" for name in names))
        for n_runs, start, taken in steps
    ]
    print("\nSeconds of each step:\n\n" + table(("runs", "start", *names), cells) + "\n")


def measure_jobs(data: Path, participants: Sequence[int], scratch: Path, repeats: int) -> None:
    """Run single participants' jobs in studies of several sizes, and print what they took."""
    rows = []
    for n_participants in participants:
        study, out = data / f"{N_SESSIONS * n_participants}", scratch / f"jobs{n_participants}"
        for number in range(repeats + 1):
            more = ("--nprocs", 1, "--participant-label", f"{number:04d}")
            start = _start(study, out, "participant", more, scratch / "compiled")
            rows.append((
                *(n_participants, "first" if number == 0 else "later"),
                *(f"{start.measured.wall_s:.1f}", f"{start.measured.cpu_s:.1f}", start.n_lines),
            ))  # fmt: skip
            print(f"{n_participants} participants: {start.measured.cpu_s:.1f} s", flush=True)
    print("\n" + table(("participants", "job", "wall, s", "CPU, s", "log lines"), rows))


def main() -> None:
    """Read the command line, make the data, measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir(), "nidecomp_scale"))
    parser.add_argument("--runs", type=int, nargs="*", default=[250, 500, 1000])
    parser.add_argument("--participants", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=2, help="jobs after the first one")
    parser.add_argument("--nprocs", type=int, default=2, help="of the group analysis")
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    for n_runs in {*arguments.runs, *(N_SESSIONS * n for n in arguments.participants)}:
        make_study(arguments.data / f"{n_runs}", n_runs)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        smallest = arguments.data / f"{min(arguments.runs, default=20)}"
        if smallest.exists():
            # The first start, which compiles, does not count.
            more = ("--participant-label", "0000", "0001", "--nprocs", 1)
            _start(smallest, scratch / "compiling", "participant", more, scratch / "compiled")
        measure_jobs(arguments.data, arguments.participants, scratch, arguments.repeats)
        measure_groups(arguments.data, arguments.runs, scratch, arguments.nprocs)


if __name__ == "__main__":
    main()
