"""The map step of one run: what names its result, and what makes it fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nidecomp import process_run as module
from nidecomp.process_run import MapTask, process_run
from nidecomp.records import FailedRun, Grid, ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.settings import Denoising
from nidecomp.signal.geometry import VoxelGeometry

SHAPE = (6, 7, 5)
GRID = Grid(SHAPE, tuple(tuple(row) for row in np.diag([4.0, 4, 4, 1]).tolist()))
GEOMETRY = VoxelGeometry(GRID, np.ones(SHAPE, dtype=bool))
N_VOLUMES = 40
NOTHING = Denoising(denoise_strategy="none", smoothing_fwhm=0.0)


def write_image(path: Path, seed: int = 0, rank: int = N_VOLUMES) -> None:
    rng = np.random.default_rng(seed)
    courses = rng.standard_normal((rank, N_VOLUMES))
    data = 100 + np.tensordot(rng.standard_normal((*SHAPE, rank)), courses, axes=1)
    nib.save(nib.Nifti1Image(data.astype(np.float32), GRID.matrix), path)


@pytest.fixture
def task(tmp_path: Path) -> MapTask:
    bold = tmp_path / "bold.nii.gz"
    write_image(bold)
    files = RunFiles(RunKey((("sub", "01"), ("task", "rest"))), "T", None, bold, None, None)
    run = UsableRun(
        files=files,
        grid=GRID,
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=N_VOLUMES,
        stored_bytes=4,
        kept=tuple(range(N_VOLUMES)),
        n_regressors=2,
        mean_fd_mm=None,
    )
    return MapTask(run, GEOMETRY, NOTHING, 5, tmp_path / "work")


def test_a_second_call_finds_the_first_ones_work(task: MapTask) -> None:
    first = process_run(task)
    assert isinstance(first, ReducedRun)
    written = first.path.stat().st_mtime_ns
    assert process_run(task) == first
    assert first.path.stat().st_mtime_ns == written


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_damaged_work_is_done_again(task: MapTask, suffix: str, content: bytes | None) -> None:
    first = process_run(task)
    assert isinstance(first, ReducedRun)
    rows = first.path.read_bytes()
    damaged = first.path.with_suffix(suffix)
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content)
    assert process_run(task) == first
    assert first.path.read_bytes() == rows


def test_everything_that_decides_the_numbers_is_in_the_name(
    task: MapTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_mask = np.ones(SHAPE, dtype=bool)
    other_mask[0, 0, 0] = False
    names = {task.stem}
    for changed in (
        replace(task, n_rows=6),
        replace(task, denoising=replace(NOTHING, smoothing_fwhm=5.0)),
        replace(task, denoising=replace(NOTHING, dummy_scans=1)),
        replace(task, geometry=VoxelGeometry(GRID, other_mask)),
        replace(task, run=replace(task.run, repetition_time_s=2.5)),
    ):
        assert changed.stem not in names
        names.add(changed.stem)
    write_image(task.run.files.bold, seed=1)
    assert task.stem not in names
    names.add(task.stem)
    monkeypatch.setattr(module, "version", lambda name: f"{name} 99")
    assert task.stem not in names


def test_what_only_decides_which_runs_are_used_is_not_in_the_name(task: MapTask) -> None:
    stricter = replace(NOTHING, min_volumes=30, mean_fd_cutoff=0.5)
    assert replace(task, denoising=stricter).stem == task.stem


def test_a_run_of_too_few_dimensions_fails_with_their_number(task: MapTask) -> None:
    """Rounding noise scaled to unit norm would become components."""
    write_image(task.run.files.bold, rank=3)
    result = process_run(task)
    assert isinstance(result, FailedRun)
    assert "hold only 3 dimensions" in result.reason


def test_a_file_that_changes_while_it_is_read_fails(
    task: MapTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = module.read_series

    def replaced_meanwhile(*arguments: object) -> object:
        result = read(*arguments)
        write_image(task.run.files.bold, seed=2)
        return result

    monkeypatch.setattr(module, "read_series", replaced_meanwhile)
    result = process_run(task)
    assert isinstance(result, FailedRun)
    assert "changed while it was processed" in result.reason
    assert not list(task.work_dir.rglob("*.npy"))


def test_a_brain_without_signal_fails(task: MapTask) -> None:
    nib.save(
        nib.Nifti1Image(np.full((*SHAPE, N_VOLUMES), 7.0, dtype=np.float32), GRID.matrix),
        task.run.files.bold,
    )
    result = process_run(task)
    assert isinstance(result, FailedRun)
    assert "hold no signal" in result.reason


def test_an_error_that_nobody_foresaw_is_a_record_with_its_traceback(
    task: MapTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(module, "clean", broken)
    result = process_run(task)
    assert isinstance(result, FailedRun)
    assert result.reason == "ZeroDivisionError: by accident"
    assert "Traceback" in (result.traceback or "")
