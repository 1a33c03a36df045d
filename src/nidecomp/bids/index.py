"""Find the selected runs in a dataset, each with its brain mask and confounds table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

from nidecomp.bids.checks import (
    check_labels,
    check_labels_match,
    check_one_grid,
    check_own_space,
)
from nidecomp.bids.companions import Companions, Shared, shared_entities
from nidecomp.bids.entities import (
    canonical,
    key_of_name,
    unknown_entities,
    wrong_folder,
    wrong_name,
)
from nidecomp.bids.listing import ListedFile, Listing, list_files, listed_by_name
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.bids.selection import (
    KINDS,
    entities_of_folder,
    entities_of_query,
    filters_of,
    is_selected,
    matches,
    nothing_matches,
)
from nidecomp.bids.sidecars import Sidecars, ambiguous_sidecars
from nidecomp.bids.unmatched import unmatched_folders
from nidecomp.config.science import Selection
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import RefusedRun, RunFiles, RunKey, UnmatchedFolder


class FoundRuns(NamedTuple):
    """The runs of a dataset that match the selection, and the folders that have none.

    Parameters
    ----------
    runs : tuple of RunFiles
        Sorted by name.
    refused : tuple of RefusedRun
        Selected runs that cannot be used, with the reason. A folder that cannot be read is listed
        once for all runs in it.
    unmatched : tuple of UnmatchedFolder
        Folders of participants and sessions without a run that matches, with the reason.
    """

    runs: tuple[RunFiles, ...]
    refused: tuple[RefusedRun, ...]
    unmatched: tuple[UnmatchedFolder, ...]


def find_runs(
    root: Path,
    selection: Selection,
    *,
    database_dir: Path | None = None,
    reset_database: bool = False,
    needs_mask: bool = True,
    of_all_participants: bool = False,
    reduced_before: Collection[Path] = (),
) -> FoundRuns:
    """Return the selected runs with their masks and confounds, and those that cannot be used.

    Parameters
    ----------
    root : Path
        The derivative dataset.
    selection : Selection
        The options that select runs.
    database_dir : Path, optional
        Folder to save the pybids index in.
    reset_database : bool
        Index the dataset again, even if there is a saved index.
    needs_mask : bool
        Refuse runs without a brain mask.
    of_all_participants : bool
        Ignore the participant labels in `selection`, apart from excluded ones.
    reduced_before : collection of Path
        Images whose reduced runs are stored, so that they need not be there any more.

    Returns
    -------
    FoundRuns

    Raises
    ------
    UsageError
        The filter file has an unknown key, the runs have several spaces or resolutions or are in
        spaces of their own, or the dataset folder cannot be read.
    NothingToDoError
        No run matches, a selected label does not exist or has no run that matches, or the content
        of no image was fetched.
    """
    filters = filters_of(selection)
    root = root.absolute()
    listing = list_files(root, database_dir, reset=reset_database)
    by_kind = {
        kind: [file for file in listing.files if matches(file.entities, query)]
        for kind, query in KINDS.items()
    }
    by_kind["bold"] += _removed_images(by_kind, reduced_before)
    check_labels(root, selection, filters["bold"], by_kind["bold"], listing.folders)
    named, selection = selection, _of_all(selection) if of_all_participants else selection
    closed = _closed_folders(root, listing, selection, filters["bold"])
    bolds = [file for file in by_kind["bold"] if is_selected(file.entities, selection, filters)]
    unmatched = unmatched_folders(
        root,
        listing.folders,
        bolds,
        by_kind["bold"],
        selection,
        entities_of_query(selection, filters["bold"]),
        refused={run.bold for run in closed},
    )
    if not bolds:
        message = nothing_matches(root, selection, filters["bold"], by_kind["bold"])
        raise NothingToDoError("\n".join([message, *(f"  {run.reason}" for run in closed)]))
    check_labels_match(root, named, filters["bold"], by_kind["bold"], listing.folders, unmatched)
    check_one_grid(bolds)
    check_own_space(bolds)
    if not any(file.path in reduced_before for file in bolds):
        _check_fetched(root, bolds)
    masks = [file for file in by_kind["mask"] if matches(file.entities, filters["mask"])]
    confounds = [
        file for file in by_kind["confounds"] if matches(file.entities, filters["confounds"])
    ]
    assembly = _Assembly(
        root,
        Companions(masks),
        Companions(confounds),
        Sidecars(root),
        filters,
        needs_mask,
        reduced_before,
    )
    runs, refused = assembly.of(bolds)
    refused = tuple(sorted((*refused, *closed), key=lambda run: run.key.label))
    return FoundRuns(runs, refused, unmatched)


def _of_all(selection: Selection) -> Selection:
    return replace(selection, participant_label=())


# ---------------------------------------------------------------- folders that cannot be read
def _closed_folders(
    root: Path, listing: Listing, selection: Selection, filters: Mapping[str, Any]
) -> tuple[RefusedRun, ...]:
    """Return folders that cannot be read and may contain selected runs, as refused runs."""
    query = entities_of_query(selection, filters)
    refused = []
    for folder, why in listing.folders.closed.items():
        known = entities_of_folder(root, folder)
        # Files in a func folder have the session given in its path, or none.
        certain = {*known, "session"} if folder.name == "func" else {*known}
        asked = {name: wanted for name, wanted in query.items() if name in certain}
        if known.get("subject") in selection.exclude_participant_label:
            continue
        if matches(known, asked):
            reason = f"its folder {folder.relative_to(root).as_posix()} cannot be read: {why}"
            refused.append(RefusedRun(_run_key(known), folder, reason))
    return tuple(refused)


def _removed_images(
    by_kind: Mapping[str, list[ListedFile]], reduced_before: Collection[Path]
) -> list[ListedFile]:
    """Return images that were reduced before and then removed, while their companions were kept."""
    # An image that was renamed, decompressed or made again is there under another name.
    there = {_in_space(file) for file in by_kind["bold"]}
    masks, tables = Companions(by_kind["mask"]), Companions(by_kind["confounds"])
    removed = [listed_by_name(path) for path in sorted(reduced_before) if not os.path.lexists(path)]
    return [
        file
        for file in removed
        if _in_space(file) not in there
        and (masks.of(file, same_voxels=True) or tables.of(file, same_voxels=False))
    ]


def _in_space(bold: ListedFile) -> tuple[object, ...]:
    return _identity(bold), bold.entities.get("space"), bold.entities.get("desc")


def _check_fetched(root: Path, bolds: list[ListedFile]) -> None:
    if all(is_not_fetched(file.path) for file in bolds):
        raise NothingToDoError(
            f"All of the {len(bolds)} matching BOLD images in {root} are links to content that was "
            "not fetched. Fetch it first, for example with "
            f"'datalad get {bolds[0].path.parent.relative_to(root)}' for each folder."
        )


# ---------------------------------------------------------------- matching files to runs
def _run_key(entities: Mapping[str, str]) -> RunKey:
    return RunKey(
        tuple((short, entities[name]) for short, name in RUN_ENTITIES.items() if name in entities)
    )


class _Assembly(NamedTuple):
    """What is needed to match the files of a dataset to runs."""

    root: Path
    masks: Companions
    confounds: Companions
    sidecars: Sidecars
    filters: Mapping[str, Mapping[str, Any]]
    needs_mask: bool
    reduced_before: Collection[Path]

    def of(self, bolds: list[ListedFile]) -> tuple[tuple[RunFiles, ...], tuple[RefusedRun, ...]]:
        """Return the runs with their files, and those that cannot be used, sorted by name."""
        same_run: dict[tuple[Shared, str | None, str | None], list[Path]] = defaultdict(list)
        for bold in bolds:
            same_run[_identity(bold)].append(bold.path)
        runs: list[RunFiles] = []
        refused: list[RefusedRun] = []
        for bold in bolds:
            found = self._run(bold, same_run[_identity(bold)])
            if isinstance(found, RunFiles):
                runs.append(found)
            else:
                refused.append(found)
        runs.sort(key=lambda run: run.key.label)
        refused.sort(key=lambda run: run.key.label)
        return tuple(runs), tuple(refused)

    def _run(self, bold: ListedFile, same_run: list[Path]) -> RunFiles | RefusedRun:
        if reason := wrong_name(bold.path):
            return RefusedRun(key_of_name(bold.path), bold.path, reason)
        masks = self.masks.of(bold, same_voxels=True)
        tables = self.confounds.of(bold, same_voxels=False)
        sidecars = self.sidecars.of(bold.path)
        of_table = self.sidecars.of(tables[0]) if tables else ()
        image = _unusable("image", bold.path)
        is_gone = image is not None and bold.path in self.reduced_before
        reason = (
            wrong_folder(self.root, bold.path, bold.entities)
            or self._wrong_entities(bold, same_run)
            or _wrong_companions("brain mask", self._inside(masks))
            or (_no_mask() if self.needs_mask and not masks else None)
            or _wrong_companions("confounds table", self._inside(tables))
            or (None if is_gone else image)
            or next((why for path in masks if (why := _unusable("brain mask", path))), None)
            or next((why for path in tables if (why := _unusable("confounds table", path))), None)
            or ambiguous_sidecars(sidecars)
            or ambiguous_sidecars(of_table)
            or next(
                (why for path in (*sidecars, *of_table) if (why := _unusable("sidecar", path))),
                None,
            )
        )
        if reason:
            return RefusedRun(_run_key(bold.entities), bold.path, reason)
        return RunFiles(
            key=_run_key(bold.entities),
            space=bold.entities["space"],
            cohort=bold.entities.get("cohort"),
            desc=bold.entities.get("desc"),
            res=bold.entities.get("res"),
            bold=bold.path,
            mask=masks[0] if masks else None,
            confounds=tables[0] if tables else None,
            sidecars=sidecars,
            confounds_sidecars=of_table,
            image_is_gone=is_gone,
            notes=unknown_entities(bold.path),
        )

    def _inside(self, paths: list[Path]) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in paths]

    def _wrong_entities(self, bold: ListedFile, same_run: list[Path]) -> str | None:
        for entity, short in (("subject", "sub"), ("task", "task"), ("space", "space")):
            if entity not in bold.entities:
                return f"its file name has no {short}- entity"
        if "echo" in bold.entities and "echo" not in self.filters["bold"]:
            return (
                "it is a single echo of a multi-echo run; use fMRIPrep's optimally combined image "
                "(or select an echo with --bids-filter-file)"
            )
        if bold.entities.get("part") in {"phase", "real", "imag"}:
            return f"it is a {bold.entities['part']} image, not a magnitude image"
        if len(same_run) > 1:
            return f"{len(same_run)} files match this run: " + ", ".join(self._inside(same_run))
        return None


def _identity(bold: ListedFile) -> tuple[Shared, str | None, str | None]:
    """Return the entities that tell the images of runs apart, with comparable labels."""
    entities = bold.entities
    return (
        shared_entities(entities),
        canonical("echo", entities.get("echo")),
        entities.get("part"),
    )


def _no_mask() -> str:
    return (
        "it has no brain mask with the same entities (*_desc-brain_mask.nii.gz); use --mask with "
        "the mask of a template if the dataset has none (as that of XCP-D)"
    )


def _wrong_companions(what: str, names: list[str]) -> str | None:
    if len(names) > 1:
        return f"{len(names)} files match as its {what}: " + ", ".join(names)
    return None


def _unusable(what: str, path: Path) -> str | None:
    """Return why a file cannot be read, or None: its content was not fetched, or it is a pipe."""
    if is_not_fetched(path):
        return not_fetched(f"its {what}", path)
    try:
        is_file = S_ISREG(path.stat().st_mode)
    except OSError as error:
        return f"its {what} {path.name} cannot be read: {error.strerror}"
    # Reading from a pipe could block forever.
    return None if is_file else f"its {what} {path.name} is not a regular file"
