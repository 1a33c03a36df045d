"""Reduced runs of other sites are read with care."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from option_examples import build
from run_examples import run_of

from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.core.records import ReducedRun, RunKey, UsableRun
from nidecomp.core.reduced_runs import RunVolumes, store_reduced
from nidecomp.runs.sites import NOTE, about_reduced, find_runs_of_site, refuse_other_spaces
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

GRID = Grid((2, 2, 2), tuple(tuple(row) for row in np.eye(4).tolist()))
SPACE = VoxelSpace(GRID, np.ones((2, 2, 2), dtype=bool), "MNI152NLin2009cAsym")
KEY = RunKey((("sub", "01"), ("task", "rest")))


def settings(**options: object) -> Settings:
    given = {"mask": "m.nii.gz", "denoise_strategy": "none", "n_components": 2, **options}
    return build(**given)


def store(
    root: Path, change: dict[str, Any] | None = None, *, name: str = "a", **options: object
) -> UsableRun:
    """Store a run as a site does, after a change of what is said about it."""
    run, asked = run_of(KEY), settings(**options)
    run = replace(run, files=replace(run.files, desc="preproc"))
    science = asked.science
    task = ReduceTask(run, SPACE, science.denoising, (6.0,), 4, 2, root)
    path = root / "reduced" / f"{run.label}_{name}.npy"
    path.parent.mkdir(exist_ok=True)
    reduced = ReducedRun(run, path, 6.0, 4, 8, 10.0, (4.0, 3.0, 2.0, 1.0), 0, 0)
    volumes = RunVolumes(np.zeros((100, 4), np.float32), np.zeros(100), np.zeros((100, 0)))
    about = {**about_reduced(task, 6.0), **(change or {})}
    store_reduced(reduced, np.zeros((4, 8), np.float32), volumes, about)
    return run


def test_a_run_is_what_it_was_at_its_site(tmp_path: Path) -> None:
    run = store(tmp_path)
    (found,) = find_runs_of_site(tmp_path, settings()).used
    same = replace(found, files=run.files, notes=run.notes)
    assert same == run
    assert found.notes == (*run.notes, NOTE)
    assert found.key == KEY
    task = ReduceTask(found, SPACE, settings().science.denoising, (6.0,), 4, 2, Path("elsewhere"))
    assert task.path(6.0) == tmp_path / "reduced" / f"{KEY.label}_a.npy"


def test_of_several_files_of_a_run_that_with_these_settings_is_taken(tmp_path: Path) -> None:
    store(tmp_path, name="a", dummy_scans=3)
    store(tmp_path, name="b")
    (found,) = find_runs_of_site(tmp_path, settings()).used
    assert [one.path.name for one in found.files.stored] == [f"{KEY.label}_b.npy"]


@pytest.mark.parametrize(
    ("selected", "number"),
    [({"task_id": "rest"}, 1), ({"participant_label": "01"}, 1), ({"space": "MNI152Lin"}, 0)],
)
def test_runs_are_selected_by_their_entities(
    tmp_path: Path, selected: dict[str, object], number: int
) -> None:
    store(tmp_path)
    # A damaged file is refused in any case.
    (tmp_path / "reduced" / "sub-02_task-rest_x.npy").write_bytes(b"")
    found = find_runs_of_site(tmp_path, settings(**selected))
    assert (len(found.used), len(found.refused)) == (number, 1)
    assert found.refused[0].key.label == "sub-02_task-rest"


@pytest.mark.parametrize(
    "change",
    [
        {"entities": (("sub", "../../away"), ("task", "rest"))},
        {"entities": (("sub", "01"),)},
        {"entities": (("sub", "01"), ("task", "rest"), ("odd", "1"))},
        {"space": "MNI/../..", "entities": (("sub", "01"), ("task", "rest"))},
        {"entities": None},
        {"settings": {}},
    ],
)
def test_a_file_that_says_something_impossible_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    store(tmp_path, change)
    (refused,) = find_runs_of_site(tmp_path, settings()).refused
    assert refused.reason == "its file is damaged, or too old"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"high_pass": 0.01}, "high_pass was None and is 0.01"),
        ({"smoothing_fwhm": 4}, "smoothing_fwhm was 6 and is 4"),
        ({"n_components": 3}, "it has at most 4 principal components"),
        ({"min_volumes": 200}, "100 of its 100 volumes are left, fewer than --min-volumes 200"),
        ({"mean_fd_cutoff": 0.05}, "0.05"),
    ],
)
def test_what_differs_is_told(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    store(tmp_path)
    (refused,) = find_runs_of_site(tmp_path, settings(**options)).refused
    assert reason in refused.reason


def test_rows_in_another_space_are_refused(tmp_path: Path) -> None:
    store(tmp_path)
    found = find_runs_of_site(tmp_path, settings())
    assert refuse_other_spaces(found, SPACE) == found
    inside = np.ones((2, 2, 2), dtype=bool)
    inside[0, 0, 0] = False
    other = refuse_other_spaces(found, VoxelSpace(GRID, inside, SPACE.label))
    assert (other.used, len(other.refused)) == ((), 1)


def test_template_maps_need_images(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(UsageError, match="no images that --maps could be projected to"):
        find_runs_of_site(tmp_path, settings(maps="maps"))
