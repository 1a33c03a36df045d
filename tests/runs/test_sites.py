"""Reduced runs of other sites are read with care."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from option_examples import build
from run_examples import run_of

from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.inventory import FailedRun, Inventory
from nidecomp.core.records import ReducedRun, RunKey, UsableRun
from nidecomp.core.reduced_runs import RunVolumes, store_reduced
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.reduce import reduce_run
from nidecomp.runs.sites import NOTE, about_reduced, find_runs_of_site, refuse_other_spaces
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace
from nidecomp.start import check_request

GRID = Grid((2, 2, 2), tuple(tuple(row) for row in np.eye(4).tolist()))
SPACE = VoxelSpace(GRID, np.ones((2, 2, 2), dtype=bool), "MNI152NLin2009cAsym")
KEY = RunKey((("sub", "01"), ("task", "rest")))


def settings(**options: object) -> Settings:
    given = {"mask": "m.nii.gz", "denoise_strategy": "none", "n_components": 2, **options}
    return build(**given)


def store(
    root: Path,
    change: dict[str, Any] | None = None,
    *,
    key: RunKey = KEY,
    file: str = "",
    name: str = "a",
    space: VoxelSpace = SPACE,
    n_rows: int = 4,
    largest: float = 4.0,
    n_dropped: int = 0,
    **options: object,
) -> UsableRun:
    """Store a run as a site does, after a change of what is said about it."""
    run, asked = run_of(key), settings(**options)
    files = replace(run.files, desc="preproc", space=space.label)
    run = replace(run, files=files, grid=space.grid, kept=tuple(range(n_dropped, 100)))
    science = asked.science
    task = ReduceTask(run, space, science.denoising, (6.0,), n_rows, 2, root)
    path = root / "reduced" / f"{file or run.label}_{name}.npy"
    path.parent.mkdir(exist_ok=True)
    squared = (largest, 3.0, 2.0, 1.0, 0.5)[:n_rows]
    reduced = ReducedRun(run, path, 6.0, n_rows, 8, 10.0, squared, 0, 0)
    volumes = RunVolumes(
        np.zeros((run.n_kept, n_rows), np.float32), 2.0 * np.array(run.kept), np.zeros((100, 0))
    )
    about = {**about_reduced(task, 6.0), **(change or {})}
    store_reduced(reduced, np.zeros((n_rows, 8), np.float32), volumes, about)
    return run


def other(*, label: str = SPACE.label, shift: float = 0.0) -> VoxelSpace:
    """A space with another mask, and perhaps of another template or on another grid."""
    inside = np.ones((2, 2, 2), dtype=bool)
    inside[0, 0, 0] = False
    affine = np.eye(4)
    affine[0, 3] = shift
    return VoxelSpace(replace(GRID, affine=tuple(map(tuple, affine.tolist()))), inside, label)


def another() -> VoxelSpace:
    inside = np.zeros((2, 2, 2), dtype=bool)
    inside[0, 0, 0] = True
    return VoxelSpace(GRID, inside, SPACE.label)


def fitting(root: Path, to: VoxelSpace = SPACE, **options: object) -> Inventory:
    return refuse_other_spaces(find_runs_of_site(root, settings(**options)), to)


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
    elsewhere = refuse_other_spaces(found, other())
    assert (elsewhere.used, len(elsewhere.refused)) == ((), 1)


# ---------------------------------------------------------------- several files of one run
def test_files_of_one_run_that_were_made_from_different_files_are_refused(tmp_path: Path) -> None:
    store(tmp_path, name="a")
    # Its confounds were changed, and it was reduced again.
    store(tmp_path, name="b", largest=4.1)
    found = fitting(tmp_path)
    (refused,) = found.refused
    assert found.used == ()
    assert refused.reason == (
        "two reduced runs with these settings were made from different files: delete the older one "
        f"({KEY.label}_a.npy, {KEY.label}_b.npy)"
    )


def test_of_files_with_the_same_data_that_with_most_rows_is_taken(tmp_path: Path) -> None:
    store(tmp_path, name="a")
    # What other versions of libraries change.
    store(tmp_path, name="b", n_rows=5, largest=4.0 + 1e-6)
    (found,) = fitting(tmp_path).used
    assert [one.path.name for one in found.files.stored] == [f"{KEY.label}_b.npy"]
    assert found.files.bold == found.files.stored[0].path


def test_of_a_run_in_several_spaces_that_of_the_mask_is_taken(tmp_path: Path) -> None:
    store(tmp_path, name="a", n_dropped=3)
    store(tmp_path, name="b", space=other())
    for space, n_kept, name in ((SPACE, 97, "a"), (other(), 100, "b")):
        found = fitting(tmp_path, space)
        assert [(run.n_kept, run.files.bold.name) for run in found.used] == [
            (n_kept, f"{KEY.label}_{name}.npy")
        ]
        assert found.refused == ()


def test_a_run_with_several_masks_counts_once_for_the_grid_of_most_runs(tmp_path: Path) -> None:
    shifted = replace(SPACE, grid=other(shift=1.0).grid)
    for number, spaces in enumerate(((SPACE, other(), another()), (shifted,), (shifted,))):
        for space in spaces:
            key = RunKey((("sub", f"{number}"), ("task", "rest")))
            store(tmp_path, key=key, name=space.digest[:5], space=space)
    mask = tmp_path / "mask.nii.gz"
    nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_filename(mask)
    given = settings(mask=mask)
    found = find_runs_of_site(tmp_path, given)
    assert len(found.used) == 5
    space, shared = share_space(found, given.science.masking, None)
    assert isinstance(space, VoxelSpace)
    assert space.grid == shifted.grid
    assert [run.key.get("sub") for run in shared.used if run.resampled] == ["0"] * 3


def test_a_run_that_was_reduced_on_two_grids_was_made_from_different_files(tmp_path: Path) -> None:
    store(tmp_path, name="a")
    store(tmp_path, name="b", space=other(shift=1.0))
    (refused,) = find_runs_of_site(tmp_path, settings()).refused
    assert "were made from different files" in refused.reason


def test_each_file_is_selected_and_not_each_run(tmp_path: Path) -> None:
    labels = (SPACE.label, "MNI152NLin6Asym")
    spaces = dict(zip(labels, (SPACE, other(label=labels[1])), strict=True))
    for number in ("01", "02", "03"):
        for name, label in zip("ab" if number != "02" else "ba", labels, strict=True):
            key = RunKey((("sub", number), ("task", "rest")))
            store(tmp_path, key=key, name=name, space=spaces[label])
    for label, space in spaces.items():
        found = fitting(tmp_path, space, space=label)
        assert [run.files.space for run in found.used] == [label] * 3
        assert (found.refused, found.unmatched) == ((), ())


def test_runs_of_several_resolutions_are_not_pooled(tmp_path: Path) -> None:
    for name, res in (("a", "1"), ("b", "2")):
        store(tmp_path, {"res": res}, name=name)
    with pytest.raises(UsageError, match="several resolutions"):
        find_runs_of_site(tmp_path, settings())
    assert len(fitting(tmp_path, res="2").used) == 1


# ---------------------------------------------------------------- who is used
def test_a_file_that_was_renamed_is_refused(tmp_path: Path) -> None:
    """The label inside would be used, and be no label that the participant can be excluded by."""
    store(tmp_path, file="sub-PX1_task-rest")
    (refused,) = find_runs_of_site(tmp_path, settings()).refused
    assert refused.key.label == "sub-PX1_task-rest"
    assert refused.reason.startswith("its file was renamed, but labels are inside the file")


@pytest.mark.parametrize(
    ("selected", "reason", "is_deselected"),
    [
        ({"participant_label": "01"}, "not selected by --participant-label or", True),
        ({"exclude_participant_label": "02"}, "excluded by --exclude-participant-label", True),
        ({"task_id": "rest"}, "its reduced runs (2) do not match the selection: task is ", False),
    ],
)
def test_participants_without_a_selected_run_are_told(
    tmp_path: Path, selected: dict[str, object], reason: str, is_deselected: bool
) -> None:
    store(tmp_path)
    for task in ("movie", "nback"):
        store(tmp_path, key=RunKey((("sub", "02"), ("task", task))))
    found = find_runs_of_site(tmp_path, settings(**selected))
    assert [run.label for run in found.used] == [KEY.label]
    (absent,) = found.unmatched
    assert (absent.name, absent.is_deselected) == ("sub-02", is_deselected)
    assert absent.reason.startswith(reason)


def test_a_label_that_nobody_has_is_told(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(NothingToDoError, match="--exclude-participant-label 1O: no image"):
        find_runs_of_site(tmp_path, settings(exclude_participant_label="1O"))


def test_damaged_rows_are_asked_for_again(tmp_path: Path) -> None:
    store(tmp_path)
    path = tmp_path / "reduced" / f"{KEY.label}_a.npy"
    content = bytearray(path.read_bytes())
    content[130] ^= 1
    path.write_bytes(content)
    (run,) = fitting(tmp_path).used
    failed = reduce_run(
        ReduceTask(run, SPACE, settings().science.denoising, (6.0,), 4, 2, tmp_path)
    )
    assert isinstance(failed, FailedRun)
    assert failed.reason == (
        f"its reduced run is damaged: ask for the file again ({KEY.label}_a.npy)"
    )


# ---------------------------------------------------------------- what is wrong with the command
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": None}, "give the --mask that they were reduced with"),
        ({"maps": "maps"}, "no images that --maps could be projected to"),
    ],
)
def test_what_no_site_can_be_used_with_stops_the_command(
    tmp_path: Path, options: dict[str, object], said: str
) -> None:
    """With other datasets, too, whose fit would go on without any site."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    store(tmp_path)
    given = {"datasets": {"S": str(tmp_path)}, **options}
    asked = replace(settings(**given), bids_dir=images, output_dir=tmp_path.parent / "out")
    with pytest.raises(UsageError, match=said):
        check_request(asked)
