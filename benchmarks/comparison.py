"""Measure how long it takes to compare participants' maps, and how much memory.

Simulated smooth maps of 235,000 voxels of 2 mm; two groups and a covariate. And in pairs, one after
the other on the same data, what a permutation with TFCE takes here and with nilearn.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import table
from nilearn.maskers import NiftiMasker
from nilearn.mass_univariate import permuted_ols
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "comparison"))

import nibabel as nib
from design_examples import request_of, two_groups

from nidecomp.comparison.compare import compare
from nidecomp.comparison.data import DecompositionData, RowFiles
from nidecomp.comparison.features import feature_kinds
from nidecomp.comparison.glm import linear_test, statistic_maps
from nidecomp.comparison.largest_enhancement import largest_enhancement
from nidecomp.comparison.transformations import draw_transformations
from nidecomp.execution.local import LocalProcesses
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

_SHAPE = (97, 115, 97)
_N_VOXELS = 235_000
_SIGMA_VOXELS = 1.3


def brain() -> VoxelSpace:
    """Return an ellipsoid with as many voxels as a brain."""
    places = np.indices(_SHAPE)
    middle = (np.array(_SHAPE) - 1) / 2
    far = sum(((places[axis] - middle[axis]) / middle[axis]) ** 2 for axis in range(3))
    mask = far < np.partition(far.ravel(), _N_VOXELS)[_N_VOXELS]
    affine = tuple(map(tuple, np.diag([2.0, 2, 2, 1]).tolist()))
    return VoxelSpace(Grid(_SHAPE, affine), mask, "MNI152NLin2009cAsym")


def smooth_maps(space: VoxelSpace, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Return maps of noise, (n, n_features)."""
    images = (rng.standard_normal(_SHAPE).astype(np.float32) for _ in range(n))
    return np.stack([gaussian_filter(one, _SIGMA_VOXELS).T[space.mask.T] for one in images])


def whole(asked: argparse.Namespace, folder: Path) -> list[str]:
    """Compare as many components as asked for, with all permutations."""
    space, rng = brain(), np.random.default_rng(0)
    rows = []
    for person in range(asked.people):
        np.save(folder / f"{person}.npy", smooth_maps(space, rng, asked.components))
        rows.append(RowFiles(folder / f"{person}.npy"))
    data = DecompositionData(tuple(range(asked.components)), tuple(rows))
    request = request_of(
        folder, n_permutations=asked.permutations, n_tfce_permutations=asked.tfce_permutations
    )
    design = two_groups(asked.people)
    before, processor = time.perf_counter(), processor_s()
    compare(design, [data], space, request, LocalProcesses(asked.processes))
    peaks = [resource.getrusage(whom).ru_maxrss / 1e3 for whom in (_SELF, _CHILDREN)]
    return [
        str(asked.components),
        f"{(time.perf_counter() - before) / 60:.1f}",
        f"{(processor_s() - processor) / 60:.1f}",
        " + ".join(f"{peak:.0f}" for peak in peaks),
    ]


_SELF, _CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def processor_s() -> float:
    """Return the processor time of this process and of those that have ended."""
    used = [resource.getrusage(whom) for whom in (_SELF, _CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def pairs(n_people: int, n_pairs: int) -> list[list[str]]:
    """Return the processor time of a permutation with TFCE: nilearn's, and ours of 16."""
    space, rng = brain(), np.random.default_rng(1)
    data = smooth_maps(space, rng, n_people)
    design = two_groups(n_people)
    drawn = draw_transformations(design, 100, 0)
    (kind,) = feature_kinds(space, np.ones(space.n_features, dtype=bool))
    image = nib.Nifti1Image(space.mask.astype(np.uint8), space.grid.matrix)
    masker = NiftiMasker(image).fit()
    # nilearn's masker has another order of voxels.
    order = np.arange(space.n_features)
    volume = np.zeros(_SHAPE, dtype=np.int64)
    volume.T[space.mask.T] = order
    theirs_of_ours = volume[space.mask]
    test = linear_test(design, design.contrasts[0], drawn.kind)
    residuals = test.residuals(data).astype(np.float32)
    rows = []
    with threadpool_limits(1):
        # Compiled with the first call.
        largest_enhancement(statistic_maps(test, residuals, drawn, slice(0, 1)), kind)
        for number in range(n_pairs):
            spent = [_nilearn_s(design.matrix, data[:, theirs_of_ours], masker, n) for n in (1, 4)]
            before = time.process_time()
            for start in range(0, 32, 16):
                maps = statistic_maps(test, residuals, drawn, slice(start, start + 16))
                largest_enhancement(maps, kind)
            ours = (time.process_time() - before) / 32
            # Both have the same that is done once.
            theirs = (spent[1] - spent[0]) / 3
            rows.append([str(number + 1), f"{theirs:.1f}", f"{ours:.3f}", f"{theirs / ours:.0f}"])
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _nilearn_s(
    matrix: NDArray[np.float64], data: NDArray[np.float32], masker: NiftiMasker, n: int
) -> float:
    before = time.process_time()
    permuted_ols(
        matrix[:, [1]], data, matrix[:, 2:], model_intercept=True, n_perm=n, n_jobs=1,
        masker=masker, tfce=True, output_type="dict", random_state=0,
    )  # fmt: skip
    return time.process_time() - before


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--components", type=int, default=2)
    parser.add_argument("--permutations", type=int, default=5000)
    parser.add_argument("--tfce-permutations", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=2, help="comparisons with nilearn; 0: none")
    asked = parser.parse_args()
    if asked.components:
        with TemporaryDirectory() as folder:
            row = whole(asked, Path(folder))
        header = ["components", "minutes", "processor minutes", "peak MB of this and a process"]
        print(table(header, [row]), "\n", flush=True)
    if asked.pairs:
        header = ["pair", "nilearn, s", "NiDecomp, s", "times as fast"]
        print(table(header, pairs(asked.people, asked.pairs)))


if __name__ == "__main__":
    main()
