"""NiDecomp against nilearn on the same runs: ``side_by_side.py --data DIR``.

NiDecomp runs once with an empty compilation cache. Then it makes the group's maps alone, all of its
outputs with the report, and nilearn makes the group's maps, in turn, with the same participants,
confounds, mask, smoothing, number of components and seed, in two processes.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import first_labels, measure_or_stop, nidecomp_command, table, warm
from make_dataset import Grid, planted_networks
from measure import Measurement, write_json
from numpy.typing import NDArray
from support import group_maps, matched_correlations

METHODS = ("canica", "dictlearning")
NILEARN_SCRIPT = Path(__file__).with_name("nilearn_script.py")
MEASURED = "measure.json"


@dataclass(frozen=True)
class Plan:
    """What both do, and where."""

    data: Path
    labels: Sequence[str]
    n_components: int
    scratch: Path

    def run_nidecomp(self, name: str, *, everything: bool = False) -> Measurement:
        """Run NiDecomp into a fresh folder of this name."""
        command = nidecomp_command(
            self.data,
            self.scratch / name,
            self.labels,
            n_components=self.n_components,
            nprocs=2,
            everything=everything,
        )
        return self._measure(command, name)

    def run_nilearn(self, name: str) -> Measurement:
        """Run the script into a folder of this name."""
        out = self.scratch / name
        command = [
            *(sys.executable, NILEARN_SCRIPT, self.data, out, "--participant-label", *self.labels),
            *("--n-components", self.n_components, "--n-jobs", 2),
        ]
        measured = self._measure(command, name)
        write_json(measured, out / MEASURED)
        return measured

    def _measure(self, command: Sequence[object], name: str) -> Measurement:
        # The first run finds the cache of compiled code empty, the others what it left there.
        env = {"NUMBA_CACHE_DIR": str(self.scratch / "compiled")}
        measured = measure_or_stop(command, self.scratch / f"{name}.log", env)
        print(f"{name}: {measured.wall_s:.1f} s, {measured.peak_pss_mb:.0f} MB", flush=True)
        return measured


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _ratios(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> str:
    return _spread([b.wall_s / a.wall_s for a, b in zip(ours, theirs, strict=True)])


def times_table(
    first: Measurement,
    ours: Sequence[Measurement],
    whole: Sequence[Measurement],
    theirs: Sequence[Measurement],
) -> str:
    """Tell times and memory: medians, with minimum and maximum."""
    columns = ([first], ours, whole, theirs)
    rows = [
        ["wall time, s", *(_spread([m.wall_s for m in column]) for column in columns)],
        ["CPU time, s", *(_spread([m.cpu_s for m in column]) for column in columns)],
        ["peak PSS of the tree, MB", *(f"{max(m.peak_pss_mb for m in c):.0f}" for c in columns)],
        ["peak RSS of the tree, MB", *(f"{max(m.peak_rss_mb for m in c):.0f}" for c in columns)],
        [
            "speed-up, pair by pair",
            f"{statistics.median(m.wall_s for m in theirs) / first.wall_s:.2f}",
            _ratios(ours, theirs),
            _ratios(whole, theirs),
            "1",
        ],
    ]
    header = [
        "",
        "NiDecomp, before compilation",
        "NiDecomp, group maps",
        "NiDecomp, everything and the report",
        "nilearn, group maps",
    ]
    return table(header, rows)


def _nilearn_maps(folder: Path, method: str, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Read a method's maps as (n_components, n_voxels)."""
    image: Any = nib.load(folder / f"{method}.nii.gz")
    return np.asarray(image.dataobj)[inside].T


def maps_table(ours: Path, theirs: Path) -> str:
    """Tell how far the maps agree with each other and with the planted ones, as |r|."""
    (path,) = ours.glob("tpl-*/anat/*_mask.nii.gz")
    mask: Any = nib.load(path)
    inside = np.asarray(mask.dataobj) > 0
    nilearns_mask: Any = nib.load(theirs / "mask.nii.gz")
    other = np.asarray(nilearns_mask.dataobj) > 0
    if not np.array_equal(inside, other):
        print(f"The masks differ: {inside.sum()} and {other.sum()} voxels.")
    x, y, z = inside.shape
    truth = planted_networks(Grid((x, y, z), float(mask.header.get_zooms()[0])))[:, inside]
    rows = []
    for method in METHODS:
        mine, nilearns = group_maps(ours, method), _nilearn_maps(theirs, method, inside)
        pairs = ((nilearns, mine), (truth, mine), (truth, nilearns))
        matched = [matched_correlations(a, b) for a, b in pairs]
        rows.append([method, *(f"{np.median(r):.4f}, {r.min():.4f}" for r in matched)])
    header = [
        "matched r: median, minimum",
        "NiDecomp and nilearn",
        "NiDecomp and simulated networks",
        "nilearn and simulated networks",
    ]
    return table(header, rows)


def _side_by_side(plan: Plan, repeats: int, reference: Path | None) -> None:
    warm(plan.data, plan.labels)
    first = plan.run_nidecomp("nidecomp-first")
    ours, whole, theirs = [], [], []
    for repeat in range(1, repeats + 1):
        ours.append(plan.run_nidecomp(f"nidecomp-{repeat}"))
        whole.append(plan.run_nidecomp(f"everything-{repeat}", everything=True))
        if reference is None:
            theirs.append(plan.run_nilearn(f"nilearn-{repeat}"))
    if reference is not None:
        stored = json.loads((reference / MEASURED).read_text(encoding="utf-8"))
        theirs = [Measurement(**stored)] * repeats
    print(f"\n{len(plan.labels)} runs, {plan.n_components} components\n")
    if reference is not None:
        print(f"nilearn was measured before ({reference}): its times are no pairs of ours.\n")
    print(times_table(first, ours, whole, theirs), end="\n\n")
    nilearns = reference or plan.scratch / f"nilearn-{repeats}"
    print(maps_table(plan.scratch / f"nidecomp-{repeats}", nilearns))


def main() -> None:
    """Read the command line, run both in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="made by make_dataset.py")
    parser.add_argument("--runs", type=int, default=8, help="use the first participants")
    parser.add_argument("--repeats", type=int, default=3, help="pairs after the first run")
    parser.add_argument("--n-components", type=int, default=20)
    parser.add_argument("--scratch", type=Path, help="keep results in here (default: delete them)")
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="results of an earlier nilearn run with its measure.json, in place of running it",
    )
    arguments = parser.parse_args()
    labels = first_labels(arguments.data, arguments.runs)
    # A folder of its own: NiDecomp would find there what an earlier run left.
    scratch = arguments.scratch and nullcontext(tempfile.mkdtemp(dir=arguments.scratch))
    with scratch or tempfile.TemporaryDirectory() as folder:
        plan = Plan(arguments.data, labels, arguments.n_components, Path(folder))
        _side_by_side(plan, arguments.repeats, arguments.reference)


if __name__ == "__main__":
    main()
