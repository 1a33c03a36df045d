"""How often noise exceeds a threshold, and how often it should: ``null_calibration.py``.

Each section is a table; voxels are noise, autoregressive of order one.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from common import table
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from nidecomp.projection.dual_regression import (
    chance_map_r,
    effect_maps,
    map_correlations,
    run_maps,
    time_courses,
)
from nidecomp.projection.fixed_effects import combine
from nidecomp.runs.clean import clean, orthonormal_basis, polynomials

_THRESHOLD = 3.09
_NOMINAL = 2 * float(stats.norm.sf(_THRESHOLD))
_N_COMPONENTS, _N_CONFOUNDS = 4, 6
# Discarded, so that the series is stationary.
_BURN_IN = 100


@dataclass(frozen=True)
class Null:
    """A run of noise."""

    series: NDArray[np.float32]
    courses: NDArray[np.float64]
    nuisance: NDArray[np.float64]
    kept: NDArray[np.intp]


def autoregressive(
    rng: np.random.Generator, n_volumes: int, n_columns: int, correlation: float
) -> NDArray[np.float64]:
    """Simulate AR(1) series, (n_volumes, n_columns)."""
    white = rng.standard_normal((n_volumes + _BURN_IN, n_columns))
    return np.asarray(lfilter([1.0], [1.0, -correlation], white, axis=0)[_BURN_IN:])


def null_run(
    rng: np.random.Generator, dof: int, correlation: float, n_voxels: int, *, gaps: bool
) -> Null:
    """Simulate a run with these residual degrees of freedom, a fifth of it scrubbed for `gaps`."""
    n_kept = dof + _N_COMPONENTS + _N_CONFOUNDS + 2
    n_volumes = n_kept * 5 // 4 if gaps else n_kept
    kept = np.sort(rng.permutation(n_volumes)[:n_kept])
    confounds = autoregressive(rng, n_volumes, _N_CONFOUNDS, correlation)
    nuisance = orthonormal_basis(np.column_stack([polynomials(n_volumes), confounds])[kept])
    courses = autoregressive(rng, n_volumes, _N_COMPONENTS, correlation)[kept]
    courses -= nuisance @ (nuisance.T @ courses)
    series = autoregressive(rng, n_volumes, n_voxels, correlation)[kept].astype(np.float32)
    return Null(clean(series, nuisance).series, courses, nuisance, kept)


def plain(run: Null) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return effects, variances and degrees of freedom as for white noise."""
    inverse = np.linalg.inv(run.courses.T @ run.courses)
    effect = inverse @ run.courses.T @ run.series
    residual = run.series - run.courses @ effect
    dof = len(run.kept) - run.nuisance.shape[1] - _N_COMPONENTS
    return effect, np.outer(np.diag(inverse), np.sum(residual**2, axis=0) / dof), dof


def exceedances(runs: list[Null]) -> tuple[float, float]:
    """Return the shares of |z| above the threshold: for white noise, and as NiDecomp has them."""
    found, before = [], []
    for run in runs:
        effect = effect_maps(run.series, run.courses)
        found.append((effect, *run_maps(run.series, run.courses, effect, run.nuisance, run.kept)))
        before.append(plain(run))
    if len(runs) == 1:
        own, variance, dof = before[0]
        z = np.asarray(stats.norm.isf(stats.t.sf(np.abs(own) / np.sqrt(variance), dof)))
        return _share(z), _share(found[0][1].z)
    weights = [1 / variance for _, variance, _ in before]
    total = np.sum(weights, axis=0)
    weighted = np.sum([w * one for w, (one, _, _) in zip(weights, before, strict=True)], axis=0)
    both, _ = combine([one[0] for one in found], [one[2] for one in found])
    return _share(weighted / np.sqrt(total)), _share(both.z)


def _share(z: NDArray[np.floating]) -> float:
    return float(np.mean(np.abs(z) > _THRESHOLD))


def z_maps(repeats: int, n_voxels: int) -> str:
    """Return how often |z| exceeds the threshold in noise, relative to the nominal rate."""
    header = ["runs", "scrubbing", "degrees of freedom", "AR(1) 0", "0.2", "0.4", "0.6"]
    about = (
        f"P(|z| > {_THRESHOLD}) / {_NOMINAL:.4f}: t of white noise, runs weighted each by its own "
        "variance → as it is"
    )
    return f"{about}\n\n{table(header, _z_maps(repeats, n_voxels))}"


def _z_maps(repeats: int, n_voxels: int) -> Iterator[list[str]]:
    for n_runs, gaps in ((1, False), (1, True), (2, False), (2, True)):
        for dof in (5, 10, 24, 50, 100):
            cells = []
            for correlation in (0.0, 0.2, 0.4, 0.6):
                rng = np.random.default_rng([n_runs, gaps, dof, int(100 * correlation)])
                shares = [
                    exceedances(
                        [
                            null_run(rng, dof, correlation, n_voxels, gaps=gaps)
                            for _ in range(n_runs)
                        ]
                    )
                    for _ in range(repeats)
                ]
                before, after = np.mean(shares, axis=0) / _NOMINAL
                cells.append(f"{before:.1f} → {after:.1f}")
            yield [str(n_runs), "yes" if gaps else "no", str(dof), *cells]


def own_maps(repeats: int, n_voxels: int) -> str:
    """Return how similar the own maps of white noise are to the group's, which they depend on."""
    header = [
        "degrees of freedom",
        "map_r",
        "its chance level",
        "mean abs z where abs map > 3",
        "else",
    ]
    about = "White noise projected to sparse maps that do not overlap"
    return f"{about}\n\n{table(header, _own_maps(repeats, n_voxels))}"


def _own_maps(repeats: int, n_voxels: int) -> Iterator[list[str]]:
    for dof in (24, 50, 100):
        rng = np.random.default_rng(dof)
        r, inside, outside = [], [], []
        for _ in range(repeats):
            maps = 0.3 * rng.standard_normal((_N_COMPONENTS, n_voxels))
            for index, one in enumerate(maps):
                one[50 * index :][:50] = 5
            maps = (maps / maps.std(axis=1, keepdims=True)).astype(np.float32)
            run = null_run(rng, dof, 0.0, n_voxels, gaps=False)
            courses = time_courses(run.series, maps, 1.0).values
            effect = effect_maps(run.series, courses)
            z = run_maps(run.series, courses, effect, run.nuisance, run.kept)[0].z
            r.append(map_correlations(effect, maps).mean())
            strong = np.abs(maps) > 3
            inside.append(np.abs(z[strong]).mean())
            outside.append(np.abs(z[~strong]).mean())
        chance = float(chance_map_r(dof, n_voxels))
        found = (np.mean(r), chance, np.mean(inside), np.mean(outside))
        yield [str(dof), *(f"{value:.2f}" for value in found)]


SECTIONS = {"z-maps": z_maps, "own-maps": own_maps}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sections", nargs="*", help=f"(default: {' '.join(SECTIONS)})")
    parser.add_argument("--repeats", type=int, default=40, help="simulated designs of each cell")
    parser.add_argument("--voxels", type=int, default=2000)
    arguments = parser.parse_args()
    for name in arguments.sections or SECTIONS:
        print(f"## {name}\n\n{SECTIONS[name](arguments.repeats, arguments.voxels)}\n", flush=True)


if __name__ == "__main__":
    main()
