"""The model of a comparison and its edges, as vector graphics."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nidecomp.outputs.report.comparison_results import WrittenComparison
from nidecomp.outputs.report.figures import signed_colours
from nidecomp.outputs.report.raster import as_png, shortened, width_of
from nidecomp.outputs.report.svg import path, rounded, svg, tag, text

_TEXT, _GAP = 11, 8
# Of the model: the width of a column, the height of all rows, and of one row at most.
_COLUMN, _ROWS, _ROW = 40, 420, 14
# More participants than this have no names.
_MOST_NAMES = 40
# From the smallest to the largest value of a column, and what is the same for all.
_LOW, _HIGH, _SAME = (255, 255, 255), (0, 68, 136), (196, 202, 210)
# The style of a file; on the page, the page has it.
_STYLE = (
    "text{font:11px system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1b1f24}"
    ".frame{fill:none;stroke:#565f6a}.grid-line{stroke:#d5dae0}"
)
_LONGEST = 150


# ---------------------------------------------------------------- the model
def design_picture(comparison: WrittenComparison) -> str:
    """Return the matrix of the model with its tests below it.

    Parameters
    ----------
    comparison : WrittenComparison

    Returns
    -------
    str
        An ``svg`` element; empty where the matrix is not known. A row for each participant, a
        column for each of the matrix, and one for the blocks where there are any.
    """
    matrix = comparison.matrix
    if not matrix.size:
        return ""
    names = [shortened(name, _TEXT, _LONGEST) for name in comparison.columns]
    columns = [_shades(column) for column in matrix.T]
    if comparison.blocks:
        levels = sorted(set(comparison.blocks))
        codes = np.array([levels.index(one) for one in comparison.blocks], dtype=np.float64)
        columns.append(_shades(codes))
        words = str(comparison.described.get("Blocks") or "")
        names.append(f"blocks ({words})" if words else "blocks")
    return _drawn_design(comparison, np.stack(columns, axis=1), names)


def _shades(column: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colour of each value of a column, shape (n, 3)."""
    span = float(np.ptp(column))
    if span == 0:
        return np.full((len(column), 3), _SAME, dtype=np.uint8)
    share = ((column - column.min()) / span)[:, None]
    colours = np.array(_LOW) + share * (np.array(_HIGH) - np.array(_LOW))
    return np.asarray(np.rint(colours), dtype=np.uint8)


def _drawn_design(
    comparison: WrittenComparison, pixels: NDArray[np.uint8], names: Sequence[str]
) -> str:
    n_people, n_all = pixels.shape[:2]
    row_height = min(_ROW, _ROWS / n_people)
    tests = [shortened(test.text, _TEXT, _LONGEST) for test in comparison.tests]
    people = comparison.people if n_people <= _MOST_NAMES else ()
    left = _GAP + max((width_of(one, _TEXT) for one in (*people, *tests, "tests")), default=0)
    # Names of columns stand at an angle of 45 degrees.
    slope = 0.72 * max(width_of(name, _TEXT) for name in names)
    top, width, height = slope + _GAP, _COLUMN * n_all, row_height * n_people
    drawn = [_image(pixels, left, top, width, height)]
    drawn.append(_frame(left, top, width, height))
    for place, name in enumerate(names):
        across = rounded(left + (place + 0.5) * _COLUMN)
        turned = f"translate({across} {rounded(top - 5)}) rotate(-45)"
        drawn.append(tag("g", text(0, 0, name), transform=turned))
    for place, name in enumerate(people):
        y = top + (place + 0.5) * row_height + 4
        drawn.append(text(left - 5, y, name, "end"))
    bottom = top + height
    for number, (words, test) in enumerate(zip(tests, comparison.tests, strict=True)):
        for line, weights in enumerate(test.weights):
            bottom += 18 if line or number else 24
            drawn.append(text(left - 5, bottom, words if line == 0 else "", "end"))
            for place, weight in enumerate(weights):
                x = left + (place + 0.5) * _COLUMN
                drawn.append(text(x, bottom, f"{weight:.3g}", "middle"))
    n_columns = len(comparison.columns)
    label = (
        f"The model as a matrix: {n_people} participants in rows, {n_columns} columns: "
        f"{', '.join(comparison.columns)}"
    )
    total = (left + width + slope + _GAP, bottom + 10)
    return svg("".join(drawn), total, label, has_size=True)


def _image(pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> str:
    """Return a pixel for each value, enlarged to a place of the picture."""
    png = base64.b64encode(as_png(Image.fromarray(pixels))).decode()
    return tag(
        "image",
        href=f"data:image/png;base64,{png}",
        x=rounded(x), y=rounded(y), width=rounded(width), height=rounded(height),
        preserveAspectRatio="none", style="image-rendering: pixelated",
    )  # fmt: skip


def _frame(x: float, y: float, width: float, height: float) -> str:
    return tag(
        "rect", class_="frame", x=rounded(x), y=rounded(y), width=rounded(width),
        height=rounded(height),
    )  # fmt: skip


def as_file(picture: str) -> str:
    """Return a picture of the page as a file of its own: with its style, on white."""
    head, _, content = picture.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}><style>{_STYLE}</style>{ground}{content}\n"


# ---------------------------------------------------------------- edges
@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a connectome in one test.

    Parameters
    ----------
    names : tuple of str
        The components, in the order of the rows.
    statistic : ndarray, shape (n, n)
        Symmetric; NaN where nothing was compared.
    found : ndarray of bool, shape (n, n)
    words : str
        What the statistic is: ``t``.
    """

    names: tuple[str, ...]
    statistic: NDArray[np.float64]
    found: NDArray[np.bool_]
    words: str


def edges_of(
    pairs: Mapping[tuple[int, int], tuple[float, bool]], names: Sequence[str], words: str
) -> Edges:
    """Return edges as matrices.

    Parameters
    ----------
    pairs : mapping
        Places of two components to the statistic, and whether the edge is found.
    names : sequence of str
    words : str

    Returns
    -------
    Edges
    """
    statistic = np.full((len(names), len(names)), np.nan)
    found = np.zeros(statistic.shape, dtype=np.bool_)
    for (one, other), (value, is_found) in pairs.items():
        statistic[one, other] = statistic[other, one] = value
        found[one, other] = found[other, one] = is_found
    return Edges(tuple(names), statistic, found, words)


def edge_picture(edges: Edges) -> tuple[str, float]:
    """Return the matrix of a statistic with the edges that were found in frames.

    Parameters
    ----------
    edges : Edges

    Returns
    -------
    str
        An ``svg`` element.
    float
        The value that has the last colour.
    """
    n = len(edges.names)
    cell = max(11, min(20, 400 // max(n, 1)))
    names = [shortened(name, _TEXT, _LONGEST) for name in edges.names]
    longest = max((width_of(name, _TEXT) for name in names), default=0)
    left, top, size = longest + _GAP, 4.0, float(cell * n)
    known = np.abs(edges.statistic[np.isfinite(edges.statistic)])
    limit = float(known.max(initial=0)) or 1.0
    pixels = signed_colours(np.nan_to_num(edges.statistic) / limit)
    pixels[np.diag_indices(n)] = _SAME
    drawn = [_image(pixels, left, top, size, size), _frame(left, top, size, size)]
    for place, name in enumerate(names):
        at = (place + 0.5) * cell
        drawn.append(text(left - 5, top + at + 4, name, "end"))
        turned = f"translate({rounded(left + at + 4)} {rounded(top + size + 5)}) rotate(-90)"
        drawn.append(tag("g", text(0, 0, name, "end"), transform=turned))
    for one, other in np.argwhere(edges.found).tolist():
        corner = f"M{rounded(left + other * cell + 1)} {rounded(top + one * cell + 1)}"
        box = f"{corner}h{cell - 2}v{cell - 2}h-{cell - 2}z"
        drawn += [path(box, "mark-edge"), path(box, "mark")]
    n_found = int(edges.found.sum()) // 2
    label = f"Matrix of {edges.words} of all edges between {n} components; {n_found} found"
    total = (left + size + _GAP, top + size + longest + _GAP + 6)
    return svg("".join(drawn), total, label, has_size=True), limit


def scale_picture(colours: NDArray[np.uint8]) -> bytes:
    """Return a scale of colours as a PNG file of one line, from the lowest to the highest."""
    return as_png(Image.fromarray(colours[None]))


def signed_scale() -> bytes:
    """Return the scale of colours of matrices."""
    return scale_picture(signed_colours(np.linspace(-1, 1, 101)))
