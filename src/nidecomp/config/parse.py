"""From options, typed, in TOML or given in Python, to settings that are checked.

Only the standard library is imported here, so that ``nidecomp --help`` answers at once.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, cast

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import (
    DecompositionOptions,
    Denoising,
    EvidenceOptions,
    Masking,
    ProjectionOptions,
    Science,
    Selection,
)
from nidecomp.config.settings import SECTIONS, AnalysisLevel, Settings, declared_options
from nidecomp.config.values import Convert
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line, quoted, read_text


def settings_from_options(
    bids_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    analysis_level: str,
    options: Mapping[str, object],
) -> Settings:
    """Check every value and build the frozen settings.

    Parameters
    ----------
    bids_dir, output_dir : path
        Input and output folder.
    analysis_level : {"participant", "group"}
        What to do.
    options : mapping
        Option name (with underscores) to value; a value may be text as typed on a command line.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        Naming the option, the value and what would be accepted.
    """
    for what, folder in (("BIDS_DIR", bids_dir), ("OUTPUT_DIR", output_dir)):
        if not os.fspath(folder):
            raise UsageError(f"{what} is empty (an unset variable?): name a folder.")
    if analysis_level not in ("participant", "group"):
        raise UsageError(
            f"analysis_level is {quoted(analysis_level)}; it is 'participant' or 'group'."
        )
    known = {declared.name: (section, declared) for section, declared in declared_options()}
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"There is no option {quoted(name)}.{_did_you_mean(name, known)}")
        section, declared = known[name]
        values[section][name] = _convert(declared, value)
    science = Science(
        Selection(**cast(Any, values["selection"])),
        Denoising(**cast(Any, values["denoising"])),
        Masking(**cast(Any, values["masking"])),
        DecompositionOptions(**cast(Any, values["decomposition"])),
        EvidenceOptions(**cast(Any, values["evidence"])),
        ProjectionOptions(**cast(Any, values["projection"])),
    )
    _check_together(science)
    return Settings(
        Path(bids_dir),
        Path(output_dir),
        cast(AnalysisLevel, analysis_level),
        science,
        Execution(**cast(Any, values["execution"])),
        OutputOptions(**cast(Any, values["extent"])),
    )


def _convert(declared: Field[Any], value: object) -> object:
    read: Convert = declared.metadata["convert"]
    flag = "--" + declared.name.replace("_", "-")
    if declared.default is None and (value is None or _unsets_a_number(declared, value)):
        return None
    try:
        if not declared.metadata["many"]:
            return read(value)
        is_one = isinstance(value, str | Mapping) or not isinstance(value, Iterable)
        items = [value] if is_one else list(cast("Iterable[object]", value))
        # Sets in a fixed order: neither order nor repetition may make another request of it.
        unlike = {read(item) for item in items}
        return tuple(sorted(unlike, key=lambda item: (isinstance(item, str), item)))
    except ValueError as error:
        raise UsageError(f"{flag} {quoted(value)}: {error}.") from None


def _unsets_a_number(declared: Field[Any], value: object) -> bool:
    """Understand ``none``, with which the command line unsets what a config file sets.

    Only for numbers: a label or a file may well be called so.
    """
    return value == "none" and declared.metadata["metavar"] in {"HZ", "MM", "A"}


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_together(science: Science) -> None:
    """Refuse values that are possible alone and impossible together."""
    low, high = science.denoising.low_pass, science.denoising.high_pass
    if low is not None and high is not None and low <= high:
        raise UsageError(
            f"--low-pass {low:g} must be above --high-pass {high:g}: nothing lies between."
        )
    both = set(science.selection.participant_label) & set(
        science.selection.exclude_participant_label
    )
    if both:
        raise UsageError(
            "--participant-label and --exclude-participant-label both name "
            f"{', '.join(sorted(both))}."
        )
    if not science.decomposition.methods or not science.decomposition.n_components:
        raise UsageError("--methods and --n-components need at least one value each.")
    if science.decomposition.is_auto and science.decomposition.model_orders:
        raise UsageError(
            "--n-components auto chooses one number of components: it stands alone, without "
            f"{', '.join(map(str, science.decomposition.model_orders))}."
        )


def read_config_file(path: str | os.PathLike[str]) -> dict[str, object]:
    """Read options from a TOML file as written to ``logs/settings.toml``.

    Parameters
    ----------
    path : path
        The TOML file; options stand in the tables of their sections.

    Returns
    -------
    dict
        Option name to value, ready for `settings_from_options`.

    Raises
    ------
    UsageError
        The file cannot be read or names a table or an option that does not exist.
    """
    try:
        tables = tomllib.loads(read_text(Path(path)))
    except RecursionError:
        raise UsageError(f"--config-file {path}: it is nested too deeply.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--config-file {path}: {in_one_line(error)}.") from None
    options: dict[str, object] = {}
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise UsageError(
                f"--config-file {path}: there is no table [{in_one_line(section)}]; there are "
                f"{', '.join(f'[{name}]' for name in SECTIONS)}."
            )
        known = {declared.name for declared in fields(SECTIONS[section])}
        for name in table:
            if name not in known:
                raise UsageError(
                    f"--config-file {path}: there is no option {quoted(name)} in [{section}]."
                    + _did_you_mean(name, dict.fromkeys(known))
                )
        options.update(table)
    return options
