"""The request that a run of NiDecomp works on: the settings given, and the science done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import Denoising, Science
from nidecomp.config.settings import AnalysisLevel, Settings


@dataclass(frozen=True)
class Request:
    """The settings as given by the user, and the science options as they are used.

    They differ in the model order only: the candidates of ``--n-components auto`` are limited by
    the degrees of freedom of the shortest run, and ``auto`` is replaced by the number chosen. The
    outputs record `asked`, so that the run can be repeated; the steps use `science`.

    Parameters
    ----------
    asked : Settings
        As given by the user.
    science : Science
        As used by the steps.
    """

    asked: Settings
    science: Science

    @property
    def execution(self) -> Execution:
        """The execution options."""
        return self.asked.execution

    @property
    def extent(self) -> OutputOptions:
        """The options for the extent of the outputs."""
        return self.asked.extent

    @property
    def analysis_level(self) -> AnalysisLevel:
        """The analysis level: participant or group."""
        return self.asked.analysis_level

    @property
    def work_dir(self) -> Path:
        """The folder for reduced runs."""
        return self.asked.work_dir

    def denoising_of(self, dataset: str) -> Denoising:
        """Return how the runs of a dataset are denoised; BIDS_DIR has an empty name."""
        return self.asked.denoising_of(dataset)

    def with_model_order(self, n_components: int) -> Request:
        """Return a copy with the given model order."""
        return replace(self, science=self.science.with_model_order(n_components))
