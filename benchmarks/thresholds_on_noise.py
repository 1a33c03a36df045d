"""How many maps of noise keep voxels after thresholding, and which share of voxels kept is false.

Simulates participants on the voxels of the template's brain at 4 mm: of independent noise, and of
planted regions in noise. Both are smoothed, decomposed by CanICA and thresholded by each rule.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_brain_mask
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import table

from nidecomp import CanICA
from nidecomp.annotation.thresholds import apply_rule, parse_rule

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

VOXEL_MM = 4.0
FWHM_PER_SD = 2.3548

RULES = ("background:0.05", "p:0.001", "isotropy:0.001")

RADIUS_MM = (14.0, 26.0)
"""Smallest and largest radius of a planted region."""

FOUND_R = 0.5
"""A map is a planted one if their |r| is at least this, matched one to one."""

SUPPORT = 0.05
"""A voxel that is kept is false if it has less than this share of the peak of the planted region.

The planted region is smoothed as the data are."""

CORE = 0.5
"""All voxels with at least this share of the peak should be kept."""


def brain() -> BoolArray:
    """Load the template's brain mask at the resolution of the simulations."""
    mask = np.asarray(load_mni152_brain_mask(resolution=int(VOXEL_MM)).dataobj) > 0
    return np.pad(mask, 2)


def smoothed(volume: FloatArray, fwhm: float) -> FloatArray:
    """Smooth a volume with a Gaussian; `fwhm` is in mm, 0 for none."""
    if not fwhm:
        return volume
    return ndimage.gaussian_filter(volume, fwhm / FWHM_PER_SD / VOXEL_MM).astype(np.float32)


def plant(mask: BoolArray, n_regions: int, rng: np.random.Generator) -> FloatArray:
    """Make the maps of planted balls, (n_regions, *mask.shape): 1 at the centre, 0 at the edge."""
    places = np.argwhere(mask)
    where = np.indices(mask.shape, dtype=np.float32)
    maps = np.zeros((n_regions, *mask.shape), dtype=np.float32)
    for one, centre in zip(maps, rng.choice(places, n_regions, replace=False), strict=True):
        distance = VOXEL_MM * np.linalg.norm(where - centre[:, None, None, None], axis=0)
        one[...] = np.maximum(1 - (distance / rng.uniform(*RADIUS_MM)) ** 2, 0) * mask
    return maps


def simulate(
    mask: BoolArray, planted: FloatArray, n_volumes: int, fwhm: float, rng: np.random.Generator
) -> FloatArray:
    """Simulate the standardised series of one participant, (n_volumes, n_voxels).

    Before smoothing, the noise has a standard deviation of 1, the signal that of its map.
    """
    series = np.empty((n_volumes, np.count_nonzero(mask)), dtype=np.float32)
    courses = rng.standard_normal((n_volumes, len(planted))).astype(np.float32)
    for row, amplitudes in zip(series, courses, strict=True):
        volume = rng.standard_normal(mask.shape).astype(np.float32)
        volume += np.tensordot(amplitudes, planted, 1)
        row[:] = smoothed(volume, fwhm)[mask]
    series -= series.mean(axis=0)
    series /= series.std(axis=0)
    return series


def judged(maps: FloatArray, kept: BoolArray, truth: FloatArray) -> list[tuple[float, float]]:
    """Return what is false of what is kept, and what is kept of the core, of each planted map."""
    r = np.abs(np.corrcoef(truth, maps)[: len(truth), len(truth) :])
    shares = []
    for which, index in zip(*linear_sum_assignment(-r), strict=True):
        if r[which, index] >= FOUND_R and kept[index].any():
            height = truth[which] / truth[which].max()
            false = np.mean(height[kept[index]] < SUPPORT)
            shares.append((float(false), float(np.mean(kept[index][height >= CORE]))))
    return shares


def study(arguments: argparse.Namespace, n_regions: int) -> str:
    """Make a table: a row for each smoothing and rule, over all seeds."""
    mask, rows = brain(), []
    for fwhm in arguments.smoothing:
        results: dict[str, list[tuple[int, float, list[tuple[float, float]]]]] = {
            rule: [] for rule in RULES
        }
        n_maps = 0
        for seed in range(arguments.seeds):
            rng = np.random.default_rng([seed, n_regions, int(10 * fwhm)])
            planted = arguments.gain * plant(mask, n_regions, rng)
            runs = [
                simulate(mask, planted, arguments.volumes, fwhm, rng)
                for _ in range(arguments.participants)
            ]
            maps = CanICA(n_components=arguments.components).fit(runs).components_
            n_maps += len(maps)
            truth = np.array([smoothed(one, fwhm)[mask] for one in planted])
            for rule in RULES:
                kept = apply_rule(maps, parse_rule(rule)).maps != 0
                found = judged(maps, kept, truth) if n_regions else []
                results[rule].append((int(kept.any(axis=1).sum()), float(kept.mean()), found))
        for rule, parts in results.items():
            found = [shares for part in parts for shares in part[2]]
            rows.append(
                [
                    f"{fwhm:g} mm" if fwhm else "none",
                    f"`{rule}`",
                    f"{sum(part[0] for part in parts)} of {n_maps}",
                    f"{100 * np.mean([part[1] for part in parts]):.2g} %",
                    *_cells(found, n_regions * arguments.seeds),
                ]
            )
    header = ["smoothing", "rule", "maps that keep voxels", "voxels kept"]
    planted = ["planted maps found", "false among voxels kept", "kept of the core"]
    return table([*header, *(planted if n_regions else [])], rows)


def _cells(found: Sequence[tuple[float, float]], n_planted: int) -> list[str]:
    if not n_planted:
        return []
    columns = [
        f"{np.mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        for shares in zip(*found, strict=True)
    ]
    return [f"{len(found)} of {n_planted}", *columns]


def main() -> None:
    """Read the command line, and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--participants", type=int, default=8)
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--regions", type=int, default=14, help="planted in the second table")
    parser.add_argument("--gain", type=float, default=1.0, help="sd of signal at their centres")
    parser.add_argument("--smoothing", type=float, nargs="+", default=[0, 6, 10, 14, 19])
    parser.add_argument("--seeds", type=int, default=2, help="groups of each kind")
    arguments = parser.parse_args()
    print(f"### Independent noise\n\n{study(arguments, 0)}\n", flush=True)
    print(f"### Planted regions\n\n{study(arguments, arguments.regions)}", flush=True)


if __name__ == "__main__":
    main()
