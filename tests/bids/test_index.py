"""Finding runs with their masks and confounds, and the errors if none is found.

Only file names are read, so that the files of these trees are empty.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bids_trees import SPACE, bold, confounds, link_to_nothing, make, make_runs, mask, stem
from support import said_by_another_user

from nidecomp.bids import listing as listing_module
from nidecomp.bids.index import find_runs
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.inventory import RefusedRun
from nidecomp.core.records import RunFiles

DEFAULT = Selection()


def labels(runs: tuple[RunFiles, ...] | tuple[RefusedRun, ...]) -> list[str]:
    return [run.key.label for run in runs]


def found(root: Path, **selection: object) -> list[str]:
    """Return the runs found, after checking that none is refused."""
    runs, refused, *_ = find_runs(root, Selection(**selection))  # type: ignore[arg-type]
    assert refused == ()
    return labels(runs)


def with_filter(**content: object) -> dict[str, str]:
    return {"bids_filter_file": json.dumps(content)}


def only_refusal(root: Path, **selection: object) -> str:
    _, refused, *_ = find_runs(root, Selection(**selection))  # type: ignore[arg-type]
    (run,) = refused
    return run.reason


def listing(root: Path) -> list[tuple[str, int, int]]:
    paths = [root, *sorted(root.rglob("*"))]
    return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths]


# ---------------------------------------------------------------- one run
def test_a_run_comes_with_its_mask_and_its_confounds(tmp_path: Path) -> None:
    run = stem(ses="1", acq="mb4", run="1")
    ((files,), refused, *_) = find_runs(make_runs(tmp_path, run, res="2"), DEFAULT)
    assert refused == ()
    assert files.key.entities == (
        ("sub", "01"),
        ("ses", "1"),
        ("task", "rest"),
        ("acq", "mb4"),
        ("run", "1"),
    )
    assert (files.space, files.res) == (SPACE, "2")
    assert files.bold == tmp_path / bold(run, res="2")
    assert files.mask == tmp_path / mask(run, res="2")
    assert files.confounds == tmp_path / confounds(run)


@pytest.mark.parametrize(
    "parent",
    [
        "sub-study",
        "desc-old",
        "sub-99_ses-9",
        "task-rest_run-3_space-T1w",
        "version.1.0",
        "func",
        ".hidden",
        "figures",
        "with space",
        "ünïcode",
    ],
)
def test_the_folders_above_never_matter(tmp_path: Path, parent: str) -> None:
    run = stem()
    ((files,), refused, *_) = find_runs(make_runs(tmp_path / parent / "fmriprep", run), DEFAULT)
    assert refused == ()
    assert files.key.entities == (("sub", "01"), ("task", "rest"))
    assert files.mask == tmp_path / parent / "fmriprep" / mask(run)


def test_a_relative_root_gives_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tmp_path / "in", stem())
    monkeypatch.chdir(tmp_path)
    assert find_runs(Path("in"), DEFAULT) == find_runs(tmp_path / "in", DEFAULT)


def test_images_that_are_not_compressed_are_found(tmp_path: Path) -> None:
    run = stem()
    names = [name.removesuffix(".gz") for name in (bold(run), mask(run), confounds(run))]
    ((files,), _, *_) = find_runs(make(tmp_path, *names), DEFAULT)
    assert files.bold == tmp_path / names[0]
    assert files.mask == tmp_path / names[1]


def test_the_old_name_of_the_confounds_is_known(tmp_path: Path) -> None:
    run = stem()
    make(tmp_path, bold(run), mask(run), confounds(run, "regressors"))
    ((files,), _, *_) = find_runs(tmp_path, DEFAULT)
    assert files.confounds == tmp_path / confounds(run, "regressors")


def test_two_confounds_tables_are_one_too_many(tmp_path: Path) -> None:
    make(make_runs(tmp_path, stem()), confounds(stem(), "regressors"))
    reason = only_refusal(tmp_path)
    assert "confounds" in reason
    assert Path(confounds(stem(), "regressors")).name in reason


def test_confounds_that_are_not_there_are_none(tmp_path: Path) -> None:
    """Whether confounds are required depends on the denoising strategy."""
    ((files,), refused, *_) = find_runs(make(tmp_path, bold(stem()), mask(stem())), DEFAULT)
    assert files.confounds is None
    assert refused == ()


def test_a_run_without_a_mask_is_refused(tmp_path: Path) -> None:
    make(make_runs(tmp_path, stem("02")), bold(stem("01")), mask(stem("01"), space="T1w"))
    runs, refused, *_ = find_runs(tmp_path, DEFAULT)
    assert labels(runs) == ["sub-02_task-rest"]
    assert labels(refused) == ["sub-01_task-rest"]
    assert refused[0].bold == tmp_path / bold(stem("01"))
    assert "mask" in refused[0].reason


def test_a_run_without_a_mask_is_used_where_none_is_needed(tmp_path: Path) -> None:
    ((files,), refused, *_) = find_runs(make(tmp_path, bold(stem())), DEFAULT, needs_mask=False)
    assert files.mask is None
    assert refused == ()


def test_two_masks_are_one_too_many_until_the_filter_chooses(tmp_path: Path) -> None:
    uncompressed = mask(stem()).removesuffix(".gz")
    make(make_runs(tmp_path, stem()), uncompressed)
    reason = only_refusal(tmp_path)
    assert Path(uncompressed).name in reason
    assert Path(mask(stem())).name in reason
    chosen = Selection(**with_filter(mask={"extension": ".nii"}))
    ((files,), refused, *_) = find_runs(tmp_path, chosen)
    assert refused == ()
    assert files.mask == tmp_path / uncompressed


def test_two_images_of_one_run_are_both_refused(tmp_path: Path) -> None:
    twin = bold(stem()).removesuffix(".gz")
    make(make_runs(tmp_path, stem(), stem("02")), twin)
    runs, refused, *_ = find_runs(tmp_path, DEFAULT)
    assert labels(runs) == ["sub-02_task-rest"]
    assert {run.bold for run in refused} == {tmp_path / twin, tmp_path / bold(stem())}
    assert all(Path(twin).name in run.reason for run in refused)


@pytest.mark.parametrize("missing", ["task", "sub"])
def test_an_image_whose_name_lacks_an_entity_is_refused(tmp_path: Path, missing: str) -> None:
    run = stem(task=None) if missing == "task" else "sub-01/func/task-rest"
    make_runs(tmp_path, run, stem("02"))
    assert f"no {missing}- entity" in only_refusal(tmp_path)


# ---------------------------------------------------------------- several runs
def test_runs_with_and_without_acq_keep_their_own_companions(tmp_path: Path) -> None:
    plain, other = stem(), stem(acq="mb4")
    runs, refused, *_ = find_runs(make_runs(tmp_path, plain, other), DEFAULT)
    assert refused == ()
    for files, run in zip(runs, (plain, other), strict=True):
        assert files.bold == tmp_path / bold(run)
        assert files.mask == tmp_path / mask(run)
        assert files.confounds == tmp_path / confounds(run)


def test_each_space_is_found_alone_with_its_own_mask(tmp_path: Path) -> None:
    for space in (SPACE, "MNI152NLin6Asym", "T1w"):
        make_runs(tmp_path, stem(), space=space)
    for space in (SPACE, "MNI152NLin6Asym"):
        ((files,), refused, *_) = find_runs(tmp_path, Selection(space=space))
        assert refused == ()
        assert files.space == space
        assert files.mask == tmp_path / mask(stem(), space)


def test_an_image_in_its_own_space_is_not_one_in_a_template(tmp_path: Path) -> None:
    native = "sub-01/func/sub-01_task-rest_desc-preproc_bold.nii.gz"
    assert found(make(make_runs(tmp_path, stem()), native)) == ["sub-01_task-rest"]


def test_each_desc_is_found_alone(tmp_path: Path) -> None:
    make(make_runs(tmp_path, stem()), bold(stem(), desc="smooth"), bold(stem("02"), desc="smooth"))
    assert found(tmp_path) == ["sub-01_task-rest"]
    runs, _, *_ = find_runs(tmp_path, Selection(desc_label="smooth"), needs_mask=False)
    assert [files.bold for files in runs] == [
        tmp_path / bold(stem(sub), desc="smooth") for sub in ("01", "02")
    ]


def test_runs_are_selected_by_every_entity(tmp_path: Path) -> None:
    make_runs(
        tmp_path,
        *(stem(sub, ses, task) for sub in "12" for ses in "ab" for task in ("rest", "nback")),
    )
    assert len(found(tmp_path)) == 8
    assert len(found(tmp_path, participant_label=("1",))) == 4
    assert len(found(tmp_path, exclude_participant_label=("1",))) == 4
    assert len(found(tmp_path, task_id=("rest",))) == 4
    assert len(found(tmp_path, task_id=("rest", "nback"))) == 8
    assert found(tmp_path, participant_label=("2",), session_label=("b",), task_id=("rest",)) == [
        "sub-2_ses-b_task-rest"
    ]


def test_runs_with_and_without_a_session_are_both_found(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(), stem(ses="1"))
    assert found(tmp_path) == ["sub-01_ses-1_task-rest", "sub-01_task-rest"]
    assert found(tmp_path, session_label=("1",)) == ["sub-01_ses-1_task-rest"]


@pytest.mark.parametrize("written", ["1", "01"])
@pytest.mark.parametrize("asked", ["1", "01", "001"])
def test_run_indices_are_numbers_and_names_are_kept(
    tmp_path: Path, written: str, asked: str
) -> None:
    make_runs(tmp_path, *(stem(run=index) for index in (written, "2", "10", "11")))
    assert found(tmp_path, run_id=(asked,)) == [f"sub-01_task-rest_run-{written}"]


def test_runs_are_sorted_by_name(tmp_path: Path) -> None:
    make_runs(tmp_path, *(stem(sub, ses) for sub in ("10", "2", "1") for ses in ("b", "a")))
    assert found(tmp_path) == sorted(found(tmp_path))


def test_echoes_beside_a_combined_image_are_refused(tmp_path: Path) -> None:
    combined = stem()
    make(make_runs(tmp_path, combined), bold(stem(echo="1")), bold(stem(echo="2")))
    runs, refused, *_ = find_runs(tmp_path, DEFAULT)
    assert [files.bold for files in runs] == [tmp_path / bold(combined)]
    assert labels(refused) == ["sub-01_task-rest_echo-1", "sub-01_task-rest_echo-2"]
    assert all("--bids-filter-file" in run.reason for run in refused)


def test_an_echo_can_be_chosen_and_shares_the_runs_companions(tmp_path: Path) -> None:
    make(make_runs(tmp_path, stem()), bold(stem(echo="1")), bold(stem(echo="2")))
    ((files,), refused, *_) = find_runs(tmp_path, Selection(**with_filter(bold={"echo": 2})))
    assert refused == ()
    assert files.bold == tmp_path / bold(stem(echo="2"))
    assert files.mask == tmp_path / mask(stem())
    assert files.confounds == tmp_path / confounds(stem())


def test_the_phase_of_the_signal_is_refused(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(part="mag"))
    make(tmp_path, bold(stem(part="phase")))
    runs, refused, *_ = find_runs(tmp_path, DEFAULT)
    assert labels(runs) == ["sub-01_task-rest_part-mag"]
    assert labels(refused) == ["sub-01_task-rest_part-phase"]


def test_the_mask_of_another_cohort_is_another_mask(tmp_path: Path) -> None:
    """Templates such as MNIInfant have cohorts with different grids."""
    for cohort in ("1", "2"):
        make_runs(tmp_path, stem(), space=f"MNIInfant_cohort-{cohort}")
    chosen = Selection(space="MNIInfant", **with_filter(bold={"cohort": "1"}))
    ((files,), refused, *_) = find_runs(tmp_path, chosen)
    assert refused == ()
    assert files.mask == tmp_path / mask(stem(), "MNIInfant_cohort-1")


# ---------------------------------------------------------------- resolutions
def test_several_resolutions_are_an_error_that_names_them(tmp_path: Path) -> None:
    for res in ("1", "2", ""):
        make_runs(tmp_path, stem(), res=res)
    with pytest.raises(UsageError, match="--res") as caught:
        find_runs(tmp_path, DEFAULT)
    assert "(none), 1, 2" in str(caught.value)


def test_the_remedies_for_several_resolutions_work(tmp_path: Path) -> None:
    for res in ("1", "2", ""):
        make_runs(tmp_path, stem(), res=res)
    with pytest.raises(UsageError) as caught:
        find_runs(tmp_path, DEFAULT)
    (filter_text,) = re.findall(r"\{.*\}", str(caught.value))
    for selection, res in (
        (Selection(res="1"), "1"),
        (Selection(res="2"), "2"),
        (Selection(bids_filter_file=filter_text), ""),
    ):
        ((files,), refused, *_) = find_runs(tmp_path, selection)
        assert refused == ()
        assert files.bold == tmp_path / bold(stem(), res=res)
        assert files.mask == tmp_path / mask(stem(), res=res)


def test_different_resolutions_of_different_participants_are_an_error_too(tmp_path: Path) -> None:
    make_runs(make_runs(tmp_path, stem("01"), res="2"), stem("02"), res="1")
    with pytest.raises(UsageError, match="several resolutions"):
        find_runs(tmp_path, DEFAULT)


def test_a_resolution_with_a_leading_zero_is_the_same(tmp_path: Path) -> None:
    make_runs(make_runs(tmp_path, stem("01"), res="2"), stem("02"), res="02")
    assert found(tmp_path) == ["sub-01_task-rest", "sub-02_task-rest"]
    assert found(tmp_path, res="002") == ["sub-01_task-rest", "sub-02_task-rest"]


# ---------------------------------------------------------------- the filter file
def test_null_in_the_filter_means_without(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(), stem(acq="a"), stem(acq="b"))
    assert found(tmp_path, **with_filter(bold={"acquisition": None})) == ["sub-01_task-rest"]


def test_a_list_in_the_filter_means_one_of_them(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(), stem(acq="a"), stem(acq="b"))
    assert found(tmp_path, **with_filter(bold={"acquisition": ["a", "b"]})) == [
        "sub-01_task-rest_acq-a",
        "sub-01_task-rest_acq-b",
    ]
    assert found(tmp_path, **with_filter(bold={"acquisition": [None, "b"]})) == [
        "sub-01_task-rest",
        "sub-01_task-rest_acq-b",
    ]


def test_a_star_in_the_filter_means_any(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(), stem(acq="a"))
    assert found(tmp_path, **with_filter(bold={"acquisition": "*"})) == found(tmp_path)
    # The filter file overrides another option.
    assert len(found(tmp_path, task_id=("nback",), **with_filter(bold={"task": "*"}))) == 2


def test_numbers_in_the_filter_are_labels(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(run="01"), stem(run="02"))
    assert found(tmp_path, **with_filter(bold={"run": 2})) == ["sub-01_task-rest_run-02"]


def test_the_filter_wins_over_the_options(tmp_path: Path) -> None:
    make_runs(tmp_path, stem(), space="T1w")
    assert found(tmp_path, space=SPACE, **with_filter(bold={"space": "T1w"})) == found(
        tmp_path, space="T1w"
    )


def test_an_excluded_participant_stays_excluded(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    assert found(
        tmp_path, exclude_participant_label=("01",), **with_filter(bold={"subject": "*"})
    ) == ["sub-02_task-rest"]


@pytest.mark.parametrize("content", [{"t1w": {}}, {"bold": ["rest"]}, {"Bold": {}}])
def test_an_unknown_kind_in_the_filter_is_told_which_there_are(
    tmp_path: Path, content: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=r"--bids-filter-file.*bold, mask, confounds"):
        found(make_runs(tmp_path, stem()), **with_filter(**content))


def test_an_unknown_entity_in_the_filter_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown entity 'acq' for bold; use acquisition,"):
        found(make_runs(tmp_path, stem()), **with_filter(bold={"acq": "a"}))


# ---------------------------------------------------------------- content that was not fetched
@pytest.mark.parametrize("which", [bold, mask, confounds])
def test_a_run_whose_content_was_not_fetched_is_refused(
    tmp_path: Path, which: Callable[[str], str]
) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    link_to_nothing(tmp_path / which(stem("01")))
    runs, refused, *_ = find_runs(tmp_path, DEFAULT)
    assert labels(runs) == ["sub-02_task-rest"]
    assert labels(refused) == ["sub-01_task-rest"]
    assert f"datalad get {tmp_path / which(stem('01'))}" in refused[0].reason


def test_a_tree_without_any_content_says_how_to_get_it(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    for path in tmp_path.rglob("*_bold.nii.gz"):
        link_to_nothing(path)
    with pytest.raises(NothingToDoError, match=r"All of the 2 .*'datalad get sub-01/func'"):
        find_runs(tmp_path, DEFAULT)


def test_links_to_content_that_is_there_are_files(tmp_path: Path) -> None:
    make_runs(tmp_path / "in", stem())
    for number, path in enumerate(sorted((tmp_path / "in").rglob("sub-*.*"))):
        path.rename(tmp_path / f"object-{number}")
        path.symlink_to(tmp_path / f"object-{number}")
    ((files,), refused, *_) = find_runs(tmp_path / "in", DEFAULT)
    assert refused == ()
    assert files.bold == tmp_path / "in" / bold(stem()), "links are not resolved"


# ---------------------------------------------------------------- of all participants
def test_runs_of_all_are_found_although_some_are_named(tmp_path: Path) -> None:
    """A participant-level job needs the masks of all runs, but unknown labels are still errors."""
    root = make_runs(tmp_path, stem("01"), stem("02"))
    named = Selection(participant_label=("02",))
    assert [run.key.participant for run in find_runs(root, named)[0]] == ["02"]
    runs, _, *_ = find_runs(root, named, of_all_participants=True)
    assert [run.key.participant for run in runs] == ["01", "02"]
    mistyped = Selection(participant_label=("02", "99"))
    with pytest.raises(NothingToDoError, match="--participant-label 99: "):
        find_runs(root, mistyped, of_all_participants=True)


# ---------------------------------------------------------------- nothing matches
def test_an_output_of_fmriprep_without_images_is_said_to_be_minimal(tmp_path: Path) -> None:
    func = tmp_path / "sub-01" / "func"
    func.mkdir(parents=True)
    (func / "sub-01_task-rest_from-boldref_to-T1w_mode-image_desc-coreg_xfm.txt").touch()
    with pytest.raises(NothingToDoError, match="wrote it with --level minimal"):
        find_runs(tmp_path, Selection())


def test_where_nothing_matches_what_is_there_is_listed(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01", task="nback"), stem("02", ses="pre", run="3"), space="T1w")
    make_runs(tmp_path, stem("03"), space="MNI152NLin6Asym", res="2")
    with pytest.raises(NothingToDoError) as caught:
        find_runs(tmp_path, Selection())
    message = str(caught.value)
    for part in (
        str(tmp_path),
        f"space {SPACE}",
        "--space: MNI152NLin6Asym, T1w",
        "--task-id: nback, rest",
        "--res: (none), 2",
        "--desc-label: preproc",
        "--session-label: (none), pre",
        "--run-id: (none), 3",
    ):
        assert part in message


def test_where_nothing_of_those_named_matches_their_reasons_are_listed(tmp_path: Path) -> None:
    make_runs(tmp_path, stem("01", task="nback"), space="T1w")
    make_runs(tmp_path, stem("02"), stem("03"), space="MNI152NLin6Asym")
    with pytest.raises(NothingToDoError) as caught:
        find_runs(tmp_path, Selection(participant_label=("01", "02")))
    assert str(caught.value).splitlines() == [
        "--participant-label 01 02: no run matches the selection:",
        "  sub-01: its BOLD images (1) do not match the selection: space is T1w",
        "  sub-02: its BOLD images (1) do not match the selection: space is MNI152NLin6Asym",
    ]


@pytest.mark.parametrize(
    "selection",
    [
        {"space": "T1w"},
        {"res": "2"},
        {"desc_label": "other"},
        {"exclude_participant_label": ("01",)},
        with_filter(bold={"acquisition": "a"}),
    ],
)
def test_every_option_can_leave_nothing(tmp_path: Path, selection: dict[str, object]) -> None:
    make_runs(tmp_path, stem())
    with pytest.raises(NothingToDoError, match=r"No run in .* matches"):
        found(tmp_path, **selection)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ({"participant_label": ("01", "99")}, "--participant-label 99: .* found: 01, 02"),
        ({"exclude_participant_label": ("3",)}, "--exclude-participant-label 3"),
        ({"task_id": ("nback",)}, "--task-id nback: .* found: rest"),
        ({"session_label": ("1",)}, "--session-label 1: .* found: none"),
        ({"run_id": ("1",)}, "--run-id 1"),
    ],
)
def test_a_label_that_is_nowhere_does_not_vanish(
    tmp_path: Path, selection: dict[str, object], says: str
) -> None:
    make_runs(tmp_path, stem("01"), stem("02"))
    with pytest.raises(NothingToDoError, match=says):
        found(tmp_path, **selection)


def test_fmripreps_own_filter_files_are_understood(tmp_path: Path) -> None:
    """Filter files for fMRIPrep include the datatype and the suffix."""
    make_runs(tmp_path, stem())
    filters = with_filter(bold={"datatype": "func", "suffix": "bold", "task": "rest"})
    assert found(tmp_path, **filters) == found(tmp_path)


def test_a_folder_without_images_is_told_apart(tmp_path: Path) -> None:
    make(tmp_path, "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", mask(stem()))
    with pytest.raises(NothingToDoError, match=r"has no \*_bold\.nii\.gz"):
        find_runs(tmp_path, DEFAULT)


def test_what_only_looks_like_a_run_is_not_indexed(tmp_path: Path) -> None:
    make_runs(tmp_path, stem())
    name = Path(bold(stem("02"))).name
    make(
        tmp_path,
        f"sub-01/figures/{name}",
        f"figures/{name}",
        f"sourcedata/{bold(stem('03'))}",
        f"derivatives/other/{bold(stem('04'))}",
        f".git/annex/{bold(stem('05'))}",
        f"sub-01/func/.{name}",
        f"sub-01/func/._{name}",
        f"sub-01/.cache/{name}",
        f"sub-01/func/{name}.part",
        f"sub-01/func/{name.replace('bold', 'boldref')}",
        f"sub-01/func/{name.replace('.nii.gz', '.json')}",
        f"sub-01/anat/{name}",
        "sub-01.html",
        "sub-02.html",
    )
    assert found(tmp_path) == ["sub-01_task-rest"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"GeneratedBy": [{"Name": "fMRIPrep"}]}',
        '{"GeneratedBy": 3}',
        '{"PipelineDescription": {"Name": "fMRIPrep"}}',  # before fMRIPrep 20.2
    ],
)
def test_the_index_asks_nothing_of_the_description(tmp_path: Path, content: str | None) -> None:
    """The dataset type is checked earlier, unless --skip-bids-validation is used."""
    make_runs(tmp_path, stem())
    if content is not None:
        (tmp_path / "dataset_description.json").write_text(content, encoding="utf-8")
    assert found(tmp_path) == ["sub-01_task-rest"]


# ---------------------------------------------------------------- folders that cannot be read
# Run as a user other than root, who ignores permissions.
_FIND = """
import json, sys
from pathlib import Path
from nidecomp.bids.index import find_runs
from nidecomp.core.errors import NidecompError
from nidecomp.config.science import Selection
root, selection, database = Path(sys.argv[1]), Selection(**json.loads(sys.argv[2])), sys.argv[3]
try:
    saved = Path(database) if database else None
    runs, refused, *_ = find_runs(root, selection, database_dir=saved)
    found = [run.key.label for run in runs], [[run.key.label, run.reason] for run in refused]
    print(json.dumps({"runs": found[0], "refused": dict(found[1])}))
except NidecompError as error:
    print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that other users can read, with three participants, one with sessions."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="nidecomp-test-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        make_runs(folder / "in", stem("01"), stem("02"), stem("03", "1"), stem("03", "2"))
        yield folder
        for path in (folder / "in", *sorted((folder / "in").rglob("*"))):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def found_by_another_user(folder: Path, database: str = "", **selection: object) -> dict[str, Any]:
    words = (folder / "in", json.dumps(selection), database)
    return json.loads(said_by_another_user(_FIND, *words, home=folder))  # type: ignore[no-any-return]


ALL = ["sub-01_task-rest", "sub-02_task-rest", "sub-03_ses-1_task-rest", "sub-03_ses-2_task-rest"]


@pytest.mark.parametrize(
    ("closed", "label", "mode"),
    [
        ("sub-02", "sub-02", 0o000),
        ("sub-02", "sub-02", 0o444),
        ("sub-02", "sub-02", 0o111),
        ("sub-02/func", "sub-02", 0o111),
        ("sub-03/ses-1", "sub-03_ses-1", 0o000),
        ("sub-03/ses-1/func", "sub-03_ses-1", 0o444),
    ],
)
def test_a_folder_that_may_not_be_read_is_refused_by_its_name_and_the_others_are_used(
    shared: Path, closed: str, label: str, mode: int
) -> None:
    (shared / "in" / closed).chmod(mode)
    assert found_by_another_user(shared) == {
        "runs": [run for run in ALL if not run.startswith(label)],
        "refused": {label: f"its folder {closed} cannot be read: Permission denied"},
    }


def test_a_participant_that_is_a_link_to_where_we_may_not_go_is_refused(shared: Path) -> None:
    make_runs(shared / "away", stem("04"))
    (shared / "in" / "sub-04").symlink_to(shared / "away" / "sub-04")
    (shared / "away").chmod(0)
    assert found_by_another_user(shared) == {
        "runs": ALL,
        "refused": {"sub-04": "its folder sub-04 cannot be read: Permission denied"},
    }


def test_a_folder_that_may_not_be_read_matters_where_it_was_asked_for_only(shared: Path) -> None:
    (shared / "in" / "sub-02").chmod(0)
    reason = "its folder sub-02 cannot be read: Permission denied"
    for selection in ({"participant_label": ["01"]}, {"exclude_participant_label": ["02"]}):
        assert found_by_another_user(shared, **selection)["refused"] == {}
    both = found_by_another_user(shared, participant_label=["01", "02"])
    assert both == {"runs": ALL[:1], "refused": {"sub-02": reason}}
    alone = found_by_another_user(shared, participant_label=["02"])
    assert alone["exit_code"] == 70
    assert reason in alone["error"]


def test_somebody_whose_closed_folder_is_of_another_session_does_not_vanish(shared: Path) -> None:
    make_runs(shared / "in", stem("04", ses="1"))
    (shared / "in" / "sub-04" / "ses-1").chmod(0)
    named = found_by_another_user(shared, session_label=["2"], participant_label=["03", "04"])
    assert named["exit_code"] == 70
    assert (
        "sub-04: no run that can be read matches; these folders cannot be read: ses-1"
        in (named["error"])
    )


def test_folders_whose_names_are_none_of_bids_do_not_matter(shared: Path) -> None:
    for name in (b"sub-05_old", b"sub-\xff"):
        path = shared / "in" / os.fsdecode(name)
        path.mkdir(mode=0)
    assert found_by_another_user(shared) == {"runs": ALL, "refused": {}}


def test_where_no_folder_may_be_read_that_is_said(shared: Path) -> None:
    for label in ("01", "02", "03"):
        (shared / "in" / f"sub-{label}").chmod(0)
    told = found_by_another_user(shared)
    assert told["exit_code"] == 70
    assert "its folder sub-03 cannot be read: Permission denied" in told["error"]


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_dataset_that_may_not_be_read_is_a_sentence_with_its_path(
    shared: Path, mode: int
) -> None:
    (shared / "in").chmod(mode)
    told = found_by_another_user(shared)
    assert told == {
        "error": f"BIDS_DIR {shared / 'in'} cannot be read: Permission denied.",
        "exit_code": 2,
    }


@pytest.mark.parametrize(
    ("file", "what"), [(bold, "image"), (mask, "brain mask"), (confounds, "confounds table")]
)
def test_a_link_to_where_we_may_not_go_costs_its_run_alone(
    shared: Path, file: Callable[[str], str], what: str
) -> None:
    run = stem("02", task="away")
    make_runs(shared / "in", run)
    path = shared / "in" / file(run)
    path.unlink()
    path.symlink_to(shared / "away" / path.name)
    (shared / "away").mkdir(mode=0)
    reason = f"its {what} {path.name} cannot be read: Permission denied"
    for database in ("", str(shared / "db"), str(shared / "db")):
        told = found_by_another_user(shared, database)
        assert told == {"runs": ALL, "refused": {"sub-02_task-away": reason}}
    assert found_by_another_user(shared, task_id=["rest"]) == {"runs": ALL, "refused": {}}


def test_a_closed_folder_of_no_session_does_not_matter_where_sessions_were_asked_for(
    shared: Path,
) -> None:
    (shared / "in" / "sub-01" / "func").chmod(0)
    told = found_by_another_user(shared, session_label=["1"])
    assert told == {"runs": ["sub-03_ses-1_task-rest"], "refused": {}}


def test_whatever_else_may_not_be_read_costs_nothing(shared: Path) -> None:
    (shared / "in" / "sub-01" / "func" / "func").mkdir(mode=0)
    (shared / "in" / "sub-02" / "anat").symlink_to(shared / "away" / "anat")
    (shared / "in" / "sub-03" / "ses-1" / "func" / "note.txt").symlink_to(shared / "away" / "note")
    (shared / "away").mkdir(mode=0)
    for database in ("", str(shared / "db"), str(shared / "db")):
        assert found_by_another_user(shared, database) == {"runs": ALL, "refused": {}}


def test_a_saved_index_sees_that_a_folder_may_be_read_again(shared: Path) -> None:
    """Changing permissions does not change the modification time of a folder."""
    for mode, runs in ((0o000, [ALL[0], *ALL[2:]]), (0o755, ALL)):
        (shared / "in" / "sub-02").chmod(mode)
        for _ in range(2):
            assert found_by_another_user(shared, str(shared / "db"))["runs"] == runs


# ---------------------------------------------------------------- pybids' own configuration
@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("home", "{"),
        ("variable", '{"config_paths": 3}'),
        ("here", "[" * 20_000),
    ],
)
def test_a_broken_configuration_of_pybids_is_a_sentence(
    tmp_path: Path, place: str, content: str
) -> None:
    """pybids reads its configuration on import and would raise an error."""
    make_runs(tmp_path / "in", stem())
    for folder in ("home", "here", "variable"):
        (tmp_path / folder).mkdir()
    (tmp_path / place / "pybids_config.json").write_text(content)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "nidecomp",
            str(tmp_path / "in"),
            "out",
            "group",
            "--dry-run",
            "--skip-bids-validation",
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path / "here",
        env={
            **os.environ,
            "HOME": str(tmp_path / "home"),
            "PYBIDS_CONFIG": str(tmp_path / "variable" / "pybids_config.json"),
        },
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nidecomp: pybids cannot read its configuration")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["{", '{"name": "x", "entities": []}'])
def test_a_configuration_in_a_folder_of_the_dataset_does_not_matter(
    tmp_path: Path, content: str
) -> None:
    make_runs(tmp_path, stem())
    (tmp_path / "sub-01" / "func" / "layout_config.json").write_text(content)
    assert found(tmp_path) == ["sub-01_task-rest"]


# ---------------------------------------------------------------- a saved index
def test_a_saved_index_is_used_until_a_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, database = make_runs(tmp_path / "in", stem("01")), tmp_path / "db"

    def find(*, reset: bool) -> list[str]:
        runs, _, *_ = find_runs(root, DEFAULT, database_dir=database, reset_database=reset)
        return labels(runs)

    indexed = []
    index_anew = listing_module._save_index

    def counted(links: Path, saved: Path, closed: list[str], *, reset: bool) -> None:
        indexed.append(saved)
        index_anew(links, saved, closed, reset=reset)

    monkeypatch.setattr(listing_module, "_save_index", counted)
    one, both = ["sub-01_task-rest"], ["sub-01_task-rest", "sub-02_task-rest"]
    assert [find(reset=False), find(reset=False)] == [one, one]
    assert len(indexed) == 1, "the saved index was not used"
    make_runs(root, stem("02"))
    assert find(reset=False) == both, "a new participant was not seen"
    assert len(indexed) == 2
    assert find(reset=True) == both
    assert len(indexed) == 3


def test_an_index_that_another_job_saved_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """The other job may be reading its index, which was made from the same folders."""
    root, saved = make_runs(tmp_path / "in", stem("01")), tmp_path / "index"
    listing_module._save_index(root, saved, (), reset=False)
    before = {path: path.stat().st_ino for path in saved.iterdir()}
    listing_module._save_index(root, saved, (), reset=False)
    assert {path: path.stat().st_ino for path in saved.iterdir()} == before
    listing_module._save_index(root, saved, (), reset=True)
    assert {path: path.stat().st_ino for path in saved.iterdir()} != before
    assert [path.name for path in tmp_path.iterdir() if "index" in path.name] == ["index"]


def test_jobs_that_index_at_the_same_moment_do_not_disturb_each_other(tmp_path: Path) -> None:
    root, database = make_runs(tmp_path / "in", *(stem(f"{n:02d}") for n in range(1, 20))), "db"
    code = (
        "import sys; from pathlib import Path; from nidecomp.bids.index import find_runs; "
        "from nidecomp.config.science import Selection; "
        "print(len(find_runs(Path(sys.argv[1]), Selection(), database_dir=Path(sys.argv[2]))[0]))"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / database)]
    jobs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [job.communicate()[0].strip() for job in jobs] == ["19"] * 4


def test_a_saved_index_gives_what_a_new_one_gives(tmp_path: Path) -> None:
    root = make_runs(tmp_path / "in", stem("01", "1", run="01"), stem("02", acq="a"), res="2")
    make(root, bold(stem("03"), res="2"))
    fresh = find_runs(root, DEFAULT)
    for _ in range(2):
        assert find_runs(root, DEFAULT, database_dir=tmp_path / "db") == fresh


@pytest.mark.parametrize("left", [0, 3000])
def test_a_damaged_index_is_made_again(
    tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_runs(tmp_path / "in", stem("01"), stem("02"))
    fresh = find_runs(root, DEFAULT, database_dir=tmp_path / "db")
    (database,) = (tmp_path / "db").glob("*/index/*.sqlite")
    os.truncate(database, left)
    for n_warnings in (1, 1):
        assert find_runs(root, DEFAULT, database_dir=tmp_path / "db") == fresh
        assert caplog.text.count("is damaged; indexing again") == n_warnings


def test_a_saved_index_sees_new_files_in_a_folder_that_kept_its_time(tmp_path: Path) -> None:
    root = make_runs(tmp_path / "in", stem("01"))
    assert len(find_runs(root, DEFAULT, database_dir=tmp_path / "db").runs) == 1
    func = root / "sub-01" / "func"
    before = func.stat()
    make_runs(root, stem("01", task="nback"))
    os.utime(func, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(find_runs(root, DEFAULT, database_dir=tmp_path / "db").runs) == 2


def test_a_saved_index_answers_every_selection(tmp_path: Path) -> None:
    root = make_runs(tmp_path / "in", stem("01"), stem("02"))
    for sub in ("01", "02"):
        runs, _, *_ = find_runs(
            root, Selection(participant_label=(sub,)), database_dir=tmp_path / "new" / "db"
        )
        assert labels(runs) == [f"sub-{sub}_task-rest"]


def test_two_datasets_share_a_folder_for_their_indexes(tmp_path: Path) -> None:
    for _ in range(2):
        for sub in ("01", "02"):
            root = make_runs(tmp_path / sub, stem(sub))
            runs, _, *_ = find_runs(root, DEFAULT, database_dir=tmp_path / "db")
            assert [files.bold for files in runs] == [root / bold(stem(sub))]


def test_a_saved_index_gives_paths_below_the_root_that_is_asked_for(tmp_path: Path) -> None:
    """Paths in the inventory are relative to the root, also if that is a symbolic link."""
    make_runs(tmp_path / "in", stem())
    (tmp_path / "link").symlink_to("in")
    for root in (tmp_path / "link", tmp_path / "in", tmp_path / "link"):
        ((files,), _, *_) = find_runs(root, DEFAULT, database_dir=tmp_path / "db")
        assert files.bold.is_relative_to(root)


@pytest.mark.parametrize("saved", [False, True])
def test_nothing_is_written_into_the_input(tmp_path: Path, saved: bool) -> None:
    root = make_runs(tmp_path / "in", stem("01"), stem("02", "1"))
    before = listing(root)
    for reset in (False, True):
        find_runs(
            root, DEFAULT, database_dir=tmp_path / "db" if saved else None, reset_database=reset
        )
    assert listing(root) == before
    assert (tmp_path / "db").exists() == saved


# ---------------------------------------------------------------- size
def test_three_hundred_runs_are_indexed_in_a_few_seconds(tmp_path: Path) -> None:
    runs = [stem(f"{number:03d}", ses) for number in range(150) for ses in "12"]
    make_runs(tmp_path, *runs)
    # Other files written by fMRIPrep, which are not needed.
    make(tmp_path, *(f"{run}_desc-{number}_timeseries.json" for run in runs for number in range(5)))
    started = time.process_time()
    assert len(found(tmp_path)) == len(runs)
    assert time.process_time() - started < 5


def test_a_run_is_found_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    root = make_runs(tmp_path, stem("01"), stem("02"))
    (root / "sub-01" / "ses-again").symlink_to("..")
    (root / "sub-02" / "ses-again").symlink_to(root / "sub-02")
    assert found(root) == ["sub-01_task-rest", "sub-02_task-rest"]


def test_names_that_are_no_utf8_are_none_of_bids(tmp_path: Path) -> None:
    root = make_runs(tmp_path, stem("01"))
    before = found(root)
    (root / "sub-01" / "func" / os.fsdecode(b"sub-01_task-\xff_bold.nii.gz")).write_text("")
    (root / os.fsdecode(b"sub-\xff")).mkdir()
    assert found(root) == before


@pytest.mark.parametrize("kind", ["image", "brain mask", "confounds table"])
def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    root = make_runs(tmp_path, stem("01"))
    pattern = {"image": "*_bold.nii.gz", "brain mask": "*_mask.nii.gz", "confounds table": "*.tsv"}
    (path,) = root.rglob(pattern[kind])
    path.unlink()
    os.mkfifo(path)
    assert only_refusal(root) == f"its {kind} {path.name} is not a regular file"
