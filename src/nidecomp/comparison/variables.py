"""Numbers and factors: what the columns of the participants' table mean in a model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.formula import Factor
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.text import count, quoted

# A level of fewer people has no variance to speak of.
FEWEST_OF_LEVEL = 3
# A number with as few different whole values may be a code, such as that of a site.
_FEWEST_CODES, _MOST_CODES = 2, 5
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
# Larger and smaller ones are mistakes, and their products could not be told from infinity and 0.
_LARGEST, _SMALLEST_SPREAD = 1e15, 1e-15
# Relative to the largest value: what is left of a difference beside a rounding error.
_RELATIVE_SPREAD = 1e-10
_LONGEST_LEVEL = 100
_SHOWN = 5

Value = float | str


@dataclass(frozen=True, eq=False)
class Coding:
    """A factor of the formula with its values.

    Parameters
    ----------
    factor : Factor
    values : ndarray of float64, shape (n_people,)
        Numbers as they enter the matrix, or the places of levels in `levels`.
    levels : tuple of str
        The levels of a factor, the reference level first; none for a number.
    """

    factor: Factor
    values: NDArray[np.float64]
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """The values of a variable for the people in the model, none of which is missing.

    Parameters
    ----------
    name : str
    people : tuple of str
        The labels of participants.
    values : tuple of float or str
        All numbers, or all texts.
    source : str
        What messages call the table.
    """

    name: str
    people: tuple[str, ...]
    values: tuple[Value, ...]
    source: str

    @property
    def is_number(self) -> bool:
        """Whether all values are numbers."""
        return all(isinstance(value, float) for value in self.values)

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as texts: the same numbers have the same text."""
        return tuple(
            f"{value:.12g}" if isinstance(value, float) else value for value in self.values
        )


def read_column(name: str, people: Sequence[str], values: Sequence[Value], source: str) -> Column:
    """Return a variable, whose values are numbers where all of them are.

    Parameters
    ----------
    name : str
    people : sequence of str
    values : sequence of float or str
        Texts as they are in the table.
    source : str

    Returns
    -------
    Column

    Raises
    ------
    UsageError
        A text cannot be shown as the name of a level.
    """
    for text in map(str, values):
        if not text.isprintable() or len(text) > _LONGEST_LEVEL:
            raise UsageError(
                f"{source}: column {name} has {quoted(text)}; values of variables must be "
                f"printable, and have at most {_LONGEST_LEVEL} characters."
            )
    numbers = [_as_number(value) for value in values]
    is_number = all(number is not None for number in numbers)
    read: Sequence[Value] = (
        [n for n in numbers if n is not None] if is_number else list(map(str, values))
    )
    return Column(name, tuple(people), tuple(read), source)


def _as_number(value: Value) -> float | None:
    if isinstance(value, float):
        return value
    number = float(value) if _NUMBER.fullmatch(value) else math.inf
    return number if math.isfinite(number) else None


def code(factor: Factor, column: Column) -> Coding:
    """Return how a variable enters the model.

    Parameters
    ----------
    factor : Factor
    column : Column

    Returns
    -------
    Coding

    Raises
    ------
    UsageError
        The variable cannot be used in this way.
    NothingToDoError
        It is the same for all, or a level has too few people.
    """
    _check_varies(column)
    if factor.kind == "indicator":
        return _indicator(factor, column)
    if factor.kind == "factor" or (factor.kind == "plain" and not column.is_number):
        if factor.kind == "plain":
            _check_no_numbers(column)
        levels = _levels(column)
        _check_levels(column, levels)
        places = {level: float(place) for place, level in enumerate(levels)}
        return Coding(factor, np.array([places[text] for text in column.texts]), levels)
    if not column.is_number:
        raise UsageError(
            f"scale({column.name}): {column.name} is no number in {column.source} (such as "
            f"{quoted(column.values[0])})."
        )
    values = np.array(column.values, dtype=np.float64)
    _check_size(column, values)
    if factor.kind == "scaled":
        values = (values - values.mean()) / values.std(ddof=1)
    return Coding(factor, values)


def _check_size(column: Column, values: NDArray[np.float64]) -> None:
    largest, spread = np.abs(values).max(), np.ptp(values)
    if largest > _LARGEST:
        raise UsageError(
            f"{column.source}: column {column.name} has a value of {largest:g}, which is too large "
            "to be right; use another unit if it is."
        )
    if spread < max(_SMALLEST_SPREAD, _RELATIVE_SPREAD * largest):
        raise UsageError(
            f"{column.source}: the values of {column.name} differ by {spread:g} only; use another "
            "unit or origin if this is right."
        )


def _indicator(factor: Factor, column: Column) -> Coding:
    if factor.level not in column.texts:
        raise UsageError(
            f"{factor.text}: nobody in the model has {quoted(factor.level)} as {column.name}; "
            f"there are {', '.join(_levels(column))}."
        )
    _check_levels(column, (factor.level,))
    return Coding(factor, np.array([float(text == factor.level) for text in column.texts]))


def _levels(column: Column) -> tuple[str, ...]:
    """Return the sorted levels of a factor; numbers in the order of numbers."""
    distinct = set(zip(column.values, column.texts, strict=True))
    return tuple(text for _, text in sorted(distinct))


def _check_varies(column: Column) -> None:
    if len(set(column.texts)) > 1:
        return
    what = f"{column.name} is {quoted(column.texts[0])} for all people in the model"
    raise NothingToDoError(
        f"{what} ({len(column.people)}), so that nothing depends on it: leave it out of the model."
    )


def _check_no_numbers(column: Column) -> None:
    """Refuse text that is meant as numbers, which would become a factor with many levels."""
    commas = [
        text
        for text in column.texts
        if not _NUMBER.fullmatch(text) and _DECIMAL_COMMA.fullmatch(text)
    ]
    if commas:
        raise UsageError(
            f"{column.source}: column {column.name} has numbers with a comma (such as "
            f"{quoted(commas[0])}): write a point."
        )
    no_numbers = [
        (text, person)
        for text, person in zip(column.texts, column.people, strict=True)
        if _as_number(text) is None
    ]
    if 2 * len(no_numbers) < len(column.people):
        text, person = no_numbers[0]
        raise UsageError(
            f"{column.source}: column {column.name} has numbers, and text in "
            f"{count(len(no_numbers), 'row')} (such as {quoted(text)} of sub-{person}). Write n/a "
            f"where the number is not known; or C({column.name}), if these are names of groups."
        )


def _check_levels(column: Column, levels: Sequence[str]) -> None:
    """Refuse levels with too few people, and levels that are written in two ways."""
    folded: dict[str, str] = {}
    for level in _levels(column):
        other = folded.setdefault(level.casefold(), level)
        if other != level:
            raise UsageError(
                f"{column.source}: {column.name} has {quoted(other)} and {quoted(level)}, which "
                "differ in upper and lower case only: write them the same."
            )
    sizes = Counter(column.texts)
    few = [level for level in levels if sizes[level] < FEWEST_OF_LEVEL]
    if not few:
        return
    if len(few) > len(sizes) / 2 and len(sizes) > 2 * _SHOWN:
        raise NothingToDoError(
            f"{column.name} has {len(sizes)} levels for {len(column.people)} people, which is too "
            "many for a factor."
        )
    named = "; ".join(f"{level} has {_listed(column, level)}" for level in few[:_SHOWN])
    raise NothingToDoError(
        f"Each level of {column.name} needs at least {FEWEST_OF_LEVEL} people in the model: "
        f"{named}. Leave them out (n/a in the table), or join levels."
    )


def _listed(column: Column, level: str) -> str:
    pairs = zip(column.people, column.texts, strict=True)
    return " and ".join(f"sub-{person}" for person, text in pairs if text == level)


def notes_on(factor: Factor, column: Column, coding: Coding) -> Iterator[str]:
    """Yield what is assumed about a variable."""
    if coding.levels and factor.kind != "indicator":
        sizes = Counter(column.texts)
        levels = ", ".join(f"{level} ({sizes[level]})" for level in coding.levels)
        yield f"{factor.variable} is a factor: {levels}; its reference level is {coding.levels[0]}."
    distinct = sorted(set(column.values)) if column.is_number else []
    if (
        factor.kind == "plain"
        and _FEWEST_CODES <= len(distinct) <= _MOST_CODES
        and all(isinstance(value, float) and value.is_integer() for value in distinct)
    ):
        values = ", ".join(column.texts[column.values.index(value)] for value in distinct)
        yield (
            f"{factor.variable} is used as a number, whose values are {values}; write "
            f"C({factor.variable}) if these are codes of groups."
        )
