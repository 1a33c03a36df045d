"""Figures for papers that show more than one component: contact sheets, matrices, participants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nidecomp.outputs.report.raster import (
    INK,
    PAPER,
    SOFT,
    Colour,
    shortened,
    width_of,
    write,
    written_upwards,
)

_FOUND, _MARK = (0, 114, 178), (213, 94, 0)
_LINE = (214, 218, 224)
# More names would overlap.
_MOST_NAMES = 8
_TEXT, _RADIUS = 11, 3
_SHEET_WIDTH, _SHEET_GAP, _SHEET_COLUMNS = 1240, 10, 4
# From the lowest to the highest value; white is 0.
_SIGNED = ((5, 48, 97), (67, 147, 195), (255, 255, 255), (214, 96, 77), (103, 0, 31))


def draw_contact_sheet(small: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Return the small pictures of all components with their captions.

    Parameters
    ----------
    small : sequence of Image
    captions : sequence of str

    Returns
    -------
    Image
    """
    width = (_SHEET_WIDTH - (_SHEET_COLUMNS + 1) * _SHEET_GAP) // _SHEET_COLUMNS
    height = max((round(one.height * width / one.width) for one in small), default=1)
    n_rows = -(-len(small) // _SHEET_COLUMNS)
    step = height + 50
    sheet = Image.new("RGB", (_SHEET_WIDTH, n_rows * step + _SHEET_GAP), PAPER)
    for index, (one, caption) in enumerate(zip(small, captions, strict=True)):
        row, column = divmod(index, _SHEET_COLUMNS)
        left, top = _SHEET_GAP + column * (width + _SHEET_GAP), _SHEET_GAP + row * step
        shown = one.resize((width, round(one.height * width / one.width)))
        sheet.paste(shown, (left, top))
        for number, line in enumerate(_in_two_lines(caption, width)):
            write(sheet, (left, top + height + 4 + 16 * number), line, size=12)
    return sheet


def _in_two_lines(caption: str, width: int) -> list[str]:
    """Return a caption as one or two lines, parted where one of its dots is."""
    first, *rest = caption.split(" · ")
    while rest and width_of(f"{first} · {rest[0]}", 12) <= width:
        first += f" · {rest.pop(0)}"
    return [shortened(line, 12, width) for line in (first, " · ".join(rest)) if line]


def draw_matrix(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Image.Image:
    """Return a matrix of correlations with the names of its rows and columns.

    Parameters
    ----------
    values : ndarray, shape (n_rows, n_columns)
        NaN is left white.
    rows, columns : sequence of str
    title : str
        What the values are.

    Returns
    -------
    Image
    """
    cell = max(7, min(18, 900 // max(len(rows), len(columns), 1)))
    rows, columns = ([shortened(name, _TEXT, 260) for name in names] for names in (rows, columns))
    left = 12 + max((width_of(name, _TEXT) for name in rows), default=0)
    top = 34
    below = 12 + max((width_of(name, _TEXT) for name in columns), default=0)
    width, height = cell * len(columns), cell * len(rows)
    size = (max(left + width + 80, width_of(title, 13) + 16), top + max(height, 60) + below)
    picture = Image.new("RGB", size, PAPER)
    write(picture, (8, 8), title, size=13)
    finite = np.abs(values[np.isfinite(values)])
    limit = float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    shown = Image.fromarray(signed_colours(np.nan_to_num(values / limit)))
    if width and height:
        picture.paste(shown.resize((width, height), Image.Resampling.NEAREST), (left, top))
    for index, name in enumerate(rows):
        write(picture, (left - 5, top + (index + 0.5) * cell), name, size=_TEXT, anchor="rm")
    for index, name in enumerate(columns):
        word = written_upwards(name, _TEXT)
        picture.paste(word, (left + round((index + 0.5) * cell - word.width / 2), top + height + 5))
    _draw_scale(picture, (left + width + 16, top), limit)
    return picture


def signed_colours(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of values from -1 to 1: blue, white at 0, and red."""
    at = np.linspace(-1, 1, len(_SIGNED))
    channels = [np.interp(share, at, [colour[axis] for colour in _SIGNED]) for axis in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _draw_scale(picture: Image.Image, place: tuple[int, int], limit: float) -> None:
    left, top = place
    height = 120
    bar = Image.fromarray(signed_colours(np.linspace(1, -1, height))[:, None])
    picture.paste(bar.resize((12, height)), (left, top))
    for value in (limit, 0.0, -limit):
        y = top + (1 - value / limit) / 2 * height
        write(picture, (left + 17, y), f"{value:.2f}", size=_TEXT, anchor="lm")


def draw_strips(
    columns: Sequence[tuple[str, NDArray[np.float64]]],
    marked: NDArray[np.bool_],
    names: Sequence[str],
) -> Image.Image:
    """Return the distribution of participants in several measures; marked ones are coloured.

    Parameters
    ----------
    columns : sequence of (str, ndarray)
        What it is, and each participant's value.
    marked : ndarray of bool, shape (n_participants,)
    names : sequence of str

    Returns
    -------
    Image
    """
    height, left = 96, 190
    picture = Image.new("RGB", (920, height * len(columns) + 8), PAPER)
    for index, (title, values) in enumerate(columns):
        top = index * height
        write(picture, (left - 16, top + 36), title, size=13, anchor="rm")
        _draw_strip(picture, (left, top + 8, 880, top + 64), values, marked, names)
    return picture


def _dot() -> Image.Image:
    """Return how much of each pixel a dot covers; drawn larger and made smaller, it is round."""
    size, finer = 2 * _RADIUS + 1, 8
    large = Image.new("L", (size * finer, size * finer))
    ImageDraw.Draw(large).ellipse([(0, 0), (size * finer - 1, size * finer - 1)], fill=255)
    return large.resize((size, size), Image.Resampling.BOX)


def _draw_strip(
    picture: Image.Image,
    box: tuple[int, int, int, int],
    values: NDArray[np.float64],
    marked: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    """Draw each value as a point; marked values are coloured and named."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(picture)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = high - low or 1.0
    pen.line([(left, bottom), (right, bottom)], fill=_LINE)
    for value in (low, float(np.median(known)) if len(known) else low, high):
        x = left + (value - low) / span * (right - left)
        pen.line([(x, bottom), (x, bottom + 4)], fill=SOFT)
        write(picture, (x, bottom + 6), f"{value:.3g}", size=_TEXT, colour=SOFT, anchor="ma")
    # Spread in a fixed pattern, so that equal values do not overlap.
    ys = (top + 12 + np.arange(len(values)) * 0.618 % 1 * (bottom - top - 16)).tolist()
    xs = (left + (values - low) / span * (right - left)).tolist()
    dot = _dot()
    named = set(np.flatnonzero(marked)[:_MOST_NAMES].tolist())
    for index in np.flatnonzero(np.isfinite(values)).tolist():
        colour: Colour = _MARK if marked[index] else _FOUND
        at = (xs[index], ys[index])
        picture.paste(colour, (round(at[0]) - _RADIUS, round(at[1]) - _RADIUS), dot)
        if index in named:
            # Within the box: beside it are the title and the edge of the picture.
            half = width_of(names[index], 10) / 2
            x = min(max(at[0], left + half), right - half)
            write(picture, (x, at[1] - 4), names[index], size=10, colour=INK, anchor="mb")
