"""A second start uses what is there: files are known by content, and images may be removed."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import FIXTURES, Finished, nidecomp

OPTIONS = ("--n-components", "3", "--n-init", "2", "--methods", "canica")
GONE = "its image is not there any more"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURES / "no_res", tmp_path / "in")


@pytest.fixture
def reduced(dataset: Path) -> Path:
    """Reduce all runs, as the jobs of an array do; return the output folder."""
    output = dataset.with_name("out")
    done = nidecomp(dataset, output, "participant", *OPTIONS)
    assert done.exit_code == 0, done.stderr
    return output


def group(dataset: Path, output: Path, *more: str) -> Finished:
    return nidecomp(dataset, output, "group", *OPTIONS, *more)


def images(dataset: Path) -> Iterator[Path]:
    return dataset.rglob("*_bold.nii.gz")


def times(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in output.rglob("work/reduced/*.npy")}


def maps(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.rglob("tpl-*/func/*components.nii.gz")}


def test_a_file_that_was_copied_again_is_the_same(dataset: Path, reduced: Path) -> None:
    before = times(reduced)
    for path in dataset.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    assert group(dataset, reduced, "--level", "minimal").exit_code == 0
    assert times(reduced) == before
    assert len(before) == 3


def test_images_that_were_removed_are_not_needed_for_the_fit(
    dataset: Path, reduced: Path, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    assert group(dataset, undisturbed, "--level", "minimal").exit_code == 0
    # Jobs have a file for each image, and the first group run puts them together.
    assert len(list((reduced / "work" / "images").iterdir())) == 3
    for path in images(dataset):
        path.unlink()
    for _ in range(2):
        done = group(dataset, reduced, "--level", "minimal")
        assert done.exit_code == 0, done.stderr
        assert len(list((reduced / "work" / "images").iterdir())) == 1
    assert f"3 runs (sub-01_task-rest, sub-02_task-rest, sub-03_task-rest): {GONE}" in done.stderr
    assert maps(reduced) == maps(undisturbed) != {}
    with (reduced / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["status"] for row in rows] == ["used"] * 3
    assert all(GONE in row["notes"] for row in rows)


def test_without_its_image_a_run_is_fitted_and_its_projection_fails(
    dataset: Path, reduced: Path
) -> None:
    next(iter(images(dataset / "sub-02"))).unlink()
    done = group(dataset, reduced)
    assert done.exit_code == 1
    assert f"{GONE}, so that the maps cannot be projected to it" in done.stderr
    assert "Fitting 3 components to 3 runs" in done.stderr
    assert len(list(reduced.glob("sub-*/func/*canica*_timeseries.tsv"))) == 2


def test_other_settings_need_the_image(dataset: Path, reduced: Path, tmp_path: Path) -> None:
    for path in images(dataset):
        path.unlink()
    work = ("--work-dir", str(reduced / "work"))
    done = group(dataset, tmp_path / "other", *work, "--smoothing-fwhm", "3")
    assert done.exit_code == 1
    assert "not reduced with these settings and this group mask before: fetch" in done.stderr


def test_a_participant_who_was_removed_as_a_whole_stays_removed(
    dataset: Path, reduced: Path
) -> None:
    shutil.rmtree(dataset / "sub-02")
    done = group(dataset, reduced, "--level", "minimal")
    assert done.exit_code == 0, done.stderr
    assert "Found 2 runs, 2 of them usable" in done.stderr


@pytest.mark.parametrize(("size", "is_used"), [(None, True), (1, False)])
def test_a_pointer_stands_for_the_version_that_was_reduced(
    dataset: Path, reduced: Path, size: int | None, is_used: bool
) -> None:
    path = next(iter(images(dataset / "sub-02")))
    key = f"MD5E-s{size or path.stat().st_size}--0123456789abcdef.nii.gz"
    path.write_text(f"/annex/objects/{key}\n")
    done = group(dataset, reduced, "--level", "minimal")
    assert done.exit_code == 0, done.stderr
    assert (GONE in done.stderr) == is_used
    assert (f"try 'datalad get {path}'" in done.stderr) == (not is_used)
