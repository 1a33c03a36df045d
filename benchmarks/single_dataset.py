"""Whether the flag single-dataset finds what only one dataset has: ``single_dataset.py``.

Simulates reduced runs of groups of several datasets on the 8 mm grid: networks that all have, of
which participants lack some, and others that only one dataset has. Each dataset has a sensitivity
profile and noise of its own, as scanners do. Prints |r| of maps with their match in the fit without
each dataset, and how often the flag is raised. ``--quick`` takes a minute or two.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import common  # noqa: F401  it finds the modules of the tests
import numpy as np
import pandas as pd
from demo import load_head
from numpy.typing import NDArray
from participants import smooth_field
from run_examples import run_of
from scipy import ndimage

from nidecomp.annotation.noise_flags import is_of_single_dataset
from nidecomp.config.science import DecompositionOptions, EvidenceOptions, Science
from nidecomp.core.records import ReducedRun, RunKey
from nidecomp.core.reduced_runs import RunVolumes, store_reduced
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.reproducibility import judge_reproducibility
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

Array = NDArray[np.float64]
N_VOLUMES, SMOOTHING_VOXELS, VOXEL_MM = 120, 0.35, 8.0
FOUND_R = 0.5
"""A map is a planted one if their |r| is at least this, matched one to one."""
N_SHARED, N_SINGLE, SURPLUS = 12, 2, 3
ABSENT = 0.1
"""Chance of each network to be missing in a participant."""


@dataclass(frozen=True)
class Group:
    """A group of datasets: participants of each, strength of what one of them has, noise."""

    sizes: tuple[int, ...]
    gain: float
    noise: float
    seed: int

    @property
    def single_in(self) -> int:
        """The dataset that has networks of its own."""
        return self.seed % len(self.sizes)


def planted() -> tuple[Array, NDArray[np.bool_], Array]:
    """Return maps within the mask, shape (n_maps, n_voxels), maximum 1; the mask; the affine."""
    head = load_head()
    maps = np.concatenate([head.networks, head.nuisance], axis=3)
    return maps[head.mask].T[: N_SHARED + N_SINGLE], head.mask, head.affine


def simulate(group: Group, folder: Path) -> list[ReducedRun]:
    """Write the reduced runs of a group, one for each participant."""
    maps, mask, _ = planted()
    rng = np.random.default_rng(group.seed)
    runs = []
    for number, size in enumerate(group.sizes):
        # A scanner: what it sees of each place, and its noise.
        sensitivity = np.exp(0.3 * smooth_field(mask.shape, 6.0, rng)[mask])
        noise = group.noise * rng.uniform(0.7, 1.4)
        for participant in range(size):
            strength = rng.uniform(0.6, 1.4, len(maps)) * (rng.random(len(maps)) >= ABSENT)
            strength[N_SHARED:] *= group.gain * (number == group.single_in)
            courses = rng.standard_normal((N_VOLUMES, len(maps))) * strength
            series = (courses @ maps + noise * fields(mask, rng)) * sensitivity
            series -= series.mean(axis=0)
            series /= series.std(axis=0)
            key = RunKey((("sub", f"{number}x{participant:02d}"), ("task", "rest")), str(number))
            runs.append(write_run(folder / f"{key.label}.npy", key, series))
    return runs


def fields(mask: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Return volumes of noise that is as smooth as images, with a standard deviation of 1."""
    white = rng.standard_normal((N_VOLUMES, *mask.shape))
    smooth = ndimage.gaussian_filter(white, (0, *3 * (SMOOTHING_VOXELS,)))[:, mask]
    return np.asarray(smooth / smooth.std())


def write_run(path: Path, key: RunKey, series: Array) -> ReducedRun:
    """Reduce a series and store it as the reduce step does."""
    n_rows = 2 * (N_SHARED + N_SINGLE + SURPLUS)
    volumes, singular, rows = np.linalg.svd(series, full_matrices=False)
    squared = tuple((singular[:n_rows] ** 2).tolist())
    total = float((singular**2).sum())
    run = ReducedRun(run_of(key), path, 6.0, n_rows, series.shape[1], total, squared, 0, 0)
    leading = (singular[:n_rows, None] * rows[:n_rows]).astype(np.float32)
    courses = volumes[:, :n_rows].astype(np.float32)
    times_s = 2.0 * np.arange(N_VOLUMES)
    store_reduced(run, leading, RunVolumes(courses, times_s, np.zeros((N_VOLUMES, 0))))
    return run


def judged(group: Group, folder: Path) -> tuple[Components, ...]:
    """Return the decompositions of a group with their evidence."""
    runs = simulate(group, folder)
    _, mask, affine = planted()
    rows = tuple(tuple(row) for row in affine.tolist())
    space = VoxelSpace(Grid(mask.shape, rows), mask, "MNI152NLin2009cAsym")
    science = Science(
        decomposition=DecompositionOptions(
            n_components=(N_SHARED + N_SINGLE + SURPLUS,), n_init=3, random_seed=group.seed
        ),
        evidence=EvidenceOptions(n_splits=5),
    )
    plan = GroupPlan(n_threads=2)
    return judge_reproducibility(fit_group(runs, science, plan), runs, science, space, plan)


def found(group: Group) -> Iterator[dict[str, object]]:
    """Yield a row for each map that is a planted one."""
    truth, _, _ = planted()
    with tempfile.TemporaryDirectory() as folder:
        for components in judged(group, Path(folder)):
            evidence = components.evidence
            if evidence is None or evidence.datasets is None:
                continue
            r = np.abs(np.corrcoef(truth, components.maps)[: len(truth), len(truth) :])
            halves = evidence.halves.reproducibility.mean(axis=0)
            for index in range(components.n_components):
                which = int(r[:, index].argmax())
                if r[which, index] < FOUND_R:
                    which = -1
                without = float(evidence.datasets.reproducibility[index])
                share = float(evidence.datasets.share_of_largest[index])
                without_largest = float(evidence.datasets.r_without_largest[index])
                yield {
                    "sizes": "+".join(map(str, group.sizes)),
                    "gain": group.gain,
                    "noise": group.noise,
                    "method": components.method,
                    "kind": "none" if which < 0 else "shared" if which < N_SHARED else "single",
                    "halves": float(halves[index]),
                    "chance": evidence.halves.chance,
                    "without": without,
                    "share": share,
                    "at_chance": bool(components.at_chance[index]),
                    "flagged": is_of_single_dataset(without_largest, share)
                    and not components.at_chance[index],
                }


def main() -> None:
    """Simulate all groups and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="TSV with a row for each map")
    given = parser.parse_args()
    sizes = [(8, 8, 8), (5, 5, 5), (12, 6, 6), (8, 8), (10, 5), (16, 4), (4, 4, 4, 4)]
    groups = [
        Group(size, gain, noise, seed)
        for size in (sizes[:1] if given.quick else sizes)
        for gain in ((1.0,) if given.quick else (0.7, 1.5))
        for noise in ((0.5,) if given.quick else (0.5, 2.0))
        for seed in range(given.seed, given.seed + (1 if given.quick else 2))
    ]
    rows = pd.DataFrame([row for group in groups for row in found(group)])
    if given.out:
        rows.to_csv(given.out, sep="\t", index=False)
    summary = rows.groupby(["sizes", "kind", "method"]).agg(
        maps=("without", "size"),
        lowest=("without", "min"),
        median=("without", "median"),
        highest=("without", "max"),
        halves=("halves", "median"),
        lowest_share=("share", "min"),
        highest_share=("share", "max"),
        at_chance=("at_chance", "mean"),
        flagged=("flagged", "mean"),
    )
    print(summary.round(2).to_string())


if __name__ == "__main__":
    main()
