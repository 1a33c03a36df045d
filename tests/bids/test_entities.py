"""Names of files are read whole: a label that cannot be read is never cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_trees import bold, confounds, make, make_runs, mask, search, stem
from hypothesis import given
from hypothesis import strategies as st

from nidecomp.bids.entities import canonical, entities_of_name, key_of_name, same_label, wrong_name

RUN = "sub-01_ses-a_task-rest_run-01_space-MNI_desc-preproc_bold.nii.gz"


def test_a_name_of_bids_is_right() -> None:
    assert wrong_name(Path(RUN)) is None


@pytest.mark.parametrize(
    ("changed", "quoted"),
    [
        (("task-rest", "task-rest-open"), "'task-rest-open'"),
        (("task-rest", "task-rest_open"), "'open'"),
        (("task-rest", "task-"), "'task-'"),
        (("task-rest", "task-rést"), "'task-rést'"),
        (("run-01", "run-1a"), "'run-1a'"),
        (("run-01", "part-magnitude"), "'part-magnitude'"),
        (("run-01", "task-rest"), "the entity task twice"),
    ],
)
def test_what_cannot_be_read_is_quoted(changed: tuple[str, str], quoted: str) -> None:
    reason = wrong_name(Path(RUN.replace(*changed)))
    assert reason is not None
    assert quoted in reason


def test_conditions_whose_labels_begin_alike_are_not_pooled(tmp_path: Path) -> None:
    runs = [stem("01", task="rest-open"), stem("02", task="rest-closed"), stem("03") + "_open"]
    make_runs(tmp_path, *runs, stem("04"))
    found = search(tmp_path)
    assert [run.key.label for run in found.runs] == ["sub-04_task-rest"]
    assert [(run.key.label, "rename" in run.reason) for run in found.refused] == [
        ("sub-01_task-rest-open", True),
        ("sub-02_task-rest-closed", True),
        ("sub-03_task-rest", True),
    ]


def test_companions_with_names_that_cannot_be_read_belong_to_no_run(tmp_path: Path) -> None:
    make(tmp_path, bold(stem()), mask(stem()), confounds(stem()))
    make(tmp_path, mask(stem() + "-open"), confounds(stem() + "_open"))
    ((files,), refused, *_) = search(tmp_path)
    assert refused == ()
    assert files.mask == tmp_path / mask(stem())


def test_the_number_of_a_run_is_the_same_in_all_its_files(tmp_path: Path) -> None:
    make(tmp_path, bold(stem(run="1")), mask(stem(run="01")), confounds(stem(run="001")))
    ((files,), refused, *_) = search(tmp_path)
    assert refused == ()
    assert files.key.get("run") == "1"
    assert files.mask == tmp_path / mask(stem(run="01"))


def test_two_images_of_the_same_number_are_one_run_twice(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(run="1"), stem(run="01"))
    found = search(tmp_path)
    assert found.runs == ()
    assert {run.reason.partition(":")[0] for run in found.refused} == {"2 files match this run"}


def test_entities_may_be_in_any_order(tmp_path: Path) -> None:
    """fMRIPrep 20.2.3 wrote ``part-mag`` after ``desc``."""
    run = stem()
    make(
        tmp_path,
        f"{run}_space-MNI152NLin2009cAsym_desc-preproc_part-mag_bold.nii.gz",
        f"{run}_space-MNI152NLin2009cAsym_desc-brain_part-mag_mask.nii.gz",
        f"{run}_desc-confounds_part-mag_timeseries.tsv",
    )
    ((files,), refused, *_) = search(tmp_path)
    assert refused == ()
    assert files.mask is not None
    assert files.confounds is not None
    assert files.key.get("part") == "mag"


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("sub-01/func", "its name has sub-02, but it is in the folder sub-01: sub-01/func/sub-02_"),
        ("sub-02/ses-a/func", "its name has no ses- entity, but it is in the folder ses-a: "),
    ],
)
def test_a_file_in_the_folder_of_another_is_refused_with_its_path(
    tmp_path: Path, folder: str, reason: str
) -> None:
    name = Path(bold(stem("02"))).name
    make(tmp_path, f"{folder}/{name}")
    (refused,) = search(tmp_path).refused
    assert refused.reason.startswith(reason)


@given(st.from_regex(r"[0-9]{1,5}", fullmatch=True))
def test_leading_zeros_matter_for_names_only(label: str) -> None:
    assert same_label("run", label, "0" + label)
    assert not same_label("task", label, "0" + label)
    assert canonical("run", label) == str(int(label))


def test_the_key_of_a_wrong_name_has_the_whole_label() -> None:
    name = Path("sub-1_task-rest-open_run-2_bold.nii.gz")
    assert key_of_name(name).label == "sub-1_task-rest-open_run-2"
    assert entities_of_name("sub-1_run-02_bold") == {"sub": "1", "run": "2"}


def test_entities_that_are_not_known_are_noted(tmp_path: Path) -> None:
    make(tmp_path, bold(stem(foo="x")), mask(stem(foo="x")), confounds(stem(foo="x")))
    ((files,), refused, *_) = search(tmp_path)
    assert refused == ()
    assert files.notes == ("entities in its file name that are not known were ignored: foo",)
    make_runs(tmp_path, stem(foo="y"))
    assert search(tmp_path).runs == ()
