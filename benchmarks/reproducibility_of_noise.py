"""How often do maps of noise exceed their chance level? ``reproducibility_of_noise.py --seeds 2``.

Groups of participants are simulated whose runs are unrelated smooth noise on the demo's mask, and
are fitted and judged as any other. For each smoothing, the table shows the mean reproducibility of
the maps, the largest one, their chance level, and how many maps exceed it (nominal: at most 5 %),
and what bootstrap samples say of the same maps.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from common import table
from demo import load_head
from run_examples import run_of
from scipy import ndimage

from nidecomp.config.science import DecompositionOptions, EvidenceOptions, Science
from nidecomp.core.packed import pack
from nidecomp.core.records import ReducedRun, RunKey
from nidecomp.core.reduced_runs import RunVolumes, store_reduced
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.reproducibility import judge_reproducibility
from nidecomp.runs.clean import orthonormal_basis, polynomials
from nidecomp.runs.gram import cleaned_gram
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

N_VOLUMES, N_COMPONENTS, SIGMA_OF_FWHM = 100, 20, 1 / 2.3548
MARGIN = 12


def reduced_noise(
    folder: Path, space: VoxelSpace, label: str, fwhm: float, rng: np.random.Generator
) -> ReducedRun:
    """Simulate a run of noise, and reduce it as the reduce step does."""
    around = [size + 2 * MARGIN for size in space.grid.shape]
    inner = (slice(MARGIN, -MARGIN),) * 3
    voxel_mm = space.grid.voxel_mm3 ** (1 / 3)
    series = np.empty((N_VOLUMES, space.n_features), dtype=np.float32)
    for volume in series:
        noise = rng.standard_normal(around, dtype=np.float32)
        if fwhm:
            noise = ndimage.gaussian_filter(noise, fwhm * SIGMA_OF_FWHM / voxel_mm)
        volume[:] = space.features(noise[inner])
    cleaned = cleaned_gram(pack(series), orthonormal_basis(polynomials(N_VOLUMES)))
    leading = cleaned.principal_components(N_COMPONENTS)
    run = ReducedRun(
        run_of(RunKey((("sub", label), ("task", "rest")))), folder / f"{label}.npy", 6.0,
        N_COMPONENTS, space.n_features, leading.total_variance, tuple(leading.squared.tolist()),
        0, 0,
    )  # fmt: skip
    times_s = 2.0 * np.arange(N_VOLUMES)
    store_reduced(run, leading.rows, RunVolumes(leading.volumes, times_s, np.zeros((N_VOLUMES, 0))))
    return run


def judged_noise(n_participants: int, fwhm: float, seed: int) -> tuple[Components, ...]:
    """Return decompositions of noise, with their evidence."""
    head = load_head()
    affine = np.asarray(head.affine, dtype=float)
    space = VoxelSpace(
        Grid(head.mask.shape, tuple(map(tuple, affine.tolist()))), head.mask, "MNI152NLin2009cAsym"
    )
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            reduced_noise(Path(folder), space, f"{index:02d}", fwhm, rng)
            for index in range(n_participants)
        ]
        science = Science(
            decomposition=DecompositionOptions(n_components=(N_COMPONENTS,)),
            evidence=EvidenceOptions(n_bootstraps=3),
        )
        fitted = fit_group(runs, science, GroupPlan(2))
        return judge_reproducibility(fitted, runs, science, space, GroupPlan(2))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fwhm", type=float, nargs="+", default=[0.0, 6.0, 10.0, 14.0, 19.0])
    parser.add_argument("--participants", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    rows = []
    for fwhm in arguments.fwhm:
        judged = [
            judged_noise(arguments.participants, fwhm, seed) for seed in range(arguments.seeds)
        ]
        for of_method in zip(*judged, strict=True):
            halves = [one.evidence.halves for one in of_method if one.evidence]
            r = np.concatenate([one.reproducibility.mean(axis=0) for one in halves])
            above = sum(int((~one.at_chance).sum()) for one in of_method)
            rows.append(
                [
                    f"{fwhm:g}", of_method[0].method, f"{r.mean():.3f}", f"{r.max():.3f}",
                    f"{np.mean([one.chance for one in halves]):.3f}", f"{above} of {r.size}",
                    f"{np.mean([one.bootstrap.mean() for one in halves]):.2f}",
                ]
            )  # fmt: skip
    titles = [
        "smoothing (mm)",
        "method",
        "mean",
        "largest",
        "chance level",
        "above it",
        "bootstrap_r",
    ]
    print(table(titles, rows))


if __name__ == "__main__":
    main()
