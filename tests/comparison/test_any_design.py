"""Whatever the table, the formula and the test: a design that can be used, or a sentence."""

from __future__ import annotations

import numpy as np
from comparison_examples import PRE_AND_POST, RUNS, WITHIN
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from nidecomp.comparison.bases import effect_of, nuisance_of
from nidecomp.comparison.describe import design_as_lines
from nidecomp.comparison.design import make_design
from nidecomp.comparison.participants import ParticipantTable
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.errors import NidecompError

LABELS = [run.participant for run in RUNS]
numbers = st.one_of(
    st.integers(-3, 3).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=16).map(str),
    st.sampled_from(["1e300", "-1e300", "1e-300", "0", "5e-324", "1e16", "2019", "2020"]),
)
texts = st.sampled_from(["a", "b", "B", "a - b", "x:y", "1", "n/a", "v0", "{1}"])
columns = st.one_of(
    st.lists(st.sampled_from(["a", "b"]), min_size=12, max_size=12),
    st.lists(st.sampled_from(["1", "2", "3"]), min_size=12, max_size=12),
    st.lists(numbers, min_size=12, max_size=12),
    st.lists(texts, min_size=12, max_size=12),
    st.lists(st.none() | numbers, min_size=12, max_size=12),
)
factors = st.sampled_from(["one", "two", "C(one)", "C(two)", "scale(one)", "n_volumes", "mean_fd"])
formulas = st.lists(st.lists(factors, min_size=1, max_size=3).map(":".join), max_size=3).map(
    lambda terms: " + ".join(["1", *terms])
) | st.sampled_from(["0 + one", "one * two", "C(one) * two", "one * C(two) + mean_fd"])
tests = st.sampled_from(
    ["one", "two", "one:two", "mean", "a - b", "2 - 1", "one[a] - b", "mean_fd"]
)


@law(deadline=None, max_examples=250, database=None)
@given(columns, columns, formulas, st.lists(tests, min_size=1, max_size=2), st.booleans(),
       st.sampled_from([None, "one", "two"]))  # fmt: skip
def test_a_design_can_be_used_or_a_sentence_says_why_there_is_none(
    one: list[str | None],
    two: list[str | None],
    formula: str,
    test: list[str],
    has_differences: bool,
    blocks: str | None,
) -> None:
    rows = {
        label: {name: cell for name, cell in (("one", a), ("two", b)) if cell is not None}
        for label, a, b in zip(LABELS, one, two, strict=True)
    }
    table = ParticipantTable(("one", "two"), rows)
    options = ComparisonOptions(
        model=formula,
        test=tuple(test),
        within=WITHIN if has_differences else None,
        blocks=blocks,
    )
    try:
        design = make_design(options, table, PRE_AND_POST if has_differences else RUNS)
    except NidecompError as error:
        assert 20 < len(str(error)) < 1500
        return
    n_people, n_columns = design.matrix.shape
    assert np.isfinite(design.matrix).all()
    scaled = design.matrix / np.linalg.norm(design.matrix, axis=0)
    assert np.linalg.matrix_rank(scaled, tol=1e-9) == n_columns <= n_people - 3
    assert len(design.columns) == n_columns == len(set(design.columns))
    assert len(design.people) + len(design.left_out) == len(LABELS)
    assert len(design.blocks) == (n_people if blocks else 0)
    assert all(len(values) == n_people for values in design.variables.values())
    for contrast in design.contrasts:
        assert contrast.weights.shape[1] == n_columns
        assert np.abs(contrast.weights).max(axis=1).all()
        assert bool(contrast.positive) == bool(contrast.negative) == (contrast.statistic == "t")
        assert contrast.name.isalnum()
        nuisance = nuisance_of(design.matrix, contrast.weights)
        assert nuisance.shape[1] == n_columns - len(contrast.weights)
        both = np.hstack([nuisance, effect_of(design.matrix, contrast.weights)])
        np.testing.assert_allclose(both.T @ both, np.eye(n_columns), atol=1e-5)
    assert all(line == " ".join(line.split(" ")) for line in design_as_lines(design))
