"""Designs, data and spaces for tests of the comparison of participants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.data import DecompositionData, RowFiles
from nidecomp.comparison.records import Contrast, Design, Measured
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.execution import Execution
from nidecomp.config.request import Request
from nidecomp.config.science import DecompositionOptions, Science
from nidecomp.config.settings import Settings
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace


def design_of(
    matrix: NDArray[np.float64], *weights: Sequence[Any], blocks: Sequence[str] = ()
) -> Design:
    """Return a design with a contrast for each of the weights."""
    contrasts = tuple(
        Contrast(f"c{number}", f"test {number}", np.atleast_2d(np.array(one, dtype=float)))
        for number, one in enumerate(weights)
    )
    return Design(
        formula="",
        people=tuple(
            Measured(f"{number:03d}", (f"sub-{number:03d}",)) for number in range(len(matrix))
        ),
        matrix=np.asarray(matrix, dtype=float),
        columns=tuple(f"x{number}" for number in range(matrix.shape[1])),
        contrasts=contrasts,
        blocks=tuple(blocks),
        blocks_column="site" if blocks else "",
    )


def two_groups(n: int = 20, seed: int = 0, n_covariates: int = 1) -> Design:
    """Return intercept, group and covariates; the group is tested."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 2
    covariates = rng.standard_normal((n, n_covariates))
    matrix = np.column_stack([np.ones(n), group, covariates])
    return design_of(matrix, [0, 1] + [0] * n_covariates)


def one_sample(n: int = 12) -> Design:
    """Return the mean, which is tested by flipping signs."""
    return design_of(np.ones((n, 1)), [1])


def cube(side: int = 6) -> VoxelSpace:
    """Return all voxels of a cube."""
    affine = tuple(map(tuple, np.diag([3.0, 3, 3, 1]).tolist()))
    return VoxelSpace(
        Grid((side,) * 3, affine), np.ones((side,) * 3, dtype=bool), "MNI152NLin2009cAsym"
    )


class Here:
    """An executor that does all in this process."""

    def map_unordered(self, func: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        yield from map(func, items)


def request_of(folder: Path, seed: int = 0, **options: Any) -> Request:
    """Return a request with options of the comparison."""
    given = {"n_permutations": 100, "n_tfce_permutations": 50, "model": "x", **options}
    science = Science(
        decomposition=DecompositionOptions(random_seed=seed),
        comparison=ComparisonOptions(**given),
    )
    execution = Execution(work_dir=str(folder / "work"))
    settings = Settings(folder, folder / "out", "group", science, execution)
    return Request(settings, science)


def data_of(
    folder: Path,
    maps: NDArray[np.float32],
    *,
    families: Sequence[int] | None = None,
    minus: NDArray[np.float32] | None = None,
    **more: Any,
) -> DecompositionData:
    """Write maps, (n_people, n_components, n_features), and return them as data."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, one in enumerate(maps):
        np.save(folder / f"{number}.npy", one.astype(np.float32))
        subtracted = None
        if minus is not None:
            subtracted = folder / f"{number}_minus.npy"
            np.save(subtracted, minus[number].astype(np.float32))
        rows.append(RowFiles(folder / f"{number}.npy", subtracted))
    kept = range(maps.shape[1]) if families is None else families
    return DecompositionData(tuple(kept), tuple(rows), **more)
