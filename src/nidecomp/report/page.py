"""The report: one page that holds all it shows."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nidecomp.report.folder import Decomposition, Folder, Row
from nidecomp.report.methods import methods_text
from nidecomp.version import __version__

# What is shown of each component in the table, in this order.
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


def render(folder: Folder, pictures: Mapping[str, bytes]) -> str:
    """Render the page.

    Parameters
    ----------
    folder : Folder
    pictures : mapping
        Key to a WebP image (``order`` to an SVG).

    Returns
    -------
    str
        HTML without a reference to anything outside of it.
    """
    environment = Environment(
        loader=PackageLoader("nidecomp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    environment.tests["numeric"] = _is_numeric
    environment.filters["anchor"] = anchor
    templates = files("nidecomp.report") / "templates"
    paragraph, references = methods_text(folder)
    return environment.get_template("report.html.jinja").render(
        folder=folder,
        version=__version__,
        style=(templates / "report.css").read_text(encoding="utf-8"),
        script=(templates / "report.js").read_text(encoding="utf-8"),
        status=Counter(row.get("status", "") for row in folder.runs),
        warnings=warnings_of(folder),
        columns=_SHOWN,
        participant_columns={name: name for name in (folder.participants or ({},))[0]},
        pairs=pairs_of(folder),
        paragraph=paragraph,
        references=references,
        picture={key: _data_uri(key, content) for key, content in pictures.items()},
    )


def anchor(*parts: object) -> str:
    """Make an id that no name can break."""
    text = "-".join(str(part) for part in parts)
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"_{ord(found[0]):x}", text)


def warnings_of(folder: Folder) -> list[str]:
    """Gather what somebody must know before believing anything."""
    told = list(folder.missing)
    for one in folder.decompositions:
        fit = one.described.get("Fit")
        if isinstance(fit, dict) and fit.get("Converged") is False:
            told.append(f"{one.title}: the fit did not converge; its maps are not to be trusted.")
        low = [
            row["component"]
            for row in one.metrics
            if row.get("reproducibility") and float(row["reproducibility"]) < 0.2
        ]
        if low:
            told.append(
                f"{one.title}: halves of the participants do not find {len(low)} of them again "
                f"(reproducibility below 0.2): {_few(low)}."
            )
    unused = [row for row in folder.runs if row.get("status") in {"refused", "failed"}]
    if unused:
        told.append(f"{len(unused)} of {len(folder.runs)} runs were not used: see the runs.")
    apart = [row["participant_id"] for row in folder.participants if row.get("outlier")]
    if apart:
        told.append(f"Participants that stand apart from the others: {_few(apart)}.")
    return told


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def pairs_of(folder: Folder) -> list[tuple[Decomposition, Decomposition, list[Row]]]:
    """Give the matched components of every two decompositions."""
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
    """Show a number of a table with three digits, whole ones and words as they are."""
    if not _is_numeric(value) or str(value).lstrip("-").isdigit():
        return str(value)
    return f"{float(value):.3g}"


def _data_uri(key: str, content: bytes) -> str:
    kind = "image/svg+xml" if key == "order" else "image/webp"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
