"""Differences are between the sets of runs that were named, of those who have both."""

from __future__ import annotations

import pytest
from comparison_examples import PEOPLE, PRE_AND_POST, WITHIN, design_of, runs_of

from nidecomp.comparison.records import Absence, Measured
from nidecomp.comparison.within import rows_of, sides_of
from nidecomp.core.errors import NothingToDoError, UsageError


def test_each_person_has_the_runs_of_both_sides() -> None:
    rows = rows_of(PRE_AND_POST[::-1], WITHIN)
    assert [row.measured.participant for row in rows.rows] == sorted(PEOPLE)
    assert rows.rows[0].measured == Measured(
        "01", ("sub-01_ses-post_task-rest",), ("sub-01_ses-pre_task-rest",)
    )
    assert rows.left_out == rows.notes == ()


def test_the_other_way_round_the_sides_are_swapped() -> None:
    one, other = rows_of(PRE_AND_POST, WITHIN), rows_of(PRE_AND_POST, "ses-pre - ses-post")
    for row, swapped in zip(one.rows, other.rows, strict=True):
        assert row.measured.runs == swapped.measured.minus
        assert row.measured.minus == swapped.measured.runs


def test_several_runs_of_a_side_are_combined_and_others_are_not_used() -> None:
    runs = runs_of(
        "sub-01_task-rest_run-1", "sub-01_task-rest_run-2", "sub-01_task-nback_run-1",
        "sub-01_task-film",
    )  # fmt: skip
    rows = rows_of(runs, "task-rest - task-nback")
    (row,) = rows.rows
    assert row.measured.runs == ("sub-01_task-rest_run-1", "sub-01_task-rest_run-2")
    assert row.measured.minus == ("sub-01_task-nback_run-1",)
    assert rows.notes == (
        "Of 1 participant, the runs on both sides of task-rest - task-nback differ in more than "
        "that (in number, task or other entities): sub-01.",
        "1 run is on neither side of task-rest - task-nback, and not compared.",
    )


def test_several_entities_of_a_side_are_joined_as_in_names_of_files() -> None:
    names = [f"sub-01_ses-{session}_task-{task}" for session in ("a", "b") for task in ("x", "y")]
    (row,) = rows_of(runs_of(*names), "ses-a_task-x - task-y_ses-b").rows
    assert row.measured == Measured("01", ("sub-01_ses-a_task-x",), ("sub-01_ses-b_task-y",))


def test_indices_of_runs_are_numbers() -> None:
    (row,) = rows_of(runs_of("sub-01_task-x_run-01", "sub-01_task-x_run-2"), "run-1 - run-02").rows
    assert (row.measured.runs, row.measured.minus) == (
        ("sub-01_task-x_run-01",), ("sub-01_task-x_run-2",),
    )  # fmt: skip


def test_a_side_that_could_not_be_used_is_told_with_the_reason() -> None:
    runs = [run for run in PRE_AND_POST if not run.label.startswith("sub-02_ses-pre")]
    unused = {"02": "sub-02_ses-pre_task-rest: it was cut off", "03": "another run: it is short"}
    (absence,) = rows_of(runs, WITHIN, unused).left_out
    assert absence.reason == (
        "it has no run with ses-pre that could be used (sub-02_ses-pre_task-rest: it was cut off)"
    )


def test_people_without_both_sides_are_left_out_with_the_side() -> None:
    runs = [
        run
        for run in PRE_AND_POST
        if run.label not in {"sub-01_ses-post_task-rest", "sub-02_ses-pre_task-rest"}
    ]
    more = runs_of("sub-13_ses-mid_task-rest")
    design = design_of("group", "group", runs=[*runs, *more], within=WITHIN)
    assert design.left_out == (
        Absence("01", "it has no run with ses-post"),
        Absence("02", "it has no run with ses-pre"),
        Absence("13", "it has no run with ses-post or ses-pre"),
    )
    assert design.within == WITHIN


@pytest.mark.parametrize(
    ("within", "said"),
    [
        ("ses-post", "Write two entities"),
        ("ses-post-ses-pre", "with blanks around the minus"),
        ("ses-post - ses-pre - ses-mid", "Write two entities"),
        ("post - pre", "'post' is no entity with a label"),
        ("ses-post - ses-", "'ses-' is no entity with a label"),
        ("ses-post - ses-post", "both sides are the same"),
        ("run-1 - run-01", "both sides are the same"),
        ("ses-post_task-rest - task-rest_ses-post", "both sides are the same"),
        ("ses-post - task-rest", "sub-01_ses-post_task-rest matches both sides"),
        ("ses-post - ses-later", "no run has ses-later. Runs have: ses-post, ses-pre, task-rest."),
        ("visit-2 - visit-1", "no run has visit-2"),
    ],
)
def test_what_is_no_difference_is_refused(within: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows_of(PRE_AND_POST, within)
    assert said in str(caught.value)
    assert f"--within {within!r}" in str(caught.value)


def test_where_nobody_has_both_sides_all_are_named() -> None:
    runs = runs_of("sub-01_ses-post_task-rest", "sub-02_ses-pre_task-rest")
    with pytest.raises(NothingToDoError, match=r"sub-01: it has no run with ses-pre\n  sub-02"):
        design_of(None, runs=runs, within=WITHIN)


def test_sides_are_given_back_as_they_were_written() -> None:
    assert sides_of("ses-post_task-rest - ses-pre") == ("ses-post_task-rest", "ses-pre")


def test_blocks_that_no_sign_flip_needs_are_not_said_to_be_used() -> None:
    design = design_of(None, within=WITHIN, blocks="site")
    assert design.blocks == ()
    assert design.blocks_column == ""
    assert any("--blocks site changes nothing here" in note for note in design.notes)
    both = design_of("group", "mean", "group", within=WITHIN, blocks="site")
    assert both.blocks_column == "site"
    assert not any("changes nothing" in note for note in both.notes)
