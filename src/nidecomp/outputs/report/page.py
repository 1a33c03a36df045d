"""The report as one HTML page that needs no other file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from importlib.resources import files
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from nidecomp.core.text import verb
from nidecomp.execution.monitor import REPORT_STEP
from nidecomp.outputs.report.cautions import Ids, cautions, notes_of
from nidecomp.outputs.report.comparison_section import Shown, section, told_of_components
from nidecomp.outputs.report.comparison_tables import comparison_tables
from nidecomp.outputs.report.component_facts import naming, rounded
from nidecomp.outputs.report.datasets import table_of_datasets
from nidecomp.outputs.report.drawing import QUALITY_IN_WORDS, Drawn
from nidecomp.outputs.report.features import features_of
from nidecomp.outputs.report.methods import methods_text
from nidecomp.outputs.report.payload import anchor, component_ids, data_uri, payload, table
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition, pairs_of
from nidecomp.outputs.report.words import listed, method_name, numbered
from nidecomp.version import __version__

# The scripts of the page, in this order.
_SCRIPTS = (
    "data.js",
    "views.js",
    "plots.js",
    "panel.js",
    "gallery.js",
    "tables.js",
    "matrix.js",
)
# Of pages whose maps have a cortex, after those that it uses.
_CORTEX, _BEFORE_CORTEX = "cortex.js", "panel.js"
# Of pages that compare participants.
_COMPARISON = "comparison"
# Columns of the quality table that are added to the table of runs.
_QUALITY = ("tsnr", "map_r", "explained_variance")
_METRICS = {
    "component": "component",
    "label": "similar to",
    "label_r": "r",
    "reproducibility": "reproducibility",
    "restart_stability": "stability over restarts",
    "explained_variance": "explained variance",
    "dominance": "dominance",
    "motion_r": "|r| with motion",
    "high_frequency_share": "power > 0.1 Hz",
    "flags": "flags",
}
_RUNS = {
    "run": "run",
    "status": "status",
    "remarks": "reason or notes",
    "n_volumes_kept": "volumes kept",
    "n_volumes": "of",
    "dropped": "dropped",
    "n_regressors": "independent regressors",
    "regressors": "by part",
    "mean_fd": "mean FD, mm",
    "mask_coverage": "coverage of the group mask",
    "tsnr": "temporal SNR",
    "map_r": "r with group maps",
    "explained_variance": "explained variance",
}
_PARTICIPANTS = {
    "participant_id": "participant",
    "n_runs_used": "runs used",
    "n_runs_not_used": "runs not used",
    "n_volumes_kept": "volumes kept",
    **QUALITY_IN_WORDS,
    "outlier": "stands apart in",
}
_HALVES = {
    "split": "split",
    "trace": "mean |r| of matched maps",
    "overlap": "overlap of subspaces",
    "explained_variance_fitted": "variance explained in the fitted half",
    "explained_variance_other_half": "in the other half",
}
_NOTES = {"note": "note", "n_runs": "number of runs", "runs": "runs"}
_RESOURCES = {
    "step": "step",
    "run": "run",
    "seconds": "seconds",
    "cpu_seconds": "processor seconds",
    "peak_memory_mb": "peak memory, MB",
}


def environment() -> Environment:
    """Return the environment of the templates: it escapes text, and unknown names are errors."""
    made = Environment(
        loader=PackageLoader("nidecomp.outputs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["short"] = rounded
    made.filters["anchor"] = anchor
    return made


def render(folder: Results, drawn: Drawn | None = None) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    folder : Results
    drawn : Drawn, optional
        The pictures; without them the page has its words and numbers only.

    Returns
    -------
    str
        It loads nothing from elsewhere.
    """
    templates = files("nidecomp.outputs.report") / "templates"
    paragraph, references = methods_text(folder)
    drawn = drawn or Drawn()
    ids = component_ids(folder)
    order = folder.order_figure
    told = told_of_components(folder, ids)
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            folder=folder,
            features=features_of(folder.decompositions),
            style="".join(
                (templates / name).read_text(encoding="utf-8") for name in _styles(folder)
            ),
            # One element: between two, a browser may already go on with what the first one started.
            script="\n".join(
                (templates / name).read_text(encoding="utf-8") for name in _scripts(folder, drawn)
            ),
            summary=summary(folder),
            cautions=cautions(folder, ids),
            order=data_uri(order.read_bytes(), "svg+xml") if order is not None else "",
            tiles={one.key: _tiles(one, drawn, ids, told) for one in folder.decompositions},
            data=payload(folder, drawn, ids, told),
            tables=_tables(folder, ids) | comparison_tables(folder, ids),
            compared=section(folder, drawn, ids),
            resources=_resources(folder),
            pairs=pairs_of(folder),
            notes=notes_of(folder.runs),
            paragraph=paragraph,
            references=references,
        )
    )


def _scripts(folder: Results, drawn: Drawn) -> list[str]:
    """Return the scripts that a page needs, in their order."""
    place = _SCRIPTS.index(_BEFORE_CORTEX) + 1
    cortex = [_CORTEX] if drawn.scene is not None and "cortex" in drawn.scene else []
    compared = [f"{_COMPARISON}.js"] if folder.comparison is not None else []
    return [*_SCRIPTS[:place], *cortex, *compared, *_SCRIPTS[place:]]


def _styles(folder: Results) -> list[str]:
    """Return the style sheets that a page needs, in their order."""
    return ["report.css", *([f"{_COMPARISON}.css"] if folder.comparison is not None else [])]


def summary(folder: Results) -> list[str]:
    """Return what was done and what came out, in two sentences."""
    used = Counter(row.get("status", "") for row in folder.runs)["used"]
    n_people = len(folder.participants)
    data = f"{numbered(used, 'run')} of {numbered(n_people, 'participant')}"
    n_datasets = len({row["dataset"] for row in folder.participants if "dataset" in row})
    if n_datasets > 1:
        data += f" in {n_datasets} datasets"
    if folder.is_template:
        maps = listed(numbered(one.scale, "map") for one in folder.decompositions)
        return [f"NiDecomp {__version__} projected {maps} to {data}."]
    results = [
        f"{one.scale} by {method_name(one.method)}" for one in folder.decompositions if one.scale
    ]
    if not results:
        return [f"NiDecomp {__version__} found no components in {data}."]
    told = f"NiDecomp {__version__} decomposed {data} into components: {listed(results)}."
    return [told, _found_again(folder)]


def _found_again(folder: Results) -> str:
    parts = []
    for one in folder.decompositions:
        known = [row for row in one.metrics if math.isfinite(number(row.get("reproducibility")))]
        n_good = sum(not naming(row).is_at_chance for row in known)
        n_named = sum(naming(row).is_sure for row in known)
        if known:
            parts.append(
                f"{n_good} of {numbered(len(known), 'component')} of {method_name(one.method)} "
                f"({n_named} {verb(n_named, 'resembles', 'resemble')} a known network and "
                f"{verb(n_named, 'has', 'have')} no sign of noise)"
            )
    return f"More reproducible than noise are {listed(parts)}." if parts else ""


def _tiles(
    one: WrittenDecomposition,
    drawn: Drawn,
    ids: Ids,
    told: Mapping[tuple[str, str], list[Shown]],
) -> list[dict[str, object]]:
    """Return what the gallery shows of each component."""
    found = []
    for row in one.metrics:
        name = row["component"]
        picture = drawn.maps.get((one.key, name))
        named = naming(row)
        found.append(
            {
                "id": ids[one.key, name],
                "name": name,
                "named": named,
                "picture": data_uri(picture.small, "webp") if picture else "",
                "shows": picture.shows.replace("{name}", name) if picture else "",
                "reproducibility": _percent(row.get("reproducibility")),
                "chance": _percent(row.get("reproducibility_chance")),
                "row": row,
                "label_r": f"{named.label_r:.2f}" if math.isfinite(named.label_r) else "",
                "differs": [
                    f"{each['title']}: {each['short']}"
                    for each in told.get((one.key, name), [])
                    if each["short"]
                ],
            }
        )
    return found


def _percent(text: str | None) -> float | None:
    """Return how long a bar is; None where nothing is known."""
    value = number(text)
    return round(100 * min(max(value, 0), 1), 1) if math.isfinite(value) else None


def _tables(folder: Results, ids: Ids) -> dict[str, dict[str, object]]:
    """Return the tables of the page by their ids."""
    found = {}
    for one in folder.decompositions:
        links = {row["component"]: f"#{ids[one.key, row['component']]}" for row in one.metrics}
        if not one.is_template:
            found[f"part-t-{anchor(one.key)}"] = table(_METRICS, one.metrics, links)
        if (by_dataset := table_of_datasets(folder, one, links)) is not None:
            found[f"part-d-{anchor(one.key)}"] = by_dataset
        halves = [
            row
            for row in folder.stability
            if (row.get("method"), row.get("scale")) == (one.method, str(one.scale))
        ]
        if halves:
            found[f"part-s-{anchor(one.key)}"] = table(_HALVES, halves)
    for index, (first, second, rows) in enumerate(pairs_of(folder)):
        links = {row["component"]: f"#{ids[first.key, row['component']]}" for row in first.metrics}
        columns = {"component": first.title, "other_component": second.title, "r": "r"}
        found[f"part-m-{index}"] = table(columns, rows, links)
    if folder.participants:
        names = folder.participants[0]
        columns = {name: _PARTICIPANTS.get(name, name.replace("_", " ")) for name in names}
        found["part-t-participants"] = table(columns, folder.participants, _with_folder(folder))
    if folder.runs:
        columns = _with_dataset(_RUNS) if "dataset" in folder.runs[0] else _RUNS
        found["part-t-runs"] = table(columns, _runs_with_quality(folder))
    if notes := notes_of(folder.runs):
        found["part-t-notes"] = table(_NOTES, notes)
    return found


def _with_dataset(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the table of runs with that of the dataset after the first."""
    (first, heading), *others = columns.items()
    return {first: heading, "dataset": "dataset", **dict(others)}


def _resources(folder: Results) -> dict[str, dict[str, object]]:
    """Return the table of what the execution took, which is in a section of its own."""
    rows = [row for row in folder.resources if row.get("step") != REPORT_STEP]
    return {"part-t-resources": table(_RESOURCES, rows)} if rows else {}


def _with_folder(folder: Results) -> dict[str, str]:
    """Return the participants who have a folder that can be linked to."""
    labels = {row.get("participant_id", "") for row in folder.participants}
    there = {path.name for path in folder.root.glob("sub-*") if path.is_dir()}
    return {label: f"{quote(label)}/" for label in sorted(labels & there)}


def _runs_with_quality(folder: Results) -> list[Row]:
    """Return the rows of runs with their quality, mean over decompositions."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in folder.quality:
        for name in _QUALITY:
            values[row.get("run", ""), name].append(number(row.get(name)))
    means = {
        key: f"{np.mean(known):.6g}"
        for key, found in values.items()
        if (known := [value for value in found if math.isfinite(value)])
    }
    return [
        {
            **row,
            **{name: means.get((row.get("run", ""), name), "") for name in _QUALITY},
            # A run that is used has no reason, and one that is not has no notes.
            "remarks": row.get("reason") or row.get("notes") or "",
        }
        for row in folder.runs
    ]
