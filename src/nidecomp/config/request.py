"""The request that a run of NiDecomp works on: the settings as asked, and the science as done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import Science
from nidecomp.config.settings import AnalysisLevel, Settings


@dataclass(frozen=True)
class Request:
    """Settings as they were asked for, and the science as it is done.

    The two differ in the model order alone: no more components are considered than the shortest run
    holds, and ``--n-components auto`` becomes the number that was chosen. What is written records
    `asked`, so that it can be replayed; the steps follow `science`.

    Parameters
    ----------
    asked : Settings
    science : Science
    """

    asked: Settings
    science: Science

    @property
    def execution(self) -> Execution:
        """How the work is done."""
        return self.asked.execution

    @property
    def extent(self) -> OutputOptions:
        """How much is written."""
        return self.asked.extent

    @property
    def analysis_level(self) -> AnalysisLevel:
        """Whether this is a group run, or a job for some participants."""
        return self.asked.analysis_level

    @property
    def work_dir(self) -> Path:
        """Where reduced runs are kept between starts."""
        return self.asked.work_dir

    def with_model_order(self, n_components: int) -> Request:
        """Return the same request with the model order that was chosen."""
        return replace(self, science=self.science.with_model_order(n_components))
