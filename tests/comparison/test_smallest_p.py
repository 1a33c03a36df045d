"""Where people are too few for any p value to be small, this is said beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from comparison_examples import PEOPLE, PRE_AND_POST, WITHIN, design_of, table_of

from nidecomp.comparison.records import Design
from nidecomp.comparison.smallest_p import smallest_p_of_permutations

SAID = "no p value can be below"


def smallest_of_all(design: Design, blocks: Sequence[str]) -> float:
    """By all permutations of random data: how many give as large a t as the best of them."""
    n_people = len(design.matrix)
    noise = np.random.default_rng(0).standard_normal(n_people)
    weights = design.contrasts[0].weights[0]
    inverse = np.linalg.pinv(design.matrix)
    found = []
    for order in itertools.permutations(range(n_people)):
        if any(blocks[one] != blocks[place] for place, one in enumerate(order)):
            continue
        values = noise[list(order)]
        coefficients = inverse @ values
        rest = values - design.matrix @ coefficients
        found.append(abs(weights @ coefficients) / np.sqrt(rest @ rest))
    return float(np.mean(np.array(found) >= max(found) * (1 - 1e-9)))


@pytest.mark.parametrize(
    ("groups", "blocks"),
    [
        ("aaabbb", ""), ("aaabbbb", ""), ("aaaabbb", "xxxyyyx"), ("abababab", "wwxxyyzz"),
        ("aabbab", "xxxyyy"),
    ],
)  # fmt: skip
def test_it_is_that_of_all_permutations(groups: str, blocks: str) -> None:
    labels = list(PEOPLE)[: len(groups)]
    of_people = zip(labels, groups, blocks or groups, strict=True)
    rows = {label: {"arm": arm, "block": block} for label, arm, block in of_people}
    named = {"blocks": "block"} if blocks else {}
    design = design_of("arm", "arm", table=table_of(rows), **named)
    expected = smallest_of_all(design, blocks or "x" * len(groups))
    assert smallest_p_of_permutations(design.matrix, blocks) == pytest.approx(expected)
    assert any(SAID in note for note in design.notes) is bool(expected >= 0.05)


def test_many_people_are_enough() -> None:
    rows = np.column_stack([np.ones(2000), np.arange(2000) % 2])
    assert smallest_p_of_permutations(rows, ()) < 1e-300
    assert not any(SAID in note for note in design_of("group", "group").notes)


@pytest.mark.parametrize(("n_people", "is_told"), [(4, True), (5, True), (6, False)])
def test_signs_of_few_differences_are_few(n_people: int, is_told: bool) -> None:
    few = set(list(PEOPLE)[:n_people])
    runs = [run for run in PRE_AND_POST if run.participant in few]
    design = design_of(None, runs=runs, within=WITHIN)
    assert any(SAID in note for note in design.notes) is is_told
