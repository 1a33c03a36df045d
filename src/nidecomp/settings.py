"""Every setting of a run: frozen, made once, each declared in one place with its help text.

`Science` holds what changes the outputs and goes into sidecars and keys; `Execution` what never
changes a byte of them. The command line, the TOML file and the Python function are all built from
the declarations below: an option is added by adding a field.

Only the standard library is imported here, so that ``nidecomp --help`` answers at once.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from nidecomp.errors import UsageError

AnalysisLevel = Literal["participant", "group"]
Method = Literal["canica", "dictlearning"]
METHODS: tuple[Method, ...] = ("canica", "dictlearning")

# The presets of nilearn.interfaces.fmriprep.load_confounds_strategy (nilearn 0.14).
STRATEGY_PRESETS = ("simple", "scrubbing", "compcor", "ica_aroma")
# The noise components that load_confounds knows; any set of them makes a strategy of its own.
STRATEGY_PARTS = ("motion", "wm_csf", "global_signal", "high_pass", "compcor", "ica_aroma", "scrub")

Convert = Callable[[object], Any]


# ---------------------------------------------------------------- converters, one value each
def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a word")
    return value


def _label(*prefixes: str) -> Convert:
    """Accept a BIDS label with or without its ``sub-``-like prefix."""

    def convert(value: object) -> str:
        # YAML and TOML users write run 1 as a number; None and True are mistakes, not labels.
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError("must be a BIDS label: letters and digits only")
        text = str(value)
        for prefix in prefixes:
            text = text.removeprefix(prefix)
        if not text.replace("+", "").isalnum() or not text.isascii():
            raise ValueError("must be a BIDS label: letters and digits only")
        return text

    return convert


def _one_of(*choices: str) -> Convert:
    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return convert


def _integer(minimum: int, maximum: int | None = None) -> Convert:
    def convert(value: object) -> int:
        try:
            # operator.index takes numpy's integers, too, and no fraction.
            number = int(value) if isinstance(value, str) else operator.index(cast(Any, value))
        except (TypeError, ValueError):
            number = minimum - 1
        too_high = maximum is not None and number > maximum
        if isinstance(value, bool) or number < minimum or too_high:
            high = f" and at most {maximum}" if maximum is not None else ""
            raise ValueError(f"must be a whole number of at least {minimum}{high}")
        return number

    return convert


def _number(minimum: float, maximum: float = math.inf, *, above: bool = False) -> Convert:
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


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("must be a path")
    return os.fspath(cast("str | os.PathLike[str]", value))


def _json_object(value: object) -> str:
    """Accept a JSON file, JSON text or a mapping; keep the content as canonical JSON text."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        try:
            value = Path(value).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"must be a JSON file that can be read ({error})") from None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"must hold valid JSON ({error})") from None
    if not isinstance(value, Mapping):
        raise ValueError("must hold a JSON object")
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise ValueError(f"must hold what JSON can hold ({error})") from None


def _strategy(value: object) -> str:
    """Accept a preset, ``none``, parts joined by ``+``, or a JSON object of arguments."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, Mapping) or (isinstance(value, str) and _looks_like_json(value)):
        return _json_object(value)
    text = _text(value)
    if text == "none" or text in STRATEGY_PRESETS:
        return text
    unknown = [part for part in text.split("+") if part not in STRATEGY_PARTS]
    if unknown:
        raise ValueError(
            f"must be none, a preset ({', '.join(STRATEGY_PRESETS)}), parts joined by + "
            f"({', '.join(STRATEGY_PARTS)}), or a .json file; {unknown[0]!r} is none of them"
        )
    return text


def _looks_like_json(text: str) -> bool:
    return text.lstrip().startswith("{") or text.endswith(".json")


# ---------------------------------------------------------------- declarations
def _option(
    convert: Convert,
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
            "convert": convert,
            "help": help_text,
            "metavar": metavar,
            "many": many,
            "short": short,
        },
    )


@dataclass(frozen=True)
class Selection:
    """Which of the runs that are there take part."""

    participant_label: tuple[str, ...] = _option(
        _label("sub-"), (), "Participants to use.", metavar="LABEL", many=True
    )
    exclude_participant_label: tuple[str, ...] = _option(
        _label("sub-"), (), "Participants to leave out.", metavar="LABEL", many=True
    )
    session_label: tuple[str, ...] = _option(
        _label("ses-"), (), "Sessions to use.", metavar="LABEL", many=True
    )
    task_id: tuple[str, ...] = _option(
        _label("task-"), (), "Tasks to use; all of them are pooled.", metavar="LABEL", many=True
    )
    run_id: tuple[str, ...] = _option(
        _label("run-"), (), "Runs to use; 1 and 01 are the same.", metavar="INDEX", many=True
    )
    space: str = _option(
        _label("space-", "tpl-"),
        "MNI152NLin2009cAsym",
        "The space of the images to use.",
        metavar="SPACE",
    )
    res: str | None = _option(
        _label("res-"),
        None,
        "The res entity of the images to use; needed where there are several.",
        metavar="LABEL",
    )
    desc_label: str = _option(
        _label("desc-"), "preproc", "The desc entity of the images to use.", metavar="LABEL"
    )
    bids_filter_file: str = _option(
        _json_object,
        "{}",
        'JSON file with pybids entities under "bold", "mask" and "confounds"; null means "has '
        'none", "*" means "any".',
        metavar="FILE",
    )


@dataclass(frozen=True)
class Denoising:
    """What is done to a run's time series before anything is decomposed."""

    denoise_strategy: str = _option(
        _strategy,
        "simple",
        "Confounds to regress out: none, a preset of nilearn's load_confounds_strategy (simple, "
        "scrubbing, compcor, ica_aroma), parts of load_confounds joined by + (motion+high_pass), "
        "or a .json file with load_confounds' arguments.",
        metavar="NAME",
    )
    high_pass: float | None = _option(
        _number(0, above=True), None, "High-pass cut-off in Hz.", metavar="HZ"
    )
    low_pass: float | None = _option(
        _number(0, above=True), None, "Low-pass cut-off in Hz.", metavar="HZ"
    )
    smoothing_fwhm: float = _option(
        _number(0), 6.0, "Full width at half maximum of spatial smoothing; 0: none.", metavar="MM"
    )
    fd_threshold: float | None = _option(
        _number(0, above=True),
        None,
        "Drop volumes whose framewise displacement is above this, with any strategy. (The "
        "scrubbing preset alone uses nilearn's 0.5.)",
        metavar="MM",
    )
    min_volumes: int = _option(
        _integer(1),
        1,
        "Refuse runs with fewer volumes left after scrubbing. (A run must in any case have more "
        "volumes than regressors by the number of components.)",
        metavar="N",
    )
    mean_fd_cutoff: float | None = _option(
        _number(0, above=True),
        None,
        "Refuse runs whose mean framewise displacement is above this.",
        metavar="MM",
    )
    dummy_scans: int = _option(
        _integer(0),
        0,
        "Volumes to drop at the start of each run, besides those that fMRIPrep flagged as "
        "non-steady-state.",
        metavar="N",
    )


@dataclass(frozen=True)
class Masking:
    """Which voxels the decomposition sees."""

    mask: str | None = _option(
        _path, None, "A brain mask to use in place of the group's own.", metavar="FILE"
    )
    mask_threshold: float = _option(
        _number(0, 1, above=True),
        0.5,
        "Share of participants whose brain mask must hold a voxel for the group's to hold it.",
        metavar="SHARE",
    )


@dataclass(frozen=True)
class Decomposition:
    """What is fitted."""

    methods: tuple[Method, ...] = _option(
        _one_of(*METHODS), METHODS, "Methods to fit: canica, dictlearning.", metavar="M", many=True
    )
    n_components: tuple[int, ...] = _option(
        _integer(2),
        (20,),
        "Number of components; several numbers give several decompositions side by side.",
        metavar="K",
        many=True,
    )
    n_init: int = _option(_integer(1), 10, "Restarts of the ICA.", metavar="N")
    alpha: float = _option(
        _number(0, above=True),
        10.0,
        "Sparsity penalty of dictionary learning, in nilearn's units.",
        metavar="A",
    )
    batch_size: int = _option(
        _integer(1), 20, "Voxels in one batch of dictionary learning.", metavar="N"
    )
    random_seed: int = _option(_integer(0, 2**32 - 1), 0, "Seed of everything random.", metavar="N")
    atlas_label: str = _option(
        _label("atlas-"),
        "NiDecomp",
        "Label of your study in the names of the group's files (atlas-<label>).",
        metavar="LABEL",
    )


@dataclass(frozen=True)
class Execution:
    """How the work is done; none of it may change a byte of the outputs."""

    nprocs: int = _option(
        _integer(0), 0, "Processes to use; 0: as many as this job has cores.", metavar="N"
    )
    mem_mb: int = _option(
        _integer(0),
        0,
        "Upper limit of memory in MB, which bounds the runs in flight; 0: what is free now.",
        metavar="MB",
    )
    work_dir: str | None = _option(
        _path,
        None,
        "Where reduced runs are kept, so that a second start finds them. Default: "
        "OUTPUT_DIR/work. Jobs that share the work must share this folder.",
        metavar="DIR",
        short="-w",
    )
    bids_database_dir: str | None = _option(
        _path,
        None,
        "Keep pybids' index in this folder and use it again next time.",
        metavar="DIR",
    )
    reset_database: bool = _option(_flag, False, "Index anew although a saved index is there.")
    skip_bids_validation: bool = _option(
        _flag, False, "Do not ask for a dataset_description.json that says derivative."
    )
    dry_run: bool = _option(
        _flag, False, "Show which runs would be used and what it would cost, then stop."
    )
    stop_on_first_crash: bool = _option(_flag, False, "Stop as soon as one run fails.")
    verbose: bool = _option(_flag, False, "Say more.", short="-v")


@dataclass(frozen=True)
class Science:
    """All that changes the outputs."""

    selection: Selection = field(default_factory=Selection)
    denoising: Denoising = field(default_factory=Denoising)
    masking: Masking = field(default_factory=Masking)
    decomposition: Decomposition = field(default_factory=Decomposition)


@dataclass(frozen=True)
class Settings:
    """One run of NiDecomp."""

    bids_dir: Path
    output_dir: Path
    analysis_level: AnalysisLevel
    science: Science = field(default_factory=Science)
    execution: Execution = field(default_factory=Execution)

    @property
    def work_dir(self) -> Path:
        """Where reduced runs are kept between starts."""
        return Path(self.execution.work_dir or self.output_dir / "work").absolute()


SECTIONS: dict[str, type] = {
    "selection": Selection,
    "denoising": Denoising,
    "masking": Masking,
    "decomposition": Decomposition,
    "execution": Execution,
}


def declared_options() -> Iterator[tuple[str, Field[Any]]]:
    """Give every option as (section, field), in the order in which they are documented."""
    for section, record in SECTIONS.items():
        for declared in fields(record):
            yield section, declared


# ---------------------------------------------------------------- building and replaying
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
        raise UsageError(f"analysis_level is {analysis_level!r}; it is 'participant' or 'group'.")
    known = {declared.name: (section, declared) for section, declared in declared_options()}
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"There is no option {name!r}.{_did_you_mean(name, known)}")
        section, declared = known[name]
        values[section][name] = _convert(declared, value)
    science = Science(
        Selection(**cast(Any, values["selection"])),
        Denoising(**cast(Any, values["denoising"])),
        Masking(**cast(Any, values["masking"])),
        Decomposition(**cast(Any, values["decomposition"])),
    )
    _check_together(science)
    return Settings(
        Path(bids_dir),
        Path(output_dir),
        cast(AnalysisLevel, analysis_level),
        science,
        Execution(**cast(Any, values["execution"])),
    )


def _convert(declared: Field[Any], value: object) -> object:
    convert: Convert = declared.metadata["convert"]
    flag = "--" + declared.name.replace("_", "-")
    if declared.default is None and (value is None or _unsets_a_number(declared, value)):
        return None
    try:
        if not declared.metadata["many"]:
            return convert(value)
        is_one = isinstance(value, str | Mapping) or not isinstance(value, Iterable)
        items = [value] if is_one else list(cast("Iterable[object]", value))
        # Sets in a fixed order: neither order nor repetition may make another request of it.
        return tuple(sorted({convert(item) for item in items}))
    except ValueError as error:
        raise UsageError(f"{flag} {value!r}: {error}.") from None


def _unsets_a_number(declared: Field[Any], value: object) -> bool:
    """Understand ``none``, with which the command line unsets what a config file sets.

    Only for numbers: a label or a file may well be called so.
    """
    return value == "none" and declared.metadata["metavar"] in {"HZ", "MM"}


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
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config-file {path}: {error}.") from None
    options: dict[str, object] = {}
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise UsageError(
                f"--config-file {path}: there is no table [{section}]; there are "
                f"{', '.join(f'[{name}]' for name in SECTIONS)}."
            )
        known = {declared.name for declared in fields(SECTIONS[section])}
        for name in table:
            if name not in known:
                raise UsageError(
                    f"--config-file {path}: there is no option {name!r} in [{section}]."
                    + _did_you_mean(name, dict.fromkeys(known))
                )
        options.update(table)
    return options


def science_as_tables(science: Science) -> dict[str, dict[str, object]]:
    """Give all that changes the outputs as plain tables, as TOML and JSON can hold them.

    Parameters
    ----------
    science : Science
        The settings.

    Returns
    -------
    dict of dict
        Section to option to value, tuples as lists; options that are not set are left out,
        because TOML knows no null.
    """
    return {
        section: {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in table.items()
            if value is not None
        }
        for section, table in asdict(science).items()
    }
