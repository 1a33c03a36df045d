"""The rows of the design: each participant's runs, or the two sets whose difference is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nidecomp.comparison.records import Absence, Measured
from nidecomp.core.errors import UsageError
from nidecomp.core.records import RunKey, UsableRun
from nidecomp.core.text import count, quoted, verb

_HOW = "Write two entities and their labels, such as 'ses-post - ses-pre'"
# Entities whose labels are numbers: run-1 and run-01 are the same.
_INDICES = frozenset({"run", "echo", "chunk"})
_SHOWN = 5
AT_A_SITE = "its runs were reduced at another site, and their images are not here"

Entities = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A participant with the runs that the data of a row of the design come from."""

    measured: Measured
    runs: tuple[UsableRun, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of a design before its variables are looked at.

    Parameters
    ----------
    rows : tuple of Row
        Sorted by participant.
    left_out : tuple of Absence
    notes : tuple of str
    """

    rows: tuple[Row, ...]
    left_out: tuple[Absence, ...] = ()
    notes: tuple[str, ...] = ()


def rows_of(
    runs: Iterable[UsableRun], within: str | None, unused: Mapping[str, str] = MappingProxyType({})
) -> Rows:
    """Return the rows of the design.

    Parameters
    ----------
    runs : iterable of UsableRun
    within : str or None
        ``--within``: two sets of runs whose difference is compared. None: all runs of a
        participant are combined.
    unused : mapping of str to str
        Participants who have more runs, to the reason why these cannot be used.

    Returns
    -------
    Rows
        Participants who lack one of both sets are left out.

    Raises
    ------
    UsageError
        `within` is no difference, no run matches one of its sides, or a run matches both.
    """
    of_person: dict[str, list[UsableRun]] = {}
    for run in sorted(runs, key=lambda run: run.label):
        of_person.setdefault(run.participant, []).append(run)
    here = {
        person: tuple(run for run in own if not run.is_of_site)
        for person, own in sorted(of_person.items())
    }
    away = tuple(Absence(person, AT_A_SITE) for person, own in here.items() if not own)
    present = {person: own for person, own in here.items() if own}
    if within is None:
        rows = (Row(Measured(person, _names(own)), own) for person, own in present.items())
        return Rows(tuple(rows), away)
    found = _differences(present, within, unused)
    return Rows(found.rows, (*away, *found.left_out), found.notes)


def sides_of(within: str) -> tuple[str, str]:
    """Return both sides of a difference such as ``ses-post - ses-pre``.

    Raises
    ------
    UsageError
        It is no difference of two sets of runs.
    """
    plus, minus = _sides(within)
    return _text(plus), _text(minus)


def _sides(within: str) -> tuple[Entities, Entities]:
    sides = within.split(" - ")
    if len(sides) != 2:
        raise UsageError(
            f"--within {quoted(within)} is no difference of two sets of runs. {_HOW}, with blanks "
            "around the minus."
        )
    plus, minus = (_entities(side, within) for side in sides)
    if len(plus) == len(minus) and all(_has(RunKey(minus), pair) for pair in plus):
        raise UsageError(f"--within {quoted(within)}: both sides are the same. {_HOW}.")
    return plus, minus


def _entities(side: str, within: str) -> Entities:
    parts = [part.partition("-") for part in side.strip().split("_")]
    for name, _, label in parts:
        if not (name.isalpha() and label.replace("+", "").isalnum()):
            raise UsageError(
                f"--within {quoted(within)}: {quoted(side.strip())} is no entity with a label "
                f"(several are joined by _, as in names of files). {_HOW}."
            )
    return tuple((name, label) for name, _, label in parts)


def _text(side: Entities) -> str:
    return "_".join(f"{name}-{label}" for name, label in side)


def _has(key: RunKey, pair: tuple[str, str]) -> bool:
    name, label = pair
    own = key.get(name)
    return own is not None and _same_label(name, own) == _same_label(name, label)


def _same_label(name: str, label: str) -> str:
    return label.lstrip("0") if name in _INDICES else label


def _names(runs: Iterable[UsableRun]) -> tuple[str, ...]:
    return tuple(run.label for run in runs)


def _differences(
    people: Mapping[str, tuple[UsableRun, ...]], within: str, unused: Mapping[str, str]
) -> Rows:
    plus, minus = _sides(within)
    rows: list[Row] = []
    left_out: list[Absence] = []
    unlike: list[str] = []
    n_unused = 0
    for person, runs in people.items():
        sides = [_matching(runs, side) for side in (plus, minus)]
        if both := sorted({*_names(sides[0])} & {*_names(sides[1])}):
            raise UsageError(
                f"--within {quoted(within)}: {both[0]} matches both sides. Name the same entities "
                "on both, such as 'ses-post_task-rest - ses-pre_task-rest'."
            )
        n_unused += len(runs) - sum(map(len, sides))
        lacking = [_text(side) for side, own in zip((plus, minus), sides, strict=True) if not own]
        if lacking:
            why = f" that could be used ({unused[person]})" if person in unused else ""
            left_out.append(Absence(person, f"it has no run with {' or '.join(lacking)}{why}"))
            continue
        if _others(sides[0], plus) != _others(sides[1], minus):
            unlike.append(f"sub-{person}")
        measured = Measured(person, _names(sides[0]), _names(sides[1]))
        rows.append(Row(measured, (*sides[0], *sides[1])))
    _check_found(people, within, plus, minus)
    return Rows(tuple(rows), tuple(left_out), tuple(_notes(within, unlike, n_unused)))


def _matching(runs: Iterable[UsableRun], side: Entities) -> tuple[UsableRun, ...]:
    return tuple(run for run in runs if all(_has(run.key, pair) for pair in side))


def _others(runs: Iterable[UsableRun], side: Entities) -> list[Entities]:
    """Return the entities of runs apart from those that a side names."""
    named = {"sub", *(name for name, _ in side)}
    return sorted(tuple(pair for pair in run.key.entities if pair[0] not in named) for run in runs)


def _check_found(
    people: Mapping[str, tuple[UsableRun, ...]], within: str, *sides: Entities
) -> None:
    """Raise UsageError where no run of anybody matches a side."""
    runs = [run for own in people.values() for run in own]
    for side in sides:
        if not runs or _matching(runs, side):
            continue
        labels = {
            f"{name}-{label}" for run in runs for name, label in run.key.entities if name != "sub"
        }
        shown = ", ".join(sorted(labels)[: 4 * _SHOWN])
        raise UsageError(
            f"--within {quoted(within)}: no run has {_text(side)}. Runs have: {shown or 'none'}."
        )


def _notes(within: str, unlike: Sequence[str], n_unused: int) -> Iterable[str]:
    if unlike:
        shown = ", ".join(unlike[:_SHOWN]) + (", …" if len(unlike) > _SHOWN else "")
        yield (
            f"Of {count(len(unlike), 'participant')}, the runs on both sides of {within} differ in "
            f"more than that (in number, task or other entities): {shown}."
        )
    if n_unused:
        runs = verb(n_unused, "run is", "runs are")
        yield f"{n_unused} {runs} on neither side of {within}, and not compared."
