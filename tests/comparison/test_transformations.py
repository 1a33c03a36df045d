"""Transformations are what may be exchanged, all of it where that is little, and no other."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest
from design_examples import design_of, one_sample, two_groups
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.comparison.transformations import draw_transformations
from nidecomp.core.errors import UsageError

few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
SITES = tuple("aabbabccab")


def distinct(drawn) -> int:
    together = np.concatenate([drawn.orders, drawn.signs], axis=1)
    return len(np.unique(together, axis=0))


@few
@given(st.integers(4, 12), st.integers(100, 300), st.integers(0, 5))
def test_every_row_is_a_permutation_and_the_first_changes_nothing(
    n: int, n_drawn: int, seed: int
) -> None:
    drawn = draw_transformations(two_groups(n), n_drawn, seed)
    assert (np.sort(drawn.orders, axis=1) == np.arange(n)).all()
    assert (drawn.orders[0] == np.arange(n)).all()
    assert (drawn.signs == 1).all()
    assert len(drawn) == min(n_drawn, factorial(n)) == distinct(drawn)
    assert drawn.n_possible == (factorial(n) if factorial(n) <= n_drawn else None)


def test_the_seed_decides() -> None:
    first, again, other = (draw_transformations(two_groups(), 100, one) for one in (0, 0, 1))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("n_drawn", [100, 100_000])
def test_order_changes_within_blocks_only(n_drawn: int) -> None:
    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.ones(10), rng.standard_normal(10)])
    drawn = draw_transformations(design_of(matrix, [0, 1], blocks=SITES), n_drawn, 0)
    sites = np.array(SITES)
    assert (sites[drawn.orders] == sites).all()
    possible = factorial(4) * factorial(4) * factorial(2)
    assert len(drawn) == min(n_drawn, possible) == distinct(drawn)
    assert drawn.n_possible == (possible if possible < n_drawn else None)


@pytest.mark.parametrize(("n", "n_possible"), [(6, 64), (12, None)])
def test_a_mean_is_tested_by_signs(n: int, n_possible: int | None) -> None:
    drawn = draw_transformations(one_sample(n), 100, 0)
    assert drawn.kind == "sign flips"
    assert (drawn.orders == np.arange(n)).all()
    assert (np.abs(drawn.signs) == 1).all()
    assert (drawn.signs[0] == 1).all()
    assert drawn.n_possible == n_possible
    assert distinct(drawn) == len(drawn) == min(2**n, 100)


def test_a_model_with_both_kinds_of_tests_has_both_kinds_of_transformations() -> None:
    matrix = np.column_stack([np.ones(10), np.arange(10) % 2 - 0.5])
    assert draw_transformations(design_of(matrix, [0, 1]), 100, 0).kind == "permutations"
    assert draw_transformations(design_of(matrix, [1, 0]), 100, 0).kind == "sign flips"
    both = draw_transformations(design_of(matrix, [0, 1], [1, 0]), 100, 0)
    assert both.kind == "permutations and sign flips"
    assert (both.signs[1:] < 0).any()
    assert (both.orders[1:] != np.arange(10)).any()
    all_of_four = draw_transformations(design_of(matrix[:4], [0, 1], [1, 0]), 1000, 0)
    assert all_of_four.n_possible == distinct(all_of_four) == factorial(4) * 2**4


def test_an_intercept_that_is_spread_over_columns_is_one() -> None:
    group = np.arange(10) % 2
    cells = np.column_stack([group, 1 - group])
    assert draw_transformations(design_of(cells, [1, -1]), 100, 0).kind == "permutations"


def test_the_first_of_all_are_a_random_sample() -> None:
    """Those in the order of a list would exchange the last people only."""
    drawn = draw_transformations(two_groups(6), 1000, 0)
    assert (drawn.orders[1:60, 0] != 0).any()


def test_what_is_the_same_in_each_block_cannot_be_tested() -> None:
    site = np.array([ord(one) for one in SITES], dtype=float)
    matrix = np.column_stack([np.ones(10), site])
    with pytest.raises(UsageError, match="'test 0' cannot be tested with --blocks site"):
        draw_transformations(design_of(matrix, [0, 1], blocks=SITES), 100, 0)
