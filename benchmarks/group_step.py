"""The group fit alone, on synthetic reduced runs: ``group_step.py --runs 50 100 200 400``.

Writes reduced runs as the reduce step would, fits subsets of them, each in a fresh process, and
extrapolates time and memory. What it wrote is deleted afterwards.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import table
from measure import Measurement, measure
from numpy.typing import NDArray

from nidecomp.config.science import METHODS, DecompositionOptions, Denoising, Method, Science
from nidecomp.core.records import ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.core.reduced_runs import RunVolumes, store_reduced
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.spaces.grid import Grid

Float32Array = NDArray[np.float32]

N_SHARED = 60
"""Dimensions of the space that all runs share; each has as much again of its own in every row."""

TARGET_RUNS = 1600
VOXEL_FRACTIONS = (4, 2, 1)
NEIGHBOURS = 3
N_VOLUMES = 150
REPETITION_TIME_S = 2.0
_RECORDS = "runs.json"


# ---------------------------------------------------------------- synthetic reduced runs
def _smooth_rows(n_rows: int, n_voxels: int, rng: np.random.Generator) -> Float32Array:
    """Noise that is slightly smooth along the voxels."""
    noise = rng.standard_normal((n_rows, n_voxels + NEIGHBOURS - 1), dtype=np.float32)
    smooth = noise[:, :n_voxels].copy()
    for shift in range(1, NEIGHBOURS):
        smooth += noise[:, shift : shift + n_voxels]
    return smooth


def shared_maps(n_voxels: int) -> Float32Array:
    """Make maps with few large values, which ICA and sparse coding can find.

    Returns
    -------
    array of shape (N_SHARED, n_voxels), standard deviation about 1
    """
    maps = _smooth_rows(N_SHARED, n_voxels, np.random.default_rng(0)) ** 3
    return np.asarray(maps / maps.std(axis=1, keepdims=True), dtype=np.float32)


def write_reduced(
    folder: Path, number: int, n_rows: int, shared: Float32Array
) -> dict[str, object]:
    """Write one run's rows: orthogonal, each scaled by its singular value.

    Returns
    -------
    dict
        The fields of its `ReducedRun`, as JSON can hold them.
    """
    rng = np.random.default_rng([number, n_rows])
    mixing = rng.standard_normal((n_rows, N_SHARED), dtype=np.float32)
    # Shared networks differ in strength, hence a spectrum that falls.
    mixing *= np.linspace(2, 0.3, N_SHARED, dtype=np.float32)
    rows = mixing @ shared
    rows += rows.std() * _smooth_rows(n_rows, shared.shape[1], rng) / np.sqrt(NEIGHBOURS)
    squared, vectors = np.linalg.eigh(rows @ rows.T)
    rows = vectors.T[::-1] @ rows
    record: dict[str, object] = {
        "run": f"{number:04d}",
        "path": str(folder / f"sub-{number:04d}.npy"),
        "smoothing_fwhm": Denoising().smoothing_fwhm,
        "n_rows": n_rows,
        "n_voxels": shared.shape[1],
        # A run's leading rows hold about half of its variance.
        "total_variance": 2 * float(squared.sum()),
        "squared_singular_values": squared[::-1].tolist(),
        "n_nonfinite": 0,
        "n_constant": 0,
    }
    courses, _ = np.linalg.qr(rng.standard_normal((N_VOLUMES, n_rows)))
    times_s = np.arange(N_VOLUMES, dtype=np.float64) * REPETITION_TIME_S
    motion = rng.standard_normal((N_VOLUMES, 7))
    volumes = RunVolumes(courses.astype(np.float32), times_s, motion)
    store_reduced(_reduced(record), rows, volumes)
    return record


def check_disk(folder: Path, n_runs: int, n_rows: int, n_voxels: int) -> None:
    """End here where the disk does not hold the reduced runs."""
    needed = n_runs * n_rows * n_voxels * 4
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise SystemExit(
            f"{n_runs} reduced runs take {needed / 1e9:.0f} GB and {folder} has {free / 1e9:.0f} "
            "GB free: name another folder with --scratch, or ask for fewer --runs."
        )


def write_all(folder: Path, n_runs: int, n_rows: int, n_voxels: int) -> None:
    """Write reduced runs and the list of them."""
    folder.mkdir()
    shared = shared_maps(n_voxels)
    records = [write_reduced(folder, number, n_rows, shared) for number in range(1, n_runs + 1)]
    (folder / _RECORDS).write_text(json.dumps(records), encoding="utf-8")


# ---------------------------------------------------------------- the fit, in its own process
def _run(participant: str) -> UsableRun:
    """Make the record of a run of which the fit needs to know only whose it is."""
    key = RunKey((("sub", participant), ("task", "rest")))
    grid = Grid((1, 1, 1), tuple(tuple(row) for row in np.eye(4).tolist()))
    return UsableRun(
        RunFiles(key, "MNI152NLin2009cAsym", None, Path(f"{key.label}_bold.nii.gz"), None, None),
        grid=grid,
        repetition_time_s=REPETITION_TIME_S,
        start_time_s=None,
        n_volumes=N_VOLUMES,
        stored_bytes=2,
        kept=tuple(range(N_VOLUMES)),
        n_regressors=0,
        mean_fd_mm=None,
    )


def _reduced(record: dict[str, Any]) -> ReducedRun:
    return ReducedRun(
        **{
            **record,
            "run": _run(record["run"]),
            "path": Path(record["path"]),
            "squared_singular_values": tuple(record["squared_singular_values"]),
        }
    )


def fit(
    folder: Path, n_runs: int, n_components: int, methods: Sequence[Method], n_threads: int
) -> None:
    """Fit the first runs of a folder: all that this benchmark knows of NiDecomp stands here."""
    records = json.loads((folder / _RECORDS).read_text(encoding="utf-8"))[:n_runs]
    runs = [_reduced(record) for record in records]
    wanted = DecompositionOptions(n_components=(n_components,), methods=tuple(methods), alpha=10.0)
    fit_group(runs, Science(decomposition=wanted), GroupPlan(n_threads))


# ---------------------------------------------------------------- the curves
def _extrapolate(sizes: Sequence[int], values: Sequence[float], target: int) -> tuple[float, float]:
    """Fit a straight line; give its value at the target and the fit's root mean square residual."""
    line = np.polynomial.Polynomial.fit(sizes, values, 1)
    residual = np.asarray(values) - line(np.asarray(sizes))
    return float(line(target)), float(np.sqrt(np.mean(residual**2)))


COLUMNS: dict[str, Callable[[Measurement], float]] = {
    "wall time, s": lambda m: m.wall_s,
    "CPU time, s": lambda m: m.cpu_s,
    "peak anonymous, MB": lambda m: m.peak_anonymous_mb,
    "peak PSS, MB": lambda m: m.peak_pss_mb,
}


def curve(what: str, measured: dict[int, Measurement], target: int | None = None) -> str:
    """Make the table of one curve; with a target, with a last line that extrapolates it.

    Runs that were stopped or failed stand in the table, and do not count for the line.
    """
    rows = []
    for size, m in measured.items():
        ending = f" (stopped, exit code {m.exit_code})" if m.exit_code else ""
        rows.append([f"{size}{ending}", *(f"{column(m):.1f}" for column in COLUMNS.values())])
    done = {size: m for size, m in measured.items() if not m.exit_code}
    if target is not None and len(done) >= 2:
        ends = [
            _extrapolate(list(done), [column(m) for m in done.values()], target)
            for column in COLUMNS.values()
        ]
        cells = [f"{value:.0f} (residual {residual:.2g})" for value, residual in ends]
        rows.append([f"{target}, linear extrapolation", *cells])
    return table([what, *COLUMNS], rows)


def measure_fit(arguments: argparse.Namespace, folder: Path, n_runs: int) -> Measurement:
    """Measure the fit of the first runs of a folder in a fresh process."""
    log = folder / "fit.log"
    measured = measure(
        [
            *(sys.executable, __file__, "--fit", folder, "--runs", n_runs),
            *("--components", arguments.components, "--methods", *arguments.methods),
            *("--nprocs", arguments.nprocs),
        ],
        # Kept between fits: compiling is not what is measured here.
        env={"NUMBA_CACHE_DIR": str(folder.parent / "compiled")},
        log=log,
        limit_mb=arguments.limit_mb,
    )
    if measured.exit_code and not measured.stopped:
        raise SystemExit(log.read_text(encoding="utf-8", errors="replace")[-2000:])
    memory = f"{measured.peak_anonymous_mb:.0f} MB"
    print(f"{folder.name}, {n_runs} runs: {measured.wall_s:.1f} s, {memory}", flush=True)
    return measured


def _measure_curves(arguments: argparse.Namespace, scratch: Path) -> None:
    sizes: list[int] = sorted(arguments.runs)
    n_rows = arguments.rows_per_component * arguments.components
    check_disk(scratch, sizes[-1], n_rows, arguments.voxels)
    by_voxels: dict[int, Measurement] = {}
    for number, fraction in enumerate(VOXEL_FRACTIONS):
        n_voxels = arguments.voxels // fraction
        folder = scratch / f"{n_voxels} voxels"
        largest = sizes[-1] if fraction == 1 else sizes[0]
        write_all(folder, largest, n_rows, n_voxels)
        if number == 0:
            measure_fit(arguments, folder, sizes[0])  # compiles, and does not count
        by_voxels[n_voxels] = measure_fit(arguments, folder, sizes[0])
        if fraction != 1:
            shutil.rmtree(folder)
    by_runs = {sizes[0]: by_voxels[arguments.voxels]}
    by_runs |= {size: measure_fit(arguments, folder, size) for size in sizes[1:]}
    print(f"\n{arguments.components} components, {sizes[0]} runs\n")
    print(curve("voxels", by_voxels))
    print(f"\n{arguments.components} components, {arguments.voxels} voxels\n")
    print(curve("runs", by_runs, TARGET_RUNS))


def main() -> None:
    """Read the command line, measure both curves and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--components", type=int, default=40)
    parser.add_argument(
        "--rows-per-component", type=int, default=2, help="1 for releases that used one"
    )
    parser.add_argument("--voxels", type=int, default=235_000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--nprocs", type=int, default=2, help="threads of the fit")
    parser.add_argument("--scratch", type=Path, help="where reduced runs are written for a while")
    parser.add_argument(
        "--limit-mb", type=float, default=16_000, help="stop a fit that takes more memory"
    )
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        (n_runs,) = arguments.runs
        fit(arguments.fit, n_runs, arguments.components, arguments.methods, arguments.nprocs)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        _measure_curves(arguments, Path(folder))


if __name__ == "__main__":
    main()
