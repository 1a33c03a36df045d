"""What is removed from one run, and which of its volumes are kept."""

from __future__ import annotations

from collections.abc import Mapping
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

# Regressors of a filter times volumes: 1 GB. A day's run at a fine resolution has fewer.
_MOST_IN_FILTERS = 1 << 27


@dataclass(frozen=True, eq=False)
class NuisanceModel:
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


def build_nuisance_model(
    table_path: Path | None, n_volumes: int, repetition_time_s: float, denoising: Denoising
) -> NuisanceModel:
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
    table = _usable_table(table_path, n_volumes, arguments, denoising)
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
        raise RefusedRunError(f"no volume is left: all {n_volumes} were scrubbed or dropped")
    basis = np.column_stack(columns)[kept]
    if not np.isfinite(basis).all():
        broken = [str(name) for name in regressors if not np.isfinite(regressors[name][kept]).all()]
        raise RefusedRunError(
            f"its confounds table has no number in some kept volumes of {', '.join(broken[:6])}"
        )
    nuisance = orthonormal_basis(basis)
    motion = _cleaned(motion_of(table, n_volumes)[kept], nuisance)
    return NuisanceModel(np.flatnonzero(kept), nuisance, mean_fd, motion)


def _cleaned(motion: NDArray[np.float64], nuisance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take from measures of motion what cleaning takes from the series; 0 where nothing is left.

    The parameters explain nine tenths of displacement: what follows it in a cleaned series follows
    the rest.
    """
    left = motion - nuisance @ (nuisance.T @ motion)
    whole = np.linalg.norm(motion - motion.mean(axis=0), axis=0)
    # A residual this much smaller is rounding.
    return np.asarray(np.where(np.linalg.norm(left, axis=0) > 1e-6 * whole, left, 0.0))


# ---------------------------------------------------------------- what cannot be done
def _needs_displacement(denoising: Denoising) -> bool:
    return denoising.fd_threshold is not None or denoising.mean_fd_cutoff is not None


def _usable_table(
    path: Path | None,
    n_volumes: int,
    arguments: Mapping[str, Any] | None,
    denoising: Denoising,
) -> pd.DataFrame | None:
    """Read the table and see that it has what was asked for; None where nothing asks for one."""
    if path is not None:
        table = read_table(path, n_volumes)
        _check_columns(table, arguments, denoising)
        return table
    if arguments is not None:
        raise RefusedRunError(
            "it has no confounds table (*_desc-confounds_timeseries.tsv), which "
            f"--denoise-strategy {denoising.denoise_strategy} needs"
        )
    if _needs_displacement(denoising):
        raise RefusedRunError(
            "it has no confounds table, which framewise displacement is read from"
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
            f"its confounds table lacks {shown}, which --denoise-strategy "
            f"{denoising.denoise_strategy} needs; with this table you can use "
            f"{', '.join(possible_strategies(columns))}"
        )
    if _needs_displacement(denoising) and FD not in columns:
        raise RefusedRunError(
            f"its confounds table lacks {FD}, which --fd-threshold and --mean-fd-cutoff need"
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
    n_unknown = int(np.count_nonzero(~np.isfinite(table[FD].to_numpy(dtype=float)[1:])))
    if n_unknown:
        raise RefusedRunError(
            f"its {FD} is n/a at {n_unknown} volumes after the first, and --fd-threshold or "
            "--mean-fd-cutoff needs it"
        )


def _check_motion(mean_fd: float | None, denoising: Denoising) -> None:
    cutoff = denoising.mean_fd_cutoff
    if cutoff is not None and mean_fd is not None and mean_fd > cutoff:
        raise RefusedRunError(
            f"its mean framewise displacement is {mean_fd:.3f} mm, above --mean-fd-cutoff "
            f"{cutoff:g}"
        )
