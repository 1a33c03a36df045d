"""Check that the columns of a confounds table hold what the denoising strategy is to remove.

A regressor that is missing, empty or constant removes nothing, and the result shows no sign of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Denoising
from nidecomp.core.errors import RefusedRunError
from nidecomp.runs.displacement import is_zero
from nidecomp.runs.strategy import (
    FD,
    RIGID_BODY,
    columns_of,
    missing_columns,
    possible_strategies,
    regressing_parts,
)
from nidecomp.runs.table import Table

# Columns that vary by less than this share of their largest value have rounding errors only.
_CONSTANT = 1e-9
# The period of fMRIPrep's high-pass filter. It writes no cosines for runs that are shorter.
_CUTOFF_S = 128.0
# Columns named in a message.
_MOST_NAMED = 6


@dataclass(frozen=True, eq=False)
class Confounds:
    """The confounds table of a run, and what it is needed for.

    Parameters
    ----------
    table : Table
        With a row for each volume.
    arguments : mapping or None
        Arguments of `load_confounds`; None for no regressors.
    denoising : Denoising
        The options for cleaning.
    steady : ndarray of bool, shape (n_volumes,)
        False for dummy scans and volumes before the steady state.
    repetition_time_s : float
    has_sidecar : bool
        Whether there is a JSON file that describes the CompCor components.
    """

    table: Table
    arguments: Mapping[str, Any] | None
    denoising: Denoising
    steady: NDArray[np.bool_]
    repetition_time_s: float
    has_sidecar: bool

    @property
    def duration_s(self) -> float:
        """The duration of the run in the steady state."""
        n_volumes = len(self.steady) - int(np.argmax(self.steady)) if self.steady.any() else 0
        return n_volumes * self.repetition_time_s

    @property
    def is_long(self) -> bool:
        """Whether fMRIPrep writes cosines for a run of this duration."""
        # The tolerance is for repetition times that are not exact, from a header.
        return self.duration_s > _CUTOFF_S * (1 + 1e-6)

    def fits_duration(self, n_cosines: int) -> bool:
        """Return whether fMRIPrep may have written this number of cosines for the run.

        It writes floor(2 · duration / cutoff) - 1 (nipype's cosine filter). A few more or less may
        be due to dummy scans, many to another repetition time.
        """
        expected = math.floor(2 * self.duration_s / _CUTOFF_S) - 1
        return abs(n_cosines - expected) <= max(2.0, 0.25 * expected)

    @property
    def needs_cosines(self) -> bool:
        """Whether high_pass must have columns, because nothing else removes slow changes."""
        return self.is_long and self.denoising.high_pass is None

    @property
    def strategy(self) -> str:
        """The option, for messages."""
        return f"--denoise-strategy {self.denoising.denoise_strategy}"

    def alternatives(self, volumes: NDArray[np.bool_]) -> str:
        """Return the strategies that are possible with this table, as the end of a message."""
        possible = possible_strategies(self._usable(volumes), needs_cosines=self.needs_cosines)
        others = [name for name in possible if name != self.denoising.denoise_strategy]
        return f"strategies possible with this table are {', '.join(others)}"

    def _usable(self, volumes: NDArray[np.bool_]) -> list[str]:
        """Return the columns with a number for each of the volumes, without those that failed."""
        known = np.isfinite(self.table.values)
        # Derivatives have no value at the first volume, which nilearn replaces by the second.
        if len(known) > 1:
            known[0] |= known[1]
        names = self.table.where(known[volumes].all(axis=0))
        varying = _varying(self.table, volumes)
        unusable = {name for name in columns_of("high_pass", names) if name not in varying}
        if not varying & set(RIGID_BODY):
            unusable |= set(RIGID_BODY)
        if is_zero(self.table, self.steady):
            unusable.add(FD)
        if not self.has_sidecar:
            unusable |= set(columns_of("compcor", names))
        return [name for name in names if name not in unusable]


def check_columns(confounds: Confounds) -> None:
    """Check that all columns that the strategy needs are in the table, with numbers.

    Raises
    ------
    RefusedRunError
        A column is missing or empty.
    """
    if confounds.arguments is None:
        return
    table = confounds.table
    absent = missing_columns(table.names, confounds.arguments)
    if absent:
        raise RefusedRunError(
            f"its confounds table has no {_listed(absent)}, which is required by "
            f"{confounds.strategy}; {confounds.alternatives(confounds.steady)}"
        )
    empty = missing_columns(
        [name for name in table.names if name not in table.empty], confounds.arguments
    )
    if empty:
        raise _empty_columns(confounds, empty, confounds.steady)


def check_values(confounds: Confounds, regressors: Table, kept: NDArray[np.bool_]) -> None:
    """Check that the regressors have numbers for all volumes that are kept.

    Raises
    ------
    RefusedRunError
        Values are missing.
    """
    broken = regressors.where(~np.isfinite(regressors.values[kept]).all(axis=0))
    empty = [name for name in broken if name in confounds.table.empty]
    if empty:
        raise _empty_columns(confounds, empty, kept)
    if broken:
        raise RefusedRunError(
            "its confounds table has missing values, in volumes that are kept, in "
            f"{_listed(broken)}"
        )


def _empty_columns(
    confounds: Confounds, names: list[str], volumes: NDArray[np.bool_]
) -> RefusedRunError:
    columns, verb = ("a column", "is") if len(names) == 1 else ("columns", "are")
    return RefusedRunError(
        f"its confounds table has {columns} without any number (all n/a), {_listed(names)}, which "
        f"{verb} required by {confounds.strategy}; {confounds.alternatives(volumes)}"
    )


# ---------------------------------------------------------------- what each part contributes
def count_regressors(
    confounds: Confounds, regressors: Table, kept: NDArray[np.bool_]
) -> tuple[tuple[str, int], ...]:
    """Return the number of columns that each part of the strategy contributes.

    Parameters
    ----------
    confounds : Confounds
    regressors : Table
        The columns that `load_confounds` selected.
    kept : ndarray of bool, shape (n_volumes,)

    Returns
    -------
    tuple of (str, int)
        Parts in the strategy's order, and the number of their columns that are not constant over
        the volumes kept.
    """
    if confounds.arguments is None:
        return ()
    names = regressors.names
    varying = _varying(regressors, kept)
    return tuple(
        (part, len(varying.intersection(columns_of(part, names))))
        for part in regressing_parts(confounds.arguments)
    )


def check_contributions(
    confounds: Confounds, regressors: Table, kept: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Check that each part of the strategy removes something, and return notes on those that don't.

    Parameters
    ----------
    confounds : Confounds
    regressors : Table
        The columns that `load_confounds` selected.
    kept : ndarray of bool, shape (n_volumes,)

    Returns
    -------
    tuple of str

    Raises
    ------
    RefusedRunError
        Motion was not estimated, or there is no high-pass filter where there should be one.
    """
    # Of two volumes nothing is left in any case, and that is the reason to be given.
    if confounds.arguments is None or np.count_nonzero(kept) <= 2:
        return ()
    notes: list[str] = []
    names = regressors.names
    all_varying = _varying(regressors, kept)
    for part in regressing_parts(confounds.arguments):
        columns = columns_of(part, names)
        varying = all_varying.intersection(columns)
        constant = [name for name in columns if name not in varying]
        if part == "motion" and varying.isdisjoint(RIGID_BODY):
            raise RefusedRunError(
                f"its six rigid-body parameters ({RIGID_BODY[0]} … {RIGID_BODY[-1]}) are constant, "
                "as after a motion estimate that failed, but are required by "
                f"{confounds.strategy}: exclude the run, or use a strategy without motion; "
                f"{confounds.alternatives(kept)}"
            )
        if part == "high_pass" and varying and not confounds.fits_duration(len(varying)):
            notes.append(
                "the number of cosine columns does not fit the duration of the run: check its "
                "repetition time"
            )
        wanted = confounds.arguments.get("n_compcor", "all")
        if part == "compcor" and wanted != "all" and len(columns) < wanted:
            notes.append(f"the table has fewer CompCor components than n_compcor {wanted}")
        if part == "high_pass" and not varying:
            notes.append(_without_cosines(confounds, kept, are_there=bool(columns)))
        elif constant and not varying:
            verb = "is" if len(constant) == 1 else "are"
            notes.append(f"{part} removes nothing, because {_listed(constant)} {verb} constant")
        elif constant:
            # What is derived from a constant column need not be named, too.
            roots = [
                name for name in constant if not any(name.startswith(f"{x}_") for x in constant)
            ]
            verb = "is constant and removes" if len(roots) == 1 else "are constant and remove"
            notes.append(f"{_listed(roots)} (part of {part}) {verb} nothing")
    return tuple(notes)


def _without_cosines(confounds: Confounds, kept: NDArray[np.bool_], *, are_there: bool) -> str:
    """Return a note on high_pass without columns that remove something."""
    what = "only constant cosine columns" if are_there else "no cosine columns"
    if confounds.denoising.high_pass is not None:
        return f"the confounds table has {what}; the high-pass filter is that of --high-pass"
    if not confounds.is_long:
        return f"high_pass removes nothing, because the run is not longer than {_CUTOFF_S:g} s"
    raise RefusedRunError(
        f"its confounds table has {what}, although it is longer than {_CUTOFF_S:g} s, so that "
        f"{confounds.strategy} would remove no slow drifts: use --high-pass 0.008 for a filter by "
        f"NiDecomp, or a strategy without high_pass; {confounds.alternatives(kept)}"
    )


def _varying(table: Table, volumes: NDArray[np.bool_]) -> frozenset[str]:
    """Return the columns that are not constant over the volumes."""
    values = table.values[volumes]
    # Columns with missing values vary, if at all, in the values that are there.
    known = np.isfinite(values)
    lowest = np.min(values, axis=0, where=known, initial=np.inf)
    highest = np.max(values, axis=0, where=known, initial=-np.inf)
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    varies = np.asarray(highest - lowest > _CONSTANT * largest)
    return frozenset(table.where(varies))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
