"""Measure how often participants are found to differ in data where they do not.

Smooth maps of noise in several designs, each data set with noise of its own: the share of those
with a corrected p value of at most 0.05. It should be 3.7 to 6.3 % (of 1,000 data sets, within
chance), but "not blocked", whose permutations ignore that one site is noisier.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from common import table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "comparison"))

from null_examples import DESIGNS, MEASURES, false_positives, null_maps


def _share(work: tuple[str, int, int, int, list[int]]) -> np.ndarray:
    name, side, n_maps, n_permutations, seeds = work
    return false_positives(name, null_maps(side, n_maps, n_permutations), seeds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("designs", nargs="*", help=f"(default: {', '.join(DESIGNS)})")
    parser.add_argument("--sets", type=int, default=100, help="data sets of each design")
    parser.add_argument("--side", type=int, default=10, help="voxels along each side of a map")
    parser.add_argument("--maps", type=int, default=2, help="maps, of which a family consists")
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(asked.processes) as pool:
        for name in asked.designs or DESIGNS:
            parts = np.array_split(np.arange(asked.sets), asked.processes)
            work = [
                (name, asked.side, asked.maps, asked.permutations, part.tolist()) for part in parts
            ]
            shares = np.average(
                list(pool.map(_share, work)), axis=0, weights=[len(part) for part in parts]
            )
            rows.append([name, *(f"{100 * share:.1f} %" for share in shares)])
            print(rows[-1], file=sys.stderr, flush=True)
    print(table(["design", *MEASURES], rows))


if __name__ == "__main__":
    main()
