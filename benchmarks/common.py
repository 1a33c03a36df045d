"""What several benchmarks need: NiDecomp's command line, warm files, tables.

After it was imported, the modules of bids_fixtures, tests and tools can be imported, too.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from measure import Measurement, measure

_BLOCK_BYTES = 1 << 22

for _folder in ("bids_fixtures", "tests", "tools"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / _folder))


def first_labels(data: Path, n_runs: int) -> list[str]:
    """Give the labels of the first participants of a dataset.

    Raises
    ------
    SystemExit
        It has fewer.
    """
    labels = sorted(path.name.removeprefix("sub-") for path in data.glob("sub-*") if path.is_dir())
    if len(labels) < n_runs:
        raise SystemExit(
            f"{data} holds {len(labels)} participants and {n_runs} are needed: "
            f"make_dataset.py {data} --runs {n_runs}"
        )
    return labels[:n_runs]


@cache
def _options() -> str:
    command = [sys.executable, "-m", "nidecomp", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def nidecomp_command(
    data: Path,
    out: Path,
    labels: Sequence[str],
    *,
    n_components: int,
    nprocs: int,
    everything: bool = False,
) -> list[object]:
    """Give the command that every benchmark of the whole of NiDecomp runs.

    The group's maps alone, as nilearn's script, or `everything` that is made by default.
    """
    level = [] if everything or "--level" not in _options() else ["--level", "minimal"]
    return [
        *(sys.executable, "-m", "nidecomp", data, out, "group", *level),
        *("--n-components", n_components, "--alpha", 10, "--batch-size", 20, "--nprocs", nprocs),
        *("--denoise-strategy", "simple", "--smoothing-fwhm", 6, "--random-seed", 0),
        *("--participant-label", *labels),
    ]


def warm(data: Path, labels: Sequence[str]) -> None:
    """Read all files once, so that whoever comes first does not pay for the disk."""
    for label in labels:
        for path in (data / f"sub-{label}").rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    while file.read(_BLOCK_BYTES):
                        pass


def measure_or_stop(command: Sequence[object], log: Path, env: dict[str, str]) -> Measurement:
    """Measure a command; end here with what it said where it failed."""
    measured = measure(command, log=log, env=env)
    if measured.exit_code:
        words = " ".join(measured.command)
        text = log.read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{text[-2000:]}\nExit code {measured.exit_code}: {words}")
    return measured


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
