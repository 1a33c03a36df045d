"""The forecast of memory and disk space: the calculation, its limits, and error messages."""

import bisect
import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.comparison.records import Contrast, Design, Measured
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.request import Request
from nidecomp.config.science import (
    DecompositionOptions,
    Denoising,
    ProjectionOptions,
    Science,
)
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.execution.memory import idle_workers
from nidecomp.forecast import Forecast
from nidecomp.plan import forecast
from nidecomp.runs.reduce_all import reduce_task
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

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
SPACE = VoxelSpace(run_of().grid, MASK, "MNI152NLin2009cAsym")


PLENTY = 10**6


def science_of(n_components=(20,), smoothing=None, **decomposition):
    return Science(
        denoising=Denoising(dictlearning_smoothing_fwhm=smoothing),
        decomposition=DecompositionOptions(n_components=n_components, **decomposition),
    )


def forecast_of(
    n_runs=10, n_components=20, n_cores=4, run=None, *, with_fit=False, science=None, **execution
):
    wanted = request_of(science or science_of((n_components,)), with_fit=with_fit, **execution)
    return forecast(tuple(run or run_of() for _ in range(n_runs)), SPACE, wanted, n_cores)


def request_of(science, *, with_fit=True, extent=None, **execution):
    settings = Settings(
        bids_dir=Path("in"),
        output_dir=Path("out"),
        analysis_level="group" if with_fit else "participant",
        science=science,
        execution=Execution(**execution),
        extent=extent or OutputOptions(),
    )
    return Request(settings, science)


def design_of(n_people):
    return Design(
        formula="group",
        people=tuple(Measured(f"{number:03d}", ("run",)) for number in range(n_people)),
        matrix=np.ones((n_people, 1)),
        columns=("Intercept",),
        contrasts=(Contrast("group", "group", np.ones((1, 1))),),
    )


def comparing(n_people, *, compare=("maps",), **execution):
    science = Science(comparison=ComparisonOptions(model="group", compare=compare))
    runs = tuple(run_of() for _ in range(10))
    wanted = request_of(science, **execution)
    return forecast(runs, SPACE, wanted, 4, design=design_of(n_people))


def test_a_comparison_of_many_people_needs_memory_and_bounds_the_processes():
    """All maps of one component are in memory together."""
    few, many = (comparing(n, mem_mb=PLENTY) for n in (10, 1010))
    maps_mb = 1000 * 4 * MASK.sum() / 1e6
    assert many.comparing_mb - few.comparing_mb >= maps_mb
    assert many.peak_mb >= 4 * many.comparing_mb
    assert "Comparing maps: " in many.as_text()
    assert "MB of maps that are compared" in many.as_text()
    bounded = comparing(1010, mem_mb=2.5 * many.comparing_mb)
    assert bounded.n_processes < 4
    assert comparing(1010, compare=("amplitudes",), mem_mb=PLENTY).comparing_mb == 0


def test_too_little_memory_for_a_comparison_is_told_before_it_begins():
    with pytest.raises(UsageError, match=r"comparing the maps of one component needs .* with those"):
        comparing(20000, mem_mb=2000)


# ---------------------------------------------------------------- the arithmetic
def test_one_process_holds_its_series_and_volumes_but_not_its_image():
    """Runs are read volume by volume."""
    image_mb = 2 * np.prod(SHAPE) * 1000 / 1e6
    series_mb = 4 * MASK.sum() * 100 / 1e6
    volumes_mb = np.prod(SHAPE) * (2 + 4) / 1e6
    # A tenth of a long run is kept.
    run_mb = forecast_of(run=run_of(1000, n_kept=100), mem_mb=PLENTY).run_mb
    interpreter_mb = forecast_of(run=run_of(1, n_kept=1), n_components=2, mem_mb=PLENTY).run_mb
    assert run_mb > interpreter_mb + 0.9 * series_mb
    assert interpreter_mb > volumes_mb
    assert run_mb - interpreter_mb < 0.5 * image_mb


def test_a_second_smoothing_holds_a_second_series():
    """CanICA's is always included, because dictionary learning is initialised with its maps."""
    one, two = (forecast_of(science=science_of(smoothing=mm), mem_mb=PLENTY) for mm in (6.0, 2.0))
    series_mb = 4 * MASK.sum() * 200 / 1e6
    assert two.run_mb - one.run_mb == pytest.approx(series_mb)
    assert two.disk_mb == 2 * one.disk_mb
    only_canica = science_of(smoothing=2.0, methods=("canica",))
    assert forecast_of(science=only_canica, mem_mb=PLENTY).disk_mb == one.disk_mb


def test_a_run_on_another_grid_takes_more():
    moved = dataclasses.replace(run_of(), resampled=True)
    here, there = forecast_of(mem_mb=PLENTY), forecast_of(run=moved, mem_mb=PLENTY)
    assert there.run_mb > here.run_mb + np.prod(SHAPE) * 8 / 1e6


def test_disk_holds_the_reduced_runs_in_float32():
    row_mb = MASK.sum() * 4 / 1e6
    for weighting, n_rows in (("sqrt", 40), ("unit", 20)):
        science = science_of(pca_weighting=weighting)
        disk_mb = forecast_of(science=science, mem_mb=PLENTY).disk_mb
        assert disk_mb == pytest.approx(10 * n_rows * row_mb)


def test_images_of_runs_are_counted():
    row_mb, volume_mb = MASK.sum() * 4 / 1e6, np.prod(SHAPE) * 4 / 1e6

    def images(extent=None, **projection):
        science = dataclasses.replace(
            science_of((5, 20)), projection=ProjectionOptions(**projection)
        )
        request = request_of(science, extent=extent, mem_mb=PLENTY)
        return forecast((run_of(), run_of(50)), SPACE, request, 2)

    with_maps = OutputOptions(participant_maps=True)
    assert images().images_mb == 0
    assert "maps and cleaned images" not in images().as_text()
    # An effect and a z map of each component of both methods.
    both = images(with_maps)
    assert both.images_mb == pytest.approx(2 * 2 * 2 * (5 + 20) * row_mb)
    assert f"at most {both.images_mb:,.0f} MB of the runs' maps" in both.as_text()
    regressed = images(regress_out=("flagged",)).images_mb
    assert regressed == pytest.approx(2 * 2 * (200 + 50) * volume_mb)
    assert images(OutputOptions(level="minimal", participant_maps=True)).images_mb == 0


def test_several_numbers_of_components_are_reduced_to_the_largest():
    largest = forecast_of(n_components=40, mem_mb=PLENTY, with_fit=True)
    science = science_of((5, 20, 40))
    several = forecast_of(science=science, mem_mb=PLENTY, with_fit=True)
    of_all_maps = {"waiting_mb": largest.waiting_mb, "drawing_mb": largest.drawing_mb}
    assert dataclasses.replace(several, **of_all_maps) == largest
    # But the maps of all decompositions are in memory while runs are projected.
    maps_mb = 2 * 4 * (5 + 20) * 2 * MASK.sum() / 1e6
    assert several.waiting_mb - largest.waiting_mb == pytest.approx(maps_mb)


def test_a_number_that_is_to_be_chosen_counts_as_the_largest():
    chosen = forecast_of(science=science_of(("auto",), max_components=30), mem_mb=PLENTY)
    assert chosen == forecast_of(science=science_of((30,)), mem_mb=PLENTY)


def test_choosing_a_number_takes_memory_where_the_fit_takes_little():
    """With few voxels, the subspaces of the halves are larger than that of the group."""

    def group_mb(n_components, max_components):
        science = science_of(n_components, max_components=max_components)
        return forecast_of(science=science, with_fit=True, mem_mb=PLENTY).group_mb

    # 16 bytes, the group and five pairs of halves, 20,000 voxels of the mask's 36,000.
    halves_mb = 16 * 11 * 50 * 20_000 / 1e6
    assert group_mb(("auto",), 50) >= group_mb((50,), 50)
    assert group_mb(("auto",), 50) > halves_mb + 200


def test_too_little_memory_for_choosing_names_the_option_that_helps():
    science = science_of(("auto",), max_components=80)
    with pytest.raises(UsageError, match="Decrease --subspace-dims or --max-components"):
        forecast_of(science=science, with_fit=True, run=run_of(30), mem_mb=450)


def test_longest_run_says_what_a_process_takes():
    runs = (run_of(50), run_of(400), run_of(100))
    mixed = forecast(runs, SPACE, request_of(Science(), with_fit=False, mem_mb=PLENTY), 4)
    assert mixed.run_mb == forecast_of(run=run_of(400), mem_mb=PLENTY).run_mb


# ---------------------------------------------------------------- the group fit
def test_the_group_fit_takes_the_same_whatever_the_number_of_runs():
    """Memory does not depend on the number of runs once the subspace has all its dimensions."""
    few_runs, some, many = (
        forecast_of(n_runs, with_fit=True, mem_mb=PLENTY).group_mb for n_runs in (2, 10, 5000)
    )
    assert few_runs < some == many


@pytest.mark.parametrize(("weighting", "n_subspaces"), [("sqrt", 1), ("unit", 2)])
def test_the_group_fit_holds_what_it_gathers(weighting, n_subspaces):
    """Subspaces are in memory at once, each with a buffer of the same size for new rows."""
    science = science_of(pca_weighting=weighting)
    result = forecast_of(100, with_fit=True, science=science, mem_mb=PLENTY)
    dims = DecompositionOptions().kept_dims(20)
    assert (result.n_subspaces, result.at_once) == (n_subspaces, n_subspaces)
    assert result.group_mb > n_subspaces * 2 * dims * MASK.sum() * 4 / 1e6


@pytest.mark.parametrize(("weighting", "more"), [("sqrt", 0), ("unit", 1)])
def test_subspaces_are_counted_by_what_they_are_gathered_from(weighting, more):
    """One for each smoothing; with unit weights, the ICA has one of its own."""

    def n_subspaces(**given):
        science = science_of(pca_weighting=weighting, **given)
        return forecast_of(with_fit=True, science=science, mem_mb=PLENTY).n_subspaces

    assert n_subspaces() == n_subspaces(smoothing=6.0) == 1 + more
    assert n_subspaces(smoothing=2.0) == 2 + more
    assert n_subspaces(smoothing=2.0, methods=("canica",)) == 1 + more
    # The ICA that learning starts from is fitted to runs at the other smoothing.
    assert n_subspaces(smoothing=2.0, methods=("dictlearning",)) == 2


def needed_mb(at_once, **given):
    """Return the smallest memory with which a number of subspaces is computed in one pass."""

    def is_enough(mem_mb):
        try:
            return forecast_of(with_fit=True, mem_mb=mem_mb, **given).at_once >= at_once
        except UsageError:
            return False

    return bisect.bisect_left(range(20_000), True, key=is_enough)


def numbers_in(message):
    """Return the numbers in a message, except in names of data types."""
    return [float(text) for text in re.findall(r"(?<!float)\b\d+", message)]


def test_fewer_subspaces_are_gathered_at_once_where_memory_is_short():
    science = science_of(smoothing=2.0, subspace_dims=400, pca_weighting="unit")
    limits = [needed_mb(at_once, science=science, n_runs=100) for at_once in (1, 2, 3)]
    assert limits == sorted(limits)
    assert limits[0] < limits[2] < 20_000
    for mem_mb in limits:
        result = forecast_of(100, with_fit=True, science=science, mem_mb=mem_mb)
        assert result.group_mb <= mem_mb
    with pytest.raises(UsageError, match="group fit"):
        forecast_of(100, with_fit=True, science=science, mem_mb=limits[0] - 1)


@few
@given(
    mem_mb=st.integers(500, 4000),
    more=st.integers(0, 2000),
    n_cores=st.integers(1, 16),
    weighting=st.sampled_from(["sqrt", "unit"]),
)
def test_more_memory_never_gives_fewer_processes_or_more_passes(mem_mb, more, n_cores, weighting):
    science = science_of(smoothing=2.0, subspace_dims=300, pca_weighting=weighting)

    def at(limit):
        return forecast_of(50, n_cores=n_cores, with_fit=True, science=science, mem_mb=limit)

    try:
        less = at(mem_mb)
    except UsageError:
        return
    greater = at(mem_mb + more)
    assert greater.n_processes >= less.n_processes
    # The number of threads is decreased before a pass is added.
    assert (greater.at_once, greater.n_threads) >= (less.at_once, less.n_threads)


def test_many_cores_and_little_memory_make_fewer_threads_of_the_fit():
    science = science_of((64,), methods=("canica",))
    enough = forecast_of(50, n_cores=2, with_fit=True, science=science, mem_mb=10000).group_mb
    result = forecast_of(50, n_cores=64, with_fit=True, science=science, mem_mb=int(enough) + 1)
    assert 2 <= result.n_threads < 64
    assert result.group_mb <= enough + 1


def test_memory_too_small_for_the_group_fit_is_an_error_with_the_arithmetic():
    science = science_of((50,), subspace_dims=1000, methods=("canica",))
    enough = needed_mb(1, science=science, n_runs=500)
    with pytest.raises(UsageError) as caught:
        forecast_of(500, with_fit=True, science=science, mem_mb=enough - 1)
    message = str(caught.value)
    assert message.startswith(f"--mem-mb {enough - 1} is not enough: the group fit needs ")
    said, needed, _, dims, voxels, components = numbers_in(message)
    assert said < needed <= enough + 1
    assert (dims, voxels, components) == (1000, MASK.sum(), 50)
    assert "--subspace-dims" in message
    assert "--n-components" in message
    # It is irrelevant if the group is not fitted.
    assert forecast_of(500, science=science, mem_mb=enough - 1).group_mb == 0.0


@pytest.mark.parametrize("with_fit", [True, False])
def test_too_little_free_memory_is_told_as_such(monkeypatch, with_fit):
    monkeypatch.setattr("nidecomp.plan.free_mb", lambda: 200.0)
    with pytest.raises(UsageError, match="The free memory of 200 MB is not enough"):
        forecast_of(with_fit=with_fit)


@few
@given(n_volumes=st.integers(10, 500), more=st.integers(1, 500))
def test_more_of_anything_never_takes_less(n_volumes, more):
    less = forecast_of(run=run_of(n_volumes), mem_mb=PLENTY)
    for greater in (
        forecast_of(run=run_of(n_volumes + more), mem_mb=PLENTY),
        forecast_of(run=run_of(n_volumes), n_components=20 + more, mem_mb=PLENTY),
        forecast_of(run=run_of(n_volumes), n_runs=10 + more, mem_mb=PLENTY),
        forecast_of(run=run_of(n_volumes), science=science_of(smoothing=1.0), mem_mb=PLENTY),
    ):
        for name in ("run_mb", "group_mb", "disk_mb", "peak_mb"):
            assert getattr(greater, name) >= getattr(less, name)


def test_scrubbed_volumes_need_no_series():
    whole = forecast_of(run=run_of(200), n_components=2, mem_mb=PLENTY)
    half = forecast_of(run=run_of(200, n_kept=10), n_components=2, mem_mb=PLENTY)
    assert half.run_mb <= whole.run_mb


@few
@given(n_components=st.integers(2, 100), more=st.integers(0, 60), n_runs=st.integers(1, 100))
def test_the_group_fit_never_takes_less_for_more(n_components, more, n_runs):
    def group_mb(k, runs, **given):
        science = science_of((k,), **given)
        return forecast_of(runs, with_fit=True, science=science, mem_mb=PLENTY).group_mb

    less = group_mb(n_components, n_runs)
    assert group_mb(n_components, n_runs + more) >= less
    assert group_mb(n_components, n_runs, subspace_dims=5 * n_components + 100 + more) >= less
    assert group_mb(n_components, n_runs, smoothing=1.0) >= less
    assert group_mb(n_components, n_runs, methods=("canica",)) <= less


# ---------------------------------------------------------------- processes and threads
@few
@given(
    n_runs=st.integers(1, 30),
    n_cores=st.integers(1, 16),
    nprocs=st.integers(0, 16),
    share=st.floats(1.0, 40.0),
)
def test_processes_are_bounded_by_runs_cores_and_memory(n_runs, n_cores, nprocs, share):
    one_mb = forecast_of(mem_mb=PLENTY).run_mb
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
    one_mb = forecast_of(mem_mb=PLENTY).run_mb
    assert forecast_of(n_cores=4, mem_mb=PLENTY).n_processes == 4
    assert forecast_of(n_cores=4, nprocs=3, mem_mb=PLENTY).n_processes == 3
    assert forecast_of(n_cores=4, nprocs=6, mem_mb=PLENTY).n_processes == 6
    assert forecast_of(n_runs=2, n_cores=4, mem_mb=PLENTY).n_processes == 2
    assert forecast_of(n_cores=4, mem_mb=int(2 * one_mb + 400)).n_processes == 2


@few
@given(
    n_cores=st.integers(1, 64),
    nprocs=st.integers(0, 64),
    omp_nthreads=st.integers(0, 64),
    n_runs=st.integers(1, 40),
)
def test_never_more_threads_than_nprocs_in_all(n_cores, nprocs, omp_nthreads, n_runs):
    """In the reduce step each process has one thread, in the group fit one process has several."""
    result = forecast_of(
        n_runs, n_cores=n_cores, nprocs=nprocs, omp_nthreads=omp_nthreads, mem_mb=PLENTY
    )
    cores = nprocs or n_cores
    assert 1 <= result.n_processes <= cores
    assert 1 <= result.n_threads <= cores
    assert result.n_threads <= (omp_nthreads or cores)


def test_threads_are_all_cores_unless_said_otherwise():
    assert forecast_of(n_cores=4, mem_mb=PLENTY).n_threads == 4
    assert forecast_of(n_cores=4, nprocs=3, mem_mb=PLENTY).n_threads == 3
    assert forecast_of(n_cores=4, omp_nthreads=2, mem_mb=PLENTY).n_threads == 2
    assert forecast_of(n_cores=4, omp_nthreads=9, mem_mb=PLENTY).n_threads == 4
    # They do not depend on how many runs there are to reduce.
    assert forecast_of(n_runs=1, n_cores=4, mem_mb=PLENTY).n_threads == 4


def test_workers_that_wait_for_work_fit_into_the_memory_beside_this_process(monkeypatch):
    assert idle_workers(Execution(mem_mb=1500)) == 3
    assert idle_workers(Execution(mem_mb=300)) == 0
    monkeypatch.setattr("nidecomp.execution.memory.free_mb", lambda: 4000.0)
    assert idle_workers(Execution()) == 11


def test_memory_is_free_memory_where_nothing_is_said(monkeypatch):
    one_mb = forecast_of(mem_mb=PLENTY).run_mb
    monkeypatch.setattr("nidecomp.plan.free_mb", lambda: 3 * one_mb + 400)
    assert forecast_of(n_cores=8).n_processes == 3
    assert forecast_of(n_cores=8, mem_mb=PLENTY).n_processes == 8


def test_too_little_memory_for_one_run_is_an_error_with_the_numbers():
    one_mb = forecast_of(mem_mb=PLENTY).run_mb
    with pytest.raises(UsageError, match="--mem-mb") as caught:
        forecast_of(mem_mb=int(one_mb) - 50)
    message = str(caught.value)
    said, needed, python, rest, volumes, voxels = numbers_in(message)
    assert said == int(one_mb) - 50
    assert needed == round(one_mb)
    assert python + rest == pytest.approx(needed, abs=1.5)
    assert (volumes, voxels) == (200, MASK.sum())


def test_too_little_memory_for_two_smoothings_says_that_there_are_two():
    science = science_of(smoothing=2.0)
    one_mb = forecast_of(science=science, mem_mb=PLENTY).run_mb
    with pytest.raises(UsageError, match="2 smoothings"):
        forecast_of(science=science, mem_mb=int(one_mb) - 10)


@few
@given(spare_mb=st.integers(0, 2000), n_cores=st.integers(1, 8), with_fit=st.booleans())
def test_peak_that_is_announced_keeps_within_the_limit(spare_mb, n_cores, with_fit):
    """The forecast never exceeds --mem-mb; otherwise an error is raised."""
    mem_mb = int(forecast_of(mem_mb=PLENTY).run_mb) + 1 + spare_mb
    try:
        result = forecast_of(n_cores=n_cores, with_fit=with_fit, mem_mb=mem_mb)
    except UsageError:
        return
    assert result.peak_mb <= mem_mb


def forecast_with(worker_mb=None, **execution):
    wanted = request_of(science_of(), with_fit=True, **execution)
    return forecast((run_of(),) * 10, SPACE, wanted, 4, worker_mb)


def test_workers_on_other_machines_take_nothing_of_this_one():
    here = forecast_with(mem_mb=PLENTY)
    elsewhere = forecast_with(math.inf, executor="dask", dask_scheduler="tcp://x:1", mem_mb=PLENTY)
    assert here.peak_mb > 4 * here.run_mb
    others_mb = (elsewhere.group_mb, elsewhere.waiting_mb, elsewhere.drawing_mb)
    assert elsewhere.peak_mb == max(others_mb)
    assert f"{elsewhere.run_mb:,.0f} MB in each worker" in elsewhere.as_text()
    assert "one at a time in each worker" in elsewhere.as_text()


def test_a_worker_with_too_little_memory_for_a_run_is_an_error_with_the_numbers():
    one_mb = forecast_with(mem_mb=PLENTY).run_mb
    forecast_with(one_mb + 1, executor="dask", dask_config="x")
    with pytest.raises(UsageError, match="per worker") as caught:
        forecast_with(one_mb - 50, executor="dask", dask_config="x")
    assert numbers_in(str(caught.value))[:2] == pytest.approx([one_mb - 50, one_mb], abs=1)


def test_workers_of_dask_on_this_machine_have_a_process_beside_them():
    """The main process waits even for a single worker, which needs memory for both."""
    local = forecast_with(mem_mb=PLENTY, nprocs=1)
    beside = forecast_with(mem_mb=PLENTY, nprocs=1, executor="dask")
    assert local.peak_mb == max(local.run_mb, local.group_mb, local.drawing_mb)
    assert beside.peak_mb == max(beside.run_mb + beside.waiting_mb, beside.group_mb)
    with pytest.raises(UsageError, match="for the main process"):
        forecast_with(mem_mb=int(local.run_mb) + 100, executor="dask")


EXAMPLE = Forecast(
    run_mb=1301.4,
    group_mb=5200.2,
    disk_mb=88.0,
    n_processes=3,
    n_threads=4,
    n_subspaces=3,
    at_once=2,
)


def test_peak_is_that_of_the_larger_step():
    assert EXAMPLE.peak_mb == 5200.2
    assert dataclasses.replace(EXAMPLE, group_mb=1.0).peak_mb >= 3 * 1301.4


def test_text_shows_each_number():
    lines = EXAMPLE.as_text().splitlines()
    for shown in (
        "1,301 MB",
        "3 at a time",
        "5,200 MB",
        "88 MB",
        "threads: 4",
        "components: 2",
    ):
        assert any(shown in line for line in lines), shown
    assert len(lines) == 4
    assert any("for any number of runs" in line for line in lines)


def test_text_says_nothing_of_a_group_fit_that_is_not_made():
    text = dataclasses.replace(EXAMPLE, group_mb=0.0).as_text()
    assert "Group fit" not in text
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(("n_subspaces", "at_once", "passes"), [(2, 2, 1), (3, 2, 2), (3, 1, 3)])
def test_passes_are_as_many_as_the_subspaces_need(n_subspaces, at_once, passes):
    text = dataclasses.replace(EXAMPLE, n_subspaces=n_subspaces, at_once=at_once).as_text()
    assert f"components: {passes}" in text


# ---------------------------------------------------------------- evidence
def with_evidence(n_voxels_side=40, n_datasets=1, **execution):
    """Return a forecast with evidence for 20 components on a larger mask, with 10 samples."""
    shape = (n_voxels_side,) * 3
    space = VoxelSpace(
        Grid(shape, run_of().grid.affine), np.ones(shape, dtype=bool), "MNI152NLin2009cAsym"
    )
    run = dataclasses.replace(run_of(n_kept=20), grid=space.grid)
    keys = [RunKey(run.key.entities, f"D{index % n_datasets}") for index in range(20)]
    files = [dataclasses.replace(run.files, key=key) for key in keys]
    runs = tuple(dataclasses.replace(run, files=one) for one in files)
    return forecast(runs, space, request_of(science_of(), **execution), 1)


def test_halves_are_gathered_at_once_as_far_as_the_group_fit_needs_the_memory_anyway():
    # Ten splits of surrogates are 20 halves and the group. A small mask is looked at whole, a large
    # one in part.
    assert with_evidence(90, mem_mb=PLENTY).samples_at_once == 21
    assert 2 <= with_evidence(30, mem_mb=PLENTY).samples_at_once < 21


def test_fits_without_each_dataset_are_gathered_with_the_others():
    # Ten halves, and as many fits as there are datasets.
    assert with_evidence(90, n_datasets=20, mem_mb=PLENTY).samples_at_once == 30


def test_maps_that_are_not_judged_need_no_halves():
    runs = (run_of(),) * 4
    wanted = request_of(science_of(), extent=OutputOptions(level="minimal"), mem_mb=PLENTY)
    assert forecast(runs, SPACE, wanted, 1).samples_at_once == 0


# ---------------------------------------------------------------- projections
def test_projecting_holds_the_groups_maps_and_the_runs_own():
    """Writing maps also needs their variance and z maps, and copies of one image."""

    def run_mb(weighting="unit", **extent):
        science = science_of((100,), pca_weighting=weighting)
        wanted = request_of(science, extent=OutputOptions(**extent), mem_mb=PLENTY)
        return forecast((run_of(),), SPACE, wanted, 1).run_mb

    maps_mb = 4 * 100 * MASK.sum() / 1e6
    image_mb = 4 * 100 * MASK.size / 1e6
    minimal, full, maps = run_mb(level="minimal"), run_mb(), run_mb(participant_maps=True)
    assert full - minimal == pytest.approx(maps_mb, rel=0.01)
    assert maps - full == pytest.approx(2 * maps_mb + 3 * image_mb, rel=0.01)
    # With two rows for each component, reducing a run holds as much as projecting it.
    assert run_mb("sqrt") == run_mb("sqrt", level="minimal") == full
    assert run_mb("sqrt", participant_maps=True) == maps


# ---------------------------------------------------------------- the report
def test_without_a_report_nothing_is_drawn():
    science = science_of()
    for extent in (OutputOptions(no_report=True), OutputOptions(level="minimal")):
        plan = forecast((run_of(),), SPACE, request_of(science, extent=extent), 4)
        assert plan.drawing_mb == 0
        plan = forecast(
            (run_of(),),
            SPACE,
            request_of(science, extent=dataclasses.replace(extent, figures=True)),
            4,
        )
        assert plan.drawing_mb > 0
    assert forecast_of(with_fit=False, mem_mb=PLENTY).drawing_mb == 0


# ---------------------------------------------------------------- the task of a run
@pytest.mark.parametrize(
    ("maps", "rows", "required"), [(None, 40, 20), ("atlas.nii.gz", 40, 1)], ids=["fit", "maps"]
)
def test_template_maps_can_be_projected_to_runs_of_any_length(maps, rows, required):
    science = Science(projection=ProjectionOptions(maps=maps))
    task = reduce_task(run_of(150), SPACE, request_of(science))
    assert (task.n_rows, task.n_required) == (rows, required)
