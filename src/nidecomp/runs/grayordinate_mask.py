"""Compute the grayordinates that all runs on surfaces share, and those that are analysed.

Files of one density have the same grayordinates, but not always in the same order, and not all of
them have a signal in everybody: parts of the brain may be beyond the field of view.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Masking
from nidecomp.core.errors import FailedRunError, NothingToDoError, UsageError
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.execution.executor import Executor
from nidecomp.execution.progress import with_progress
from nidecomp.runs.enough_participants import MINIMUM_COVERAGE, covered_share, group_mask
from nidecomp.runs.signal import Signals, SignalTask, keep_signal
from nidecomp.spaces.brain_models import BrainModels, Grayordinates
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grayordinate_maps import FileKind, file_kind, read_values
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.meshes import is_of_freesurfer, template_mesh

_LOG = logging.getLogger(__name__)
_SILENT_S = 10.0
# The share of the group mask without a signal that is worth a note on a run.
_WORTH_A_NOTE = 0.005
_OTHER_ORDER = (
    "its vertices and voxels are not listed as in most runs (fMRIPrep 23.1.4 changed the order of "
    "voxels); they were brought to the same order"
)
# What a file or a run is, by its kind.
WHAT_IT_IS: dict[FileKind, str] = {
    "cifti": "of grayordinates (CIFTI)",
    "gifti": "of surfaces (GIFTI)",
    "volume": "a volume",
}
NotUsed = TypeVar("NotUsed", RefusedRun, FailedRun)


class _Signal(NamedTuple):
    """Where a run has a signal, in packed bits in the order of its own brain models."""

    packed: NDArray[np.uint8]
    models: BrainModels

    def among(self, shared: BrainModels) -> NDArray[np.bool_]:
        """Return which of the shared grayordinates have a signal.

        Raises
        ------
        FailedRunError
            The run's do not correspond to them.
        """
        own = np.unpackbits(self.packed, count=self.models.n_numbers).astype(np.bool_)
        if self.models is shared:
            return own
        places = shared.places_in(self.models)
        return np.asarray((places >= 0) & own[places])


def share_grayordinates(
    inventory: Inventory,
    masking: Masking,
    cache_dir: Path | None,
    work_dir: Path | None,
    executor: Executor | None = None,
) -> tuple[FeatureSpace | None, Inventory]:
    """Return the grayordinates that are analysed of all usable runs, refusing runs that do not fit.

    Parameters
    ----------
    inventory : Inventory
        With at least one usable run, all on surfaces.
    masking : Masking
        The mask to use, or the threshold of the group mask; and the structures to use.
    cache_dir : Path or None
        Folder to store in where each run has a signal; None stores nothing.
    work_dir : Path or None
        Where it is remembered of images that are not there any more what they are.
    executor : Executor, optional
        Reads runs. The results do not depend on it.

    Returns
    -------
    space : FeatureSpace or None
        None if no usable run is left.
    inventory : Inventory
        With `coverage` of the usable runs. Runs that cannot be read have failed.

    Raises
    ------
    UsageError
        The mask cannot be used, an option is not for such runs, or the template has no mesh.
    NothingToDoError
        The group mask is empty.
    """
    of_sites = [run for run in inventory.used if run.is_of_site]
    here = [run for run in inventory.used if not run.is_of_site]
    # A mistake is told before all runs are read.
    given = _given_mask(masking, _most_frequent(inventory.used))
    if here and cache_dir is not None and work_dir is not None and executor is not None:
        _keep_signals([SignalTask(run, cache_dir, work_dir) for run in here], executor)
    signals, failed = _signals(here, Signals(cache_dir, work_dir))
    runs = [run for run in here if run.label in signals]
    inventory = replace(inventory, used=(), failed=_sorted((*inventory.failed, *failed)))
    if not (runs or of_sites):
        return None, inventory
    usual = _most_frequent([*runs, *of_sites])
    shared = signals[usual.label].models if given is None else given.models
    surfaces_dir = Path(masking.surfaces_dir) if masking.surfaces_dir else None
    allowed = _allowed(shared, usual, masking, surfaces_dir)
    fitting, refused = _fitting(runs, usual, shared, signals)
    if given is None:
        inside, coverage = _with_signal(fitting, shared, allowed, signals, masking)
    else:
        inside = _within(given, allowed, masking)
        coverage = {
            run.label: covered_share(signals[run.label].among(shared), inside) for run in fitting
        }
    used, cut_off = _covering(fitting, coverage, usual)
    space = GrayordinateSpace(
        shared,
        inside,
        usual.files.space,
        usual.files.den,
        cast(Grayordinates, usual.grid).kind,
        work_dir if cache_dir else None,
        surfaces_dir,
    )
    refused = [*inventory.refused, *refused, *cut_off]
    used = sorted([*used, *of_sites], key=lambda run: run.label)
    return space, replace(inventory, used=tuple(used), refused=_sorted(refused))


class _Given(NamedTuple):
    """A mask of the user: the grayordinates of its file, and which of them it has."""

    models: BrainModels
    inside: NDArray[np.bool_]


def _given_mask(masking: Masking, usual: UsableRun) -> _Given | None:
    """Return the mask of the user, whose brain models the results have.

    Sites that share it have the same features, whatever their files are like.
    """
    if masking.mask is None:
        return None
    path = Path(masking.mask)
    _check_kind_of_mask(path, usual)
    try:
        found = read_values(path, usual.files.space)
    except FailedRunError as error:
        raise UsageError(f"--mask {path}: {error}.") from None
    if len(found.values) != 1:
        raise UsageError(f"--mask {path} has {count(len(found.values), 'map')}; a mask has one.")
    (values,) = found.values
    return _Given(found.models, np.isfinite(values) & (values != 0))


def _check_kind_of_mask(path: Path, usual: UsableRun) -> None:
    kind, space = cast(Grayordinates, usual.grid).kind, usual.files.space
    if file_kind(path) == kind:
        return
    wanted, of_results = {
        "cifti": (
            "a .dlabel.nii or .dscalar.nii file",
            "*_desc-brain_dseg.dlabel.nii",
        ),
        "gifti": (
            "the left one of a pair of .label.gii, .func.gii or .shape.gii files",
            "*_hemi-L_desc-brain_dseg.label.gii",
        ),
    }[kind]
    raise UsageError(
        f"--mask {path} is {WHAT_IT_IS[file_kind(path)]}, and the runs in space-{space} are "
        f"{WHAT_IT_IS[kind]}: give {wanted}, in which what is not 0 is inside. The results of an "
        f"analysis in this space have one (tpl-{space}/anat/{of_results}). Without --mask, the "
        "mask is made from the runs."
    )


def _within(given: _Given, allowed: NDArray[np.bool_], masking: Masking) -> NDArray[np.bool_]:
    inside = given.inside & allowed
    if not inside.any():
        raise UsageError(
            f"--mask {masking.mask} has nothing but 0 on the structures that are analysed."
        )
    return inside


def _with_signal(
    runs: Sequence[UsableRun],
    shared: BrainModels,
    allowed: NDArray[np.bool_],
    signals: Mapping[str, _Signal],
    masking: Masking,
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Return what has a signal in enough participants, and the coverage of each run."""
    inside, coverage = group_mask(
        {run.label: run.participant for run in runs},
        lambda label: signals[label].among(shared) & allowed,
        masking.mask_threshold,
    )
    if not inside.any():
        raise NothingToDoError(
            f"The group mask is empty: with --mask-threshold {masking.mask_threshold:g}, nothing "
            f"has a signal in enough participants ({count(len(runs), 'run')})."
        )
    if share := covered_share(~inside, allowed):
        _LOG.info(
            "Without a signal in enough participants, so that they are left out: %d of the "
            "vertices and voxels (%.1f %%)",
            np.count_nonzero(allowed & ~inside),
            100 * share,
        )
    return inside, coverage


def _sorted(runs: Iterable[NotUsed]) -> tuple[NotUsed, ...]:
    return tuple(sorted(runs, key=lambda run: run.key.label))


def _fitting(
    runs: Sequence[UsableRun],
    usual: UsableRun,
    shared: BrainModels,
    signals: Mapping[str, _Signal],
) -> tuple[list[UsableRun], list[RefusedRun]]:
    """Return the runs whose grayordinates correspond to the shared ones, and the others."""
    fitting: list[UsableRun] = []
    refused: list[RefusedRun] = []
    for run in runs:
        try:
            _check_kind(run, usual)
            signals[run.label].among(shared)
        except FailedRunError as error:
            refused.append(RefusedRun(run.key, run.files.bold, str(error)))
        else:
            fitting.append(run)
    return fitting, refused


def _covering(
    runs: Sequence[UsableRun],
    coverage: Mapping[str, float],
    usual: UsableRun,
) -> tuple[list[UsableRun], list[RefusedRun]]:
    """Return the runs that have a signal in enough of the group mask, and the others."""
    used: list[UsableRun] = []
    refused: list[RefusedRun] = []
    for run in runs:
        share, notes = coverage[run.label], run.notes
        if share < MINIMUM_COVERAGE:
            reason = (
                f"it has a signal in {100 * share:.0f} % of the group mask: it may be cut off, or "
                "in another space"
            )
            refused.append(RefusedRun(run.key, run.files.bold, reason))
        else:
            if run.grid != usual.grid:
                notes = (*notes, _OTHER_ORDER)
            if 1 - share >= _WORTH_A_NOTE:
                notes = (*notes, f"{100 * (1 - share):.1f} % of the group mask has no signal in it")
            used.append(replace(run, coverage=share, notes=notes))
    return used, refused


def _keep_signals(tasks: Sequence[SignalTask], executor: Executor) -> None:
    """Find out where runs have a signal, in several processes.

    Each job of a cluster array needs it of all runs. Those that start together begin with different
    runs, so that each reads some and finds what the others have kept.
    """
    if not tasks:
        return
    first = secrets.randbelow(len(tasks))
    done = executor.map_unordered(keep_signal, [*tasks[first:], *tasks[:first]])
    for _ in with_progress(done, len(tasks), "Finding where runs have signal", after_s=_SILENT_S):
        pass


def _signals(
    runs: Sequence[UsableRun], signals: Signals
) -> tuple[dict[str, _Signal], list[FailedRun]]:
    """Return where runs have a signal, and the runs that cannot be read."""
    found: dict[str, _Signal] = {}
    failed: list[FailedRun] = []
    for run in runs:
        try:
            signal, models = signals.of(run)
        except FailedRunError as error:
            failed.append(FailedRun(run.key, run.files.bold, str(error)))
        else:
            found[run.label] = _Signal(np.packbits(signal), models)
    return found, failed


def _most_frequent(runs: Sequence[UsableRun]) -> UsableRun:
    """Return a run with the grayordinates that most runs have, whatever their order."""
    counts = Counter(run.grid for run in runs)

    def preference(run: UsableRun) -> tuple[object, ...]:
        grid = cast(Grayordinates, run.grid)
        return -counts[grid], -grid.n_numbers, grid.digest, run.label

    return min(runs, key=preference)


def _check_kind(run: UsableRun, most: UsableRun) -> None:
    """Check that a run is stored as most are: several datasets may differ."""
    kind, usual = (cast(Grayordinates, one.grid).kind for one in (run, most))
    if kind != usual:
        raise FailedRunError(f"it is {WHAT_IT_IS[kind]}, and most runs are {WHAT_IT_IS[usual]}")


def _allowed(
    models: BrainModels, run: UsableRun, masking: Masking, surfaces_dir: Path | None
) -> NDArray[np.bool_]:
    """Return the grayordinates of the structures that are asked for, without the medial wall.

    Files of fMRIPrep's grayordinates do not have it, those of others may. Since version 22.1,
    fMRIPrep's surfaces have values there that are no cortex, and nothing marks them.
    """
    allowed = models.of_structures(masking.structures)
    for one, part in zip(models.structures, models.slices, strict=True):
        if one.n_vertices is None or one.hemi is None or not allowed[part].any():
            continue
        try:
            mesh = template_mesh(run.files.space, one.n_vertices, one.hemi, surfaces_dir)
        except FailedRunError as error:
            raise UsageError(f"--space {run.files.space}: {error}.") from None
        if is_of_freesurfer(run.files.space, one.n_vertices) and one.hemi == "L":
            _LOG.warning(
                "No mesh of %s has %d vertices, but fsaverage has one: distances, areas and the "
                "medial wall are those of fsaverage",
                run.files.space,
                one.n_vertices,
            )
        allowed[part] &= ~mesh.wall[one.places]
        has_all = len(one.places) == one.n_vertices
        if has_all and not mesh.wall.any() and one.hemi == "L":
            _LOG.warning(
                "Nothing in %s says where the medial wall of %s is (label/lh.cortex.label, or "
                "*_hemi-L_*_desc-nomedialwall_*.label.gii): what has a signal there counts as "
                "cortex",
                surfaces_dir,
                run.files.space,
            )
    if not allowed.any():
        raise UsageError(
            f"--structures {masking.structures}: the runs in space-{run.files.space} have no such "
            "structures."
        )
    return allowed
