"""A BIDS Stats Model gives the design and the contrasts of its dataset-level node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_examples import PRE_AND_POST, RUNS, WITHIN, design_of, table_of
from hypothesis import given
from hypothesis import strategies as st
from option_examples import LAW

from nidecomp.comparison.design import make_design
from nidecomp.comparison.model_file import read_model
from nidecomp.comparison.records import Design
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.errors import UsageError

Node = dict[str, Any]
FACTOR = {"Name": "Factor", "Input": ["group"]}
SCALE = {"Name": "Scale", "Input": ["age"]}


def node(*columns: object, transformations: object = (FACTOR,), **changes: object) -> Node:
    return {
        "Level": "Dataset",
        "Name": "people",
        "GroupBy": ["contrast"],
        "Transformations": {"Transformer": "x", "Instructions": list(transformations)},  # type: ignore[call-overload]
        "Model": {"Type": "glm", "X": list(columns)},
        "DummyContrasts": {"Test": "t"},
    } | changes


def contrast(name: str, columns: list[object], weights: object, test: str = "t") -> Node:
    return {"Name": name, "ConditionList": columns, "Weights": weights, "Test": test}


def written(folder: Path, *nodes: Node, **others: object) -> Path:
    path = folder / "model.json"
    path.write_text(json.dumps({"Name": "m", "Nodes": list(nodes)} | others), encoding="utf-8")
    return path


def design(folder: Path, *nodes: Node, within: str | None = None, **others: object) -> Design:
    path = written(folder, *nodes, **others)
    options = ComparisonOptions(model_file=str(path), within=within)
    return make_design(options, table_of(), RUNS if within is None else PRE_AND_POST)


def test_a_model_file_says_what_a_formula_says(tmp_path: Path) -> None:
    found = design(tmp_path, node(1, "group.patients", "age", transformations=[FACTOR, SCALE]))
    expected = design_of("group + scale(age)", "group", "age")
    assert found.columns == ("Intercept", "group.patients", "scale(age)")
    np.testing.assert_allclose(found.matrix, expected.matrix)
    assert [one.text for one in found.contrasts] == ["group.patients", "age"]
    for one, other in zip(found.contrasts, expected.contrasts, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert one.variable == other.variable
    assert found.contrasts[0].positive == "larger in patients than in others"
    assert found.contrasts[1].positive == "increases with age"
    assert found.formula == "1 + group.patients + scale(age)"


def test_contrasts_have_their_weights(tmp_path: Path) -> None:
    contrasts = [
        contrast("more in patients", ["group.patients", "group.controls"], [1, -1]),
        contrast("halves", ["age", "group.patients", "group.controls"], [0, "1/2", "-1/2"]),
        contrast("all", ["age", "sex.M"], [[1, 0], [0, 1]], "F"),
        contrast("one", ["age"], [[2]], "F"),
    ]
    factors = {"Name": "Factor", "Input": ["group", "sex"]}
    made = node(
        "group.patients", "group.controls", "age", "sex.M",
        transformations=[factors], Contrasts=contrasts,
    )  # fmt: skip
    del made["DummyContrasts"]
    found = design(tmp_path, made)
    weights = [one.weights.tolist() for one in found.contrasts]
    assert weights == [
        [[1, -1, 0, 0]], [[0.5, -0.5, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]], [[0, 0, 2, 0]],
    ]  # fmt: skip
    assert [one.statistic for one in found.contrasts] == ["t", "t", "F", "t"]
    assert [one.name for one in found.contrasts] == ["moreInPatients", "halves", "all", "one"]
    assert found.contrasts[0].positive == "larger in patients than in controls"
    assert found.contrasts[1].negative == "smaller in patients than in controls"


def test_dummy_contrasts_leave_out_the_constant_unless_differences_are_compared(
    tmp_path: Path,
) -> None:
    assert [one.text for one in design(tmp_path, node(1, "age")).contrasts] == ["age"]
    of_differences = design(tmp_path, node(1, "age"), within=WITHIN)
    assert [one.text for one in of_differences.contrasts] == ["Intercept", "age"]
    assert any("Intercept is tested where age is 0" in note for note in of_differences.notes)
    scaled = design(tmp_path, node(1, "age", transformations=[SCALE]), within=WITHIN)
    assert not any("is tested where" in note for note in scaled.notes)
    alone = design(tmp_path, node(1), within=WITHIN)
    assert alone.contrasts[0].positive == "larger in ses-post than in ses-pre"
    chosen = node(1, "age", "sex.M", transformations=[{"Name": "Factor", "Input": "sex"}],
                  DummyContrasts={"Contrasts": ["sex.M"]})  # fmt: skip
    assert [one.text for one in design(tmp_path, chosen).contrasts] == ["sex.M"]


def test_a_scaled_column_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    scale = {"Name": "Scale", "Input": "age", "Output": "age_z"}
    found = design(tmp_path, node(1, "age_z", transformations=[scale]))
    assert found.columns == ("Intercept", "scale(age)")
    assert found.contrasts[0].text == "age_z"


def test_what_of_the_file_is_not_used_is_told(tmp_path: Path) -> None:
    others = [{"Level": "Run", "Name": "runs"}, {"Level": "Subject"}]
    found = design(tmp_path, *others, node(1, "age"), Input={"task": ["rest"]})
    assert (
        "Of the model file, only its Dataset node is used, and not the others (runs, Subject)."
        in found.notes
    )
    assert any(note.startswith("Input of the model file is not used") for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Level": "Subject"}, "it has no nodes of Level Dataset"),
        ({"GroupBy": ["subject"]}, "GroupBy ['subject'] of its Dataset node is not supported"),
        ({"Model": {"Type": "meta", "X": [1, "age"]}}, "Model.Type 'meta' is not supported"),
        ({"Model": {}}, "Model.X of its Dataset node must be a list"),
        ({"Model": {"X": [1, {"a": 2}]}}, "which is no name of a column"),
        ({"Model": {"X": [1, 2]}}, "which is no name of a column"),
        ({"Model": {"X": [1, True]}}, "which is no name of a column"),
        ({"Model": {"X": [1, "group.*"]}}, "patterns are not supported"),
        ({"Model": {"X": [1, "group"]}}, "which Factor replaces by a column for each level"),
        ({"Model": {"X": [1, "sex"]}}, "sex is text: add the transformation Factor"),
        ({"Model": {"X": [1, "group.pilots"]}}, "nobody in the model has 'pilots' as group"),
        ({"Model": {"X": [1, "height"]}}, "has no column 'height'"),
        ({"Model": {"X": ["group.patients"]}}, "The model has no constant"),
        ({"Model": {"X": ["group.patients", "group.controls"]}}, "this tests whether a mean is 0"),
        ({"Model": [1]}, "Model of its Dataset node must be an object"),
        (
            {"Transformations": {"Instructions": [{"Name": "Power"}]}},
            "'Power' is not supported; supported are Factor and Scale",
        ),
        ({"Transformations": {"Instructions": "Factor"}}, "must be a list of objects"),
        ({"Transformations": {"Instructions": [SCALE | {"Demean": False}]}}, "Demean and Rescale"),
        (
            {"Transformations": {"Instructions": [SCALE | {"Output": ["a", "b"]}]}},
            "as many Output as Input",
        ),
        ({"Transformations": {"Instructions": [SCALE, SCALE]}}, "'age' is transformed twice"),
        ({"DummyContrasts": None}, "neither Contrasts nor DummyContrasts"),
        ({"DummyContrasts": {"Test": "F"}}, "must have Test t"),
        (
            {"DummyContrasts": {"Contrasts": ["sex"]}},
            "DummyContrasts has 'sex', which is not in Model.X: it has",
        ),
        ({"DummyContrasts": {"Contrasts": [1]}}, "this tests whether a mean is 0"),
        ({"Contrasts": [1]}, "must be a list of objects"),
        ({"Contrasts": [{"Test": "t"}]}, "contrast 1 needs a Name"),
        (
            {"Contrasts": [contrast("x", ["age"], [1], "pass")]},
            "Test of contrast 'x' is 'pass'; it must be t or F",
        ),
        (
            {"Contrasts": [contrast("x", ["age"], [1, 2])]},
            "must have a number for each of ConditionList",
        ),
        ({"Contrasts": [contrast("x", ["age"], ["a"])]}, "must be a list of numbers"),
        ({"Contrasts": [contrast("x", ["age"], ["1/0"])]}, "must be a list of numbers"),
        ({"Contrasts": [contrast("x", ["age"], [True])]}, "must be a list of numbers"),
        ({"Contrasts": [contrast("x", ["age"], 1)]}, "must be a list of numbers"),
        ({"Contrasts": [contrast("x", ["age"], [0])]}, "are all 0"),
        ({"Contrasts": [contrast("x", ["age"], [[1], [2]])]}, "is a t test with 2 rows"),
        ({"Contrasts": [contrast("x", ["age"], [[1], [2]], "F")]}, "follows from the others"),
        ({"Contrasts": [contrast("x", ["iq"], [1])]}, "which is not in Model.X"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, changes: Node, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        design(tmp_path, node(1, "group.patients", "age") | changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "it needs a list of Nodes"),
        ("{}", "it needs a list of Nodes"),
        ('{"Nodes": [1]}', "it needs a list of Nodes"),
        ("\0", "is not JSON"),
        ("3", "list of Nodes"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_model(path)
    assert said in str(caught.value)
    assert f"--model-file {path}" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json: No such file"):
        read_model(tmp_path / "nowhere.json")


def test_two_dataset_nodes_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it has 2 nodes of Level Dataset"):
        read_model(written(tmp_path, node(1, "age"), node(1, "age")))


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["age", "t", "1", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Name", "Input", "Test", "Weights", "ConditionList", "X", "Type"]),
            inner,
        )
    ),
    max_leaves=8,
)


@LAW
@given(
    st.dictionaries(
        st.sampled_from(["GroupBy", "Model", "Contrasts", "DummyContrasts", "Transformations"]),
        anything,
    )
)
def test_whatever_stands_in_a_node_there_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, changes: Node
) -> None:
    path = written(tmp_path_factory.mktemp("any"), node(1, "age") | changes)
    try:
        read_model(path)
    except UsageError as error:
        assert len(str(error)) < 1000
