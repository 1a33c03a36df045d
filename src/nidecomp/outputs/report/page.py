"""The report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from nidecomp.core.records import group_by_text
from nidecomp.core.text import count
from nidecomp.execution.monitor import REPORT_STEP
from nidecomp.outputs.inventory import split_notes
from nidecomp.outputs.report.methods import methods_text
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.viewer import Background, Slices, viewer_library
from nidecomp.version import __version__

# Column of the metrics to its heading in the report, in this order.
_SHOWN = {
    "component": "component",
    "label": "label",
    "label_r": "r",
    "reproducibility": "reproducibility",
    "restart_stability": "restarts",
    "explained_variance": "explained",
    "dominance": "dominance",
    "motion_r": "motion r",
    "high_frequency_share": "> 0.1 Hz",
    "flags": "flags",
}
# Columns of the quality table that are added to the table of runs.
_QUALITY = ("tsnr", "map_r", "explained_variance")


def environment() -> Environment:
    """Return the environment of the templates: it escapes text, and unknown names are errors."""
    made = Environment(
        loader=PackageLoader("nidecomp.outputs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["short"] = _short
    made.filters["anchor"] = anchor
    made.tests["numeric"] = _is_numeric
    return made


def render(
    folder: Results,
    pictures: Mapping[str, bytes],
    slices: Mapping[str, Slices] | None = None,
    background: Background | None = None,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    folder : Results
    pictures : mapping
        Key to a WebP image (``order`` to an SVG).
    slices : mapping
        Key of a component to what the viewer shows of it.
    background : Background, optional
        The image that the viewer shows components on; without it there is no viewer.

    Returns
    -------
    str
        It loads nothing from elsewhere.
    """
    templates = files("nidecomp.outputs.report") / "templates"
    paragraph, references = methods_text(folder)
    library = viewer_library()
    scripts = ["report.js"]
    viewer = None
    if background is not None and slices and library:
        viewer = _viewer(folder, slices, background)
        scripts.append("viewer.js")
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            folder=folder,
            version=__version__,
            style=(templates / "report.css").read_text(encoding="utf-8"),
            library=library,
            scripts=[(templates / name).read_text(encoding="utf-8") for name in scripts],
            viewer=viewer,
            status=Counter(row.get("status", "") for row in folder.runs),
            warnings=warnings_of(folder),
            columns=_SHOWN,
            participant_columns={name: name for name in (folder.participants or ({},))[0]},
            linked=_with_folder(folder),
            runs=_runs_with_quality(folder),
            notes=_notes_of(folder),
            resources=[row for row in folder.resources if row.get("step") != REPORT_STEP],
            pairs=pairs_of(folder),
            paragraph=paragraph,
            references=references,
            picture={key: _data_uri(content, _kind(key)) for key, content in pictures.items()},
        )
    )


def _with_folder(folder: Results) -> set[str]:
    """Return the participants who have a folder that can be linked to."""
    labels = {row.get("participant_id", "") for row in folder.participants}
    return {label for label in labels if label and (folder.root / label).is_dir()}


def _viewer(
    folder: Results, slices: Mapping[str, Slices], background: Background
) -> dict[str, object]:
    """Return the data of the viewer's script."""
    affine = np.array(background.affine)
    to_index = np.linalg.inv(affine)
    highest = np.array(background.shape) - 1
    components = {}
    for one in folder.decompositions:
        for row in one.metrics:
            key = f"{one.key}_{row['component']}"
            if key in slices:
                index = to_index @ [*peak_of(row), 1]
                at = np.clip(np.rint(index[:3]), 0, highest).astype(int)
                label = f", {row['label']}" if row.get("label") else ""
                components[key] = {
                    "title": f"{one.title}: {row['component']}{label}",
                    "slices": _data_uri(slices[key].webp),
                    "limit": round(slices[key].limit, 4),
                    "peak": dict(zip("XYZ", at.tolist(), strict=True)),
                }
    # brainsprite counts voxels from 1 in the coordinates that it shows.
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)
    return {
        "background": _data_uri(background.background),
        "colours": _data_uri(background.colours),
        "shape": dict(zip("XYZ", background.shape, strict=True)),
        "affine": affine.tolist(),
        "components": components,
    }


def peak_of(row: Row) -> tuple[float, float, float]:
    """Return the position of a map's peak in mm; the origin where it is unknown."""
    x, y, z = (number(row.get(f"peak_{axis}")) for axis in "xyz")
    return (x, y, z) if all(map(math.isfinite, (x, y, z))) else (0.0, 0.0, 0.0)


def _runs_with_quality(folder: Results) -> list[dict[str, str]]:
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


def _notes_of(folder: Results) -> list[dict[str, str]]:
    """Return the notes on runs that were used, with the number and the names of the runs."""
    named = (
        (row.get("run", ""), note)
        for row in folder.runs
        if row.get("status") == "used"
        for note in split_notes(row.get("notes", ""))
    )
    return [
        {"note": note, "n_runs": str(len(names)), "runs": _few(names)}
        for note, names in group_by_text(named)
    ]


def anchor(*parts: object) -> str:
    """Return an HTML id made of names that may contain any character."""
    text = "-".join(str(part) for part in parts)
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"_{ord(found[0]):x}", text)


def warnings_of(folder: Results) -> list[str]:
    """Return the warnings that stand at the top of the report."""
    found = list(folder.missing)
    for one in folder.decompositions:
        fit = one.described.get("Fit")
        if isinstance(fit, dict) and fit.get("Converged") is False:
            found.append(f"{one.title}: the fit did not converge: its maps may be unreliable.")
        low = [
            row["component"]
            for row in one.metrics
            if number(row.get("reproducibility")) <= number(row.get("reproducibility_chance"))
        ]
        if low:
            n = f"{count(len(low), 'component')} {'is' if len(low) == 1 else 'are'}"
            chance = number(one.metrics[0].get("reproducibility_chance"))
            found.append(
                f"{one.title}: {n} no more reproducible between halves of the participants than "
                f"maps of noise of the same smoothness (reproducibility of at most {chance:.2f}): "
                f"{_few(low)}."
            )
    status = Counter(row.get("status", "") for row in folder.runs)
    if n_unused := status["refused"] + status["failed"]:
        n_runs = n_unused + status["used"]
        found.append(f"{n_unused} of {n_runs} runs were not used: see the table of runs.")
    if status["not matched"]:
        without = count(status["not matched"], "folder")
        found.append(
            f"{without} of participants without a run that matches the selection: see the table of "
            "runs."
        )
    apart = [row["participant_id"] for row in folder.participants if row.get("outlier")]
    if apart:
        found.append(f"Outliers in data quality: {_few(apart)}.")
    return found


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def pairs_of(folder: Results) -> list[tuple[WrittenDecomposition, WrittenDecomposition, list[Row]]]:
    """Return the matched components of every pair of decompositions."""
    found = []
    by_key = {(one.method, str(one.scale)): one for one in folder.decompositions}
    for first in folder.decompositions:
        for second in folder.decompositions:
            rows = [
                row
                for row in folder.matching
                if by_key.get((row.get("method", ""), row.get("scale", ""))) is first
                and by_key.get((row.get("other_method", ""), row.get("other_scale", ""))) is second
            ]
            if rows:
                found.append((first, second, rows))
    return found


def _is_numeric(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _short(value: Any) -> str:
    """Return a number with three significant digits; integers and words stay as they are."""
    if not _is_numeric(value) or str(value).lstrip("-").isdigit():
        return str(value)
    return f"{float(value):.3g}"


def _kind(key: str) -> str:
    return "svg+xml" if key == "order" else "webp"


def _data_uri(content: bytes, kind: str = "webp") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
