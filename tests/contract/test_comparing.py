"""Participants are compared by a command, also afterwards, and all of it is written."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from groups_of_people import DIFFERENT, LABELS, PATIENTS, write_people, write_table
from support import (
    FIXTURES,
    Finished,
    made_once,
    nidecomp,
    results,
    server,
    snapshot,
    validator_issues,
)

import nidecomp as nidecomp_in_python
from nidecomp.comparison.answers import answers

FIT = (
    "--n-components", "3", "--n-init", "2", "--methods", "canica", "--n-splits", "2",
    "--denoise-strategy", "none",
)  # fmt: skip
FEW = ("--n-permutations", "200", "--n-tfce-permutations", "100")
MODEL = ("--model", "group + age", "--test", "group", "age", *FEW)
WITHIN = ("--within", "ses-post - ses-pre", *FEW)


def group(dataset: Path, output: Path, *more: object) -> Finished:
    done = nidecomp(dataset, output, "group", *FIT, *more)
    assert done.exit_code == 0, done.stderr
    return done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def settled(folder: Path) -> dict[str, str]:
    """Hash all files but those with the path of the dataset in them."""
    return {
        name: digest
        for name, digest in results(folder).items()
        if name not in {"dataset_description.json", "logs/manifest.tsv", "logs/manifest.json"}
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "in")


@pytest.fixture(scope="module")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results without a comparison."""
    output = tmp_path_factory.mktemp("plain") / "out"
    group(dataset, output)
    return output


@pytest.fixture(scope="module")
def compared(dataset: Path, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder, copied, after a start with a model; its log is in ``said.txt``."""
    output = tmp_path_factory.mktemp("compared") / "out"
    shutil.copytree(plain, output, symlinks=True)
    before = snapshot(output / "work" / "reduced")
    done = group(dataset, output, *MODEL)
    assert snapshot(output / "work" / "reduced") == before
    output.with_name("said.txt").write_text(done.stderr)
    return output


def test_a_model_is_added_to_results_and_changes_no_other_file(plain: Path, compared: Path) -> None:
    said = compared.with_name("said.txt").read_text()
    assert "A comparison of participants is added to the results" in said
    assert "The decomposition of these runs is in" in said
    before, after = settled(plain), settled(compared)
    changed = {name for name in before if after.get(name) != before[name]}
    methods = {f"logs/CITATION.{end}" for end in ("bib", "html", "md")}
    assert changed == {".bidsignore", "README.md", "logs/settings.toml", *methods}
    new = {name for name in set(after) - set(before) if "_contrast-" not in name}
    assert new == {
        f"{name}.{end}"
        for name in ("design", "comparisons", "comparisons_edges", "amplitudes")
        for end in ("tsv", "json")
    }


def test_who_differs_is_found_and_said(compared: Path) -> None:
    found = answers(
        rows_of(compared / "comparisons.tsv"), rows_of(compared / "comparisons_edges.tsv")
    )
    of_maps = {one.test: one for one in found if one.measure == "maps"}
    assert not of_maps["age"].findings
    (finding,) = of_maps["group"].findings
    assert finding.direction == "larger in patients than in controls"
    said = compared.with_name("said.txt").read_text()
    readme = (compared / "README.md").read_text()
    for answer in found:
        for line in answer.lines:
            assert line in said
            assert line in readme


def test_the_tables_are_read_as_data_frames(compared: Path) -> None:
    sizes = {"comparisons": 6, "comparisons_edges": 12, "amplitudes": 36, "design": len(LABELS)}
    for name, n_rows in sizes.items():
        assert len(nidecomp_in_python.group_table(compared, name)) == n_rows


def test_maps_are_those_of_the_compared_components(compared: Path) -> None:
    (mask,) = compared.glob("tpl-*/anat/*_mask.nii.gz")
    inside = np.asarray(nib.load(mask).dataobj) > 0
    for path in compared.glob("tpl-*/func/*_statmap.nii.gz"):
        about = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        values = np.asarray(nib.load(path).dataobj)
        assert values.shape[3] == len(about["ComponentNames"]) == 3
        assert np.isfinite(values).all()
        assert not values[~inside].any()
        assert about["Participants"] == [f"sub-{label}" for label in LABELS]


def test_clusters_lie_where_the_difference_is(compared: Path) -> None:
    (path,) = compared.glob("tpl-*/func/*_contrast-group_clusters.tsv")
    clusters = rows_of(path)
    assert clusters
    assert all(float(one["y"]) > 0 and float(one["value"]) > 0 for one in clusters), DIFFERENT


def test_a_folder_with_a_comparison_is_finished(dataset: Path, compared: Path) -> None:
    before = snapshot(compared / "tpl-MNI152NLin2009cAsym")
    done = group(dataset, compared, *MODEL)
    assert "nothing is made again" in done.stderr
    assert snapshot(compared / "tpl-MNI152NLin2009cAsym") == before


def test_the_validator_has_nothing_to_say(compared: Path) -> None:
    assert validator_issues(compared) == []


def test_processes_and_a_kill_in_the_middle_change_no_byte(
    dataset: Path, compared: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    where = str(output / "work" / "compared")
    fault = {"event": "rename", "number": 2, "does": "kill", "only": where}
    words = (dataset, output, "group", *FIT, *MODEL, "--no-report", "--nprocs", "1")
    assert server().run(*map(str, words), fault=fault).code == -signal.SIGKILL
    kept = snapshot(output / "work" / "compared")
    finished = {name for name in kept if not name.startswith(".")}
    assert len(finished) == 1
    group(dataset, output, *MODEL, "--nprocs", "2")
    after = snapshot(output / "work" / "compared")
    assert all(after[name] == kept[name] for name in finished)
    assert settled(output) == settled(compared)


def test_without_a_model_again_the_comparison_goes(
    dataset: Path, plain: Path, compared: Path, tmp_path: Path
) -> None:
    output = shutil.copytree(compared, tmp_path / "out", symlinks=True)
    done = group(dataset, output)
    assert "is removed, as --model is not given" in done.stderr
    assert settled(output) == settled(plain)


def test_another_model_replaces_a_comparison_and_compares_anew_only(
    dataset: Path, compared: Path, tmp_path: Path
) -> None:
    """An F test has no direction and no effect; within blocks, each keeps its people."""
    output = shutil.copytree(compared, tmp_path / "out", symlinks=True)
    before = snapshot(output / "work" / "projected")
    words = ("--model", "arm", "--test", "arm", "--blocks", "site", *FEW, "--nbs-threshold", "0.1")
    done = group(dataset, output, *words)
    assert "is replaced by another one" in done.stderr
    assert snapshot(output / "work" / "projected") == before
    assert {path.name.split("_contrast-")[1] for path in output.glob("tpl-*/func/*_statmap.*")} == {
        f"arm_stat-{name}_statmap.{end}"
        for name in (
            "F",
            "tfce",
            *(f"logp_desc-{p}" for p in ("voxel", "voxelall", "tfce", "tfceall")),
        )
        for end in ("nii.gz", "json")
    }
    rows = rows_of(output / "comparisons.tsv")
    assert {(row["statistic"], row["dof"], row["map_direction"]) for row in rows} == {
        ("F", "9", "n/a")
    }
    assert {row["block"] for row in rows_of(output / "design.tsv")} == {"a", "b"}
    assert "network_p" in rows_of(output / "comparisons_edges.tsv")[0]
    # Nothing of the model before is left, nor is it described.
    assert "group + age" in (compared / "logs" / "CITATION.md").read_text()
    assert "group + age" not in (output / "logs" / "CITATION.md").read_text()
    assert len(list(output.glob("work/compared/*.npz"))) == 3
    assert validator_issues(output) == []


def test_a_dry_run_says_who_and_what_is_compared(dataset: Path, tmp_path: Path) -> None:
    done = group(dataset, tmp_path / "out", *MODEL, "--blocks", "site", "--dry-run")
    assert "12 participants" in done.stdout
    assert "Test group (t): positive means larger in patients" in done.stdout
    assert "within site" in done.stdout
    assert "Comparing maps: " in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_run_that_cannot_be_read_costs_its_participant_only(
    dataset: Path, plain: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(dataset, tmp_path / "in")
    (image,) = broken.glob("sub-03/func/*_bold.nii.gz")
    image.write_bytes(image.read_bytes()[:-5000])
    (image,) = broken.glob("sub-05/func/*_bold.nii.gz")
    image.unlink()
    done = nidecomp(broken, tmp_path / "out", "group", *FIT, *MODEL, "--compare", "amplitudes")
    assert done.exit_code == 1, done.stderr
    about = json.loads((tmp_path / "out" / "design.json").read_text())
    reasons = {one["participant_id"]: one["reason"] for one in about["LeftOut"]}
    assert set(reasons) == {"sub-03", "sub-05"}
    assert "none of the participant's runs could be used" in reasons["sub-03"]
    assert "it was cut off, copy it again" in reasons["sub-03"]
    assert "no run matches the selection" in reasons["sub-05"]
    assert all(f"{name}: {reason}" in done.stderr for name, reason in reasons.items())
    assert len(rows_of(tmp_path / "out" / "design.tsv")) == len(LABELS) - 2
    assert not list((tmp_path / "out").glob("tpl-*/func/*_statmap*"))


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--model", "groop", "--test", "groop"), 2, "groop"),
        (("--model", "group", "--test", "age"), 2, "age"),
        (("--within", "ses-post - ses-pre"), 2, "ses-post"),
        (("--model", "group", "--test", "group", "--level", "minimal"), 2, "--level"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_done(
    dataset: Path, tmp_path: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    done = nidecomp(dataset, tmp_path / "out", "group", *FIT, *words)
    assert done.exit_code == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "work" / "reduced").exists()


# ---------------------------------------------------------------- differences
@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(output: Path) -> None:
        dataset = write_people(output.with_name("in"), sessions=("pre", "post"), patients=LABELS)
        group(dataset, output, *WITHIN, "--compare-stat", "z")

    return made_once(tmp_path_factory, "paired", make)


def test_sessions_of_the_same_people_are_compared(paired: Path) -> None:
    about = json.loads((paired / "design.json").read_text())
    assert about["Within"] == "ses-post - ses-pre"
    assert about["Permutations"]["Kind"] == "sign flips"
    (of_maps, *_) = answers(rows_of(paired / "comparisons.tsv"))
    assert of_maps.findings[0].direction == "larger in ses-post than in ses-pre"


def test_people_of_several_datasets_are_compared(tmp_path: Path) -> None:
    """Each dataset has its own table of participants."""
    first, second = (
        write_people(tmp_path / name, labels=labels, patients=PATIENTS)
        for name, labels in (("A", LABELS[:6]), ("B", LABELS[6:]))
    )
    words = ("--model", "group + dataset", "--test", "group", *FEW, "--compare", "amplitudes")
    output = tmp_path / "out"
    group(first, output, "--datasets", f"B={second}", *words)
    people = (*LABELS[:6], *(f"B{label}" for label in LABELS[6:]))
    for name in ("design", "amplitudes"):
        rows = rows_of(output / f"{name}.tsv")
        datasets = {row["participant_id"]: row["dataset"] for row in rows}
        assert set(datasets) == {f"sub-{one}" for one in people}
        assert len(set(datasets.values())) == 2
        assert datasets["sub-B07"] == "B"
    assert validator_issues(output) == []


@pytest.mark.parametrize(("space", "word"), [("fsLR", "grayordinate"), ("fsaverage3", "vertex")])
def test_surfaces_are_compared_in_their_own_files_and_words(
    tmp_path: Path, space: str, word: str
) -> None:
    rows = [
        {"participant_id": f"sub-{label}", "group": "ab"[number % 2]}
        for number, label in enumerate(LABELS[:6])
    ]
    write_table(tmp_path / "participants.tsv", rows)
    output = tmp_path / "out"
    done = nidecomp(
        FIXTURES / "surfaces", output, "group", "--n-components", "4", "--n-init", "2",
        "--methods", "canica", "--n-splits", "0", "--space", space, "--model", "group",
        "--test", "group", *FEW, "--compare", "maps", "--participants-file",
        tmp_path / "participants.tsv",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert validator_issues(output) == []
    ends = [".dscalar.nii"] if space == "fsLR" else [".func.gii"] * 2
    # t, effect, TFCE, and p values of voxels and TFCE over a map and over all.
    maps = [path for path in output.glob("tpl-*/func/*_statmap.*") if path.suffix != ".json"]
    assert len(maps) == 7 * len(ends)
    assert all(path.name.endswith(ends[0]) for path in maps)
    about = (output / "comparisons.json").read_text()
    assert word in about
    assert "voxel with" not in about


def test_template_maps_are_compared_after_jobs_of_participants(
    dataset: Path, plain: Path, tmp_path: Path
) -> None:
    maps = ("--maps", plain, "--denoise-strategy", "none")
    output = tmp_path / "out"
    for half in (LABELS[:6], LABELS[6:]):
        job = (dataset, output, "participant", *maps, *MODEL, "--participant-label", *half)
        done = nidecomp(*job)
        assert done.exit_code == 0, done.stderr
    assert len(list(output.glob("work/projected/*_effect.npy"))) == len(LABELS)
    before = snapshot(output / "work" / "projected")
    done = nidecomp(dataset, output, "group", *maps, *MODEL)
    assert done.exit_code == 0, done.stderr
    assert snapshot(output / "work" / "projected") == before
    (finding,) = next(
        one.findings
        for one in answers(rows_of(output / "comparisons.tsv"))
        if one.test == "group" and one.measure == "maps"
    )
    assert "patients" in finding.direction
    assert len(PATIENTS) == 6
    assert validator_issues(output) == []
