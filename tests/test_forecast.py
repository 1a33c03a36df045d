"""What a run will take: the arithmetic, the bounds, and the error that shows both."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.errors import UsageError
from nidecomp.forecast import Forecast, forecast
from nidecomp.records import Grid, RunFiles, RunKey, UsableRun
from nidecomp.settings import Decomposition, Execution
from nidecomp.signal.geometry import VoxelGeometry

SHAPE = (40, 50, 40)
few = settings(deadline=None, max_examples=50, derandomize=True, database=None)


def run_of(n_volumes=200, n_kept=None, label="01"):
    key = RunKey((("sub", label), ("task", "rest")))
    files = RunFiles(key, "MNI152NLin2009cAsym", None, Path("b.nii.gz"), None, None)
    affine = tuple(tuple(row) for row in np.diag([4.0, 4, 4, 1]).tolist())
    return UsableRun(
        files=files,
        grid=Grid(SHAPE, affine),
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=n_volumes,
        stored_bytes=2,
        kept=tuple(range(n_volumes if n_kept is None else n_kept)),
        n_regressors=2,
        mean_fd_mm=None,
    )


MASK = np.zeros(SHAPE, dtype=bool)
MASK[5:35, 5:45, 5:35] = True
GEOMETRY = VoxelGeometry(run_of().grid, MASK)


def forecast_of(n_runs=10, n_components=20, n_cores=4, run=None, *, with_fit=False, **execution):
    runs = tuple(run or run_of() for _ in range(n_runs))
    return forecast(
        runs,
        GEOMETRY,
        Decomposition(n_components=(n_components,)),
        Execution(**execution),
        n_cores,
        with_fit=with_fit,
    )


def test_memory_too_small_for_the_group_fit_is_an_error_with_the_arithmetic():
    many = forecast_of(500, with_fit=True, mem_mb=PLENTY).group_mb
    with pytest.raises(UsageError, match=r"group fit takes \d+ MB \(500 runs × 20 rows"):
        forecast_of(500, with_fit=True, mem_mb=int(many) - 1)
    forecast_of(500, with_fit=False, mem_mb=int(many) - 1)


PLENTY = 10**6


def test_one_process_holds_at_least_its_image_and_its_series():
    image_mb = 4 * np.prod(SHAPE) * 200 / 1e6
    series_mb = 4 * MASK.sum() * 200 / 1e6
    assert forecast_of(mem_mb=PLENTY).map_mb > image_mb + series_mb


def test_disk_holds_the_reduced_runs_in_float32():
    expected_mb = 10 * 20 * MASK.sum() * 4 / 1e6
    assert forecast_of(mem_mb=PLENTY).disk_mb == pytest.approx(expected_mb)
    assert forecast_of(mem_mb=PLENTY, with_fit=True).group_mb > expected_mb


def test_several_numbers_of_components_are_reduced_to_the_largest():
    largest = forecast_of(n_components=40, mem_mb=PLENTY, with_fit=True)
    several = forecast(
        tuple(run_of() for _ in range(10)),
        GEOMETRY,
        Decomposition(n_components=(40, 5, 20)),
        Execution(mem_mb=PLENTY),
        4,
    )
    assert several == largest


def test_longest_run_says_what_a_process_takes():
    runs = (run_of(50), run_of(400), run_of(100))
    mixed = forecast(runs, GEOMETRY, Decomposition(), Execution(mem_mb=PLENTY), 4)
    assert mixed.map_mb == forecast_of(run=run_of(400), mem_mb=PLENTY).map_mb


@few
@given(n_volumes=st.integers(10, 500), more=st.integers(1, 500))
def test_more_of_anything_never_takes_less(n_volumes, more):
    less = forecast_of(run=run_of(n_volumes), mem_mb=PLENTY)
    for greater in (
        forecast_of(run=run_of(n_volumes + more), mem_mb=PLENTY),
        forecast_of(run=run_of(n_volumes), n_components=20 + more, mem_mb=PLENTY),
        forecast_of(run=run_of(n_volumes), n_runs=10 + more, mem_mb=PLENTY),
    ):
        for name in ("map_mb", "group_mb", "disk_mb", "peak_mb"):
            assert getattr(greater, name) >= getattr(less, name)


def test_scrubbed_volumes_need_no_series():
    whole = forecast_of(run=run_of(200), n_components=2, mem_mb=PLENTY)
    half = forecast_of(run=run_of(200, n_kept=10), n_components=2, mem_mb=PLENTY)
    assert half.map_mb <= whole.map_mb


@few
@given(
    n_runs=st.integers(1, 30),
    n_cores=st.integers(1, 16),
    nprocs=st.integers(0, 16),
    share=st.floats(1.0, 40.0),
)
def test_processes_are_bounded_by_runs_cores_and_memory(n_runs, n_cores, nprocs, share):
    one_mb = forecast_of(mem_mb=PLENTY).map_mb
    mem_mb = int(share * one_mb) + 1
    result = forecast_of(n_runs, n_cores=n_cores, nprocs=nprocs, mem_mb=mem_mb)
    wanted = nprocs or n_cores
    assert 1 <= result.n_processes <= min(n_runs, wanted)
    if result.n_processes > 1:
        assert result.n_processes * one_mb <= mem_mb
    if result.n_processes < min(n_runs, wanted):
        # One more, and the process that started them, would not have fitted.
        assert (result.n_processes + 1) * one_mb + 300 > mem_mb


def test_each_bound_takes_its_turn():
    one_mb = forecast_of(mem_mb=PLENTY).map_mb
    assert forecast_of(n_cores=4, mem_mb=PLENTY).n_processes == 4
    assert forecast_of(n_cores=4, nprocs=3, mem_mb=PLENTY).n_processes == 3
    assert forecast_of(n_cores=4, nprocs=6, mem_mb=PLENTY).n_processes == 6
    assert forecast_of(n_runs=2, n_cores=4, mem_mb=PLENTY).n_processes == 2
    assert forecast_of(n_cores=4, mem_mb=int(2 * one_mb + 400)).n_processes == 2


def test_memory_is_free_memory_where_nothing_is_said(monkeypatch):
    one_mb = forecast_of(mem_mb=PLENTY).map_mb
    monkeypatch.setattr("nidecomp.forecast._free_mb", lambda: 3 * one_mb + 400)
    assert forecast_of(n_cores=8).n_processes == 3
    assert forecast_of(n_cores=8, mem_mb=PLENTY).n_processes == 8


def test_too_little_memory_for_one_run_is_an_error_with_the_numbers():
    one_mb = forecast_of(mem_mb=PLENTY).map_mb
    with pytest.raises(UsageError, match="--mem-mb") as caught:
        forecast_of(mem_mb=int(one_mb) - 50)
    message = str(caught.value)
    said, needed, python, volumes = (float(text) for text in re.findall(r"\d+", message))
    assert said == int(one_mb) - 50
    assert needed == round(one_mb)
    assert python + volumes == pytest.approx(needed, abs=1.5)


@few
@given(spare_mb=st.integers(0, 2000), n_cores=st.integers(1, 8))
def test_peak_that_is_announced_keeps_within_the_limit(spare_mb, n_cores):
    """What --mem-mb allows is never said to be exceeded; else it is an error."""
    mem_mb = int(forecast_of(mem_mb=PLENTY).map_mb) + 1 + spare_mb
    try:
        result = forecast_of(n_cores=n_cores, mem_mb=mem_mb)
    except UsageError:
        return
    assert result.peak_mb <= mem_mb


def test_peak_is_that_of_the_larger_step():
    example = Forecast(map_mb=300.0, group_mb=5000.0, disk_mb=1.0, n_processes=2)
    assert example.peak_mb == 5000.0
    assert dataclasses.replace(example, group_mb=1.0).peak_mb >= 600.0


def test_text_shows_each_number():
    text = Forecast(map_mb=1301.4, group_mb=5200.2, disk_mb=88.0, n_processes=3).as_text()
    for shown in ("1,301 MB", "3 at a time", "5,200 MB", "88 MB"):
        assert shown in text
    assert len(text.splitlines()) == 2
