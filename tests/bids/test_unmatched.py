"""Nobody vanishes: every participant's folder is used, refused or said not to match."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from bids_trees import bold, make, make_runs, search, stem

from nidecomp.bids.index import find_runs
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError, UsageError


def reasons(root: Path, **selection: object) -> dict[str, str]:
    return {one.name: one.reason for one in search(root, **selection).unmatched}


def people(root: Path) -> Path:
    """Make a dataset in which sub-01 has a run, and six others have none."""
    make_runs(root, stem("01"))
    make_runs(root, stem("02"), space="T1w")
    make_runs(root, stem("03", task="nback"))
    make(root, "sub-04/anat/sub-04_T1w.nii.gz", "sub-05/func/sub-05_task-rest_events.tsv")
    (root / "sub-06").mkdir()
    (root / "sub-07").symlink_to("nowhere")
    make(root, "sub-A_04/func/sub-A_04_task-rest_bold.nii.gz", "sub-08.html")
    return root


def test_every_folder_has_a_line_with_its_reason(tmp_path: Path) -> None:
    found = reasons(people(tmp_path), task_id=("rest",))
    assert found == {
        "sub-02": "its BOLD images (1) do not match the selection: space is T1w",
        "sub-03": "its BOLD images (1) do not match the selection: task is nback",
        "sub-04": "it has no func folder",
        "sub-05": "it has no *_bold.nii.gz in its func folder",
        "sub-06": "its folder is empty (if it is a DataLad subdataset, install it with 'datalad "
        f"get -n {tmp_path / 'sub-06'}')",
        "sub-07": "it is a link to a folder that does not exist",
        "sub-A_04": "the label in its name may have letters and digits only: rename the folder "
        "'sub-A_04' and its files",
    }


def test_those_who_were_not_asked_for_are_listed_as_such(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"), stem("02"), stem("03"))
    assert reasons(tmp_path, participant_label=("01",), exclude_participant_label=("02",)) == {
        "sub-02": "excluded by --exclude-participant-label",
        "sub-03": "not selected by --participant-label or --bids-filter-file",
    }
    (tmp_path / "sub-04").mkdir()
    found = search(tmp_path, exclude_participant_label=("02", "04")).unmatched
    assert [(one.name, one.is_deselected) for one in found] == [("sub-02", True), ("sub-04", True)]


def test_names_before_fmriprep_1_2_are_too_old(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"))
    make(tmp_path, "sub-02/func/sub-02_task-rest_bold_space-MNI152NLin2009cAsym_preproc.nii.gz")
    assert "which is too old" in reasons(tmp_path)["sub-02"]


def test_a_misnamed_session_is_listed(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01", ses="1"))
    make(tmp_path, "sub-01/ses-1_old/func/sub-01_ses-1_task-rest_bold.nii.gz")
    assert list(reasons(tmp_path)) == ["sub-01_ses-1_old"]


def test_naming_somebody_without_a_matching_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError) as caught:
        search(people(tmp_path), participant_label=("01", "02", "04"))
    assert str(caught.value) == (
        "--participant-label 02 04: no run matches the selection:\n"
        "  sub-02: its BOLD images (1) do not match the selection: space is T1w\n"
        "  sub-04: it has no func folder"
    )


def test_a_task_that_only_another_space_has_is_an_error(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"))
    make_runs(tmp_path, stem("01", task="nback"), space="T1w")
    with pytest.raises(NothingToDoError, match="--task-id nback: no image with this task matches"):
        search(tmp_path, task_id=("rest", "nback"))


def test_a_task_that_one_participant_has_not_is_no_error(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"), stem("02"), stem("02", task="nback"))
    found = search(tmp_path, participant_label=("01",), task_id=("rest", "nback"))
    assert [run.key.label for run in found.runs] == ["sub-01_task-rest"]


# ---------------------------------------------------------------- spaces of their own
@pytest.mark.parametrize("space", ["T1w", "fsnative", "anat", "func", "boldref"])
def test_a_space_of_each_participant_is_not_pooled(tmp_path: Path, space: str) -> None:
    make_runs(tmp_path, stem("01"), stem("02"), space=space)
    with pytest.raises(UsageError, match=f"space-{space} is each .* own space"):
        search(tmp_path, space=space)
    found = search(tmp_path, space=space, participant_label=("02",))
    assert [run.key.label for run in found.runs] == ["sub-02_task-rest"]


def test_runs_of_one_participant_share_the_anatomical_space_only(tmp_path: Path) -> None:
    for space in ("T1w", "func"):
        make_runs(tmp_path, stem("01", run="1"), stem("01", run="2"), space=space)
    assert len(search(tmp_path, space="T1w").runs) == 2
    with pytest.raises(UsageError, match="space-func is each run's own space"):
        search(tmp_path, space="func")


# ---------------------------------------------------------------- what a review found
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"subject": ["01", "02", "99"]}, "99: no image with this subject"),
        ({"task": ["rest", "nbak"]}, "nbak: no image with this task"),
        ({"run": [None, 9]}, "9: no image with this run"),
    ],
)
def test_labels_in_the_filter_are_checked(
    tmp_path: Path, content: dict[str, object], says: str
) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    with pytest.raises(NothingToDoError, match=f"--bids-filter-file .*{says}"):
        search(tmp_path, bids_filter_file=json.dumps({"bold": content}))


def test_a_named_participant_whom_the_filter_leaves_out_is_an_error(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    with pytest.raises(NothingToDoError, match="--participant-label 02: no run matches"):
        search(
            tmp_path,
            participant_label=("01", "02"),
            bids_filter_file=json.dumps({"bold": {"subject": "01"}}),
        )


def test_links_empty_sessions_and_files_in_place_of_folders_are_listed(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("02", ses="1"))
    (tmp_path / "sub-01").symlink_to("sub-02")
    (tmp_path / "sub-02" / "ses-2").symlink_to("nowhere")
    (tmp_path / "sub-02" / "ses-3").mkdir()
    make(tmp_path, "sub-03")
    (tmp_path / "sub-04").mkdir()
    (tmp_path / "sub-04" / "func").symlink_to("nowhere")
    found = search(tmp_path)
    assert [run.key.label for run in found.runs] == ["sub-02_ses-1_task-rest"]
    assert found.refused == ()
    assert {one.name: one.reason.partition(",")[0] for one in found.unmatched} == {
        "sub-01": "it is a link to sub-02",
        "sub-01_ses-2": "it is a link to a folder that does not exist",
        "sub-01_ses-3": "its folder is empty (if it is a DataLad subdataset",
        "sub-02_ses-2": "it is a link to a folder that does not exist",
        "sub-02_ses-3": "its folder is empty (if it is a DataLad subdataset",
        "sub-03": "it is a file",
        "sub-04": "it has no func folder",
        "sub-04_func": "it is a link to a folder that does not exist",
    }


def test_an_image_under_a_new_name_is_not_there_twice(tmp_path: Path) -> None:
    """Images that were reduced before count if they were removed, not if they were renamed."""
    root = make_runs(tmp_path, stem("01"), stem("02", run="01"), res="2")
    old = [bold(stem("01"), res="native"), bold(stem("02", run="1"), res="native")]
    make_runs(root, stem("03"), res="2")
    (root / bold(stem("03"), res="2")).unlink()
    removed = root / bold(stem("03"), res="2")

    class ReducedBefore(frozenset[Path]):
        def other_than(self, paths: Iterable[Path]) -> list[Path]:
            return sorted(self.difference(paths))

    before = ReducedBefore([*(root / name for name in old), removed])
    found = find_runs(root, Selection(), reduced_before=before)
    assert found.refused == ()
    assert [(run.key.label, run.image_is_gone) for run in found.runs] == [
        ("sub-01_task-rest", False),
        ("sub-02_task-rest_run-01", False),
        ("sub-03_task-rest", True),
    ]
