"""What is said of time and memory before is about what it takes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from design_examples import cube, data_of, request_of, two_groups

from nidecomp.comparison.forecast import compared_mb, comparison_mb, comparison_minutes
from nidecomp.comparison.maps import MapsTask, compare_component
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.execution.memory import BLOCKS_MB, INTERPRETER_MB


def test_a_component_takes_no_more_memory_than_said(tmp_path: Path) -> None:
    space, design = cube(32), two_groups(60)
    maps = np.random.default_rng(0).standard_normal((60, 1, space.n_features))
    data = data_of(tmp_path / "data", maps)
    used = np.ones(space.n_features, dtype=bool)
    for n_permutations in (100, 101):
        request = request_of(tmp_path, n_permutations=n_permutations, n_tfce_permutations=20)
        options = request.science.comparison
        task = MapsTask(design, data.paths, 0, 0, used, space, options, 0, tmp_path)
        tracemalloc.start()
        compare_component(task)
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    # The first has compiled what the second measures.
    expected = comparison_mb(60, space.n_features, 1, options) - INTERPRETER_MB - BLOCKS_MB
    assert 0.5 * expected < peak_mb < expected + BLOCKS_MB


def test_time_grows_with_what_there_is_to_do() -> None:
    options = ComparisonOptions()
    base = comparison_minutes(100, 20, 235_000, 1, options, 2)
    assert 2 < base < 25
    assert comparison_minutes(100, 20, 235_000, 3, options, 2) == pytest.approx(3 * base)
    assert comparison_minutes(100, 20, 235_000, 1, options, 4) == pytest.approx(base / 2)
    fewer = ComparisonOptions(n_tfce_permutations=0)
    assert comparison_minutes(100, 20, 235_000, 1, fewer, 2) < base / 2
    assert (
        comparison_minutes(100, 20, 235_000, 1, ComparisonOptions(compare=("amplitudes",)), 2) == 0
    )
    clusters = ComparisonOptions(cluster_threshold=0.001)
    assert compared_mb(20, 235_000, 2, clusters) > compared_mb(20, 235_000, 2, options) > 300
