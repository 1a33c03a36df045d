"""Several datasets in one decomposition: people are kept apart, and evidence is by dataset."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from demo import load_head
from several_datasets import N_VOLUMES, OWN, SHARED, write_dataset
from support import Finished, group_file, group_maps, nidecomp, results, validator_issues

from nidecomp.config.science import METHODS

Rows = list[dict[str, str]]
OPTIONS = (
    "--denoise-strategy", "none", "--n-components", "6", "--n-init", "2", "--n-splits", "2",
)  # fmt: skip
# The third dataset has another task, which the first has not.
OF_C = '[datasets.C]\ntask_id = "movie"\ndummy_scans = 2\n'


@dataclass(frozen=True)
class Study:
    """Three datasets, and the results of all of them."""

    folder: Path
    mask: Path
    output: Path
    ended: Finished

    def rows(self, name: str) -> Rows:
        return read(self.output / name)

    def metrics(self, method: str) -> Rows:
        return read(group_file(self.output, method, "metrics", ".tsv"))

    def run(self, output: Path, *words: object, **more: object) -> Finished:
        """Decompose the first dataset and others, with the same mask."""
        return nidecomp(
            self.folder / "A", output, "group", *OPTIONS, "--mask", self.mask, *words, **more
        )


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("datasets")
    labels = ["01", "02", "03", "04"]
    write_dataset(folder / "A", labels, seed=1)
    write_dataset(
        folder / "B" / "derivatives" / "fmriprep",
        labels,
        seed=2,
        networks=(*SHARED, OWN),
        program="23.1.0",
    )
    write_dataset(folder / "C", labels[:3], seed=3, task="movie")
    (folder / "broken").mkdir()
    (folder / "c.toml").write_text(OF_C)
    (mask,) = (folder / "A" / "sub-01" / "func").glob("*_mask.nii.gz")
    made = Study(
        folder, shutil.copy(mask, folder / "mask.nii.gz"), folder / "out", Finished(0, "", "")
    )
    names = [f"{name}={folder / name}" for name in ("B", "C")]
    ended = made.run(
        made.output, "--datasets", *names, f"D={folder / 'broken'}",
        "--config-file", folder / "c.toml", "-w", folder / "work", report=True,
    )  # fmt: skip
    return Study(folder, made.mask, made.output, ended)


# ---------------------------------------------------------------- people and datasets
def test_a_participant_is_a_dataset_and_a_label(study: Study) -> None:
    people = {row["participant_id"]: row["dataset"] for row in study.rows("participants.tsv")}
    assert people == {
        **{f"sub-0{number}": "preprocessed" for number in range(1, 5)},
        **{f"sub-B0{number}": "B" for number in range(1, 5)},
        **{f"sub-C0{number}": "C" for number in range(1, 4)},
    }
    assert {path.name for path in study.output.glob("sub-*")} == set(people)


@pytest.mark.parametrize(
    "name",
    ["participants.tsv"]
    + [f"logs/{name}.tsv" for name in ("inventory", "quality", "quality_components", "splits")],
)
def test_every_table_of_runs_or_participants_names_the_dataset(study: Study, name: str) -> None:
    for row in study.rows(name):
        label = row.get("participant_id") or row["run"]
        own = {"B": "sub-B", "C": "sub-C", "preprocessed": "sub-0"}.get(row["dataset"], "n/a")
        assert label.startswith(own)
    described = json.loads((study.output / name).with_suffix(".json").read_text())
    assert "--datasets" in described["dataset"]["Description"]


def test_outliers_are_described_as_those_of_their_dataset(study: Study) -> None:
    described = json.loads((study.output / "participants.json").read_text())
    assert "The others are those of the same dataset" in described["outlier"]["Description"]


def test_files_of_the_inputs_are_named_with_their_dataset(study: Study) -> None:
    links = json.loads((study.output / "dataset_description.json").read_text())
    assert links["DatasetLinks"] == {
        "preprocessed": "../A", "B": "../B/derivatives/fmriprep", "C": "../C",
    }  # fmt: skip
    assert [one["URL"] for one in links["SourceDatasets"]] == list(links["DatasetLinks"].values())
    made_by = [(one["Name"], one["Version"]) for one in links["GeneratedBy"][1:]]
    assert made_by == [("fMRIPrep", "24.0.0"), ("fMRIPrep", "23.1.0")]
    for row in study.rows("logs/sources.tsv"):
        _, name, path = row["uri"].split(":")
        assert (study.output / links["DatasetLinks"][name] / path).is_file()
        assert row["dataset"] == name
    (sidecar,) = (study.output / "sub-C01" / "func").glob("*_timeseries.json")
    assert json.loads(sidecar.read_text())["Sources"][0].startswith("bids:C:sub-01/func/sub-01_")


def test_a_dataset_has_its_own_options(study: Study) -> None:
    kept = {row["dataset"]: row["n_volumes_kept"] for row in study.rows("logs/inventory.tsv")}
    assert (kept["C"], kept["B"]) == (str(N_VOLUMES - 2), str(N_VOLUMES))
    assert {row["run"] for row in study.rows("logs/inventory.tsv") if row["dataset"] == "C"} == {
        f"sub-C0{number}_task-movie" for number in range(1, 4)
    }
    settings = (study.output / "logs" / "settings.toml").read_text()
    assert '[datasets.C]\ndummy_scans = 2\ntask_id = [\n    "movie",\n]' in settings


def test_a_dataset_that_cannot_be_used_does_not_stop_the_others(study: Study) -> None:
    assert study.ended.exit_code == 1
    assert "Dataset D" in study.ended.stderr
    (lost,) = (row for row in study.rows("logs/inventory.tsv") if row["dataset"] == "D")
    assert (lost["run"], lost["status"]) == ("n/a", "dataset not used")
    assert "is not the output of fMRIPrep" in lost["reason"]


def test_the_validator_has_nothing_to_say(study: Study) -> None:
    assert validator_issues(study.output) == []


def test_results_with_a_dataset_whose_runs_are_gone_now_are_kept(study: Study) -> None:
    before = results(study.output)
    (study.folder / "gone").mkdir()
    for path in (study.folder / "C").glob("sub-*"):
        path.rename(study.folder / "gone" / path.name)
    names = [f"{name}={study.folder / name}" for name in ("B", "C")]
    ended = study.run(
        study.output, "--datasets", *names, f"D={study.folder / 'broken'}",
        "--config-file", study.folder / "c.toml", "-w", study.folder / "work",
    )  # fmt: skip
    for path in (study.folder / "gone").iterdir():
        path.rename(study.folder / "C" / path.name)
    assert ended.exit_code == 2
    assert "holds results with dataset C" in ended.stderr
    assert results(study.output) == before


# ---------------------------------------------------------------- evidence
@pytest.mark.parametrize("method", METHODS)
def test_what_only_one_dataset_has_is_flagged_and_nothing_else(study: Study, method: str) -> None:
    head = load_head()
    inside = np.asarray(nib.load(study.mask).dataobj) > 0
    maps = group_maps(study.output, method)
    truth = head.networks[inside].T
    metrics = study.metrics(method)
    for networks, is_flagged in ((SHARED, False), ((OWN,), True)):
        for network in networks:
            index = int(np.abs(np.corrcoef(truth[network], maps)[0, 1:]).argmax())
            row = metrics[index]
            assert ("single-dataset" in row["flags"]) == is_flagged
            assert (float(row["reproducibility_other_datasets"]) < 0.3) == is_flagged
            assert ("Without dataset B, which has" in row["flag_reasons"]) == is_flagged
    assert sum("single-dataset" in row["flags"] for row in metrics) == 1


@pytest.mark.parametrize("method", METHODS)
def test_the_table_of_datasets_tells_which(study: Study, method: str) -> None:
    flagged = {
        row["component"] for row in study.metrics(method) if "single-dataset" in row["flags"]
    }
    rows = [row for row in study.rows("logs/datasets.tsv") if row["method"] == method]
    assert len(rows) == 3 * 6
    for component in {row["component"] for row in rows}:
        own = {row["dataset"]: row for row in rows if row["component"] == component}
        assert {name: row["participants"] for name, row in own.items()} == {
            "preprocessed": "4", "B": "4", "C": "3",
        }  # fmt: skip
        assert sum(float(row["share"]) for row in own.values()) == pytest.approx(1, abs=1e-5)
        if component in flagged:
            assert float(own["B"]["share"]) > 0.8
            assert float(own["B"]["r_without"]) < 0.3
            assert min(float(own[name]["r_without"]) for name in ("preprocessed", "C")) > 0.5


def test_the_report_has_components_by_dataset_and_names_the_programs(study: Study) -> None:
    page = (study.output / "report.html").read_text(encoding="utf-8")
    assert "11 runs of 11 participants in 3 datasets" in page
    assert "Components by dataset" in page
    assert "|r| without B" in page
    assert "Dataset D was not used" in page
    text = (study.output / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "fMRIPrep 24.0.0 and fMRIPrep 23.1.0" in text
    assert "B (4 participants, 4 runs), C (3 participants, 3 runs)" in text
    assert "Unless said otherwise for a dataset below" in text
    assert "Dataset C differs" in text


# ---------------------------------------------------------------- the work, and the same bytes
def test_adding_a_dataset_reuses_the_work_of_the_others_and_gives_the_same_bytes(
    study: Study, tmp_path: Path
) -> None:
    """With a mask that does not depend on who takes part; with another number of processes."""
    again = study.folder / "again"  # Links to the datasets depend on where it is.
    common = ("--config-file", study.folder / "c.toml", "--datasets", f"C={study.folder / 'C'}")
    work = ("-w", tmp_path)
    assert study.run(tmp_path / "two", *common, *work, "--level", "minimal").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "reduced").iterdir()}
    more = (f"B={study.folder / 'B'}", f"D={study.folder / 'broken'}")
    study.run(again, *common, *more, *work, "--nprocs", "2")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "reduced").iterdir()}
    assert before.items() <= after.items()
    assert {path.name[:5] for path in after.keys() - before.keys()} == {"sub-B"}
    # The report is not made again here, which takes longer than all the rest.
    without_report = {
        name: digest
        for name, digest in results(again).items()
        if "manifest" not in name and name != "README.md"
    }
    assert len(without_report) > 150
    assert without_report.items() <= results(study.output).items()


def test_participants_are_named_by_their_final_labels(study: Study, tmp_path: Path) -> None:
    datasets = ("--datasets", f"B={study.folder / 'B'}")
    ended = study.run(
        tmp_path / "out", *datasets, "--participant-label", "01", "B02", "sub-B03",
        "--exclude-participant-label", "B03", "--dry-run",
    )  # fmt: skip
    assert ended.exit_code == 2  # both include B03
    ended = study.run(tmp_path / "out", *datasets, "--participant-label", "01", "B02", "--dry-run")
    used = [line.split()[0] for line in ended.stdout.splitlines() if " used " in line]
    assert used[:2] == ["sub-01_task-rest", "sub-B02_task-rest"]
    ended = study.run(tmp_path / "out", *datasets, "--participant-label", "B09", "--dry-run")
    assert "--participant-label B09: no dataset has this participant" in ended.stderr
    assert ended.exit_code == 70


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--exclude-participant-label", "T02"), 1),
        (("--participant-label", "01", "02", "B01", "T02"), 1),
        (("--participant-label", "T02"), 70),
        (("--participant-label", "B09", "T02"), 70),
    ],
)
def test_people_of_a_dataset_that_is_not_there_may_be_named(
    study: Study, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    datasets = ("--datasets", f"B={study.folder / 'B'}", f"T={tmp_path / 'nowhere'}")
    ended = study.run(tmp_path / "out", *datasets, *words, "--dry-run")
    assert f"Dataset T ({tmp_path / 'nowhere'}) cannot be used: " in ended.stderr
    assert ("B09: no dataset has" in ended.stderr) == ("B09" in words)
    assert ended.exit_code == code


def test_jobs_of_participants_reduce_theirs_for_the_group(study: Study, tmp_path: Path) -> None:
    job = ("participant", *OPTIONS, "--mask", study.mask, "-w", tmp_path)
    datasets = ("--datasets", f"B={study.folder / 'B'}", f"X={tmp_path / 'nowhere'}")
    ended = nidecomp(
        study.folder / "A", tmp_path / "out", *job, *datasets, "--participant-label", "B02"
    )
    assert ended.exit_code == 1  # because of X, of which every job has to tell
    assert {path.name.partition("_")[0] for path in (tmp_path / "reduced").iterdir()} == {"sub-B02"}
    assert {path.name for path in (tmp_path / "reduced").iterdir()} <= {
        path.name for path in (study.folder / "work" / "reduced").iterdir()
    }


def test_maps_are_projected_to_all_datasets(study: Study, tmp_path: Path) -> None:
    words = (tmp_path / "out", "group", "--denoise-strategy", "none", "--connectomes", "none")
    ended = nidecomp(
        study.folder / "A", *words, "--maps", study.output, "--datasets", f"B={study.folder / 'B'}"
    )
    assert ended.exit_code == 0, ended.stderr
    people = read(tmp_path / "out" / "participants.tsv")
    assert [row["dataset"] for row in people] == 4 * ["preprocessed"] + 4 * ["B"]
    assert (tmp_path / "out" / "sub-B04" / "func").is_dir()
    assert validator_issues(tmp_path / "out") == []


def test_equal_weights_of_datasets_change_the_maps_and_are_told(
    study: Study, tmp_path: Path
) -> None:
    words = (
        "--datasets", f"B={study.folder / 'B'}", "--participant-label", "01", "02", "03", "B01",
        "-w", study.folder / "work", "--level", "minimal", "--n-components", "4",
    )  # fmt: skip
    for weights in ("participants", "equal"):
        ended = study.run(tmp_path / weights, *words, "--dataset-weights", weights)
        assert ended.exit_code == 0, ended.stderr
        path = group_file(tmp_path / weights, "canica", "decomposition", ".json")
        who = {"participants": "participants", "equal": "datasets"}[weights]
        told = json.loads(path.read_text())["Weighting"]
        assert told.startswith(f"all {who} have the same weight")
    maps = [group_maps(tmp_path / weights, "canica") for weights in ("participants", "equal")]
    assert not np.allclose(*maps)


# ---------------------------------------------------------------- sites that keep their images
@pytest.fixture(scope="module")
def sites(study: Study) -> Path:
    """Return a folder with the work folders of three sites, which reduced their runs."""
    folder = study.folder / "sites"
    own = {"C": ("--task-id", "movie", "--dummy-scans", "2")}
    for name in "ABC":
        ended = nidecomp(
            study.folder / name, folder / "out", "participant", *OPTIONS, "--mask", study.mask,
            "-w", folder / name, *own.get(name, ()),
        )  # fmt: skip
        assert ended.exit_code == 0, ended.stderr
    return folder


def test_work_folders_of_sites_give_the_maps_and_the_evidence_of_all_images(
    study: Study, sites: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    for name in "ABC":
        # All that a site gives away.
        shutil.copytree(sites / name / "reduced", given / name / "reduced")
        shutil.copy(sites / name / "dataset_description.json", given / name)
    ended = nidecomp(
        given / "A", tmp_path / "out", "group", *OPTIONS, "--mask", study.mask, "--config-file",
        study.folder / "c.toml", "--datasets", f"B={given / 'B'}", f"C={given / 'C'}",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.stderr
    assert "it was reduced at another site" in ended.stderr
    again, whole = results(tmp_path / "out"), results(study.output)
    fitted = {
        name
        for name in whole
        if name.startswith(("tpl-", "logs/datasets", "logs/splits"))
        and name.endswith((".nii.gz", "_metrics.tsv", "logs/datasets.tsv", "logs/splits.tsv"))
    }
    assert len(fitted) == 15
    assert {name: again[name] for name in fitted} == {name: whole[name] for name in fitted}
    assert validator_issues(tmp_path / "out") == []
    about = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert [one.get("Version") for one in about["GeneratedBy"][1:]] == ["24.0.0", "23.1.0"]
    assert not list((tmp_path / "out").rglob("*_timeseries.tsv"))


def test_a_site_and_a_dataset_with_images_are_decomposed_together(
    study: Study, sites: Path, tmp_path: Path
) -> None:
    ended = study.run(
        tmp_path / "out", "--datasets", f"B={sites / 'B'}", "-w", study.folder / "work"
    )
    assert ended.exit_code == 0, ended.stderr
    assert list((tmp_path / "out" / "sub-01").rglob("*_timeseries.tsv"))
    assert not list((tmp_path / "out" / "sub-B01").rglob("*_timeseries.tsv"))
    people = read(tmp_path / "out" / "participants.tsv")
    known = {row["participant_id"]: row["map_r"] != "n/a" for row in people}
    assert known == {f"sub-{label}": label[0] == "0" for label in ("01", "02", "03", "04", "B01",
                                                                  "B02", "B03", "B04")}  # fmt: skip


def test_nothing_that_a_site_gives_away_says_where_its_data_are(study: Study, sites: Path) -> None:
    for path in (sites / "B" / "reduced").iterdir():
        assert str(study.folder).encode() not in path.read_bytes()


def other_mask(study: Study, work: Path, out: Path) -> Finished:
    image = nib.load(study.mask)
    inside = np.asarray(image.dataobj).copy()
    inside[:, :, inside.shape[2] // 2 :] = 0
    nib.Nifti1Image(inside, image.affine, image.header).to_filename(out.parent / "half.nii.gz")
    words = ("--mask", out.parent / "half.nii.gz", "--level", "minimal")
    return nidecomp(work, out, "group", *OPTIONS, *words)


def other_settings(study: Study, work: Path, out: Path) -> Finished:
    words = ("--mask", study.mask, "--dummy-scans", "3", "--smoothing-fwhm", "4")
    return nidecomp(work, out, "group", *OPTIONS, *words)


def more_components(study: Study, work: Path, out: Path) -> Finished:
    words = ("--mask", study.mask, "--denoise-strategy", "none", "--n-components", "9")
    return nidecomp(work, out, "group", *words)


def damaged(study: Study, work: Path, out: Path) -> Finished:
    for path in (work / "reduced").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    return nidecomp(work, out, "group", *OPTIONS, "--mask", study.mask)


def no_mask(study: Study, work: Path, out: Path) -> Finished:
    return nidecomp(work, out, "group", *OPTIONS)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (other_mask, "it was reduced with another mask, or on another grid than most runs"),
        (other_settings, "dummy_scans was 0 and is 3; smoothing_fwhm was 6 and is 4"),
        (more_components, "at most 12 principal components, and --n-components asks for 18"),
        (damaged, "its file is damaged, or too old"),
        (no_mask, "give the --mask that they were reduced with"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_the_reason(
    study: Study,
    sites: Path,
    tmp_path: Path,
    run: Callable[[Study, Path, Path], Finished],
    said: str,
) -> None:
    shutil.copytree(sites / "A", tmp_path / "A")
    ended = run(study, tmp_path / "A", tmp_path / "out")
    assert ended.exit_code in {2, 70}
    assert said in ended.stderr


# ---------------------------------------------------------------- mistakes
def collide(folder: Path) -> Mapping[str, Path]:
    write_dataset(folder / "main", ["B01"])
    return {"B": write_dataset(folder / "other", ["01"])}


def same(folder: Path) -> Mapping[str, Path]:
    return {"B": write_dataset(folder / "main", ["01"])}


def none(folder: Path) -> Mapping[str, Path]:
    write_dataset(folder / "main", ["01"], task="movie")
    return {"B": folder / "nowhere"}


@pytest.mark.parametrize(
    ("make", "said", "code"),
    [
        (collide, "sub-B01 of BIDS_DIR and sub-01 of dataset B would both be called sub-B01", 2),
        (same, "BIDS_DIR and dataset B are the same folder", 2),
        (none, "None of the datasets can be used:", 70),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, make: Callable[[Path], Mapping[str, Path]], said: str, code: int
) -> None:
    datasets = [f"{name}={path}" for name, path in make(tmp_path).items()]
    ended = nidecomp(
        tmp_path / "main", tmp_path / "out", "group", "--task-id", "rest", "--datasets", *datasets
    )
    assert said in ended.stderr
    assert ended.exit_code == code


def test_another_dataset_needs_another_output_folder(study: Study) -> None:
    ended = study.run(study.output, "--datasets", f"B={study.folder / 'C'}")
    assert ended.exit_code == 2
    assert "dataset C took part and does not now" in ended.stderr
    assert "dataset B was '../B/derivatives/fmriprep' and is '../C'" in ended.stderr
