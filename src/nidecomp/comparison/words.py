"""What positive and negative values of a test mean, in words."""

from __future__ import annotations

from typing import NamedTuple


class Directions(NamedTuple):
    """What positive and negative t mean."""

    positive: str
    negative: str


class Levels(NamedTuple):
    """Two levels of a factor: `level` minus `other`."""

    variable: str
    level: str
    other: str


# Levels that say nothing without the name of their variable.
_BARE = frozenset(
    {"yes", "no", "true", "false", "none", "male", "female", "left", "right", "other"}
)
# Shorter ones are codes, such as M and F.
_SHORTEST_WORD = 4


def people_with(variable: str, level: str) -> str:
    """Return how a sentence names the people of a level: ``in patients``, or ``for sex F``."""
    is_word = level.isalpha() and len(level) >= _SHORTEST_WORD and level.lower() not in _BARE
    return f"in {level}" if is_word else f"for {variable} {level}"


def _than(pair: Levels) -> str:
    one, other = (people_with(pair.variable, level) for level in pair[1:])
    return f"{one} than {other}"


def of_levels(pair: Levels, difference: str = "") -> Directions:
    """Return the directions of a difference between two levels of a factor.

    Parameters
    ----------
    pair : Levels
    difference : str
        ``--within``, where differences are compared; else nothing.
    """
    than = _than(pair)
    what = _difference(difference)
    return Directions(f"{what}larger {than}", f"{what}smaller {than}")


def of_number(variable: str, difference: str = "") -> Directions:
    """Return the directions of a slope."""
    what = _difference(difference)
    return Directions(f"{what}increases with {variable}", f"{what}decreases with {variable}")


def of_mean(plus: str, minus: str) -> Directions:
    """Return the directions of the mean difference between two sets of runs."""
    return Directions(f"larger in {plus} than in {minus}", f"smaller in {plus} than in {minus}")


def of_slopes(number: str, pair: Levels, difference: str = "") -> Directions:
    """Return the directions of a difference between the slopes of two groups."""
    what = _difference(difference)
    than = f"with {number} {_than(pair)}"
    return Directions(
        f"{what}increases more (or decreases less) {than}",
        f"{what}increases less (or decreases more) {than}",
    )


def of_differences(one: Levels, two: Levels, difference: str = "") -> Directions:
    """Return the directions of an interaction of two factors of two levels."""
    what = f"{_difference(difference)}{one.level} minus {one.other} is"
    than = _than(two)
    return Directions(f"{what} larger {than}", f"{what} smaller {than}")


def of_two_numbers(one: str, two: str, difference: str = "") -> Directions:
    """Return the directions of an interaction of two numbers."""
    what, where = _difference(difference), f"with {one} where {two} is higher"
    return Directions(
        f"{what}increases more (or decreases less) {where}",
        f"{what}increases less (or decreases more) {where}",
    )


def of_others(text: str, difference: str = "") -> Directions:
    """Return the directions of a test that no sentence fits."""
    what = _difference(difference)
    return Directions(f"{what}{text} is positive", f"{what}{text} is negative")


def _difference(difference: str) -> str:
    return f"difference ({difference}) " if difference else ""
