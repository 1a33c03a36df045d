"""What a notebook shows of an output folder."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nidecomp.core.errors import UsageError
from nidecomp.outputs.read import component_table

if TYPE_CHECKING:
    import pandas as pd

_N_SHOWN = 10
_SHOWN = ["component", "scale", "label", "reproducibility", "flags"]


def summary_as_html(counts: str, folder: Path) -> str:
    """Return a summary of an output folder as HTML.

    Parameters
    ----------
    counts : str
        How many runs and decompositions there are, in words.
    folder : Path
        It may have no tables and no report, which are then left out.

    Returns
    -------
    str
    """
    parts = [f"<p>{html.escape(counts)}; results in {html.escape(str(folder))}</p>"]
    try:
        best = _best(component_table(folder))
    except UsageError:
        # After --level minimal, a participant job or a dry run there are no measures.
        best = None
    if best is not None:
        parts.append(best.to_html(index=False, na_rep="", border=0, float_format="{:.2f}".format))
    report = folder / "report.html"
    if report.is_file():
        parts.append(f'<p><a href="{html.escape(_link(report))}">{report.name}</a></p>')
    return "\n".join(parts)


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the most reproducible components, with the columns that are not empty."""
    shown = table.reindex(columns=_SHOWN)
    # Where reproducibility is not known, components keep their order.
    best = shown.sort_values("reproducibility", ascending=False, kind="stable")
    return best.head(_N_SHOWN).dropna(axis="columns", how="all")


def _link(path: Path) -> str:
    """Return a link from a notebook: relative where it can be, as servers of notebooks need it."""
    path, here = path.resolve(), Path.cwd().resolve()
    is_below = path.is_relative_to(here)
    return quote(path.relative_to(here).as_posix()) if is_below else path.as_uri()
