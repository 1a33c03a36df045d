"""What the page and the figures show of a map is the map's value there."""

from __future__ import annotations

import base64
import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nidecomp.outputs.report.colours import Scale, is_kept, painted
from nidecomp.outputs.report.drawing import paired
from nidecomp.outputs.report.pictures import Cut, packed
from nidecomp.outputs.report.volume_panels import VolumePanels

SHAPE = (9, 10, 11)
# Axes in another order and direction, with voxels of 3 mm.
ODD = np.array([[0, -3, 0, 10], [3, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
PLAIN = np.diag([3.0, 3.0, 3.0, 1.0])
CUT = Cut((0.0, 0.0, 0.0), -1.0, 1.0, "a map")


def unpacked(text: str) -> np.ndarray:
    """As the page's script does it."""
    differences = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.cumsum(differences, dtype=np.uint8)


def saved(folder: Path, values: np.ndarray, affine: np.ndarray, name: str) -> Path:
    path = folder / name
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
    return path


def panels_of(
    folder: Path, maps: np.ndarray, affine: np.ndarray = PLAIN, mask: np.ndarray | None = None
) -> tuple[VolumePanels, list[np.ndarray]]:
    mask = np.ones(SHAPE) if mask is None else mask
    panels = VolumePanels(saved(folder, mask, affine, "mask.nii.gz"), is_mni=False, n_maps=2)
    return panels, list(panels.maps(saved(folder, maps, affine, "maps.nii.gz")))


def seen(panels: VolumePanels, brain_map: np.ndarray) -> tuple[dict, np.ndarray, float]:
    """The page's grid and its values on it, (x, y, z), and the size of a step."""
    pictures = panels.pictures(brain_map, CUT)
    scene = panels.scene()
    shape = scene["grid"]["shape"]
    inside = unpacked(scene["inside"]).astype(bool)
    volume = np.zeros(inside.size)
    volume[inside] = unpacked(pictures.values).view(np.int8)
    return scene["grid"], volume.reshape(shape, order="F"), pictures.limit / 127


@pytest.mark.parametrize("affine", [PLAIN, ODD])
def test_a_value_is_found_at_its_place(tmp_path: Path, affine: np.ndarray) -> None:
    values = np.random.default_rng(0).normal(size=(*SHAPE, 1))
    panels, (brain_map,) = panels_of(tmp_path, values, affine)
    grid, volume, step = seen(panels, brain_map)
    for voxel in ((0, 0, 0), (4, 5, 6), (8, 9, 10)):
        position = affine[:3, :3] @ voxel + affine[:3, 3]
        x, y, z = np.rint((position - grid["origin"]) / grid["step"]).astype(int)
        assert abs(volume[x, y, z] * step - values[voxel]) <= step / 2 + 1e-6


def test_outside_of_the_mask_there_is_nothing(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE)
    mask[2:5, 3:6, 4:7] = 1
    panels, (brain_map,) = panels_of(tmp_path, np.ones((*SHAPE, 1)), mask=mask)
    _, volume, _ = seen(panels, brain_map)
    assert (volume != 0).sum() == mask.sum()


def test_the_small_picture_shows_the_map_at_its_peak(tmp_path: Path) -> None:
    values = np.zeros((*SHAPE, 2))
    values[4, 5, 6, 0], values[4, 5, 6, 1] = 3.0, -3.0
    panels, maps = panels_of(tmp_path, values)
    at_peak, elsewhere = (
        [
            np.asarray(panels.pictures(one, Cut(place, -1.0, 1.0, "")).small).astype(int)
            for one in maps
        ]
        for place in ((12.0, 15.0, 18.0), (0.0, 0.0, 0.0))
    )
    red_less_blue = [(picture[..., 0] - picture[..., 2]) for picture in at_peak]
    assert red_less_blue[0].max() > 40
    assert red_less_blue[1].min() < -40
    assert all((picture.max(axis=2) == picture.min(axis=2)).all() for picture in elsewhere), "grey"


def test_maps_on_another_grid_than_the_mask_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another grid"):
        panels_of(tmp_path, np.ones((3, 4, 5, 1)))


def test_an_empty_map_has_pictures_without_a_warning(tmp_path: Path) -> None:
    """Warnings are errors in tests."""
    panels, (brain_map,) = panels_of(tmp_path, np.full((*SHAPE, 1), np.nan))
    cut = Cut((0.0, 0.0, 0.0), math.nan, math.nan, "empty")
    nothing = panels.pictures(brain_map, cut)
    assert not unpacked(nothing.values).any()
    assert min(nothing.small.width, panels.figure(brain_map, cut).width) > 0


def test_bytes_come_back_as_they_were() -> None:
    values = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
    np.testing.assert_array_equal(unpacked(packed(values)), values)


def test_the_threshold_keeps_what_the_table_says_and_the_rest_is_fainter() -> None:
    values = np.array([[-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]], dtype=np.float32)
    scale = Scale(window=3.0, low=math.nan, high=1.0)
    assert is_kept(values, scale).tolist() == [[False] * 5 + [True] * 2]
    assert not is_kept(np.zeros((1, 2), dtype=np.float32), Scale(3.0, 0.0, 0.0)).any()
    ground = np.full((1, 7), 100, dtype=np.uint8)
    hidden = painted(ground, values, scale, is_faint=False).astype(int)
    assert (hidden[0, :5] == 100).all()
    faint = np.abs(painted(ground, values, scale, is_faint=True).astype(int) - 100).sum(axis=2)[0]
    assert 0 == faint[3] < faint[4] < faint[5]


def test_a_file_with_too_few_maps_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"maps\.nii\.gz does not have the 2 maps"):
        list(paired(iter([np.ones(3)]), [CUT, CUT], tmp_path / "maps.nii.gz"))
