"""Results as data frames."""

from pathlib import Path

import pytest

import nidecomp
from nidecomp.describe_components import METRICS
from nidecomp.errors import UsageError


def test_every_component_of_every_decomposition_has_a_row(rest_output: Path) -> None:
    table = nidecomp.component_table(rest_output)
    assert list(table.columns) == ["method", "scale", *METRICS]
    assert table.groupby("method").size().to_dict() == {"canica": 20, "dictlearning": 20}
    assert set(table["scale"]) == {20}
    best = table[table["reproducibility"] > 0.5]
    assert 26 <= len(best) <= 28
    assert best["label"].notna().all()
    assert table["atlas_label"].isna().all()


def test_a_folder_without_metrics_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no metrics of components"):
        nidecomp.component_table(tmp_path)
