"""How an option is declared."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from nidecomp.config.values import Convert


def option(
    read: Convert,
    default: object,
    help_text: str,
    *,
    metavar: str = "",
    many: bool = False,
    short: str = "",
) -> Any:
    """Declare one option: how a value is read, its default and the sentence that explains it."""
    return field(
        default=default,
        metadata={
            "convert": read,
            "help": help_text,
            "metavar": metavar,
            "many": many,
            "short": short,
        },
    )
