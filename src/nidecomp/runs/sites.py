"""Runs that another site reduced: their reduced runs are here, and their images are not.

A reduced run says which run it is and how it was reduced, so that the work folder of jobs at the
participant level is all that a site has to give away. docs/several-datasets.md says what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from nidecomp.bids.checks import check_labels, check_one_grid, check_own_space
from nidecomp.bids.folders import Folders
from nidecomp.bids.selection import entities_of_query, filters_of, selected
from nidecomp.bids.unmatched import mismatches, why_deselected
from nidecomp.config.science import Selection
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError, RefusedRunError
from nidecomp.core.inventory import Inventory, RefusedRun, UnmatchedFolder
from nidecomp.core.records import REDUCED_FOLDER, RunFiles, RunKey, StoredRows, UsableRun
from nidecomp.core.reduced_runs import are_of_same_data
from nidecomp.core.text import count
from nidecomp.runs.displacement import check_mean_displacement
from nidecomp.runs.inspect import check_long_enough
from nidecomp.runs.inspected import run_as_json, run_from_json
from nidecomp.runs.site_files import SiteFile, listed_by_name, read_site_files
from nidecomp.runs.task import FORMAT, ReduceTask, cleaning_options
from nidecomp.spaces.brain_models import Grayordinates
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grid import Grid

NOTE = "it was reduced at another site: its image is not here, and nothing is projected to it"


# ---------------------------------------------------------------- at the site
def about_reduced(task: ReduceTask, smoothing_fwhm: float) -> dict[str, object]:
    """Return what is stored with a reduced run: which run it is, and how it was reduced.

    Parameters
    ----------
    task : ReduceTask
    smoothing_fwhm : float

    Returns
    -------
    dict
        Empty for runs that are neither volumes nor on surfaces.
    """
    run, files = task.run, task.run.files
    if not isinstance(run.grid, Grid | Grayordinates):
        return {}
    # Volumes have no density.
    den = {} if files.den is None else {"den": files.den}
    return {
        **den,
        "entities": files.key.entities,
        "space": files.space,
        "res": files.res,
        "cohort": files.cohort,
        "desc": files.desc,
        "run": run_as_json(run),
        "settings": task.settings(smoothing_fwhm),
    }


# ---------------------------------------------------------------- where they are put together
def find_runs_of_site(root: Path, settings: Settings) -> Inventory:
    """Return the runs of a site that were reduced with the present settings.

    Parameters
    ----------
    root : Path
        The work folder of the site.
    settings : Settings
        With the mask that all sites share, without template maps (`start.check_request`).

    Returns
    -------
    Inventory
        Runs that were reduced with other settings are refused, with what differs. A run that was
        reduced with several masks is there once for each: `refuse_other_spaces` leaves one.

    Raises
    ------
    NothingToDoError
        No run matches the selection, or nobody has a label that was named.
    UsageError
        The runs have several spaces or resolutions.
    """
    files, refused = read_site_files(root)
    selection = settings.science.selection
    filters = filters_of(selection)["bold"]
    named = [*(file.listed for file in files), *map(listed_by_name, refused)]
    check_labels(root, selection, filters, named, Folders())
    if settings.analysis_level == "participant":
        selection = replace(selection, participant_label=())
    chosen = _selected(files, selection, filters)
    if not (chosen or refused):
        raise NothingToDoError(
            f"No reduced run in {root / REDUCED_FOLDER} matches the selection "
            f"({count(len({file.key for file in files}), 'run')} found)."
        )
    of_run: dict[RunKey, list[SiteFile]] = {}
    for file in chosen:
        of_run.setdefault(file.key, []).append(file)
    present = {key.get("sub") for key in (*of_run, *(run.key for run in refused))}
    used: list[UsableRun] = []
    for key, own in of_run.items():
        try:
            used += _usable(key, own, settings)
        except RefusedRunError as error:
            refused.append(RefusedRun(key, own[0].path, str(error)))
    return Inventory(
        used=tuple(sorted(used, key=lambda run: run.label)),
        refused=tuple(sorted(refused, key=lambda run: run.key.label)),
        unmatched=_unmatched(files, present, selection, filters),
    )


def _selected(
    files: Sequence[SiteFile], selection: Selection, filters: Mapping[str, Any]
) -> list[SiteFile]:
    """Return the files whose images are selected, which must have one space and resolution."""
    bolds = selected((file.listed for file in files), selection, filters)
    if bolds:
        check_one_grid(bolds)
        check_own_space(bolds)
    paths = {one.path for one in bolds}
    return [file for file in files if file.path in paths]


def _unmatched(
    files: Sequence[SiteFile],
    present: Set[str | None],
    selection: Selection,
    filters: Mapping[str, Any],
) -> tuple[UnmatchedFolder, ...]:
    """Return the participants without a run that matches, each with the reason."""
    query = entities_of_query(selection, filters)
    absent: dict[str, list[SiteFile]] = {}
    for file in files:
        if file.key.participant not in present:
            absent.setdefault(file.key.participant, []).append(file)
    found = []
    for label, own in sorted(absent.items()):
        why = why_deselected({"subject": label}, selection, query)
        number, what = len({file.key for file in own}), [file.listed for file in own]
        reason = why or (
            f"its reduced runs ({number}) do not match the selection: {mismatches(what, query)}"
        )
        found.append(UnmatchedFolder(f"sub-{label}", own[0].path, reason, bool(why)))
    return tuple(found)


def _usable(key: RunKey, files: Sequence[SiteFile], settings: Settings) -> list[UsableRun]:
    """Return a run once for each space in which it fits; raise RefusedRunError where none does."""
    differing = {file.path: _differences(file.settings, settings) for file in files}
    of_space: dict[str, list[SiteFile]] = {}
    for file in files:
        if not differing[file.path]:
            of_space.setdefault(file.space, []).append(file)
    wanted = settings.science.smoothings_fwhm
    whole = [own for own in of_space.values() if {one.smoothing_fwhm for one in own} >= {*wanted}]
    if not whole:
        incomplete = [f"it has not all of smoothing_fwhm {_listed(wanted)} with the same mask"]
        least = min(filter(None, differing.values()), key=len, default=incomplete)
        raise RefusedRunError(f"it was reduced with other settings: {'; '.join(least)}")
    runs: list[UsableRun] = []
    reasons: list[RefusedRunError] = []
    for own in whole:
        try:
            runs.append(_run_in_space(key, own, settings))
        except RefusedRunError as error:
            reasons.append(error)
    if not runs:
        raise reasons[0]
    # The grid of the group is that of most runs, which must not be an old one.
    if any(run.grid != runs[0].grid for run in runs):
        raise RefusedRunError(_of_different_files(run.files.bold for run in runs))
    return runs


def _run_in_space(key: RunKey, files: Sequence[SiteFile], settings: Settings) -> UsableRun:
    """Return a run with its files in one space, those with most principal components first."""
    files = sorted(files, key=lambda file: (-file.n_rows, file.path))
    stored = tuple(StoredRows(file.smoothing_fwhm, file.space, file.path) for file in files)
    about = files[0].about
    run = run_from_json(
        RunFiles(
            key=key,
            bold=files[0].path,
            mask=None,
            confounds=None,
            image_is_gone=True,
            stored=stored,
            **{name: about[name] for name in ("space", "res", "cohort", "desc")},
            den=about.get("den"),
        ),
        about["run"],
    )
    if run is None:
        raise RefusedRunError("its file is damaged")
    denoising = settings.science.denoising
    check_mean_displacement(run.mean_fd_mm, denoising)
    check_long_enough(run, denoising, settings.science.decomposition.fewest_rows)
    return replace(run, notes=(*run.notes, NOTE))


def _of_different_files(paths: Iterable[Path]) -> str:
    names = ", ".join(sorted(path.name for path in paths))
    return (
        "two reduced runs with these settings were made from different files: delete the older one "
        f"({names})"
    )


def _listed(numbers: Iterable[float]) -> str:
    return " and ".join(f"{number:g}" for number in numbers)


def _differences(made: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return how a reduced run differs from what is asked for, apart from its space."""
    science = settings.science
    asked = cleaning_options(science.denoising)
    before = made["denoising"]
    found = [
        f"{name} was {before.get(name)} and is {value}"
        for name, value in asked.items()
        if before.get(name) != value
    ]
    if made["format"] != FORMAT:
        found.append("another version of NiDecomp made it")
    if made["smoothing_fwhm"] not in science.smoothings_fwhm:
        wanted = _listed(science.smoothings_fwhm)
        found.append(f"smoothing_fwhm was {made['smoothing_fwhm']:g} and is {wanted}")
    if made["n_rows"] < science.decomposition.largest_rows:
        found.append(
            f"it has at most {made['n_rows']} principal components, and --n-components asks for "
            f"{science.decomposition.largest_rows}"
        )
    return found


def refuse_other_spaces(inventory: Inventory, space: FeatureSpace) -> Inventory:
    """Refuse runs of sites that were reduced with another mask or on another grid only.

    Parameters
    ----------
    inventory : Inventory
        Runs of sites may be there once for each space in which they were reduced.
    space : FeatureSpace
        That all runs share.

    Returns
    -------
    Inventory
        With each run once. Of files that have the same data, those with most rows are left; runs
        with files of different data are refused.
    """
    of_run: dict[RunKey, list[UsableRun]] = {}
    for run in inventory.used:
        of_run.setdefault(run.key, []).append(run)
    fits: list[UsableRun] = []
    refused = list(inventory.refused)
    for key, runs in of_run.items():
        try:
            fits.append(_without_copies(_in_space(runs, space)))
        except RefusedRunError as error:
            refused.append(RefusedRun(key, runs[0].files.bold, str(error)))
    refused.sort(key=lambda run: run.key.label)
    return replace(inventory, used=tuple(fits), refused=tuple(refused))


def _in_space(runs: Sequence[UsableRun], space: FeatureSpace) -> UsableRun:
    for run in runs:
        if all(one.space == space.digest for one in run.files.stored):
            return run
    raise RefusedRunError(
        "it was reduced with another mask, or on another grid than most runs: all sites "
        "need the same --mask and images of the same space and resolution"
    )


def _without_copies(run: UsableRun) -> UsableRun:
    """Return a run with one file for each smoothing; raise RefusedRunError if others differ."""
    first: dict[float, StoredRows] = {}
    for one in run.files.stored:
        before = first.setdefault(one.smoothing_fwhm, one)
        if before is not one and not are_of_same_data(before.path, one.path):
            raise RefusedRunError(_of_different_files((before.path, one.path)))
    return replace(run, files=replace(run.files, stored=tuple(first.values())))
