"""The chance level of reproducibility: fits to surrogate runs that have nothing in common.

How well the maps of two halves match by chance depends on the smoothness of the data, on how many
maps there are, on the method and on the number of participants. So that all of it counts, the
group and its halves are fitted to surrogates of the reduced runs (docs/decisions/0011-evidence.md).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Science
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.gather import GroupPlan, SubspaceKey, WeightedRows, weighted_runs
from nidecomp.decomposition.samples import fit_samples_of_rows
from nidecomp.decomposition.stability import compare_halves, split_halves
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)

# Participants whose runs get surrogates, runs of each, restarts of the ICA, and voxels. Rules of
# thumb, which bound the time. Noise has no best restart.
MOST_PARTICIPANTS, _MOST_RUNS, _N_INIT, _MOST_VOXELS = 40, 2, 1, 10_000
# The quantile, of how many values of |r| at least (those of all maps in all splits), and splits.
_QUANTILE, _N_VALUES, _MOST_SPLITS = 0.95, 60, 10


def most_samples() -> int:
    """Return the largest number of groups and halves that are fitted at once."""
    return 1 + 2 * _MOST_SPLITS


def chance_of_reproducibility(
    fitted: Sequence[Components],
    runs: Sequence[ReducedRun],
    science: Science,
    space: FeatureSpace,
    plan: GroupPlan,
) -> dict[str, float]:
    """Return the reproducibility that maps of unrelated runs of the same smoothness reach.

    Parameters
    ----------
    fitted : sequence of Components
        The group's decompositions at one model order.
    runs : sequence of ReducedRun
        The runs that they were fitted to, in a fixed order.
    science : Science
    space : FeatureSpace
    plan : GroupPlan
        Threads and memory; it changes no byte.

    Returns
    -------
    dict
        For each method the 95 % quantile of |r| between matching maps of the halves of a split,
        over at least 60 maps: those of several splits of at most `MOST_PARTICIPANTS` participants,
        with other surrogates where there are not as many splits. Empty where the group cannot be
        split or surrogates could not be fitted.
    """
    own = _some_runs(runs)
    labels = sorted({run.participant for run in own})
    seed = science.decomposition.random_seed
    n_splits = math.ceil(_N_VALUES / fitted[0].n_components)
    splits = split_halves(labels, min(n_splits, _MOST_SPLITS), seed)
    if not splits:
        return {}
    quick = replace(science, decomposition=replace(science.decomposition, n_init=_N_INIT))
    members = [tuple(labels), *(half for split in splits for half in split)]
    found: dict[str, list[NDArray[np.float64]]] = {one.method: [] for one in fitted}
    for repetition in range(math.ceil(n_splits / len(splits))):
        rows = partial(
            _surrogate_rows,
            runs=own,
            space=space,
            n_rows=science.decomposition.rows_of_run(fitted[0].n_components),
            seed=seed + 1 + repetition * len(own),
        )
        fits = fit_samples_of_rows(fitted, members, rows, quick, plan)
        for method, r in found.items():
            if all(method in one.fitted for one in fits):
                group, *halves = (one.fitted[method].maps for one in fits)
                pairs = zip(halves[::2], halves[1::2], strict=True)
                r.extend(compare_halves(group, *pair).reproducibility for pair in pairs)
    for method in (name for name, r in found.items() if not r):
        _LOG.warning(
            "The chance level of the reproducibility of %s maps is not known: surrogates of the "
            "runs could not be fitted. Maps of noise keep their labels and regions",
            method,
        )
    return {method: float(np.quantile(r, _QUANTILE)) for method, r in found.items() if r}


def _some_runs(runs: Sequence[ReducedRun]) -> list[ReducedRun]:
    """Return the first runs of some participants, at every smoothing."""
    labels = sorted({run.participant for run in runs})
    chosen = {labels[index] for index in evenly_spaced(len(labels), MOST_PARTICIPANTS)}
    of_each: dict[str, dict[str, None]] = {label: {} for label in chosen}
    for run in runs:
        names = of_each.get(run.participant)
        if names is not None and len(names) < _MOST_RUNS:
            names[run.key.label] = None
    return [run for run in runs if run.key.label in of_each.get(run.participant, ())]


def _surrogate_rows(
    wanted: Sequence[SubspaceKey],
    *,
    runs: Sequence[ReducedRun],
    space: FeatureSpace,
    n_rows: int,
    seed: int,
) -> Iterator[WeightedRows]:
    """Yield the weighted rows of surrogates of all runs, as `weighted_runs` does for the runs."""
    # All smoothings of a run get the same phases.
    numbers = {name: number for number, name in enumerate(sorted({run.key.label for run in runs}))}
    places: list[NDArray[np.intp]] = []

    def surrogate(run: ReducedRun, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        made = space.surrogates(rows, seed + numbers[run.key.label])
        if not places:
            places.append(evenly_spaced(made.shape[1], _MOST_VOXELS))
        return made[:, places[0]]

    yield from weighted_runs(runs, wanted, n_rows, change=surrogate)
