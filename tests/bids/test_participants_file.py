"""The table of participants is found where datasets keep it, and otherwise all places are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nidecomp.bids.datasets import Dataset, Datasets
from nidecomp.bids.participants_file import find_participants_files
from nidecomp.core.errors import UsageError


def table(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "participants.tsv"
    path.write_text("participant_id\nsub-01\n", encoding="utf-8")
    return path


def derivatives(root: Path, **description: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    return root


def found(root: Path, bids_dir: Path | None = None) -> Path | None:
    datasets = Datasets((Dataset("", bids_dir or root, root),))
    files = find_participants_files(datasets, None, is_needed=False)
    assert [name for name, _ in files] == [""] * len(files)
    return files[0][1].resolve() if files else None


@pytest.mark.parametrize(
    ("raw", "derived"),
    [
        ("study", "study/derivatives/fmriprep"),
        ("study/bids", "study/fmriprep"),
        ("study/raw", "study/fmriprep"),
        ("study/sourcedata/raw", "study/fmriprep"),
        ("study", "study/fmriprep"),
        ("fmriprep/sourcedata/raw", "fmriprep"),
        ("fmriprep", "fmriprep"),
    ],
)
def test_it_is_found_where_raw_datasets_usually_are(tmp_path: Path, raw: str, derived: str) -> None:
    root = derivatives(tmp_path / derived)
    assert found(root) is None
    assert found(root) is None
    path = table(tmp_path / raw)
    assert found(root) == path


@pytest.mark.parametrize(
    "description",
    [
        {"DatasetLinks": {"raw": "../../elsewhere"}},
        {"DatasetLinks": {"raw": "{root}/elsewhere"}},
        {"DatasetLinks": {"raw": "file://{root}/elsewhere"}},
        {"DatasetLinks": {"atlas": "../atlas", "raw": "../../elsewhere"}},
        {"SourceDatasets": [{"URL": "../../elsewhere"}]},
        {"SourceDatasets": [{"DOI": "doi:1"}, {"URL": "file://localhost{root}/elsewhere/"}]},
    ],
)
def test_it_is_found_in_the_dataset_that_the_derivatives_name(
    tmp_path: Path, description: dict[str, object]
) -> None:
    described = json.loads(json.dumps(description).replace("{root}", str(tmp_path)))
    path = table(tmp_path / "elsewhere")
    # It is preferred to one that lies near.
    table(tmp_path / "study")
    root = derivatives(tmp_path / "study" / "fmriprep", **described)
    assert found(root) == path


def test_that_of_the_derivatives_themselves_comes_first(tmp_path: Path) -> None:
    table(tmp_path / "raw")
    root = derivatives(tmp_path / "fmriprep", DatasetLinks={"raw": "../raw"})
    own = table(root)
    assert found(root) == own


def test_that_of_bids_dir_is_found_wherever_its_derivatives_are(tmp_path: Path) -> None:
    path = table(tmp_path / "raw")
    assert found(derivatives(tmp_path / "x" / "y"), tmp_path / "raw") == path


@pytest.mark.parametrize(
    "description",
    [
        {"DatasetLinks": {"raw": "https://openneuro.org/datasets/ds000001"}},
        {"DatasetLinks": {"raw": 3, "b": None, "c": "", "d": "a\0b", "e": "http://[x"}},
        {"DatasetLinks": ["raw"]},
        {"SourceDatasets": {"URL": "../raw"}},
        {"SourceDatasets": ["../raw", {"URL": ["../raw"]}]},
    ],
)
def test_links_to_the_web_and_what_is_no_link_are_passed_over(
    tmp_path: Path, description: dict[str, object]
) -> None:
    assert found(derivatives(tmp_path / "a" / "b", **description)) is None


def test_where_there_is_none_all_places_are_named(tmp_path: Path) -> None:
    root = derivatives(tmp_path / "derivatives" / "fmriprep", DatasetLinks={"raw": "/nowhere/raw"})
    datasets = Datasets((Dataset("", tmp_path, root),))
    with pytest.raises(UsageError) as caught:
        find_participants_files(datasets, None, is_needed=True)
    said = str(caught.value)
    assert said.startswith(
        "The table of participants was not found; give it with --participants-file"
    )
    for folder in (root, Path("/nowhere/raw"), tmp_path, root / "sourcedata" / "raw"):
        assert f"\n  {folder / 'participants.tsv'}" in said
    places = said.splitlines()[1:]
    assert len(set(places)) == len(places)


def test_each_dataset_has_its_own(tmp_path: Path) -> None:
    one = derivatives(tmp_path / "one" / "derivatives" / "fmriprep")
    two = derivatives(tmp_path / "two" / "derivatives" / "fmriprep")
    site = tmp_path / "site"
    site.mkdir()
    datasets = Datasets(
        (
            Dataset("", one, one),
            Dataset("B", two, two),
            Dataset("C", site, site, is_reduced=True),
        ),
        are_several=True,
    )
    first = table(tmp_path / "one")
    assert find_participants_files(datasets, None, is_needed=False) == (("", first),)
    with pytest.raises(UsageError, match="of participants of dataset B was not found"):
        find_participants_files(datasets, None, is_needed=True)
    second = table(tmp_path / "two")
    expected = (("", first), ("B", second))
    assert find_participants_files(datasets, None, is_needed=True) == expected


def test_the_file_that_was_given_is_that_of_all(tmp_path: Path) -> None:
    root = derivatives(tmp_path / "fmriprep")
    table(root)
    own = table(tmp_path / "mine")
    datasets = Datasets((Dataset("", root, root), Dataset("B", root, root)))
    assert find_participants_files(datasets, str(own), is_needed=True) == (("", own),)
    with pytest.raises(UsageError, match=r"--participants-file nowhere\.tsv does not exist"):
        find_participants_files(datasets, "nowhere.tsv", is_needed=False)


def test_one_that_was_not_fetched_is_found(tmp_path: Path) -> None:
    """Reading it says how to fetch it."""
    root = derivatives(tmp_path / "fmriprep")
    (root / "participants.tsv").symlink_to(".git/annex/objects/nothing")
    datasets = Datasets((Dataset("", root, root),))
    files = find_participants_files(datasets, None, is_needed=True)
    assert files == (("", root / "participants.tsv"),)
