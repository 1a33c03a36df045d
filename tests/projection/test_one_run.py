"""The projection of one run: its results, the names of its files, and its failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from nidecomp.config.science import Denoising
from nidecomp.core.inventory import FailedRun
from nidecomp.core.records import EMPTY_NOTE, RunFiles, RunKey, UsableRun
from nidecomp.decomposition.components import Components
from nidecomp.projection import one_run as module
from nidecomp.projection.one_run import CombineTask, combine_runs, project_run
from nidecomp.projection.store import load_effect, store_target
from nidecomp.projection.task import ProjectedRun, ProjectTask
from nidecomp.runs.reduce import cleaned_series
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE, N_VOLUMES, K = (8, 9, 7), 50, 3
GRID = Grid(SHAPE, tuple(tuple(row) for row in np.diag([4.0, 4, 4, 1]).tolist()))
MASK = np.ones(SHAPE, dtype=bool)
MASK[0] = False
SPACE = VoxelSpace(GRID, MASK, "MNI152NLin2009cAsym")
N_DUMMIES = 5
KEPT = tuple(range(N_DUMMIES, N_VOLUMES))
DENOISING = Denoising(denoise_strategy="none", dummy_scans=N_DUMMIES)


def sources() -> NDArray[np.float64]:
    """Return partly overlapping boxes, one of them negative, as (K, x, y, z)."""
    boxes = np.zeros((K, *SHAPE))
    boxes[0, 1:5, 1:5, 1:4] = 1
    boxes[1, 3:7, 2:7, 2:5] = 1
    boxes[2, 2:6, 4:8, 3:6] = -1
    return boxes


def write_run(folder: Path, seed: int = 0) -> UsableRun:
    rng = np.random.default_rng(seed)
    courses = rng.standard_normal((K, N_VOLUMES))
    data = 1000 + 20 * np.tensordot(sources(), courses, axes=(0, 0))
    data += 10 * rng.standard_normal(data.shape)
    bold = folder / f"bold{seed}.nii.gz"
    nib.save(nib.Nifti1Image(data.astype(np.float32), GRID.matrix), bold)
    key = RunKey((("sub", "01"), ("task", "rest"), ("run", str(seed))))
    return UsableRun(
        files=RunFiles(key, "T", None, bold, None, None),
        grid=GRID,
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=N_VOLUMES,
        stored_bytes=4,
        kept=KEPT,
        n_regressors=2,
        mean_fd_mm=None,
    )


def components(n: int = K) -> Components:
    maps = np.stack([SPACE.features(box) for box in sources()[:n]]).astype(np.float32)
    return Components("canica", maps, tuple("abc"[:n]), np.zeros(n), 0.0)


@pytest.fixture
def task(tmp_path: Path) -> ProjectTask:
    return task_of(write_run(tmp_path), tmp_path / "work")


def task_of(run: UsableRun, work: Path, **more: bool) -> ProjectTask:
    cleaning = ReduceTask(run, SPACE, DENOISING, (0.0,), 3, 3, work)
    target = store_target(components(), 0.0, work)
    options = {"normalise": False, "with_maps": False, "arrays": (), **more}
    return ProjectTask(cleaning, (target,), **options)


def projected(task: ProjectTask) -> ProjectedRun:
    result = project_run(task)
    assert isinstance(result, ProjectedRun), result
    return result


def read(path: Path) -> NDArray[np.float64]:
    volumes = np.moveaxis(np.asarray(nib.load(path).dataobj), -1, 0)
    return np.stack([SPACE.features(volume) for volume in volumes])


# ---------------------------------------------------------------- results
def test_both_stages_are_least_squares_on_the_cleaned_data(task: ProjectTask) -> None:
    """Results agree with numpy's lstsq to 1e-4."""
    task = replace(task, with_maps=True)
    cleaned = cleaned_series(task.cleaning, (0.0,)).cleaned[0.0]
    data, maps = cleaned.series.astype(float), components().maps.astype(float)
    courses = np.linalg.lstsq(maps.T, data.T)[0].T
    effect, left, *_ = np.linalg.lstsq(courses, data)
    (found,) = projected(task).projections
    np.testing.assert_allclose(found.courses, courses, atol=1e-4)
    np.testing.assert_allclose(read(found.maps["effect"]), effect, atol=1e-4)
    explained = 1 - np.sum((data - courses @ maps) ** 2) / np.sum(data**2)
    assert found.explained_variance == pytest.approx(explained, abs=1e-6)
    r = [np.corrcoef(*pair)[0, 1] for pair in zip(effect, maps, strict=True)]
    np.testing.assert_allclose(found.map_r, r, atol=1e-5)
    spread = np.sqrt(np.outer(np.diag(np.linalg.inv(courses.T @ courses)), left))
    inside = np.abs(effect / spread)
    assert np.corrcoef(inside.ravel(), np.abs(read(found.maps["z"])).ravel())[0, 1] > 0.9


def test_time_courses_are_those_of_the_volumes_kept(task: ProjectTask) -> None:
    (found,) = projected(task).projections
    assert found.courses.shape == (len(KEPT), K)
    assert found.maps == {}


def test_tsnr_is_computed_before_cleaning(task: ProjectTask) -> None:
    bold = np.asarray(nib.load(task.cleaning.run.files.bold).dataobj)[..., list(KEPT)]
    expected = np.median((bold.mean(axis=-1) / bold.std(axis=-1))[MASK])
    assert projected(task).tsnr == pytest.approx(expected, rel=1e-4)


def test_volumes_without_signal_are_dropped_without_a_reduce_step(task: ProjectTask) -> None:
    """As in the projection of template maps; the stored projection knows of them, too."""
    image = nib.load(task.cleaning.run.files.bold)
    data = np.asarray(image.dataobj).copy()
    empty = (2, 20, 49)
    data[..., list(empty)] = 0
    nib.save(nib.Nifti1Image(data, image.affine), task.cleaning.run.files.bold)
    first = projected(task)
    # The first of them is dropped as a dummy scan in any case.
    kept = tuple(volume for volume in KEPT if volume not in empty)
    assert first.run.kept == kept
    assert first.run.dropped == (("empty", 2),)
    assert first.run.notes == (EMPTY_NOTE,)
    (found,) = first.projections
    assert found.courses.shape == (len(kept), K)
    expected = np.median((data[..., kept].mean(axis=-1) / data[..., kept].std(axis=-1))[MASK])
    assert first.tsnr == pytest.approx(expected, rel=1e-4)
    assert projected(task).run == first.run
    # From the run as the reduce step gives it, the projection is the same.
    again = projected(replace(task, cleaning=replace(task.cleaning, run=first.run)))
    assert again.run == first.run
    elsewhere = replace(task.cleaning, run=first.run, work_dir=task.cleaning.work_dir / "other")
    anew = projected(replace(task, cleaning=elsewhere))
    assert anew.run == first.run
    np.testing.assert_array_equal(anew.projections[0].courses, found.courses)


def test_a_stored_projection_is_checked_against_a_stricter_request(task: ProjectTask) -> None:
    image = nib.load(task.cleaning.run.files.bold)
    data = np.asarray(image.dataobj).copy()
    data[..., 20:30] = 0
    nib.save(nib.Nifti1Image(data, image.affine), task.cleaning.run.files.bold)
    assert projected(task).run.n_kept == 35
    stricter = replace(DENOISING, min_volumes=36)
    result = project_run(replace(task, cleaning=replace(task.cleaning, denoising=stricter)))
    assert isinstance(result, FailedRun)
    assert "35 of its 50 volumes are left, fewer than --min-volumes 36" in result.reason


def test_normalised_time_courses_change_the_maps_scale_and_not_their_shape(
    task: ProjectTask,
) -> None:
    plain = projected(replace(task, with_maps=True)).projections[0]
    normalised = projected(replace(task, with_maps=True, normalise=True)).projections[0]
    np.testing.assert_allclose(normalised.courses.std(axis=0, ddof=1), 1)
    deviation = plain.courses.std(axis=0, ddof=1)
    np.testing.assert_allclose(
        read(normalised.maps["effect"]), deviation[:, None] * read(plain.maps["effect"]), atol=1e-5
    )
    np.testing.assert_allclose(normalised.map_r, plain.map_r, atol=1e-6)
    z = [read(one.maps["z"]) for one in (normalised, plain)]
    np.testing.assert_allclose(*z, atol=1e-3)


# ---------------------------------------------------------------- stored results
def test_a_second_call_uses_the_stored_result(
    task: ProjectTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(task, with_maps=True, arrays=("effect", "noise"))
    first = projected(task)
    monkeypatch.setattr(module, "read_run", None)
    again = projected(task)
    np.testing.assert_array_equal(again.projections[0].courses, first.projections[0].courses)
    assert again.projections[0].maps == first.projections[0].maps


@pytest.mark.parametrize("name", ["", "_0_effect.nii.gz", "_0_z.nii.gz", "_0_noise.npz"])
def test_missing_or_damaged_files_are_written_again(task: ProjectTask, name: str) -> None:
    task = replace(task, with_maps=True, arrays=("effect", "noise"))
    first = projected(task)
    path = task.stem.with_name(task.stem.name + (name or ".npz"))
    before = path.read_bytes()
    if name:
        path.unlink()
    else:
        path.write_bytes(before[:50])
    again = projected(task)
    assert path.read_bytes() == before
    np.testing.assert_array_equal(again.projections[0].courses, first.projections[0].courses)


def test_maps_can_be_added_later_without_changing_other_results(task: ProjectTask) -> None:
    before = projected(task).projections[0]
    after = projected(replace(task, with_maps=True)).projections[0]
    assert set(after.maps) == {"effect", "z"}
    np.testing.assert_array_equal(after.courses, before.courses)
    np.testing.assert_array_equal(after.map_r, before.map_r)


def test_everything_that_changes_the_result_changes_the_name(
    task: ProjectTask, tmp_path: Path
) -> None:
    cleaning = task.cleaning
    fewer = store_target(components(2), 0.0, tmp_path / "work")
    smoothed = store_target(components(), 4.0, tmp_path / "work")
    band = replace(cleaning, denoising=replace(cleaning.denoising, high_pass=0.01))
    other = replace(cleaning, run=write_run(tmp_path, 1))
    stems = {
        task.stem,
        replace(task, normalise=True).stem,
        replace(task, targets=(fewer,)).stem,
        replace(task, targets=(smoothed,)).stem,
        replace(task, targets=(*task.targets, fewer)).stem,
        replace(task, cleaning=band).stem,
        replace(task, cleaning=other).stem,
    }
    assert len(stems) == 7
    assert replace(task, with_maps=True, arrays=("effect", "noise")).stem == task.stem


def test_the_same_maps_are_stored_once(tmp_path: Path) -> None:
    first = store_target(components(), 0.0, tmp_path)
    written = first.path.stat().st_mtime_ns
    second = store_target(components(), 5.0, tmp_path)
    assert (second.path, second.digest) == (first.path, first.digest)
    assert first.path.stat().st_mtime_ns == written
    assert store_target(components(2), 0.0, tmp_path).path != first.path


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(5000)])
def test_damaged_target_maps_are_written_again(tmp_path: Path, content: bytes) -> None:
    path = store_target(components(), 0.0, tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(content)
    assert store_target(components(), 0.0, tmp_path).path.read_bytes() == whole
    path.write_bytes(whole[:-4] + bytes(4))
    assert store_target(components(), 0.0, tmp_path).path.read_bytes() == whole


# ---------------------------------------------------------------- combined runs
def test_runs_are_combined_by_the_precision_of_their_design(tmp_path: Path) -> None:
    tasks = [
        task_of(
            write_run(tmp_path, seed), tmp_path / "work", with_maps=True, arrays=("effect", "noise")
        )
        for seed in (1, 2)
    ]
    own = [projected(task).projections[0] for task in tasks]
    combining = CombineTask("01", tuple(task.stem for task in tasks), 1, SPACE)
    participant, (combined,) = combine_runs(combining)
    assert participant == "01"
    maps = combined.maps
    stored = [load_effect(task.stem, 0) for task in tasks]
    weights = [1 / noise.factors[noise.correlation].T for _, noise in stored]
    mean = sum(w * effect for w, (effect, _) in zip(weights, stored, strict=True)) / sum(weights)
    np.testing.assert_allclose(read(maps["effect"]), mean, rtol=1e-4, atol=1e-6)
    assert combined.noise.dof == sum(one.noise.dof for one in own if one.noise)
    strength = [np.abs(read(one["z"])).mean() for one in (own[0].maps, own[1].maps, maps)]
    assert strength[2] > 1.2 * max(strength[:2])
    written = maps["z"].stat().st_mtime_ns
    again = combine_runs(combining)[1][0]
    assert again.noise == combined.noise
    assert again.maps["z"].stat().st_mtime_ns == written


# ---------------------------------------------------------------- failures
def test_a_damaged_image_gives_a_failed_run_with_a_reason(task: ProjectTask) -> None:
    task.cleaning.run.files.bold.write_bytes(b"not gzip")
    result = project_run(task)
    assert isinstance(result, FailedRun)
    assert result.key == task.cleaning.run.key
    assert result.reason
    assert result.traceback is None


@pytest.mark.parametrize(
    ("error", "says", "traced"),
    [(MemoryError(), "not enough memory", False), (RuntimeError("odd"), "RuntimeError: odd", True)],
)
def test_other_errors_give_a_failed_run_too(
    task: ProjectTask, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str, traced: bool
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "read_run", broken)
    result = project_run(task)
    assert isinstance(result, FailedRun)
    assert says in result.reason
    assert (result.traceback is not None) == traced
