"""Convert denoising strategies to arguments of `load_confounds`; which columns they need."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from nidecomp.config.science import Denoising
from nidecomp.config.values import STRATEGY_PARTS, STRATEGY_PRESETS
from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted
from nidecomp.runs.answers import answer_to

# Columns of fMRIPrep's confounds tables: framewise displacement, standardised DVARS, and rigid-body
# parameters.
FD = "framewise_displacement"
DVARS = "std_dvars"
RIGID_BODY = tuple(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz")
_MODEL_SUFFIXES = {
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
_BASES = {
    "motion": RIGID_BODY,
    "wm_csf": ("csf", "white_matter"),
    "global_signal": ("global_signal",),
}
# Default models of load_confounds.
_DEFAULT_MODEL = {"motion": "full", "wm_csf": "basic", "global_signal": "basic"}
# Parts with any number of columns, which start with one of these prefixes.
_PREFIXES = {
    "high_pass": ("cosine",),
    "compcor": ("a_comp_cor_", "t_comp_cor_", "c_comp_cor_", "w_comp_cor_"),
    "ica_aroma": ("aroma_motion_",),
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_model(value: object) -> bool:
    return isinstance(value, str) and value in _MODEL_SUFFIXES


_A_MODEL = (_is_model, f"one of {', '.join(_MODEL_SUFFIXES)}")
_A_NUMBER = (_is_number, "a number")
_A_WORD = (lambda value: isinstance(value, str), "a string accepted by load_confounds")
# The arguments of load_confounds: whether a value is valid, and a description of valid values.
_ARGUMENTS: dict[str, tuple[Callable[[object], bool], str]] = {
    "strategy": (
        lambda value: isinstance(value, list) and set(map(str, value)) <= set(STRATEGY_PARTS),
        f"a list of {', '.join(STRATEGY_PARTS)}",
    ),
    "motion": _A_MODEL,
    "wm_csf": _A_MODEL,
    "global_signal": _A_MODEL,
    "scrub": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "a whole number of volumes",
    ),
    "fd_threshold": _A_NUMBER,
    "std_dvars_threshold": _A_NUMBER,
    "compcor": _A_WORD,
    "n_compcor": (
        lambda value: value == "all" or (isinstance(value, int) and not isinstance(value, bool)),
        'a whole number or "all"',
    ),
    "ica_aroma": _A_WORD,
    "demean": (lambda value: isinstance(value, bool), "true or false"),
}


def resolve_strategy(denoising: Denoising) -> dict[str, Any] | None:
    """Return the arguments of `load_confounds` for a strategy, or None for ``none``.

    Raises
    ------
    UsageError
        The strategy has arguments that `load_confounds` does not accept.
    """
    name = denoising.denoise_strategy
    if name == "none":
        return None
    if name in STRATEGY_PRESETS:
        arguments = dict(answer_to(f"preset {name}", lambda: _preset(name)))
        # Presets have None for no global signal, which load_confounds does not accept.
        arguments = {key: value for key, value in arguments.items() if value is not None}
    elif name.startswith("{"):
        arguments = _check_arguments(json.loads(name))
    else:
        arguments = {"strategy": name.split("+")}
    arguments["strategy"] = tuple(dict.fromkeys(arguments["strategy"]))
    if "compcor" in arguments["strategy"] and "high_pass" not in arguments["strategy"]:
        raise UsageError(
            "--denoise-strategy: compcor must be combined with high_pass, because fMRIPrep applies "
            "a high-pass filter before it computes the CompCor components."
        )
    if "scrub" in arguments["strategy"] and denoising.fd_threshold is not None:
        arguments["fd_threshold"] = denoising.fd_threshold
    # The nuisance model includes a constant for the volumes kept.
    arguments["demean"] = False
    return arguments


def _check_arguments(content: Mapping[str, Any]) -> dict[str, Any]:
    """Check the arguments of load_confounds once, before they cause an error for each run."""
    unknown = sorted(set(content) - set(_ARGUMENTS))
    if unknown:
        raise UsageError(
            f"--denoise-strategy: unknown argument {quoted(unknown[0])}. The JSON object must "
            f"contain arguments of nilearn's load_confounds: {', '.join(_ARGUMENTS)}."
        )
    for name, (is_right, wanted) in _ARGUMENTS.items():
        if name in content and not is_right(content[name]):
            raise UsageError(f"--denoise-strategy: {name!r} must be {wanted}.")
    strategy = content.get("strategy")
    if not strategy:
        raise UsageError(
            '--denoise-strategy: the JSON object must contain a list "strategy". To regress out no '
            "confounds, use --denoise-strategy none."
        )
    return dict(content)


def relies_on_aroma_images(denoising: Denoising) -> bool:
    """Return whether the strategy requires images that were denoised by ICA-AROMA."""
    arguments = resolve_strategy(denoising)
    return arguments is not None and is_full_aroma(arguments)


def is_full_aroma(arguments: Mapping[str, Any]) -> bool:
    """Return whether arguments select ica_aroma with denoised images, not regressors (basic)."""
    return "ica_aroma" in arguments["strategy"] and arguments.get("ica_aroma", "full") == "full"


# ---------------------------------------------------------------- scrubbing
@dataclass(frozen=True)
class Scrubbing:
    """Which volumes are scrubbed.

    Parameters
    ----------
    fd_mm : float
        Volumes with a larger framewise displacement are dropped.
    std_dvars : float or None
        Volumes with a larger standardised DVARS are dropped; None if DVARS does not count.
    fewest_volumes : int
        Shorter segments between dropped volumes are dropped, too.
    """

    fd_mm: float
    std_dvars: float | None = None
    fewest_volumes: int = 0


def scrubbing_of(denoising: Denoising) -> Scrubbing | None:
    """Return which volumes are scrubbed, or None if none are.

    Parameters
    ----------
    denoising : Denoising
        With ``scrub`` in its strategy, nilearn scrubs; otherwise only ``--fd-threshold`` does.

    Returns
    -------
    Scrubbing or None
    """
    arguments = resolve_strategy(denoising)
    if arguments is None or "scrub" not in arguments["strategy"]:
        fd_mm = denoising.fd_threshold
        return None if fd_mm is None else Scrubbing(fd_mm)
    return Scrubbing(
        argument_of(arguments, "fd_threshold"),
        argument_of(arguments, "std_dvars_threshold"),
        argument_of(arguments, "scrub"),
    )


def argument_of(arguments: Mapping[str, Any], name: str) -> Any:
    """Return an argument of `load_confounds`, or its default in nilearn if it is not given."""
    if name in arguments:
        return arguments[name]
    return answer_to(f"default of {name}", lambda: _default(name))


def _preset(name: str) -> dict[str, Any]:
    from nilearn.interfaces.fmriprep.load_confounds_strategy import (  # noqa: PLC0415
        preset_strategies,
    )

    return dict(preset_strategies[name])


def _default(name: str) -> Any:
    from nilearn.interfaces.fmriprep import load_confounds  # noqa: PLC0415

    return signature(load_confounds).parameters[name].default


# ---------------------------------------------------------------- columns of the table
def regressing_parts(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parts of a strategy that add regressors, in its order.

    Parameters
    ----------
    arguments : mapping
        Arguments of `load_confounds`.

    Returns
    -------
    tuple of str
        Without scrub, which drops volumes, and without ica_aroma if the images were denoised by it.
    """
    without = {"scrub"} | ({"ica_aroma"} if is_full_aroma(arguments) else set())
    return tuple(part for part in arguments["strategy"] if part not in without)


def columns_of(part: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that belong to a part of a strategy.

    Parameters
    ----------
    part : str
        For example ``motion``.
    columns : iterable of str
        Columns of a confounds table, or those that `load_confounds` selected from it.

    Returns
    -------
    list of str
        In the order of `columns`.
    """
    if part in _PREFIXES:
        return [name for name in columns if name.startswith(_PREFIXES[part])]
    own = {base + suffix for base in _BASES[part] for suffix in _MODEL_SUFFIXES["full"]}
    return [name for name in columns if name in own]


def missing_columns(
    columns: Iterable[str], arguments: Mapping[str, Any], *, needs_cosines: bool = False
) -> list[str]:
    """Return the columns that a strategy needs and that are missing in a confounds table.

    Parameters
    ----------
    columns : iterable of str
        The columns of the table, or those that can be used.
    arguments : mapping
        Arguments of `load_confounds`.
    needs_cosines : bool
        Whether high_pass needs a column. fMRIPrep writes none for short runs.

    Returns
    -------
    list of str
        Column names, or prefixes followed by ``*``.
    """
    existing = set(columns)
    needed: list[str] = []
    for part in arguments["strategy"]:
        if part in _BASES:
            suffixes = _MODEL_SUFFIXES.get(arguments.get(part, _DEFAULT_MODEL[part]), ("",))
            needed += [base + suffix for base in _BASES[part] for suffix in suffixes]
        elif part == "scrub":
            needed += [FD, DVARS]
    missing = [name for name in needed if name not in existing]
    for part in regressing_parts(arguments):
        optional = part == "high_pass" and not needs_cosines
        if part in _PREFIXES and not optional and not columns_of(part, existing):
            missing.append(_PREFIXES[part][0] + "*")
    return missing


def possible_strategies(columns: Iterable[str], *, needs_cosines: bool = False) -> list[str]:
    """Return the strategies for which a confounds table has all columns.

    Parameters
    ----------
    columns : iterable of str
        The columns of the table that can be used.
    needs_cosines : bool
        Whether high_pass needs a column, as in `missing_columns`.

    Returns
    -------
    list of str
        Presets and combinations for ``--denoise-strategy``, always including ``none``.
    """
    existing = list(columns)

    def fitting(*names: str) -> list[str]:
        return [
            name
            for name in names
            if not missing_columns(
                existing,
                resolve_strategy(Denoising(denoise_strategy=name)) or {"strategy": ()},
                needs_cosines=needs_cosines,
            )
        ]

    filtered = fitting(
        "simple", "scrubbing", "compcor", "motion+high_pass", "wm_csf+high_pass", "high_pass"
    )
    # Without a high-pass filter only where there is no other choice.
    return [*(filtered or fitting("motion+wm_csf", "motion", "wm_csf")), "none"]
