"""Find the selected runs in a dataset, each with its brain mask and confounds table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nidecomp.bids.assembly import (
    Assembly,
    FetchCompanions,
    IsKnown,
    ReducedBefore,
    identity,
    run_key,
)
from nidecomp.bids.checks import (
    check_labels,
    check_labels_match,
    check_one_grid,
    check_own_space,
)
from nidecomp.bids.companions import Companions
from nidecomp.bids.dataset import wrong_grayordinates
from nidecomp.bids.listing import KeptListing, ListedFile, Listing, list_files, listed_by_name
from nidecomp.bids.pairs import paired
from nidecomp.bids.selection import (
    KINDS,
    SURFACES,
    entities_of_folder,
    entities_of_query,
    filters_of,
    matches,
    nothing_matches,
    selected,
)
from nidecomp.bids.sidecars import Sidecars
from nidecomp.bids.unmatched import unmatched_folders
from nidecomp.config.science import Selection
from nidecomp.core.content import is_not_fetched
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.garbage import no_garbage
from nidecomp.core.hemispheres import files_of
from nidecomp.core.inventory import FailedRun, RefusedRun, UnmatchedFolder
from nidecomp.core.records import RunFiles
from nidecomp.core.surface_files import kind_of_series
from nidecomp.core.text import verb


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
    failed : tuple of FailedRun
        Runs of which a mask, table or sidecar could not be fetched.
    """

    runs: tuple[RunFiles, ...]
    refused: tuple[RefusedRun, ...]
    unmatched: tuple[UnmatchedFolder, ...]
    failed: tuple[FailedRun, ...] = ()


def find_runs(  # noqa: PLR0913  all but the first two are named and have a default
    root: Path,
    selection: Selection,
    *,
    database_dir: Path | None = None,
    reset_database: bool = False,
    needs_mask: bool = True,
    of_all_participants: bool = False,
    reduced_before: ReducedBefore | tuple[()] = (),
    kept: KeptListing | None = None,
    is_known: IsKnown = lambda _: False,
    fetch: FetchCompanions | None = None,
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
    reduced_before : ReducedBefore, optional
        Images whose reduced runs are stored, so that they need not be there any more.
    kept : KeptListing, optional
        Where the list of files is kept for later starts.
    is_known : callable
        Whether the files of a run are those that could be read before. By default, none are.
    fetch : callable, optional
        Fetches masks, tables and sidecars of runs. Annexed images then need not be there.

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
    listing = list_files(root, database_dir, reset=reset_database, kept=kept)
    by_kind = {
        kind: [file for file in listing.files if matches(file.entities, query)]
        for kind, query in KINDS.items()
    }
    by_kind["bold"] += paired(file for file in listing.files if matches(file.entities, SURFACES))
    removed = _removed_images(by_kind, reduced_before)
    # Of a pair, the left file alone may have been removed.
    by_kind["bold"] = paired([*by_kind["bold"], *removed])
    check_labels(root, selection, filters["bold"], by_kind["bold"], listing.folders)
    named, selection = selection, _of_all(selection) if of_all_participants else selection
    closed = _closed_folders(root, listing, selection, filters["bold"])
    bolds = selected(by_kind["bold"], selection, filters["bold"])
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
        if named.participant_label:
            # What is wrong with their runs matters, and not what others have.
            check_labels_match(
                root, named, filters["bold"], by_kind["bold"], listing.folders, unmatched
            )
        message = nothing_matches(root, selection, filters["bold"], by_kind["bold"])
        raise NothingToDoError("\n".join([message, *(f"  {run.reason}" for run in closed)]))
    check_labels_match(root, named, filters["bold"], by_kind["bold"], listing.folders, unmatched)
    check_one_grid(bolds)
    check_own_space(bolds)
    if fetch is None and not any(file.path in reduced_before for file in bolds):
        _check_fetched(root, bolds)
    masks = [file for file in by_kind["mask"] if matches(file.entities, filters["mask"])]
    confounds = [
        file for file in by_kind["confounds"] if matches(file.entities, filters["confounds"])
    ]
    assembly = Assembly(
        root,
        Companions(masks),
        Companions(confounds),
        Sidecars(root, listing.folders.names),
        filters,
        needs_mask,
        reduced_before,
        is_known,
        fetch,
        wrong_grayordinates(root),
    )
    with no_garbage():
        runs, refused, failed = assembly.of(bolds)
    refused = tuple(sorted((*refused, *closed), key=lambda run: run.key.label))
    return FoundRuns(runs, refused, unmatched, failed)


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
            refused.append(RefusedRun(run_key(known), folder, reason))
    return tuple(refused)


def _removed_images(
    by_kind: Mapping[str, list[ListedFile]], reduced_before: ReducedBefore | tuple[()]
) -> list[ListedFile]:
    """Return images that were reduced before and then removed, while their companions were kept."""
    listed = (file.path for file in by_kind["bold"])
    others = reduced_before.other_than(listed) if reduced_before else ()
    removed = [listed_by_name(path) for path in others if not os.path.lexists(path)]
    if not removed:
        return []
    # An image that was renamed, decompressed or made again is there under another name.
    halves = {file for path in others for file in files_of(path)}
    there = {_in_space(file) for file in by_kind["bold"] if file.path not in halves}
    masks, tables = Companions(by_kind["mask"]), Companions(by_kind["confounds"])
    return [
        file
        for file in removed
        if _in_space(file) not in there
        and (masks.of(file, same_voxels=True) or tables.of(file, same_voxels=False))
    ]


def _in_space(bold: ListedFile) -> tuple[object, ...]:
    kind = kind_of_series(bold.path)
    labels = [bold.entities.get(name) for name in ("space", "den", "desc")]
    return identity(bold), kind, *labels


def _check_fetched(root: Path, bolds: list[ListedFile]) -> None:
    if all(is_not_fetched(file.path) for file in bolds):
        raise NothingToDoError(
            f"{_all_of(len(bolds))} in {root} {verb(len(bolds), 'is a link', 'are links')} to "
            "content that was not fetched. Fetch it first, for example with "
            f"'datalad get {bolds[0].path.parent.relative_to(root)}' for each folder, or use "
            "--fetch, which fetches each image when it is needed, and drops it again."
        )


def _all_of(n_images: int) -> str:
    if n_images == 1:
        return "The only matching BOLD image"
    return f"All of the {n_images} matching BOLD images"
