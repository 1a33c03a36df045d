"""Datasets that cannot be used: what is said of them, and what they must not cost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from option_examples import build

from nidecomp.annex import subdatasets
from nidecomp.bids.dataset import SETTINGS
from nidecomp.bids.datasets import locate_datasets
from nidecomp.bids.same_input import SOURCES
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.outputs.dataset import settings_text
from nidecomp.start import carry_out, check_request


def write_dataset(root: Path, *labels: str) -> Path:
    for label in labels:
        (root / f"sub-{label}").mkdir(parents=True)
    about = {"Name": "one", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (root / "dataset_description.json").write_text(json.dumps(about), encoding="utf-8")
    return root


def asked(folder: Path, **options: object) -> Settings:
    """Return settings of the datasets `main` and T in a folder."""
    settings = build(**{"datasets": {"T": folder / "T"}, **options})
    return replace(settings, bids_dir=folder / "main", output_dir=folder / "out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("main", "T"):
        write_dataset(tmp_path / name, "01")
    return tmp_path


def write_results(settings: Settings, *names: str) -> None:
    """Write what tells which datasets results were made from."""
    output = settings.output_dir
    (output / "logs").mkdir(parents=True)
    (output / SETTINGS).write_text(settings_text(settings), encoding="utf-8")
    rows = [f"sub-01\tmask\tbids:{name}:sub-01/mask.nii.gz\t1" for name in names]
    (output / SOURCES).write_text("\n".join(["run\tkind\turi\tsize", *rows, ""]), encoding="utf-8")


def test_labels_that_differ_in_case_only_are_refused(folder: Path) -> None:
    write_dataset(folder / "main", "t01")
    with pytest.raises(UsageError, match="would both be called sub-t01 or sub-T01"):
        check_request(asked(folder))


# ---------------------------------------------------------------- results are kept
def empty_it(dataset: Path) -> None:
    """Leave the folder that a disk was mounted to."""
    shutil.rmtree(dataset)
    dataset.mkdir()


@pytest.mark.parametrize("lose", [shutil.rmtree, empty_it])
def test_results_with_a_dataset_that_is_not_there_now_are_kept(folder: Path, lose) -> None:
    settings = asked(folder)
    write_results(settings, "preprocessed", "T")
    check_request(settings)
    lose(folder / "T")
    with pytest.raises(UsageError, match="holds results with dataset T") as caught:
        check_request(settings)
    assert "Make the dataset available again, or choose another OUTPUT_DIR" in str(caught.value)


def test_results_without_the_dataset_are_made_again(folder: Path) -> None:
    settings = asked(folder)
    write_results(settings, "preprocessed")
    shutil.rmtree(folder / "T")
    check_request(settings)


def test_reasons_speak_of_the_dataset_and_not_of_bids_dir(folder: Path) -> None:
    (folder / "T" / "dataset_description.json").unlink()
    (folder / "T" / "sub-01").rmdir()
    _, lost = locate_datasets(asked(folder))
    assert lost[0].reason.endswith("Use the output folder of fMRIPrep as its path.")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({}, "dataset T takes part and did not"),
        ({"T": "T", "U": "U"}, "dataset U took part and does not"),
        (
            {"T": {"path": "T", "task_id": "rest", "dummy_scans": 2}},
            "task_id of dataset T was ['rest'] and is 'not set'",
        ),
    ],
)
def test_what_differs_from_the_datasets_of_earlier_results_is_said(
    folder: Path, before: dict, said: str
) -> None:
    write_results(asked(folder, datasets=before), "preprocessed")
    with pytest.raises(UsageError, match="holds results of another request") as caught:
        check_request(asked(folder))
    assert said in str(caught.value)
    assert "{" not in str(caught.value)
    assert "dataset_weights" not in str(caught.value)


def test_a_subdataset_is_asked_for_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying to clone one twice would wait for the network twice."""
    asked_for: list[Path] = []
    monkeypatch.setattr(subdatasets, "is_not_installed", asked_for.append)
    with pytest.raises(NothingToDoError):
        carry_out(asked(folder, dry_run=True, nprocs=1))
    assert asked_for == [folder / "main", folder / "T"]


# ---------------------------------------------------------------- nothing is written into it
@pytest.mark.parametrize("option", ["output_dir", "work_dir", "bids_database_dir"])
def test_nothing_is_written_into_a_dataset_that_cannot_be_used(folder: Path, option: str) -> None:
    (folder / "T" / "dataset_description.json").unlink()
    inside = folder / "T" / "inside"
    if option == "output_dir":
        settings = replace(asked(folder), output_dir=inside)
    else:
        settings = asked(folder, **{option: str(inside)})
    with pytest.raises(UsageError, match="is inside the input dataset, which is never modified"):
        check_request(settings)


def test_outputs_may_lie_among_the_derivatives_of_a_raw_dataset_that_lost_its_own(
    folder: Path,
) -> None:
    (folder / "main" / "dataset_description.json").unlink()
    check_request(replace(asked(folder), output_dir=folder / "main" / "derivatives" / "ours"))
