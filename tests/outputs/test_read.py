"""Results as data frames."""

from pathlib import Path

import pytest

import nidecomp
from nidecomp.annotation.columns import METRICS
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import Inventory
from nidecomp.outputs.comparisons import MATCHING, STABILITY
from nidecomp.outputs.result import Outcome


def test_every_component_of_every_decomposition_has_a_row(rest_output: Path) -> None:
    table = nidecomp.component_table(rest_output)
    assert list(table.columns) == ["method", "scale", *METRICS]
    assert table.groupby("method").size().to_dict() == {"canica": 20, "dictlearning": 20}
    assert set(table["scale"]) == {20}
    best = table[table["reproducibility"] > 0.5]
    assert 26 <= len(best) <= 28
    assert best["label"].notna().all()
    assert table["atlas_label"].isna().all()


def test_the_groups_tables_are_read_as_they_were_written(rest_output: Path) -> None:
    stability = nidecomp.group_table(rest_output, "stability")
    assert list(stability.columns) == list(STABILITY)
    assert len(stability) == 10
    assert stability["trace"].between(0, 1).all()
    matching = nidecomp.group_table(rest_output, "matching")
    assert list(matching.columns) == list(MATCHING)
    assert len(matching) == 20


@pytest.mark.parametrize("name", ["order", "nothing", "../settings"])
def test_a_table_that_is_not_there_is_refused_with_those_that_are(
    rest_output: Path, name: str
) -> None:
    said = f"has no table '{name}'; its tables are: stability, matching. "
    with pytest.raises(UsageError, match=said):
        nidecomp.group_table(Outcome(Inventory(), rest_output), name)


def test_a_damaged_table_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no table 'order'; its tables are: none\."):
        nidecomp.group_table(tmp_path, "order")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "order.tsv").write_bytes(b"\xff\n")
    with pytest.raises(UsageError, match=r"order\.tsv cannot be read .*: run nidecomp on that"):
        nidecomp.group_table(tmp_path, "order")


def test_a_folder_without_metrics_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no metrics of components"):
        nidecomp.component_table(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", "[" * 100_000])
def test_a_damaged_decomposition_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    func = tmp_path / "tpl-X" / "func"
    func.mkdir(parents=True)
    (func / "tpl-X_decomposition.json").write_text(content)
    (func / "tpl-X_metrics.tsv").write_text("component\ncanica01\n")
    with pytest.raises(UsageError, match=r"_decomposition\.json is damaged"):
        nidecomp.component_table(tmp_path)
