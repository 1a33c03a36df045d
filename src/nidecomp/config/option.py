"""Declare one option."""

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
    """Return a dataclass field that declares an option: its converter, default and help text."""
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
