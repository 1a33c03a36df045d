"""The small frozen records that the steps hand to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nidecomp.core.text import count


@dataclass(frozen=True)
class RunKey:
    """Which run: its entities, in the order in which BIDS names them."""

    entities: tuple[tuple[str, str], ...]

    def get(self, entity: str) -> str | None:
        """Give the label of one entity (its short name, such as ``ses``) or None."""
        return dict(self.entities).get(entity)

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return dict(self.entities)["sub"]

    @property
    def task(self) -> str:
        """The task's label, without ``task-``."""
        return dict(self.entities)["task"]

    @property
    def label(self) -> str:
        """The run's name as its files carry it: ``sub-01_ses-1_task-rest``."""
        return "_".join(f"{name}-{value}" for name, value in self.entities)


@dataclass(frozen=True)
class RunFiles:
    """One run as the index found it: its name and its files."""

    key: RunKey
    space: str
    res: str | None
    bold: Path
    mask: Path | None
    confounds: Path | None
    cohort: str | None = None
    desc: str | None = None


class Sampling(Protocol):
    """Where the numbers of one volume of a run lie, such as a `Grid`; equal ones are the same."""

    @property
    def n_numbers(self) -> int:
        """How many numbers one volume has."""


@dataclass(frozen=True)
class UsableRun:
    """One run that passed every check of its files.

    `grid` is where the numbers of a volume lie, `stored_bytes` the size of one number in the file,
    `kept` are the volumes that are used, `notes` says what had to be assumed.
    """

    files: RunFiles
    grid: Sampling
    repetition_time_s: float
    start_time_s: float | None
    n_volumes: int
    stored_bytes: int
    kept: tuple[int, ...]
    n_regressors: int
    mean_fd_mm: float | None
    notes: tuple[str, ...] = ()
    resampled: bool = False
    coverage: float | None = None

    @property
    def key(self) -> RunKey:
        """Which run it is."""
        return self.files.key

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return self.files.key.participant

    @property
    def label(self) -> str:
        """The run's name as its files carry it."""
        return self.files.key.label

    @property
    def n_kept(self) -> int:
        """How many volumes are used."""
        return len(self.kept)

    @property
    def degrees_of_freedom(self) -> int:
        """How many dimensions cleaning leaves: no more components can be had from the run."""
        return self.n_kept - self.n_regressors


@dataclass(frozen=True)
class RefusedRun:
    """One run that cannot be used, and the sentence that says why."""

    key: RunKey
    bold: Path
    reason: str


@dataclass(frozen=True)
class FailedRun:
    """One run that broke while it was processed, and the sentence that says how.

    `traceback` is there where the error was none that was foreseen.
    """

    key: RunKey
    bold: Path
    reason: str
    traceback: str | None = None


@dataclass(frozen=True)
class ReducedRun:
    """One run after the reduce step: where its reduced rows are, and a few numbers.

    The array in `path` is float32, (n_rows, n_voxels): the leading right singular vectors of the
    cleaned, standardised run, each scaled by its singular value. A run that is wanted at several
    smoothings (full widths at half maximum in mm) has a record for each.
    """

    run: UsableRun
    path: Path
    smoothing_fwhm: float
    n_rows: int
    n_voxels: int
    total_variance: float
    squared_singular_values: tuple[float, ...]
    n_nonfinite: int
    n_constant: int

    @property
    def key(self) -> RunKey:
        """Which run it is."""
        return self.run.key

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return self.run.participant

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the array in `path`."""
        return self.n_rows, self.n_voxels

    @property
    def volumes_path(self) -> Path:
        """Where what is known of each volume kept lies beside the rows (see `reduce_run`)."""
        return self.path.with_suffix(".npz")

    def variance_share(self, n_components: int) -> float:
        """Give the share of the cleaned run's variance that its leading components hold."""
        kept = sum(self.squared_singular_values[:n_components])
        return kept / self.total_variance if self.total_variance else 0.0


@dataclass(frozen=True)
class Inventory:
    """Every run that was found, each in one of three lists.

    Parameters
    ----------
    used : tuple of UsableRun
    refused : tuple of RefusedRun
        Each with its `reason`.
    failed : tuple of FailedRun
        Each with its `reason`.
    """

    used: tuple[UsableRun, ...] = ()
    refused: tuple[RefusedRun, ...] = ()
    failed: tuple[FailedRun, ...] = ()

    def with_failed(self, failed: Iterable[FailedRun]) -> Inventory:
        """Return the same with more failed runs."""
        return replace(self, failed=(*self.failed, *failed))

    def failures(self) -> str:
        """Return why runs failed, a line for each reason."""
        return Inventory(failed=self.failed).reasons()

    def reasons(self) -> str:
        """Return why runs cannot be used, a line for each reason, the most frequent first.

        Each line names the runs, three of them where there are many.
        """
        names: dict[str, list[str]] = defaultdict(list)
        unused: list[RefusedRun | FailedRun] = [*self.refused, *self.failed]
        for run in unused:
            names[run.reason].append(run.key.label)
        return "\n".join(
            f"  {count(len(runs), 'run')} ({', '.join(runs[:3])}{', …' * (len(runs) > 3)}): "
            f"{reason}"
            for reason, runs in sorted(names.items(), key=lambda entry: -len(entry[1]))
        )


def runs_of(records: Iterable[ReducedRun]) -> tuple[UsableRun, ...]:
    """Return the runs of some records, each once, in the order in which they come first."""
    return tuple({record.key: record.run for record in records}.values())
