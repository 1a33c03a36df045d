"""What a denoising strategy asks of `load_confounds`, and so of a run's confounds table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nilearn.interfaces.fmriprep.load_confounds_strategy import preset_strategies

from nidecomp.config.science import Denoising
from nidecomp.config.values import STRATEGY_PARTS, STRATEGY_PRESETS
from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted

# Columns of fMRIPrep's confounds tables: framewise displacement, and the head's motion.
FD = "framewise_displacement"
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
# load_confounds' own defaults for the models of these parts.
_DEFAULT_MODEL = {"motion": "full", "wm_csf": "basic", "global_signal": "basic"}
# Parts that have no fixed columns: any column that starts like this will do.
_PREFIXES = {"compcor": ("a_comp_cor_", "t_comp_cor_"), "ica_aroma": ("aroma_motion_",)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_model(value: object) -> bool:
    return isinstance(value, str) and value in _MODEL_SUFFIXES


_A_MODEL = (_is_model, f"one of {', '.join(_MODEL_SUFFIXES)}")
_A_NUMBER = (_is_number, "a number")
_A_WORD = (lambda value: isinstance(value, str), "a word that load_confounds knows")
# The arguments of load_confounds: whether a value will do, and what is wanted.
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
    """Turn the strategy's name into `load_confounds` arguments; None for ``none``.

    Raises
    ------
    UsageError
        A JSON strategy is not one that `load_confounds` knows.
    """
    name = denoising.denoise_strategy
    if name == "none":
        return None
    if name in STRATEGY_PRESETS:
        arguments = dict(preset_strategies[name])
        # A preset says "no global signal"; load_confounds itself knows no such word.
        arguments = {key: value for key, value in arguments.items() if value is not None}
    elif name.startswith("{"):
        arguments = _check_arguments(json.loads(name))
    else:
        arguments = {"strategy": name.split("+")}
    arguments["strategy"] = tuple(arguments["strategy"])
    if "compcor" in arguments["strategy"] and "high_pass" not in arguments["strategy"]:
        raise UsageError(
            "--denoise-strategy: compcor needs high_pass beside it, since fMRIPrep filters before "
            "it computes the components."
        )
    if "scrub" in arguments["strategy"] and denoising.fd_threshold is not None:
        arguments["fd_threshold"] = denoising.fd_threshold
    # The projection contains the constant on the kept volumes: nothing else centres better.
    arguments["demean"] = False
    return arguments


def _check_arguments(content: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse arguments that load_confounds would stumble over run by run."""
    unknown = sorted(set(content) - set(_ARGUMENTS))
    if unknown:
        raise UsageError(
            f"--denoise-strategy: it has an unknown {quoted(unknown[0])}. The JSON object holds "
            f"the arguments of nilearn's load_confounds: {', '.join(_ARGUMENTS)}."
        )
    for name, (is_right, wanted) in _ARGUMENTS.items():
        if name in content and not is_right(content[name]):
            raise UsageError(f"--denoise-strategy: {name!r} must be {wanted}.")
    strategy = content.get("strategy")
    if not strategy:
        raise UsageError(
            '--denoise-strategy: it has no list "strategy"; where nothing is to be regressed out, '
            "use none."
        )
    return dict(content)


def relies_on_aroma_images(denoising: Denoising) -> bool:
    """Tell whether the strategy removes nothing itself because ICA-AROMA has been at the image."""
    arguments = resolve_strategy(denoising)
    return arguments is not None and is_full_aroma(arguments)


def is_full_aroma(arguments: Mapping[str, Any]) -> bool:
    """Tell the two forms of ica_aroma apart: denoised images, or regressors ("basic")."""
    return "ica_aroma" in arguments["strategy"] and arguments.get("ica_aroma", "full") == "full"


# ---------------------------------------------------------------- does the table have it?
def missing_columns(columns: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    """Name what a strategy needs and a confounds table lacks.

    Parameters
    ----------
    columns : sequence of str
        The table's columns.
    arguments : mapping
        Arguments for `load_confounds`.

    Returns
    -------
    list of str
        Column names, or prefixes followed by ``*``. Cosines are never missed: fMRIPrep writes
        none for short runs.
    """
    there = set(columns)
    needed: list[str] = []
    for part in arguments["strategy"]:
        if part in _BASES:
            suffixes = _MODEL_SUFFIXES.get(arguments.get(part, _DEFAULT_MODEL[part]), ("",))
            needed += [base + suffix for base in _BASES[part] for suffix in suffixes]
        elif part == "scrub":
            needed += [FD, "std_dvars"]
    missing = [name for name in needed if name not in there]
    for part, prefixes in _PREFIXES.items():
        if (
            part in arguments["strategy"]
            and not (part == "ica_aroma" and is_full_aroma(arguments))
            and not any(name.startswith(prefixes) for name in there)
        ):
            missing.append(prefixes[0] + "*")
    return missing


def possible_strategies(columns: Sequence[str]) -> list[str]:
    """Name the strategies that a confounds table has all columns for.

    Parameters
    ----------
    columns : sequence of str
        The table's columns.

    Returns
    -------
    list of str
        Presets and sets of parts, as ``--denoise-strategy`` takes them; ``none`` always.
    """
    names = ["simple", "scrubbing", "compcor", "motion+high_pass", "high_pass"]
    fitting = [
        name
        for name in names
        if not missing_columns(
            columns, resolve_strategy(Denoising(denoise_strategy=name)) or {"strategy": ()}
        )
    ]
    return [*fitting, "none"]
