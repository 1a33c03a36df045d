"""The table of all runs: each once, sorted, whatever the reasons hold."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from nidecomp.bids.datasets import Datasets
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun, UnmatchedFolder
from nidecomp.core.records import ReducedRun, RunFiles, RunKey, UsableRun
from nidecomp.outputs.dry_run import as_text
from nidecomp.outputs.inventory import COLUMNS, rows
from nidecomp.outputs.tree import OutputTree
from nidecomp.spaces.grid import Grid

ROOT = Path("/data/fmriprep")
DATASETS = Datasets.alone(ROOT)
GRID = Grid((2, 2, 2), ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0)))
LAW = law(deadline=None, max_examples=50, database=None)
HOSTILE = "tab\there\nnew line\r\nand \u2028 more\n"


def key(label: str) -> RunKey:
    return RunKey((("sub", label), ("task", "rest")))


def bold(label: str) -> Path:
    return ROOT / f"sub-{label}" / "func" / f"sub-{label}_task-rest_bold.nii.gz"


def used(label: str, **changed: object) -> UsableRun:
    run = UsableRun(
        files=RunFiles(key(label), "MNI", None, bold(label), None, None),
        grid=GRID,
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=100,
        stored_bytes=2,
        kept=tuple(range(90)),
        n_regressors=7,
        mean_fd_mm=0.125,
    )
    return replace(run, **changed)  # type: ignore[arg-type]


def refused(label: str, reason: str = "too short") -> RefusedRun:
    return RefusedRun(key(label), bold(label), reason)


def failed(label: str, reason: str = "it broke") -> FailedRun:
    return FailedRun(key(label), bold(label), reason)


def reduced(label: str, total: float = 4.0) -> ReducedRun:
    return ReducedRun(used(label), Path("/work/x"), 6.0, 5, 50, total, (total / 8, total / 8), 3, 2)


# ---------------------------------------------------------------- rows
@LAW
@given(st.permutations(["1", "2", "10", "a", "B", "c"]), st.integers(0, 6), st.integers(0, 6))
def test_every_run_stands_once_sorted_whatever_came_first(
    labels: list[str], first: int, second: int
) -> None:
    first, second = sorted((first, second))
    inventory = Inventory(
        tuple(used(label) for label in labels[:first]),
        tuple(refused(label) for label in labels[first:second]),
        tuple(failed(label) for label in labels[second:]),
    )
    table = rows(inventory, DATASETS)
    names = [str(row["run"]) for row in table]
    assert names == sorted(key(label).label for label in labels)
    status = {row["run"]: row["status"] for row in table}
    for number, label in enumerate(labels):
        expected = "used" if number < first else "refused" if number < second else "failed"
        assert status[key(label).label] == expected


def test_every_row_has_every_column_in_order() -> None:
    table = rows(Inventory((used("1"),), (refused("2"),), (failed("3"),)), DATASETS, [reduced("1")])
    assert [list(row) for row in table] == [list(COLUMNS)] * 3


def test_a_failed_run_is_not_listed_as_used_as_well() -> None:
    table = rows(Inventory((used("1"), used("2")), (), (failed("2"),)), DATASETS, [reduced("1")])
    assert [(row["run"], row["status"]) for row in table] == [
        (key("1").label, "used"),
        (key("2").label, "failed"),
    ]


def test_two_files_of_one_refused_run_are_both_listed_in_a_fixed_order() -> None:
    twins = [RefusedRun(key("1"), bold("1").with_name(name), "two") for name in ("b.nii", "a.nii")]
    for order in itertools.permutations(twins):
        table = rows(Inventory((), tuple(order)), DATASETS)
        assert [row["source_file"] for row in table] == [
            "sub-1/func/a.nii",
            "sub-1/func/b.nii",
        ]


def test_paths_are_relative_to_the_dataset() -> None:
    table = rows(Inventory((used("1"),), (refused("2"),), (failed("3"),)), DATASETS)
    assert all(ROOT / str(row["source_file"]) == bold(str(row["run"])[4]) for row in table)


def test_what_a_run_told_stands_in_its_row() -> None:
    (row,) = rows(Inventory((used("1", resampled=True, coverage=0.5),)), DATASETS)
    expected = {
        "repetition_time": 2.0,
        "n_volumes": 100,
        "n_volumes_kept": 90,
        "n_regressors": 7,
        "mean_fd": 0.125,
        "resampled": True,
        "mask_coverage": 0.5,
        "reason": None,
    }
    assert expected.items() <= row.items()
    assert row["variance_kept"] is None, "it was not reduced"


def test_what_the_reduce_step_found_stands_in_the_row_of_its_run() -> None:
    table = rows(Inventory((used("1"), used("2"))), DATASETS, [reduced("2")])
    assert [row["variance_kept"] for row in table] == [None, 0.25]
    assert [row["n_nonfinite_voxels"] for row in table] == [None, 3]
    assert [row["n_constant_voxels"] for row in table] == [None, 2]


def test_the_share_kept_is_that_of_the_components_asked_for() -> None:
    record = reduced("1", total=4.0)
    assert [record.variance_share(n) for n in (0, 1, 2, 9)] == [0.0, 0.125, 0.25, 0.25]
    assert reduced("1", total=0.0).variance_share(2) == 0.0


def test_what_a_careful_user_checks_is_in_the_row() -> None:
    run = used(
        "1",
        notes=("one thing", "another"),
        repetition_time_source="header",
        regressors=(("trend", 2), ("motion", 24)),
        dropped=(("dummy", 4), ("short segments", 6)),
        mask_voxels=321,
    )
    (row,) = rows(Inventory((run,)), DATASETS)
    expected = {
        "notes": "one thing; another",
        "reason": None,
        "repetition_time_source": "header",
        "regressors": "trend 2, motion 24",
        "dropped": "dummy 4, short segments 6",
        "mask_voxels": 321,
    }
    assert expected.items() <= row.items()


def test_a_folder_without_runs_has_a_row() -> None:
    folder = UnmatchedFolder("sub-4", ROOT / "sub-4", "it has no func folder")
    (row,) = rows(Inventory(unmatched=(folder,)), DATASETS)
    assert {name: value for name, value in row.items() if value is not None} == {
        "run": "sub-4",
        "status": "not matched",
        "reason": "it has no func folder",
        "source_file": "sub-4",
    }
    assert as_text([row]) == "sub-4  not matched   it has no func folder"


def test_equal_notes_and_reasons_are_one_line_whatever_the_run_is_called() -> None:
    reasons = [f"not fetched; try 'datalad get {bold(label)}'" for label in "1234"]
    runs = tuple(refused(label, reason) for label, reason in zip("1234", reasons, strict=True))
    text = Inventory(refused=(*runs, refused("5", "too short"))).reasons()
    assert text.splitlines() == [
        "  4 runs (sub-1_task-rest, sub-2_task-rest, sub-3_task-rest, …): not fetched; try "
        f"'datalad get {ROOT / 'sub-*' / 'func' / '*_bold.nii.gz'}'",
        "  1 run (sub-5_task-rest): too short",
    ]
    alone = Inventory(refused=runs[:1]).reasons()
    assert str(bold("1")) in alone
    noted = Inventory(tuple(used(label, notes=("same",)) for label in "12"))
    assert noted.notes() == (("same", ("sub-1_task-rest", "sub-2_task-rest")),)


def test_a_run_that_was_not_used_has_no_numbers() -> None:
    known = {"run", "status", "reason", "source_file"}
    for row in rows(Inventory((), (refused("1"),), (failed("2"),)), DATASETS):
        assert {name for name, value in row.items() if value is not None} == known


def test_an_empty_inventory_has_no_rows() -> None:
    assert rows(Inventory(), DATASETS) == []
    assert as_text([]) == ""


@LAW
@given(st.text(st.characters(codec="utf-8")))
def test_no_reason_breaks_the_table_that_is_written(
    tmp_path_factory: pytest.TempPathFactory, reason: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "inventory"
    table = rows(Inventory((used("1"),), (refused("2", reason),), (failed("3", reason),)), DATASETS)
    path = PurePosixPath("inventory.tsv")
    OutputTree(root).write_tsv(path, tuple(COLUMNS), table)
    lines = (root / path).read_text(encoding="utf-8").split("\n")
    assert [line.count("\t") for line in lines] == [len(COLUMNS) - 1] * 4 + [0]
    assert lines[-1] == ""


# ---------------------------------------------------------------- for a terminal
def test_the_text_has_a_line_for_each_run_with_its_numbers() -> None:
    inventory = Inventory((used("1", resampled=True),), (refused("2"),), (failed("333"),))
    lines = as_text(rows(inventory, DATASETS)).splitlines()
    assert [line.split()[:2] for line in lines] == [
        [key("1").label, "used"],
        [key("2").label, "refused"],
        [key("333").label, "failed"],
    ]
    for part in ("90/100 volumes", "7 regressors", "TR 2 s", "0.12 mm", "resampled"):
        assert part in lines[0]
    assert lines[1].endswith("too short")
    assert lines[2].endswith("it broke")


def test_the_status_stands_in_one_column() -> None:
    labels = ("1", "22", "333")
    lines = as_text(rows(Inventory(tuple(used(label) for label in labels)), DATASETS)).splitlines()
    assert len({line.index("used") for line in lines}) == 1


def test_numbers_that_are_not_known_are_left_out_of_the_text() -> None:
    (line,) = as_text(rows(Inventory((used("1", mean_fd_mm=None),)), DATASETS)).splitlines()
    assert "FD" not in line
    assert "None" not in line
    assert "resampled" not in line


@pytest.mark.parametrize("reason", [HOSTILE, "ends in a line break\n", "a\rb", "a\x1bb\u2028c"])
def test_no_reason_breaks_the_line_of_its_run(reason: str) -> None:
    """pandas' own messages end in a line break, and they become reasons."""
    inventory = Inventory((used("1", notes=(reason,)),), (refused("2", reason),), ())
    assert len(as_text(rows(inventory, DATASETS)).splitlines()) == 2
