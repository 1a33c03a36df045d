"""The reduce step of one run: its results, their names, and failures."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nidecomp.config.science import Denoising
from nidecomp.core.inventory import FailedRun
from nidecomp.core.record_files import write_record
from nidecomp.core.records import ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.core.reduced_runs import find_reduced, read_volumes, remove_old_files
from nidecomp.runs import read as read_module
from nidecomp.runs import reduce as module
from nidecomp.runs import task as task_module
from nidecomp.runs.reduce import cleaned_series, reduce_run, warm_up
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace
from nidecomp.version import LIBRARIES, numerical_versions

SHAPE = (6, 7, 5)
GRID = Grid(SHAPE, tuple(tuple(row) for row in np.diag([4.0, 4, 4, 1]).tolist()))
SPACE = VoxelSpace(GRID, np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
N_VOLUMES = 40
NOTHING = Denoising(denoise_strategy="none")


def write_image(path: Path, seed: int = 0, rank: int = N_VOLUMES) -> None:
    rng = np.random.default_rng(seed)
    courses = rng.standard_normal((rank, N_VOLUMES))
    data = 100 + np.tensordot(rng.standard_normal((*SHAPE, rank)), courses, axes=1)
    nib.save(nib.Nifti1Image(data.astype(np.float32), GRID.matrix), path)


@pytest.fixture
def task(tmp_path: Path) -> ReduceTask:
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
    return ReduceTask(run, SPACE, NOTHING, (0.0,), 5, 5, tmp_path / "work")


def reduced(task: ReduceTask) -> tuple[ReducedRun, ...]:
    """Return the reduced runs of a task that succeeds."""
    result = reduce_run(task)
    assert isinstance(result, tuple), result
    return result


def path_of(task: ReduceTask) -> Path:
    """Return the path of the reduced run with the first smoothing."""
    return task.path(task.smoothing_fwhm[0])


def test_a_second_call_finds_the_first_ones_work(task: ReduceTask) -> None:
    (first,) = reduced(task)
    written = first.path.stat().st_mtime_ns
    assert reduce_run(task) == (first,)
    assert first.path.stat().st_mtime_ns == written


def test_the_record_says_what_lies_in_the_file(task: ReduceTask) -> None:
    (record,) = reduced(task)
    rows = np.load(record.path)
    assert rows.dtype == np.float32
    assert rows.shape == (record.n_rows, record.n_voxels) == (5, SPACE.n_features)
    assert record.path == task.path(0.0)
    assert find_reduced(record.run, task.path(0.0)) == record
    lengths = np.sum(rows.astype(np.float64) ** 2, axis=1)
    np.testing.assert_allclose(record.squared_singular_values, lengths, rtol=1e-4)
    # Each voxel has unit variance over the volumes.
    expected = (N_VOLUMES - 1) * SPACE.n_features
    assert record.total_variance == pytest.approx(expected, rel=1e-5)
    assert (record.n_nonfinite, record.n_constant) == (0, 0)


# ---------------------------------------------------------------- several smoothings
def test_each_smoothing_gives_a_record_in_the_tasks_order(task: ReduceTask) -> None:
    records = reduced(replace(task, smoothing_fwhm=(6.0, 0.0)))
    assert [record.smoothing_fwhm for record in records] == [6.0, 0.0]
    assert len({record.path for record in records}) == 2
    assert len({record.path.read_bytes() for record in records}) == 2


def test_a_smoothing_is_the_same_alone_and_beside_others(task: ReduceTask) -> None:
    together = reduced(replace(task, smoothing_fwhm=(6.0, 0.0)))
    for record in together:
        elsewhere = task.work_dir.with_name(f"alone_{record.smoothing_fwhm:g}")
        (alone,) = reduced(
            replace(task, smoothing_fwhm=(record.smoothing_fwhm,), work_dir=elsewhere)
        )
        assert alone.path.name == record.path.name
        assert alone.path.read_bytes() == record.path.read_bytes()
        assert replace(alone, path=record.path) == record


def test_all_smoothings_come_from_one_read(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smoothing that exists already is not computed again."""
    asked: list[tuple[float, ...]] = []
    read = VoxelSpace.read_packed

    def counted(*given: object) -> object:
        asked.append(given[-1])  # type: ignore[arg-type]  # the smoothings
        return read(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(VoxelSpace, "read_packed", counted)
    (first,) = reduced(task)
    records = reduced(replace(task, smoothing_fwhm=(4.0, 0.0, 6.0)))
    assert records[1] == first
    assert reduced(replace(task, smoothing_fwhm=(6.0, 4.0))) == (records[2], records[0])
    assert asked == [(0.0,), (4.0, 6.0)]


def test_the_smoothings_beside_one_are_not_in_its_name(task: ReduceTask) -> None:
    both = replace(task, smoothing_fwhm=(0.0, 6.0))
    assert both.path(0.0) == task.path(0.0) != both.path(6.0)
    # The smoothing of the settings is ignored; the task has its own.
    other = replace(NOTHING, smoothing_fwhm=3.0, dictlearning_smoothing_fwhm=9.0)
    assert replace(task, denoising=other).path(0.0) == task.path(0.0)


def test_cleaned_series_are_read_and_cleaned_at_each_smoothing(task: ReduceTask) -> None:
    found = cleaned_series(task, (0.0, 6.0))
    assert list(found.cleaned) == [0.0, 6.0]
    assert len(found.read.design.kept) == N_VOLUMES
    assert (found.read.n_nonfinite, found.read.empty) == (0, ())
    assert found.read.run is task.run
    for result in found.cleaned.values():
        assert result.series.shape == (N_VOLUMES, SPACE.n_features)
    assert not np.array_equal(found.cleaned[0.0].series, found.cleaned[6.0].series)


# ---------------------------------------------------------------- volumes without signal
def empty_volumes(task: ReduceTask, volumes: tuple[int, ...]) -> None:
    """Make volumes of a task's image as those of a scanner that was stopped, or of a padded run."""
    data = np.asarray(nib.load(task.run.files.bold).dataobj).copy()
    for index, volume in enumerate(volumes):
        data[..., volume] = (0.0, 55.0, np.nan)[index % 3]
    nib.save(nib.Nifti1Image(data, GRID.matrix), task.run.files.bold)


def test_volumes_without_signal_are_dropped_and_the_run_says_so(task: ReduceTask) -> None:
    task = replace(task, denoising=replace(NOTHING, dummy_scans=1), smoothing_fwhm=(0.0, 6.0))
    task = replace(task, run=replace(task.run, kept=tuple(range(1, N_VOLUMES))))
    empty = (0, 7, 8, N_VOLUMES - 1)
    empty_volumes(task, empty)
    for record in reduced(task):
        assert record.empty == (7, 8, N_VOLUMES - 1)
        assert record.run.kept == tuple(set(range(N_VOLUMES)) - set(empty))
        assert record.run.n_regressors == 2
        assert record.run.dropped == (("empty", 3),)
        assert record.run.notes == (
            "volumes without signal (all values in the brain are the same) were dropped",
        )
        assert record.n_nonfinite == 0
        # Each voxel has unit variance over the volumes that are left.
        expected = (record.run.n_kept - 1) * SPACE.n_features
        assert record.total_variance == pytest.approx(expected, rel=1e-5)
        volumes = read_volumes(record)
        assert volumes.times_s.tolist() == [2.0 * volume for volume in record.run.kept]
        assert len(volumes.rows) == record.run.n_kept
        # As it was before it was read, or known already.
        path = task.path(record.smoothing_fwhm)
        assert find_reduced(task.run, path) == find_reduced(record.run, path) == record
    assert reduce_run(task) == reduced(task)


def test_what_is_left_is_what_a_run_scrubbed_there_has(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = (0, 11, 12, 30)
    build = read_module.build_nuisance_model
    with monkeypatch.context() as patch:
        patch.setattr(
            read_module,
            "build_nuisance_model",
            lambda *of_run, **_: build(*of_run, also_dropped=empty),
        )
        expected = cleaned_series(task, (0.0, 6.0))
    empty_volumes(task, empty)
    found = cleaned_series(task, (0.0, 6.0))
    np.testing.assert_array_equal(found.read.design.kept, expected.read.design.kept)
    np.testing.assert_array_equal(found.read.design.nuisance, expected.read.design.nuisance)
    for fwhm, cleaned in found.cleaned.items():
        assert cleaned.series.tobytes() == expected.cleaned[fwhm].series.tobytes()


def test_a_run_of_which_more_than_half_has_no_signal_fails(task: ReduceTask) -> None:
    empty_volumes(task, tuple(range(20, N_VOLUMES)))
    assert reduced(task)[0].run.n_kept == 20
    empty_volumes(task, tuple(range(19, N_VOLUMES)))
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert result.reason == (
        "21 of the 40 volumes to be used have no signal (all values in the brain are the same): "
        "bold.nii.gz is incomplete or was padded"
    )


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_run_with_too_few_volumes_with_signal_fails(task: ReduceTask, is_stored: bool) -> None:
    empty_volumes(task, tuple(range(25, N_VOLUMES)))
    if is_stored:
        # The number of volumes that are required is not in the name.
        assert reduced(task)[0].run.n_kept == 25
    result = reduce_run(replace(task, denoising=replace(NOTHING, min_volumes=26)))
    assert isinstance(result, FailedRun)
    assert result.reason == (
        "25 of its 40 volumes are left, fewer than --min-volumes 26: 15 have no signal (all "
        "values in the brain are the same)"
    )


def test_a_run_with_too_few_degrees_of_freedom_left_fails(task: ReduceTask) -> None:
    empty_volumes(task, tuple(range(25, N_VOLUMES)))
    result = reduce_run(replace(task, n_rows=48, n_required=24))
    assert isinstance(result, FailedRun)
    assert result.reason == (
        "it is too short: 25 of its 40 volumes are left; minus 2 regressors, 23 degrees of freedom "
        "remain, but --n-components requires 24: 15 have no signal (all values in the brain are "
        "the same)"
    )


# ---------------------------------------------------------------- names
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "of another kind": lambda _: b"{}",
    "without its last byte": lambda whole: whole[:-1],
    "without its record": lambda whole: whole[: whole.index(b"PK")],
    "with another record": lambda whole: whole[: whole.index(b"PK")] + other_record(),
    # After a power cut, a file may have its full length, but end with zeros.
    "with zeros at its end": lambda whole: whole[: len(whole) // 2].ljust(len(whole), b"\0"),
    "with a changed row": lambda whole: changed_at(whole, whole.index(b"PK") - 5),
    "with a changed number": lambda whole: changed_at(whole, whole.index(b"n_nonfinite") + 13),
    "with rows only": lambda whole: whole[: whole.index(b"\n") + 1 + 4 * 5 * SPACE.n_features],
    "with rows of another shape": lambda whole: whole.replace(b"(5, ", b"(1, ", 1),
    "with rows of another type": lambda whole: whole.replace(b"<f4", b"<i4", 1),
}


def changed_at(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


def other_record() -> bytes:
    file = io.BytesIO()
    write_record(file, {"checksum": 0})
    return file.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_work_is_done_again(task: ReduceTask, damage: str) -> None:
    (first,) = reduced(task)
    whole = first.path.read_bytes()
    damaged = DAMAGES[damage](whole)
    assert damaged != whole
    first.path.write_bytes(damaged)
    assert find_reduced(first.run, path_of(task)) is None
    assert reduce_run(task) == (first,)
    assert first.path.read_bytes() == whole


def test_rows_are_mapped_and_not_read(task: ReduceTask) -> None:
    (record,) = reduced(task)
    rows = np.load(record.path, mmap_mode="r")
    assert isinstance(rows, np.memmap)
    assert record.path.stat().st_size > rows.offset + rows.nbytes
    np.testing.assert_array_equal(rows, np.load(record.path))


def test_files_of_earlier_versions_are_removed(task: ReduceTask) -> None:
    (record,) = reduced(task)
    for ending in (".npy", ".npz", ".json"):
        (record.path.parent / f"sub-01_task-rest_0{ending}").touch()
    assert remove_old_files(task.work_dir) == 3
    assert list(record.path.parent.iterdir()) == [record.path]
    assert remove_old_files(task.work_dir / "elsewhere") == 0


def test_everything_that_decides_the_numbers_is_in_the_name(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_mask = np.ones(SHAPE, dtype=bool)
    other_mask[0, 0, 0] = False
    names = {path_of(task)}
    for changed in (
        replace(task, n_rows=6),
        replace(task, smoothing_fwhm=(5.0,)),
        replace(task, denoising=replace(NOTHING, dummy_scans=1)),
        replace(task, space=VoxelSpace(GRID, other_mask, "MNI152NLin2009cAsym")),
        replace(task, run=replace(task.run, repetition_time_s=2.5)),
    ):
        assert path_of(changed) not in names
        names.add(path_of(changed))
    write_image(task.run.files.bold, seed=1)
    assert path_of(task) not in names
    names.add(path_of(task))
    monkeypatch.setattr(task_module, "numerical_versions", lambda: {"numpy": "99"})
    assert path_of(task) not in names


def test_the_libraries_that_decide_the_numbers_are_all_named() -> None:
    assert set(numerical_versions()) == set(LIBRARIES) - {"pybids", "tfce"}
    assert {"isal", "numba", "numpy", "nibabel", "nilearn"} <= set(LIBRARIES)


def test_what_only_decides_which_runs_are_used_is_not_in_the_name(task: ReduceTask) -> None:
    stricter = replace(NOTHING, min_volumes=30, mean_fd_cutoff=0.5)
    assert path_of(replace(task, denoising=stricter, n_required=3)) == path_of(task)


def test_the_same_run_gives_the_same_bytes_in_another_process(task: ReduceTask) -> None:
    """Results do not depend on the process: threads, summation order and compiled loops."""
    (here,) = reduced(task)
    elsewhere = replace(task, work_dir=task.work_dir.with_name("elsewhere"))
    pickled = task.work_dir / "task.pickle"
    pickled.write_bytes(pickle.dumps(elsewhere))
    code = (
        "import pickle, sys; from pathlib import Path; "
        "from nidecomp.runs.reduce import reduce_run; "
        "reduce_run(pickle.loads(Path(sys.argv[1]).read_bytes()))"
    )
    subprocess.run([sys.executable, "-c", code, str(pickled)], check=True, timeout=120)
    there = find_reduced(here.run, elsewhere.path(0.0))
    assert there is not None
    assert there.path.read_bytes() == here.path.read_bytes()
    assert replace(there, path=here.path) == here


def test_warming_up_compiles_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warm_up()
    assert not list(tmp_path.iterdir())
    assert pickle.loads(pickle.dumps(warm_up)) is warm_up  # noqa: S301  our own bytes


# ---------------------------------------------------------------- runs that fail
def test_a_run_of_too_few_dimensions_fails_with_their_number(task: ReduceTask) -> None:
    """Otherwise rounding errors, scaled to unit norm, would become components."""
    write_image(task.run.files.bold, rank=3)
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert "have only 3 dimensions" in result.reason


def test_a_run_with_fewer_dimensions_than_rows_is_used_with_all_it_has(task: ReduceTask) -> None:
    write_image(task.run.files.bold, rank=7)
    (record,) = reduced(replace(task, n_rows=10))
    assert record.n_rows == len(record.squared_singular_values) == 7
    rows, volumes = np.load(record.path), read_volumes(record).rows
    assert (rows.shape, volumes.shape) == ((7, SPACE.n_features), (N_VOLUMES, 7))
    assert record.variance_share(10) == pytest.approx(1.0, rel=1e-5)
    assert reduce_run(replace(task, n_rows=10)) == (record,)
    # They are its leading ones: fewer rows are the first of them.
    (fewer,) = reduced(replace(task, n_rows=6))
    np.testing.assert_allclose(np.load(fewer.path), rows[:6], rtol=1e-4, atol=1e-4)
    assert fewer.squared_singular_values == record.squared_singular_values[:6]


def test_a_short_run_has_at_most_its_degrees_of_freedom(task: ReduceTask) -> None:
    (record,) = reduced(replace(task, n_rows=2 * N_VOLUMES))
    assert record.n_rows == task.run.degrees_of_freedom == N_VOLUMES - 2


def test_stored_rows_that_are_fewer_than_are_now_required_are_refused(task: ReduceTask) -> None:
    """For five components, ten rows are stored if there are as many; so are for ten with one each.

    The number that is required is not in the name.
    """
    write_image(task.run.files.bold, rank=7)
    for_five, for_ten = (replace(task, n_rows=10, n_required=n) for n in (5, 10))
    assert path_of(for_five) == path_of(for_ten)
    (record,) = reduced(for_five)
    assert record.n_rows == 7
    refused = reduce_run(for_ten)
    assert isinstance(refused, FailedRun)
    assert refused.reason == (
        "its cleaned data have only 7 dimensions (was it denoised before?), but 10 are required: "
        "decrease --n-components, or --max-components if --n-components is auto"
    )
    assert reduce_run(replace(for_ten, n_required=7)) == (record,)
    # What is refused in the same words if nothing was stored.
    elsewhere = replace(for_ten, work_dir=task.work_dir.with_name("elsewhere"))
    assert reduce_run(elsewhere) == refused
    assert not list(elsewhere.work_dir.rglob("*.npy"))


def test_a_file_that_changes_while_it_is_read_fails(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = VoxelSpace.read_packed

    def replaced_meanwhile(*arguments: object) -> object:
        result = read(*arguments)
        write_image(task.run.files.bold, seed=2)
        return result

    monkeypatch.setattr(VoxelSpace, "read_packed", replaced_meanwhile)
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert "changed while it was processed" in result.reason
    assert not list(task.work_dir.rglob("*.npy"))


def test_a_brain_without_signal_fails(task: ReduceTask) -> None:
    nib.save(
        nib.Nifti1Image(np.full((*SHAPE, N_VOLUMES), 7.0, dtype=np.float32), GRID.matrix),
        task.run.files.bold,
    )
    for smoothings in ((0.0,), (0.0, 6.0)):
        result = reduce_run(replace(task, smoothing_fwhm=smoothings))
        assert isinstance(result, FailedRun)
        assert "have no signal" in result.reason


def test_voxels_without_data_are_counted_whatever_the_smoothing(task: ReduceTask) -> None:
    """Smoothing would give them the signal of their neighbours. Most of them: the run fails."""
    image = nib.load(task.run.files.bold)
    data = np.asarray(image.dataobj).copy()
    data[..., 4:, :] = 0
    nib.save(nib.Nifti1Image(data, image.affine), task.run.files.bold)
    cut = int(np.count_nonzero(SPACE.mask[..., 4:]))
    both = reduced(replace(task, smoothing_fwhm=(0.0, 9.0)))
    assert [record.n_constant for record in both] == [cut, cut]
    for record in both:
        rows = SPACE.image(np.load(record.path)).get_fdata()
        assert rows[..., 3, :].any()
        assert not rows[..., 4:, :].any()
    data[..., 2:, :] = 0
    nib.save(nib.Nifti1Image(data, image.affine), task.run.files.bold)
    result = reduce_run(replace(task, smoothing_fwhm=(9.0,)))
    assert isinstance(result, FailedRun)
    assert "in the group mask have no signal" in result.reason


def test_a_file_that_is_cut_off_fails_without_a_traceback(task: ReduceTask) -> None:
    bold = task.run.files.bold
    bold.write_bytes(bold.read_bytes()[:-100])
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert "cut off" in result.reason
    assert result.traceback is None
    assert not list(task.work_dir.rglob("*"))


def test_a_run_that_lost_volumes_since_it_was_inspected_fails(task: ReduceTask) -> None:
    image = nib.load(task.run.files.bold)
    shorter = np.asarray(image.dataobj)[..., :-5]
    nib.save(nib.Nifti1Image(shorter, GRID.matrix), task.run.files.bold)
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert f"has {N_VOLUMES - 5} volumes" in result.reason


def test_too_little_memory_is_told_in_a_sentence(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(VoxelSpace, "read_packed", greedy)
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert "not enough memory" in result.reason


def test_an_error_that_nobody_foresaw_is_a_record_with_its_traceback(
    task: ReduceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(module, "cleaned_gram", broken)
    result = reduce_run(task)
    assert isinstance(result, FailedRun)
    assert result.reason == "ZeroDivisionError: by accident"
    assert "Traceback" in (result.traceback or "")
