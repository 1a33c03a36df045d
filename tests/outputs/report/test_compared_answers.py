"""The section of a comparison says beside its answers what they hold for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comparison_example import Example, add_comparison
from report_example import make

from nidecomp.outputs.report.comparison_section import section
from nidecomp.outputs.report.comparison_tables import comparison_tables
from nidecomp.outputs.report.drawing import Drawn
from nidecomp.outputs.report.payload import component_ids
from nidecomp.outputs.report.results import Results, read_results


def compared(root: Path, *notes: str, **options: object) -> Results:
    add_comparison(make(root), Example(**options))  # type: ignore[arg-type]
    path = root / "design.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(described | {"Notes": list(notes)}), encoding="utf-8")
    return read_results(root)


def shown(folder: Results) -> dict[str, object]:
    found = section(folder, Drawn(), component_ids(folder))
    assert found is not None
    return found


def test_where_a_test_holds_is_told_with_its_answer(tmp_path: Path) -> None:
    where = (
        "group is tested where age is 0 (people have 20 to 60), because the model has group:age."
    )
    folder = compared(tmp_path, "group is a factor.", where, "group:age is tested twice.")
    assert folder.comparison is not None
    assert folder.comparison.tests[0].text == "group"
    test = shown(folder)["tests"][0]  # type: ignore[index]
    assert test["about"].endswith(f" {where}")
    assert test["about"].startswith("Both directions are tested")


@pytest.mark.parametrize(
    ("measures", "is_told"), [(("amplitudes",), False), (("maps", "amplitudes"), True)]
)
def test_measures_are_not_corrected_for_each_other(
    tmp_path: Path, measures: tuple[str, ...], is_told: bool
) -> None:
    cautions = shown(compared(tmp_path, measures=measures))["model"]["cautions"]  # type: ignore[index]
    assert any("and not over all of them" in one for one in cautions) is is_told


def test_columns_of_p_values_are_marked(tmp_path: Path) -> None:
    """The page writes the smallest ones as below 0.0001, as sentences do."""
    folder = compared(tmp_path)
    tables = comparison_tables(folder, component_ids(folder)).values()
    marked = {
        head for one in tables for head, is_p in zip(one["heads"], one["isP"], strict=True) if is_p
    }  # type: ignore[call-overload]
    assert {"p alone", "p corrected", "p, TFCE, all"} <= marked
    assert all(head.startswith("p") for head in marked)
    assert "peak" not in marked
