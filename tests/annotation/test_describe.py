"""The table of components: evidence, labels and flags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from component_examples import N_VOXELS, SPACE, blobs, evidence, fitted
from grayordinate_examples import cifti_space, gifti_space

from nidecomp.annotation.atlases import Reference, Tissues
from nidecomp.annotation.columns import LEAST_LABEL_R, METRICS, UNITS, metrics_columns
from nidecomp.annotation.describe import ReferenceMaps, describe
from nidecomp.config.science import EvidenceOptions
from nidecomp.decomposition.components import Components


def rows(components: Components, compared: ReferenceMaps | None = None) -> tuple[dict, ...]:
    description = describe(components, SPACE, compared or ReferenceMaps(), EvidenceOptions())
    return tuple(dict(row) for row in description.table)


def test_every_row_has_every_column_in_order() -> None:
    for components in (fitted(), fitted(evidence=evidence()), fitted(restart_index=None)):
        for row in rows(components):
            assert set(row) == set(METRICS)


def test_unknown_values_are_none() -> None:
    row = rows(fitted(restart_index=None))[0]
    for name in ("reproducibility", "reproducibility_sd", "bootstrap_r", "restart_stability",
                 "label", "label_r", "atlas_label", "dominance", "flags",
                 "explained_variance_other_half", "explained_variance_holdout"):  # fmt: skip
        assert row[name] is None, name
    assert np.isnan(row["csf_share"])


def test_evidence_is_summarised_over_splits() -> None:
    table = rows(fitted(evidence=evidence()))
    assert [row["reproducibility"] for row in table] == pytest.approx(np.linspace(0.91, 0.31, 4))
    assert table[0]["reproducibility_sd"] == pytest.approx(0.01)
    assert table[0]["reproducibility_min"] == pytest.approx(0.9)
    assert table[3]["dominance"] == pytest.approx(0.9 / 1.3)
    assert table[3]["dominant_participant"] == "sub-05"
    assert table[3]["flags"] == "high-frequency,single-participant"
    assert table[0]["flags"] is table[0]["flag_reasons"] is None
    assert "69 %" in table[3]["flag_reasons"]


def test_one_split_has_no_standard_deviation() -> None:
    assert rows(fitted(evidence=evidence(n_splits=1)))[0]["reproducibility_sd"] is None


def test_a_component_gets_a_label_only_if_it_is_similar_enough_to_a_network() -> None:
    networks = Reference(("first", "second"), blobs(4, seed=1)[:2])
    table = rows(fitted(), ReferenceMaps(networks=networks, atlas=networks))
    assert [row["label"] for row in table] == ["first", "second", None, None]
    assert table[0]["label_r"] > 0.8 > LEAST_LABEL_R > table[2]["label_r"]
    assert table[0]["second_label"] == "second"
    assert [row["atlas_label"] for row in table] == ["first", "second", None, None]


def test_a_map_at_chance_gets_no_name_and_no_peaks_but_its_numbers() -> None:
    networks = Reference(("first", "second"), blobs(4, seed=1)[:2])
    compared = ReferenceMaps(networks=networks, atlas=networks)
    known = evidence()  # reproducibility from 0.91 to 0.31
    noise = replace(known, halves=replace(known.halves, chance=0.8))
    description = describe(fitted(evidence=noise), SPACE, compared, EvidenceOptions())
    table = description.table
    assert [row["label"] for row in table] == ["first", None, None, None]
    assert [row["atlas_label"] for row in table] == ["first", None, None, None]
    assert [row["second_label"] for row in table] == ["second", None, None, None]
    assert {peak.component_index for peak in description.peaks} == {0}
    # All else is as without a chance level.
    before = describe(fitted(evidence=known), SPACE, compared, EvidenceOptions())
    assert {peak.component_index for peak in before.peaks} == {0, 1, 2, 3}
    np.testing.assert_array_equal(description.thresholded.maps, before.thresholded.maps)
    for row, other in zip(table, before.table, strict=True):
        labels = ("label", "atlas_label", "second_label", "second_atlas_label")
        names = dict.fromkeys((*labels, "reproducibility_chance"), 0)
        assert {**row, **names} == pytest.approx({**other, **names}, nan_ok=True)


def test_the_place_of_a_component_is_reported_and_flagged() -> None:
    csf = np.zeros(N_VOXELS, dtype=np.float32)
    csf[:60] = 1
    nowhere = np.zeros(N_VOXELS, dtype=np.float32)
    table = rows(fitted(), ReferenceMaps(tissues=Tissues(csf, nowhere, nowhere)))
    assert table[0]["csf_share"] > 0.9
    assert [row["flags"] for row in table] == ["csf", None, None, None]


def test_an_empty_map_has_a_row_without_numbers() -> None:
    maps = blobs(4)
    maps[1] = 0
    row = rows(fitted(maps=maps), ReferenceMaps(networks=Reference(("n",), blobs(4)[:1])))[1]
    assert row["support"] == row["thresholded_support"] == 0
    assert row["kurtosis"] is row["label"] is None
    assert np.isnan(row["peak_x"])


def test_units_are_given_for_existing_columns_only() -> None:
    assert set(UNITS) <= set(METRICS)


def test_columns_speak_of_what_the_features_are() -> None:
    assert metrics_columns(SPACE) == METRICS
    of_both, of_vertices = metrics_columns(cifti_space()), metrics_columns(gifti_space())
    assert list(of_both) == list(of_vertices) == list(METRICS)
    assert of_vertices["support"] == (
        "Share of the mask's vertices in which the unthresholded map is not 0"
    )
    assert "grayordinates" in of_both["kurtosis"]
    for text in of_vertices.values():
        assert "4D" not in text
        assert "voxel" not in text
