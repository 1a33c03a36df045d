"""Outliers: who is far from the others, on the bad side, by a difference that matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.outputs.outliers import (
    FEWEST_PARTICIPANTS,
    LEAST_DEPARTURE,
    LIMIT,
    is_outlier,
    modified_z,
    outlier_reasons,
    outlier_reasons_within,
)

USUAL = np.array([10.0, 11, 9, 10.5, 9.5, 10.2, 9.8])
few = settings(deadline=None, max_examples=100, derandomize=True, database=None)
HIGH = frozenset({"motion"})


def test_low_quality_and_high_motion_are_named_with_their_numbers() -> None:
    columns = {"tsnr": np.array([*USUAL, 2.0]), "motion": np.array([*USUAL, 40.0])}
    *others, last = outlier_reasons(columns, HIGH)
    assert others == [""] * 7
    assert last.startswith("tsnr 2 (median 9.9, modified z -")
    assert "; motion 40 (median 10.1, modified z " in last


def test_the_good_side_is_no_reason() -> None:
    columns = {"tsnr": np.array([*USUAL, 40.0]), "motion": np.array([*USUAL, 0.1])}
    assert outlier_reasons(columns, HIGH) == [""] * 8


def test_a_small_difference_among_the_very_alike_is_none() -> None:
    alike = 10 + 0.001 * USUAL
    just = np.median([*alike, 0.0]) * (1 - LEAST_DEPARTURE)
    for value, is_named in ((just + 0.1, False), (just - 0.1, True)):
        values = np.array([*alike, value])
        assert modified_z(values)[-1] < -LIMIT
        assert bool(outlier_reasons({"tsnr": values}, HIGH)[-1]) == is_named


@pytest.mark.parametrize(
    "values",
    [
        [*USUAL[: FEWEST_PARTICIPANTS - 2], -50.0],
        [1.0, 1, 1, 1, 1, -50],
        [np.nan, np.nan, *USUAL[: FEWEST_PARTICIPANTS - 2], -50.0],
        [np.nan] * 6,
    ],
)
def test_where_it_cannot_be_told_nobody_is_named(values: list[float]) -> None:
    assert not any(outlier_reasons({"tsnr": np.array(values)}, HIGH))


def test_what_is_unknown_of_one_is_no_reason_and_no_hindrance() -> None:
    reasons = outlier_reasons({"tsnr": np.array([*USUAL, np.nan, 1.0])}, HIGH)
    assert [bool(one) for one in reasons] == [False] * 8 + [True]


@few
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=FEWEST_PARTICIPANTS, max_size=30),
    gain=st.floats(0.1, 10),
    shift=st.floats(-100, 100),
)
def test_units_do_not_matter(values: list[float], gain: float, shift: float) -> None:
    before = modified_z(np.array(values))
    after = modified_z(gain * np.array(values) + shift)
    known = np.isfinite(before) & np.isfinite(after)
    spread = np.median(np.abs(np.array(values) - np.median(values)))
    if spread > 1e-3:
        assert known.all()
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)


def test_both_sides_stand_apart_and_what_is_unknown_does_not() -> None:
    found = is_outlier(np.array([*USUAL, 40.0, np.nan, 1.0]))
    assert found.tolist() == [False] * 7 + [True, False, True]
    assert not is_outlier(np.full(8, np.nan)).any()
    assert not is_outlier(np.array([1.0, 2.0, 300.0])).any(), "too few to tell"


@given(st.lists(st.floats(0.1, 100), min_size=FEWEST_PARTICIPANTS, max_size=12))
@few
def test_the_unit_of_what_is_looked_at_does_not_matter(values: list[float]) -> None:
    found = np.array(values)
    assert is_outlier(found).tolist() == is_outlier(8 * found).tolist()


def test_participants_are_compared_with_those_of_their_dataset() -> None:
    """All of another scanner have other data; one of them is far from the rest of them."""
    groups = ["A", *"BBBBBBB", *"AAAAAA", "B"]
    values = np.array([USUAL[0], *(5 * USUAL), *USUAL[1:], 10.0])
    together = outlier_reasons({"tsnr": values}, HIGH)
    apart = outlier_reasons_within(groups, {"tsnr": values}, HIGH)
    assert together == [""] * 15
    assert apart[:-1] == [""] * 14
    assert apart[-1].startswith("tsnr 10 (median 49.5")
