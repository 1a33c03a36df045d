"""Participants of whom nothing can be compared are listed with the reason of their runs."""

from __future__ import annotations

from pathlib import Path

from comparison_examples import runs_of

from nidecomp.comparison.absent import absent_people, lost_people
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun, UnmatchedFolder
from nidecomp.core.records import UsableRun

RUNS = runs_of("sub-01_task-rest", "sub-02_task-rest", "sub-03_task-rest", "sub-03_task-nback")


def refused(run: UsableRun, reason: str) -> RefusedRun:
    return RefusedRun(run.key, Path("bold.nii.gz"), reason)


def test_who_has_refused_runs_only_is_absent_with_their_reasons() -> None:
    first, second, third, fourth = RUNS
    rules = [refused(fourth, "it is short"), refused(third, "it is short"), refused(second, "x")]
    (only,) = absent_people(Inventory(refused=tuple(rules)), [first, second], ())
    assert only.participant == "03"
    assert only.reason == (
        "none of the participant's runs could be used (sub-03_task-nback and sub-03_task-rest: it "
        "is short)"
    )
    assert absent_people(Inventory(refused=tuple(rules)), [first, second], ("01", "02")) == ()


def test_who_has_no_run_of_those_asked_for_is_absent_unless_excluded() -> None:
    folders = tuple(
        UnmatchedFolder(name, Path(name), "it has no task rest", is_out)
        for name, is_out in (("sub-01", False), ("sub-08_ses-1", False), ("sub-09", True))
    )
    (only,) = absent_people(Inventory(unmatched=folders), RUNS, ())
    assert (only.participant, only.reason) == (
        "08",
        "no run matches the selection (it has no task rest)",
    )


def test_who_lost_all_runs_is_absent_with_the_reason_where_it_is_known() -> None:
    failed = [FailedRun(RUNS[2].key, Path("bold.nii.gz"), "it is damaged")]
    lost = lost_people(RUNS, RUNS[:1], failed)
    assert {one.participant: one.reason for one in lost} == {
        "02": "none of the participant's runs could be used",
        "03": "none of the participant's runs could be used (sub-03_task-rest: it is damaged)",
    }
    # Who has another run is compared by it.
    assert [one.participant for one in lost_people(RUNS, [RUNS[0], RUNS[3]], failed)] == ["02"]
