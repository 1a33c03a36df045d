"""The answer of each test is a sentence, whether something was found or nothing."""

from __future__ import annotations

from math import nan

import pytest

from nidecomp.comparison.answers import answers, p_in_words


def row(component: str, p: object, **more: object) -> dict[str, object]:
    return {
        "decomposition": "canica20",
        "component": component,
        "label": None,
        "compared": 1,
        "contrast": "group",
        "test": "group",
        "map_p_tfce_all": p,
        "map_p_voxel_all": 0.001,
        "map_direction": "larger in patients",
        **more,
    }


def test_what_is_found_is_said_with_the_smallest_p_first() -> None:
    rows = [
        row("canica01", 0.03),
        row("canica02", 0.2),
        row("canica07", 0.012, label="Salience"),
        row("canica08", None, compared=0),
    ]
    (answer,) = answers(rows)
    assert answer.sentences == (
        "canica07 (Salience): larger in patients, p = 0.012 corrected over 3 components",
        "canica01: larger in patients, p = 0.03 corrected over 3 components",
    )
    assert answer.lines[0] == f"group, maps of canica20: {answer.sentences[0]}"


def test_nothing_found_is_said_as_plainly() -> None:
    (answer,) = answers([row("canica01", 0.31), row("canica02", 0.9)])
    assert answer.sentences == (
        "nothing found in any component (smallest p = 0.31 corrected over 2 components)",
    )


def test_p_of_exactly_five_per_cent_is_nothing_found() -> None:
    assert answers([row("canica01", 0.05)])[0].findings == ()
    assert answers([row("canica01", 0.0499)])[0].findings != ()


def test_several_tests_are_counted() -> None:
    rows = [row("canica01", 0.3), row("canica01", 0.3, contrast="age", test="age")]
    assert [answer.test for answer in answers(rows)] == ["group", "age"]
    assert "over 1 component and 2 tests" in answers(rows)[0].sentences[0]


def test_voxels_decide_where_there_is_no_tfce_and_f_has_no_direction() -> None:
    without = {name: value for name, value in row("canica01", 1).items() if "tfce" not in name}
    (answer,) = answers([{**without, "map_direction": None}])
    assert answer.sentences == ("canica01: differs, p = 0.001 corrected over 1 component",)


@pytest.mark.parametrize("text", [str, lambda value: value])
def test_rows_of_files_give_the_same(text: type) -> None:
    rows = [row("canica01", 0.012), row("canica02", 1, compared=0)]
    as_read = [
        {name: "n/a" if value is None else text(value) for name, value in one.items()}
        for one in rows
    ]
    assert answers(as_read) == answers(rows)


def test_edges_are_named_by_both_ends() -> None:
    edges = [
        {
            "decomposition": "canica20", "contrast": "group", "kind": "partial",
            "component_1": "canica01", "component_2": "canica02", "p_all": p,
            "direction": "smaller in patients",
        }
        for p in (0.02, nan)
    ]  # fmt: skip
    rows = [row("canica01", 1.0, label="Salience"), row("canica02", 1.0)]
    _, answer = answers(rows, edges)
    assert answer.lines == (
        "group, connectomes of canica20 (partial): canica01 (Salience) and canica02: smaller in "
        "patients, p = 0.02 corrected over 1 edge",
    )


def test_a_set_of_edges_that_was_found_is_said_where_no_edge_was() -> None:
    edges = [
        {
            "decomposition": "canica20", "contrast": "group", "kind": "partial",
            "component_1": "canica01", "component_2": f"canica{place:02d}", "p_all": 0.2,
            "direction": "smaller in patients", "network_p": p,
        }
        for place, p in ((2, 0.01), (3, 0.01), (4, 0.3), (5, None))
    ]  # fmt: skip
    rows = [row(f"canica{place:02d}", 1.0) for place in range(1, 6)]
    _, answer = answers(rows, edges)
    assert answer.sentences == (
        "nothing found in any edge (smallest p = 0.2 corrected over 4 edges)",
        "2 edges in connected sets that differ, smallest p = 0.01 (network-based statistic)",
    )


def test_what_could_not_be_tested_is_said() -> None:
    (answer,) = answers([row("canica01", nan)])
    assert answer.sentences == ("no component could be tested",)


def test_the_smallest_p_values_are_given_as_below() -> None:
    assert p_in_words(0.0312) == "p = 0.031"
    assert p_in_words(2e-6) == "p < 0.0001"


@pytest.mark.parametrize(
    ("p", "text"), [(0.04996, "0.04996"), (0.0499, "0.0499"), (0.05, "0.05"), (0.0502, "0.05")]
)
def test_p_values_near_the_limit_are_on_their_side_of_it(p: float, text: str) -> None:
    assert p_in_words(p) == f"p = {text}"
