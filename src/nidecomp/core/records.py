"""Frozen records that the processing steps exchange."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from nidecomp.core.hemispheres import files_of


@dataclass(frozen=True)
class RunKey:
    """The BIDS entities that identify a run, in the order of the specification.

    With several datasets, `dataset` is the name of the run's own, which the participant's label
    begins with; it is empty for BIDS_DIR.
    """

    entities: tuple[tuple[str, str], ...]
    dataset: str = ""

    def get(self, entity: str) -> str | None:
        """Return the label of an entity, given its short name such as ``ses``, or None."""
        return dict(self.entities).get(entity)

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return dict(self.entities)["sub"]

    @property
    def task(self) -> str:
        """The task's label, without ``task-``."""
        return dict(self.entities)["task"]

    @cached_property
    def label(self) -> str:
        """The run's name as used in its file names, such as ``sub-01_ses-1_task-rest``."""
        return "_".join(f"{name}-{value}" for name, value in self.entities)

    def of_dataset(self, dataset: str) -> RunKey:
        """Return the key of the same run as one of a dataset, which names the participant."""
        named = (
            (entity, dataset + label if entity == "sub" else label)
            for entity, label in self.entities
        )
        return RunKey(tuple(named), dataset)


# Where reduced runs are in a work folder: each is a file with this extension.
REDUCED_FOLDER, REDUCED_EXTENSION = "reduced", ".npy"


@dataclass(frozen=True)
class StoredRows:
    """A reduced run that another site made: its smoothing (FWHM in mm), feature space, and file."""

    smoothing_fwhm: float
    space: str
    path: Path


@dataclass(frozen=True)
class RunFiles:
    """A run found in the dataset, with its files.

    `sidecars` and `confounds_sidecars` are the JSON files that apply to the image and to the
    confounds table by the inheritance principle of BIDS, the most general first. The image of a
    run that was reduced before need not be there any more: then, `image_is_gone` is True. An
    annexed image that `is_fetched_when_read` (``--fetch``) need not be there either; `annex_key` is
    the key of its content, if that could be told before it was fetched. `notes` has what is unusual
    about the names of the files. `stored` has the reduced runs of another site, which are all that
    there is of the run: `bold` is then one of them. Runs on surfaces have a density (`den`), and
    where each hemisphere has a file, `bold` is the left one and `images` are both.
    """

    key: RunKey
    space: str
    res: str | None
    bold: Path
    mask: Path | None
    confounds: Path | None
    cohort: str | None = None
    desc: str | None = None
    sidecars: tuple[Path, ...] = ()
    confounds_sidecars: tuple[Path, ...] = ()
    image_is_gone: bool = False
    is_fetched_when_read: bool = False
    annex_key: str | None = None
    notes: tuple[str, ...] = ()
    stored: tuple[StoredRows, ...] = ()
    den: str | None = None

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of its image: one, or one for each hemisphere."""
        return files_of(self.bold)


class Sampling(Protocol):
    """The sampling points of the volumes of a run, such as a `Grid`, compared by value."""

    @property
    def n_numbers(self) -> int:
        """The number of values in one volume."""


EMPTY_NOTE = "volumes without signal (all values in the brain are the same) were dropped"


@dataclass(frozen=True)
class UsableRun:
    """A run whose files passed all checks.

    `grid` has the sampling points of its volumes, `stored_bytes` is the size of one number in the
    file, `kept` are the indices of the volumes to use, and `notes` lists assumptions that had to be
    made. `n_regressors` is the number of independent regressors; `regressors` has the number of
    columns of each part of the nuisance model, such as ``motion``, and `dropped` the number of
    volumes dropped for each reason. `mask_voxels` is the size of the run's own brain mask. Where
    `header_is_expected`, the image was not there, and what is said of it follows from other files.
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
    repetition_time_source: str = "sidecar"
    regressors: tuple[tuple[str, int], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    mask_voxels: int | None = None
    header_is_expected: bool = False

    @property
    def key(self) -> RunKey:
        """The entities that identify the run."""
        return self.files.key

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return self.files.key.participant

    @property
    def label(self) -> str:
        """The run's name as used in its file names."""
        return self.files.key.label

    @property
    def is_of_site(self) -> bool:
        """Whether another site reduced it, and its image is not here."""
        return bool(self.files.stored)

    @property
    def n_kept(self) -> int:
        """The number of volumes to use."""
        return len(self.kept)

    @property
    def degrees_of_freedom(self) -> int:
        """The degrees of freedom left after cleaning, an upper limit of the model order."""
        return self.n_kept - self.n_regressors

    def without_volumes(self, empty: Iterable[int], n_regressors: int) -> UsableRun:
        """Return the run without volumes that turned out to have no signal.

        Parameters
        ----------
        empty : iterable of int
            Indices of volumes of the image. Those that are not kept in any case change nothing.
        n_regressors : int
            Number of independent regressors in the volumes that are left.

        Returns
        -------
        UsableRun
        """
        lost = set(empty).intersection(self.kept)
        if not lost:
            return self
        return replace(
            self,
            kept=tuple(volume for volume in self.kept if volume not in lost),
            n_regressors=n_regressors,
            dropped=(*self.dropped, ("empty", len(lost))),
            notes=(*self.notes, EMPTY_NOTE),
        )


@dataclass(frozen=True)
class ReducedRun:
    """A run after the reduce step: the file with its principal components, and summary numbers.

    The array in `path` is float32 with shape (n_rows, n_voxels): the leading right singular vectors
    of the cleaned, standardised run, each scaled by its singular value. A run that is reduced with
    several smoothing kernels (full width at half maximum in mm) has one record for each. `empty`
    has the indices of volumes that were dropped because they have no signal; `run` is the run
    without them.
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
    empty: tuple[int, ...] = ()

    @property
    def key(self) -> RunKey:
        """The entities that identify the run."""
        return self.run.key

    @property
    def participant(self) -> str:
        """The participant's label, without ``sub-``."""
        return self.run.participant

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the array in `path`."""
        return self.n_rows, self.n_voxels

    def variance_share(self, n_components: int) -> float:
        """Return the share of the cleaned run's variance explained by its leading components."""
        kept = sum(self.squared_singular_values[:n_components])
        return kept / self.total_variance if self.total_variance else 0.0


def runs_of(records: Iterable[ReducedRun]) -> tuple[UsableRun, ...]:
    """Return the distinct runs of the records, in order of first appearance."""
    return tuple({record.key: record.run for record in records}.values())
