"""Time courses of the group's maps, from the images."""

from __future__ import annotations

import numpy as np
import pytest

from recomputed.cleaned_runs import METHODS, cleaned, stage_1
from recomputed.published import Published, agree, numbers

RUN = "sub-02_task-rest"


@pytest.mark.parametrize("method", METHODS)
def test_time_courses_are_a_regression_of_volumes_on_maps(detailed: Published, method: str) -> None:
    maps, run = detailed.maps(method), cleaned(detailed, RUN)
    pattern = f"sub-02/func/{RUN}_*_seg-{method}_*_timeseries"
    rows = detailed.table(f"{pattern}.tsv")
    found = np.column_stack([numbers(rows, name) for name in rows[0]])
    courses = stage_1(run.series, maps)
    agree("time courses (dual regression, stage 1)", found, courses, 5e-6)
