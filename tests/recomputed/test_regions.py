"""The regions of the networks: soft atlas, parcellation, and its table."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn._utils.segmentation import random_walker
from nilearn.regions import connected_regions, region_extractor
from numpy.typing import NDArray

from recomputed.published import Published, agree, numbers, recomputes

METHODS = {"canica": "connected_components", "dictlearning": "local_regions"}
LEAST_MM3 = 1350


class Piece(NamedTuple):
    """A region: which network it is of, its weights, and which voxels are left to it."""

    network: int
    weights: NDArray[np.float32]
    won: NDArray[np.bool_]


def atlas_path(published: Published, method: str, desc: str) -> Path:
    paths = published.output.glob(f"tpl-*/func/*_seg-{method}_*_probseg.nii.gz")
    (path,) = (path for path in paths if ("_desc-regions_" in path.name) == (desc == "regions"))
    return path


def soft_regions(published: Published, method: str) -> list[tuple[int, NDArray[np.float32]]]:
    """Compute the regions of each network with nilearn, the largest of each network first."""
    networks = nib.load(atlas_path(published, method, "networks"))
    found = []
    for network, is_noise in enumerate(published.at_chance(method)):
        one = networks.slicer[..., network : network + 1]
        if is_noise or not np.asarray(one.dataobj).any():
            continue
        # With its own tolerance of 1e-3, 1 % of the demo's voxels belong to other regions.
        exact = patch.object(region_extractor, "random_walker", partial(random_walker, tol=1e-10))
        with warnings.catch_warnings(), exact:
            warnings.simplefilter("ignore")
            image, _ = connected_regions(
                one, min_region_size=LEAST_MM3, extract_type=METHODS[method], smoothing_fwhm=6
            )
        if image is not None:
            regions = np.moveaxis(np.asarray(image.dataobj), -1, 0)
            in_order = sorted(regions, key=lambda one: (-np.count_nonzero(one), lowest(one > 0)))
            found += [(network, one) for one in in_order]
    return found


def lowest(inside: NDArray[np.bool_]) -> list[int]:
    """Return the lowest voxel (of images in the order RAS, as this dataset's are)."""
    return min(place[::-1] for place in np.argwhere(inside).tolist())


def parcels(published: Published, method: str) -> list[Piece]:
    """Compute who wins each voxel, and drop whoever is left too small, one at a time."""
    left = soft_regions(published, method)
    mm3 = float(np.abs(np.linalg.det(published.affine[:3, :3])))
    while True:
        weights = np.array([one for _, one in left])
        winner = np.where(weights.max(axis=0) > 0, weights.argmax(axis=0), -1)
        sizes = [np.count_nonzero(winner == number) for number in range(len(left))]
        if min(sizes) * mm3 >= LEAST_MM3:
            break
        del left[len(sizes) - 1 - sizes[::-1].index(min(sizes))]
    pieces = [Piece(*one, winner == number) for number, one in enumerate(left)]
    return sorted(
        pieces, key=lambda one: (one.network, -np.count_nonzero(one.won), lowest(one.won))
    )


def side(x: NDArray[np.float64], voxel_mm: float) -> str:
    """Compute the hemisphere of voxels, of which those with the plane x = 0 are on no side."""
    left, right = (int(np.sum(sign * x >= voxel_mm / 2)) for sign in (-1, 1))
    if left + right <= 0.05 * len(x):
        return "M"
    share = left / (left + right)
    return "L" if share >= 0.95 else "R" if share <= 0.05 else "B"


@pytest.mark.parametrize("output", ["demo", "detailed"])
@pytest.mark.parametrize("method", METHODS)
@recomputes(
    *("*_dseg.tsv", "index", "name", "label", "network", "network_label", "hemisphere"),
    *("x", "y", "z", "volume_mm3"),
)
def test_the_parcellation_its_table_and_the_soft_atlas(
    request: pytest.FixtureRequest, output: str, method: str
) -> None:
    published: Published = request.getfixturevalue(output)
    metrics = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_dseg.tsv")
    expected = parcels(published, method)
    agree("dseg.tsv: index", numbers(rows, "index"), np.arange(1, len(expected) + 1), 0)
    names, counts = [], dict.fromkeys(range(len(metrics)), 0)
    for piece in expected:
        counts[piece.network] += 1
        names.append(f"{metrics[piece.network]['component']}-{counts[piece.network]}")
    assert [row["name"] for row in rows] == [row["label"] for row in rows] == names
    own = [metrics[piece.network] for piece in expected]
    assert [row["network"] for row in rows] == [one["component"] for one in own]
    assert [row["network_label"] for row in rows] == [one["label"] for one in own]
    labels = nib.load(published.one(f"tpl-*/func/*_seg-{method}_*_dseg.nii.gz"))
    image = np.zeros(labels.shape, dtype=int)
    for index, piece in enumerate(expected, start=1):
        image[piece.won] = index
    # Where two random walks are about equally probable, rounding decides whose the voxel is.
    walked = method == "dictlearning"
    differ = np.mean(np.asarray(labels.dataobj)[image > 0] != image[image > 0])
    agree("dseg.nii.gz: share of voxels that differ", differ, 0.0, 0.02 if walked else 0)
    places = [apply_affine(published.affine, np.argwhere(piece.won)) for piece in expected]
    for axis, column in enumerate("xyz"):
        centres = [place[:, axis].mean() for place in places]
        agree(f"dseg.tsv: {column}", numbers(rows, column), centres, 1e-3)
    mm3 = float(np.abs(np.linalg.det(published.affine[:3, :3])))
    volumes = [len(place) * mm3 for place in places]
    agree("dseg.tsv: volume_mm3", numbers(rows, "volume_mm3"), volumes, 1)
    voxel_mm = float(np.abs(published.affine[0, :3]).sum())
    assert [row["hemisphere"] for row in rows] == [side(one[:, 0], voxel_mm) for one in places]
    soft = nib.load(atlas_path(published, method, "regions"))
    weights = np.stack([piece.weights for piece in expected], axis=-1)
    # Where two random walks are equally probable, rounding decides whose the voxel is.
    differ = np.mean(np.asarray(soft.dataobj) != weights)
    agree("soft atlas of regions: share of values that differ", differ, 0.0, 1e-4)
    about = published.json(f"tpl-*/func/*_seg-{method}_*_desc-regions_probseg.json")
    assert about["LabelMap"] == names
