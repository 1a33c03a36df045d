"""What is tested is what the user named, and the words say its direction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from comparison_examples import AGES, PEOPLE, WITHIN, design_of, runs_of, table_of, with_column
from scipy import stats

from nidecomp.comparison.contrasts import name_of
from nidecomp.comparison.records import Contrast, Design
from nidecomp.core.errors import UsageError

GROUPS = np.array([one["group"] for one in PEOPLE.values()])
SEXES = np.array([one["sex"] for one in PEOPLE.values()])
SITES = np.array([one["site"] for one in PEOPLE.values()])


def estimate(design: Design, values: np.ndarray, place: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    coefficients = np.linalg.lstsq(design.matrix, values, rcond=None)[0]
    found: np.ndarray = design.contrasts[place].weights @ coefficients  # type: ignore[type-arg]
    return found


def f_statistic(design: Design, values: np.ndarray) -> float:  # type: ignore[type-arg]
    """By the sums of squares of the model and of the model in which the hypothesis is true."""
    weights = design.contrasts[0].weights
    coefficients = np.linalg.lstsq(design.matrix, values, rcond=None)[0]
    rest = values - design.matrix @ coefficients
    dof = len(values) - design.matrix.shape[1]
    inverse = np.linalg.inv(design.matrix.T @ design.matrix)
    effect = weights @ coefficients
    spread = weights @ inverse @ weights.T
    return float(effect @ np.linalg.solve(spread, effect) / len(weights) / (rest @ rest / dof))


def only(design: Design) -> Contrast:
    (contrast,) = design.contrasts
    return contrast


# ---------------------------------------------------------------- values
def test_levels_are_compared_whichever_is_the_reference() -> None:
    values = np.random.default_rng(0).standard_normal(len(PEOPLE))
    for formula in ("C(site)", "0 + C(site)"):
        for one, other in itertools.permutations("123", 2):
            design = design_of(formula, f"site[{one}] - site[{other}]")
            expected = values[SITES == one].mean() - values[SITES == other].mean()
            np.testing.assert_allclose(estimate(design, values), expected, atol=1e-12)


def test_a_factor_of_three_levels_is_tested_by_f_as_scipy_does() -> None:
    values = np.random.default_rng(3).standard_normal(len(PEOPLE))
    by_site = [values[SITES == site] for site in "123"]
    expected = stats.f_oneway(*by_site).statistic
    for formula in ("C(site)", "0 + C(site)"):
        design = design_of(formula, "site")
        assert only(design).statistic == "F"
        assert only(design).positive == only(design).negative == ""
        assert f_statistic(design, values) == pytest.approx(expected)


@pytest.mark.parametrize("formula", ["group * sex", "group + group:sex", "0 + group:sex"])
def test_with_two_factors_a_main_effect_is_that_of_the_mean_of_cells(formula: str) -> None:
    """The people are in the cells in different numbers, so that plain means would differ."""
    people = {label: row for label, row in PEOPLE.items() if label != "01"}
    groups, sexes = GROUPS[1:], SEXES[1:]
    values = np.random.default_rng(1).standard_normal(len(people))
    means = {
        (group, sex): values[(groups == group) & (sexes == sex)].mean()
        for group in ("patients", "controls")
        for sex in "FM"
    }
    design = design_of(formula, "group", "group:sex", table=table_of(people))
    main = [(means["patients", sex] - means["controls", sex]) for sex in "FM"]
    np.testing.assert_allclose(estimate(design, values, 0), np.mean(main))
    np.testing.assert_allclose(estimate(design, values, 1), main[1] - main[0])
    assert "group is tested at the average of the levels of sex (F, M), because the model has " \
        "group:sex." in design.notes  # fmt: skip


@pytest.mark.parametrize("formula", ["group * age", "group + group:age"])
def test_an_interaction_with_a_number_is_a_difference_of_slopes(formula: str) -> None:
    values = np.random.default_rng(2).standard_normal(len(PEOPLE))
    ages = np.array(AGES, float)
    fits = {
        group: np.polyfit(ages[GROUPS == group], values[GROUPS == group], 1)
        for group in ("patients", "controls")
    }
    slopes, constants = zip(*fits.values(), strict=True)
    design = design_of(formula, "group:age", "age", "group")
    np.testing.assert_allclose(estimate(design, values, 0), slopes[0] - slopes[1])
    np.testing.assert_allclose(estimate(design, values, 1), np.mean(slopes))
    np.testing.assert_allclose(estimate(design, values, 2), constants[0] - constants[1])
    assert (
        "group is tested where age is 0 (people have 24 to 58), because the model has group:age; "
        "with scale(age) in the model it is tested at the mean of age." in design.notes
    )


def test_with_a_scaled_number_a_group_is_tested_at_its_mean() -> None:
    values = np.random.default_rng(2).standard_normal(len(PEOPLE))
    ages = np.array(AGES, float)
    at_mean = [
        np.polyval(np.polyfit(ages[GROUPS == group], values[GROUPS == group], 1), ages.mean())
        for group in ("patients", "controls")
    ]
    design = design_of("group * scale(age)", "group")
    np.testing.assert_allclose(estimate(design, values), at_mean[0] - at_mean[1])
    assert "group is tested at the mean of age, because the model has group:age." in design.notes


def test_an_interaction_of_three_variables_can_be_tested() -> None:
    rows = {
        f"{label}{more}": row | {"age": str((place * place + 5 * int(more)) % 17)}
        for place, (label, row) in enumerate(PEOPLE.items())
        for more in "12"
    }
    runs = runs_of(*(f"sub-{label}_task-rest" for label in rows))
    design = design_of(
        "group * C(site) * scale(age)", "group:site:age", table=table_of(rows), runs=runs
    )
    places = [place for place, name in enumerate(design.columns) if name.count(":") == 2]
    np.testing.assert_allclose(only(design).weights, np.eye(12)[places])


def test_the_mean_is_that_of_the_people() -> None:
    values = np.random.default_rng(4).standard_normal(len(PEOPLE))
    for formula in ("1", "group", "group * age"):
        design = design_of(formula, "mean", within=WITHIN)
        np.testing.assert_allclose(estimate(design, values), values.mean())


def test_without_a_model_differences_are_tested_for_their_mean() -> None:
    design = design_of(None, within=WITHIN)
    assert (design.formula, design.columns, only(design).text) == ("1", ("Intercept",), "mean")
    np.testing.assert_array_equal(only(design).weights, [[1.0]])


# ---------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("model", "test", "positive", "negative", "variable"),
    [
        (
            "group",
            "group",
            "larger in patients than in controls",
            "smaller in patients than in controls",
            "group",
        ),
        (
            "group",
            "controls - patients",
            "larger in controls than in patients",
            "smaller in controls than in patients",
            "group",
        ),
        (
            "sex",
            "sex",
            "larger for sex M than for sex F",
            "smaller for sex M than for sex F",
            "sex",
        ),
        (
            "C(site)",
            "site[3] - site[1]",
            "larger for site 3 than for site 1",
            "smaller for site 3 than for site 1",
            "site",
        ),
        ("age", "age", "increases with age", "decreases with age", "age"),
        ("scale(age)", "scale(age)", "increases with age", "decreases with age", "age"),
        (
            "group*age",
            "age:group",
            "increases more (or decreases less) with age in patients than in controls",
            "increases less (or decreases more) with age in patients than in controls",
            "group",
        ),
        (
            "group*sex",
            "group:sex",
            "patients minus controls is larger for sex M than for sex F",
            "patients minus controls is smaller for sex M than for sex F",
            "group",
        ),
        (
            "age*n",
            "n:age",
            "increases more (or decreases less) with n where age is higher",
            "increases less (or decreases more) with n where age is higher",
            "n",
        ),
    ],
)
def test_the_words_name_the_direction(
    model: str, test: str, positive: str, negative: str, variable: str
) -> None:
    table = with_column("n", [str(place * place % 7) for place in range(12)])
    contrast = only(design_of(model, test, table=table))
    assert contrast.statistic == "t"
    assert (contrast.positive, contrast.negative) == (positive, negative)
    assert contrast.variable == variable


@pytest.mark.parametrize(
    ("model", "test", "positive"),
    [
        ("1", "mean", "larger in ses-post than in ses-pre"),
        ("group", "group", "difference (ses-post - ses-pre) larger in patients than in controls"),
        ("age", "age", "difference (ses-post - ses-pre) increases with age"),
    ],
)
def test_the_words_of_differences_name_both_sides(model: str, test: str, positive: str) -> None:
    assert only(design_of(model, test, within=WITHIN)).positive == positive


# ---------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("group", "group"),
        ("patients - controls", "patientsMinusControls"),
        ("group[a-b] - group[c]", "groupABMinusGroupC"),
        ("group:age", "groupByAge"),
        ("mean_fd", "meanFd"),
        ("âge", "age"),
        ("年齢", "test"),
        ("x" * 60, "x" * 40),
        ("2 - 1", "2Minus1"),
    ],
)
def test_names_of_files_are_made_of_letters_and_digits(text: str, name: str) -> None:
    assert name_of(text) == name


def test_names_differ_where_case_does_not_count() -> None:
    rows = {
        label: row | {"Age_": str(place * place % 7), "AGE": str(place * place % 5)}
        for place, (label, row) in enumerate(PEOPLE.items())
    }
    design = design_of("age + Age_ + AGE", "age", "Age_", "AGE", table=table_of(rows))
    names = [contrast.name for contrast in design.contrasts]
    assert names == ["age", "AgeX2", "AGEX3"]


def test_the_same_hypothesis_twice_is_told() -> None:
    design = design_of("group + age", "group", "patients - controls", "age")
    assert (
        "group and patients - controls are the same hypothesis, which is tested twice."
        in design.notes
    )
    assert len(design.contrasts) == 3


# ---------------------------------------------------------------- tests that are not there
@pytest.mark.parametrize(
    ("model", "test", "said"),
    [
        ("group", "grup", "Did you mean 'group'?"),
        ("group", "age", "has no such test. It has: group, patients - controls."),
        ("group", "patient - controls", "Did you mean 'patients - controls'?"),
        ("group", "patients", "a level is tested against another one: patients - controls."),
        ("group", "controls", "a level is tested against another one: controls - patients."),
        ("group", "control - patient", "Did you mean 'controls - patients'?"),
        (
            "group",
            "group[patients]",
            "a level is tested against another one: group[patients] - group[controls]",
        ),
        (
            "group + age",
            "group:age",
            "the model has no interaction group:age; write group*age in it",
        ),
        ("site", "2 - 1", "site is a number here; write C(site) in the model"),
        ("site", "site[1] - site[2]", "site is a number here; write C(site) in the model"),
        (
            "group:age",
            "group",
            "the model has it in interactions only, so that it is 0 where age is 0",
        ),
        ("group", "mean", "can be tested with --within only"),
        ("group", "patients - patients", "has no such test"),
        ("group", "group - age", "has no such test"),
        ("group", "", "has no such test"),
    ],
)
def test_a_test_that_is_not_there_is_told_what_is(model: str, test: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        design_of(model, test)
    assert f"--test {test!r}" in str(caught.value) or test == "mean"
    assert said in str(caught.value)


def test_a_model_without_a_test_says_what_can_be_tested() -> None:
    with pytest.raises(
        UsageError, match="say with --test what is tested; the model has group, age"
    ):
        design_of("group + age")


def test_levels_of_two_variables_are_told_apart() -> None:
    table = with_column("arm", ["patients", "controls", "controls", "patients"] * 3)
    with pytest.raises(UsageError) as caught:
        design_of("group + arm", "patients - controls", table=table)
    assert "write arm[patients] - arm[controls] or group[patients] - group[controls]" in str(
        caught.value
    )
    design = design_of("group + arm", "arm[patients] - controls", table=table)
    assert only(design).variable == "arm"


@pytest.mark.parametrize(
    "test", ["non-smoker - ex-smoker", "non-smoker-ex-smoker", "kind[non-smoker] - ex-smoker"]
)
def test_levels_may_have_hyphens(test: str) -> None:
    table = with_column("kind", ["non-smoker", "ex-smoker"] * 6)
    contrast = only(design_of("kind", test, table=table))
    np.testing.assert_allclose(contrast.weights, [[0, 1]])


def test_a_variable_called_mean_is_refused() -> None:
    with pytest.raises(UsageError, match="called mean"):
        design_of("mean", "mean", table=with_column("mean", [str(age) for age in AGES]))
