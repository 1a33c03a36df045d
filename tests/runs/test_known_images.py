"""What is remembered of images, in files of their own and in one for the dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from run_examples import run_of

from nidecomp.core.atomic import exclusive_lock
from nidecomp.core.records import RunKey, UsableRun
from nidecomp.runs.known_images import KnownImages, gather_images, image_identity, remember_image


def run_with_image(root: Path, participant: str, value: int = 1) -> UsableRun:
    path = root / f"sub-{participant}" / "func" / f"sub-{participant}_task-rest_bold.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((2, 2, 2, 3), value, np.int16)
    nib.save(nib.Nifti1Image(values + int(participant), np.eye(4)), path)
    run = run_of(RunKey((("sub", participant), ("task", "rest"))))
    return replace(run, files=replace(run.files, bold=path))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def runs(tmp_path: Path, work: Path) -> list[UsableRun]:
    made = [run_with_image(tmp_path / "in", label) for label in ("01", "02", "03")]
    for run in made:
        remember_image(run.files, run.grid, work)
    return made


def files(work: Path) -> list[Path]:
    return sorted((work / "images").iterdir())


@pytest.mark.parametrize("is_gathered", [False, True])
def test_images_are_known_after_they_were_removed(
    runs: list[UsableRun], tmp_path: Path, work: Path, is_gathered: bool
) -> None:
    root, first = tmp_path / "in", runs[0].files
    identity = image_identity(first, work)
    if is_gathered:
        gather_images(root, work)
        assert len(files(work)) == 1
    first.bold.unlink()
    known = KnownImages(root, work)
    assert first.bold in known
    assert known.get(first.bold).header.grid == runs[0].grid
    others = [run.files.bold for run in runs[1:]]
    assert known.other_than(others) == [first.bold]
    assert known.other_than([first.bold]) == others
    assert image_identity(replace(first, image_is_gone=True), work) == identity
    assert KnownImages(tmp_path / "elsewhere", work).other_than([]) == []


def test_what_was_gathered_is_not_written_again_unless_it_changed(
    runs: list[UsableRun], tmp_path: Path, work: Path
) -> None:
    root = tmp_path / "in"
    gather_images(root, work)
    remember_image(runs[0].files, runs[0].grid, work)
    assert len(files(work)) == 1
    changed = run_with_image(root, "01", 7)
    remember_image(changed.files, changed.grid, work)
    assert len(files(work)) == 2
    for _ in range(2):
        assert KnownImages(root, work).get(changed.files.bold).identity == image_identity(
            changed.files, work
        )
        gather_images(root, work)
        assert len(files(work)) == 1


def test_other_datasets_and_damaged_files_are_left_out(
    runs: list[UsableRun], tmp_path: Path, work: Path
) -> None:
    other = run_with_image(tmp_path / "other", "01")
    remember_image(other.files, other.grid, work)
    ours = [file for file in files(work) if runs[1].files.bold.name in file.read_text()]
    ours[0].write_bytes(b"{")
    gather_images(tmp_path / "in", work)
    assert len(files(work)) == 2
    assert runs[0].files.bold in KnownImages(tmp_path / "in", work)
    (gathered,) = (file for file in files(work) if "_" not in file.name)
    gathered.write_bytes(gathered.read_bytes()[:-3])
    assert KnownImages(tmp_path / "in", work).other_than([]) == []


def test_of_two_that_gather_at_once_one_leaves_it(
    runs: list[UsableRun], tmp_path: Path, work: Path
) -> None:
    with exclusive_lock(work / "images"):
        gather_images(tmp_path / "in", work)
    assert len(files(work)) == 3
    assert runs[0].files.bold in KnownImages(tmp_path / "in", work)


@pytest.mark.parametrize("key", [None, "MD5E-s480--0.nii"])
def test_another_version_of_the_same_size_is_not_known(
    key: str | None, tmp_path: Path, work: Path
) -> None:
    """Uncompressed images have the same size in each version, and unlocked files have no key."""
    run = run_with_image(tmp_path / "in", "01")
    path = run.files.bold.with_suffix("")
    nib.save(nib.load(run.files.bold), path)
    files = replace(run.files, bold=path, annex_key=key)
    remember_image(files, run.grid, work)
    size = path.stat().st_size
    path.write_text("/annex/objects/MD5E-s480--0.nii\n")
    assert (path in KnownImages(tmp_path / "in", work)) == (key is not None)
    path.write_text(f"/annex/objects/MD5E-s{size}--1.nii\n")
    assert path not in KnownImages(tmp_path / "in", work)
