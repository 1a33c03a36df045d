"""Vector graphics of the page, and as files: axes, dots and text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

# As the scripts of the page draw theirs.
WIDTH, LEFT, RIGHT = 320, 8, 312
# What participants of a group are drawn as, around a point, in units of the radius: a circle, a
# square, a triangle and a diamond, so that groups are told apart without colours.
_SHAPES = (
    "m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z",
    "m-{r}-{r}h{d}v{d}h-{d}z",
    "m0-{r}l{r} {d}h-{d}z",
    "m0-{h}l{h} {h}l-{h} {h}l-{h}-{h}z",
)


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Return an element.

    Parameters
    ----------
    name : str
    content : str
        What is in it, escaped where it is text of others.
    **attributes : object
        Their names with ``_`` for ``-``, and ``class_`` for ``class``.

    Returns
    -------
    str
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(x: float, y: float, words: str, anchor: str = "start", **attributes: object) -> str:
    """Return a line of text; `anchor` as SVG has it."""
    return tag("text", escape(words), x=rounded(x), y=rounded(y), text_anchor=anchor, **attributes)


def path(d: str, class_: str) -> str:
    """Return a path."""
    return tag("path", d=d, class_=class_)


def svg(content: str, size: tuple[float, float], label: str, *, has_size: bool = False) -> str:
    """Return a picture.

    Parameters
    ----------
    content : str
    size : tuple of float
        Width and height.
    label : str
        What it shows, for those who do not see it.
    has_size : bool
        Whether it has this size in pixels; otherwise it is as wide as its place.

    Returns
    -------
    str
    """
    width, height = map(rounded, size)
    sizes = {"width": width, "height": height} if has_size else {}
    view_box = f"0 0 {width} {height}"
    return tag("svg", content, viewBox=view_box, role="img", aria_label=label, **sizes)


def rounded(value: float) -> str:
    """Return a number with one digit after the point, or none."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.0", "0")


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers that divide a range into a few parts.

    Parameters
    ----------
    low, high : float

    Returns
    -------
    list of float
    """
    rough = (high - low) / 4 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


class Axis:
    """Places of numbers along a line of the picture.

    Parameters
    ----------
    values : sequence of float
        What it must hold; they may be equal.
    start, end : float
        Where it begins and ends in the picture.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = float(np.min(values)), float(np.max(values))
        margin = (high - low or abs(high) or 1.0) * 0.04
        self.low, self.high = low - margin, high + margin
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Return the place of a number."""
        share = (value - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    def across(self, y: float, title: str) -> str:
        """Return it drawn from left to right, with its title."""
        drawn = [path(f"M{rounded(self._start)} {rounded(y)}H{rounded(self._end)}", "axis")]
        for value in ticks(self.low, self.high):
            x = self.at(value)
            drawn.append(path(f"M{rounded(x)} {rounded(y)}v4", "axis"))
            drawn.append(text(x, y + 15, f"{value:g}", "middle"))
        drawn.append(text(self._end, y + 29, title, "end"))
        return "".join(drawn)

    def upwards(self, x: float) -> str:
        """Return it drawn upwards, with numbers on its left."""
        drawn = [path(f"M{rounded(x)} {rounded(self._start)}V{rounded(self._end)}", "axis")]
        for value in ticks(self.low, self.high):
            y = self.at(value)
            drawn.append(path(f"M{rounded(x)} {rounded(y)}h-4", "axis"))
            drawn.append(text(x - 7, y + 4, f"{value:g}", "end"))
        return "".join(drawn)


def dots(
    places: Sequence[tuple[float, float]], names: Sequence[str], group: int, radius: float
) -> str:
    """Return the participants of a group.

    Parameters
    ----------
    places : sequence of (float, float)
    names : sequence of str
        What is said of each where the pointer rests on it; without names, all are one shape.
    group : int
        The number of the group, which decides the shape and the colour.
    radius : float

    Returns
    -------
    str
    """
    sizes = {"r": rounded(radius), "d": rounded(2 * radius), "h": rounded(1.3 * radius)}
    shape = _SHAPES[group % len(_SHAPES)].format(**sizes)
    drawn = [f"M{rounded(x)} {rounded(y)}{shape}" for x, y in places]
    class_ = f"person group-{group % 8}"
    if not names:
        return path("".join(drawn), class_)
    return "".join(
        tag("path", tag("title", escape(name)), d=d, class_=class_)
        for d, name in zip(drawn, names, strict=True)
    )
