"""Framewise displacement: whether it is known, its mean, and the checks that need it.

A displacement of 0 at all volumes is unknown: nobody lies that still, but a motion estimate that
failed gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Denoising
from nidecomp.core.errors import RefusedRunError
from nidecomp.runs.strategy import DVARS, FD
from nidecomp.runs.table import Table

# Smaller displacements (in mm) are rounding errors.
_NONE_MM = 1e-6


def options_with_displacement(
    denoising: Denoising, arguments: Mapping[str, Any] | None
) -> list[str]:
    """Return the options given that need the framewise displacement."""
    options = {
        "--fd-threshold": denoising.fd_threshold is not None,
        "--mean-fd-cutoff": denoising.mean_fd_cutoff is not None,
        f"--denoise-strategy {denoising.denoise_strategy}": arguments is not None
        and "scrub" in arguments["strategy"],
    }
    return [option for option, is_given in options.items() if is_given]


def is_zero(table: Table, steady: NDArray[np.bool_]) -> bool:
    """Return whether the displacement is 0 wherever it is known, in the steady state."""
    known = _known(table, steady)
    return len(known) > 0 and bool(np.abs(known).max() < _NONE_MM)


def _known(table: Table, volumes: NDArray[np.bool_]) -> NDArray[np.float64]:
    values = table.column(FD)[volumes] if FD in table else np.zeros(0)
    return np.asarray(values[np.isfinite(values)])


def mean_displacement(
    table: Table, steady: NDArray[np.bool_]
) -> tuple[float | None, tuple[str, ...]]:
    """Return the mean framewise displacement of a run, and notes on it.

    Parameters
    ----------
    table : Table
        The confounds table.
    steady : ndarray of bool, shape (n_volumes,)
        False for dummy scans and volumes before the steady state.

    Returns
    -------
    mean : float or None
        In mm, over all volumes of the run; None if it is unknown.
    notes : tuple of str
    """
    if FD not in table:
        return None, (f"the mean framewise displacement is unknown: there is no column {FD}",)
    known = _known(table, np.ones(len(table), dtype=bool))
    if len(known) == 0:
        return None, (f"the mean framewise displacement is unknown: {FD} is n/a at all volumes",)
    if is_zero(table, steady):
        return None, (
            f"the mean framewise displacement is unknown: {FD} is 0 at all volumes, as after a "
            "motion estimate that failed",
        )
    mean = float(known.mean())
    if _n_unknown(table, FD, steady):
        return mean, (f"the mean framewise displacement leaves out volumes where {FD} is n/a",)
    return mean, ()


def check_displacement(
    table: Table,
    steady: NDArray[np.bool_],
    denoising: Denoising,
    arguments: Mapping[str, Any] | None,
) -> None:
    """Check that there is a framewise displacement, if an option needs it.

    Raises
    ------
    RefusedRunError
        The column is missing, or 0 at all volumes.
    """
    options = options_with_displacement(denoising, arguments)
    if not options:
        return
    needed = " and ".join(options)
    if FD not in table:
        raise RefusedRunError(f"its confounds table has no {FD}, which is required by {needed}")
    if is_zero(table, steady):
        raise RefusedRunError(
            f"its {FD} is 0 at all volumes, as after a motion estimate that failed, but is "
            f"required by {needed}: exclude the run, or do without {needed}"
        )


def check_kept_displacement(
    table: Table,
    kept: NDArray[np.bool_],
    denoising: Denoising,
    arguments: Mapping[str, Any] | None,
) -> None:
    """Check that displacement is known for the volumes that are kept, if an option needs it.

    Raises
    ------
    RefusedRunError
        It is n/a for volumes other than the first one.
    """
    options = options_with_displacement(denoising, arguments)
    names = [FD] if options else []
    if arguments is not None and "scrub" in arguments["strategy"]:
        names.append(DVARS)
    for name in names:
        n_unknown = _n_unknown(table, name, kept)
        if n_unknown:
            needed = " and ".join(options if name == FD else options[-1:])
            raise RefusedRunError(
                f"its {name} is n/a for {n_unknown} of the volumes that are kept, but is required "
                f"by {needed}: exclude the run, or do without {needed}"
            )


def _n_unknown(table: Table, name: str, volumes: NDArray[np.bool_]) -> int:
    """Return the number of volumes without a value, apart from the first that could have none.

    The first volume of a run has no displacement, and neither has the first volume after dropped
    ones if it was computed without these.
    """
    unknown = ~np.isfinite(table.column(name))
    first = int(np.argmax(volumes))
    is_start = bool(unknown[: first + 1].all())
    return int(np.count_nonzero(volumes & unknown)) - int(is_start and bool(volumes.any()))


def check_mean_displacement(mean_mm: float | None, denoising: Denoising) -> None:
    """Check that the mean displacement is not above ``--mean-fd-cutoff``.

    Raises
    ------
    RefusedRunError
    """
    cutoff = denoising.mean_fd_cutoff
    if cutoff is not None and mean_mm is not None and mean_mm > cutoff:
        raise RefusedRunError(
            f"its mean framewise displacement is {mean_mm:.3f} mm, above --mean-fd-cutoff "
            f"{cutoff:g}"
        )
