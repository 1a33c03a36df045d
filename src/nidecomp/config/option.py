"""Declare one option, and convert its value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import Field, field
from typing import Any, cast

from nidecomp.config.values import Convert
from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted


def option(
    read: Convert,
    default: object,
    help_text: str,
    *,
    metavar: str = "",
    many: bool = False,
    adds_up: bool = False,
    short: str = "",
) -> Any:
    """Return a dataclass field that declares an option: its converter, default and help text.

    An option with `many` values that is given twice has the last ones, as usual, unless it
    `adds_up`.
    """
    return field(
        default=default,
        metadata={
            "convert": read,
            "help": help_text,
            "metavar": metavar,
            "many": many,
            "adds_up": adds_up,
            "short": short,
        },
    )


def converted(declared: Field[Any], value: object) -> object:
    """Return the value of an option, checked.

    Raises
    ------
    UsageError
        The value is invalid; the message names the option and says what is accepted.
    """
    read: Convert = declared.metadata["convert"]
    flag = "--" + declared.name.replace("_", "-")
    if declared.default is None and (value is None or _unsets_a_number(declared, value)):
        return None
    try:
        if not declared.metadata["many"]:
            return read(value)
        is_one = isinstance(value, str | Mapping) or not isinstance(value, Iterable)
        items = [value] if is_one else list(cast("Iterable[object]", value))
        # Sorted and without duplicates, so that the same values always give the same settings.
        unique = {read(item) for item in items}
        return tuple(sorted(unique, key=lambda item: (isinstance(item, str), item)))
    except ValueError as error:
        raise UsageError(f"{flag} {quoted(value)}: {error}.") from None


def _unsets_a_number(declared: Field[Any], value: object) -> bool:
    """Return whether a value is ``none``, which unsets a number set in a config file.

    Only for numbers, because a label or a file may be called ``none``.
    """
    return value == "none" and declared.metadata["metavar"] in {"HZ", "MM", "A", "P"}


def did_you_mean(name: str, known: Mapping[str, object]) -> str:
    """Return a hint at the known name that is most like a name, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
