"""Which of the images found are meant by the options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nidecomp.bids.listing import ListedFile, entity_names
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.text import quoted

FUNC = ("datatype", "func")
KINDS: dict[str, dict[str, object]] = {
    "bold": {"suffix": "bold", "extension": [".nii.gz", ".nii"]},
    "mask": {"suffix": "mask", "desc": "brain", "extension": [".nii.gz", ".nii"]},
    "confounds": {"suffix": ["timeseries", "regressors"], "desc": "confounds"},
}


def filters_of(selection: Selection) -> dict[str, dict[str, Any]]:
    """Read the filter file's content: for each kind of file, entity to wanted value."""
    content = json.loads(selection.bids_filter_file)
    entities = entity_names()
    filters: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for kind, query in content.items():
        if kind not in KINDS or not isinstance(query, dict):
            raise UsageError(
                f"--bids-filter-file: {quoted(kind)} is not a kind of file; there are "
                f"{', '.join(KINDS)}, each with an object of entities."
            )
        # fMRIPrep's own filter files name the folder; only func folders are looked into here.
        filters[kind] = {name: value for name, value in query.items() if (name, value) != FUNC}
        unknown = sorted(set(filters[kind]) - entities)
        if unknown:
            raise UsageError(
                f"--bids-filter-file: {kind} has no entity {quoted(unknown[0])}; there are "
                f"{', '.join(sorted(entities))}."
            )
    return filters


def entities_of_folder(root: Path, folder: Path) -> dict[str, str]:
    """Tell the participant, and the session where there is one, of a folder in a dataset."""
    parts = (part.partition("-") for part in folder.relative_to(root).parts)
    names = {"sub": "subject", "ses": "session"}
    return {names[short]: label for short, _, label in parts if short in names}


# ---------------------------------------------------------------- selecting
def matches(entities: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    """Tell whether a file has what is wanted: a value, one of a list, none (null), any (*)."""
    return all(_value_matches(name, entities.get(name), wanted) for name, wanted in query.items())


def _value_matches(name: str, value: str | None, wanted: object) -> bool:
    if wanted == "*":
        return True
    options = wanted if isinstance(wanted, list | tuple) else [wanted]
    return any(
        value is None if option is None else _same_label(name, value, str(option))
        for option in options
    )


def _same_label(name: str, value: str | None, wanted: str) -> bool:
    """Compare two labels; indices are numbers, so that run-1 is run-01."""
    if value is None:
        return False
    if name in {"run", "echo"} and value.isdigit() and wanted.isdigit():
        return int(value) == int(wanted)
    return value == wanted


def is_selected(
    entities: Mapping[str, str], selection: Selection, filters: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Return whether an image is one of those that the options ask for."""
    query = entities_of_query(selection, filters["bold"])
    if entities.get("subject") in selection.exclude_participant_label:
        return False
    return matches(entities, query)


def entities_of_query(selection: Selection, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what an image must have; a filter file wins over the options, as in fMRIPrep."""
    asked: dict[str, Any] = {
        "space": selection.space,
        "desc": selection.desc_label,
        "res": selection.res,
        "subject": selection.participant_label,
        "session": selection.session_label,
        "task": selection.task_id,
        "run": selection.run_id,
    }
    return {name: wanted for name, wanted in asked.items() if wanted} | dict(filters)


def check_labels(
    root: Path,
    selection: Selection,
    filters: Mapping[str, Any],
    bolds: list[ListedFile],
    closed: Iterable[Path],
) -> None:
    """Refuse labels that are nowhere: a mistyped one must not vanish from the group."""
    if not bolds:
        return
    entities = [
        *(file.entities for file in bolds),
        *(entities_of_folder(root, folder) for folder in closed),
    ]
    for option, entity, labels in (
        ("participant-label", "subject", selection.participant_label),
        ("exclude-participant-label", "subject", selection.exclude_participant_label),
        ("session-label", "session", selection.session_label),
        ("task-id", "task", selection.task_id),
        ("run-id", "run", selection.run_id),
    ):
        there = {value for known in entities if (value := known.get(entity))}
        unknown = [
            label
            for label in labels
            if not any(_same_label(entity, value, label) for value in there)
        ]
        # Where the filter file has a word on it, the option has none.
        if unknown and entity not in filters:
            shown = ", ".join(sorted(there)[:20]) + (", …" if len(there) > 20 else "")
            raise NothingToDoError(
                f"--{option} {' '.join(unknown)}: {root} has no image of that {entity}; there "
                f"{'is' if len(there) == 1 else 'are'} {shown or 'none'}."
            )


def nothing_matches(
    root: Path, selection: Selection, filters: Mapping[str, Any], bolds: list[ListedFile]
) -> str:
    """Say what is there where nothing matches what was asked for."""
    if not bolds:
        return (
            f"{root} holds no *_bold.nii.gz in any sub-*/[ses-*/]func folder: is it the folder "
            "that fMRIPrep wrote?"
        )
    there = "; ".join(
        f"{option}: {', '.join(sorted({file.entities.get(name, '(none)') for file in bolds}))}"
        for option, name in (
            ("--space", "space"),
            ("--res", "res"),
            ("--desc-label", "desc"),
            ("--task-id", "task"),
            ("--session-label", "session"),
            ("--run-id", "run"),
        )
    )
    asked = ", ".join(
        f"{name} {' or '.join(map(str, wanted)) if isinstance(wanted, list | tuple) else wanted}"
        for name, wanted in entities_of_query(selection, filters).items()
    )
    return (
        f"No run in {root} matches what was asked for ({asked}). The {len(bolds)} BOLD images "
        f"there have: {there}."
    )


def check_one_grid(bolds: list[ListedFile]) -> None:
    """Refuse to pool images of several spaces, cohorts of a template or resolutions."""
    for entity, what, how in (
        ("space", "spaces", "choose one with --space"),
        ("cohort", "cohorts", 'choose one with --bids-filter-file {"bold": {"cohort": "1"}}'),
        (
            "res",
            "resolutions",
            'choose one with --res, or those without with --bids-filter-file {"bold": {"res": '
            "null}}",
        ),
    ):
        values = sorted({file.entities.get(entity, "(none)") for file in bolds})
        if len(values) > 1:
            raise UsageError(f"The runs come in several {what} ({', '.join(values)}): {how}.")
