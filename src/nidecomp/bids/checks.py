"""Check that the selection is possible: labels exist, and runs have the same space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nidecomp.bids.entities import canonical
from nidecomp.bids.folders import Folders
from nidecomp.bids.listing import ListedFile
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.bids.selection import entities_of_folder, entities_of_query, in_words, matches
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.inventory import UnmatchedFolder
from nidecomp.core.surface_files import kind_of_series
from nidecomp.core.text import count

# Spaces in which each participant, or even each run, has coordinates of its own: those that
# fMRIPrep's --output-spaces accepts, and others in BIDS.
SPACES_OF_PARTICIPANTS = frozenset({
    "T1w", "T2w", "anat", "fsnative", "individual", "native", "orig", "scanner",
})  # fmt: skip
SPACES_OF_RUNS = frozenset({"func", "bold", "boldref", "boldnative", "run", "sbref", "epi"})
# The options that name labels, each with its entity.
_NAMING_OPTIONS = (
    ("participant-label", "subject"),
    ("exclude-participant-label", "subject"),
    ("session-label", "session"),
    ("task-id", "task"),
    ("run-id", "run"),
)


def check_labels(
    root: Path,
    selection: Selection,
    filters: Mapping[str, Any],
    bolds: Sequence[ListedFile],
    folders: Folders,
) -> None:
    """Check that all selected labels exist, so that no mistyped label is silently ignored.

    Parameters
    ----------
    root : Path
        The dataset.
    selection : Selection
    filters : mapping
        The filter file's entities of images, which replace options.
    bolds : sequence of ListedFile
        All images.
    folders : Folders

    Raises
    ------
    NothingToDoError
        No image and no folder has one of the labels.
    """
    if not bolds:
        return
    for option, entity, labels in _named(selection, filters):
        existing = {value for file in bolds if (value := file.entities.get(entity))}
        # Most labels have images, and looking at all folders takes longer.
        if _without(labels, entity, existing):
            existing |= _labels_of_folders(root, folders, entity)
        if unknown := _without(labels, entity, existing):
            shown = ", ".join(sorted(existing)[:20]) + (", …" if len(existing) > 20 else "")
            raise NothingToDoError(
                f"--{option} {' '.join(unknown)}: no image in {root} has this {entity}; found: "
                f"{shown or 'none'}."
            )


def _labels_of_folders(root: Path, folders: Folders, entity: str) -> set[str]:
    """Return the labels of an entity that folders have."""
    found = (*folders.times, *folders.closed, *folders.without_runs)
    # Those of a func folder are those of the folder that it is in.
    known = (entities_of_folder(root, path) for path in found if path.name != "func")
    return {value for one in known if (value := one.get(entity))}


def check_labels_match(
    root: Path,
    selection: Selection,
    filters: Mapping[str, Any],
    bolds: Sequence[ListedFile],
    folders: Folders,
    unmatched: Sequence[UnmatchedFolder],
) -> None:
    """Check that each label that was asked for is left after all selections.

    Parameters
    ----------
    root, selection, filters, bolds, folders
        As in `check_labels`.
    unmatched : sequence of UnmatchedFolder
        The folders of participants without a run that matches.

    Raises
    ------
    NothingToDoError
        A label exists, but no image that has it matches the rest of the selection.
    """
    closed = [entities_of_folder(root, folder) for folder in folders.closed]
    reasons = {folder.name.removeprefix("sub-"): folder.reason for folder in unmatched}
    lost = [label for label in selection.participant_label if label in reasons]
    if lost:
        lines = (f"  sub-{label}: {reasons[label]}" for label in lost)
        raise NothingToDoError(
            f"--participant-label {' '.join(lost)}: no run matches the selection:\n"
            + "\n".join(lines)
        )
    query = entities_of_query(selection, filters)
    named = [*_named(selection, filters), *_named_in_filter(filters)]
    for option, entity, labels in named:
        if not labels or option in {"participant-label", "exclude-participant-label"}:
            continue
        # Not every participant needs to have every task: any will do.
        rest = {name: wanted for name, wanted in query.items() if name != "subject"}
        left = {
            value
            for known in (
                *(file.entities for file in bolds if matches(file.entities, rest)),
                *closed,
            )
            if (value := known.get(entity))
        }
        if gone := _without(labels, entity, left):
            raise NothingToDoError(
                f"--{option} {' '.join(gone)}: no image with this {entity} matches the rest of the "
                f"selection ({in_words(rest)})."
            )


def _named(
    selection: Selection, filters: Mapping[str, Any]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the options that name labels, with their entities, unless the filter replaces them."""
    for option, entity in _NAMING_OPTIONS:
        if entity not in filters:
            yield option, entity, getattr(selection, option.replace("-", "_"))


def _named_in_filter(filters: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the entities that tell runs apart for which the filter file names labels."""
    for entity, wanted in filters.items():
        if entity in RUN_ENTITIES.values():
            labels = wanted if isinstance(wanted, list | tuple) else [wanted]
            named = tuple(str(label) for label in labels if label is not None and label != "*")
            yield "bids-filter-file (bold)", entity, named


def _without(labels: Iterable[str], entity: str, existing: Iterable[str]) -> list[str]:
    """Return the labels that are not among the existing ones."""
    known = {canonical(entity, value) for value in existing}
    return [label for label in labels if canonical(entity, label) not in known]


def check_own_space(bolds: Sequence[ListedFile]) -> None:
    """Check that images in a participant's or run's own space are not pooled over several.

    Parameters
    ----------
    bolds : sequence of ListedFile
        The selected images, all of one space.

    Raises
    ------
    UsageError
        There are several, whose voxels do not correspond.
    """
    space = bolds[0].entities.get("space")
    if space in SPACES_OF_PARTICIPANTS | SPACES_OF_RUNS and _are_surfaces(bolds):
        raise UsageError(
            f"space-{space} is each participant's own space, in which the vertices of surfaces do "
            "not correspond: choose surfaces in a template's space, such as --space fsaverage5 or "
            "--space fsLR."
        )
    whose = "each participant's" if space in SPACES_OF_PARTICIPANTS else "each run's"
    subjects = {file.entities.get("subject") for file in bolds}
    is_own = space in SPACES_OF_PARTICIPANTS | SPACES_OF_RUNS
    if (is_own and len(subjects) > 1) or (space in SPACES_OF_RUNS and len(bolds) > 1):
        number = count(len(subjects), "participant") + ", " + count(len(bolds), "run")
        raise UsageError(
            f"space-{space} is {whose} own space, in which the voxels of {number} do not "
            "correspond. Choose images in a template's space, such as --space MNI152NLin2009cAsym, "
            "or one of them with --participant-label."
        )


def check_one_grid(bolds: list[ListedFile]) -> None:
    """Check that all images have the same space, template cohort, resolution and density.

    Raises
    ------
    UsageError
        They have several.
    """
    for entity, what, how in (*_OF_ALL, *(_OF_SURFACES if _are_surfaces(bolds) else ())):
        labels = {canonical(entity, file.entities.get(entity)) or "(none)" for file in bolds}
        values = sorted(labels)
        if len(values) > 1:
            raise UsageError(f"The runs have several {what} ({', '.join(values)}): {how}.")


def _are_surfaces(bolds: Iterable[ListedFile]) -> bool:
    # A reduced run of another site tells it by its density alone.
    return any("den" in one.entities or kind_of_series(one.path) is not None for one in bolds)


# Entities of which all images must have the same label, what they are, and how one is chosen.
_OF_ALL = (
    ("space", "spaces", "choose one with --space"),
    ("cohort", "cohorts", 'choose one with --bids-filter-file {"bold": {"cohort": "1"}}'),
    (
        "res",
        "resolutions",
        "choose one with --res, or images without it with --bids-filter-file "
        '{"bold": {"res": null}}',
    ),
)
_OF_SURFACES = (
    (
        "den",
        "densities",
        "choose one with --den, or images without it with --bids-filter-file "
        '{"bold": {"den": null}}',
    ),
    (
        "desc",
        "descriptions",
        "choose one with --desc-label, or images without it with --bids-filter-file "
        '{"bold": {"desc": null}}',
    ),
    (
        "extension",
        "formats",
        'choose one with --bids-filter-file {"bold": {"extension": ".dtseries.nii"}}',
    ),
)
