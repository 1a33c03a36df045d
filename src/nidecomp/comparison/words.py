"""What positive and negative values of a test mean, in words."""

from __future__ import annotations

from typing import NamedTuple


class Directions(NamedTuple):
    """What positive and negative t mean."""

    positive: str
    negative: str


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


def of_levels(variable: str, level: str, other: str, difference: str = "") -> Directions:
    """Return the directions of a difference between two levels of a factor.

    Parameters
    ----------
    variable, level, other : str
        `level` minus `other`.
    difference : str
        ``--within``, where differences are compared; else nothing.
    """
    than = f"{people_with(variable, level)} than {people_with(variable, other)}"
    what = _difference(difference)
    return Directions(f"{what}larger {than}", f"{what}smaller {than}")


def of_number(variable: str, difference: str = "") -> Directions:
    """Return the directions of a slope."""
    what = _difference(difference)
    return Directions(f"{what}increases with {variable}", f"{what}decreases with {variable}")


def of_mean(plus: str, minus: str) -> Directions:
    """Return the directions of the mean difference between two sets of runs."""
    return Directions(f"larger in {plus} than in {minus}", f"smaller in {plus} than in {minus}")


def of_slopes(
    number: str, variable: str, level: str, other: str, difference: str = ""
) -> Directions:
    """Return the directions of a difference between the slopes of two groups."""
    what = _difference(difference)
    than = f"with {number} {people_with(variable, level)} than {people_with(variable, other)}"
    return Directions(
        f"{what}increases more (or decreases less) {than}",
        f"{what}increases less (or decreases more) {than}",
    )


def of_differences(
    one: tuple[str, str, str], two: tuple[str, str, str], difference: str = ""
) -> Directions:
    """Return the directions of an interaction of two factors of two levels.

    Parameters
    ----------
    one, two : tuple of str
        Variable, level and reference level.
    difference : str
    """
    what = f"{_difference(difference)}{one[1]} minus {one[2]} is"
    than = f"{people_with(two[0], two[1])} than {people_with(two[0], two[2])}"
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
