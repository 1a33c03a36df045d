"""What is taken out of the values of participants, and what is left of them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparison_example import N_PEOPLE, Example, add_comparison
from hypothesis import given, settings
from hypothesis import strategies as st
from report_example import make
from scipy import stats

from nidecomp.outputs.report.adjusted import Adjusted, adjusted
from nidecomp.outputs.report.comparison_pictures import as_file, design_picture
from nidecomp.outputs.report.comparison_plots import plot
from nidecomp.outputs.report.comparison_results import WrittenComparison, read_comparison
from nidecomp.outputs.report.svg import ticks

VALUES = np.random.default_rng(0).normal(size=N_PEOPLE) + 3


def comparison_of(root: Path, **options: object) -> WrittenComparison:
    missing: list[str] = []
    add_comparison(make(root), Example(measures=("amplitudes",), **options))
    found = read_comparison(root, missing)
    assert found is not None
    assert not missing
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenComparison:
    return comparison_of(tmp_path_factory.mktemp("compared"))


def of(written: WrittenComparison, test: int = 0, values: np.ndarray = VALUES) -> Adjusted:
    found = adjusted(written, written.tests[test], values)
    assert found is not None
    return found


def column(written: WrittenComparison, name: str) -> np.ndarray:
    return written.matrix[:, written.columns.index(name)]


# ---------------------------------------------------------------- what is taken out
@given(slope=st.floats(-100, 100), other=st.floats(-1e3, 1e3))
@settings(deadline=None, max_examples=30, derandomize=True, database=None)
def test_what_goes_with_a_covariate_makes_no_difference(
    written: WrittenComparison, slope: float, other: float
) -> None:
    more = VALUES.copy()
    for name, factor in (("age", slope), ("mean_fd", other)):
        more += factor * (column(written, name) - column(written, name).mean())
    np.testing.assert_allclose(of(written, 0, more).values, of(written).values, atol=1e-6)


def test_the_distance_of_groups_is_the_coefficient_and_its_interval_that_of_least_squares(
    written: WrittenComparison,
) -> None:
    x = written.matrix
    beta = np.linalg.lstsq(x, VALUES, rcond=None)[0]
    dof = N_PEOPLE - x.shape[1]
    spread = ((VALUES - x @ beta) ** 2).sum() / dof * np.linalg.inv(x.T @ x)
    controls, patients = of(written).fitted
    assert (controls.group, patients.group) == ("controls", "patients")
    assert patients.middle - controls.middle == pytest.approx(beta[1])
    row = np.array([1, 1, x[:, 2].mean(), x[:, 3].mean()])
    half = stats.t.isf(0.025, dof) * math.sqrt(row @ spread @ row)
    assert patients.high[0] == pytest.approx(row @ beta + half)
    assert patients.low[0] == pytest.approx(row @ beta - half)


def test_without_covariates_values_stay_and_middles_are_means(written: WrittenComparison) -> None:
    plain = replace(
        written,
        columns=written.columns[:2],
        matrix=written.matrix[:, :2],
        tests=(replace(written.tests[0], weights=np.array([[0.0, 1.0]])),),
    )
    found = of(plain)
    np.testing.assert_allclose(found.values, VALUES)
    assert found.taken_out == ()
    for fitted in found.fitted:
        members = np.array([group == fitted.group for group in found.groups])
        assert fitted.middle[0] == pytest.approx(VALUES[members].mean())


def test_a_test_of_a_number_has_the_line_of_the_model(written: WrittenComparison) -> None:
    found = of(written, 1)
    beta = np.linalg.lstsq(written.matrix, VALUES, rcond=None)[0]
    (line,) = found.fitted
    np.testing.assert_allclose(np.diff(line.middle) / np.diff(line.x), beta[2])
    assert (found.x_name, found.taken_out) == ("age", ("group", "mean_fd"))
    np.testing.assert_array_equal(found.x, column(written, "age"))


def test_all_columns_of_a_factor_stay_where_two_of_its_levels_are_compared(tmp_path: Path) -> None:
    three = comparison_of(tmp_path, three_groups=True)
    for number in range(2):
        found = of(three, number)
        assert [one.group for one in found.fitted] == ["controls", "patients", "siblings"]
        assert found.taken_out == ("age", "mean_fd")


def test_a_slope_that_differs_between_groups_has_a_line_for_each(
    written: WrittenComparison,
) -> None:
    product = column(written, "group[T.patients]") * column(written, "age")
    crossed = replace(
        written,
        columns=(*written.columns, "group[T.patients]:age"),
        matrix=np.column_stack([written.matrix, product]),
        tests=(replace(written.tests[0], weights=np.eye(5)[[4]]),),
    )
    found = of(crossed)
    assert found.taken_out == ("mean_fd",)
    beta = np.linalg.lstsq(crossed.matrix, VALUES, rcond=None)[0]
    slopes = [np.ptp(one.middle) / np.ptp(one.x) for one in found.fitted]
    np.testing.assert_allclose(np.abs(slopes), np.abs([beta[2], beta[2] + beta[4]]))


def test_the_mean_of_differences_is_one_group_without_covariates(tmp_path: Path) -> None:
    within = comparison_of(tmp_path, within="ses-post - ses-pre")
    found = of(within)
    (all_people,) = found.fitted
    assert (all_people.group, len(found.people)) == ("", N_PEOPLE)
    assert all_people.middle[0] == pytest.approx(VALUES.mean())
    assert "n = 26" in plot(found, "difference", has_zero=True)


@pytest.mark.parametrize(
    "values",
    [VALUES[:-1], np.full(N_PEOPLE, np.nan), np.where(np.arange(N_PEOPLE), VALUES, np.nan)],
)
def test_what_is_not_known_is_not_drawn(written: WrittenComparison, values: np.ndarray) -> None:
    assert adjusted(written, written.tests[0], values) is None


# ---------------------------------------------------------------- pictures of it
@pytest.mark.parametrize("test", [0, 1])
def test_plots_are_whole_pictures_with_a_mark_for_everybody(
    written: WrittenComparison, test: int
) -> None:
    drawn = plot(of(written, test), "amplitude", has_zero=False)
    picture = ET.fromstring(drawn)  # noqa: S314  ours
    people = [one.text or "" for one in picture.iter("title")]
    assert sorted(one.partition(":")[0] for one in people) == sorted(written.people)
    assert picture.attrib["aria-label"]
    assert plot(of(written, test), "amplitude", has_zero=False) == drawn


def test_strange_names_of_groups_and_people_are_text(written: WrittenComparison) -> None:
    strange = '<b>"&'
    groups = tuple(strange if one == "patients" else one for one in written.variables["group"])
    other = replace(
        written,
        people=tuple(f"{one}{strange}" for one in written.people),
        variables={**written.variables, "group": groups},
        columns=tuple(one.replace("patients", strange) for one in written.columns),
    )
    drawn = plot(of(other), strange, has_zero=False)
    texts = [one.text for one in ET.fromstring(drawn).iter("text")]  # noqa: S314
    assert f"{strange} (n = 13)" in texts
    assert any(strange in (one.text or "") for one in ET.fromstring(drawn).iter("title"))  # noqa: S314


@pytest.mark.parametrize("options", [{}, {"three_groups": True, "blocks": "site"}])
def test_the_picture_of_the_model_names_its_columns_its_people_and_its_tests(
    tmp_path: Path, options: dict[str, object]
) -> None:
    written = comparison_of(tmp_path, **options)
    drawn = design_picture(written)
    texts = [one.text for one in ET.fromstring(drawn).iter("text")]  # noqa: S314
    names = [*written.columns, *written.people, *(test.text for test in written.tests)]
    assert set(names) <= set(texts)
    assert ("blocks (site)" in texts) == ("blocks" in options)
    file = ET.fromstring(as_file(drawn))  # noqa: S314
    assert file.tag == "{http://www.w3.org/2000/svg}svg"
    assert as_file(design_picture(written)) == as_file(drawn)


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
@settings(deadline=None, max_examples=100, derandomize=True, database=None)
def test_an_axis_has_a_few_numbers_within_its_range(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-6 * span <= one <= low + span * (1 + 1e-6) for one in found)
    assert found == sorted(set(found))
