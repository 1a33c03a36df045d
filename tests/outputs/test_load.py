"""Decompositions as images and data frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support import group_maps

import nidecomp
from nidecomp.bids.entities import key_of_name
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import Inventory
from nidecomp.outputs.result import Outcome

RUNS = tuple(f"sub-0{number}_task-{task}" for number in (1, 2, 3) for task in ("nback", "rest"))


@pytest.fixture(scope="module")
def canica(small_output: Path) -> nidecomp.Decomposition:
    return nidecomp.load_results(small_output)[0]


def test_decompositions_are_there_with_their_maps_and_measures(small_output: Path) -> None:
    found = nidecomp.load_results(Outcome(Inventory(), small_output))
    assert [(one.method, one.n_components) for one in found] == [("canica", 3), ("dictlearning", 3)]
    for one in found:
        whole = np.asarray(one.maps_img.dataobj)
        inside = (whole != 0).any(axis=-1)
        maps = group_maps(small_output, one.method)
        np.testing.assert_array_equal(whole[inside].T, maps[:, (maps != 0).any(axis=0)])
        assert tuple(one.metrics["component"]) == tuple(one.labels["component"]) == one.names
        assert one.labels["label"].notna().any()
        assert one.labels["atlas_label"].isna().all()
        assert one.runs == RUNS
    assert repr(found[0]) == (
        f"<Decomposition: canica, 3 components; time courses of 6 runs; in {small_output}>"
    )


@pytest.mark.parametrize(
    ("participant", "entities"),
    [
        ("03", {"task": "rest"}),
        ("sub-03", {"task": "task-rest"}),
        ("sub-03_task-rest", {}),
        ("03", {"task": "rest", "session": None, "acq": None}),
    ],
)
def test_time_courses_are_those_of_the_run_that_was_asked_for(
    canica: nidecomp.Decomposition,
    small_output: Path,
    participant: str,
    entities: dict[str, str | None],
) -> None:
    courses = canica.time_courses(participant, **entities)
    (path,) = small_output.glob("sub-03/func/*_task-rest_*_seg-canica_*_timeseries.tsv")
    np.testing.assert_array_equal(courses, np.genfromtxt(path, delimiter="\t", skip_header=1))
    assert tuple(courses.columns) == canica.names


@pytest.mark.parametrize(
    ("participant", "entities", "said"),
    [
        ("03", {}, "2 runs match sub-03: sub-03_task-nback, .*. Choose one by task, or by its"),
        ("9", {}, "matches sub-9. There are: sub-01, sub-02, sub-03."),
        ("03", {"run": 1}, r"matches sub-03_run-1. There are: sub-03_task-nback, sub-03_task-rest"),
        ("03", {"colour": "red"}, "'colour' is no entity of a run: use session, task,"),
    ],
)
def test_several_runs_or_none_are_an_error_that_says_what_there_is(
    canica: nidecomp.Decomposition, participant: str, entities: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        canica.time_courses(participant, **entities)


def test_numbers_of_runs_may_have_zeros_and_dropped_volumes_are_nan(
    canica: nidecomp.Decomposition, tmp_path: Path
) -> None:
    table = tmp_path / "timeseries.tsv"
    table.write_text("canica01\nn/a\n2.5\n")
    one_map = {"names": ("canica01",), "n_components": 1}
    names = [f"sub-01_ses-{ses}_task-rest_run-0{run}_x" for ses in "ab" for run in (1, 2)]
    files = {key_of_name(Path(name)): table for name in names}
    one = nidecomp.Decomposition(**{**vars_of(canica), **one_map, "time_course_files": files})
    assert one.time_courses("01", session="b", run=2)["canica01"].isna().tolist() == [True, False]
    with pytest.raises(UsageError, match=r"4 runs match sub-01: .* Choose one by session and run,"):
        one.time_courses("01")


def vars_of(one: nidecomp.Decomposition) -> dict[str, object]:
    return {name: getattr(one, name) for name in type(one).__dataclass_fields__}


# ---------------------------------------------------------------- folders that lack something
def test_without_measures_there_are_maps_and_names(small_output: Path, tmp_path: Path) -> None:
    """As --level minimal leaves them."""
    shutil.copytree(small_output / "tpl-MNI152NLin2009cAsym", tmp_path / "tpl-X")
    for table in tmp_path.rglob("*_metrics.tsv"):
        table.unlink()
    one = nidecomp.load_results(tmp_path)[0]
    assert one.maps_img.shape[-1] == 3
    assert tuple(one.labels["component"]) == one.names
    assert one.labels["label"].isna().all()
    with pytest.raises(UsageError, match="has no measures of the components of canica, 3 comp"):
        _ = one.metrics
    with pytest.raises(UsageError, match="has no time courses of canica, 3 components"):
        one.time_courses("01")


def test_what_is_no_output_folder_or_a_damaged_one_is_refused(
    small_output: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="has no decompositions: an output folder"):
        nidecomp.load_results(tmp_path)
    shutil.copytree(small_output / "tpl-MNI152NLin2009cAsym", tmp_path / "tpl-X")
    for sidecar in tmp_path.rglob("*_seg-canica_*_components.json"):
        sidecar.write_text("{")
    with pytest.raises(UsageError, match=r"seg-canica_scale-3 or the names .* are missing or dam"):
        nidecomp.load_results(tmp_path)


def test_tables_that_do_not_fit_the_maps_are_refused(
    canica: nidecomp.Decomposition, tmp_path: Path
) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("component\tlabel\ncanica01\tn/a\n")
    files = dict.fromkeys(canica.time_course_files, table)
    one = nidecomp.Decomposition(
        **{**vars_of(canica), "metrics_file": table, "time_course_files": files}
    )
    with pytest.raises(UsageError, match=r"table\.tsv does not fit the 3 maps"):
        _ = one.labels
    with pytest.raises(UsageError, match=r"table\.tsv does not fit the 3 maps"):
        one.time_courses("sub-01_task-rest")
