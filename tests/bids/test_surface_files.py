"""Surfaces and grayordinates are found under all of their names, and both hemispheres are a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bids_trees import bold, confounds, make, make_runs, mask, search, stem

from nidecomp.bids import listing
from nidecomp.bids.index import find_runs
from nidecomp.bids.listing import KeptListing
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError, UsageError

# The names of fMRIPrep's surfaces: version, and what follows the entities of the run.
GIFTI = {
    "20.0": "_space-fsaverage5_hemi-{}.func.gii",
    "20.1": "_space-fsaverage5_hemi-{}_bold.func.gii",
    "21.0": "_hemi-{}_space-fsaverage5_bold.func.gii",
}
RUN = stem("01")
CIFTI = "_space-fsLR_den-91k_bold.dtseries.nii"


def pair(run: str, end: str = GIFTI["21.0"]) -> list[str]:
    return [run + end.format(hemi) for hemi in "LR"]


def with_table(root: Path, *names: str) -> Path:
    return make(
        root, *names, *(confounds(name.split("_space")[0].split("_hemi")[0]) for name in names)
    )


def reasons(found_of: Path, **selection: object) -> list[str]:
    return [run.reason for run in search(found_of, **selection).refused]


# ---------------------------------------------------------------- names
@pytest.mark.parametrize("version", GIFTI)
def test_both_hemispheres_are_one_run_under_the_names_of_each_version(
    tmp_path: Path, version: str
) -> None:
    names = pair(RUN, GIFTI[version])
    (run,) = search(with_table(tmp_path, *names), space="fsaverage5").runs
    assert run.key.label == "sub-01_task-rest"
    assert [path.relative_to(tmp_path).as_posix() for path in run.images] == names
    assert (run.bold, run.mask, run.den, run.desc, run.notes) == (
        run.images[0],
        None,
        None,
        None,
        (),
    )
    assert run.confounds is not None


def test_grayordinates_are_one_file_with_a_density(tmp_path: Path) -> None:
    (run,) = search(with_table(tmp_path, RUN + CIFTI), space="fsLR").runs
    assert run.images == (tmp_path / (RUN + CIFTI),)
    assert (run.den, run.mask, run.desc, run.notes) == ("91k", None, None, ())


def test_surfaces_beside_volumes_change_nothing_of_what_is_found(tmp_path: Path) -> None:
    alone = search(make_runs(tmp_path / "a", RUN))
    both = search(make_runs(with_table(tmp_path / "b", RUN + CIFTI, *pair(RUN)), RUN))
    assert [run.bold.name for run in both.runs] == [run.bold.name for run in alone.runs]
    assert both.refused == both.unmatched == ()
    (anywhere,) = search(tmp_path / "b", bids_filter_file='{"bold": {"space": "*"}}').runs
    assert anywhere.bold.name == Path(bold(RUN)).name


def test_the_filter_file_names_spaces_and_formats_of_surfaces(tmp_path: Path) -> None:
    root = with_table(tmp_path, RUN + CIFTI, *pair(RUN))
    (run,) = search(root, bids_filter_file='{"bold": {"space": "fsaverage5"}}').runs
    assert run.space == "fsaverage5"
    other = with_table(tmp_path / "x", RUN + "_space-fsLR_bold.dtseries.nii",
                       *pair(RUN, "_hemi-{}_space-fsLR_bold.func.gii"))  # fmt: skip
    with pytest.raises(UsageError, match=r"several formats \(.dtseries.nii, .func.gii\)"):
        search(other, space="fsLR")
    only = json.dumps({"bold": {"extension": ".func.gii"}})
    (run,) = search(other, space="fsLR", bids_filter_file=only).runs
    assert len(run.images) == 2


# ---------------------------------------------------------------- several of a kind
def test_of_several_densities_one_is_chosen(tmp_path: Path) -> None:
    root = with_table(tmp_path, RUN + CIFTI, RUN + CIFTI.replace("91k", "170k"),
                      *pair(RUN, "_hemi-{}_space-fsLR_den-32k_bold.func.gii"))  # fmt: skip
    with pytest.raises(UsageError, match=r"densities \(170k, 32k, 91k\): choose one with --den"):
        search(root, space="fsLR")
    assert [len(search(root, space="fsLR", den=den).runs[0].images) for den in ("91k", "32k")] == [
        1,
        2,
    ]
    with pytest.raises(NothingToDoError, match=r"--den: 170k, 32k, 91k"):
        search(root, space="fsLR", den="59k")


def test_of_several_descriptions_one_is_chosen(tmp_path: Path) -> None:
    """As XCP-D writes them."""
    names = [
        RUN + CIFTI.replace("_bold", f"_desc-{desc}_bold")
        for desc in ("denoised", "denoisedSmoothed")
    ]
    with_table(tmp_path, *names)
    with pytest.raises(UsageError, match=r"denoised, denoisedSmoothed\): choose one with --desc-"):
        search(tmp_path, space="fsLR")
    (run,) = search(tmp_path, space="fsLR", desc_label="denoised").runs
    assert run.desc == "denoised"


# ---------------------------------------------------------------- refused
@pytest.mark.parametrize("version", GIFTI)
@pytest.mark.parametrize(("hemi", "side"), [("L", "left"), ("R", "right")])
def test_a_run_without_a_hemisphere_is_refused(
    tmp_path: Path, version: str, hemi: str, side: str
) -> None:
    names = pair(RUN, GIFTI[version])
    with_table(tmp_path, *names, *pair(stem("02")))
    lost = tmp_path / names["LR".index(hemi)]
    lost.unlink()
    found = search(tmp_path, space="fsaverage5")
    assert [run.key.label for run in found.runs] == ["sub-02_task-rest"]
    (refused,) = found.refused
    assert refused.key.label == "sub-01_task-rest"
    assert refused.reason == f"its {side} hemisphere is missing: there is no {lost.name}"


def test_a_hemisphere_that_is_neither_left_nor_right_is_refused(tmp_path: Path) -> None:
    with_table(tmp_path, RUN + "_hemi-left_space-fsaverage5_bold.func.gii")
    assert reasons(tmp_path, space="fsaverage5") == ["its file name has neither hemi-L nor hemi-R"]


@pytest.mark.parametrize(
    ("described", "is_refused"),
    [
        ({"PipelineDescription": {"Name": "fMRIPrep - fMRI", "Version": "20.0.2"}}, True),
        ({"GeneratedBy": [{"Name": "fMRIPrep", "Version": "1.5.1"}]}, True),
        ({"GeneratedBy": [{"Name": "fMRIPrep", "Version": "20.0.3"}]}, False),
        ({"GeneratedBy": [{"Name": "fMRIPrep", "Version": "25.2.5"}]}, False),
        ({"GeneratedBy": [{"Name": "XCP-D", "Version": "0.9.1"}, "?"]}, False),
        ({"GeneratedBy": 3}, False),
    ],
)
def test_grayordinates_of_old_versions_are_refused(
    tmp_path: Path, described: dict[str, object], is_refused: bool
) -> None:
    with_table(tmp_path, RUN + CIFTI, *pair(RUN))
    (tmp_path / "dataset_description.json").write_text(json.dumps(described))
    assert len(search(tmp_path, space="fsaverage5").runs) == 1
    found = search(tmp_path, space="fsLR")
    assert len(found.refused) == is_refused
    assert all("before 20.0.3" in run.reason for run in found.refused)


@pytest.mark.parametrize("people", [1, 2])
def test_surfaces_of_each_participant_are_refused(tmp_path: Path, people: int) -> None:
    for number in range(people):
        with_table(tmp_path, *pair(stem(f"{number}"), "_hemi-{}_space-fsnative_bold.func.gii"))
    with pytest.raises(UsageError, match="vertices of surfaces do not correspond"):
        search(tmp_path, space="fsnative")


def test_who_has_no_surfaces_is_told_with_the_reason(tmp_path: Path) -> None:
    make_runs(with_table(tmp_path, *pair(stem("01"))), stem("02"))
    (folder,) = search(tmp_path, space="fsaverage5").unmatched
    assert folder.name == "sub-02"
    assert folder.reason.endswith("do not match the selection: space is MNI152NLin2009cAsym")
    (folder,) = search(tmp_path).unmatched
    assert "space is fsaverage5" in folder.reason


# ---------------------------------------------------------------- lists that were kept
# What was listed before surfaces were known.
OLDER = re.compile(r"^(?!.*(?:[/\\](?:sub|ses)-[a-zA-Z0-9+]+|[/\\]func|_bold\.nii\.gz|\.tsv)$)")


@pytest.mark.parametrize("is_indexed", [False, True])
def test_what_an_older_version_listed_is_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_indexed: bool
) -> None:
    root = make_runs(with_table(tmp_path / "in", *pair(RUN)), RUN)
    database = tmp_path / "index" if is_indexed else None

    def found(space: str) -> list[str]:
        kept = KeptListing(tmp_path / "kept.json")
        runs = find_runs(
            root, Selection(space=space), database_dir=database, kept=kept, needs_mask=False
        ).runs
        kept.write()
        return [run.space for run in runs]

    monkeypatch.setattr(listing, "_IGNORE", OLDER)
    assert found("MNI152NLin2009cAsym") == ["MNI152NLin2009cAsym"]
    with pytest.raises(NothingToDoError):
        found("fsaverage5")
    monkeypatch.undo()
    assert found("fsaverage5") == ["fsaverage5"]


def test_a_saved_index_has_surfaces(tmp_path: Path) -> None:
    root = make_runs(with_table(tmp_path / "in", *pair(RUN)), RUN)
    for space in ("MNI152NLin2009cAsym", "fsaverage5"):
        found = find_runs(root, Selection(space=space), database_dir=tmp_path / "index")
        assert [run.space for run in found.runs] == [space]


# ---------------------------------------------------------------- sidecars
def test_each_hemisphere_has_its_sidecar(tmp_path: Path) -> None:
    with_table(tmp_path, *pair(RUN))
    own = [name.replace(".func.gii", ".json") for name in pair(RUN)]
    make(tmp_path, *own, "task-rest_bold.json")
    (run,) = search(tmp_path, space="fsaverage5").runs
    assert [path.name for path in run.sidecars] == [
        "task-rest_bold.json", *(Path(name).name for name in own)
    ]  # fmt: skip


def test_names_without_a_suffix_inherit_what_is_said_of_bold_runs(tmp_path: Path) -> None:
    with_table(tmp_path, *pair(RUN, GIFTI["20.0"]))
    make(tmp_path, "task-rest_bold.json", "task-rest_sbref.json")
    (run,) = search(tmp_path, space="fsaverage5").runs
    assert [path.name for path in run.sidecars] == ["task-rest_bold.json"]


def test_the_second_sidecar_of_grayordinates_stands_below_the_first(tmp_path: Path) -> None:
    """fMRIPrep 20.2.1 to 22.0 wrote both."""
    make_runs(with_table(tmp_path, RUN + CIFTI), RUN)
    stems = (RUN + CIFTI).removesuffix(".dtseries.nii")
    make(tmp_path, stems + ".dtseries.json", stems + ".json", "task-rest_bold.dtseries.json")
    (run,) = search(tmp_path, space="fsLR").runs
    assert [path.relative_to(tmp_path).as_posix() for path in run.sidecars] == [
        "task-rest_bold.dtseries.json", stems + ".dtseries.json", stems + ".json"
    ]  # fmt: skip
    (volumes,) = search(tmp_path).runs
    assert volumes.sidecars == ()
    assert volumes.mask == tmp_path / mask(RUN)
