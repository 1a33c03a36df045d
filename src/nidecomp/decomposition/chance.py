"""The chance level of reproducibility: fits to surrogate runs that have nothing in common.

How well the maps of two halves match by chance depends on the smoothness of the data, on how many
maps there are, on the method and on the number of participants. So that all of it counts, the
group and its halves are fitted to surrogates of the reduced runs (docs/decisions/0011-evidence.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Science
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.gather import GroupPlan, SubspaceKey, WeightedRows, weighted_runs
from nidecomp.decomposition.samples import MOST_VOXELS, fit_samples_of_rows
from nidecomp.decomposition.stability import compare_halves, split_halves
from nidecomp.spaces.contract import FeatureSpace

# Participants whose runs get surrogates, and restarts of the ICA: rules of thumb, which bound the
# time. Noise has no best restart.
MOST_PARTICIPANTS, _N_INIT = 40, 2
# The quantile, and of how many values of |r| at least: those of all maps in all splits.
_QUANTILE, _N_VALUES, _FEWEST_SPLITS, _MOST_SPLITS = 0.95, 60, 3, 10


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
        For each method the 95 % quantile of |r| between matching maps of halves, over the maps of
        several splits of at most `MOST_PARTICIPANTS` participants. Empty where the group cannot be
        split or surrogates could not be fitted.
    """
    labels = sorted({run.participant for run in runs})
    labels = [labels[index] for index in evenly_spaced(len(labels), MOST_PARTICIPANTS)]
    seed = science.decomposition.random_seed
    n_splits = math.ceil(_N_VALUES / fitted[0].n_components)
    splits = split_halves(labels, min(max(n_splits, _FEWEST_SPLITS), _MOST_SPLITS), seed)
    if not splits:
        return {}
    own = [run for run in runs if run.participant in set(labels)]
    # All smoothings of a run get the same phases.
    numbers = {name: number for number, name in enumerate(sorted({run.key.label for run in own}))}
    places: list[NDArray[np.intp]] = []

    def surrogate(run: ReducedRun, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        made = space.surrogates(rows, seed + 1 + numbers[run.key.label])
        if not places:
            places.append(evenly_spaced(made.shape[1], MOST_VOXELS))
        return made[:, places[0]]

    def rows_of_runs(wanted: Sequence[SubspaceKey]) -> Iterator[WeightedRows]:
        return weighted_runs(own, wanted, fitted[0].n_components, change=surrogate)

    quick = replace(science, decomposition=replace(science.decomposition, n_init=_N_INIT))
    members = [tuple(labels), *(half for split in splits for half in split)]
    fits = fit_samples_of_rows(fitted, members, rows_of_runs, quick, plan)
    levels = {}
    for components in fitted:
        method = components.method
        if all(method in one.fitted for one in fits):
            group, *halves = (one.fitted[method].maps for one in fits)
            pairs = zip(halves[::2], halves[1::2], strict=True)
            r = [compare_halves(group, *pair).reproducibility for pair in pairs]
            levels[method] = float(np.quantile(r, _QUANTILE))
    return levels
