"""The group's brain mask, from the runs' own masks one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.records import Grid

# A run whose brain covers less of the group's than this is somewhere else: displaced, or cut.
MINIMUM_COVERAGE = 0.5

LoadMask = Callable[[str], NDArray[np.bool_]]


def common_grid(grids: Sequence[Grid]) -> Grid:
    """Choose the grid that most runs have; among equals the one that comes first in order."""
    counts = Counter(grids)
    return min(counts, key=lambda grid: (-counts[grid], grid.shape, grid.affine))


def group_mask(
    participants: Mapping[str, str], load: LoadMask, threshold: float
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Find the voxels that enough participants' brains hold.

    Every participant counts once, whatever its number of runs: a run weighs 1 / (its
    participant's runs). Masks are loaded one at a time, three times at most: memory does not grow
    with the group. A run that covers less than `MINIMUM_COVERAGE` of what most participants share
    is left out first, so that one displaced brain cannot empty the mask of a high threshold.

    Parameters
    ----------
    participants : mapping
        Run's name to participant's name, for every run.
    load : callable
        Gives a run's mask on the group's grid.
    threshold : float
        Share of participants, above 0 and at most 1.

    Returns
    -------
    mask : ndarray of bool
        On the group's grid.
    coverage : dict
        Run's name to the share that the run's own mask holds of the voxels which at least half of
        the participants have; those below `MINIMUM_COVERAGE` had no say in the mask.
    """
    share = _weighted_sum(participants, load)
    most = _at_least(share, 0.5)
    coverage = {run: covered_share(load(run), most) for run in sorted(participants)}
    inside = {run: who for run, who in participants.items() if coverage[run] >= MINIMUM_COVERAGE}
    if inside and len(inside) < len(participants):
        share = _weighted_sum(inside, load)
    return _at_least(share, threshold), coverage


def _weighted_sum(participants: Mapping[str, str], load: LoadMask) -> NDArray[np.float64]:
    """Give for each voxel the share of participants whose brain holds it."""
    runs_of = Counter(participants.values())
    total: NDArray[np.float64] | None = None
    for run in sorted(participants):
        mask = load(run)
        if total is None:
            total = np.zeros(mask.shape)
        total += mask * (1.0 / runs_of[participants[run]])
    if total is None:
        raise ValueError("a group mask needs at least one run")
    return total / len(runs_of)


def _at_least(share: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    # Sums of thirds miss 1 by rounding: a voxel in every brain must pass a threshold of 1.
    return share >= threshold - 1e-9


def covered_share(mask: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    """Give the share of the voxels of `of` that `mask` holds; 0 where there are none."""
    inside = np.count_nonzero(of)
    return float(np.count_nonzero(mask & of) / inside) if inside else 0.0
