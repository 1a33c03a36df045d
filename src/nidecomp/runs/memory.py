"""Estimate the memory needed to reduce or project a run."""

from __future__ import annotations

import math

from nidecomp.core.records import UsableRun
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb
from nidecomp.spaces.contract import FeatureSpace


def memory_of_run_mb(run: UsableRun, space: FeatureSpace, n_rows: int, n_smoothings: int) -> float:
    """Return the memory in MB for one run: its series in the mask, and what reading needs.

    It is that of the projection, which holds the series in float32. The reduce step holds them in
    20 bits per value (`core.packed`), five eighths of that, and needs less than is forecast.
    """
    # The series of all smoothings are held at once, but the rows of one smoothing at a time.
    series = (run.n_kept * n_smoothings + n_rows) * row_mb(space.n_features)
    return INTERPRETER_MB + series + space.reading_bytes(run) / MB + BLOCKS_MB


def projecting_rows(space: FeatureSpace, n_components: int, with_images: bool) -> int:
    """Return the memory to project a run in addition to its series, as a number of maps.

    It holds the group maps and the run's maps; if images are written, also their variance and z
    maps, and copies of one image of all components.
    """
    if not with_images:
        return 2 * n_components
    per_map = space.n_stored / space.n_features
    return math.ceil(n_components * (4 + IMAGE_COPIES * per_map))
