"""Every small dataset ends as its line in bids_fixtures/README.md says."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import generate
import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, Finished, metadata, nidecomp, snapshot, validator_issues

README = (FIXTURES / "README.md").read_text(encoding="utf-8")
# dataset | trait | folder and options | exit code | used, refused, failed | what the user reads
LINE = re.compile(
    r"^\| `(?P<name>[\w-]+)` \|[^|]*\| `(?P<words>[^`]*)` \| (?P<code>\d+) "
    r"\| (?P<used>\d+), (?P<refused>\d+), (?P<failed>\d+) \|(?P<says>[^|]*)\|$",
    re.MULTILINE,
)
# Noise alone takes each restart to its last iteration.
FEW_RESTARTS = ("--n-init", "2")
# Traits that show in what only the full level writes: names of files, and values in all images.
FULL = {"entity_mix", "nan_voxels", "no_res", "several_tasks", "sub-study"}
# Participants are compared at the full level only.
COMPARED = {"collinear_columns", "small_level", "unmatched_people"}
# Their tests are in test_demo.py and test_groups.py.
DEMOS = {"rest", "groups"}
TRAITS = {match["name"]: match for match in LINE.finditer(README)}


def test_every_dataset_has_a_line() -> None:
    assert set(TRAITS) == set(generate.DATASETS)


@dataclass(frozen=True)
class Ended:
    """How a dataset's command ended, its results, and the input's files before."""

    done: Finished
    output: Path
    before: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    """Run the command of a dataset's line, once."""

    @cache
    def run(name: str) -> Ended:
        folder, *options = shlex.split(TRAITS[name]["words"])
        before = snapshot(FIXTURES / name)
        output = tmp_path_factory.mktemp(name) / "networks"
        level = () if name in FULL | COMPARED else ("--level", "minimal")
        if name in FULL - {"several_tasks"}:
            # What is looked at does not depend on it, and surrogates take half of the time.
            level = ("--n-splits", "0")
        done = nidecomp(FIXTURES / folder, output, "group", *FEW_RESTARTS, *level, *options)
        return Ended(done, output, before)

    return run


@pytest.mark.parametrize("name", sorted(set(generate.DATASETS) - DEMOS))
def test_a_dataset_ends_as_its_line_says(name: str, ended: Callable[[str], Ended]) -> None:
    line = TRAITS[name]
    done, output = ended(name).done, ended(name).output
    assert done.exit_code == int(line["code"]), done.stderr
    assert "Traceback" not in done.stderr
    assert line["says"].strip() in " ".join(done.stderr.split())
    assert snapshot(FIXTURES / name) == ended(name).before, "the input was touched"
    status = [row["status"] for row in inventory(output)]
    counted = [str(status.count(word)) for word in ("used", "refused", "failed")]
    assert counted == [line["used"], line["refused"], line["failed"]]
    # Minimal outputs of the others have the same files.
    if name in FULL | {"many_tasks"}:
        assert line["code"] == "0"
        assert validator_issues(output) == []


def inventory(output: Path) -> list[dict[str, str]]:
    """Return the table of runs; empty if the command ended before there was one."""
    path = output / "logs" / "inventory.tsv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def row_of(output: Path, run: str) -> dict[str, str]:
    return next(row for row in inventory(output) if row["run"] == run)


def test_several_tasks_are_pooled_under_one_name(ended: Callable[[str], Ended]) -> None:
    names = [path.name for path in ended("several_tasks").output.glob("tpl-*/func/*.nii.gz")]
    assert names
    assert all("_task-nback+rest_" in name for name in names)


def test_without_res_no_output_has_one(ended: Callable[[str], Ended]) -> None:
    names = [path.name for path in ended("no_res").output.rglob("tpl-*/*/*")]
    assert names
    assert not any("_res-" in name for name in names)


def test_nan_voxels_are_counted_and_maps_are_finite(ended: Callable[[str], Ended]) -> None:
    output = ended("nan_voxels").output
    counts = {row["run"]: row["n_nonfinite_voxels"] for row in inventory(output)}
    assert counts == {"sub-01_task-rest": "0", "sub-02_task-rest": "7", "sub-03_task-rest": "0"}
    for path in output.rglob("*.nii.gz"):
        assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()


def test_non_steady_state_volumes_are_dropped_and_written_down(
    ended: Callable[[str], Ended],
) -> None:
    output = ended("non_steady_state").output
    for row in inventory(output):
        assert int(row["n_volumes"]) - int(row["n_volumes_kept"]) == 3
    for path in output.rglob("*_outliers.tsv"):
        dropped = path.read_text().split()[1:]
        assert dropped[:4] == ["1", "1", "1", "0"]
        assert dropped.count("1") == 3


def test_a_run_on_another_grid_is_resampled_and_counted(ended: Callable[[str], Ended]) -> None:
    resampled = {row["run"]: row["resampled"] for row in inventory(ended("other_grid").output)}
    assert resampled["sub-02_task-rest"] == "true"
    assert list(resampled.values()).count("true") == 1


def test_many_tasks_have_a_bounded_name_and_are_listed(ended: Callable[[str], Ended]) -> None:
    output = ended("many_tasks").output
    names = {path.name for path in output.glob("tpl-*/func/*")}
    assert names
    assert all(re.search(r"_task-4tasks\+[0-9a-f]{6}_", name) for name in names)
    for suffix in ("components", "decomposition"):
        for path in output.glob(f"tpl-*/func/*_{suffix}.json"):
            tasks = json.loads(path.read_text(encoding="utf-8"))["PooledTasks"]
            assert tasks == [
                "emotionrecognition",
                "gamblinglosses",
                "languagestory",
                "motorexecution",
            ]


def test_everybody_has_a_line(ended: Callable[[str], Ended]) -> None:
    unmatched = {
        row["run"]: row["reason"]
        for row in inventory(ended("absent_people").output)
        if row["status"] == "not matched"
    }
    assert unmatched == {
        "sub-04": "it has no func folder",
        "sub-05": "its BOLD images (1) do not match the selection: space is MNI152NLin6Asym",
        "sub-A_06": "the label in its name may have letters and digits only: rename the folder "
        "'sub-A_06' and its files",
    }


def test_a_dry_run_shows_who_does_not_match() -> None:
    done = nidecomp(FIXTURES / "absent_people", "nowhere", "group", "--dry-run")
    assert done.exit_code == 0
    assert "sub-04            not matched   it has no func folder" in done.stdout
    assert "3 runs used, 0 refused, 3 folders without a matching run" in done.stdout


def test_what_is_spelled_in_another_way_is_the_same(ended: Callable[[str], Ended]) -> None:
    rows = inventory(ended("spellings").output)
    assert [(row["resampled"], row["repetition_time_source"]) for row in rows] == [
        ("false", "sidecar")
    ] * 3


def test_a_high_pass_filter_of_ours_replaces_missing_cosines(tmp_path: Path) -> None:
    options = ("--n-components", "3", *FEW_RESTARTS, "--level", "minimal", "--methods", "canica")
    done = nidecomp(FIXTURES / "no_cosines", tmp_path, "group", *options, "--high-pass", "0.008")
    assert done.exit_code == 0, done.stderr
    rows = inventory(tmp_path)
    assert [row["regressors"] for row in rows] == [
        "trend 2, filter 2, high_pass 1, motion 24, wm_csf 2",
        "trend 2, filter 2, high_pass 0, motion 24, wm_csf 2",
        "trend 2, filter 2, high_pass 1, motion 24, wm_csf 2",
    ]


def test_motion_of_zeros_is_unknown_and_never_the_best(tmp_path: Path) -> None:
    source = FIXTURES / "motion_zeros"
    options = ("--n-components", "3", *FEW_RESTARTS, "--level", "minimal", "--methods", "canica")
    strict = nidecomp(source, tmp_path / "strict", "group", *options, "--mean-fd-cutoff", "0.01")
    assert strict.exit_code == 70
    assert "1 run (sub-02_task-rest): its framewise_displacement is 0 at all" in strict.stderr
    without = ("--denoise-strategy", "wm_csf+high_pass")
    done = nidecomp(source, tmp_path / "out", "group", *options, *without)
    assert done.exit_code == 0, done.stderr
    row = row_of(tmp_path / "out", "sub-02_task-rest")
    assert row["mean_fd"] == "n/a"
    assert "the mean framewise displacement is unknown" in row["notes"]


def test_repetition_times_are_those_of_the_sidecars(ended: Callable[[str], Ended]) -> None:
    found = {
        row["run"][:6]: (row["repetition_time"], row["repetition_time_source"])
        for row in inventory(ended("tr_field").output)
    }
    assert found == {
        "sub-01": ("2", "sidecar"),
        "sub-02": ("2", "sidecar"),
        "sub-03": ("2", "sidecar"),
        "sub-04": ("n/a", "n/a"),
        "sub-05": ("2", "VolumeTiming"),
    }
    inherited = inventory(ended("tr_inherited").output)
    assert {(row["repetition_time"], row["repetition_time_source"]) for row in inherited} == {
        ("2", "sidecar task-rest_bold.json")
    }


def test_faint_tails_are_no_brain(ended: Callable[[str], Ended]) -> None:
    """Half of the maximum gives about the mask that was blurred, not the field of view."""
    for row in inventory(ended("soft_masks").output):
        whole = nib.load(FIXTURES / "soft_masks" / row["source_file"]).shape[:3]
        true = nib.load(next((FIXTURES / "no_res").rglob("*_mask.nii.gz"))).get_fdata().sum()
        assert int(row["mask_voxels"]) < 0.75 * np.prod(whole)
        assert int(row["mask_voxels"]) == pytest.approx(true, rel=0.3)


def test_each_run_is_described_by_its_own_json_where_names_contain_others(
    ended: Callable[[str], Ended],
) -> None:
    output = ended("entity_mix").output
    tables = list(output.glob("sub-01/func/*_timeseries.tsv"))
    assert {"_acq-mb_" in path.name for path in tables} == {True, False}
    for path in tables:
        run = path.name.partition("_space-")[0]
        assert f"/{run}_space-" in metadata(path, output)["Sources"][0]


def test_empty_volumes_are_dropped_everywhere(ended: Callable[[str], Ended]) -> None:
    output = ended("empty_volumes").output
    row = row_of(output, "sub-02_task-rest")
    assert (row["n_volumes_kept"], row["dropped"]) == ("60", "empty 6")
    empty = [30, 61, 62, 63, 64, 65]
    (outliers,) = output.glob("sub-02/func/*_outliers.tsv")
    flags = outliers.read_text().split()[1:]
    assert [index for index, flag in enumerate(flags) if flag == "1"] == empty
    for path in output.glob("sub-02/func/*_timeseries.tsv"):
        lines = path.read_text().splitlines()[1:]
        assert [index for index, line in enumerate(lines) if "n/a" in line] == empty
        sidecar = metadata(path, output)
        assert sidecar["DroppedVolumes"] == {"empty": 6}
        assert any("without signal" in note for note in sidecar["Notes"])


def test_fd_threshold_scrubs_only_what_moved(tmp_path: Path) -> None:
    """A threshold drops exactly the volumes whose displacement is above it."""
    output = tmp_path / "networks"
    source = FIXTURES / "no_res"
    done = nidecomp(
        source, output, "group", "--n-components", "3", *FEW_RESTARTS, "--fd-threshold", "0.1"
    )
    assert done.exit_code == 0, done.stderr
    n_dropped = 0
    for path in output.rglob("*_outliers.tsv"):
        table = next(source.rglob(path.name.replace("outliers", "desc-confounds_timeseries")))
        with table.open(encoding="utf-8", newline="") as file:
            moved = [
                float(row["framewise_displacement"].replace("n/a", "0")) > 0.1
                for row in csv.DictReader(file, delimiter="\t")
            ]
        assert [value == "1" for value in path.read_text().split()[1:]] == moved
        n_dropped += sum(moved)
    assert n_dropped > 0


def test_one_participants_data_under_two_names_are_told(tmp_path: Path) -> None:
    """A copy makes everything look reproducible."""
    source = FIXTURES / "several_tasks"
    options = ("group", *FEW_RESTARTS, "--n-components", "3", "--task-id", "rest")
    minimal = ("--level", "minimal")
    honest = nidecomp(source, tmp_path / "honest", *options, *minimal)
    assert "the same data" not in honest.stderr
    copied = shutil.copytree(source, tmp_path / "input")
    for path in sorted((copied / "sub-01").rglob("*_task-rest_*")):
        target = Path(str(path).replace("sub-01", "sub-09"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    done = nidecomp(copied, tmp_path / "out", *options, *minimal)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("have identical data: is one a copy") == 1
    assert re.search(r"sub-01_task-rest\S*, sub-09_task-rest\S* have identical", done.stderr)
