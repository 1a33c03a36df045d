"""Evidence, labels and flags of each component, put together in tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nidecomp.describe_components import (
    LEAST_LABEL_R,
    MATCHING,
    METRICS,
    STABILITY,
    Compared,
    describe,
    evidence_summary,
    matching_table,
    stability_table,
)
from nidecomp.records import Components, Evidence, Grid
from nidecomp.settings import EvidenceOptions
from nidecomp.signal.geometry import VoxelGeometry
from nidecomp.signal.reference import Reference, Tissues

SHAPE = (12, 10, 8)
AFFINE = ((8.0, 0, 0, -44), (0, 8.0, 0, -36), (0, 0, 8.0, -28), (0, 0, 0, 1.0))
GEOMETRY = VoxelGeometry(Grid(SHAPE, AFFINE), np.ones(SHAPE, dtype=bool))
N_VOXELS = GEOMETRY.n_features


def blobs(n: int, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    """Maps of blocks of voxels that do not overlap, in noise, root mean square 1."""
    rng = np.random.default_rng(seed)
    maps = noise * rng.standard_normal((n, N_VOXELS))
    for index in range(n):
        maps[index, index * 60 : index * 60 + 60] += 5
    return (maps / np.sqrt(np.mean(maps**2, axis=1, keepdims=True))).astype(np.float32)


def fitted(n: int = 4, method: str = "canica", **more: object) -> Components:
    content: dict[str, object] = {
        "method": method,
        "maps": blobs(n),
        "names": tuple(f"{method}{index + 1:02d}" for index in range(n)),
        "explained_variance": np.linspace(0.4, 0.1, n),
        "total_explained_variance": 0.7,
        "restart_index": np.linspace(1.0, 0.5, n),
        **more,
    }
    return Components(**content)  # type: ignore[arg-type]


def evidence(n: int = 4, n_splits: int = 3) -> Evidence:
    return Evidence(
        reproducibility=np.tile(np.linspace(0.9, 0.3, n), (n_splits, 1))
        + 0.01 * np.arange(n_splits)[:, None],
        bootstrap=np.zeros((0, n)),
        held_out_variance=np.full((2 * n_splits, n), 0.05),
        total_variances=np.tile([[0.6, 0.5]], (2 * n_splits, 1)),
        trace=np.linspace(0.5, 0.7, n_splits),
        overlap=np.full(n_splits, 0.4),
        n_voxels=N_VOXELS,
        participants=("01", "02", "03", "04", "05"),
        participant_variance=np.vstack([np.full(n, 0.1)] * 4 + [np.linspace(0.1, 0.9, n)]),
        high_frequency=np.linspace(0.1, 0.7, n),
        motion_r=np.full(n, 0.1),
        holdout_variance=np.full(n, np.nan),
    )


def rows(components: Components, compared: Compared | None = None) -> tuple[dict, ...]:
    description = describe(components, GEOMETRY, compared or Compared(), EvidenceOptions())
    return tuple(dict(row) for row in description.table)


def test_every_row_has_every_column_in_order() -> None:
    for components in (fitted(), fitted(evidence=evidence()), fitted(restart_index=None)):
        for row in rows(components):
            assert set(row) == set(METRICS)


def test_what_is_not_known_is_none_rather_than_a_number() -> None:
    row = rows(fitted(restart_index=None))[0]
    for name in ("reproducibility", "reproducibility_sd", "bootstrap_r", "restart_stability",
                 "label", "label_r", "atlas_label", "dominance", "flags",
                 "explained_variance_other_half", "explained_variance_holdout"):  # fmt: skip
        assert row[name] is None, name
    assert np.isnan(row["csf_share"])


def test_evidence_is_summed_up_over_splits() -> None:
    table = rows(fitted(evidence=evidence()))
    assert [row["reproducibility"] for row in table] == pytest.approx(np.linspace(0.91, 0.31, 4))
    assert table[0]["reproducibility_sd"] == pytest.approx(0.01)
    assert table[0]["reproducibility_min"] == pytest.approx(0.9)
    assert table[3]["dominance"] == pytest.approx(0.9 / 1.3)
    assert table[3]["dominant_participant"] == "sub-05"
    assert table[3]["flags"] == "high-frequency,single-participant"
    assert table[0]["flags"] is table[0]["flag_reasons"] is None
    assert "69 %" in table[3]["flag_reasons"]


def test_one_split_has_no_spread() -> None:
    assert rows(fitted(evidence=evidence(n_splits=1)))[0]["reproducibility_sd"] is None


def test_a_component_is_named_after_the_network_it_looks_like_and_only_then() -> None:
    networks = Reference(("first", "second"), blobs(4, seed=1)[:2])
    table = rows(fitted(), Compared(networks=networks, atlas=networks))
    assert [row["label"] for row in table] == ["first", "second", None, None]
    assert table[0]["label_r"] > 0.8 > LEAST_LABEL_R > table[2]["label_r"]
    assert table[0]["second_label"] == "second"
    assert [row["atlas_label"] for row in table] == ["first", "second", None, None]


def test_where_a_component_lies_is_told_and_flagged() -> None:
    csf = np.zeros(N_VOXELS, dtype=np.float32)
    csf[:60] = 1
    nowhere = np.zeros(N_VOXELS, dtype=np.float32)
    table = rows(fitted(), Compared(tissues=Tissues(csf, nowhere, nowhere)))
    assert table[0]["csf_share"] > 0.9
    assert [row["flags"] for row in table] == ["csf", None, None, None]


def test_an_empty_map_has_a_row_without_numbers() -> None:
    maps = blobs(4)
    maps[1] = 0
    row = rows(fitted(maps=maps), Compared(networks=Reference(("n",), blobs(4)[:1])))[1]
    assert row["support"] == row["thresholded_support"] == 0
    assert row["kurtosis"] is row["label"] is None
    assert np.isnan(row["peak_x"])


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


def test_the_summary_says_how_maps_are_ordered() -> None:
    assert evidence_summary(fitted()) == {}
    summary = evidence_summary(fitted(evidence=evidence()))
    assert summary["Splits"] == 3
    assert summary["Trace"] == pytest.approx(0.6)
    without = replace(evidence(), trace=np.zeros(0), held_out=("09",), total_holdout_variance=0.2)
    summary = evidence_summary(fitted(evidence=without))
    assert summary["Order"] == "by explained variance"
    assert summary["HeldOutParticipants"] == ["sub-09"]
    assert summary["ExplainedVarianceHoldout"] == 0.2
