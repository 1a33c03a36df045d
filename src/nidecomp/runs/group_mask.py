"""Compute the voxel grid and the group mask that all runs are resampled to.

Only this module and `grayordinate_mask`, which it calls for other runs, create a `FeatureSpace`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Masking
from nidecomp.core.atomic import replace_atomically
from nidecomp.core.errors import FailedRunError, NothingToDoError, UsageError
from nidecomp.core.inventory import Inventory, RefusedRun
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.execution.executor import Executor
from nidecomp.runs.enough_participants import MINIMUM_COVERAGE, covered_share, group_mask
from nidecomp.runs.grayordinate_mask import WHAT_IT_IS, share_grayordinates
from nidecomp.spaces.brain_models import Grayordinates
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grayordinate_maps import file_kind
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import read_mask
from nidecomp.spaces.voxels import VoxelSpace

_LOG = logging.getLogger(__name__)
# Part of the key of a stored mask: increase it whenever the computation of the mask changes.
_FORMAT = 2


def share_space(
    inventory: Inventory,
    masking: Masking,
    cache_dir: Path | None,
    work_dir: Path | None = None,
    executor: Executor | None = None,
) -> tuple[FeatureSpace | None, Inventory]:
    """Return the common grid and group mask of all usable runs, refusing runs that do not fit.

    The mask depends on all usable runs of the group, and each job of a cluster array needs it.
    Therefore it is stored in the work folder under a key of the mask files.

    Parameters
    ----------
    inventory : Inventory
        With at least one usable run.
    masking : Masking
        The mask to use, or the threshold of the group mask.
    cache_dir : Path or None
        Folder to store the mask in; None does not store it.
    work_dir : Path, optional
        Where it is remembered of images that are not there any more what they are.
    executor : Executor, optional
        Reads runs on surfaces, which have no masks. The results do not depend on it.

    Returns
    -------
    space : FeatureSpace or None
        None if no usable run is left.
    inventory : Inventory
        With `resampled` and `coverage` of the usable runs.

    Raises
    ------
    UsageError
        The given mask cannot be read, or an option is not for such runs.
    NothingToDoError
        The group mask is empty.
    """
    if any(isinstance(run.grid, Grayordinates) for run in inventory.used):
        return share_grayordinates(inventory, masking, cache_dir, work_dir, executor)
    runs, refused = _with_readable_mask(inventory)
    if not runs:
        return None, replace(inventory, used=(), refused=_sorted(refused))
    _check_options(masking)
    # A run of a site is there once for each mask that it was reduced with, on the same grid.
    grids = {run.key: run.grid for run in runs}.values()
    grid = common_grid([one for one in grids if isinstance(one, Grid)])
    given = _given_mask(masking, grid)
    mask, coverage = _cached_mask(runs, grid, masking, given, cache_dir)
    if not mask.any():
        raise NothingToDoError(
            f"The group mask is empty: with --mask-threshold {masking.mask_threshold:g}, no voxel "
            f"is in the brain masks of enough participants ({count(len(runs), 'run')})."
        )
    used: list[UsableRun] = []
    for run in runs:
        # With --mask, runs may have no brain mask of their own, so that coverage is unknown.
        share = coverage.get(run.label)
        if share is not None and share < MINIMUM_COVERAGE:
            of = f"--mask {masking.mask}" if masking.mask else "the group mask"
            reason = (
                f"its brain mask covers {100 * share:.0f} % of {of}: one of them may be "
                "misaligned, cut off or in another space"
            )
            refused.append(RefusedRun(run.key, run.files.bold, reason))
        else:
            used.append(replace(run, resampled=not _is_on(run, grid), coverage=share))
    n_resampled = len({run.key for run in used if run.resampled})
    if n_resampled:
        _LOG.warning("Runs that are resampled because their grid differs: %d", n_resampled)
    space = VoxelSpace(grid, mask, label=runs[0].files.space)
    return space, replace(inventory, used=tuple(used), refused=_sorted(refused))


def _check_options(masking: Masking) -> None:
    """Check that nothing is asked for that volumes do not have."""
    if masking.structures != "all":
        raise UsageError(
            f"--structures {masking.structures} is for grayordinates (--space fsLR), and the runs "
            "are volumes: restrict them with --mask."
        )
    if masking.surfaces_dir is not None:
        raise UsageError(
            f"--surfaces-dir {masking.surfaces_dir} is for surfaces and grayordinates (--space "
            "fsaverage5 or fsLR), and the runs are volumes: leave it out."
        )


def _sorted(refused: Sequence[RefusedRun]) -> tuple[RefusedRun, ...]:
    return tuple(sorted(refused, key=lambda run: run.key.label))


def _is_on(run: UsableRun, grid: Grid) -> bool:
    return isinstance(run.grid, Grid) and grid.is_same(run.grid)


def _with_readable_mask(inventory: Inventory) -> tuple[list[UsableRun], list[RefusedRun]]:
    """Return the runs whose brain mask can be used, with notes on it, and the others as refused."""
    runs: list[UsableRun] = []
    refused = list(inventory.refused)
    for run in inventory.used:
        try:
            # Where a run was found, its mask was checked already.
            runs.append(run if run.mask_voxels is not None else with_mask_checked(run))
        except FailedRunError as error:
            refused.append(RefusedRun(run.key, run.files.bold, str(error)))
    return runs, refused


def with_mask_checked(run: UsableRun) -> UsableRun:
    """Return a run with the size of its brain mask, and notes on what is unusual about it.

    Parameters
    ----------
    run : UsableRun

    Returns
    -------
    UsableRun
        The same if it has no mask of its own.

    Raises
    ------
    FailedRunError
        The mask cannot be read, is empty, or lies elsewhere than the image.
    """
    path = run.files.mask
    if path is None:
        return run
    mask = read_mask(path)
    if not mask.inside.any():
        raise FailedRunError(f"its brain mask {path.name} is empty")
    notes = [f"its brain mask {mask.note}"] if mask.note else []
    inside = mask.inside
    if isinstance(run.grid, Grid) and not run.grid.is_same(mask.grid):
        share = mask.share_within(run.grid)
        if share < MINIMUM_COVERAGE:
            raise FailedRunError(
                f"its brain mask does not overlap with its image: {100 * share:.0f} % of "
                f"{path.name} is within the field of view: correct the affine of one of the two"
            )
        notes.append("its brain mask is on another grid than its image and was resampled")
        inside = mask.on(run.grid)
    if inside.all():
        notes.append("its brain mask covers the entire field of view of its image")
    return replace(run, mask_voxels=mask.n_voxels, notes=(*run.notes, *notes))


def _given_mask(masking: Masking, grid: Grid) -> NDArray[np.bool_] | None:
    if masking.mask is None:
        return None
    if (kind := file_kind(Path(masking.mask))) != "volume":
        raise UsageError(
            f"--mask {masking.mask} is {WHAT_IT_IS[kind]}, and the runs are volumes: give a NIfTI "
            "image (.nii.gz)."
        )
    try:
        given = read_mask(Path(masking.mask))
    except FailedRunError as error:
        raise UsageError(f"--mask {masking.mask}: {error}.") from None
    if given.note:
        _LOG.warning("--mask %s %s", masking.mask, given.note)
    if not grid.is_same(given.grid):
        _LOG.warning("The grid of --mask differs from that of the runs; it was resampled")
    mask = given.on(grid)
    if not mask.any():
        raise UsageError(f"--mask {masking.mask} has no voxel within the grid of the runs.")
    if mask.all():
        _LOG.warning("--mask %s covers the entire field of view of the runs", masking.mask)
    return mask


def _cached_mask(
    runs: Sequence[UsableRun],
    grid: Grid,
    masking: Masking,
    given: NDArray[np.bool_] | None,
    cache_dir: Path | None,
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Return the mask and the coverage of each run, computed or as stored by an earlier job."""
    paths = {run.label: run.files.mask for run in runs if run.files.mask is not None}

    def load(label: str) -> NDArray[np.bool_]:
        return read_mask(paths[label]).on(grid)

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
    """Read the mask and coverage stored by an earlier job, or return None if that fails."""
    if stored is None:
        return None
    try:
        with np.load(stored) as content:
            labels, coverage = content["labels"].tolist(), content["coverage"].tolist()
            return content["mask"], dict(zip(labels, coverage, strict=True))
    except Exception:  # numpy raises all kinds of errors for damaged files; the mask is recomputed
        return None


def _key(runs: Sequence[UsableRun], grid: Grid, masking: Masking) -> str:
    """Return a hash of everything that the group mask depends on."""
    files = [
        [run.label, str(run.files.mask), status.st_size, status.st_mtime_ns]
        for run in runs
        if run.files.mask is not None
        for status in [run.files.mask.stat()]
    ]
    rule = [_FORMAT, MINIMUM_COVERAGE, masking.mask_threshold]
    identity = json.dumps([rule, files, grid.shape, grid.affine])
    return hashlib.sha256(identity.encode()).hexdigest()[:20]


def common_grid(grids: Sequence[Grid]) -> Grid:
    """Return the most frequent grid, whatever the order of the runs.

    Parameters
    ----------
    grids : sequence of Grid
        Of all runs; at least one.

    Returns
    -------
    Grid
        The one that is the same as most others but for rounding; of several, the one that most
        runs have exactly; of several, the first in sorted order.
    """
    counts = Counter(grids)

    def preference(grid: Grid) -> tuple[object, ...]:
        n_same = sum(number for other, number in counts.items() if grid.is_same(other))
        return -n_same, -counts[grid], grid.shape, grid.affine

    return min(counts, key=preference)
