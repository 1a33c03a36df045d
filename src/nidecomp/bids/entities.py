"""Read the entities in the names of BIDS files, and compare their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.core.records import RunKey
from nidecomp.core.text import inside, quoted

_ENTITY = re.compile(r"([a-zA-Z0-9]+)-([a-zA-Z0-9+]+)")
_KNOWN = frozenset(RUN_ENTITIES) | {"space", "cohort", "res", "hemi", "den", "desc"}
# Labels that may be written with leading zeros: run-1 and run-01 are the same run.
_NUMBERS = frozenset({"run", "echo", "chunk", "res", "cohort"})
# Entities with labels that BIDS restricts, and a description of these labels.
_WHOLE = (re.compile(r"[0-9]+"), "a whole number")
_RESTRICTED = {
    "run": _WHOLE,
    "echo": _WHOLE,
    "chunk": _WHOLE,
    "part": (re.compile(r"mag|phase|real|imag"), "mag, phase, real or imag"),
}


def same_label(entity: str, one: str | None, other: str | None) -> bool:
    """Return whether two labels of an entity are the same; 1 and 01 are the same run."""
    return canonical(entity, one) == canonical(entity, other)


def canonical(entity: str, label: str | None) -> str | None:
    """Return a label without leading zeros if its entity may be a number, such as ``run``."""
    if label is not None and entity in _NUMBERS and label.isdecimal():
        return str(int(label))
    return label


def wrong_name(path: Path) -> str | None:
    """Return what is wrong with the name of a file, or None if all of it can be read.

    A label is never cut off: ``task-rest-open`` and ``task-rest_open`` are not ``task-rest``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str or None
        A reason to refuse the run.
    """
    *parts, _ = path.name.split(".")[0].split("_")
    short_names = [part.partition("-")[0] for part in parts]
    is_repeated = len(set(short_names)) < len(short_names)
    for part, short in zip(parts, short_names, strict=True):
        match = _ENTITY.fullmatch(part)
        if match is None:
            return (
                f"its file name has {quoted(part)}, which is not an entity and a label of letters "
                "and digits (such as task-rest): rename its files"
            )
        if short in _RESTRICTED:
            rule, wanted = _RESTRICTED[short]
            if not rule.fullmatch(match[2]):
                return (
                    f"its file name has {quoted(part)}, but {short} must be {wanted}: rename its "
                    "files"
                )
        if is_repeated and short_names.count(short) > 1:
            return f"its file name has the entity {short} twice: rename its files"
    return None


def unknown_entities(path: Path) -> tuple[str, ...]:
    """Return a note on entities in the name of a file that do not tell runs apart, if any."""
    *parts, _ = path.name.split(".")[0].split("_")
    unknown = sorted({part.partition("-")[0] for part in parts} - _KNOWN)
    if not unknown:
        return ()
    return (f"entities in its file name that are not known were ignored: {', '.join(unknown)}",)


def key_of_name(path: Path) -> RunKey:
    """Return the entities that identify a run, read from the name of a file that may be wrong."""
    parts = [part.partition("-") for part in path.name.split(".")[0].split("_")]
    labels = {short: label for short, _, label in parts if label}
    return RunKey(tuple((short, labels[short]) for short in RUN_ENTITIES if short in labels))


def entities_of_name(name: str) -> dict[str, str]:
    """Return the entities in a file name, short name to label without leading zeros."""
    pairs = (match.groups() for part in name.split("_") if (match := _ENTITY.match(part)))
    return {short: canonical(short, label) or label for short, label in pairs}


def wrong_folder(root: Path, path: Path, entities: Mapping[str, str]) -> str | None:
    """Return how the name of a file contradicts the folders that it is in, or None.

    Parameters
    ----------
    root : Path
        The dataset.
    path : Path
        A file in it.
    entities : mapping
        The entities in its name, with pybids' entity names.

    Returns
    -------
    str or None
        A reason to refuse the run.
    """
    relative = inside(root, path)
    folders = relative.split("/")[:-1]
    for short, name in (("sub", "subject"), ("ses", "session")):
        for folder in folders:
            if not folder.startswith(f"{short}-"):
                continue
            named = f"{short}-{entities[name]}" if name in entities else f"no {short}- entity"
            if folder != named:
                return f"its name has {named}, but it is in the folder {folder}: {relative}"
        if name in entities and not any(part.startswith(f"{short}-") for part in folders):
            return f"its name has {short}-{entities[name]}, but it is in no such folder: {relative}"
    return None
