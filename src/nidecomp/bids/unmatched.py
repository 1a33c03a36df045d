"""Explain why a participant has no run that matches the selection, so that nobody vanishes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nidecomp.bids.folders import Folders, top_folder
from nidecomp.bids.listing import ListedFile
from nidecomp.bids.names import OLD_IMAGES, OLD_NAMES
from nidecomp.bids.selection import (
    SHORT_NAMES,
    entities_of_folder,
    matches,
)
from nidecomp.config.science import Selection
from nidecomp.core.inventory import UnmatchedFolder


def unmatched_folders(
    root: Path,
    folders: Folders,
    matched: Iterable[ListedFile],
    bolds: Iterable[ListedFile],
    selection: Selection,
    query: Mapping[str, Any],
    *,
    refused: Collection[Path] = (),
) -> tuple[UnmatchedFolder, ...]:
    """Return the participants' folders without a run that matches, each with the reason.

    Parameters
    ----------
    root : Path
        The dataset.
    folders : Folders
    matched, bolds : iterable of ListedFile
        The images that match the selection, and all images.
    selection : Selection
    query : mapping
        The entities that images must have.
    refused : collection of Path
        Folders that cannot be read and are listed as refused.

    Returns
    -------
    tuple of UnmatchedFolder
        Sorted by name.
    """
    with_run = {top_folder(root, file.path) for file in matched}
    with_run |= {top_folder(root, folder) for folder in refused}
    of_participant: dict[str, list[ListedFile]] = {}
    for file in bolds:
        of_participant.setdefault(top_folder(root, file.path), []).append(file)
    reasons = dict(folders.without_runs)
    for folder in (*folders.times, *folders.closed):
        if folder.parent == root and folder.name not in with_run and folder not in reasons:
            reasons[folder] = _reason(folder, folders, of_participant.get(folder.name, []), query)
    # The selection of participants is the reason that counts, whatever else is wrong.
    deselected = {
        folder: why
        for folder in reasons
        if (why := why_deselected(entities_of_folder(root, folder), selection, query))
    }
    return tuple(
        UnmatchedFolder("_".join(folder.relative_to(root).parts), folder, why, folder in deselected)
        for folder, why in sorted((reasons | deselected).items())
    )


def why_deselected(
    entities: Mapping[str, str], selection: Selection, query: Mapping[str, Any]
) -> str | None:
    """Return how the selection leaves a participant out, or None.

    Parameters
    ----------
    entities : mapping
        Those of the participant.
    selection : Selection
    query : mapping
        The entities that images must have.

    Returns
    -------
    str or None
    """
    if entities.get("subject") in selection.exclude_participant_label:
        return "excluded by --exclude-participant-label"
    of_subject = {name: wanted for name, wanted in query.items() if name == "subject"}
    if not matches(entities, of_subject):
        return "not selected by --participant-label or --bids-filter-file"
    return None


def _reason(
    folder: Path, folders: Folders, bolds: list[ListedFile], query: Mapping[str, Any]
) -> str:
    if bolds:
        differing = mismatches(bolds, query)
        return f"its BOLD images ({len(bolds)}) do not match the selection: {differing}"
    if folder.is_symlink():
        return f"it is a link to {folder.readlink()}, where its files are listed"
    closed = [path.name for path in folders.closed if folder in (path, *path.parents)]
    if closed:
        return f"no run that can be read matches; these folders cannot be read: {', '.join(closed)}"
    func = [path for path in folders.times if path.name == "func" and folder in path.parents]
    if not func:
        return "it has no func folder"
    if any(any(path.glob(OLD_IMAGES)) for path in func):
        return OLD_NAMES
    return "it has no *_bold.nii.gz in its func folder"


def mismatches(bolds: Sequence[ListedFile], query: Mapping[str, Any]) -> str:
    """Return the labels of images that are not among those asked for: ``space is T1w``.

    Parameters
    ----------
    bolds : sequence of ListedFile
    query : mapping
        The entities that images must have.

    Returns
    -------
    str
    """
    found = {
        name: sorted(
            {
                file.entities.get(name, "(none)")
                for file in bolds
                if not matches(file.entities, {name: wanted})
            }
        )
        for name, wanted in query.items()
    }
    return ", ".join(
        f"{SHORT_NAMES.get(name, name)} is {' or '.join(labels)}"
        for name, labels in found.items()
        if labels
    )
