"""The choice of the number of components: its requirements and its result."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_examples import run_of

from nidecomp.config.science import DecompositionOptions, Denoising, Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.decomposition.choose_model_order import (
    check_participants,
    choose_model_order,
    lowered_to_runs,
)
from nidecomp.decomposition.model_order_choice import FEWEST_PARTICIPANTS
from nidecomp.spaces.grid import Grid

AUTO = Science(decomposition=DecompositionOptions(n_components=("auto",), max_components=30))
N_SOURCES, N_ROWS, SHAPE = 5, 16, (30, 40)


# ---------------------------------------------------------------- requirements
def run_with(degrees_of_freedom: int, label: str = "01") -> UsableRun:
    files = RunFiles(
        RunKey((("sub", label), ("task", "rest"))), "MNI", None, Path("b.nii.gz"), None, None
    )
    return UsableRun(
        files=files,
        grid=Grid((2, 2, 2), ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))),
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=200,
        stored_bytes=2,
        kept=tuple(range(degrees_of_freedom + 7)),
        n_regressors=7,
        mean_fd_mm=None,
    )


@pytest.mark.parametrize(
    ("n_components", "max_components", "fewest"),
    [((20,), 50, 20), ((3, 40), 50, 40), (("auto",), 50, 20), (("auto",), 12, 12)],
)
def test_a_run_needs_as_many_rows_as_components_are_asked_for(
    n_components: tuple[int, ...], max_components: int, fewest: int
) -> None:
    settings = DecompositionOptions(n_components=n_components, max_components=max_components)
    assert settings.fewest_rows == fewest


def test_at_most_as_many_components_are_considered_as_the_shortest_run_has_dimensions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    runs = [run_with(31, "01"), run_with(25, "02"), run_with(30, "03")]
    found = lowered_to_runs(AUTO, runs)
    assert found.decomposition.max_components == found.decomposition.largest_model_order == 25
    assert replace(found, decomposition=AUTO.decomposition) == AUTO
    assert "considers at most 25 components: sub-02_task-rest" in caplog.text
    assert "32 volumes minus 7 regressors" in caplog.text


@pytest.mark.parametrize(
    "science", [AUTO, Science(decomposition=DecompositionOptions(n_components=(25,)))]
)
def test_settings_stay_if_runs_are_long_enough_or_a_number_was_given(
    science: Science, caplog: pytest.LogCaptureFixture
) -> None:
    assert lowered_to_runs(science, [run_with(30), run_with(90)]) == science
    assert not caplog.text


@pytest.mark.parametrize("n_participants", range(1, FEWEST_PARTICIPANTS + 1))
def test_too_few_participants_are_refused_before_any_work(n_participants: int) -> None:
    # Two runs of each: participants are counted, not runs.
    labels = [f"{index:02d}" for index in range(n_participants)] * 2
    if n_participants == FEWEST_PARTICIPANTS:
        check_participants(labels)
        return
    noun = "participant" if n_participants == 1 else "participants"
    with pytest.raises(NothingToDoError, match=rf"come from {n_participants} {noun}\."):
        check_participants(labels)


# ---------------------------------------------------------------- the choice
def smooth(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    images = rng.standard_normal((n, *SHAPE))
    for axis in (1, 2):
        images = sum(np.roll(images, shift, axis) for shift in range(width))
    images = images.reshape(n, -1)
    return images / images.std(axis=1, keepdims=True)


def write_runs(folder: Path, n_sources: int, fwhm: float) -> list[ReducedRun]:
    """Write reduced runs of eight simulated participants with two runs each."""
    rng = np.random.default_rng(n_sources)
    shared = np.maximum(smooth(rng, n_sources, 8) - 1.2, 0) if n_sources else np.zeros((0, 1200))
    runs = []
    for participant in range(8):
        for number in range(2):
            series = 3 * rng.standard_normal((60, n_sources)) @ shared
            series = series + smooth(rng, 60, 3)
            _, singular, rows = np.linalg.svd(series, full_matrices=False)
            path = folder / f"{participant}_{number}_{fwhm:g}.npy"
            np.save(path, (singular[:N_ROWS, None] * rows[:N_ROWS]).astype(np.float32))
            runs.append(
                ReducedRun(
                    run=run_of(RunKey((("sub", f"{participant:02d}"), ("run", str(number))))),
                    path=path,
                    smoothing_fwhm=fwhm,
                    n_rows=N_ROWS,
                    n_voxels=series.shape[1],
                    total_variance=float((singular**2).sum()),
                    squared_singular_values=tuple((singular[:N_ROWS] ** 2).tolist()),
                    n_nonfinite=0,
                    n_constant=0,
                )
            )
    return runs


def test_simulated_sources_are_counted_in_any_order_of_runs_with_any_number_of_threads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runs = write_runs(tmp_path, N_SOURCES, 6.0)
    choice = choose_model_order(runs, AUTO)
    assert choice.n_components == N_SOURCES
    assert choice.n_participants == 8
    assert choose_model_order(runs[::-1], AUTO, n_threads=2) == choice
    assert f"Chose {N_SOURCES} components. {choice.reason}" in caplog.text


def test_the_choice_uses_the_runs_at_canicas_smoothing(tmp_path: Path) -> None:
    smoothed = write_runs(tmp_path, N_SOURCES, 6.0)
    less = write_runs(tmp_path, 0, 2.0)
    science = replace(AUTO, denoising=Denoising(dictlearning_smoothing_fwhm=2.0))
    assert choose_model_order([*smoothed, *less], science).n_components == N_SOURCES
    swapped = replace(
        AUTO, denoising=Denoising(smoothing_fwhm=2.0, dictlearning_smoothing_fwhm=6.0)
    )
    assert choose_model_order([*smoothed, *less], swapped).n_components == 0


def test_another_seed_draws_other_halves(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, N_SOURCES, 6.0)
    other = replace(AUTO, decomposition=replace(AUTO.decomposition, random_seed=3))
    assert choose_model_order(runs, other).evidence != choose_model_order(runs, AUTO).evidence
