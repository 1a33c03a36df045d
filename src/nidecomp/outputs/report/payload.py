"""The data of the page's scripts: components, how participants have them, and matches."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.outliers import is_outlier
from nidecomp.outputs.report.cautions import Ids
from nidecomp.outputs.report.colours import colour_table
from nidecomp.outputs.report.component_facts import facts, naming
from nidecomp.outputs.report.connectomes import GroupConnectome
from nidecomp.outputs.report.drawing import (
    Drawn,
    DrawnMap,
    in_matched_order,
    quality_of_participants,
)
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition, pairs_of
from nidecomp.outputs.report.spectra import spectra

# Steps of a spectrum's height.
_STEPS = 1000


def payload(
    folder: Results,
    drawn: Drawn,
    ids: Ids,
    told: Mapping[tuple[str, str], list[dict[str, object]]] | None = None,
) -> dict[str, object]:
    """Return the data of the page's scripts, as JSON.

    Parameters
    ----------
    folder : Results
    drawn : Drawn
    ids : mapping
        Of the components.
    told : mapping, optional
        What a comparison of participants says of components.

    Returns
    -------
    dict
    """
    pairs = pairs_of(folder)
    matches = [
        [ids[pair], ids[other], _number(row.get("r"))]
        for first, second, rows in pairs
        for row in rows
        if (pair := (first.key, row.get("component", ""))) in ids
        and (other := (second.key, row.get("other_component", ""))) in ids
    ]
    return {
        "scene": drawn.scene,
        "colours": colour_table().tolist(),
        "decompositions": [
            _decomposition(folder, one, drawn, ids) for one in folder.decompositions
        ],
        **({"compared": {ids[key]: each for key, each in told.items()}} if told else {}),
        "quality": _quality(folder),
        "matches": matches,
        "matrices": [
            _matrix(first, second, in_matched_order(first, second, rows), drawn, ids)
            for first, second, rows in pairs
        ],
    }


def _quality(folder: Results) -> dict[str, object]:
    """Return the data quality of the participants, and the places of those who stand apart."""
    rows = folder.participants
    return {
        "names": [row.get("participant_id", "") for row in rows],
        "apart": [index for index, row in enumerate(rows) if row.get("outlier")],
        "strips": [
            {"title": words, "values": _rounded(values)}
            for words, values in quality_of_participants(folder)
        ],
    }


def _matrix(
    first: WrittenDecomposition,
    second: WrittenDecomposition,
    order: Sequence[int],
    drawn: Drawn,
    ids: Ids,
) -> dict[str, object] | None:
    """Return the correlations between maps of a pair of decompositions; None without maps."""
    r = drawn.matches.get((first.key, second.key))
    if r is None:
        return None
    return {
        "rows": [ids[first.key, name] for name in first.names],
        "columns": [ids[second.key, second.names[index]] for index in order],
        "r": _hundredths(r[:, order]),
    }


def component_ids(folder: Results) -> dict[tuple[str, str], str]:
    """Return an id for each component, which links to it: ``canica07``.

    Where another decomposition has components of the same names, the number of components is added:
    ``canica07-of-20``.
    """
    every = [(one, row["component"]) for one in folder.decompositions for row in one.metrics]
    n_of_name = Counter(anchor(name) for _, name in every)
    shared = {one.key for one, name in every if n_of_name[anchor(name)] > 1}
    found: dict[tuple[str, str], str] = {}
    used: set[str] = set()
    for one, name in every:
        short = anchor(name)
        wanted = f"{short}-of-{one.scale}" if one.key in shared else short
        # Other ids of the page begin like this.
        if wanted in used or wanted.startswith(("part-", "ui-")):
            wanted = anchor(one.key, name)
        found[one.key, name] = wanted
        used.add(wanted)
    return found


def _decomposition(
    folder: Results, one: WrittenDecomposition, drawn: Drawn, ids: Ids
) -> dict[str, object]:
    found = spectra(one)
    participants, fits = _fits_of_participants(folder, one)
    return {
        "key": one.key,
        "title": one.title,
        "hz": [round(float(value), 4) for value in found.frequency_hz],
        "nRuns": found.n_runs,
        "participants": participants,
        "connectome": _connectome(drawn.connectomes.get(one.key)),
        "components": [
            {
                "id": ids[one.key, row["component"]],
                **_component(row),
                **_map(drawn.maps.get((one.key, row["component"]))),
                "power": _scaled(found.power[:, index]) if found.n_runs else [],
                **_fits(fits.get(row["component"])),
            }
            for index, row in enumerate(one.metrics)
        ],
    }


def _connectome(found: GroupConnectome | None) -> dict[str, object] | None:
    """Return the matrices, each with what its values are, and the order of their rows."""
    if found is None:
        return None
    kinds = [{"words": words, "r": _hundredths(r)} for words, r in found.matrices.items()]
    return {"kinds": kinds, "order": found.order}


def _component(row: Row) -> dict[str, object]:
    named = naming(row)
    return {
        "name": row["component"],
        "label": named.label,
        "labelR": _number(named.label_r),
        "isSure": named.is_sure,
        "isAtChance": named.is_at_chance,
        "flags": named.flags,
        "reasons": row.get("flag_reasons", ""),
        "reproducibility": _number(row.get("reproducibility")),
        "chance": _number(row.get("reproducibility_chance")),
        "explained": _number(row.get("explained_variance")),
        "facts": facts(row),
    }


def _map(drawn: DrawnMap | None) -> dict[str, object]:
    if drawn is None:
        return {}
    return {
        "values": drawn.values,
        "limit": _number(drawn.limit),
        "window": _number(drawn.window),
        "peak": drawn.cut.peak_mm,
        "low": _number(drawn.cut.low),
        "high": _number(drawn.cut.high),
    }


def _fits_of_participants(
    folder: Results, one: WrittenDecomposition
) -> tuple[list[str], dict[str, list[NDArray[np.float64]]]]:
    """Return the participants, and for each component their values, mean over runs."""
    fits = {
        row["component"]: found
        for row in one.metrics
        if (found := folder.fits.get((one.method, str(one.scale), row["component"])))
    }
    # Nearly always the runs of all components are the same.
    of_runs = {each.runs: [run.split("_")[0] for run in each.runs] for each in fits.values()}
    names = sorted({name for found in of_runs.values() for name in found})
    place = {name: index for index, name in enumerate(names)}
    places = {runs: np.array([place[one] for one in found]) for runs, found in of_runs.items()}
    return names, {
        component: [
            _means(values, places[each.runs], len(names)) for values in (each.map_r, each.amplitude)
        ]
        for component, each in fits.items()
    }


def _fits(values: list[NDArray[np.float64]] | None) -> dict[str, object]:
    """Return how participants have a component, and the places of those who stand apart."""
    if values is None:
        return {"fits": None}
    apart = [np.flatnonzero(is_outlier(each)).tolist() for each in values]
    return {"fits": [_rounded(each) for each in values], "apart": apart}


def _means(
    values: NDArray[np.float64], of_run: NDArray[np.intp], n_participants: int
) -> NDArray[np.float64]:
    """Return the mean of each participant's runs, NaN where none is known."""
    is_known = np.isfinite(values)
    total = np.bincount(of_run[is_known], values[is_known], minlength=n_participants)
    n_runs = np.bincount(of_run[is_known], minlength=n_participants)
    return np.where(n_runs > 0, total / np.maximum(n_runs, 1), np.nan)


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [float(f"{value:.3g}") if math.isfinite(value) else None for value in values]


def _hundredths(values: NDArray[np.float64]) -> list[list[int]]:
    rounded: list[list[int]] = (
        np.rint(100 * np.nan_to_num(np.clip(values, -1, 1))).astype(int).tolist()
    )
    return rounded


def _scaled(power: NDArray[np.float64]) -> list[int]:
    highest = float(power.max(initial=0))
    return np.rint(power * (_STEPS / highest)).astype(int).tolist() if highest > 0 else []


def _number(value: object) -> float | None:
    """Return a number with four digits; None where it is not known, as JSON has it."""
    found = value if isinstance(value, float) else number(str(value or ""))
    return float(f"{found:.4g}") if math.isfinite(found) else None


def table(
    columns: Mapping[str, str],
    rows: Sequence[Row],
    linked: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Return a table as the page's script draws it.

    Parameters
    ----------
    columns : mapping
        Names to headings.
    rows : sequence of mapping
    linked : mapping, optional
        Content of a cell of the first column to what it links to.

    Returns
    -------
    dict
    """
    names = list(columns)
    is_number = [
        any(row.get(name) for row in rows)
        and all(math.isfinite(number(row[name])) for row in rows if row.get(name))
        for name in names
    ]
    return {
        "heads": list(columns.values()),
        "isNumber": is_number,
        "rows": [[row.get(name, "") for name in names] for row in rows],
        "links": linked or {},
    }


def anchor(*parts: object) -> str:
    """Return an HTML id made of names that may contain any character."""
    text = "-".join(str(part) for part in parts)
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"_{ord(found[0]):x}", text)


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
