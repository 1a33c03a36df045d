"""Locating the fMRIPrep dataset, and checks of the input and output folders."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from support import said_by_another_user

from nidecomp.bids.dataset import (
    DESCRIPTION,
    check_folders,
    check_outside,
    is_ours,
    locate_derivatives,
    read_description,
)
from nidecomp.core.errors import NothingToDoError, UsageError


def describe(folder: Path, content: object = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"DatasetType": "derivative"} if content is None else content)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return folder


RAW = {"Name": "raw", "BIDSVersion": "1.8.0", "DatasetType": "raw"}
OURS = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}, {"Name": "NiDecomp"}]}
BROKEN = [b"", b"{", b"\xff\xfe{}", b"[]", b"null", b'"text"', b"3"]


# ---------------------------------------------------------------- the input
def test_a_derivative_dataset_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate_derivatives(describe(tmp_path / "in")) == tmp_path / "in"


def test_the_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert locate_derivatives(Path("in")) == tmp_path / "in"


def test_a_link_to_the_input_is_kept_as_a_link(tmp_path: Path) -> None:
    describe(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert locate_derivatives(tmp_path / "link") == tmp_path / "link"


@pytest.mark.parametrize("name", ["fmriprep", "fmriprep-23.2.1", "fmriprep_v2"])
def test_fmriprep_is_found_inside_a_raw_dataset(tmp_path: Path, name: str) -> None:
    inside = describe(describe(tmp_path, RAW) / "derivatives" / name)
    describe(tmp_path / "derivatives" / "mriqc")
    (tmp_path / "derivatives" / "fmriprep-failed").mkdir()
    assert locate_derivatives(tmp_path) == inside


def test_fmriprep_is_found_in_a_folder_without_a_description(tmp_path: Path) -> None:
    inside = describe(tmp_path / "derivatives" / "fmriprep")
    assert locate_derivatives(tmp_path) == inside


def test_the_legacy_layout_has_fmriprep_beside_freesurfer(tmp_path: Path) -> None:
    (tmp_path / "freesurfer" / "sub-01").mkdir(parents=True)
    describe(tmp_path / "fmriprep_work")
    describe(tmp_path / "fmriprep", {"DatasetType": "derivative"})
    (tmp_path / "fmriprep" / "sub-01").mkdir()
    assert locate_derivatives(tmp_path) == tmp_path / "fmriprep"


def test_names_before_fmriprep_1_2_are_too_old(tmp_path: Path) -> None:
    func = tmp_path / "sub-01" / "func"
    func.mkdir(parents=True)
    (func / "sub-01_task-rest_bold_space-MNI152NLin2009cAsym_preproc.nii.gz").touch()
    with pytest.raises(NothingToDoError, match=r"fMRIPrep before 1\.2 .* too old"):
        locate_derivatives(tmp_path)


def test_of_several_fmripreps_one_must_be_named(tmp_path: Path) -> None:
    folders = [describe(tmp_path / "derivatives" / name) for name in ("fmriprep", "fmriprep-20")]
    with pytest.raises(NothingToDoError, match="several") as caught:
        locate_derivatives(describe(tmp_path, RAW))
    assert all(str(folder) in str(caught.value) for folder in folders)


def test_a_folder_that_may_not_be_read_is_passed_by_where_there_is_another() -> None:
    """Run as a user other than root, who ignores permissions."""
    program = (
        "import sys; from pathlib import Path; from nidecomp.bids.dataset import *\n"
        "try: print(locate_derivatives(Path(sys.argv[1])))\n"
        "except NothingToDoError as error: print(error)"
    )
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="nidecomp-test-") as name:
        root = describe(Path(name), RAW)
        root.chmod(0o755)
        good = describe(root / "derivatives" / "fmriprep")
        closed = describe(root / "derivatives" / "fmriprep_old")
        closed.chmod(0)
        assert said_by_another_user(program, root, home=root) == f"{good}\n"
        shutil.rmtree(good)
        said = said_by_another_user(program, root, home=root)
        assert said == f"{root} is not the output of fMRIPrep, and {closed} cannot be read.\n"


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_a_folder_that_is_none_is_wrong_usage(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in"
    if kind == "file":
        path.touch()
    for skip in (False, True):
        with pytest.raises(UsageError, match=str(path)):
            locate_derivatives(path, skip_validation=skip)


@pytest.mark.parametrize("description", [None, {"Name": "old fMRIPrep"}, RAW])
def test_preprocessed_images_without_the_word_derivative_name_the_way_out(
    tmp_path: Path, description: object
) -> None:
    if description:
        describe(tmp_path, description)
    func = tmp_path / "sub-01" / "ses-1" / "func"
    func.mkdir(parents=True)
    (func / "sub-01_ses-1_task-rest_space-T1w_desc-preproc_bold.nii.gz").touch()
    with pytest.raises(NothingToDoError, match="--skip-bids-validation"):
        locate_derivatives(tmp_path)
    assert locate_derivatives(tmp_path, skip_validation=True) == tmp_path


@pytest.mark.parametrize("description", [None, RAW])
def test_a_folder_without_preprocessed_images_is_not_offered_a_way_out(
    tmp_path: Path, description: object
) -> None:
    if description:
        describe(tmp_path, description)
    (tmp_path / "sub-01" / "func").mkdir(parents=True)
    (tmp_path / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz").touch()
    with pytest.raises(NothingToDoError, match="Use the output folder of fMRIPrep") as caught:
        locate_derivatives(tmp_path)
    assert "--skip-bids-validation" not in str(caught.value)


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_description_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DESCRIPTION).write_bytes(content)
    assert read_description(tmp_path) == {}
    assert not is_ours(tmp_path)
    with pytest.raises(NothingToDoError):
        locate_derivatives(tmp_path)


def test_a_byte_order_mark_is_not_part_of_a_description(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_bytes(b'\xef\xbb\xbf{"DatasetType": "derivative"}')
    assert locate_derivatives(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Expecting property name"),
        (b"\xff\xfe{}", "'utf-8' codec can't decode"),
        (b"[]", "it does not contain a JSON object"),
        (None, "Is a directory"),
    ],
)
@pytest.mark.parametrize("with_images", [False, True])
def test_why_a_description_cannot_be_read_is_said(
    tmp_path: Path, content: bytes | None, why: str, with_images: bool
) -> None:
    path = tmp_path / DESCRIPTION
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    if with_images:
        func = tmp_path / "sub-01" / "func"
        func.mkdir(parents=True)
        (func / "sub-01_task-rest_space-T1w_desc-preproc_bold.nii.gz").touch()
    with pytest.raises(NothingToDoError) as caught:
        locate_derivatives(tmp_path)
    assert f"{path} cannot be read: " in str(caught.value)
    assert why in str(caught.value)
    assert "does not say" not in str(caught.value)
    assert ("--skip-bids-validation" in str(caught.value)) == with_images


def test_a_raw_dataset_with_a_broken_description_still_leads_to_fmriprep(tmp_path: Path) -> None:
    inside = describe(tmp_path / "derivatives" / "fmriprep")
    (tmp_path / DESCRIPTION).write_bytes(b"{")
    assert locate_derivatives(tmp_path) == inside


@pytest.mark.parametrize("name", ["Name", "License"])
@pytest.mark.parametrize("value", [3, None, ["CC0"], {}, True])
def test_what_bids_wants_as_text_is_left_out_where_it_is_none(
    tmp_path: Path, name: str, value: object
) -> None:
    describe(tmp_path, {**OURS, "Name": "x", "License": "CC0", name: value})
    description = read_description(tmp_path)
    assert name not in description
    assert len(description) == 3


def test_a_description_that_is_not_there_is_an_empty_one(tmp_path: Path) -> None:
    assert read_description(tmp_path / "nowhere") == {}


# ---------------------------------------------------------------- NiDecomp's own datasets
@pytest.mark.parametrize(
    ("generated_by", "ours"),
    [
        ([{"Name": "NiDecomp"}], True),
        ([{"Name": "fMRIPrep"}, {"Name": "NiDecomp", "Version": "0"}], True),
        ([{"Name": "fMRIPrep"}], False),
        ([{"Name": "nidecomp2"}], False),
        ([{}], False),
        ([], False),
        (["NiDecomp"], False),
        ({"Name": "NiDecomp"}, False),
        ("NiDecomp", False),
        (None, False),
    ],
)
def test_a_dataset_is_ours_where_it_says_so(
    tmp_path: Path, generated_by: object, ours: bool
) -> None:
    describe(tmp_path, {"GeneratedBy": generated_by})
    assert is_ours(tmp_path) == ours


# ---------------------------------------------------------------- the output
@pytest.fixture
def source(tmp_path: Path) -> Path:
    return describe(tmp_path / "fmriprep")


@pytest.mark.parametrize(
    "output", ["out", "new/deep/out", "fmriprep-networks", "fmriprep/../out", "."]
)
def test_a_folder_outside_of_the_input_is_fine(source: Path, output: str) -> None:
    check_folders(source, source, source.parent / output)


@pytest.mark.parametrize("output", [".", "sub-01", "new/deep", "../fmriprep", "../fmriprep/x"])
def test_the_input_and_all_below_it_is_never_the_output(source: Path, output: str) -> None:
    with pytest.raises(UsageError, match="never modified"):
        check_folders(source, source, source / output)


@pytest.mark.parametrize("below", ["", "out", "new/deep"])
def test_a_link_does_not_hide_the_input(source: Path, below: str) -> None:
    link = source.parent / "link"
    link.symlink_to(source)
    with pytest.raises(UsageError, match="never modified"):
        check_folders(source, source, link / below)
    with pytest.raises(UsageError, match="never modified"):
        check_folders(link, link, source / below)


def test_a_raw_dataset_may_hold_input_and_output_as_derivatives(tmp_path: Path) -> None:
    raw = describe(tmp_path / "raw", RAW)
    root = describe(raw / "derivatives" / "fmriprep")
    for bids_dir in (raw, root):
        check_folders(bids_dir, root, raw / "derivatives" / "nidecomp")
        with pytest.raises(UsageError, match="never modified"):
            check_folders(bids_dir, root, root / "nidecomp")
    with pytest.raises(UsageError, match="never modified"):
        check_folders(raw, root, raw)


@pytest.mark.parametrize("below", ["sub-01", "sub-01/func"])
def test_the_raw_data_are_never_written_to(tmp_path: Path, below: str) -> None:
    """Outputs may be written in the derivatives folder of BIDS_DIR, but nowhere else in it."""
    raw = describe(tmp_path / "raw", RAW)
    root = describe(raw / "derivatives" / "fmriprep")
    (raw / below).mkdir(parents=True)
    with pytest.raises(UsageError, match="never modified"):
        check_folders(raw, root, raw / below)


@pytest.mark.parametrize("below", ["", "/out", "/new/deep"])
def test_an_output_that_is_or_lies_below_a_file_is_refused(source: Path, below: str) -> None:
    (source.parent / "out").touch()
    with pytest.raises(UsageError, match=r"is a file|not a folder"):
        check_folders(source, source, Path(f"{source.parent / 'out'}{below}"))


@pytest.mark.parametrize("content", [b'{"Name": "somebody else\'s"}', *BROKEN])
def test_somebody_elses_dataset_is_not_written_over(source: Path, content: bytes) -> None:
    output = source.parent / "out"
    output.mkdir()
    (output / DESCRIPTION).write_bytes(content)
    with pytest.raises(UsageError, match="not generated by NiDecomp"):
        check_folders(source, source, output)


def test_our_own_dataset_and_a_folder_without_one_are_written_to(source: Path) -> None:
    check_folders(source, source, describe(source.parent / "ours", OURS))
    (source.parent / "files").mkdir()
    (source.parent / "files" / "notes.txt").touch()
    check_folders(source, source, source.parent / "files")


def test_our_own_dataset_is_not_written_over_where_it_is_the_input(tmp_path: Path) -> None:
    ours = describe(tmp_path / "ours", OURS)
    with pytest.raises(UsageError, match="never modified"):
        check_folders(ours, ours, ours)


@pytest.mark.parametrize("inside", [".", "work", "a/b"])
def test_work_is_kept_out_of_the_input_and_the_option_is_named(source: Path, inside: str) -> None:
    with pytest.raises(UsageError, match="--work-dir"):
        check_outside(source, source, source / inside, "--work-dir")
    (source.parent / "link").symlink_to(source)
    with pytest.raises(UsageError, match="--work-dir"):
        check_outside(source, source, source.parent / "link" / inside, "--work-dir")


def test_work_beside_the_input_is_fine(source: Path) -> None:
    check_outside(source, source, source.parent / "work", "--work-dir")
    check_outside(source, source, source.parent / "fmriprep-work", "--work-dir")
