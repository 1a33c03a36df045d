"""Pictures of the cortex show each value at its vertex, on its hemisphere, from the right side."""

from __future__ import annotations

import base64
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from surface_reports import (
    AFFINE,
    CORTEX,
    N_VERTICES,
    THALAMUS,
    grayordinates,
    report_folder,
    write_cifti,
    write_pair,
)

from nidecomp.outputs.report.colours import Scale
from nidecomp.outputs.report.drawing import draw_all
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.panels import Place, files_of_maps, panels_for
from nidecomp.outputs.report.pictures import Cut, packed_numbers
from nidecomp.outputs.report.results import read_results
from nidecomp.outputs.report.surface_panels import SurfacePanels, cifti_panels, gifti_panels
from nidecomp.outputs.report.surface_views import WALL, Hemisurface, montage
from nidecomp.spaces.meshes import picture_mesh, template_mesh

CUT = Cut((0.0, 0.0, 0.0), -1.0, 1.0, "a map")


def unpacked(text: str) -> np.ndarray:
    """As the page's script does it."""
    differences = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.cumsum(differences, dtype=np.uint8)


def unpacked_numbers(text: str) -> np.ndarray:
    """As the page's script does it."""
    low, high = np.split(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), 2)
    folded = low.astype(int) | (high.astype(int) << 8)
    return np.cumsum((folded >> 1) ^ -(folded & 1)) % 65536


def of_pair(folder: Path, maps: np.ndarray) -> tuple[SurfacePanels, list[np.ndarray]]:
    path = write_pair(folder / "tpl-fsaverage3_hemi-L_components.func.gii", maps)
    panels = gifti_panels(path, n_maps=2)
    return panels, list(panels.maps(path))


def around(hemi: str, side: str, n: int = 60) -> np.ndarray:
    """A map of both hemispheres: 3 at the vertices farthest to one side of one of them, else 0."""
    axis, sign = {
        "front": (1, 1), "back": (1, -1), "top": (2, 1), "bottom": (2, -1), "left": (0, -1),
        "right": (0, 1),
    }[side]  # fmt: skip
    coordinates = picture_mesh("fsaverage3", N_VERTICES, hemi).coordinates
    values = np.zeros((2, N_VERTICES), dtype=np.float32)
    values[int(hemi == "R"), np.argsort(sign * coordinates[:, axis])[-n:]] = 3
    return values.reshape(1, -1)


def coloured(picture: Image.Image) -> np.ndarray:
    """Where a picture is red: (rows, columns)."""
    pixels = np.asarray(picture).astype(int)
    return pixels[..., 0] - pixels[..., 2] > 60


def quadrants(picture: Image.Image) -> dict[str, np.ndarray]:
    """The four views of a small picture."""
    red = coloured(picture)
    (height, width), middle = red.shape, red.shape[1] // 2
    upper = height // 2
    return {
        "L lateral": red[:upper, :middle], "R lateral": red[:upper, middle:width],
        "L medial": red[upper:, :middle], "R medial": red[upper:, middle:width],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hemi", "lateral_edge", "medial_edge"), [("L", "left", "right"), ("R", "right", "left")]
)
def test_a_frontal_pole_is_seen_in_front_on_its_own_hemisphere(
    tmp_path: Path, hemi: str, lateral_edge: str, medial_edge: str
) -> None:
    panels, (brain_map,) = of_pair(tmp_path, around(hemi, "front"))
    shown = quadrants(panels.pictures(brain_map, CUT).small)
    other = "R" if hemi == "L" else "L"
    assert not shown[f"{other} lateral"].any()
    assert not shown[f"{other} medial"].any()
    for side, edge in (("lateral", lateral_edge), ("medial", medial_edge)):
        red = shown[f"{hemi} {side}"]
        _, columns = np.nonzero(red)
        share = columns.mean() / red.shape[1]
        assert share < 0.35 if edge == "left" else share > 0.65


@pytest.mark.parametrize(("where", "is_lateral"), [("left", True), ("right", False)])
def test_what_is_outside_is_seen_from_outside_only(
    tmp_path: Path, where: str, is_lateral: bool
) -> None:
    panels, (brain_map,) = of_pair(tmp_path, around("L", where))
    shown = quadrants(panels.pictures(brain_map, CUT).small)
    lateral, medial = shown["L lateral"].sum(), shown["L medial"].sum()
    assert (lateral > 20 * medial) if is_lateral else (medial > 20 * lateral)


def test_the_top_is_up(tmp_path: Path) -> None:
    panels, (brain_map,) = of_pair(tmp_path, around("R", "top"))
    red = quadrants(panels.pictures(brain_map, CUT).small)["R lateral"]
    assert np.nonzero(red)[0].mean() < 0.4 * red.shape[0]


def test_pictures_change_with_maps_and_large_ones_show_the_same(tmp_path: Path) -> None:
    maps = np.concatenate([around("L", "front"), around("L", "back"), -around("L", "front")])
    panels, found = of_pair(tmp_path, maps)
    small = [np.asarray(panels.pictures(one, CUT).small).astype(int) for one in found]
    assert not (small[0] == small[1]).all()
    blue = small[2][..., 2] - small[2][..., 0] > 60
    assert blue.sum() > 100
    assert not coloured(Image.fromarray(small[2].astype(np.uint8))).any()
    red = coloured(panels.figure(found[0], CUT))
    upper = red[40:300, :430]
    assert np.nonzero(upper)[1].mean() < 0.35 * 430


def test_values_below_the_threshold_are_fainter_and_zero_is_not_coloured(tmp_path: Path) -> None:
    panels, maps = of_pair(
        tmp_path, np.concatenate([around("L", "front"), 0 * around("L", "back")])
    )

    def colour(brain_map: np.ndarray, limit: float) -> np.ndarray:
        picture = panels.pictures(brain_map, Cut((0, 0, 0), -limit, limit, "")).small
        return np.ptp(np.asarray(picture).astype(int)[:112], axis=2)

    kept, faint, none = colour(maps[0], 2.9), colour(maps[0], 6.0), colour(maps[1], 1.0)
    assert kept.max() > 2 * faint.max() > 0
    assert (none > 0).mean() < 0.01, "the lateral sides are grey but for the edge of the wall"


def test_the_medial_wall_has_its_own_colour_on_the_medial_side_alone(tmp_path: Path) -> None:
    panels, (brain_map,) = of_pair(tmp_path, np.zeros((1, 2 * N_VERTICES)))
    picture = np.asarray(panels.pictures(brain_map, CUT).small).astype(float)
    bluish = picture[..., 2] - picture[..., 0] > 0.6 * (WALL[2] - WALL[0]) * 0.5
    lateral, medial = np.split(bluish, 2)
    assert medial.mean() > 0.05
    assert lateral.mean() < 0.005


def test_edges_are_smooth_and_the_paper_is_around_them() -> None:
    """The corner of a picture is paper; at the brain's edge there are colours between both."""
    surfaces = []
    for hemi in ("L", "R"):
        mesh = picture_mesh("fsaverage3", N_VERTICES, hemi)
        depth = np.zeros(N_VERTICES)
        surfaces.append(Hemisurface(hemi, mesh.coordinates, mesh.faces, depth, mesh.wall))
    values, scale = np.zeros(2 * N_VERTICES, dtype=np.float32), Scale(1.0, 0.0, 0.0)
    drawn = montage(surfaces, [[("dorsal", 0), ("ventral", 1)]], 80)
    white, black = (
        np.asarray(drawn.draw(values, scale, (paper,) * 3)).astype(int)[..., 0]
        for paper in (255, 0)
    )
    assert (white[0, 0], black[0, 0]) == (255, 0)
    share = (white - black) / 255
    assert ((share > 0.1) & (share < 0.9)).sum() > 40


def test_grayordinates_are_found_by_structure_whatever_their_order(tmp_path: Path) -> None:
    models = grayordinates(n_left=600)
    values = np.random.default_rng(0).normal(size=(1, models.n_numbers)).astype(np.float32)
    path = write_cifti(tmp_path / "tpl-fsaverage3_den-1k_components.dscalar.nii", models, values)
    panels = cifti_panels(path, n_maps=2)
    (brain_map,) = panels.maps(path)
    pictures, scene = panels.pictures(brain_map, CUT), panels.scene()
    steps = unpacked(pictures.values).view(np.int8) * (pictures.limit / 127)
    right, thalamus, left = (values[0, one] for one in models.slices)
    tolerance = pictures.limit / 254 + 1e-6
    np.testing.assert_allclose(steps[:600], left[::-1], atol=tolerance)
    assert not steps[600:N_VERTICES].any(), "what the file does not have"
    np.testing.assert_allclose(steps[N_VERTICES : 2 * N_VERTICES], right, atol=tolerance)
    grid = scene["grid"]
    volume = np.zeros(math.prod(grid["shape"]))
    volume[unpacked(scene["inside"]).astype(bool)] = steps[2 * N_VERTICES :]
    volume = volume.reshape(grid["shape"], order="F")
    affine = np.array(AFFINE)
    for voxel, value in zip(THALAMUS, thalamus, strict=True):
        position = affine[:3, :3] @ voxel + affine[:3, 3]
        x, y, z = np.rint((position - grid["origin"]) / grid["step"]).astype(int)
        assert abs(volume[x, y, z] - value) <= tolerance


def test_slices_go_through_the_largest_voxel_and_stand_beside_the_cortex(tmp_path: Path) -> None:
    models = grayordinates()
    values = np.zeros((2, models.n_numbers), dtype=np.float32)
    values[0, models.slices[1].start] = 5
    path = write_cifti(tmp_path / "tpl-fsaverage3_components.dscalar.nii", models, values)
    panels = cifti_panels(path, n_maps=2)
    with_voxel, empty = (panels.pictures(one, CUT) for one in panels.maps(path))
    assert with_voxel.small.size == empty.small.size
    red = coloured(with_voxel.small)
    assert red[:, 320:].any()
    assert not red[:, :320].any()
    assert "slices" in with_voxel.shows


@pytest.mark.parametrize("which", ["cortex", "subcortex"])
def test_files_of_the_cortex_or_of_voxels_alone_are_drawn(tmp_path: Path, which: str) -> None:
    both = grayordinates()
    models = both.restricted(both.of_structures(which))
    values = np.random.default_rng(0).normal(size=(1, models.n_numbers))
    path = write_cifti(tmp_path / "tpl-fsaverage3_components.dscalar.nii", models, values)
    panels = cifti_panels(path, n_maps=2)
    (brain_map,) = panels.maps(path)
    assert set(panels.scene()) & {"cortex", "grid"} == {"cortex" if which == "cortex" else "grid"}
    assert panels.pictures(brain_map, CUT).small.width > 0
    assert panels.figure(brain_map, CUT).width > 0


def test_the_page_has_the_mesh_as_it_is(tmp_path: Path) -> None:
    panels, _ = of_pair(tmp_path, np.zeros((1, 2 * N_VERTICES)))
    for one, hemi in zip(panels.scene()["cortex"], ("L", "R"), strict=True):
        mesh = picture_mesh("fsaverage3", N_VERTICES, hemi)
        assert one["isOwn"]
        for name, wanted in (
            ("inflated", mesh.coordinates),
            ("anatomy", template_mesh("fsaverage3", N_VERTICES, hemi).coordinates),
        ):
            steps = unpacked_numbers(one[name]["values"]).reshape(3, -1).T
            found = steps * one[name]["step"] + one[name]["lowest"]
            np.testing.assert_allclose(found, wanted, atol=one[name]["step"] / 2 + 1e-9)
        found = unpacked_numbers(one["faces"]).reshape(3, -1).T
        assert _turned(found) == _turned(mesh.faces)
        np.testing.assert_array_equal(unpacked(one["wall"]), mesh.wall)


def _turned(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Faces from their lowest vertex on: which way round they go is kept."""
    return {tuple(np.roll(face, -int(face.argmin())).tolist()) for face in faces}


def test_numbers_of_two_bytes_come_back_as_they_were() -> None:
    values = np.random.default_rng(0).integers(0, 65536, 1000).astype(np.uint16)
    np.testing.assert_array_equal(unpacked_numbers(packed_numbers(values)), values)


def test_maps_of_pages_with_many_are_drawn_at_the_first_vertices_of_fsaverage(
    tmp_path: Path,
) -> None:
    """The vertices of fsaverage5 are the first ones of fsaverage6: they are found on the sphere."""
    values = np.zeros((1, 2 * 40962), dtype=np.float32)
    values[0, :10242], values[0, 40962 : 40962 + 10242] = np.arange(10242), -np.arange(10242)
    path = write_pair(tmp_path / "tpl-fsaverage6_hemi-L_components.func.gii", values)
    panels = gifti_panels(path, n_maps=500)
    (brain_map,) = panels.maps(path)
    np.testing.assert_array_equal(
        panels.sample(brain_map), np.concatenate([np.arange(10242), -np.arange(10242)])
    )
    assert all(one["isOwn"] for one in panels.scene()["cortex"])


def test_an_empty_map_has_pictures_without_a_warning(tmp_path: Path) -> None:
    """Warnings are errors in tests."""
    panels, (brain_map,) = of_pair(tmp_path, np.full((1, 2 * N_VERTICES), np.nan))
    cut = Cut((0.0, 0.0, 0.0), math.nan, math.nan, "empty")
    nothing = panels.pictures(brain_map, cut)
    assert not unpacked(nothing.values).any()
    assert min(nothing.small.width, panels.figure(brain_map, cut).width) > 0


def test_other_grayordinates_than_those_before_are_an_error(tmp_path: Path) -> None:
    panels, _ = of_pair(tmp_path, np.zeros((1, 2 * N_VERTICES)))
    other = write_pair(tmp_path / "tpl-fsaverage4_hemi-L.func.gii", np.zeros((1, 2 * 2562)))
    with pytest.raises(ValueError, match="other grayordinates"):
        list(panels.maps(other))


def test_a_pair_is_one_file_of_maps_without_a_hemisphere(tmp_path: Path) -> None:
    name = "tpl-fsaverage3_task-rest_hemi-L_atlas-A_seg-canica_scale-2_components.func.gii"
    left = write_pair(tmp_path / name, np.zeros((1, 2 * N_VERTICES)))
    ((path, short),) = files_of_maps(tmp_path, "*_components")
    assert path == left
    assert short == "tpl-fsaverage3_task-rest_atlas-A_seg-canica_scale-2_components"
    assert isinstance(panels_for(Place(None, path, False, 2)), SurfacePanels)


@pytest.mark.parametrize("models", [None, grayordinates()])
def test_a_folder_of_surfaces_has_its_pictures_and_matches(tmp_path: Path, models: object) -> None:
    n_numbers = (models or CORTEX).n_numbers
    maps = np.random.default_rng(0).normal(size=(2, n_numbers)).astype(np.float32)
    folder = read_results(report_folder(tmp_path, [maps, maps[::-1]], models))
    assert folder.missing == ()
    drawn = draw_all(folder, 1)
    assert len(drawn.maps) == 4
    (r,) = drawn.matches.values()
    np.testing.assert_allclose(np.diag(r[:, ::-1]), 1, atol=1e-6)
    assert {"overview_seg-canica_scale-2", "overview_seg-dictlearning_scale-2"} <= set(
        drawn.figures
    )


def test_on_a_mesh_that_is_not_known_there_are_words_without_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = report_folder(tmp_path, [np.ones((2, CORTEX.n_numbers), dtype=np.float32)], None)
    for path in root.glob("tpl-*/func/*_components.func.gii"):
        path.unlink()
        write_pair(path.with_name(path.name.replace("hemi-R", "hemi-L")), np.ones((2, 2 * 777)))
    folder = read_results(root)
    assert draw_all(folder, 1).maps == {}
    assert "no inflated surface of space-fsaverage3 with 777 vertices" in caplog.text
    assert "canica01" in render(folder)
