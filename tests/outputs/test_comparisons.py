"""Decompositions beside each other, and halves of the participants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from component_examples import blobs, evidence, fitted

from nidecomp.decomposition.components import HoldoutEvidence
from nidecomp.outputs.comparisons import (
    MATCHING,
    SPLITS,
    STABILITY,
    evidence_summary,
    matching_table,
    splits_table,
    stability_table,
)
from nidecomp.spaces.voxels import VoxelSpace


def test_decompositions_are_matched_pair_by_pair() -> None:
    first = fitted(4)
    second = fitted(3, "dictlearning", maps=blobs(4, seed=2)[[2, 0, 3]])
    third = fitted(4, "dictlearning", maps=-first.maps)
    table = matching_table([first, second, third])
    assert set(table[0]) == set(MATCHING)
    assert len(table) == 4 + 4 + 3
    pairs = {row["component"]: row["other_component"] for row in table[:4]}
    assert pairs == {
        "canica01": "dictlearning02", "canica02": None, "canica03": "dictlearning01",
        "canica04": "dictlearning03",
    }  # fmt: skip
    assert table[1]["r"] is None
    assert [row["r"] for row in table[4:8]] == pytest.approx([-1] * 4)


def test_splits_of_every_decomposition_have_a_row() -> None:
    table = stability_table([fitted(evidence=evidence()), fitted()])
    assert set(table[0]) == set(STABILITY)
    assert [row["split"] for row in table] == [1, 2, 3]
    assert [row["trace"] for row in table] == pytest.approx([0.5, 0.6, 0.7])
    assert table[0]["explained_variance_fitted"] == pytest.approx(0.6)
    assert table[0]["explained_variance_other_half"] == pytest.approx(0.5)


def test_who_is_in_which_half_has_a_row_for_each_participant_of_each_split() -> None:
    canica = fitted(evidence=evidence())
    # One half of the second split could not be fitted: the others keep their numbers.
    halves = evidence().halves
    partial = replace(
        halves, splits=(halves.splits[0], halves.splits[2]), trace=halves.trace[[0, 2]]
    )
    dictlearning = fitted(4, "dictlearning", evidence=replace(evidence(), halves=partial))
    table = splits_table([dictlearning, canica, fitted()])
    assert set(table[0]) == set(SPLITS)
    assert len(table) == 3 * 5
    assert [row["participant_id"] for row in table[:5]] == [
        f"sub-{label}" for label in ("01", "02", "03", "04", "05")
    ]
    assert [row["half"] for row in table[:5]] == [1, 1, 2, 2, 2]
    assert [row["split"] for row in stability_table([dictlearning])] == [1, 3]


def test_the_summary_says_how_maps_are_ordered() -> None:
    assert evidence_summary(fitted(), VoxelSpace.measure) == {}
    summary = evidence_summary(fitted(evidence=evidence()), VoxelSpace.measure)
    assert summary["Splits"] == 3
    assert summary["Trace"] == pytest.approx(0.6)
    without = evidence()
    without = replace(
        without,
        halves=replace(without.halves, trace=np.zeros(0)),
        holdout=HoldoutEvidence(("09",), np.zeros(4), 0.2),
    )
    summary = evidence_summary(fitted(evidence=without), VoxelSpace.measure)
    assert summary["Order"] == "by explained variance"
    assert summary["HeldOutParticipants"] == ["sub-09"]
    assert summary["ExplainedVarianceHoldout"] == 0.2
