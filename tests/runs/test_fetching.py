"""What is known of a run before its image is fetched, and what is checked when it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nidecomp.annex import fetched
from nidecomp.config.science import Denoising
from nidecomp.core.errors import FailedRunError
from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.runs import companions
from nidecomp.runs.companions import fetch_companions
from nidecomp.runs.fetching import (
    as_their_headers_say,
    header_before_it_is_read,
    images_in_words,
    with_image,
)
from nidecomp.runs.inspect import InspectTask, inspect
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import Header
from nidecomp.spaces.voxels import VoxelSpace

N_VOLUMES = 20
NONE = Denoising(denoise_strategy="none")


class Annexed:
    """A run whose image is a link to nothing until it is `fetched`, with the files beside it."""

    def __init__(self, folder: Path) -> None:
        func = folder / "dataset" / "sub-01" / "func"
        func.mkdir(parents=True)
        self.work = folder / "work"
        self.bold = func / "sub-01_task-rest_space-MNI_desc-preproc_bold.nii.gz"
        self.mask = func / "sub-01_task-rest_space-MNI_desc-brain_mask.nii.gz"
        self.table = func / "sub-01_task-rest_desc-confounds_timeseries.tsv"
        self.sidecar = func / "sub-01_task-rest_space-MNI_desc-preproc_bold.json"
        self.content = folder / "annex" / "objects" / "MD5E-s1234--0.nii.gz"
        self.content.parent.mkdir(parents=True)
        self.bold.symlink_to(self.content)
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), self.mask)
        rows = "\n".join(["0.1"] * N_VOLUMES)
        self.table.write_text(f"framewise_displacement\n{rows}\n", encoding="utf-8")
        self.sidecar.write_text(json.dumps({"RepetitionTime": 2.0}), encoding="utf-8")
        self.n_fetched = 0
        self.image = nib.Nifti1Image(np.ones((2, 2, 2, N_VOLUMES), np.int16), np.eye(4))
        self.image.header["pixdim"][4] = 2.0
        self.image.header.set_xyzt_units("mm", "sec")

    @property
    def files(self) -> RunFiles:
        key = RunKey((("sub", "01"), ("task", "rest")))
        files = RunFiles(key, "MNI", None, self.bold, self.mask, self.table)
        return replace(files, sidecars=(self.sidecar,), is_fetched_when_read=True)

    def inspected(self) -> UsableRun:
        before = header_before_it_is_read(self.files, self.work)
        found = inspect(InspectTask(self.files, NONE, 2, before.header if before else None))
        assert isinstance(found, UsableRun), found
        return replace(found, header_is_expected=before is not None and before.is_expected)

    def task(self) -> ReduceTask:
        run = self.inspected()
        assert isinstance(run.grid, Grid)
        space = VoxelSpace(run.grid, np.ones((2, 2, 2), np.bool_), label="MNI")
        return ReduceTask(run, space, NONE, (0.0,), 2, 2, self.work)

    @contextmanager
    def fetched(self, path: Path) -> Iterator[None]:
        assert path == self.bold
        self.n_fetched += 1
        nib.save(self.image, self.content)
        try:
            yield
        finally:
            self.content.unlink()


@pytest.fixture
def annexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Annexed:
    run = Annexed(tmp_path)
    monkeypatch.setattr(fetched, "at_hand", run.fetched)
    return run


def read(task: ReduceTask) -> tuple[UsableRun, bool]:
    return task.run, task.run.files.bold.exists()


def test_the_header_follows_from_the_other_files_until_the_image_was_read(
    annexed: Annexed,
) -> None:
    before = header_before_it_is_read(annexed.files, annexed.work)
    assert before is not None
    assert before.is_expected
    assert before.header == Header(annexed.inspected().grid, N_VOLUMES, 4, None)
    task = annexed.task()
    assert task.run.header_is_expected
    run, was_there = with_image(task, lambda _: False, read)
    assert was_there
    assert not run.header_is_expected
    assert run.stored_bytes == 2
    assert annexed.n_fetched == 1

    # From now on, the header is known, and the image is not needed for what is stored.
    known = annexed.inspected()
    assert known == run
    assert with_image(annexed.task(), lambda _: True, read) == (run, False)
    assert as_their_headers_say([task]) == (run,)
    assert annexed.n_fetched == 1


@pytest.mark.parametrize("lacks", ["mask", "table", "repetition time"])
def test_where_other_files_do_not_say_enough_the_header_is_fetched(
    lacks: str, annexed: Annexed
) -> None:
    files = annexed.files
    match lacks:
        case "mask":
            files = replace(files, mask=None)
        case "table":
            files = replace(files, confounds=None)
        case _:
            annexed.sidecar.write_text("{}", encoding="utf-8")
    before = header_before_it_is_read(files, annexed.work)
    assert annexed.n_fetched == 1
    assert before is not None
    assert before.header.repetition_time_s == 2.0
    assert before.header.stored_bytes == 2


def test_an_image_that_was_fetched_and_cannot_be_used_is_said_to_be_so(
    annexed: Annexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that it is gone: it was dropped again."""
    monkeypatch.setattr(nib, "save", lambda _, path: path.write_bytes(b"no image"))
    before = header_before_it_is_read(replace(annexed.files, mask=None), annexed.work)
    assert before is not None
    assert before.header is None
    assert before.failure.startswith(f"{annexed.bold.name} cannot be read: ")


def test_a_run_whose_mask_cannot_be_fetched_has_failed(
    annexed: Annexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    annexed.mask.unlink()
    annexed.mask.symlink_to(annexed.content.with_name("MD5E-s99--1.nii.gz"))
    monkeypatch.setattr(companions, "check_writable", lambda _: None)
    monkeypatch.setattr(companions, "get", lambda paths: dict.fromkeys(paths, "not available"))
    fetched = fetch_companions([annexed.files])
    assert not fetched.runs
    (failed,) = fetched.failed
    assert failed.reason == f"its file {annexed.mask.name} could not be fetched: not available"

    annexed.mask.unlink()
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), annexed.mask)
    fetched = fetch_companions([replace(annexed.files, is_fetched_when_read=False)])
    assert not fetched.failed
    (files,) = fetched.runs
    assert files == replace(annexed.files, annex_key=annexed.content.name)


def test_nothing_is_expected_of_an_image_that_is_there(annexed: Annexed) -> None:
    with annexed.fetched(annexed.bold):
        before = header_before_it_is_read(annexed.files, annexed.work)
        assert before is not None
        assert not before.is_expected
        assert before.header.stored_bytes == 2


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ("grid", "its image is on another grid than its brain mask"),
        ("volumes", f"has {N_VOLUMES} rows, but its image has {N_VOLUMES + 1} volumes"),
        ("3D", "has 3 dimensions; a BOLD run has 4"),
    ],
)
def test_an_image_that_is_not_as_expected_fails(
    differs: str, reason: str, annexed: Annexed
) -> None:
    task = annexed.task()
    shape: tuple[int, ...] = {
        "grid": (3, 3, 3, N_VOLUMES),
        "volumes": (2, 2, 2, N_VOLUMES + 1),
        "3D": (2, 2, 2),
    }[differs]
    annexed.image = nib.Nifti1Image(np.ones(shape, np.int16), np.eye(4))
    with pytest.raises(FailedRunError, match=reason):
        with_image(task, lambda _: False, read)


def test_notes_are_those_of_an_ordinary_copy(annexed: Annexed) -> None:
    """The header says another repetition time, which is noted."""
    annexed.image.header["pixdim"][4] = 1.0
    task = annexed.task()
    (about_the_mask,) = task.run.notes
    run, _ = with_image(task, lambda _: False, read)
    nib.save(annexed.image, annexed.content)
    ordinary = inspect(InspectTask(replace(annexed.files, is_fetched_when_read=False), NONE, 2))
    assert isinstance(ordinary, UsableRun)
    assert len(ordinary.notes) == 2
    assert about_the_mask in ordinary.notes
    assert run.notes == ordinary.notes
    annexed.content.unlink()
    assert annexed.inspected().notes == ordinary.notes


def test_what_is_fetched_is_said_with_its_size(annexed: Annexed) -> None:
    run = annexed.inspected()
    text = images_in_words([run, run], 1)
    assert text is not None
    assert text.startswith("Fetching: 2 images, 2 kB (2 runs); at most 1 at a time")
    with annexed.fetched(annexed.bold):
        assert images_in_words([run], 1) is None
