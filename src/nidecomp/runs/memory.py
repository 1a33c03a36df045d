"""Memory that one run takes while it is reduced or projected."""

from __future__ import annotations

import math

from nidecomp.core.records import UsableRun
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb
from nidecomp.spaces.contract import FeatureSpace


def memory_of_run_mb(run: UsableRun, space: FeatureSpace, n_rows: int, n_smoothings: int) -> float:
    """Memory of one run's reduce step: its series over the brain, and what reading takes."""
    # A smoothing's rows are written before the next one is reduced; a series stays.
    series = (run.n_kept * n_smoothings + n_rows) * row_mb(space.n_features)
    return INTERPRETER_MB + series + space.reading_bytes(run) / MB + BLOCKS_MB


def projecting_rows(space: FeatureSpace, n_components: int, with_images: bool) -> int:
    """Count what projecting a run holds beside its series, in rows of features.

    The group's maps and the run's own; where images are written, too, variance and z of these and
    copies of one image of all of them.
    """
    if not with_images:
        return 2 * n_components
    per_map = space.n_stored / space.n_features
    return math.ceil(n_components * (4 + IMAGE_COPIES * per_map))
