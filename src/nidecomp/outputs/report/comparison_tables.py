"""The tables of a comparison of participants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nidecomp.outputs.report.cautions import Ids
from nidecomp.outputs.report.comparison_results import (
    WrittenComparison,
    WrittenTest,
    clusters_of,
    is_compared,
)
from nidecomp.outputs.report.comparison_section import edge_table_id
from nidecomp.outputs.report.comparison_words import is_found
from nidecomp.outputs.report.payload import anchor, table
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition

_SIZES = {"effect_size": "effect size", "interval": "its 95 % interval", "direction": "direction"}
_PLACE = {"x": "x", "y": "y", "z": "z"}
_SHARED = frozenset({"component", "label", "n_features_found"})
# Columns with their headings, and rows.
_Table = tuple[dict[str, str], list[Row]]
_NAMED = {"component": "component", "label": "similar to"}
_P = {
    "p_tfce": "p, TFCE",
    "p_tfce_all": "p, TFCE, all",
    "p_voxel": "p, largest value",
    "p_voxel_all": "p, largest value, all",
    "p_cluster": "p, extent",
    "p_cluster_all": "p, extent, all",
}
_CLUSTERS = {
    "component": "component",
    "cluster": "cluster",
    "value": "largest value",
    "x": "x",
    "y": "y",
    "z": "z",
    "label": "network or region",
    "direction": "direction",
    "p_all": "p corrected",
}
_EDGES = {
    "component_1": "component",
    "component_2": "with",
    "statistic": "statistic",
    "p": "p alone",
    "p_all": "p corrected",
    "network_p": "p of its network",
    **_SIZES,
}


def comparison_tables(folder: Results, ids: Ids) -> dict[str, dict[str, object]]:
    """Return the tables of the section by their ids; none where participants were not compared.

    Parameters
    ----------
    folder : Results
    ids : mapping
        Of the components.

    Returns
    -------
    dict
    """
    comparison = folder.comparison
    if comparison is None:
        return {}
    found: dict[str, dict[str, object]] = {}
    for one in folder.decompositions:
        links = {row["component"]: f"#{ids[one.key, row['component']]}" for row in one.metrics}
        for test in comparison.tests:
            shown = _of_components(comparison, one, test) | _of_edges(comparison, one, test)
            found |= {name: table(columns, rows, links) for name, (columns, rows) in shown.items()}
    return found


def _of_components(
    comparison: WrittenComparison, one: WrittenDecomposition, test: WrittenTest
) -> dict[str, _Table]:
    """Return the tables of maps, of amplitudes and of clusters, by their ids."""
    key = anchor(test.name, one.key)
    rows = [row for row in comparison.rows_of(one.label, test) if is_compared(row)]
    found: dict[str, _Table] = {}
    if clusters := clusters_of(one.stem, test):
        sizes = {name: name.replace("_", " ") for name in clusters[0] if name not in _CLUSTERS}
        found[f"part-k-{key}"] = _there({**_CLUSTERS, **sizes}, list(clusters))
    if comparison.inference:
        columns = {"peak": f"largest {test.statistic}", **_PLACE, **_P, "n_features_found": "found"}
        found[f"part-p-{key}"] = _there(
            {**_NAMED, **columns, **_SIZES}, _told(_without("map_", rows))
        )
    if comparison.has_amplitudes:
        columns = {"statistic": test.statistic, "p": "p alone", "p_all": "p corrected"}
        found[f"part-a-{key}"] = _there(
            {**_NAMED, **columns, **_SIZES}, _told(_without("amplitude_", rows))
        )
    return found


def _of_edges(
    comparison: WrittenComparison, one: WrittenDecomposition, test: WrittenTest
) -> dict[str, _Table]:
    """Return the tables of the edges that were found, by their ids."""
    found = {}
    for kind in comparison.edge_kinds:
        rows = [row for row in comparison.edges_of(one.label, test, kind) if _is_edge_found(row)]
        found[edge_table_id(test, one, kind)] = _there(_EDGES, _told(rows))
    return {name: shown for name, shown in found.items() if shown[1]}


def _is_edge_found(row: Row) -> bool:
    return is_found(number(row.get("p_all"))) or is_found(number(row.get("network_p")))


def _without(prefix: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows in which the columns of one measure have no prefix, and others are left out."""
    return [
        {
            name.removeprefix(prefix): value
            for name, value in row.items()
            if name.startswith(prefix) or name in _SHARED
        }
        for row in rows
    ]


def _told(rows: Sequence[Row]) -> list[Row]:
    """Return rows with their interval as one cell."""
    return [{**row, "interval": _interval(row)} for row in rows]


def _interval(row: Row) -> str:
    low, high = (number(row.get(f"effect_size_{end}")) for end in ("low", "high"))
    return f"{low:.2f} to {high:.2f}" if math.isfinite(low) and math.isfinite(high) else ""


def _there(columns: Mapping[str, str], rows: list[Row]) -> _Table:
    """Return the columns that have something, and the rows."""
    return {
        name: head for name, head in columns.items() if any(row.get(name) for row in rows)
    }, rows
