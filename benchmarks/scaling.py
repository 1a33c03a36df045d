"""How the whole of NiDecomp grows with the runs: ``scaling.py --data DIR --runs 8 16 32 64``."""

import argparse
import tempfile
from pathlib import Path

from common import first_labels, measure_or_stop, nidecomp_command, table, warm
from measure import Measurement


def _row(n_runs: int, measured: Measurement, smallest: Measurement) -> list[str]:
    return [
        str(n_runs),
        f"{measured.wall_s:.1f}",
        f"{measured.wall_s / smallest.wall_s:.2f}",
        f"{measured.cpu_s:.1f}",
        f"{measured.peak_pss_mb:.0f}",
        f"{measured.peak_pss_mb / smallest.peak_pss_mb:.2f}",
        f"{measured.peak_anonymous_mb:.0f}",
        f"{measured.peak_rss_mb:.0f}",
    ]


HEADER = (
    *("runs", "wall time, s", "ratio", "CPU time, s"),
    *("peak PSS, MB", "ratio", "peak anonymous, MB", "peak RSS, MB"),
)


def main() -> None:
    """Read the command line, run NiDecomp on each number of runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="made by make_dataset.py")
    parser.add_argument("--runs", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--n-components", type=int, default=20)
    parser.add_argument("--nprocs", type=int, default=2)
    arguments = parser.parse_args()
    sizes = sorted(arguments.runs)
    labels = first_labels(arguments.data, sizes[-1])
    measured: dict[int, Measurement] = {}
    with tempfile.TemporaryDirectory() as folder:
        env = {"NUMBA_CACHE_DIR": str(Path(folder, "compiled"))}
        # The first run, which compiles, does not count.
        for number, n_runs in enumerate([sizes[0], *sizes]):
            warm(arguments.data, labels[:n_runs])
            out = Path(folder, f"{number}")
            command = nidecomp_command(
                arguments.data,
                out,
                labels[:n_runs],
                n_components=arguments.n_components,
                nprocs=arguments.nprocs,
            )
            measured[n_runs] = measure_or_stop(command, out.with_suffix(".log"), env)
            print(f"{n_runs} runs: {measured[n_runs].wall_s:.1f} s", flush=True)
    smallest = measured[sizes[0]]
    print("\n" + table(HEADER, [_row(n, measured[n], smallest) for n in sizes]))


if __name__ == "__main__":
    main()
