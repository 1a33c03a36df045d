"""The page shows what the folder holds, escapes what others wrote, and says what is missing."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_example import components_of, data_of, make, page_of, write, write_tsv

from nidecomp.execution.monitor import REPORT_STEP
from nidecomp.outputs.report.cautions import cautions
from nidecomp.outputs.report.drawing import Drawn, DrawnMap
from nidecomp.outputs.report.payload import anchor, component_ids
from nidecomp.outputs.report.pictures import Cut
from nidecomp.outputs.report.results import read_results

HOSTILE = '<script>alert("1")</script>"\'&é' + "x" * 200


def with_a_map(root: Path) -> str:
    """A page with the picture and the map of its first component."""
    cut = Cut((10.0, -20.0, 30.0), -1.0, math.nan, "title")
    one = DrawnMap(b"picture", "packed", 2.5, 2.0, cut)
    drawn = Drawn(maps={("seg-canica_scale-2", "canica01"): one}, scene={"grid": {}})
    return page_of(root, drawn)


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


# ---------------------------------------------------------------- what is shown
def test_every_component_has_a_tile_that_links_lead_to(tmp_path: Path) -> None:
    page = Reader(page_of(make(tmp_path)))
    ids = [found["id"] for _, found in page.tags if found.get("id")]
    assert len(ids) == len(set(ids))
    links = {str(found["href"])[1:] for tag, found in page.tags if tag == "a" and found.get("href")}
    assert links <= set(ids)
    assert {"canica01", "canica02"} <= links
    text = " ".join(page.text)
    for shown in ("Auditory", "r 0.81", "⚑ motion", "reproducibility 0.90", "|r| = 0.61"):
        assert shown in text


def test_a_weak_or_flagged_component_gets_no_bold_name(tmp_path: Path) -> None:
    """The label of the first is sure; the second has none; with a flag, neither is sure."""
    sure, weak = components_of(page_of(make(tmp_path)))
    assert (sure["label"], sure["isSure"]) == ("Auditory", True)
    assert (weak["label"], weak["isSure"], weak["isAtChance"]) == ("", False, True)
    (metrics,) = tmp_path.rglob("*_metrics.tsv")
    metrics.write_text(metrics.read_text().replace("0.1\tn/a\tn/a\t10", "0.1\tcsf\tit is\t10"))
    page = page_of(tmp_path)
    assert not any(one["isSure"] for one in components_of(page))
    assert '"line sure"' not in page
    assert "similar to Auditory" in page


def test_the_numbers_of_a_component_stand_with_the_question_that_they_answer(
    tmp_path: Path,
) -> None:
    _, second = components_of(page_of(make(tmp_path)))
    answers = {question: dict(found) for question, found in second["facts"]}
    assert answers["Would others find it again?"]["its chance level"] == "0.10"
    assert answers["Is it noise?"]["reasons for its flags"] == "It correlates."


@pytest.mark.parametrize("name", ["part-runs", "ui-data"])
def test_a_component_may_be_called_like_a_part_of_the_page(tmp_path: Path, name: str) -> None:
    root = make(tmp_path)
    for path in (*root.rglob("*_metrics.tsv"), *root.rglob("*_components.json")):
        path.write_text(path.read_text().replace("canica02", name))
    ids = [found["id"] for _, found in Reader(page_of(root)).tags if found.get("id")]
    assert len(ids) == len(set(ids))


def test_components_of_two_orders_with_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    root = make(tmp_path)
    for path in list(root.rglob("*scale-2_*")):
        text = path.read_text().replace('"NumberOfComponents": 2', '"NumberOfComponents": 3')
        write(path.with_name(path.name.replace("scale-2", "scale-3")), text)
    page = Reader(page_of(root))
    ids = [found["id"] for _, found in page.tags if found.get("id")]
    assert len(ids) == len(set(ids))
    links = [found for tag, found in page.tags if tag == "a"]
    tiles = [found["id"] for found in links if str(found.get("class")).startswith("tile")]
    assert tiles == [f"canica0{index}-of-{scale}" for scale in (2, 3) for index in (1, 2)]


def test_pictures_are_in_the_page_and_nothing_is_outside_of_it(tmp_path: Path) -> None:
    root = make(tmp_path)
    write(root / "figures" / "order.svg", "<svg/>")
    page = with_a_map(root)
    reader = Reader(page)
    sources = [str(found["src"]) for tag, found in reader.tags if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/") for source in sources)
    assert all(found.get("alt") for tag, found in reader.tags if tag == "img")
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert "@import" not in page
    assert "url(" not in page


def test_hostile_names_come_out_as_text(tmp_path: Path) -> None:
    page = with_a_map(make(tmp_path, name=HOSTILE, label=HOSTILE))
    reader = Reader(page)
    n_scripts = sum(tag == "script" for tag, _ in reader.tags)
    assert n_scripts == sum(tag == "script" for tag, _ in Reader(with_a_map(make(tmp_path))).tags)
    assert HOSTILE in " ".join(reader.text)
    assert "<script>alert" not in page


@given(text=st.text(max_size=40))
@settings(deadline=None, max_examples=100, derandomize=True, database=None)
def test_anchors_hold_nothing_that_could_break_out_and_tell_names_apart(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]*", anchor(text))
    other = text + "."
    assert anchor(text) != anchor(other)


def test_the_page_has_each_components_map_and_where_to_cut_it(tmp_path: Path) -> None:
    first, second = components_of(with_a_map(make(tmp_path)))
    assert (first["values"], first["limit"], first["window"]) == ("packed", 2.5, 2.0)
    assert first["peak"] == [10.0, -20.0, 30.0]
    assert (first["low"], first["high"]) == (-1.0, None), "none above is kept"
    assert "values" not in second


def test_what_participants_have_is_the_mean_of_their_runs(tmp_path: Path) -> None:
    root = make(tmp_path)
    with (root / "logs" / "quality_components.tsv").open("a") as table:
        table.write("sub-01_task-rest_run-2\tcanica\t2\tcanica01\t0.7\tn/a\n")
    page = page_of(root)
    (one,) = data_of(page)["decompositions"]
    assert one["participants"] == ["sub-01", "sub-03"]
    assert one["components"][0]["fits"] == [[0.6, None], [1.5, 2.5]]
    assert one["components"][1]["fits"] is None


def test_participants_who_stand_apart_are_marked(tmp_path: Path) -> None:
    root = make(tmp_path)
    values = (0.5, 0.52, 0.48, 0.51, 0.49, 0.01)
    rows = [
        (f"sub-{index:02d}_task-rest", "canica", "2", "canica01", str(r), "1")
        for index, r in enumerate(values)
    ]
    header = ("run", "method", "scale", "component", "map_r", "amplitude")
    write_tsv(root / "logs" / "quality_components.tsv", header, *rows)
    assert components_of(page_of(root))[0]["apart"] == [[5], []]


def test_partners_are_those_of_the_table(tmp_path: Path) -> None:
    root = make(tmp_path)
    for path in list(root.rglob("*seg-canica*")):
        text = path.read_text().replace("canica", "dictlearning")
        write(path.with_name(path.name.replace("canica", "dictlearning")), text)
    write_tsv(
        root / "logs" / "matching.tsv",
        ("method", "scale", "component", "other_method", "other_scale", "other_component", "r"),
        ("canica", "2", "canica02", "dictlearning", "2", "dictlearning01", "0.75"),
    )
    assert data_of(page_of(root))["matches"] == [["canica02", "dictlearning01", 0.75]]


def test_how_each_run_has_a_component_is_read(tmp_path: Path) -> None:
    fits = read_results(make(tmp_path)).fits["canica", "2", "canica01"]
    assert fits.runs == ("sub-01_task-rest", "sub-03_task-rest")
    np.testing.assert_array_equal(fits.map_r, [0.5, np.nan])
    np.testing.assert_array_equal(fits.amplitude, [1.5, 2.5])


def test_files_of_more_components_are_not_taken_for_those_of_fewer(tmp_path: Path) -> None:
    root = make(tmp_path)
    (only,) = read_results(root).decompositions
    other = Path(str(only.maps).replace("scale-2_", "scale-20_"))
    write(other, "")
    few, many = read_results(root).decompositions
    assert few.maps == only.maps
    assert (many.scale, many.maps) == (20, other)


def test_participants_lead_to_their_files_where_there_are_any(tmp_path: Path) -> None:
    root = make(tmp_path)
    write_tsv(root / "participants.tsv", ("participant_id",), ("sub-01",), ("sub-02",))
    (root / "sub-01").mkdir()
    table = data_of(page_of(root), "tables")["part-t-participants"]
    assert table["links"] == {"sub-01": "sub-01/"}


def test_how_it_was_run_is_told_but_not_what_the_report_took(tmp_path: Path) -> None:
    root = make(tmp_path)
    told = {"Command": "nidecomp <in> 'my out'", "Machine": {"System": "Linux", "Cores": 3}}
    told["PeakMemoryMB"] = {"ThisProcess": 512, "Others": 345}
    write(root / "logs" / "resources.json", json.dumps(told))
    write_tsv(
        root / "logs" / "resources.tsv",
        ("step", "seconds"), ("reducing runs", "12.5"), (REPORT_STEP, "7.25"),
    )  # fmt: skip
    text = " ".join(Reader(page_of(root)).text)
    for part in ("nidecomp <in> 'my out'", "3 cores", "reducing runs", "12.5", "512 MB", "345 MB"):
        assert part in text
    assert "7.25" not in text


def test_runs_have_the_mean_of_what_decompositions_say(tmp_path: Path) -> None:
    root = make(tmp_path)
    write_tsv(
        root / "logs" / "quality.tsv",
        ("run", "map_r"), ("sub-01_task-rest", "0.25"), ("sub-01_task-rest", "0.5"),
        ("sub-02_task-rest", "n/a"),
    )  # fmt: skip
    table = data_of(page_of(root), "tables")["part-t-runs"]
    column = table["heads"].index("r with group maps")
    assert [row[column] for row in table["rows"]] == ["0.375", ""]


def test_maps_that_were_given_have_a_report_without_evidence(tmp_path: Path) -> None:
    root = make(tmp_path)
    next(root.rglob("*_decomposition.json")).unlink()
    for name in ("stability", "matching"):
        (root / "logs" / f"{name}.tsv").unlink()
    write(root / "logs" / "settings.toml", '[projection]\nmaps = "/atlas"\n[denoising]\n')
    folder = read_results(root)
    assert folder.missing == ()
    (one,) = folder.decompositions
    assert (one.method, one.scale, one.is_template) == ("canica", 2, True)
    page = page_of(root)
    assert "CanICA (given), 2 components" in page
    assert "part-t-seg-canica_scale-2" not in data_of(page, "tables")
    assert "projected to 2 template maps" in page


# ---------------------------------------------------------------- what is wrong
def test_what_matters_stands_on_top(tmp_path: Path) -> None:
    root = make(tmp_path, Fit={"Converged": False})
    write_tsv(root / "participants.tsv", ("participant_id", "outlier"), ("sub-07", "motion 3"))
    folder = read_results(root)
    found = cautions(folder, component_ids(folder))
    told = " ".join(one.text for one in found)
    for part in (
        "did not converge", "1 component is no more reproducible", "at most 0.10",
        "1 of 2 runs was not used", "sub-07",
    ):  # fmt: skip
        assert part in told
    assert ("canica02", "canica02") in [link for one in found for link in one.links]


def test_components_that_were_not_judged_are_not_taken_for_networks_of_others(
    tmp_path: Path,
) -> None:
    folder = read_results(make(tmp_path, Evidence={"Reproducibility": "not assessed: one of one"}))
    told = [one.text for one in cautions(folder, component_ids(folder))]
    assert any(
        one.endswith("find these components again was not assessed: one of one.") for one in told
    )


def test_a_partial_folder_gives_a_partial_report_that_says_so(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "participants.tsv").unlink()
    next(root.rglob("*_metrics.tsv")).unlink()
    next(root.rglob("*_res-2_components.nii.gz")).unlink()
    write(root / "logs" / "settings.toml", "")
    write(root / "dataset_description.json", "{not json")
    page = page_of(root)
    for part in ("participants.tsv is missing", "_metrics.tsv is missing", "maps of",
                 "dataset_description.json is damaged"):  # fmt: skip
        assert part in page


def test_an_empty_folder_gives_a_page(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "There is no decomposition" in page
    assert "Nothing was fitted." in page


def test_notes_are_counted_by_kind_and_people_without_runs_are_a_warning(tmp_path: Path) -> None:
    root = make(tmp_path)
    write_tsv(
        root / "logs" / "inventory.tsv",
        ("run", "status", "reason", "notes"),
        ("sub-01_task-rest", "used", "n/a", "one thing; sub-01_task-rest.json is old"),
        ("sub-02_task-rest", "used", "n/a", "sub-02_task-rest.json is old"),
        ("sub-03", "not matched", "it has no func folder", "n/a"),
        ("sub-04", "not selected", "excluded", "n/a"),
    )
    page = page_of(root)
    assert data_of(page, "tables")["part-t-notes"]["rows"] == [
        ["*.json is old", "2", "sub-01_task-rest, sub-02_task-rest"],
        ["one thing", "1", "sub-01_task-rest"],
    ]
    text = " ".join("".join(Reader(page).text).split())
    assert "1 folder of participants without a run that matches the selection" in text
    assert "not used" not in text
