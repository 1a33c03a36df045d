"""Build the nuisance regressors of a run, and select the volumes to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Denoising
from nidecomp.core.errors import RefusedRunError
from nidecomp.core.text import count, verb
from nidecomp.runs.clean import cosines, orthonormal_basis, polynomials
from nidecomp.runs.columns import (
    Confounds,
    check_columns,
    check_contributions,
    check_values,
    count_regressors,
)
from nidecomp.runs.confounds import choose_regressors, motion_of, non_steady
from nidecomp.runs.displacement import (
    check_displacement,
    check_kept_displacement,
    check_mean_displacement,
    mean_displacement,
    options_with_displacement,
)
from nidecomp.runs.sidecars import confounds_sidecars
from nidecomp.runs.strategy import DVARS, FD, resolve_strategy, scrubbing_of
from nidecomp.runs.table import Table, read_table

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
    regressors : tuple of (str, int)
        Number of columns that vary over the volumes kept: of the trend (with the constant), the
        filter if there is one, and each part of the strategy.
    dropped : tuple of (str, int)
        Number of volumes dropped for each reason. A volume with several reasons counts for the
        first of them: dummy, non-steady state, displacement, DVARS, short segments (between
        scrubbed volumes), empty.
    notes : tuple of str
        What is unusual about the confounds.
    """

    kept: NDArray[np.intp]
    nuisance: NDArray[np.float64]
    mean_fd_mm: float | None
    motion: NDArray[np.float64]
    regressors: tuple[tuple[str, int], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def degrees_of_freedom(self) -> int:
        """The degrees of freedom left after cleaning."""
        return len(self.kept) - int(self.nuisance.shape[1])


def build_nuisance_model(
    table_path: Path | None,
    n_volumes: int,
    repetition_time_s: float,
    denoising: Denoising,
    *,
    sidecars: Sequence[Path] = (),
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
    sidecars : sequence of Path
        The JSON files of the confounds table, the most general first. If there are none, the file
        next to the table is used.
    also_dropped : sequence of int
        Indices of volumes to drop because they are empty.

    Returns
    -------
    NuisanceModel
        With at least one volume kept.

    Raises
    ------
    RefusedRunError
        The table is missing, invalid or incomplete, a part of the strategy that is essential
        removes nothing, or no volume is left.
    """
    arguments = resolve_strategy(denoising)
    table = _table(table_path, n_volumes, arguments, denoising)
    _check_filters(n_volumes, repetition_time_s, denoising)
    volumes = np.arange(n_volumes)
    reasons = {"dummy": volumes < denoising.dummy_scans}
    confounds = None
    regressors = Table((), np.zeros((n_volumes, 0)))
    if table is not None and table_path is not None:
        reasons["non-steady state"] = non_steady(table)
        confounds = Confounds(
            table,
            arguments,
            denoising,
            ~(reasons["dummy"] | reasons["non-steady state"]),
            repetition_time_s,
            bool(confounds_sidecars(table_path, sidecars)),
        )
        check_columns(confounds)
        check_displacement(table, confounds.steady, denoising, arguments)
        regressors = choose_regressors(table, table_path, arguments, sidecars)
        reasons |= _scrubbed(table, denoising)
    mean_fd, notes = _checked(confounds, regressors, _kept(reasons, n_volumes))

    reasons["empty"] = np.isin(volumes, np.asarray(also_dropped, dtype=np.intp))
    kept = _kept(reasons, n_volumes)
    trend = polynomials(n_volumes)
    filters = cosines(n_volumes, repetition_time_s, denoising.high_pass, denoising.low_pass)
    counts = [("trend", trend.shape[1])]
    if denoising.high_pass is not None or denoising.low_pass is not None:
        counts.append(("filter", filters.shape[1]))
    if confounds is not None:
        counts += count_regressors(confounds, regressors, kept)
    columns = np.column_stack([trend, filters, regressors.values])
    nuisance = orthonormal_basis(columns[kept])
    return NuisanceModel(
        kept=np.flatnonzero(kept),
        nuisance=nuisance,
        mean_fd_mm=mean_fd,
        motion=_cleaned(motion_of(table, n_volumes)[kept], nuisance),
        regressors=tuple(counts),
        dropped=_counted(reasons, n_volumes),
        notes=notes,
    )


def _scrubbed(table: Table, denoising: Denoising) -> dict[str, NDArray[np.bool_]]:
    """Return which volumes are scrubbed for each reason."""
    rule = scrubbing_of(denoising)
    if rule is None:
        return {}
    limits = {"displacement": (FD, rule.fd_mm), "DVARS": (DVARS, rule.std_dvars)}
    reasons = {
        reason: table.column(column) > limit
        for reason, (column, limit) in limits.items()
        if limit is not None
    }
    scrubbed = np.logical_or.reduce(list(reasons.values()))
    return {**reasons, "short segments": _short_segments(scrubbed, rule.fewest_volumes)}


def _short_segments(scrubbed: NDArray[np.bool_], fewest_volumes: int) -> NDArray[np.bool_]:
    """Return which volumes are in segments before, between or after scrubbed ones that are short.

    Parameters
    ----------
    scrubbed : ndarray of bool, shape (n_volumes,)
        If there is none, there are no segments.
    fewest_volumes : int
        Segments with fewer volumes are short.
    """
    short = np.zeros_like(scrubbed)
    if not scrubbed.any():
        return short
    ends = [-1, *np.flatnonzero(scrubbed).tolist(), len(scrubbed)]
    for before, after in pairwise(ends):
        if after - before - 1 < fewest_volumes:
            short[before + 1 : after] = True
    return short


def _kept(reasons: Mapping[str, NDArray[np.bool_]], n_volumes: int) -> NDArray[np.bool_]:
    """Return which volumes there is no reason to drop."""
    kept = np.ones(n_volumes, dtype=bool)
    for dropped in reasons.values():
        kept &= ~dropped
    if not kept.any():
        raise RefusedRunError(
            f"all of its {count(n_volumes, 'volume')} {verb(n_volumes, 'was', 'were')} scrubbed or "
            "dropped"
        )
    return kept


def _counted(
    reasons: Mapping[str, NDArray[np.bool_]], n_volumes: int
) -> tuple[tuple[str, int], ...]:
    """Return the number of volumes dropped for each reason; the first reason of a volume counts."""
    left = np.ones(n_volumes, dtype=bool)
    counts = []
    for reason, dropped in reasons.items():
        counts.append((reason, int(np.count_nonzero(dropped & left))))
        left &= ~dropped
    return tuple((reason, number) for reason, number in counts if number)


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
def _table(
    path: Path | None,
    n_volumes: int,
    arguments: Mapping[str, Any] | None,
    denoising: Denoising,
) -> Table | None:
    """Return the confounds table, or None if there is none and none is needed."""
    if path is not None:
        return read_table(path, n_volumes)
    if arguments is not None:
        raise RefusedRunError(
            "it has no confounds table (*_desc-confounds_timeseries.tsv), which is required by "
            f"--denoise-strategy {denoising.denoise_strategy}"
        )
    options = options_with_displacement(denoising, arguments)
    if options:
        raise RefusedRunError(
            "it has no confounds table with framewise displacement, which is required by "
            f"{' and '.join(options)}"
        )
    return None


def _checked(
    confounds: Confounds | None, regressors: Table, kept: NDArray[np.bool_]
) -> tuple[float | None, tuple[str, ...]]:
    """Check the confounds of the volumes kept, and return the mean displacement and notes."""
    if confounds is None:
        return None, ()
    table, denoising = confounds.table, confounds.denoising
    check_kept_displacement(table, kept, denoising, confounds.arguments)
    mean_fd, notes = mean_displacement(table, confounds.steady)
    check_mean_displacement(mean_fd, denoising)
    check_values(confounds, regressors, kept)
    return mean_fd, (*notes, *check_contributions(confounds, regressors, kept))


def _check_filters(n_volumes: int, repetition_time_s: float, denoising: Denoising) -> None:
    nyquist = 0.5 / repetition_time_s
    removed = (denoising.high_pass or 0.0) + nyquist - (denoising.low_pass or nyquist)
    n_regressors = 2 * n_volumes * repetition_time_s * removed
    if n_volumes * n_regressors > _MOST_IN_FILTERS:
        raise RefusedRunError(
            f"its filters need {n_regressors:.0f} regressors for {count(n_volumes, 'volume')} "
            f"(TR {repetition_time_s:g} s), which is too many: use --high-pass none and "
            "--low-pass none for no filter"
        )
    for name, cutoff in (("high", denoising.high_pass), ("low", denoising.low_pass)):
        if cutoff is not None and cutoff >= nyquist:
            raise RefusedRunError(
                f"--{name}-pass {cutoff:g} Hz must be below its Nyquist frequency of "
                f"{nyquist:.3g} Hz (TR {repetition_time_s:g} s)"
            )
