"""The page of maps on surfaces in a browser: what is turned, clicked and compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from surface_reports import CORTEX, N_VERTICES, grayordinates, report_folder

from nidecomp.outputs.report.drawing import draw_all
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.results import read_results
from nidecomp.spaces.meshes import picture_mesh, template_mesh

CHROMIUM = next(
    (path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None
)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
# Of the left hemisphere: in the middle of its lateral side.
LATERAL = int(
    np.linalg.norm(
        picture_mesh("fsaverage3", N_VERTICES, "L").coordinates - [-45, -10, 5], axis=1
    ).argmin()
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="module", params=["gifti", "cifti"])
def page(
    browser: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The page of two decompositions; whatever it says or asks for is an error at the end."""
    models = None if request.param == "gifti" else grayordinates()
    left = slice(0, N_VERTICES) if models is None else models.slices[2]
    maps = np.zeros((2, (models or CORTEX).n_numbers), dtype=np.float32)
    vertices = np.arange(N_VERTICES) if models is None else models.structures[2].places
    maps[0, left] = np.where(vertices == LATERAL, 8.0, 0.5)
    maps[1] = 1
    root = report_folder(tmp_path_factory.mktemp("page"), [maps, 2 * maps], models)
    folder = read_results(root)
    (root / "report.html").write_text(render(folder, draw_all(folder, 1)), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1100})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda said: problems.append(said.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto((root / "report.html").as_uri())
    opened.locator("#ui-first-panel .told-vertex").filter(has_text="mm").wait_for()
    opened.has_voxels = models is not None
    yield opened
    context.close()
    assert problems == []


def told(page: Any, panel: str = "first") -> str:
    return str(page.locator(f"#ui-{panel}-panel .told-vertex").inner_text())


def picture(page: Any, panel: str = "first", hemi: str = "L", side: str | None = None) -> str:
    of_side = f"[data-side={side}]" if side else ":not([data-side])"
    script = f"document.querySelector('#ui-{panel}-panel canvas[data-hemi={hemi}]{of_side}')"
    return str(page.evaluate(f"{script}.toDataURL()"))


def drawn(page: Any) -> None:
    """Wait until a picture was drawn after what happened before."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(page: Any, turn: str) -> None:
    page.locator(f"#ui-first-panel button[data-turn={turn}]").click()
    drawn(page)


def test_the_peak_is_told_with_its_vertex_and_place(page: Any) -> None:
    x, y, z = np.rint(template_mesh("fsaverage3", N_VERTICES, "L").coordinates[LATERAL]).astype(int)
    assert told(page) == f"Left cortex, vertex {LATERAL}: x {x}, y {y}, z {z} mm: 8.00"


def test_buttons_keys_and_dragging_turn_both_hemispheres_and_no_side_view(page: Any) -> None:
    press(page, "lateral")
    lateral = picture(page), picture(page, hemi="R"), picture(page, side="lateral")
    press(page, "medial")
    medial = picture(page), picture(page, hemi="R"), picture(page, side="lateral")
    assert lateral[0] != medial[0]
    assert lateral[1] != medial[1]
    assert lateral[2] == medial[2]
    press(page, "lateral")
    assert picture(page) == lateral[0]
    large = page.locator("#ui-first-panel canvas[data-hemi=L]:not([data-side])")
    large.focus()
    page.keyboard.press("ArrowRight")
    drawn(page)
    assert picture(page, hemi="R") != lateral[1]
    page.keyboard.press("ArrowLeft")
    drawn(page)
    assert picture(page, hemi="R") == lateral[1]
    box = large.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 60, steps=3)
    page.mouse.up()
    drawn(page)
    assert picture(page) != lateral[0]
    assert picture(page, hemi="R") != lateral[1]
    press(page, "lateral")


def test_a_click_tells_the_vertex_that_it_met_and_the_peak_is_found_again(page: Any) -> None:
    press(page, "lateral")
    peak = told(page)
    page.locator("#ui-first-panel canvas[data-hemi=R]:not([data-side])").click()
    drawn(page)
    found = told(page)
    assert found.startswith("Right cortex, vertex ")
    vertex = int(found.split("vertex ")[1].split(":")[0])
    coordinates = picture_mesh("fsaverage3", N_VERTICES, "R").coordinates
    middle = (coordinates.max(axis=0) + coordinates.min(axis=0)) / 2
    assert coordinates[vertex, 0] > middle[0], "on the side that faces the viewer"
    off_centre = coordinates[vertex, 1:] - middle[1:]
    assert np.linalg.norm(off_centre) < 15, "where the click was: in the middle"
    press(page, "peak")
    assert told(page) == peak
    press(page, "lateral")


def test_a_partner_is_turned_together_with_its_component(page: Any) -> None:
    page.select_option("#ui-compare", index=1)
    page.locator("#ui-second-panel .told-vertex").filter(has_text="16.00").wait_for()
    press(page, "lateral")
    before = picture(page, "second")
    press(page, "medial")
    assert picture(page, "second") != before
    press(page, "lateral")
    page.select_option("#ui-compare", index=0)


def test_below_the_threshold_values_can_be_hidden(page: Any) -> None:
    press(page, "lateral")
    page.evaluate("Object.assign(panels[0].component, { low: -2, high: 2 })")
    pictures = {}
    for shown in ("kept", "all", "faint"):
        page.select_option("#ui-shown", shown)
        drawn(page)
        pictures[shown] = picture(page)
    assert len(set(pictures.values())) == 3


def test_voxels_have_slices_and_a_cortex_alone_has_none(page: Any) -> None:
    is_seen = page.locator("#ui-first-panel .slices").is_visible()
    assert is_seen == page.has_voxels
    assert not page.locator("#ui-first-panel canvas.glass").first.is_visible()
    alt = page.locator(".tile img").first.get_attribute("alt")
    assert alt.startswith("canica01 on the lateral and medial sides")
    assert ("slices" in alt) == page.has_voxels


def test_slices_and_vertices_tell_their_own_values(page: Any) -> None:
    of_voxel = page.locator("#ui-first-panel .told")
    assert of_voxel.is_visible() == page.has_voxels
    if not page.has_voxels:
        return
    vertex, voxel = told(page), of_voxel.inner_text()
    page.locator("#ui-first-panel canvas[data-axis=z]").click(position={"x": 9, "y": 9})
    assert of_voxel.inner_text() != voxel
    assert told(page) == vertex


def test_on_a_narrow_screen_nothing_is_wider_than_it(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1400, "height": 1100})
