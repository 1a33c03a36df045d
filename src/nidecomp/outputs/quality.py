"""Data quality of each run and each participant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.dataset_column import with_datasets
from nidecomp.outputs.inventory import COLUMNS
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.projection.dual_regression import chance_map_r
from nidecomp.projection.task import ProjectedRun

CHANCE_OF_MAP_R = (
    "Own maps are computed with time courses that the group maps gave, so that even a run of noise "
    "has a positive correlation: see map_r_chance in logs/quality.tsv"
)
QUALITY_TABLE = PurePosixPath("logs/quality.tsv")
QUALITY: dict[str, str] = {
    "run": COLUMNS["run"],
    "method": "Method of the decomposition: canica or dictlearning, or given for template maps",
    "scale": "Number of components of the decomposition",
    "explained_variance": "Share of the variance of the cleaned run that all maps together explain",
    "map_r": (
        f"Correlation of the run's own maps (dual regression) with the group maps, mean over "
        f"components. {CHANCE_OF_MAP_R}"
    ),
    "map_r_min": "The smallest of these correlations",
    "map_r_chance": (
        "Correlation of the own map of a run of noise with a group map, about √(n / (n + v)): n is "
        "the number of volumes kept minus regressors and components plus 1, v the number of "
        "independent values of maps as smooth as those of the group. It is lower for noise that "
        "is rougher than the maps, or where volumes are serially correlated"
    ),
    "tsnr": (
        "Temporal signal-to-noise ratio: median over voxels of mean / standard deviation over the "
        "volumes kept, computed on smoothed data before confounds are removed; n/a where it is "
        "below 1, because such data have no baseline (they were centred before)"
    ),
    "shrinkage": (
        "Coefficient by which the covariance of the run's time courses was shrunk (Ledoit-Wolf) "
        "for partial correlations and tangent matrices; n/a where neither was written"
    ),
    "n_volumes_kept": "Number of volumes after scrubbing and dropping",
    "mean_fd": COLUMNS["mean_fd"],
}
COMPONENTS_TABLE = PurePosixPath("logs/quality_components.tsv")
QUALITY_OF_COMPONENTS: dict[str, str] = {
    "run": QUALITY["run"],
    "method": QUALITY["method"],
    "scale": QUALITY["scale"],
    "component": "Name of the component",
    "map_r": (
        f"Correlation of the run's own map (dual regression) with the group map. {CHANCE_OF_MAP_R}"
    ),
    "amplitude": (
        "Standard deviation of the component's time course over the volumes kept, in units of the "
        "cleaned run (voxels have unit variance), with n - 1 in the denominator; always 1 with "
        "--normalise-time-courses"
    ),
}


def write_quality(
    tree: OutputTree, result: GroupResult, shrinkages: Sequence[Sequence[float]]
) -> None:
    """Write the tables of runs and of their components.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
    shrinkages : sequence of sequence of float
        For each decomposition, the coefficient of each run (see `write_connectomes`).
    """
    in_words = result.space.measure.in_words
    of_runs = with_datasets(
        result, {**QUALITY, "tsnr": in_words(QUALITY["tsnr"])}, quality_rows(result, shrinkages)
    )
    tree.write_table(QUALITY_TABLE, *of_runs, units={"mean_fd": "mm"})
    columns = {name: in_words(text) for name, text in QUALITY_OF_COMPONENTS.items()}
    of_components = with_datasets(result, columns, component_rows(result))
    tree.write_table(COMPONENTS_TABLE, *of_components)


def component_rows(result: GroupResult) -> Iterator[Mapping[str, object]]:
    """Yield a row for each component of each decomposition in each run."""
    for index, components in enumerate(result.components):
        for projected in result.projected:
            found = projected.projections[index]
            amplitudes = found.courses.std(axis=0, ddof=1)
            for name, map_r, amplitude in zip(
                components.names, found.map_r, amplitudes, strict=True
            ):
                yield {
                    "run": projected.run.label,
                    "method": components.method,
                    "scale": components.n_components,
                    "component": name,
                    "map_r": float(map_r),
                    "amplitude": float(amplitude),
                }


def quality_rows(
    result: GroupResult, shrinkages: Sequence[Sequence[float]]
) -> list[Mapping[str, object]]:
    """Return a row for each run and decomposition; see `write_quality`."""
    table: list[Mapping[str, object]] = []
    for index, components in enumerate(result.components):
        n_independent = result.space.independent_values(components.maps)
        of_runs = shrinkages[index] or (None,) * len(result.projected)
        for projected, shrinkage in zip(result.projected, of_runs, strict=True):
            run, found = projected.run, projected.projections[index]
            table.append(
                {
                    "run": projected.run.label,
                    "method": components.method,
                    "scale": components.n_components,
                    "explained_variance": found.explained_variance,
                    "map_r": _mean(found.map_r),
                    "map_r_min": float(np.nanmin(found.map_r))
                    if np.isfinite(found.map_r).any()
                    else None,
                    "map_r_chance": float(
                        chance_map_r(
                            run.degrees_of_freedom - components.n_components, n_independent
                        )
                    ),
                    "tsnr": projected.tsnr,
                    "shrinkage": shrinkage,
                    "n_volumes_kept": run.n_kept,
                    "mean_fd": run.mean_fd_mm,
                }
            )
    return table


def participant_quality(
    result: GroupResult, participants: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return quality measures of participants, means over their runs and all decompositions.

    Parameters
    ----------
    result : GroupResult
    participants : sequence of str

    Returns
    -------
    dict
        Name of the measure to the value of each participant; NaN where it is unknown.
    """
    found: dict[str, list[ProjectedRun]] = {label: [] for label in participants}
    for one in result.projected:
        found[one.run.participant].append(one)
    columns: dict[str, list[float]] = {"map_r": [], "explained_variance": [], "tsnr": []}
    for label in participants:
        projections = [each for one in found[label] for each in one.projections]
        columns["map_r"].append(_mean(np.array([_mean(each.map_r) for each in projections])))
        columns["explained_variance"].append(
            _mean(np.array([each.explained_variance for each in projections]))
        )
        columns["tsnr"].append(_mean(np.array([one.tsnr for one in found[label]])))
    return {name: np.array(values) for name, values in columns.items()}


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
