"""The settings of a NiDecomp run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import (
    DecompositionOptions,
    Denoising,
    EvidenceOptions,
    Masking,
    ProjectionOptions,
    Science,
    Selection,
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

    @property
    def work_dir(self) -> Path:
        """The folder for reduced runs, as an absolute path."""
        return Path(self.execution.work_dir or self.output_dir / "work").absolute()

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
    "denoising": Denoising,
    "masking": Masking,
    "decomposition": DecompositionOptions,
    "evidence": EvidenceOptions,
    "projection": ProjectionOptions,
    "extent": OutputOptions,
    "execution": Execution,
}


def declared_options() -> Iterator[tuple[str, Field[Any]]]:
    """Yield each option as (section, field), in the order of the documentation."""
    for section, record in SECTIONS.items():
        for declared in fields(record):
            yield section, declared
