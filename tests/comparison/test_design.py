"""The design is the model that was asked for, of those who can be in it, and says who is not."""

from __future__ import annotations

import random
from dataclasses import replace

import formulaic
import numpy as np
import pandas as pd
import pytest
from comparison_examples import (
    AGES,
    PEOPLE,
    RUNS,
    WITHIN,
    changed,
    design_of,
    runs_of,
    table_of,
    with_column,
)
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st
from option_examples import LAW
from run_examples import run_of

from nidecomp.comparison.bases import effect_of, nuisance_of
from nidecomp.comparison.describe import design_as_lines
from nidecomp.comparison.design import make_design
from nidecomp.comparison.participants import ParticipantTable
from nidecomp.comparison.records import Absence, Design
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.core.records import RunKey, StoredRows

FRAME = pd.DataFrame(list(PEOPLE.values())).astype({"age": float})
FORMULAS = [
    "group",
    "group + age",
    "group * age + sex",
    "group * sex * scale(age)",
    "C(site) + scale(age)",
    "C(site):age + C(site)",
    "0 + group + age",
    "group:sex",
    "(group + sex):age + group*sex",
]


def levels_of(design: Design) -> dict[str, str]:
    """The level that a sentence calls the reference, for each factor."""
    found = {}
    for note in design.notes:
        name, _, rest = note.partition(" is a factor: ")
        if rest:
            found[name] = rest.rpartition("its reference level is ")[2].removesuffix(".")
    return found


# ---------------------------------------------------------------- the matrix
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_matrix_is_that_of_formulaic(formula: str) -> None:
    test = "group" if "group" in formula else "site"
    if "group:sex" in formula:
        test = "group:sex"
    design = design_of(formula, test)
    expected = formulaic.Formula(formula).get_model_matrix(FRAME)
    assert design.columns == tuple(expected.columns)
    np.testing.assert_allclose(design.matrix, expected.to_numpy(float), atol=1e-12)


def test_the_matrix_is_one_of_ones_and_zeros_without_the_reference() -> None:
    design = design_of("group + age + C(site)", "group")
    people = list(PEOPLE.values())
    by_hand = [
        [1, one["group"] == "patients", float(one["age"]), one["site"] == "2", one["site"] == "3"]
        for one in people
    ]
    order = ["Intercept", "group[T.patients]", "age", "C(site)[T.2]", "C(site)[T.3]"]
    assert sorted(design.columns) == sorted(order)
    chosen = design.matrix[:, [design.columns.index(name) for name in order]]
    np.testing.assert_array_equal(chosen, np.array(by_hand, float))
    assert levels_of(design) == {"group": "controls", "site": "1"}


def test_scale_has_mean_0_and_standard_deviation_1() -> None:
    design = design_of("scale(age)", "age")
    ages = np.array(AGES, float)
    expected = (ages - ages.mean()) / ages.std(ddof=1)
    np.testing.assert_allclose(design.matrix[:, 1], expected)
    assert design.variables["age"] == tuple(map(float, AGES))


@law(deadline=None, max_examples=20, database=None)
@given(st.randoms(use_true_random=False), st.sampled_from(FORMULAS))
def test_the_order_of_the_table_and_of_the_runs_does_not_matter(
    shuffle: random.Random, formula: str
) -> None:
    labels, runs = list(PEOPLE), list(RUNS)
    shuffle.shuffle(labels)
    shuffle.shuffle(runs)
    shuffled = table_of({label: PEOPLE[label] for label in labels})
    test = "site" if "site" in formula else "group:sex" if "group:sex" in formula else "group"
    one, other = design_of(formula, test), design_of(formula, test, table=shuffled, runs=runs)
    assert one.people == other.people
    assert one.notes == other.notes
    assert one.matrix.tobytes() == other.matrix.tobytes()
    assert one.contrasts[0].weights.tobytes() == other.contrasts[0].weights.tobytes()


@law(deadline=None, max_examples=20, database=None)
@given(st.permutations(list(PEOPLE)))
def test_other_names_of_people_permute_rows(names: list[str]) -> None:
    """The first person's data are now those of who has the first name, and so on."""
    renamed = {name: PEOPLE[label] for name, label in zip(names, PEOPLE, strict=True)}
    design = design_of("group * age", "group", table=table_of(renamed))
    order = [names.index(one.participant) for one in design.people]
    original = design_of("group * age", "group")
    np.testing.assert_array_equal(design.matrix, original.matrix[order])


@LAW
@given(st.integers(0, 10**6))
def test_a_contrast_is_a_difference_of_fitted_means(seed: int) -> None:
    """For the data of a model without other effects, these are the means of groups."""
    values = np.random.default_rng(seed).standard_normal(len(PEOPLE))
    design = design_of("group", "group")
    coefficients = np.linalg.lstsq(design.matrix, values, rcond=None)[0]
    (estimate,) = design.contrasts[0].weights @ coefficients
    is_patient = np.array([one["group"] == "patients" for one in PEOPLE.values()])
    assert estimate == pytest.approx(values[is_patient].mean() - values[~is_patient].mean())


def test_variables_are_kept_as_they_are_in_the_table() -> None:
    design = design_of("group + C(site) + scale(age)", "group")
    assert set(design.variables) == {"group", "site", "age"}
    assert design.variables["group"][:2] == ("controls", "patients")
    assert design.variables["site"][:3] == (1.0, 2.0, 3.0)


def test_levels_of_numbers_are_in_the_order_of_numbers() -> None:
    table = with_column("dose", ["10", "2", "2.0"] * 4)
    design = design_of("C(dose)", "dose", table=table)
    assert design.columns == ("Intercept", "C(dose)[T.10]")
    assert "dose is a factor: 2 (8), 10 (4); its reference level is 2." in design.notes


@pytest.mark.parametrize("level", ["v0[T.L1]", "a:b", "{1/0}", "L1", "[T.x]", "ü ñ", "'", "`x`"])
def test_levels_may_have_any_name(level: str) -> None:
    table = with_column("kind", [level, "zz", level, "zz"] * 3)
    design = design_of("kind * age", "kind", table=table)
    reference, other = sorted([level, "zz"])
    name = f"kind[T.{other}]"
    assert design.columns == ("Intercept", name, "age", f"{name}:age")
    np.testing.assert_array_equal(
        design.matrix[:, 1], [value == other for value in design.variables["kind"]]
    )
    assert levels_of(design) == {"kind": reference}


# ---------------------------------------------------------------- numbers and factors
def test_a_number_with_few_values_may_be_a_code() -> None:
    said = "site is used as a number, whose values are 1, 2, 3; write C(site) if these are codes"
    assert any(note.startswith(said) for note in design_of("site", "site").notes)
    assert not any(
        "site" in note and "number" in note for note in design_of("C(site)", "site").notes
    )
    assert not any("as a number" in note for note in design_of("age", "age").notes)
    halves = with_column("half", ["0.5", "1.5"] * 6)
    assert not any("as a number" in note for note in design_of("half", "half", table=halves).notes)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("31,5", "has numbers with a comma (such as '31,5'): write a point"),
        (">89", "has numbers, and text in 1 row (such as '>89' of sub-01). Write n/a"),
        ("inf", "has numbers, and text in 1 row (such as 'inf' of sub-01)"),
        ("1e999", "text in 1 row (such as '1e999' of sub-01)"),
        ("0x1F", "text in 1 row"),
        ("1_0", "text in 1 row"),
    ],
)
def test_text_among_numbers_is_no_level(cell: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        design_of("age", "age", table=changed(age=cell))
    assert said in str(caught.value)
    assert "participants.tsv: column age" in str(caught.value)


def test_a_column_of_numbers_with_commas_is_no_factor() -> None:
    with pytest.raises(UsageError, match="has numbers with a comma"):
        design_of("x", "x", table=with_column("x", ["1,5", "2,5"] * 6))


@pytest.mark.parametrize("cell", ["a\x00b", "\u202e", "a" * 101])
def test_a_level_that_cannot_be_shown_is_refused(cell: str) -> None:
    with pytest.raises(UsageError, match="must be printable, and have at most 100 characters"):
        design_of("group", "group", table=changed(group=cell))
    # Of columns that are not used, nothing is shown.
    assert design_of("age", "age", table=changed(group=cell)).columns == ("Intercept", "age")


def test_text_cannot_be_scaled() -> None:
    with pytest.raises(
        UsageError, match=r"scale\(group\): group is no number in participants\.tsv"
    ):
        design_of("scale(group)", "group")


def test_levels_that_differ_in_case_only_are_refused() -> None:
    cells = ["Yes", "no", "yes", "no"] * 3
    with pytest.raises(UsageError, match="'Yes' and 'yes', which differ in upper and lower case"):
        design_of("smoker", "smoker", table=with_column("smoker", cells))


def test_a_level_needs_three_people_who_are_named_otherwise() -> None:
    cells = ["a"] * 5 + ["b"] * 5 + ["c", "c"]
    with pytest.raises(NothingToDoError) as caught:
        design_of("arm", "arm", table=with_column("arm", cells))
    assert "Each level of arm needs at least 3 people" in str(caught.value)
    assert "c has sub-11 and sub-12" in str(caught.value)
    enough = ["a"] * 5 + ["b"] * 4 + ["c"] * 3
    assert design_of("arm", "arm", table=with_column("arm", enough)).contrasts[0].statistic == "F"


def test_a_factor_with_a_level_for_each_has_too_many() -> None:
    cells = [f"city{place}" for place in range(12)]
    with pytest.raises(NothingToDoError, match="city has 12 levels for 12 people"):
        design_of("city", "city", table=with_column("city", cells))


# ---------------------------------------------------------------- what cannot be estimated
@pytest.mark.parametrize("cells", [["7"] * 12, ["all"] * 12, ["1", "1.0", "1.00"] * 4])
def test_a_constant_column_is_named(cells: list[str]) -> None:
    with pytest.raises(NothingToDoError, match=r"same is '(7|all|1)' for all people in the model"):
        design_of("group + same", "group", table=with_column("same", cells))


def test_a_column_that_follows_from_others_is_named_with_them() -> None:
    doubled = with_column("months", [str(12 * age) for age in AGES])
    with pytest.raises(NothingToDoError, match=r"months follows from age for the 12 people"):
        design_of("group + age + months", "group", table=doubled)
    older = with_column("later", [str(age + 7) for age in AGES])
    with pytest.raises(NothingToDoError, match=r"later follows from Intercept and age for the 12"):
        design_of("group + age + later", "group", table=older)
    coded = with_column("arm", ["A", "B"] * 6)
    with pytest.raises(NothingToDoError, match=r"arm\[T\.B\] follows from group\[T\.patients\]"):
        design_of("group + arm + sex", "group", table=coded)


def test_years_are_no_combination_of_the_constant() -> None:
    years = with_column("year", [str(2019 + place % 4) for place in range(12)])
    assert design_of("group + year", "year", table=years).matrix.shape == (12, 3)


def test_too_few_people_are_told_how_many_are_needed() -> None:
    few = {label: PEOPLE[label] for label in list(PEOPLE)[:6]}
    with pytest.raises(NothingToDoError, match=r"6 people are too few .* 4 columns .* at least 7"):
        design_of("group + age + mean_fd", "group", table=table_of(few), runs=_moving())
    assert design_of("group + age", "group", table=table_of(few)).matrix.shape == (6, 3)


def test_an_interaction_needs_people_of_all_kinds() -> None:
    cells = ["x", "y", "x", "y", "x", "x"] * 2
    table = with_column("arm", ["x" if one["group"] == "controls" else cell for one, cell in
                                zip(PEOPLE.values(), cells, strict=True)])  # fmt: skip
    with pytest.raises(NothingToDoError, match="but nobody in it is controls and y"):
        design_of("group * arm", "group", table=table)


def test_an_interaction_of_which_few_people_tell_is_told() -> None:
    cells = ["M", "F"] * 6
    cells[0], cells[1] = "F", "M"
    table = with_column("gender", cells)
    notes = design_of("group * gender", "group", table=table).notes
    assert "The model has group:gender, for which only 1 person is controls and F." in notes


def test_an_effect_that_the_rest_explains_is_told() -> None:
    said = "of the variance of group among these people is explained by the rest of the model"

    def is_told(model: str, cells: list[int]) -> bool:
        table = with_column("x", list(map(str, cells)))
        return any(said in note for note in design_of(model, "group", table=table).notes)

    years = [1960 + age for age in AGES]
    assert is_told("group * x", years)
    assert not is_told("group * scale(x)", years)
    assert is_told("group + x", [10 * (place % 2) + age % 2 for place, age in enumerate(AGES)])
    assert not is_told("group + x", years)


def test_maps_have_a_mean() -> None:
    with pytest.raises(UsageError, match="The model has no constant"):
        design_of("0 + age", "age")
    # A line through 0 would be said to increase where the mean of the differences is above 0.
    with pytest.raises(UsageError, match="told from the mean of the differences"):
        design_of("0 + age", "age", within=WITHIN)
    assert "Intercept" not in design_of("0 + group", "group", within=WITHIN).columns


def test_what_the_rest_of_the_model_explains_is_said_where_it_matters() -> None:
    def notes(*asked: str, **options: str) -> list[str]:
        return [note for note in design_of(*asked, **options).notes if "hardly be seen" in note]

    # Far from the ages that people have; but the test of an interaction does not depend on where
    # the age is 0, and a mean has no variance.
    assert len(notes("group * age", "group")) == 1
    assert not notes("group * scale(age)", "group", "group:age")
    assert not notes("group * age", "group:age")
    assert not notes("age", "mean", within=WITHIN)


def test_who_alone_decides_a_test_is_named() -> None:
    ages = [*(str(age) for age in range(30, 41)), "340"]
    design = design_of("age + group", "age", "group", table=with_column("age", ages))
    named = [note for note in design.notes if "of the weight in the test of" in note]
    assert len(named) == 1
    assert named[0].startswith("sub-12 has 8")
    assert "test of age" in named[0]
    assert not [note for note in design_of("age", "age").notes if "of the weight" in note]


def test_very_unequal_amounts_of_data_are_said() -> None:
    first, *others = RUNS
    half = [replace(first, kept=first.kept[:50]), *others]
    (note,) = [one for one in design_of("age", "age", runs=half).notes if "volumes" in one]
    assert note.startswith("Participants have 50 to 100 volumes that are used.")
    asked = "age + n_volumes", "age"
    assert not any("shrunk" in one for one in design_of(*asked, runs=half).notes)
    assert not any("volumes" in one for one in design_of("age", "age").notes)


# ---------------------------------------------------------------- who is in it
def test_people_without_values_are_left_out_with_the_reason() -> None:
    rows = {label: dict(row) for label, row in PEOPLE.items() if label != "03"}
    del rows["02"]["age"], rows["05"]["age"], rows["05"]["group"]
    rows["somebody"] = {"group": "pilot", "age": "unknown"}
    table = ParticipantTable(table_of().columns, rows)
    design = design_of("group + age", "group", table=table)
    assert design.left_out == (
        Absence("02", "it has no value of age"),
        Absence("03", "it is not in participants.tsv"),
        Absence("05", "it has no value of group and age"),
    )
    assert [one.participant for one in design.people] == [
        label for label in PEOPLE if label not in {"02", "03", "05"}
    ]


def test_people_who_are_missing_are_told_where_too_few_are_left() -> None:
    rows = {label: dict(row) for label, row in PEOPLE.items()}
    for label in list(rows)[::2]:
        del rows[label]["group"]
    with pytest.raises(NothingToDoError) as caught:
        design_of("group", "group", table=ParticipantTable(table_of().columns, rows))
    out = ", ".join(f"sub-{label}" for label in list(rows)[::2])
    assert f"\nLeft out before that:\n  {out}: it has no value of group" in str(caught.value)


def test_a_mean_is_no_effect_that_the_rest_explains() -> None:
    for model in ("group", "group + age"):
        notes = design_of(model, "mean", within=WITHIN).notes
        assert not any("of the variance of mean" in note for note in notes)


@pytest.mark.parametrize("options", [{"test": "participant_id"}, {"blocks": "participant_id"}])
def test_the_names_of_people_are_no_variable(options: dict[str, str]) -> None:
    test = options.pop("test", "group")
    with pytest.raises(UsageError, match="participant_id is a name of each participant's own"):
        design_of(test, test, **options)


def test_everybody_with_runs_is_in_the_design_or_left_out() -> None:
    rows = {label: row for label, row in PEOPLE.items() if int(label) > 4}
    design = design_of("group", "group", table=table_of(rows))
    present = {one.participant for one in design.people}
    absent = {one.participant for one in design.left_out}
    assert present | absent == {run.participant for run in RUNS}
    assert not present & absent


def test_labels_that_lost_their_zeros_are_hinted_at() -> None:
    rows = {label.lstrip("0"): row for label, row in PEOPLE.items()}
    with pytest.raises(NothingToDoError) as caught:
        design_of("group", "group", table=table_of({k: v for k, v in rows.items() if len(k) == 1}))
    assert "Nobody is left to be compared" in str(caught.value)
    assert "sub-01: it is not in participants.tsv (it has sub-1: labels must be" in str(
        caught.value
    )


def test_those_whose_runs_failed_are_listed_once() -> None:
    absent = (Absence("99", "its run failed"), Absence("01", "not so: it has runs"))
    design = make_design(
        ComparisonOptions(model="group", test=("group",)), table_of(), RUNS, absent
    )
    assert design.left_out == (Absence("99", "its run failed"),)


def test_who_is_compared_by_some_of_the_runs_is_told() -> None:
    asked = ComparisonOptions(model="group", test=("group",))
    unused = {"02": "it is short", "99": "it is short"}
    notes = make_design(asked, table_of(), RUNS, unused=unused).notes
    said = "Of 1 participant, some runs could not be used, and the others are compared: sub-02."
    assert notes[0] == said
    assert said not in make_design(asked, table_of(), RUNS).notes


def test_runs_of_other_sites_are_not_compared() -> None:
    away = replace(
        RUNS[0], files=replace(RUNS[0].files, stored=(StoredRows(6, "x", RUNS[0].files.bold),))
    )
    design = design_of("group", "group", runs=[away, *RUNS[1:]])
    (absence,) = design.left_out
    assert absence.participant == "01"
    assert "another site" in absence.reason


def test_all_runs_of_a_person_are_one_row() -> None:
    more = runs_of("sub-01_task-nback", "sub-01_task-rest_run-2")
    design = design_of("group", "group", runs=[*RUNS, *more])
    first = design.people[0]
    assert first.runs == ("sub-01_task-nback", "sub-01_task-rest", "sub-01_task-rest_run-2")
    assert first.minus == ()
    assert len(design.people) == 12


# ---------------------------------------------------------------- what is known of the runs
def _moving() -> list:  # type: ignore[type-arg]
    return [replace(run, mean_fd_mm=0.1 + 0.01 * (place * 7 % 5)) for place, run in enumerate(RUNS)]


def test_displacement_is_weighted_by_the_volumes_that_are_kept() -> None:
    (second,) = runs_of("sub-01_task-rest_run-2", mean_fd_mm=0.4)
    short = replace(second, kept=tuple(range(50)))
    design = design_of("mean_fd + n_volumes", "mean_fd", runs=[*_moving(), short])
    assert design.variables["mean_fd"][0] == pytest.approx((0.1 * 100 + 0.4 * 50) / 150)
    assert design.variables["n_volumes"][:2] == (150.0, 100.0)


def test_a_run_without_displacement_has_none() -> None:
    runs = [replace(run, mean_fd_mm=None) if run.participant == "04" else run for run in _moving()]
    design = design_of("mean_fd", "mean_fd", runs=runs)
    assert design.left_out == (
        Absence("04", "it has no value of mean_fd (its confounds have no framewise_displacement)"),
    )


def test_no_table_is_needed_for_what_is_known() -> None:
    design = make_design(
        ComparisonOptions(model="mean_fd", test=("mean_fd",)), ParticipantTable(), _moving()
    )
    assert len(design.people) == 12


def test_a_column_of_the_table_is_preferred_and_told() -> None:
    table = with_column("mean_fd", [str(place) for place in range(12)])
    design = design_of("mean_fd", "mean_fd", table=table)
    assert design.variables["mean_fd"] == tuple(map(float, range(12)))
    assert (
        "mean_fd is the column of participants.tsv, and not what is known of the runs."
        in design.notes
    )


def test_datasets_are_a_factor() -> None:
    keys = [run.key if int(run.participant) > 6 else run.key.of_dataset("B") for run in RUNS]
    runs = [run_of(key) for key in keys]
    design = make_design(
        ComparisonOptions(model="dataset", test=("dataset",)), ParticipantTable(), runs
    )
    assert design.columns == ("Intercept", "dataset[T.preprocessed]")
    with pytest.raises(NothingToDoError, match="dataset is 'preprocessed' for all people"):
        design_of("dataset", "dataset")


def test_a_person_of_a_dataset_is_hinted_at_by_the_label_without_its_name() -> None:
    runs = [run_of(RunKey((("sub", f"B{label}"), ("task", "rest")), "B")) for label in PEOPLE]
    with pytest.raises(NothingToDoError, match=r"it has sub-01: of dataset B, write sub-B01"):
        design_of("group", "group", runs=runs)


# ---------------------------------------------------------------- blocks
def test_a_column_that_a_dataset_lacks_is_told_as_such() -> None:
    runs = [
        replace(run, files=replace(run.files, key=replace(run.key, dataset="B")))
        if int(run.participant) > 8
        else run
        for run in RUNS
    ]
    rows = {label: dict(row) for label, row in PEOPLE.items()}
    for label in ("09", "10", "11", "12", "01"):
        del rows[label]["age"]
    table = ParticipantTable(table_of().columns, rows)
    design = design_of("group + age", "group", runs=runs, table=table)
    assert {one.participant: one.reason for one in design.left_out} == {
        "01": "it has no value of age",
        **dict.fromkeys(
            ("09", "10", "11", "12"), "it has no value of age (as everybody in dataset B)"
        ),
    }


def test_blocks_are_those_of_the_rows() -> None:
    design = design_of("group", "group", blocks="site")
    assert design.blocks == tuple(one["site"] for one in PEOPLE.values())
    assert design.blocks_column == "site"
    assert (
        "Participants are permuted within the levels of site only: 1 (4), 2 (4), 3 (4)."
        in design.notes
    )


def test_people_without_a_block_are_left_out() -> None:
    design = design_of("group", "group", table=changed(site=None), blocks="site")
    assert design.left_out == (Absence("01", "it has no value of site"),)


@pytest.mark.parametrize(
    ("model", "test", "blocks", "said"),
    [
        ("group", "group", "alone", "all people in the model are 'x', so that there is one block"),
        ("group", "group", "each", "every person in the model has a value of their own"),
        ("group", "group", "group", "cannot be tested within the blocks of group"),
        ("C(site) + group", "site", "site", "'site' cannot be tested within the blocks of site"),
        ("group + age", "group", "nowhere", "has no column 'nowhere'"),
    ],
)
def test_blocks_in_which_nothing_changes_are_refused(
    model: str, test: str, blocks: str, said: str
) -> None:
    rows = {label: row | {"alone": "x", "each": f"p{label}"} for label, row in PEOPLE.items()}
    with pytest.raises(NidecompError) as caught:
        design_of(model, test, table=table_of(rows), blocks=blocks)
    assert said in str(caught.value)


def test_within_blocks_the_mean_can_be_tested_by_signs() -> None:
    assert design_of(None, within=WITHIN, blocks="site").contrasts[0].text == "mean"


# ---------------------------------------------------------------- nuisance, and the log
@pytest.mark.parametrize("unit", [1e-6, 1e3, 1e9])
def test_the_unit_of_a_variable_does_not_matter(unit: float) -> None:
    table = with_column("x", [repr(age * unit) for age in AGES])
    for test in ("group", "x", "group:x"):
        one = design_of("group * age", test.replace("x", "age"))
        other = design_of("group * x", test, table=table)
        for basis in (effect_of, nuisance_of):
            spaces = [
                (found := basis(design.matrix, design.contrasts[0].weights)) @ found.T
                for design in (one, other)
            ]
            np.testing.assert_allclose(*spaces, atol=1e-9)


@pytest.mark.parametrize("test", ["group", "age", "site", "sex"])
def test_nuisance_and_effect_span_the_model(test: str) -> None:
    design = design_of("group + age + C(site) + sex", test)
    weights = design.contrasts[0].weights
    nuisance = nuisance_of(design.matrix, weights)
    assert nuisance.shape[1] == design.matrix.shape[1] - len(weights)
    # Data of the nuisance alone have no effect.
    for column in nuisance.T:
        coefficients = np.linalg.lstsq(design.matrix, column, rcond=None)[0]
        np.testing.assert_allclose(weights @ coefficients, 0, atol=1e-10)


def test_the_log_says_that_differences_are_compared() -> None:
    assert design_as_lines(design_of(within=WITHIN))[0] == (
        "Comparing the difference ses-post - ses-pre of 12 participants in the model 1 (a mean, "
        "without variables); its columns are Intercept"
    )


def test_the_log_names_everybody_who_is_left_out() -> None:
    table = changed(age=None)
    lines = design_as_lines(design_of("group + age + C(site)", "group", "site", table=table))
    assert lines[0] == (
        "Comparing 11 participants in the model group + age + C(site); its columns are Intercept, "
        "group[T.patients], age, C(site)[T.2], C(site)[T.3]"
    )
    assert "Test group (t): positive means larger in patients than in controls" in lines
    assert "Test site (F with 2 degrees of freedom)" in lines
    assert "  sub-01: it has no value of age" in lines
    assert any(line.startswith("Note: group is a factor") for line in lines)
