"""What the report says of several datasets: their table, and sentences of the methods text."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping

from nidecomp.annotation.noise_flags import DATASET_SHARE_LIMIT, WITHOUT_DATASET_LIMIT
from nidecomp.outputs.report.payload import table
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.words import listed, numbered, paragraph, per_cent


def table_of_datasets(
    folder: Results, one: WrittenDecomposition, links: Mapping[str, str]
) -> dict[str, object] | None:
    """Return the table of components by datasets.

    Parameters
    ----------
    folder : Results
    one : WrittenDecomposition
    links : mapping
        Name of a component to what it links to.

    Returns
    -------
    dict or None
        As `payload.table` makes it; None where there is a single dataset.
    """
    rows = [
        row
        for row in folder.datasets
        if (row.get("method"), row.get("scale")) == (one.method, str(one.scale))
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row.get("dataset", "") for row in rows))
    columns = {"component": "component", "flags": "flags"}
    columns |= {f"share {name}": f"share of {name}" for name in names}
    columns |= {f"without {name}": f"|r| without {name}" for name in names}
    flags = {row["component"]: row.get("flags", "") for row in one.metrics}
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        component, name = row.get("component", ""), row.get("dataset", "")
        of_component = cells.setdefault(
            component, {"component": component, "flags": flags.get(component, "")}
        )
        of_component[f"share {name}"] = row.get("share", "")
        of_component[f"without {name}"] = row.get("r_without", "")
    return table(columns, list(cells.values()), links)


# ---------------------------------------------------------------- methods
def about_datasets(folder: Results) -> str:
    """Return the paragraph about several datasets; empty where there is one.

    Parameters
    ----------
    folder : Results

    Returns
    -------
    str
    """
    people: dict[str, set[str]] = {}
    n_runs: Counter[str] = Counter()
    for row in folder.runs:
        if row.get("status") == "used" and row.get("dataset"):
            people.setdefault(row["dataset"], set()).add(row.get("run", "").partition("_")[0])
            n_runs[row["dataset"]] += 1
    if not people:
        return ""
    parts = [
        f"{name} ({numbered(len(labels), 'participant')}, {numbered(n_runs[name], 'run')})"
        for name, labels in sorted(people.items())
    ]
    number = "a single dataset" if len(parts) == 1 else f"{len(parts)} datasets"
    return paragraph(
        [
            f"The runs are from {number}: {listed(parts)}.",
            *_own_settings(folder.settings, people),
            _left_out(folder),
        ]
    )


def _own_settings(settings: str, names: Mapping[str, object]) -> list[str]:
    """Return which settings of datasets differ from those of the others."""
    try:
        tables = tomllib.loads(settings).get("datasets", {})
    except tomllib.TOMLDecodeError:
        return []
    if not isinstance(tables, dict):
        return []
    return [
        f"Settings of dataset {name} that differ: "
        + listed(f"{option} {_in_words(value)}" for option, value in table.items())
        + "."
        for name, table in tables.items()
        if name in names and isinstance(table, dict) and table
    ]


def _in_words(value: object) -> str:
    return listed(map(str, value)) if isinstance(value, list) else str(value)


def _left_out(folder: Results) -> str:
    if not any(row.get("r_without") for row in folder.datasets):
        return ""
    return (
        "To see which components depend on a single dataset, the group was also fitted without "
        "each dataset in turn, and the maps were matched one to one with those of all datasets. "
        f"A component was flagged where its match without a dataset had |r| below "
        f"{WITHOUT_DATASET_LIMIT:g} and this dataset had more than "
        f"{per_cent(DATASET_SHARE_LIMIT)} of what the component explains."
    )
