"""Which features enough participants have: a mask of the group, whatever features are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

# Runs that cover a smaller share of the group mask than this are probably misaligned or cut off,
# and so are masks of which less is in the field of view of their image. A rule of thumb: runs in
# the same space cover nearly all (logs/inventory.tsv has the coverage).
MINIMUM_COVERAGE = 0.5

LoadMask = Callable[[str], NDArray[np.bool_]]


def group_mask(
    participants: Mapping[str, str], load: LoadMask, threshold: float
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Return the voxels that are in the brain masks of enough participants.

    All participants have the same weight: each run is weighted by 1 / (number of runs of its
    participant). Masks are loaded one at a time, at most three times each, so that memory does not
    grow with the group. Runs that cover less than `MINIMUM_COVERAGE` of the voxels shared by at
    least half of the participants are excluded, so that a single misaligned run cannot empty a mask
    with a high threshold.

    Parameters
    ----------
    participants : mapping
        Run name to participant label, for all runs.
    load : callable
        Returns the mask of a run on the common grid.
    threshold : float
        Share of participants, above 0 and at most 1.

    Returns
    -------
    mask : ndarray of bool
        On the common grid.
    coverage : dict
        Run name to the share covered by the run of the voxels shared by at least half of the
        participants. Runs below `MINIMUM_COVERAGE` were not used for the mask.
    """
    share = _weighted_sum(participants, load)
    most = _at_least(share, 0.5)
    coverage = {run: covered_share(load(run), most) for run in sorted(participants)}
    inside = {run: who for run, who in participants.items() if coverage[run] >= MINIMUM_COVERAGE}
    if inside and len(inside) < len(participants):
        share = _weighted_sum(inside, load)
    return _at_least(share, threshold), coverage


def _weighted_sum(participants: Mapping[str, str], load: LoadMask) -> NDArray[np.float64]:
    """Return the share of participants whose brain masks include each voxel."""
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
    # With three runs per participant, sums are below 1 by rounding, and must pass a threshold of 1.
    return share >= threshold - 1e-9


def covered_share(mask: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    """Return the share of the voxels in `of` that are in `mask`, or 0 if `of` is empty."""
    inside = np.count_nonzero(of)
    return float(np.count_nonzero(mask & of) / inside) if inside else 0.0
