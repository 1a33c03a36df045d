"""What is removed from one run, and which of its volumes are kept.

nilearn's `load_confounds` chooses the regressors. It looks for the table by name beside the image
and gets lost where runs with and without ``acq-`` coexist, so it is given a folder of its own with
links to just the files that the index found.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.interfaces.fmriprep.load_confounds_strategy import preset_strategies
from numpy.typing import NDArray

from nidecomp.convert import STRATEGY_PARTS, STRATEGY_PRESETS
from nidecomp.errors import RefusedRunError, UsageError
from nidecomp.settings import Denoising
from nidecomp.signal.clean import cosines, orthonormal_basis, polynomials
from nidecomp.small_files import MOST_BYTES, in_one_line, parse_json, quoted, read_text

_MODEL_SUFFIXES = {
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
_BASES = {
    "motion": tuple(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"),
    "wm_csf": ("csf", "white_matter"),
    "global_signal": ("global_signal",),
}
# load_confounds' own defaults for the models of these parts.
_DEFAULT_MODEL = {"motion": "full", "wm_csf": "basic", "global_signal": "basic"}
# Parts that have no fixed columns: any column that starts like this will do.
_PREFIXES = {"compcor": ("a_comp_cor_", "t_comp_cor_"), "ica_aroma": ("aroma_motion_",)}
_FD = "framewise_displacement"
# A thousand columns of ten thousand volumes.
_MOST_TABLE_BYTES = 16 * MOST_BYTES
# Regressors of a filter times volumes: 1 GB. A day's run at a fine resolution has fewer.
_MOST_IN_FILTERS = 1 << 27
_MOTION = (*_BASES["motion"], _FD)


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


@dataclass(frozen=True, eq=False)
class Design:
    """What cleaning does to one run.

    Parameters
    ----------
    kept : ndarray of int, shape (n_kept,)
        The volumes kept, in order.
    nuisance : ndarray, shape (n_kept, n_regressors)
        Orthonormal columns: constant, trend, filters and confounds on the volumes kept.
    mean_fd_mm : float or None
        Mean framewise displacement of the whole run.
    motion : ndarray, shape (n_kept, n_columns)
        How the head moved at the volumes kept: the six rigid-body parameters (mm and radians) and
        framewise displacement (mm), as many of them as the confounds table has, without what
        `nuisance` spans. A value that is missing counts as 0.
    """

    kept: NDArray[np.intp]
    nuisance: NDArray[np.float64]
    mean_fd_mm: float | None
    motion: NDArray[np.float64]

    @property
    def degrees_of_freedom(self) -> int:
        """How many dimensions cleaning leaves."""
        return len(self.kept) - int(self.nuisance.shape[1])


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
    return arguments is not None and _is_full_aroma(arguments)


def _is_full_aroma(arguments: Mapping[str, Any]) -> bool:
    """Tell the two forms of ica_aroma apart: denoised images, or regressors ("basic")."""
    return "ica_aroma" in arguments["strategy"] and arguments.get("ica_aroma", "full") == "full"


def build_design(
    table_path: Path | None, n_volumes: int, repetition_time_s: float, denoising: Denoising
) -> Design:
    """Decide which volumes of a run are kept and what is regressed out of them.

    Parameters
    ----------
    table_path : Path or None
        The run's confounds table.
    n_volumes : int
        How many volumes the image has.
    repetition_time_s : float
        Seconds from one volume to the next.
    denoising : Denoising
        What was asked for.

    Returns
    -------
    Design
        With at least one volume kept.

    Raises
    ------
    RefusedRunError
        The table is absent, broken or lacks what is needed, or nothing is left of the run.
    """
    arguments = resolve_strategy(denoising)
    needs_fd = denoising.fd_threshold is not None or denoising.mean_fd_cutoff is not None
    if table_path is None:
        if arguments is not None or needs_fd:
            raise RefusedRunError(
                "it has no confounds table (*_desc-confounds_timeseries.tsv), which "
                f"--denoise-strategy {denoising.denoise_strategy} needs"
                if arguments is not None
                else "it has no confounds table, which framewise displacement is read from"
            )
        table = None
    else:
        table = _read_table(table_path, n_volumes)
        _check_columns(table, arguments, denoising, needs_fd)
    _check_filters(n_volumes, repetition_time_s, denoising)

    columns = [
        polynomials(n_volumes),
        cosines(n_volumes, repetition_time_s, denoising.high_pass, denoising.low_pass),
    ]
    kept = np.ones(n_volumes, dtype=bool)
    kept[: denoising.dummy_scans] = False
    mean_fd = None
    regressors = pd.DataFrame(index=range(n_volumes))
    if table is not None and table_path is not None:
        regressors, steady = _load(table_path, n_volumes, arguments)
        columns.append(regressors.to_numpy(dtype=float))
        kept &= steady
        mean_fd = _mean_fd(table)
        if denoising.fd_threshold is not None:
            kept &= ~(table[_FD].to_numpy(dtype=float) > denoising.fd_threshold)
    if needs_fd and table is not None:
        _check_displacement_is_known(table)
    _check_motion(mean_fd, denoising)
    if not kept.any():
        raise RefusedRunError(f"no volume is left: all {n_volumes} were scrubbed or dropped")
    basis = np.column_stack(columns)[kept]
    if not np.isfinite(basis).all():
        broken = [str(name) for name in regressors if not np.isfinite(regressors[name][kept]).all()]
        raise RefusedRunError(
            f"its confounds table has no number in some kept volumes of {', '.join(broken[:6])}"
        )
    nuisance = orthonormal_basis(basis)
    motion = _cleaned(_motion(table, n_volumes)[kept], nuisance)
    return Design(np.flatnonzero(kept), nuisance, mean_fd, motion)


def _cleaned(motion: NDArray[np.float64], nuisance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take from measures of motion what cleaning takes from the series; 0 where nothing is left.

    The parameters explain nine tenths of displacement: what follows it in a cleaned series follows
    the rest.
    """
    left = motion - nuisance @ (nuisance.T @ motion)
    whole = np.linalg.norm(motion - motion.mean(axis=0), axis=0)
    # A residual this much smaller is rounding.
    return np.asarray(np.where(np.linalg.norm(left, axis=0) > 1e-6 * whole, left, 0.0))


def _motion(table: pd.DataFrame | None, n_volumes: int) -> NDArray[np.float64]:
    there = [name for name in _MOTION if table is not None and name in table]
    if table is None or not there:
        return np.zeros((n_volumes, 0))
    # The first volume has no displacement yet; 0 would be a jump.
    motion = table[there].bfill(limit=1).to_numpy(dtype=np.float64)
    return np.asarray(np.nan_to_num(motion, posinf=0.0, neginf=0.0))


def _read_table(path: Path, n_volumes: int) -> pd.DataFrame:
    try:
        size = path.stat().st_size
        if size > _MOST_TABLE_BYTES:
            raise ValueError(f"it is {size / 1e6:.0f} MB large, and no such table is")
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its confounds table {path.name} cannot be read: {in_one_line(error)}"
        ) from None
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would take the first columns for names of rows, and shift all others.
        raise RefusedRunError(
            f"its confounds table {path.name} has rows with more cells than its header has names"
        )
    if len(table) != n_volumes:
        raise RefusedRunError(
            f"its confounds table {path.name} has {len(table)} rows and its image {n_volumes} "
            "volumes"
        )
    text = [str(name) for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    if text:
        raise RefusedRunError(
            f"its confounds table {path.name} holds text in column {in_one_line(repr(text[0]))}"
        )
    return table


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
            needed += [_FD, "std_dvars"]
    missing = [name for name in needed if name not in there]
    for part, prefixes in _PREFIXES.items():
        if (
            part in arguments["strategy"]
            and not (part == "ica_aroma" and _is_full_aroma(arguments))
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


def _check_columns(
    table: pd.DataFrame,
    arguments: Mapping[str, Any] | None,
    denoising: Denoising,
    needs_fd: bool,
) -> None:
    columns = [str(name) for name in table.columns]
    missing = missing_columns(columns, arguments) if arguments else []
    if missing:
        shown = ", ".join(missing[:6]) + (" …" if len(missing) > 6 else "")
        raise RefusedRunError(
            f"its confounds table lacks {shown}, which --denoise-strategy "
            f"{denoising.denoise_strategy} needs; with this table you can use "
            f"{', '.join(possible_strategies(columns))}"
        )
    if needs_fd and _FD not in columns:
        raise RefusedRunError(
            f"its confounds table lacks {_FD}, which --fd-threshold and --mean-fd-cutoff need"
        )


def _check_filters(n_volumes: int, repetition_time_s: float, denoising: Denoising) -> None:
    nyquist = 0.5 / repetition_time_s
    removed = (denoising.high_pass or 0.0) + nyquist - (denoising.low_pass or nyquist)
    n_regressors = 2 * n_volumes * repetition_time_s * removed
    if n_volumes * n_regressors > _MOST_IN_FILTERS:
        raise RefusedRunError(
            f"its filters would be {n_regressors:.0f} regressors of {n_volumes} volumes "
            f"(TR {repetition_time_s:g} s), more than can be fitted: --high-pass none and "
            "--low-pass none use no filter"
        )
    for name, cutoff in (("high", denoising.high_pass), ("low", denoising.low_pass)):
        if cutoff is not None and cutoff >= nyquist:
            raise RefusedRunError(
                f"--{name}-pass {cutoff:g} Hz is not below its Nyquist frequency of "
                f"{nyquist:.3g} Hz (TR {repetition_time_s:g} s)"
            )


def _check_displacement_is_known(table: pd.DataFrame) -> None:
    """Refuse a run whose motion is not known where motion decides; the first volume has none."""
    n_unknown = int(np.count_nonzero(~np.isfinite(table[_FD].to_numpy(dtype=float)[1:])))
    if n_unknown:
        raise RefusedRunError(
            f"its {_FD} is n/a at {n_unknown} volumes after the first, and --fd-threshold or "
            "--mean-fd-cutoff needs it"
        )


def _check_motion(mean_fd: float | None, denoising: Denoising) -> None:
    cutoff = denoising.mean_fd_cutoff
    if cutoff is not None and mean_fd is not None and mean_fd > cutoff:
        raise RefusedRunError(
            f"its mean framewise displacement is {mean_fd:.3f} mm, above --mean-fd-cutoff "
            f"{cutoff:g}"
        )


def _mean_fd(table: pd.DataFrame) -> float | None:
    if _FD not in table.columns:
        return None
    values = table[_FD].to_numpy(dtype=float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


# ---------------------------------------------------------------- nilearn's choice
def _load(
    table_path: Path, n_volumes: int, arguments: Mapping[str, Any] | None
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Ask nilearn for the regressors and the volumes that it keeps.

    Non-steady-state volumes are dropped with every strategy, ``none`` included.
    """
    # `high_pass` alone is asked for where nothing is, since nilearn warns of an empty strategy;
    # its columns are dropped below.
    asked = dict(arguments) if arguments else {"strategy": ("high_pass",), "demean": False}
    with _folder() as folder:
        image = _alone_in(folder, table_path, asked)
        try:
            with warnings.catch_warnings():
                # It warns where scrubbing leaves nothing; that is refused with a reason below.
                warnings.simplefilter("ignore", RuntimeWarning)
                frame, sample_mask = load_confounds(str(image), **asked)
        except MemoryError:
            raise
        except Exception as error:  # it trusts the table and its JSON, and stumbles in many ways
            text = in_one_line(error.args[0] if error.args else error)
            raise RefusedRunError(
                f"nilearn's load_confounds does not accept its confounds table: {text}"
            ) from None
    kept = np.ones(n_volumes, dtype=bool)
    if sample_mask is not None:
        kept[:] = False
        kept[sample_mask] = True
    # Where fMRIPrep wrote no cosines (short runs), nilearn's frame has neither columns nor rows.
    nothing = arguments is None or frame is None or frame.shape[1] == 0
    return (pd.DataFrame(index=range(n_volumes)) if nothing else frame), kept


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a temporary folder whose path does not hold "tsv".

    nilearn finds the sidecar by replacing every "tsv" in the table's whole path.
    """
    parent = "/tmp" if "tsv" in tempfile.gettempdir() else None  # noqa: S108  mkdtemp makes it safe
    while "tsv" in (folder := tempfile.mkdtemp(prefix="nidecomp-", dir=parent)):
        Path(folder).rmdir()
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alone_in(folder: Path, table_path: Path, arguments: Mapping[str, Any]) -> Path:
    """Link the table (and its JSON) into an empty folder; name the image that nilearn asks for."""
    stem = "sub-x_task-x"
    (folder / f"{stem}_desc-confounds_timeseries.tsv").symlink_to(table_path.absolute())
    sidecar = table_path.with_suffix(".json")
    if sidecar.exists() and "compcor" in arguments["strategy"]:
        try:
            parse_json(read_text(sidecar))
        except (OSError, ValueError) as error:
            raise RefusedRunError(
                f"the JSON of its confounds table, {sidecar.name}, cannot be read: "
                f"{in_one_line(error)}"
            ) from None
        (folder / f"{stem}_desc-confounds_timeseries.json").symlink_to(sidecar.absolute())
    else:
        # Only compcor reads what the sidecar says; nilearn trips over an absent or a broken one.
        (folder / f"{stem}_desc-confounds_timeseries.json").write_text("{}")
    # nilearn asks for one of these two names; which image there really is has been checked before.
    desc = "smoothAROMAnonaggr" if _is_full_aroma(arguments) else "preproc"
    return folder / f"{stem}_space-x_desc-{desc}_bold.nii.gz"
