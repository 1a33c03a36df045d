"""Pictures of what was found in maps: the statistic, and a line around what is found."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from comparison_example import PLANTED, Example, add_comparison
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_example import make, page_of
from surface_reports import CORTEX, grayordinates, report_folder
from test_surface_page import browser  # noqa: F401  the fixture

from nidecomp.outputs.report.colours import painted_where
from nidecomp.outputs.report.compared_maps import draw_comparison
from nidecomp.outputs.report.drawing import draw_all
from nidecomp.outputs.report.outlines import outlined
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.panels import MapPanels, Place, panels_for
from nidecomp.outputs.report.results import read_results
from nidecomp.outputs.report.volume_panels import VolumePanels

SHAPE, AFFINE = (12, 14, 12), np.diag([12.0, 12.0, 12.0, 1.0])
AFFINE[:3, 3] = -66, -100, -60
NAMES = ["canica01", "canica02"]


def with_volumes(root: Path, example: Example | None = None) -> Path:
    """An output folder with the maps of two components, and a comparison."""
    make(root)
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(*SHAPE, 2)).astype(np.float32)
    maps[3:6, 4:8, 5:8, PLANTED] += 6
    (path,) = root.rglob("*_components.nii.gz")
    nib.save(nib.Nifti1Image(maps, AFFINE), path)
    (metrics,) = root.rglob("*_metrics.tsv")
    metrics.write_text(metrics.read_text().replace("\tmotion\t", "\tn/a\t"))
    return add_comparison(root, example)


# ---------------------------------------------------------------- lines
@given(st.integers(0, 2**20 - 1), st.integers(1, 3))
@settings(deadline=None, max_examples=30, derandomize=True, database=None)
def test_a_line_runs_along_its_region_and_nowhere_else(bits: int, finer: int) -> None:
    region = np.array([bits >> place & 1 for place in range(20)], dtype=bool).reshape(4, 5)
    fine = np.kron(region, np.ones((6 * finer, 6 * finer), dtype=bool))
    plain = Image.new("RGB", (30, 24), (90, 120, 30))
    drawn = np.asarray(outlined(plain, fine, finer)).astype(int)
    inside = np.kron(region, np.ones((6, 6), dtype=bool))
    changed = (drawn != (90, 120, 30)).any(axis=2)
    grown = np.zeros_like(inside)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            grown |= np.roll(np.pad(inside, 2), (down, right), (0, 1))[2:-2, 2:-2]
    assert not (changed & ~grown).any()
    assert changed.any() == (0 < region.sum() < 20) or region.all()
    # In the middle of a square, nothing is covered.
    middles = drawn[3::6, 3::6][region]
    assert (middles == (90, 120, 30)).all()


def test_what_is_found_has_all_of_its_colour_and_the_rest_less() -> None:
    values = np.full((2, 1), 4.0, dtype=np.float32)
    grey = np.full((2, 1), 100, dtype=np.uint8)
    kept, other = painted_where(grey, values, 8.0, np.array([[True], [False]])).astype(int)
    assert (np.abs(kept - 100) >= np.abs(other - 100)).all()
    assert (kept != other).any()
    nothing = painted_where(grey, np.zeros_like(values), 8.0, np.array([[True], [False]]))
    assert (nothing == 100).all()


def test_slices_go_through_the_largest_value_of_what_was_found(tmp_path: Path) -> None:
    mask = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.float32), AFFINE), mask)
    panels = VolumePanels(mask, is_mni=False, n_maps=1)
    statistic, found = np.zeros(SHAPE, dtype=np.float32), np.zeros(SHAPE, dtype=bool)
    statistic[2, 3, 4], statistic[8, 9, 7] = 9, -4
    found[8, 9, 7] = True
    drawn = panels.compared(statistic.ravel(order="F"), found.ravel(order="F"))
    place = AFFINE[:3, :3] @ (8, 9, 7) + AFFINE[:3, 3]
    assert drawn.peak_mm is not None
    assert np.abs(drawn.peak_mm - place).max() <= 6
    without = panels.compared(statistic.ravel(order="F"), np.zeros(found.size, dtype=bool))
    assert drawn.picture.tobytes() != without.picture.tobytes()


@pytest.mark.parametrize("kind", ["gifti", "cifti"])
def test_on_the_cortex_the_line_is_where_something_was_found(tmp_path: Path, kind: str) -> None:
    models = None if kind == "gifti" else grayordinates()
    n = (models or CORTEX).n_numbers
    root = report_folder(tmp_path, [np.ones((2, n), dtype=np.float32)], models)
    (one,) = read_results(root).decompositions
    assert one.maps is not None
    panels: MapPanels = panels_for(Place(None, one.maps, one.is_mni, 2))
    statistic = np.ones(n, dtype=np.float32)
    found = np.zeros(n, dtype=bool)
    pictures = {}
    for part in ("none", "first", "all"):
        found[:] = part == "all"
        found[: n // 4] |= part == "first"
        drawn = panels.compared(statistic, found)
        pictures[part] = np.asarray(drawn.picture).astype(int)
        assert (drawn.peak_mm is None) == (kind == "gifti")
    changed = (pictures["first"] != pictures["none"]).any(axis=2)
    side = pictures["none"].shape[1] // 2
    # The first numbers are those of one hemisphere, which a column of the picture shows.
    columns = (changed[:, :side].any(), changed[:, side:].any())
    assert columns == ((True, False) if kind == "gifti" else (False, True))
    white = (pictures["all"] > 240).all(axis=2)
    assert white.any()


# ---------------------------------------------------------------- files
def test_only_maps_in_which_something_was_found_are_drawn_the_same_by_any_threads(
    tmp_path: Path,
) -> None:
    folder = read_results(with_volumes(tmp_path))
    one, two = (draw_all(folder, n) for n in (1, 2))
    assert list(one.compared) == [("seg-canica_scale-2", "group", "canica02")]
    assert one.compared == two.compared
    page = render(folder, one)
    assert page == render(folder, two)
    assert page.count('<div class="compared-map">') == 1
    assert "Slices at x = " in page
    assert "corrected over all voxels, 2 components and 2 tests (TFCE)" in page


@pytest.mark.parametrize(("p", "n_drawn"), [(0.05, 0), (0.0499, 1)])
def test_the_line_is_around_p_below_the_limit_as_files_have_it(
    tmp_path: Path, p: float, n_drawn: int
) -> None:
    """A p of exactly 0.05, in single precision, is not found."""
    root = with_volumes(tmp_path)
    (path,) = root.rglob("*_contrast-group_stat-logp_desc-tfceall_statmap.nii.gz")
    image = nib.load(path)
    values = np.zeros(image.shape, dtype=np.float32)
    values[5, 5, 5] = -np.log10(np.float32(p))
    nib.save(nib.Nifti1Image(values, image.affine), path)

    class Told(VolumePanels):
        def compared(self, statistic: Any, found: Any) -> Any:
            counts.append(int(found.sum()))
            return super().compared(statistic, found)

    counts: list[int] = []
    folder = read_results(root)
    (one,) = folder.decompositions
    assert one.maps is not None
    draw_comparison(folder, Told(one.maps, is_mni=False, n_maps=2), 1)
    assert counts == [n_drawn]


def test_maps_that_are_not_there_are_told_and_the_rest_is_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = with_volumes(tmp_path)
    for path in root.rglob("*_stat-logp_*"):
        path.unlink()
    folder = read_results(root)
    with caplog.at_level(logging.WARNING):
        drawn = draw_all(folder, 1)
    assert drawn.compared == {}
    assert "The maps of the test group are not there" in caplog.text
    assert "The map was not drawn: see its files." in render(folder, drawn)


def test_an_f_has_one_colour_and_the_largest_value_decides_without_tfce(tmp_path: Path) -> None:
    root = with_volumes(tmp_path, Example(three_groups=True, n_tfce=0))
    folder = read_results(root)
    page = render(folder, draw_all(folder, 1))
    assert "Yellow: large F." in page
    assert "(the largest value)" in page
    assert "TFCE" not in page[page.index('id="part-compared"') : page.index('id="part-methods"')]


# ---------------------------------------------------------------- in a browser
@pytest.mark.parametrize("width", [360, 1300])
def test_in_a_browser_components_lead_to_tests_and_nothing_is_cut_off(
    browser: Any,  # noqa: F811
    tmp_path: Path,
    width: int,
) -> None:
    root = with_volumes(tmp_path)
    design = json.loads((root / "design.json").read_text())
    design["Formula"] = " + ".join(f"variable_{index}" for index in range(20))
    (root / "design.json").write_text(json.dumps(design))
    folder = read_results(root)
    (root / "report.html").write_text(render(folder, draw_all(folder, 1)), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((root / "report.html").as_uri() + "#canica02")
    links = page.locator("#ui-first-panel .compared-links")
    links.wait_for()
    assert "group: larger in patients, p = 0.012" in links.inner_text()
    links.get_by_text("group").first.click()
    assert page.url.endswith("#part-c-group-canica02")
    assert page.locator("#part-c-group-canica02").bounding_box()["y"] < 900
    page.locator("#part-c-group-canica02 h4 a").first.click()
    assert page.url.endswith("#canica02")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    too_wide = page.evaluate(
        """(width) => [...document.querySelectorAll('#part-compared *')]
          .filter((one) => !one.closest('.scroll, .compared-bar'))
          .filter((one) => one.getBoundingClientRect().right > width)
          .map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    assert too_wide == []
    context.close()
    assert problems == []


def test_the_page_reads_without_pictures(tmp_path: Path) -> None:
    assert "canica02" in page_of(with_volumes(tmp_path))


def test_maps_that_were_cut_off_are_told_and_not_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = with_volumes(tmp_path)
    (statistic,) = root.rglob("*_contrast-group_stat-t_statmap.nii.gz")
    statistic.write_bytes(statistic.read_bytes()[:300])
    folder = read_results(root)
    with caplog.at_level(logging.WARNING):
        drawn = draw_all(folder, 1)
    assert drawn.compared == {}
    assert "The maps of the test group cannot be read, and are not drawn" in caplog.text
    assert "The map was not drawn: see its files." in render(folder, drawn)
