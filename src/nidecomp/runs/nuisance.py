"""Build the nuisance regressors of a run, and select the volumes to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nidecomp.config.science import Denoising
from nidecomp.core.errors import RefusedRunError
from nidecomp.runs.clean import cosines, orthonormal_basis, polynomials
from nidecomp.runs.confounds import choose_regressors, mean_displacement, motion_of, read_table
from nidecomp.runs.strategy import FD, missing_columns, possible_strategies, resolve_strategy

# Regressors of a filter times volumes: 1 GB, more than any realistic run needs.
_MOST_IN_FILTERS = 1 << 27


@dataclass(frozen=True, eq=False)
class NuisanceModel:
    """The nuisance regressors of a run, and the volumes to keep.

    Parameters
    ----------
    kept : ndarray of int, shape (n_kept,)
        Indices of the volumes to keep, ascending.
    nuisance : ndarray, shape (n_kept, n_regressors)
        Orthonormal columns that span the constant, the trend, the filters and the confounds in the
        volumes kept.
    mean_fd_mm : float or None
        Mean framewise displacement of the whole run.
    motion : ndarray, shape (n_kept, n_columns)
        Head motion at the volumes kept: the six rigid-body parameters (mm and radians) and
        framewise displacement (mm), as far as they are in the confounds table, after regressing out
        `nuisance`. Missing values are 0.
    """

    kept: NDArray[np.intp]
    nuisance: NDArray[np.float64]
    mean_fd_mm: float | None
    motion: NDArray[np.float64]

    @property
    def degrees_of_freedom(self) -> int:
        """The degrees of freedom left after cleaning."""
        return len(self.kept) - int(self.nuisance.shape[1])


def build_nuisance_model(
    table_path: Path | None,
    n_volumes: int,
    repetition_time_s: float,
    denoising: Denoising,
    also_dropped: Sequence[int] = (),
) -> NuisanceModel:
    """Return the nuisance regressors of a run and the volumes to keep.

    Parameters
    ----------
    table_path : Path or None
        The run's confounds table.
    n_volumes : int
        Number of volumes of the image.
    repetition_time_s : float
        Repetition time in seconds.
    denoising : Denoising
        The options for cleaning.
    also_dropped : sequence of int
        Indices of volumes to drop for other reasons.

    Returns
    -------
    NuisanceModel
        With at least one volume kept.

    Raises
    ------
    RefusedRunError
        The table is missing, invalid or incomplete, or no volume is left.
    """
    arguments = resolve_strategy(denoising)
    table = _usable_table(table_path, n_volumes, arguments, denoising)
    _check_filters(n_volumes, repetition_time_s, denoising)

    columns = [
        polynomials(n_volumes),
        cosines(n_volumes, repetition_time_s, denoising.high_pass, denoising.low_pass),
    ]
    kept = np.ones(n_volumes, dtype=bool)
    kept[: denoising.dummy_scans] = False
    kept[list(also_dropped)] = False
    mean_fd = None
    regressors = pd.DataFrame(index=range(n_volumes))
    if table is not None and table_path is not None:
        regressors, steady = choose_regressors(table_path, n_volumes, arguments)
        columns.append(regressors.to_numpy(dtype=float))
        kept &= steady
        mean_fd = mean_displacement(table)
        if denoising.fd_threshold is not None:
            kept &= ~(table[FD].to_numpy(dtype=float) > denoising.fd_threshold)
        if _needs_displacement(denoising):
            _check_displacement_is_known(table)
    _check_motion(mean_fd, denoising)
    if not kept.any():
        raise RefusedRunError(f"all of its {n_volumes} volumes were scrubbed or dropped")
    basis = np.column_stack(columns)[kept]
    if not np.isfinite(basis).all():
        broken = [str(name) for name in regressors if not np.isfinite(regressors[name][kept]).all()]
        raise RefusedRunError(
            "its confounds table has missing values, in volumes that are kept, in "
            f"{', '.join(broken[:6])}"
        )
    nuisance = orthonormal_basis(basis)
    motion = _cleaned(motion_of(table, n_volumes)[kept], nuisance)
    return NuisanceModel(np.flatnonzero(kept), nuisance, mean_fd, motion)


def _cleaned(motion: NDArray[np.float64], nuisance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return motion parameters cleaned as the series are; 0 if nothing is left of them.

    The regressors explain nine tenths of framewise displacement, so that a cleaned series can only
    be correlated with the rest.
    """
    left = motion - nuisance @ (nuisance.T @ motion)
    whole = np.linalg.norm(motion - motion.mean(axis=0), axis=0)
    # Smaller residuals are rounding errors.
    return np.asarray(np.where(np.linalg.norm(left, axis=0) > 1e-6 * whole, left, 0.0))


# ---------------------------------------------------------------- checks
def _needs_displacement(denoising: Denoising) -> bool:
    return denoising.fd_threshold is not None or denoising.mean_fd_cutoff is not None


def _usable_table(
    path: Path | None,
    n_volumes: int,
    arguments: Mapping[str, Any] | None,
    denoising: Denoising,
) -> pd.DataFrame | None:
    """Return the table after checking its columns, or None if there is none and none is needed."""
    if path is not None:
        table = read_table(path, n_volumes)
        _check_columns(table, arguments, denoising)
        return table
    if arguments is not None:
        raise RefusedRunError(
            "it has no confounds table (*_desc-confounds_timeseries.tsv), which is required by "
            f"--denoise-strategy {denoising.denoise_strategy}"
        )
    if _needs_displacement(denoising):
        raise RefusedRunError(
            "it has no confounds table with framewise displacement, which is required by "
            "--fd-threshold and --mean-fd-cutoff"
        )
    return None


def _check_columns(
    table: pd.DataFrame, arguments: Mapping[str, Any] | None, denoising: Denoising
) -> None:
    columns = [str(name) for name in table.columns]
    missing = missing_columns(columns, arguments) if arguments else []
    if missing:
        shown = ", ".join(missing[:6]) + (" …" if len(missing) > 6 else "")
        raise RefusedRunError(
            f"its confounds table has no {shown}, which is required by --denoise-strategy "
            f"{denoising.denoise_strategy}; strategies possible with this table are "
            f"{', '.join(possible_strategies(columns))}"
        )
    if _needs_displacement(denoising) and FD not in columns:
        raise RefusedRunError(
            f"its confounds table has no {FD}, which is required by --fd-threshold and "
            "--mean-fd-cutoff"
        )


def _check_filters(n_volumes: int, repetition_time_s: float, denoising: Denoising) -> None:
    nyquist = 0.5 / repetition_time_s
    removed = (denoising.high_pass or 0.0) + nyquist - (denoising.low_pass or nyquist)
    n_regressors = 2 * n_volumes * repetition_time_s * removed
    if n_volumes * n_regressors > _MOST_IN_FILTERS:
        raise RefusedRunError(
            f"its filters need {n_regressors:.0f} regressors for {n_volumes} volumes "
            f"(TR {repetition_time_s:g} s), which is too many: use --high-pass none and "
            "--low-pass none for no filter"
        )
    for name, cutoff in (("high", denoising.high_pass), ("low", denoising.low_pass)):
        if cutoff is not None and cutoff >= nyquist:
            raise RefusedRunError(
                f"--{name}-pass {cutoff:g} Hz must be below its Nyquist frequency of "
                f"{nyquist:.3g} Hz (TR {repetition_time_s:g} s)"
            )


def _check_displacement_is_known(table: pd.DataFrame) -> None:
    """Check that framewise displacement is known for all volumes after the first."""
    n_unknown = int(np.count_nonzero(~np.isfinite(table[FD].to_numpy(dtype=float)[1:])))
    if n_unknown:
        raise RefusedRunError(
            f"its {FD} is n/a for {n_unknown} volumes after the first, but is required by "
            "--fd-threshold and --mean-fd-cutoff"
        )


def _check_motion(mean_fd: float | None, denoising: Denoising) -> None:
    cutoff = denoising.mean_fd_cutoff
    if cutoff is not None and mean_fd is not None and mean_fd > cutoff:
        raise RefusedRunError(
            f"its mean framewise displacement is {mean_fd:.3f} mm, above --mean-fd-cutoff "
            f"{cutoff:g}"
        )
