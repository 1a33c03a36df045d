"""Participants who were found, but of whom no run can be compared: who they are, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nidecomp.comparison.records import Absence
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun, group_by_text
from nidecomp.core.records import UsableRun

_UNKNOWN = "none of the participant's runs could be used"


def grouped(left_out: Iterable[Absence]) -> str:
    """Return who is left out, with all who have the same reason in one line."""
    lines = group_by_text((f"sub-{one.participant}", one.reason) for one in left_out)
    return "\n".join(f"  {', '.join(names)}: {reason}" for reason, names in lines)


def absent_people(
    inventory: Inventory, runs: Iterable[UsableRun], labels: Sequence[str]
) -> tuple[Absence, ...]:
    """Return the participants who have no run, or whose runs were all refused by a rule.

    Parameters
    ----------
    inventory : Inventory
        Has what was refused, and folders without a run that matches the selection.
    runs : iterable of UsableRun
        The runs that can be used.
    labels : sequence of str
        The participants who were asked for (``--participant-label``); none: all of them.

    Returns
    -------
    tuple of Absence
        Sorted by participant.
    """
    present = {run.participant for run in runs}
    refused = _absences(run for run in inventory.refused if run.key.participant not in present)
    found = {one.participant: one for one in (*_without_runs(inventory), *refused)}
    return tuple(
        found[person]
        for person in sorted(found)
        if person not in present and (not labels or person in labels)
    )


def _without_runs(inventory: Inventory) -> Iterable[Absence]:
    """Yield the participants of folders without runs that match, who were not excluded."""
    for one in inventory.unmatched:
        if not one.is_deselected:
            # The folder of a session has its name, too.
            person = one.name.partition("_")[0].removeprefix("sub-")
            yield Absence(person, f"no run matches the selection ({one.reason})")


def lost_people(
    runs: Iterable[UsableRun], there: Iterable[UsableRun], failed: Iterable[FailedRun]
) -> tuple[Absence, ...]:
    """Return the participants of whom no run is there any more.

    Parameters
    ----------
    runs : iterable of UsableRun
        The runs that were found.
    there : iterable of UsableRun
        Those that were projected.
    failed : iterable of FailedRun
        Those that failed, with the reason.

    Returns
    -------
    tuple of Absence
        Sorted by participant.
    """
    left = {run.participant for run in there}
    lost = {run.participant for run in runs} - left
    found = {
        one.participant: one
        for one in _absences(run for run in failed if run.key.participant in lost)
    }
    return tuple(found.get(person, Absence(person, _UNKNOWN)) for person in sorted(lost))


def unused_runs(runs: Iterable[RefusedRun | FailedRun]) -> dict[str, str]:
    """Return why runs of a participant cannot be used, in words, for each who has such runs."""
    of_person = _named(runs)
    return {person: _reasons(named) for person, named in of_person.items()}


def _absences(runs: Iterable[RefusedRun | FailedRun]) -> tuple[Absence, ...]:
    """Return the participants of runs, each with the reasons of theirs."""
    return tuple(
        Absence(person, f"{_UNKNOWN} ({why})") for person, why in sorted(unused_runs(runs).items())
    )


def _named(runs: Iterable[RefusedRun | FailedRun]) -> dict[str, list[tuple[str, str]]]:
    """Return the names of each participant's runs, with the reasons."""
    of_person: dict[str, list[tuple[str, str]]] = {}
    for run in sorted(runs, key=lambda run: run.key.label):
        of_person.setdefault(run.key.participant, []).append((run.key.label, run.reason))
    return of_person


def _reasons(named: Sequence[tuple[str, str]]) -> str:
    """Return each reason with its runs."""
    return "; ".join(f"{' and '.join(names)}: {why}" for why, names in group_by_text(named))
