"""Select images by the options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nidecomp.bids.entities import same_label
from nidecomp.bids.listing import ListedFile, entity_names
from nidecomp.bids.names import OLD_IMAGES, OLD_NAMES, RUN_ENTITIES
from nidecomp.config.science import Selection
from nidecomp.core.errors import UsageError
from nidecomp.core.surface_files import SERIES, kind_of_series
from nidecomp.core.text import count, quoted, verb

FUNC = ("datatype", "func")
KINDS: dict[str, dict[str, object]] = {
    "bold": {"suffix": "bold", "extension": [".nii.gz", ".nii"]},
    "mask": {"suffix": "mask", "desc": "brain", "extension": [".nii.gz", ".nii"]},
    "confounds": {"suffix": ["timeseries", "regressors"], "desc": "confounds"},
}
# Runs on surfaces; fMRIPrep 20.0 named those in GIFTI without a suffix.
SURFACES: dict[str, object] = {"suffix": ["bold", None], "extension": list(SERIES)}
# pybids' names of entities, and the short names in file names.
SHORT_NAMES = {name: short for short, name in RUN_ENTITIES.items()}


def filters_of(selection: Selection) -> dict[str, dict[str, Any]]:
    """Return the entity filters of the filter file for each kind of file.

    Raises
    ------
    UsageError
        A kind of file or an entity is unknown.
    """
    content = json.loads(selection.bids_filter_file)
    entities = entity_names()
    filters: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for kind, query in content.items():
        if kind not in KINDS or not isinstance(query, dict):
            raise UsageError(
                f"--bids-filter-file: {quoted(kind)} is not a kind of file; use "
                f"{', '.join(KINDS)}, each with an object of entities."
            )
        # Filter files for fMRIPrep include the datatype; only func folders are indexed here.
        filters[kind] = {name: value for name, value in query.items() if (name, value) != FUNC}
        unknown = sorted(set(filters[kind]) - entities)
        if unknown:
            raise UsageError(
                f"--bids-filter-file: unknown entity {quoted(unknown[0])} for {kind}; use "
                f"{', '.join(sorted(entities))}."
            )
    return filters


# What fMRIPrep 23.2 and later write with --level minimal, instead of images.
_TRANSFORMS = "*_from-*_to-*_xfm.txt"


def entities_of_folder(root: Path, folder: Path) -> dict[str, str]:
    """Return the subject, and the session if any, of a folder in a dataset."""
    parts = (part.partition("-") for part in folder.relative_to(root).parts)
    names = {"sub": "subject", "ses": "session"}
    return {names[short]: label for short, _, label in parts if short in names}


# ---------------------------------------------------------------- selecting
def matches(entities: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    """Return whether entities match a query of values, lists of values, null (none) or ``*``."""
    return all(_value_matches(name, entities.get(name), wanted) for name, wanted in query.items())


def _value_matches(name: str, value: str | None, wanted: object) -> bool:
    if wanted == "*":
        return True
    if value is not None and value == wanted:
        return True
    options = wanted if isinstance(wanted, list | tuple) else [wanted]
    return value in options or any(
        same_label(name, value, None if option is None else str(option)) for option in options
    )


def selected(
    files: Iterable[ListedFile], selection: Selection, filters: Mapping[str, Any]
) -> list[ListedFile]:
    """Return the images that are selected by the options; `filters` are those of images.

    Surfaces are selected by the name of their space only, and not by one that stands for any.
    """
    query = entities_of_query(selection, filters)
    excluded = selection.exclude_participant_label
    spaces = _as_options(query.get("space"))
    return [
        file
        for file in files
        if file.entities.get("subject") not in excluded
        and matches(file.entities, query)
        and (kind_of_series(file.path) is None or file.entities.get("space") in spaces)
    ]


def _as_options(wanted: object) -> list[object]:
    """Return the labels that are asked for; what stands for any or for none names nothing."""
    listed = wanted if isinstance(wanted, list | tuple) else [wanted]
    return [label for label in listed if label not in {None, "*"}]


def entities_of_query(selection: Selection, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entities that images must have; as in fMRIPrep, the filter file has precedence."""
    asked: dict[str, Any] = {
        "space": selection.space,
        "desc": selection.desc_in(filters.get("space", selection.space)),
        "res": selection.res,
        "den": selection.den,
        "subject": selection.participant_label,
        "session": selection.session_label,
        "task": selection.task_id,
        "run": selection.run_id,
    }
    return {name: wanted for name, wanted in asked.items() if wanted} | dict(filters)


def nothing_matches(
    root: Path, selection: Selection, filters: Mapping[str, Any], bolds: list[ListedFile]
) -> str:
    """Return an error message that lists the entities of the images, if none is selected."""
    if not bolds:
        if any(root.glob(f"sub-*/**/func/{OLD_IMAGES}")):
            return f"{root}: {OLD_NAMES}."
        if any(root.glob(f"sub-*/**/func/{_TRANSFORMS}")):
            return (
                f"{root} has transforms to templates, but no preprocessed images and no confounds: "
                "fMRIPrep wrote it with --level minimal. Run fMRIPrep again with --level full and "
                "a template in --output-spaces; with --derivatives, it uses what is there already."
            )
        return (
            f"{root} has no *_bold.nii.gz in any sub-*/[ses-*/]func folder. Is it the output "
            "folder of fMRIPrep?"
        )
    found = "; ".join(
        f"{option}: {', '.join(sorted({file.entities.get(name, '(none)') for file in bolds}))}"
        for option, name in (
            ("--space", "space"),
            ("--res", "res"),
            ("--den", "den"),
            ("--desc-label", "desc"),
            ("--task-id", "task"),
            ("--session-label", "session"),
            ("--run-id", "run"),
        )
        # Volumes have no density.
        if name != "den" or selection.den or any("den" in file.entities for file in bolds)
    )
    asked = in_words(entities_of_query(selection, filters))
    return (
        f"No run in {root} matches the selection ({asked}). "
        f"The {count(len(bolds), 'BOLD image')} found {verb(len(bolds), 'has', 'have')}: {found}."
    )


def in_words(query: Mapping[str, Any]) -> str:
    """Return a query as text: ``space T1w, task rest or nback``."""
    return ", ".join(
        f"{name} {' or '.join(map(str, wanted)) if isinstance(wanted, list | tuple) else wanted}"
        for name, wanted in query.items()
    )
