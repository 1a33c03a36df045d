"""A command that is repeated makes nothing again; what is missing, changed or grown is made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from grayordinate_examples import gifti_space
from run_examples import run_of
from support import FIXTURES, nidecomp, results, small, snapshot

from nidecomp.bids.datasets import Dataset, Datasets
from nidecomp.bids.same_input import made_from
from nidecomp.config.parse import settings_from_options
from nidecomp.config.request import Request
from nidecomp.core.inventory import FailedRun, Inventory
from nidecomp.core.records import RunKey
from nidecomp.outputs.finished import (
    MADE_FROM,
    Origin,
    about_manifest,
    is_finished,
    origin_of,
)
from nidecomp.outputs.report import build
from nidecomp.outputs.report.build import REPORT, keep_results

NOTHING = "nothing is made again"


@pytest.fixture
def made(small_output: Path, tmp_path: Path) -> Path:
    """A copy of results, as deep in the tree, so that links to their input are the same."""
    output = tmp_path / "networks"
    shutil.copytree(small_output, output, symlinks=True)
    return output


def but_log(output: Path) -> dict[str, tuple[int, int]]:
    """Leave out what the log changes."""
    own = {"logs", "logs/nidecomp.log"}
    return {name: one for name, one in snapshot(output).items() if name not in own}


def test_nothing_is_made_again(made: Path) -> None:
    """But what a start that was killed at its end has left is removed."""
    before = but_log(made)
    (made / "logs" / ".123-0123abcd-resources.tsv").write_text("")
    done = nidecomp(*small(made))
    assert (done.exit_code, done.stderr.count(NOTHING)) == (0, 1), done.stderr
    assert but_log(made) == before


def lose_a_table(output: Path) -> None:
    next(output.glob("sub-01/**/*_timeseries.tsv")).unlink()


def change_a_number(output: Path) -> None:
    path = output / "participants.tsv"
    path.write_text(path.read_text().replace("1", "2", 1))


def cut_an_image(output: Path) -> None:
    path = next(output.glob("tpl-*/**/*_components.nii.gz"))
    path.write_bytes(path.read_bytes()[:-1])


def lose_the_manifest(output: Path) -> None:
    (output / "logs" / "manifest.tsv").unlink()


def of_another_version(output: Path) -> None:
    content = json.loads((output / MADE_FROM).read_text())
    content["MadeFrom"]["versions"] = "0"
    (output / MADE_FROM).write_text(json.dumps(content))


def of_before(output: Path) -> None:
    (output / MADE_FROM).unlink()


@pytest.mark.parametrize(
    "harm",
    [lose_a_table, change_a_number, cut_an_image, lose_the_manifest, of_another_version, of_before],
)
def test_results_that_are_not_whole_are_not_finished(
    made: Path, harm: Callable[[Path], None]
) -> None:
    origin = json.loads((made / MADE_FROM).read_text())["MadeFrom"]
    assert is_finished(made, origin)
    harm(made)
    assert not is_finished(made, origin)
    assert not is_finished(made, None)


def test_what_was_lost_is_made_again(made: Path, small_output: Path) -> None:
    """What was fitted is found, and its warnings are said as before."""
    cut_an_image(made)
    said = (made / "logs" / "nidecomp.log").read_text()
    done = nidecomp(*small(made))
    assert "The decomposition of these runs is in" in done.stderr
    warnings = [line.partition("WARNING ")[2] for line in said.splitlines() if "WARNING" in line]
    assert warnings
    assert all(warning in done.stderr for warning in warnings)
    assert results(made) == results(small_output)


def test_a_study_that_has_grown_replaces_its_results_and_says_so(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "networks"
    shutil.copytree(FIXTURES / "several_tasks", source)
    command = (source, output, "group", "--n-components", "3", "--n-init", "2")
    command = (*command, "--level", "minimal")
    (source / "sub-03").rename(tmp_path / "sub-03")
    assert nidecomp(*command).exit_code == 0
    (tmp_path / "sub-03").rename(source / "sub-03")
    done = nidecomp(*command)
    assert "were made from other runs: they are replaced" in done.stderr
    assert "sub-03" in (output / "participants.tsv").read_text()
    assert len(list((output / "work" / "fitted").iterdir())) == 1


def test_a_folder_that_was_moved_is_that_of_the_same_input(made: Path, tmp_path: Path) -> None:
    moved = tmp_path / "deeper" / "networks"
    shutil.copytree(made, moved)
    done = nidecomp(*small(moved))
    assert done.exit_code == 0, done.stderr
    assert "were made from another path of the dataset: they are replaced" in done.stderr
    assert "The decomposition of these runs is in" in done.stderr
    before, after = results(made), results(moved)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"dataset_description.json", "logs/manifest.json", "logs/manifest.tsv"}
    assert len(after) == len(before)


def test_another_dataset_of_the_same_names_is_refused(made: Path, tmp_path: Path) -> None:
    source = tmp_path / "several_tasks"
    shutil.copytree(FIXTURES / "several_tasks", source)
    with next(source.glob("sub-02/func/*nback*confounds*.tsv")).open("a") as table:
        table.write("\n")
    done = nidecomp(source, *small(made)[1:])
    assert done.exit_code == 2
    assert "holds results of another request: input was '" in done.stderr


LISTED = "run\tkind\turi\tsize\nr\tbold\tbids:preprocessed:sub-01/a.nii\t3\n"


@pytest.mark.parametrize(
    ("listed", "programs", "is_same"),
    [
        (LISTED, ["fMRIPrep"], True),
        (LISTED + "r\tmask\tbids:preprocessed:gone.nii\t9\n", ["fMRIPrep"], True),
        (LISTED.replace("\t3\n", "\t4\n"), ["fMRIPrep"], False),
        (LISTED.replace("a.nii", "b.nii"), ["fMRIPrep"], False),
        (LISTED.replace("\t3\n", "\tn/a\n"), ["fMRIPrep"], False),
        (LISTED.replace("\tsize", "").replace("\t3\n", "\n"), ["fMRIPrep"], False),
        (LISTED, ["XCP-D"], False),
        (LISTED.replace("sub-01/a", "sub-01/\0"), ["fMRIPrep"], False),
        ("\xff", ["fMRIPrep"], False),
        (None, ["fMRIPrep"], False),
    ],
)
def test_an_input_is_known_by_its_programs_and_the_sizes_of_its_files(
    tmp_path: Path, listed: str | None, programs: list[str], *, is_same: bool
) -> None:
    root, output = tmp_path / "in", tmp_path / "out"
    (root / "sub-01").mkdir(parents=True)
    (output / "logs").mkdir(parents=True)
    (root / "sub-01" / "a.nii").write_text("abc")
    (root / "sub-01" / "pointer.nii").symlink_to("nowhere")
    for folder, names in ((root, programs), (output, ["NiDecomp", "fMRIPrep"])):
        made_by = [{"Name": name, "Version": "1"} for name in names]
        (folder / "dataset_description.json").write_text(json.dumps({"GeneratedBy": made_by}))
    if listed is not None:
        (output / "logs" / "sources.tsv").write_text(listed, encoding="latin-1")
    assert made_from(output, Dataset("", root, root)) is is_same


@pytest.mark.parametrize(
    ("name", "program", "is_same"),
    [("B", "fMRIPrep", True), ("C", "fMRIPrep", False), ("B", "XCP-D", False)],
)
def test_one_of_several_inputs_is_known_by_its_own_files(
    tmp_path: Path, name: str, program: str, *, is_same: bool
) -> None:
    root, output = tmp_path / "in", tmp_path / "out"
    for folder, names in ((root, [program]), (output, ["NiDecomp", "tedana", "fMRIPrep"])):
        (folder / "logs").mkdir(parents=True)
        made_by = [{"Name": one, "Version": "1"} for one in names]
        (folder / "dataset_description.json").write_text(json.dumps({"GeneratedBy": made_by}))
    (root / "a.nii").write_text("abc")
    listed = "run\tkind\turi\tsize\nr\tbold\tbids:B:a.nii\t3\nr\tbold\tbids:preprocessed:a.nii\t9\n"
    (output / "logs" / "sources.tsv").write_text(listed)
    assert made_from(output, Dataset(name, root, root), are_several=True) is is_same


@pytest.mark.parametrize("changed", ["lh.a.label.gii", "rh.a.label.gii", "lh.a.tsv"])
def test_results_are_of_all_files_of_an_atlas(tmp_path: Path, changed: str) -> None:
    for name in ("lh.a.label.gii", "rh.a.label.gii", "lh.a.tsv"):
        (tmp_path / name).write_text("before")
    options = {"label_atlas": str(tmp_path / "lh.a.label.gii")}
    settings = settings_from_options("in", tmp_path / "out", "group", options)
    request = Request(settings, settings.science)

    def origin() -> Origin | None:
        return origin_of([], Inventory(), Datasets.alone(tmp_path), gifti_space(), request)

    before = origin()
    assert before is not None
    assert origin() == before
    (tmp_path / changed).write_text("after")
    after = origin()
    assert after is not None
    assert {name for name in after if after[name] != before[name]} == {"other settings"}


COMPARISON = "another comparison of participants"


def test_a_comparison_is_known_by_its_options_and_the_content_of_its_files(tmp_path: Path) -> None:
    """It changes nothing else that results were made from, and files may lie elsewhere."""

    def origin(name: str | None = None, content: str = "", **options: object) -> Origin:
        files = []
        if name is not None:
            (tmp_path / name).write_text(content)
            options |= {"participants_file": str(tmp_path / name)}
            files.append(tmp_path / name)
        settings = settings_from_options("in", tmp_path / "out", "group", options)
        request = Request(settings, settings.science)
        found = origin_of([], Inventory(), Datasets.alone(tmp_path), gifti_space(), request, files)
        assert found is not None
        return found

    asked = {"model": "group", "test": ["group"]}
    before = origin("a.tsv", "x", **asked)
    assert origin("b.tsv", "x", **asked) == before
    assert {**origin(), COMPARISON: before[COMPARISON]} == before
    for other in (
        origin("a.tsv", "y", **asked),
        origin("a.tsv", "x", model="group", test=["group"], blocks="site"),
    ):
        assert {name for name in other if other[name] != before[name]} == {COMPARISON}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({}, {COMPARISON: "1"}, "is added to the results"),
        ({COMPARISON: "0"}, {COMPARISON: "1"}, "is replaced by another one"),
        ({COMPARISON: "0"}, {}, "is removed, as --model is not given"),
        ({"other runs": "0"}, {"other runs": "1", COMPARISON: "1"}, "other runs and another"),
    ],
)
def test_what_becomes_of_a_comparison_is_said(
    made: Path,
    caplog: pytest.LogCaptureFixture,
    before: dict[str, str],
    now: dict[str, str],
    said: str,
) -> None:
    content = json.loads((made / MADE_FROM).read_text())
    content["MadeFrom"] |= before
    (made / MADE_FROM).write_text(json.dumps(content))
    origin = {name: one for name, one in content["MadeFrom"].items() if name != COMPARISON}
    assert not is_finished(made, origin | now)
    assert said in caplog.text


def test_results_with_failed_runs_are_tried_again() -> None:
    run = run_of(RunKey((("sub", "01"), ("task", "rest"))))
    failed = Inventory(failed=(FailedRun(run.key, run.files.bold, "it failed"),))
    assert about_manifest({"runs": "0"}, failed) is None
    assert about_manifest(None, Inventory()) is None
    assert about_manifest({"runs": "0"}, Inventory()) is not None


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("no_report", [False, True])
def test_a_report_that_is_there_is_kept_and_one_that_is_wanted_is_made(
    made: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool, no_report: bool
) -> None:
    if is_there:
        (made / REPORT).write_text("made before")
    calls: list[Path] = []
    monkeypatch.setattr(build, "add_report", lambda tree, _: calls.append(tree.root) or True)
    settings = settings_from_options("in", made, "group", {"no_report": no_report})
    outcome = keep_results(settings, Inventory(), 1)
    assert calls == ([] if is_there or no_report else [made])
    assert (outcome.n_decompositions, outcome.exit_code) == (2, 0)
    assert (made / REPORT).exists() is is_there


def test_connectomes_that_are_not_wanted_are_not_written(made: Path, tmp_path: Path) -> None:
    """What was reduced and fitted before is used, as they depend on none of it."""
    output, work = tmp_path / "few", made / "work"
    done = nidecomp(*small(output, "--connectomes", "partial", "--work-dir", work))
    assert "The decomposition of these runs is in" in done.stderr
    stats = {path.name.rpartition("_stat-")[2] for path in output.rglob("*_relmat.tsv")}
    assert stats == {"partialcorrelation_relmat.tsv"}
    text = (output / "logs" / "CITATION.md").read_text()
    assert "computed as partial correlation; they are from shrunk covariances" in text
    assert "group's correlations are means" in text
