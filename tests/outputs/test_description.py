"""What a site gives away beside its reduced runs says what they were made of, and no paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from option_examples import build

from nidecomp.bids.datasets import Dataset, Datasets
from nidecomp.outputs.description import keep_description

DOI = {"URL": "https://doi.org/10.18112/openneuro.ds000001", "Version": "1"}


def dataset(folder: Path, name: str, licence: str, program: str) -> Dataset:
    root = folder / f"of_{name}"
    root.mkdir()
    described = {
        "Name": f"Study {name}",
        "License": licence,
        "Authors": ["A", name],
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": program}],
        "SourceDatasets": [DOI, {"URL": "/data/secret/raw"}],
        "DatasetLinks": {"raw": "/data/secret/raw"},
    }
    (root / "dataset_description.json").write_text(json.dumps(described))
    return Dataset(name, root, root)


@pytest.mark.parametrize("are_several", [False, True])
def test_the_work_folder_of_a_site_says_what_its_datasets_are(
    tmp_path: Path, are_several: bool
) -> None:
    found = [dataset(tmp_path, "", "CC0", "23.1.0")]
    if are_several:
        found.append(dataset(tmp_path, "T", "PDDL", "24.0.0"))
    settings = build(mask="m.nii.gz", work_dir=tmp_path / "work")
    keep_description(Datasets(tuple(found), are_several=are_several), settings)
    text = (tmp_path / "work" / "dataset_description.json").read_text()
    assert "secret" not in text
    kept = json.loads(text)
    assert kept["License"] == ("preprocessed: CC0; T: PDDL" if are_several else "CC0")
    assert kept["Name"] == ("Study , Study T" if are_several else "Study ")
    assert [one["Version"] for one in kept["GeneratedBy"]] == ["23.1.0", "24.0.0"][: len(found)]
    assert kept["SourceDatasets"] == [DOI]
    assert kept["Authors"] == ["A", "", "T"][: len(found) + 1]


def test_without_a_mask_nothing_is_kept(tmp_path: Path) -> None:
    settings = build(work_dir=tmp_path / "work")
    keep_description(Datasets((dataset(tmp_path, "", "CC0", "24"),)), settings)
    assert not (tmp_path / "work").exists()
