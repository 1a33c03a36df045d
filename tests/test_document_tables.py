"""The page of columns describes every column of every table."""

from __future__ import annotations

import re
from pathlib import Path

from document_tables import columns_of_tables

from nidecomp.annotation.columns import OF_DATASETS


def described() -> dict[str, list[str]]:
    """Return the columns listed under each heading of the page."""
    parts = re.split(r"^## `(.+)`$", columns_of_tables(), flags=re.MULTILINE)
    return {
        name: re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_columns_of_the_demo_are_those_of_the_page(rest_output: Path) -> None:
    """In the same order; one dataset has no column about several, and no table of the order."""
    looked_at = set()
    for name, columns in described().items():
        for table in rest_output.rglob(name):
            expected = [column for column in columns if column not in OF_DATASETS]
            assert table.read_text(encoding="utf-8").split("\n", 1)[0].split("\t") == expected
            looked_at.add(name)
    of_others = {"comparisons.tsv", "comparisons_edges.tsv", "amplitudes.tsv", "*_clusters.tsv"}
    assert set(described()) - looked_at == {"logs/order.tsv", "logs/datasets.tsv", *of_others}


def test_every_table_of_the_demo_with_columns_of_its_own_stands_in_the_page(
    rest_output: Path,
) -> None:
    known = {path for name in described() for path in rest_output.rglob(name)}
    others = {path for path in rest_output.rglob("*.tsv") if path not in known}
    # A column for each component or region, lists of files, and the settings of the work folder.
    kinds = re.compile(r".*_(timeseries|relmat)\.tsv|logs/(sources|manifest)\.tsv|work/.*")
    names = {str(path.relative_to(rest_output)) for path in others}
    assert {name for name in names if not kinds.fullmatch(name)} == set()
