"""Sidecars apply to a file by the inheritance principle of BIDS."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_trees import bold, confounds, make, make_runs, search, stem

from nidecomp.bids.sidecars import Sidecars, ambiguous_sidecars

RUN = stem(ses="a", run="1")


def names(root: Path, path: str) -> list[str]:
    return [one.relative_to(root).as_posix() for one in Sidecars(root).of(root / path)]


def test_the_nearest_and_the_most_specific_come_last(tmp_path: Path) -> None:
    own = bold(RUN).replace(".nii.gz", ".json")
    expected = [
        "bold.json",
        "task-rest_bold.json",
        "sub-01/sub-01_task-rest_run-01_bold.json",
        "sub-01/ses-a/sub-01_ses-a_bold.json",
        own,
    ]
    make(tmp_path, bold(RUN), *expected)
    assert names(tmp_path, bold(RUN)) == expected


@pytest.mark.parametrize(
    "other",
    [
        "task-nback_bold.json",
        "task-rest_acq-x_bold.json",
        "run-2_bold.json",
        "task-rest_boldref.json",
        "task-rest-open_bold.json",
        "task-rest_open_bold.json",
        "task-rest_bold.tsv",
        "sub-02/task-rest_bold.json",
        "sub-01/ses-b/task-rest_bold.json",
        "../task-rest_bold.json",
    ],
)
def test_sidecars_of_others_do_not_apply(tmp_path: Path, other: str) -> None:
    root = tmp_path / "in"
    make(root, bold(RUN), other)
    assert names(root, bold(RUN)) == []


def test_a_run_knows_the_sidecars_of_its_image_and_of_its_table(tmp_path: Path) -> None:
    make_runs(tmp_path, RUN)
    make(tmp_path, "task-rest_bold.json", "desc-confounds_timeseries.json")
    ((files,), _, *_) = search(tmp_path)
    assert files.sidecars == (tmp_path / "task-rest_bold.json",)
    assert files.confounds_sidecars == (tmp_path / "desc-confounds_timeseries.json",)


def test_sidecars_that_apply_equally_are_refused(tmp_path: Path) -> None:
    make_runs(tmp_path, RUN)
    make(tmp_path, "task-rest_bold.json", "ses-a_bold.json")
    (refused,) = search(tmp_path).refused
    assert "ses-a_bold.json and task-rest_bold.json apply to it equally" in refused.reason
    assert ambiguous_sidecars((tmp_path / "bold.json", tmp_path / "task-rest_bold.json")) is None


@pytest.mark.parametrize("which", ["task-rest_bold.json", confounds(RUN).replace("tsv", "json")])
@pytest.mark.parametrize("kind", ["link", "pointer"])
def test_a_sidecar_that_was_not_fetched_costs_its_run(
    tmp_path: Path, which: str, kind: str
) -> None:
    make_runs(tmp_path, RUN, stem("02", task="other"))
    path = make(tmp_path, which) / which
    if kind == "link":
        path.unlink()
        path.symlink_to(".git/annex/objects/aa/bb/MD5E-s9--0.json/MD5E-s9--0.json")
    else:
        path.write_text("/annex/objects/MD5E-s9--0123.json\n")
    found = search(tmp_path)
    assert [run.key.label for run in found.runs] == ["sub-02_task-other"]
    (refused,) = found.refused
    assert refused.reason == (
        f"the content of its sidecar was not fetched; try 'datalad get {path}'"
    )
