"""How principal components of runs are best weighted in the group: ``weighting.py --nprocs 2``.

Simulates groups as ``model_order.py`` does, with and without nuisance of each participant's own,
and fits both methods to the group and to halves of it, for several weights and numbers of principal
components. Prints how alike the maps of the halves are, and how near the group's are to the truth.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from common import table
from model_order import RECOVERED_R, Float32Array, Group, planted_maps, simulated_rows, sources
from numpy.typing import NDArray
from support import matched_correlations
from threadpoolctl import threadpool_limits

from nidecomp.config.science import METHODS, DecompositionOptions, Method
from nidecomp.core.errors import NidecompError
from nidecomp.decomposition.fit import fit_subspaces
from nidecomp.decomposition.stability import split_halves
from nidecomp.decomposition.subspace import Subspace, SubspaceStream

Array = NDArray[np.float64]
N_ROWS = 100
"""Principal components that each simulated run has."""


# ---------------------------------------------------------------- the weights that are compared
def power(exponent: float, singular: Array, n_components: int) -> Array:
    """Give norms that are a power of the singular values."""
    del n_components
    return np.asarray(singular**exponent)


def ridge(strength: float, singular: Array, n_components: int) -> Array:
    """Give norms that are those of a canonical correlation analysis with a ridge.

    The ridge is so many times the mean variance of the rows that follow the leading k.
    """
    squared = singular**2
    noise = squared[n_components : 2 * n_components].mean()
    return np.asarray(np.sqrt(squared / (squared + strength * noise)))


@dataclass(frozen=True)
class Weighting:
    """Norms of the rows of the ICA's subspace and dictionary learning's, and rows per component."""

    name: str
    of_ica: Callable[[Array, int], Array]
    of_dictionary: Callable[[Array, int], Array]
    rows: float


UNIT, SQRT, SINGULAR = (partial(power, exponent) for exponent in (0.0, 0.5, 1.0))
WEIGHTINGS = (
    Weighting("unit, k (--pca-weighting unit)", UNIT, SINGULAR, 1),
    Weighting("unit, 2k", UNIT, SINGULAR, 2),
    Weighting("√s, k", SQRT, SQRT, 1),
    Weighting("√s, 2k (the default)", SQRT, SQRT, 2),
    Weighting("√s, 3k", SQRT, SQRT, 3),
    Weighting("√s, 2k; s for dictionary learning", SQRT, SINGULAR, 2),
    Weighting("s, 2k", SINGULAR, SINGULAR, 2),
    Weighting("ridge of 1, 2k", partial(ridge, 1.0), partial(ridge, 1.0), 2),
    Weighting("ridge of 2, 2k", partial(ridge, 2.0), partial(ridge, 2.0), 2),
    Weighting("ridge of 4, 2k", partial(ridge, 4.0), partial(ridge, 4.0), 2),
)


def levelled(norms: Array, variance: float) -> Array:
    """Give norms whose sum of squares is the variance that enters."""
    return np.asarray(norms * np.sqrt(variance / np.sum(norms**2)))


def subspace(
    runs: Sequence[Float32Array], of_rows: Callable[[Array, int], Array], rows: float, k: int
) -> Subspace:
    """Compute the group's subspace with these norms of rows."""
    stream = SubspaceStream(runs[0].shape[1], DecompositionOptions().kept_dims(k))
    for run in runs:
        singular = np.linalg.norm(run, axis=1).astype(np.float64)
        n_rows = min(round(rows * k), len(run))
        norms = of_rows(singular[: max(n_rows, 2 * k)], k)[:n_rows]
        if of_rows is not UNIT:
            norms = levelled(norms, float(np.sum(singular[:n_rows] ** 2)))
        stream.add(run[:n_rows] * (norms / singular[:n_rows])[:, None].astype(np.float32))
    return stream.finish()


def fit(runs: Sequence[Float32Array], weighting: Weighting, k: int) -> dict[Method, Float32Array]:
    """Fit both methods."""
    of_ica = subspace(runs, weighting.of_ica, weighting.rows, k)
    own = subspace(runs, weighting.of_dictionary, weighting.rows, k)
    settings = DecompositionOptions(n_components=(k,))
    found = fit_subspaces(of_ica, dict.fromkeys(METHODS, own), k, settings, 1, warn=False)
    return {one.method: one.maps for one in found}


# ---------------------------------------------------------------- groups
@dataclass(frozen=True)
class Score:
    """Mean |r| between halves, and |r| of each planted map with the group's."""

    halves: float
    truth_r: Array


def judge(group: Group, n_components: int, n_splits: int) -> dict[tuple[str, Method], Score]:
    """Simulate a group, and score every weighting and method."""
    with threadpool_limits(limits=1):
        rng = np.random.default_rng([group.seed, group.order])
        head = sources(group, rng)
        runs = [simulated_rows(group, head, rng) for _ in range(group.n_participants)]
        planted = planted_maps(group, head)
        splits = split_halves([f"{index:03d}" for index in range(len(runs))], n_splits, 0)
        scores: dict[tuple[str, Method], Score] = {}
        for weighting in WEIGHTINGS:
            try:
                whole = fit(runs, weighting, n_components)
                pairs = [
                    [fit([runs[int(who)] for who in half], weighting, n_components) for half in two]
                    for two in splits
                ]
            except NidecompError as error:
                print(f"{weighting.name}, {group}: {error}", file=sys.stderr)
                continue
            for method in METHODS:
                r = [matched_correlations(one[method], two[method]).mean() for one, two in pairs]
                scores[weighting.name, method] = Score(
                    float(np.mean(r)), matched_correlations(planted, whole[method])
                )
        return scores


def groups(seeds: int) -> dict[str, list[tuple[Group, int]]]:
    """Give the groups of each study, and how many components are fitted to each."""
    base = Group(order=16, n_participants=12, n_rows=N_ROWS)
    kinds = {
        "16 networks, no nuisance": (replace(base, nuisance=0), 16),
        "16 networks, no nuisance, noise 2": (replace(base, nuisance=0, noise=2.0), 16),
        "16 networks, no nuisance, 20 components": (replace(base, nuisance=0), 20),
        "16 networks, weak nuisance (0.5)": (replace(base, nuisance_amplitude=0.5), 16),
        "16 networks, strong nuisance (1.5)": (base, 16),
        "26 networks, strong nuisance (1.5)": (replace(base, order=26), 26),
    }
    return {
        name: [(replace(group, seed=seed), k) for seed in range(seeds)]
        for name, (group, k) in kinds.items()
    }


def main() -> None:
    """Read the command line and print a table for each kind of group."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--nprocs", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.nprocs) as pool:
        for name, same in groups(arguments.seeds).items():
            scores = list(
                pool.map(
                    partial(judge, n_splits=arguments.splits),
                    [group for group, _ in same],
                    [k for _, k in same],
                )
            )
            print(f"### {name}\n\n{as_table(scores)}\n", flush=True)


def as_table(scores: Sequence[dict[tuple[str, Method], Score]]) -> str:
    """Give a row for each weighting: means over groups."""
    rows = []
    for weighting in WEIGHTINGS:
        row: list[object] = [weighting.name]
        for method in METHODS:
            found = [
                one[weighting.name, method] for one in scores if (weighting.name, method) in one
            ]
            r = np.array([one.truth_r for one in found])
            row += [
                f"{np.mean([one.halves for one in found]):.3f}",
                f"{np.median(r, axis=1).mean():.3f}",
                f"{r.mean():.3f}",
                f"{(r >= RECOVERED_R).sum(axis=1).mean():.1f}",
            ]
        rows.append(row)
    head = [""] + [
        f"{method}: {what}"
        for method in METHODS
        for what in ("halves", "truth, median", "mean", f"found (r ≥ {RECOVERED_R})")
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
