"""The settings of a NiDecomp run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.datasets import DatasetOptions, DatasetRequest
from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import (
    DecompositionOptions,
    Denoising,
    EvidenceOptions,
    Masking,
    ProjectionOptions,
    Science,
    Selection,
    science_as_tables,
)

AnalysisLevel = Literal["participant", "group"]


@dataclass(frozen=True)
class Settings:
    """The settings of a NiDecomp run: folders, analysis level and options."""

    bids_dir: Path
    output_dir: Path
    analysis_level: AnalysisLevel
    science: Science = field(default_factory=Science)
    execution: Execution = field(default_factory=Execution)
    extent: OutputOptions = field(default_factory=OutputOptions)
    datasets: DatasetOptions = field(default_factory=DatasetOptions)

    @property
    def work_dir(self) -> Path:
        """The folder for reduced runs, as an absolute path."""
        return Path(self.execution.work_dir or self.output_dir / "work").absolute()

    @property
    def further(self) -> tuple[DatasetRequest, ...]:
        """The datasets in addition to BIDS_DIR, sorted by name."""
        return self.datasets.datasets

    @property
    def datasets_weigh_the_same(self) -> bool:
        """Whether datasets have weights, and not their participants. A single one has none."""
        return bool(self.further) and self.science.decomposition.dataset_weights == "equal"

    def denoising_of(self, dataset: str) -> Denoising:
        """Return how the runs of a dataset are denoised; BIDS_DIR has an empty name."""
        own = self.datasets.by_name.get(dataset)
        shared = self.science.denoising
        return shared if own is None else own.denoising(shared)

    def of_dataset(self, dataset: DatasetRequest) -> Settings:
        """Return the settings with those of a dataset's own, to find its runs."""
        selection = dataset.selection(self.science.selection)
        denoising = dataset.denoising(self.science.denoising)
        execution, folder = self.execution, self.execution.bids_database_dir
        if folder is not None:
            # An index is of one dataset.
            execution = replace(execution, bids_database_dir=str(Path(folder) / dataset.name))
        science = replace(self.science, selection=selection, denoising=denoising)
        return replace(self, science=science, execution=execution)

    def as_tables(self) -> dict[str, dict[str, object]]:
        """Return all that decides the results as plain tables, for TOML and JSON.

        Paths of datasets are left out: as that of BIDS_DIR, they are given anew.
        """
        tables = science_as_tables(self.science)
        if self.further:
            return {**tables, "datasets": {one.name: one.as_table() for one in self.further}}
        # A single dataset has no weight.
        if self.science.decomposition.dataset_weights == "participants":
            del tables["decomposition"]["dataset_weights"]
        return tables

    def shared(self) -> Settings:
        """Return the settings that all jobs of a cluster array have in common.

        These are the settings of a participant-level job without its participant labels.
        """
        if self.analysis_level == "group":
            return self
        selection = replace(self.science.selection, participant_label=())
        return replace(self, science=replace(self.science, selection=selection))


SECTIONS: dict[str, type] = {
    "selection": Selection,
    "datasets": DatasetOptions,
    "denoising": Denoising,
    "masking": Masking,
    "decomposition": DecompositionOptions,
    "evidence": EvidenceOptions,
    "projection": ProjectionOptions,
    "comparison": ComparisonOptions,
    "extent": OutputOptions,
    "execution": Execution,
}


def declared_options() -> Iterator[tuple[str, Field[Any]]]:
    """Yield each option as (section, field), in the order of the documentation."""
    for section, record in SECTIONS.items():
        for declared in fields(record):
            yield section, declared
