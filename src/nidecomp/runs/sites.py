"""Runs that another site reduced: their reduced runs are here, and their images are not.

A reduced run says which run it is and how it was reduced, so that the work folder of jobs at the
participant level is all that a site has to give away. docs/several-datasets.md says what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.bids.selection import entities_of_query, filters_of, matches
from nidecomp.config.science import Selection
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError, RefusedRunError, UsageError
from nidecomp.core.inventory import Inventory, RefusedRun
from nidecomp.core.records import (
    REDUCED_EXTENSION,
    REDUCED_FOLDER,
    RunFiles,
    RunKey,
    StoredRows,
    UsableRun,
)
from nidecomp.core.reduced_runs import read_about
from nidecomp.core.text import count
from nidecomp.runs.displacement import check_mean_displacement
from nidecomp.runs.inspect import check_long_enough
from nidecomp.runs.inspected import run_as_json, run_from_json
from nidecomp.runs.task import FORMAT, ReduceTask, cleaning_options
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
        Empty for runs that are no images of voxels.
    """
    run, files = task.run, task.run.files
    if not isinstance(run.grid, Grid):
        return {}
    return {
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
        With the mask that all sites share.

    Returns
    -------
    Inventory
        Runs that were reduced with other settings are refused, with what differs.

    Raises
    ------
    UsageError
        There is no mask, or template maps are to be projected.
    NothingToDoError
        No run matches the selection.
    """
    _check_request(root, settings)
    found: dict[RunKey, list[tuple[Path, Mapping[str, Any]]]] = {}
    refused: list[RefusedRun] = []
    for path in sorted((root / REDUCED_FOLDER).glob(f"[!.]*{REDUCED_EXTENSION}")):
        about = read_about(path)
        if about is not None and _is_complete(about):
            entities = tuple((name, label) for name, label in about["entities"])
            found.setdefault(RunKey(entities), []).append((path, about))
        else:
            refused.append(RefusedRun(_key_of(path), path, "its file is damaged, or too old"))
    selected = {key: files for key, files in found.items() if _is_selected(files[0][1], settings)}
    if not (selected or refused):
        raise NothingToDoError(
            f"No reduced run in {root / REDUCED_FOLDER} matches the selection "
            f"({count(len(found), 'run')} found)."
        )
    used: list[UsableRun] = []
    for key, files in selected.items():
        try:
            used.append(_usable(key, files, settings))
        except RefusedRunError as error:
            refused.append(RefusedRun(key, files[0][0], str(error)))
    return Inventory(
        used=tuple(sorted(used, key=lambda run: run.label)),
        refused=tuple(sorted(refused, key=lambda run: run.key.label)),
    )


def _check_request(root: Path, settings: Settings) -> None:
    if settings.science.masking.mask is None:
        raise UsageError(
            f"{root} has reduced runs of a site without their images: give the --mask that they "
            "were reduced with"
        )
    if settings.science.projection.maps is not None:
        raise UsageError(f"{root} has no images that --maps could be projected to")


def _is_complete(about: Mapping[str, Any]) -> bool:
    """Return whether a file says all that is needed; names of outputs are made of its labels."""
    try:
        entities, settings = dict(about["entities"]), about["settings"]
        about["run"], about["desc"], settings["format"], settings["geometry"], settings["denoising"]
        numbers = settings["smoothing_fwhm"], settings["n_rows"]
        labels = [*entities.values(), about["space"], about["res"], about["cohort"]]
        return (
            {"sub", "task"} <= entities.keys() <= RUN_ENTITIES.keys()
            and all(isinstance(one, int | float) for one in numbers)
            and all(one is None or one.replace("+", "").isalnum() for one in labels)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _key_of(path: Path) -> RunKey:
    """Return the key of a run by the name of its file, whose hash is left out."""
    pairs = (part.partition("-") for part in path.stem.rpartition("_")[0].split("_"))
    return RunKey(tuple((name, label) for name, _, label in pairs if label))


def _is_selected(about: Mapping[str, Any], settings: Settings) -> bool:
    selection: Selection = settings.science.selection
    entities = {RUN_ENTITIES[short]: label for short, label in about["entities"]}
    entities |= {
        name: label
        for name in ("space", "res", "desc", "cohort")
        if (label := about[name]) is not None
    }
    if settings.analysis_level == "participant":
        selection = replace(selection, participant_label=())
    query = entities_of_query(selection, filters_of(selection)["bold"])
    is_excluded = entities["subject"] in selection.exclude_participant_label
    return not is_excluded and matches(entities, query)


def _usable(
    key: RunKey, files: Sequence[tuple[Path, Mapping[str, Any]]], settings: Settings
) -> UsableRun:
    """Return a run with those of its files that fit; raise RefusedRunError where none does."""
    differing = {path: _differences(about["settings"], settings) for path, about in files}
    fitting = [(path, about) for path, about in files if not differing[path]]
    wanted = settings.science.smoothings_fwhm
    smoothings = {about["settings"]["smoothing_fwhm"] for _, about in fitting}
    if not smoothings.issuperset(wanted):
        least = min(filter(None, differing.values()), key=len, default=["it is incomplete"])
        raise RefusedRunError(f"it was reduced with other settings: {'; '.join(least)}")
    stored = tuple(
        StoredRows(about["settings"]["smoothing_fwhm"], about["settings"]["geometry"], path)
        for path, about in fitting
    )
    path, about = fitting[0]
    names = {name: about[name] for name in ("space", "res", "cohort", "desc")}
    run = run_from_json(
        RunFiles(
            key=key,
            bold=path,
            mask=None,
            confounds=None,
            image_is_gone=True,
            stored=stored,
            **names,
        ),
        about["run"],
    )
    if run is None:
        raise RefusedRunError("its file is damaged")
    denoising = settings.science.denoising
    check_mean_displacement(run.mean_fd_mm, denoising)
    check_long_enough(run, denoising, settings.science.decomposition.fewest_rows)
    return replace(run, notes=(*run.notes, NOTE))


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
        wanted = " and ".join(f"{fwhm:g}" for fwhm in science.smoothings_fwhm)
        found.append(f"smoothing_fwhm was {made['smoothing_fwhm']:g} and is {wanted}")
    if made["n_rows"] < science.decomposition.largest_rows:
        found.append(
            f"it has at most {made['n_rows']} principal components, and --n-components asks for "
            f"{science.decomposition.largest_rows}"
        )
    return found


def refuse_other_spaces(inventory: Inventory, space: FeatureSpace) -> Inventory:
    """Refuse runs of sites that were reduced with another mask or on another grid.

    Parameters
    ----------
    inventory : Inventory
    space : FeatureSpace
        That all runs share.

    Returns
    -------
    Inventory
    """
    fits: list[UsableRun] = []
    refused = list(inventory.refused)
    for run in inventory.used:
        stored = run.files.stored
        smoothings = {one.smoothing_fwhm for one in stored}
        in_space = {one.smoothing_fwhm for one in stored if one.space == space.digest}
        if in_space == smoothings:
            fits.append(run)
        else:
            reason = (
                "it was reduced with another mask, or on another grid than most runs: all sites "
                "need the same --mask and images of the same space and resolution"
            )
            refused.append(RefusedRun(run.key, run.files.bold, reason))
    refused.sort(key=lambda run: run.key.label)
    return replace(inventory, used=tuple(fits), refused=tuple(refused))
