"""Convert options from the command line, a TOML file or Python to checked settings.

Only the standard library is imported here, to keep ``nidecomp --help`` fast.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.datasets import DatasetOptions, as_items, check_names
from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.option import converted, did_you_mean
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
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line, quoted, read_text

_DATASET_TABLES = "each dataset has a table of its own, such as [datasets.A] with path and options."


def settings_from_options(
    bids_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    analysis_level: str,
    options: Mapping[str, object],
) -> Settings:
    """Return the settings for the given options, after checking each value.

    Parameters
    ----------
    bids_dir, output_dir : path
        Input and output folder.
    analysis_level : {"participant", "group"}
        Whether to only reduce runs, or to run the group analysis.
    options : mapping
        Option name (with underscores) to value; a value may be text as on a command line.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        An option is unknown or its value is invalid; the message lists what is accepted.
    """
    for what, folder in (("BIDS_DIR", bids_dir), ("OUTPUT_DIR", output_dir)):
        if not os.fspath(folder):
            raise UsageError(f"{what} is empty (an unset variable?). Give the path of a folder.")
    if analysis_level not in ("participant", "group"):
        raise UsageError(
            f"analysis_level is {quoted(analysis_level)}; it must be 'participant' or 'group'."
        )
    known = {declared.name: (section, declared) for section, declared in declared_options()}
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"Unknown option {quoted(name)}.{did_you_mean(name, known)}")
        section, declared = known[name]
        given = as_items(value) if name == "datasets" else value
        values[section][name] = converted(declared, given)
    science = Science(
        Selection(**cast(Any, values["selection"])),
        Denoising(**cast(Any, values["denoising"])),
        Masking(**cast(Any, values["masking"])),
        DecompositionOptions(**cast(Any, values["decomposition"])),
        EvidenceOptions(**cast(Any, values["evidence"])),
        ProjectionOptions(**cast(Any, values["projection"])),
        ComparisonOptions(**cast(Any, values["comparison"])),
    )
    _check_together(science)
    datasets = DatasetOptions(**cast(Any, values["datasets"]))
    check_names(datasets.datasets)
    for one in datasets.datasets:
        _check_band(one.denoising(science.denoising), f"Dataset {one.name}: ")
    return Settings(
        Path(bids_dir),
        Path(output_dir),
        cast(AnalysisLevel, analysis_level),
        science,
        Execution(**cast(Any, values["execution"])),
        OutputOptions(**cast(Any, values["extent"])),
        datasets,
    )


def _check_together(science: Science) -> None:
    """Raise UsageError for options that contradict each other."""
    _check_band(science.denoising)
    both = set(science.selection.participant_label) & set(
        science.selection.exclude_participant_label
    )
    if both:
        raise UsageError(
            "--participant-label and --exclude-participant-label both include "
            f"{', '.join(sorted(both))}."
        )
    if not science.decomposition.methods or not science.decomposition.n_components:
        raise UsageError("--methods and --n-components need at least one value each.")
    kinds = science.projection.connectomes
    if not kinds or ("none" in kinds and len(kinds) > 1):
        raise UsageError("--connectomes needs at least one kind, or none alone.")
    if science.decomposition.is_auto and science.decomposition.model_orders:
        raise UsageError(
            "--n-components auto cannot be combined with numbers "
            f"({', '.join(map(str, science.decomposition.model_orders))})."
        )


def _check_band(denoising: Denoising, whose: str = "") -> None:
    low, high = denoising.low_pass, denoising.high_pass
    if low is not None and high is not None and low <= high:
        raise UsageError(
            f"{whose}--low-pass ({low:g} Hz) must be greater than --high-pass ({high:g} Hz)."
        )


def read_config_file(path: str | os.PathLike[str]) -> dict[str, object]:
    """Read options from a TOML file such as ``logs/settings.toml``.

    Parameters
    ----------
    path : path
        The TOML file, with a table for each section of options.

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
        if section == "datasets" and not isinstance(table, dict):
            raise UsageError(f"--config-file {path}: {_DATASET_TABLES}")
        if section not in SECTIONS or not isinstance(table, dict):
            raise UsageError(
                f"--config-file {path}: {_wrong_table(section, table)}; the tables are "
                f"{', '.join(f'[{name}]' for name in SECTIONS)}."
            )
        if section == "datasets":
            _check_tables(path, table)
            options[section] = table
            continue
        known = {declared.name for declared in fields(SECTIONS[section])}
        for name in table:
            if name not in known:
                raise UsageError(
                    f"--config-file {path}: unknown option {quoted(name)} in table [{section}]."
                    + did_you_mean(name, dict.fromkeys(known))
                )
        options.update(table)
    return options


def _check_tables(path: str | os.PathLike[str], table: Mapping[str, object]) -> None:
    """Raise UsageError unless every entry of the table of datasets is a table of a dataset."""
    for name, of_dataset in table.items():
        if not isinstance(of_dataset, dict):
            raise UsageError(f"--config-file {path}: {_DATASET_TABLES} {quoted(name)} is no table.")


def _wrong_table(section: str, table: object) -> str:
    """Return what is wrong with an entry of a file that is none of the tables."""
    name = in_one_line(section)
    if section in SECTIONS:
        return f"{name} is no table"
    if isinstance(table, dict):
        return f"unknown table [{name}]"
    return f"the option {name} stands in no table"
