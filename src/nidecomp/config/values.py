"""Convert the value of an option, from text, TOML or Python, to one checked type.

Each converter returns the value or raises ValueError; its message follows "--option value: ".
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from nidecomp.core.text import in_one_line, parse_json, quoted, read_text

# The presets of nilearn.interfaces.fmriprep.load_confounds_strategy (nilearn 0.14).
STRATEGY_PRESETS = ("simple", "scrubbing", "compcor", "ica_aroma")
# The noise components of load_confounds, of which any combination can be used.
STRATEGY_PARTS = ("motion", "wm_csf", "global_signal", "high_pass", "compcor", "ica_aroma", "scrub")
# Methods to threshold maps, with their default level: the levels are those that are customary in
# the field for values of p (without and with correction), and a ratio of 1 is nilearn's default.
THRESHOLD_LEVELS = {"background": 0.05, "p": 0.001, "isotropy": 0.001, "ratio": 1.0}

# The meshes of FreeSurfer have spaces of their own.
_FSAVERAGE = {"den-10k": "fsaverage5", "den-41k": "fsaverage6", "den-164k": "fsaverage"}

Convert = Callable[[object], Any]


def word(value: object) -> str:
    """Accept a nonempty string."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a nonempty string")
    return value


def label(*prefixes: str) -> Convert:
    """Accept a BIDS label with or without one of the prefixes, such as ``sub-``."""

    def convert(value: object) -> str:
        # In TOML and Python, run 1 may be given as a number; None and True are mistakes.
        is_label = isinstance(value, str | int) and not isinstance(value, bool)
        text = str(value) if is_label else ""
        for prefix in prefixes:
            text = text.removeprefix(prefix)
        if not text.replace("+", "").isalnum() or not text.isascii():
            raise ValueError("must be a BIDS label: letters and digits only")
        return text

    return convert


def space_label(value: object) -> str:
    """Accept the label of a space, with or without a prefix."""
    text, _, more = str(value).partition(":")
    if more:
        # fMRIPrep's --output-spaces has resolution and cohort after colons.
        hints = {
            "res": "--res {}",
            "cohort": '--bids-filter-file \'{{"bold": {{"cohort": "{}"}}}}\'',
            "den": "--den {}",
        }
        pairs = [part.partition("-") for part in more.split(":")]
        if text == "fsaverage" and (mesh := _FSAVERAGE.get(more)):
            raise ValueError(f"must be the label of a space: use --space {mesh}")
        options = [hints[name].format(of) for name, _, of in pairs if name in hints]
        raise ValueError(
            f"must be the label of a space: use {' '.join([f'--space {text}', *options])}"
        )
    return cast(str, label("space-", "tpl-")(value))


def one_of(*choices: str) -> Convert:
    """Accept one of the choices."""

    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return convert


def integer(minimum: int, maximum: int | None = None) -> Convert:
    """Accept a whole number from `minimum` to `maximum`."""

    def convert(value: object) -> int:
        try:
            # operator.index accepts numpy integers, but not floats.
            number = int(value) if isinstance(value, str) else operator.index(cast(Any, value))
        except (TypeError, ValueError):
            number = minimum - 1
        too_high = maximum is not None and number > maximum
        if isinstance(value, bool) or number < minimum or too_high:
            high = f" and at most {maximum}" if maximum is not None else ""
            raise ValueError(f"must be a whole number of at least {minimum}{high}")
        return number

    return convert


def integer_or(name: str, minimum: int) -> Convert:
    """Accept a whole number from `minimum`, or the word `name`."""
    whole = integer(minimum)

    def convert(value: object) -> int | str:
        if value == name:
            return name
        try:
            return cast(int, whole(value))
        except ValueError as error:
            raise ValueError(f"{error}, or {name}") from None

    return convert


def number(minimum: float, maximum: float = math.inf, *, above: bool = False) -> Convert:
    """Accept a finite number from `minimum` (excluded where `above`) to `maximum`."""

    def convert(value: object) -> float:
        try:
            number = float(cast(Any, value))
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        too_low = number <= minimum if above else number < minimum
        if isinstance(value, bool) or not math.isfinite(number) or too_low or number > maximum:
            low = f"above {minimum:g}" if above else f"of at least {minimum:g}"
            high = "" if math.isinf(maximum) else f" and at most {maximum:g}"
            raise ValueError(f"must be a number {low}{high}")
        return number

    return convert


def flag(value: object) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def path(value: object) -> str:
    """Accept a path, unchanged."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("must be a path")
    return os.fspath(cast("str | os.PathLike[str]", value))


def json_object(value: object) -> str:
    """Accept a JSON file, JSON text or a mapping, and return its content as canonical JSON text."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        try:
            value = read_text(Path(value))
        except (OSError, ValueError) as error:
            why = in_one_line(error)
            raise ValueError(f"must be a readable JSON file ({why})") from None
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f"must contain valid JSON ({in_one_line(error)})") from None
    if not isinstance(value, Mapping):
        raise ValueError("must contain a JSON object")
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise ValueError(f"must be serialisable as JSON ({error})") from None


def strategy(value: object) -> str:
    """Accept a preset, ``none``, parts joined by ``+``, or a JSON object of arguments."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, Mapping) or (isinstance(value, str) and _looks_like_json(value)):
        return json_object(value)
    name = word(value)
    if name == "none" or name in STRATEGY_PRESETS:
        return name
    unknown = [part for part in name.split("+") if part not in STRATEGY_PARTS]
    if unknown:
        raise ValueError(
            f"must be none, a preset ({', '.join(STRATEGY_PRESETS)}), components joined by + "
            f"({', '.join(STRATEGY_PARTS)}), or a .json file; {quoted(unknown[0])} is unknown"
        )
    return name


def threshold(value: object) -> str:
    """Accept a threshold method with or without its level: ``p`` becomes ``p:0.001``."""
    kind, colon, number = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "fdr":
        # The name before the first release, in settings files that are used again.
        raise ValueError(
            f"this rule is now called background{colon}{number}, because it is a rule for where to "
            "cut a map and does not control the false discovery rate of ICA maps"
        )
    if kind not in THRESHOLD_LEVELS:
        usual = ", ".join(f"{kind}:{level:g}" for kind, level in THRESHOLD_LEVELS.items())
        raise ValueError(
            f"must be one of {', '.join(THRESHOLD_LEVELS)}, optionally with a level ({usual})"
        )
    try:
        level = float(number) if colon else THRESHOLD_LEVELS[kind]
    except ValueError:
        level = math.nan
    if not 0 < level < (math.inf if kind == "ratio" else 1):
        allowed = "above 0" if kind == "ratio" else "above 0 and below 1"
        raise ValueError(f"must have a number {allowed} after {kind}:")
    return f"{kind}:{repr(level).removesuffix('.0')}"


def _looks_like_json(text: str) -> bool:
    return text.lstrip().startswith("{") or text.endswith(".json")
