"""Plots of participants by group, or over a number, as vector graphics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.adjusted import Adjusted, Fitted
from nidecomp.outputs.report.svg import LEFT, RIGHT, WIDTH, Axis, dots, path, rounded, svg, text

# Heights in pixels: of a strip with its name, and of the axis below.
_STRIP, _AXIS_HEIGHT = 56, 36
_SCATTER_TOP, _SCATTER_BOTTOM, _SCATTER_LEFT = 10, 170, 44
# More participants than this are drawn smaller, and have no names to point at.
_MOST_NAMES, _SMALL, _LARGE = 200, 1.6, 3.0
_KEY_HEIGHT = 16


def plot(one: Adjusted, words: str, *, has_zero: bool, is_named: bool = True) -> str:
    """Return the plot of values of participants.

    Parameters
    ----------
    one : Adjusted
    words : str
        What the values are, for the axis.
    has_zero : bool
        Whether the axis has zero, with a line: for differences.
    is_named : bool
        Whether each participant is told where the pointer rests on it.

    Returns
    -------
    str
        An ``svg`` element: strips of dots one below the other, or a scatter plot where the test is
        about a number.
    """
    names = is_named and len(one.people) <= _MOST_NAMES
    draw = _scatter if len(one.x) else _strips
    return draw(one, words, _Style(has_zero, names))


@dataclass(frozen=True)
class _Style:
    """How participants are drawn."""

    has_zero: bool
    is_named: bool

    def group(
        self,
        one: Adjusted,
        members: NDArray[np.intp],
        places: Sequence[tuple[float, float]],
        at: int,
    ) -> str:
        """Return the dots of one group."""
        names = [f"{one.people[place]}: {one.values[place]:.3g}" for place in members]
        radius = _LARGE if len(one.people) <= _MOST_NAMES else _SMALL
        return dots(places, names if self.is_named else (), at, radius)


def _members(one: Adjusted, fitted: Fitted) -> NDArray[np.intp]:
    return np.flatnonzero(np.array([group == fitted.group for group in one.groups]))


def _named(fitted: Fitted, n_people: int) -> str:
    return f"{fitted.group or 'all'} (n = {n_people})"


def _strips(one: Adjusted, words: str, style: _Style) -> str:
    """Return a strip for each group, with its mean and the interval of the mean."""
    ends = [float(value) for each in one.fitted for value in (each.low[0], each.high[0])]
    axis = Axis([*one.values.tolist(), *ends, *([0.0] if style.has_zero else [])], LEFT, RIGHT)
    bottom = _STRIP * len(one.fitted) + 2
    drawn, told = [], []
    for number, fitted in enumerate(one.fitted):
        top = _STRIP * number
        members = _members(one, fitted)
        # Spread in a fixed pattern, so that equal values do not overlap.
        places = [
            (axis.at(float(one.values[member])), top + 20 + place * 0.618 % 1 * 22)
            for place, member in enumerate(members)
        ]
        drawn.append(text(LEFT, top + 11, _named(fitted, len(members)), class_="group-name"))
        if style.has_zero:
            # Names stay free of it.
            drawn.append(path(f"M{rounded(axis.at(0))} {top + 16}V{top + _STRIP}", "guide"))
        drawn.append(style.group(one, members, places, number))
        drawn.append(_mean(axis, fitted, top))
        middle, low, high = (float(each[0]) for each in (fitted.middle, fitted.low, fitted.high))
        told.append(f"{_named(fitted, len(members))}: {middle:.3g} ({low:.3g} to {high:.3g})")
    drawn.append(axis.across(bottom, words))
    label = f"{words}; mean and 95 % interval: {'; '.join(told)}"
    return svg("".join(drawn), (WIDTH, bottom + _AXIS_HEIGHT), label)


def _mean(axis: Axis, fitted: Fitted, top: float) -> str:
    """Return the mean of a group and its interval, below the dots."""
    low, middle, high = (
        rounded(axis.at(float(each[0]))) for each in (fitted.low, fitted.middle, fitted.high)
    )
    y = top + 49
    return path(f"M{middle} {top + 16}V{y + 4}", "mean") + path(
        f"M{low} {y}H{high}M{low} {y - 3}v6M{high} {y - 3}v6", "interval"
    )


def _scatter(one: Adjusted, words: str, style: _Style) -> str:
    """Return values over a number, with the line of the model for each group."""
    has_key = len(one.fitted) > 1
    top = _SCATTER_TOP + (_KEY_HEIGHT * len(one.fitted) if has_key else 0) + 12
    bottom = top + _SCATTER_BOTTOM - _SCATTER_TOP
    limits = [
        float(value) for each in one.fitted for side in (each.low, each.high) for value in side
    ]
    across = Axis(one.x.tolist(), _SCATTER_LEFT, RIGHT)
    upwards = Axis([*one.values.tolist(), *limits], bottom, top)
    drawn = [text(LEFT, 10, words)]
    told = []
    for number, fitted in enumerate(one.fitted):
        members = _members(one, fitted)
        places = [
            (across.at(float(one.x[member])), upwards.at(float(one.values[member])))
            for member in members
        ]
        if has_key:
            y = 12 + _KEY_HEIGHT * (number + 1)
            drawn.append(dots([(LEFT + 5, y - 4)], (), number, _LARGE))
            drawn.append(text(LEFT + 14, y, _named(fitted, len(members)), class_="group-name"))
        drawn.append(_line(across, upwards, fitted, number))
        drawn.append(style.group(one, members, places, number))
        told.append(_slope(fitted, one.x_name, len(members)))
    drawn.append(across.across(bottom, one.x_name))
    drawn.append(upwards.upwards(_SCATTER_LEFT))
    label = f"{words} over {one.x_name}: {'; '.join(told)}"
    return svg("".join(drawn), (WIDTH, bottom + _AXIS_HEIGHT), label)


def _slope(fitted: Fitted, x_name: str, n_people: int) -> str:
    """Return what the line of a group says, in words."""
    if not len(fitted.x):
        return f"{_named(fitted, n_people)}: {float(fitted.middle[0]):.3g}"
    ends = (float(fitted.middle[0]), float(fitted.middle[-1]))
    at = f"{x_name} {fitted.x[0]:.3g} to {fitted.x[-1]:.3g}"
    return f"{_named(fitted, n_people)}, from {ends[0]:.3g} to {ends[1]:.3g} for {at}"


def _line(across: Axis, upwards: Axis, fitted: Fitted, number: int) -> str:
    """Return the line of the model with the band of its interval."""
    if not len(fitted.x):
        return ""

    def points(values: NDArray[np.float64]) -> list[str]:
        return [
            f"{rounded(across.at(x))} {rounded(upwards.at(y))}"
            for x, y in zip(fitted.x.tolist(), values.tolist(), strict=True)
        ]

    band = [*points(fitted.low), *points(fitted.high)[::-1]]
    line = points(fitted.middle)
    class_ = f"group-{number % 8}"
    return path(f"M{'L'.join(band)}z", f"band {class_}") + path(
        f"M{line[0]}L{line[-1]}", f"fit {class_}"
    )
