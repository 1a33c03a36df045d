"""What all runs are brought to: the voxels of the group's grid and brain mask.

The one place that makes a `FeatureSpace`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Masking
from nidecomp.core.atomic import replace_atomically
from nidecomp.core.errors import FailedRunError, NothingToDoError, UsageError
from nidecomp.core.records import Inventory, RefusedRun, UsableRun
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import read_mask
from nidecomp.spaces.voxels import VoxelSpace

_LOG = logging.getLogger(__name__)
# Part of the key of a stored mask: raise it whenever the rule that makes it changes.
_FORMAT = 1


def share_space(
    inventory: Inventory, masking: Masking, cache_dir: Path | None
) -> tuple[FeatureSpace | None, Inventory]:
    """Find the grid and mask that all usable runs share, and refuse runs that cannot share them.

    The mask depends on every usable run of the group, so each job of a cluster array needs all of
    them: it is kept in the work folder under a key of the mask files.

    Parameters
    ----------
    inventory : Inventory
        With at least one usable run.
    masking : Masking
        A given mask, or the threshold for the group's own.
    cache_dir : Path or None
        Where to keep the mask between jobs; None keeps nothing.

    Returns
    -------
    space : FeatureSpace or None
        None where no run is left to share anything.
    inventory : Inventory
        Usable runs say whether they are resampled and what share of the mask they cover.

    Raises
    ------
    UsageError
        The given mask cannot be read.
    NothingToDoError
        No voxel is shared by enough runs.
    """
    runs, refused = _with_readable_mask(inventory)
    if not runs:
        return None, replace(inventory, used=(), refused=_sorted(refused))
    # Files of other kinds would be another space, made here.
    grid = common_grid([run.grid for run in runs if isinstance(run.grid, Grid)])
    given = _given_mask(masking, grid)
    mask, coverage = _cached_mask(runs, grid, masking, given, cache_dir)
    if not mask.any():
        raise NothingToDoError(
            f"The brain mask is empty: at --mask-threshold {masking.mask_threshold:g} no voxel is "
            f"shared by enough of the {len(runs)} runs."
        )
    used: list[UsableRun] = []
    for run in runs:
        # With a given mask a run may have none of its own: there is nothing to hold it against.
        share = coverage.get(run.label)
        if share is not None and share < MINIMUM_COVERAGE:
            reason = (
                f"its brain covers {100 * share:.0f} % of the group's brain mask: it is displaced, "
                "cut or in another space"
            )
            refused.append(RefusedRun(run.key, run.files.bold, reason))
        else:
            used.append(replace(run, resampled=run.grid != grid, coverage=share))
    n_resampled = sum(run.resampled for run in used)
    if n_resampled:
        _LOG.warning("Resampling to the group's grid, runs on another one: %d", n_resampled)
    space = VoxelSpace(grid, mask, label=runs[0].files.space)
    return space, replace(inventory, used=tuple(used), refused=_sorted(refused))


def _sorted(refused: Sequence[RefusedRun]) -> tuple[RefusedRun, ...]:
    return tuple(sorted(refused, key=lambda run: run.key.label))


def _with_readable_mask(inventory: Inventory) -> tuple[list[UsableRun], list[RefusedRun]]:
    """Refuse runs whose mask file is broken or empty."""
    runs: list[UsableRun] = []
    refused = list(inventory.refused)
    for run in inventory.used:
        try:
            if run.files.mask is not None and not read_mask(run.files.mask)[0].any():
                raise FailedRunError(f"its brain mask {run.files.mask.name} is empty")
        except FailedRunError as error:
            refused.append(RefusedRun(run.key, run.files.bold, str(error)))
        else:
            runs.append(run)
    return runs, refused


def _given_mask(masking: Masking, grid: Grid) -> NDArray[np.bool_] | None:
    if masking.mask is None:
        return None
    try:
        mask, own = read_mask(Path(masking.mask), grid)
    except FailedRunError as error:
        raise UsageError(f"--mask {masking.mask}: {error}.") from None
    if own != grid:
        _LOG.warning("--mask is on another grid than the runs and was resampled to theirs")
    if not mask.any():
        raise UsageError(f"--mask {masking.mask} holds no voxel of the runs' grid.")
    return mask


def _cached_mask(
    runs: Sequence[UsableRun],
    grid: Grid,
    masking: Masking,
    given: NDArray[np.bool_] | None,
    cache_dir: Path | None,
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Compute the mask and every run's coverage of it, or take them from an earlier job."""
    paths = {run.label: run.files.mask for run in runs if run.files.mask is not None}

    def load(label: str) -> NDArray[np.bool_]:
        return read_mask(paths[label], grid)[0]

    if given is not None:
        return given, {label: covered_share(load(label), given) for label in sorted(paths)}
    stored = cache_dir / f"{_key(runs, grid, masking)}.npz" if cache_dir else None
    found = _read_stored(stored)
    if found is not None:
        return found
    participants = {run.label: run.participant for run in runs}
    mask, coverage = group_mask(participants, load, masking.mask_threshold)
    if stored is not None:
        with replace_atomically(stored) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                mask=mask,
                labels=np.array(list(coverage)),
                coverage=np.array(list(coverage.values())),
            )
    return mask, coverage


def _read_stored(
    stored: Path | None,
) -> tuple[NDArray[np.bool_], dict[str, float]] | None:
    """Read mask and coverage that an earlier job stored; nothing where that is absent or broken."""
    if stored is None:
        return None
    try:
        with np.load(stored) as content:
            labels, coverage = content["labels"].tolist(), content["coverage"].tolist()
            return content["mask"], dict(zip(labels, coverage, strict=True))
    except Exception:  # numpy raises anything for a damaged file, which is made anew
        return None


def _key(runs: Sequence[UsableRun], grid: Grid, masking: Masking) -> str:
    """Name everything that the group's mask depends on."""
    files = [
        [run.label, str(run.files.mask), status.st_size, status.st_mtime_ns]
        for run in runs
        if run.files.mask is not None
        for status in [run.files.mask.stat()]
    ]
    rule = [_FORMAT, MINIMUM_COVERAGE, masking.mask_threshold]
    identity = json.dumps([rule, files, grid.shape, grid.affine])
    return hashlib.sha256(identity.encode()).hexdigest()[:20]


# A run whose brain covers less of the group's than this is somewhere else: displaced, or cut. A
# rule of thumb: runs of one space cover nearly all; logs/inventory.tsv has each run's coverage.
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
