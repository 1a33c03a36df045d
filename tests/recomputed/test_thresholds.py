"""Thresholds, thresholded maps, the soft atlas of networks, peaks, and the shape of maps."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage, stats

from recomputed.published import Published, agree, numbers, recomputes

METHODS = ("canica", "dictlearning")
OUTPUTS = ("demo", "detailed")
LEVEL = 0.05
# Half of the window that the background is fitted in, and the factor by which cutting a normal
# distribution there reduces its standard deviation.
WINDOW = 1.5
REDUCED = float(stats.truncnorm(-WINDOW, WINDOW).std())
# Tables have six digits.
DIGITS = 1e-5
LEAST_CLUSTER_MM3, N_CLUSTERS = 100, 3


@pytest.fixture(params=OUTPUTS)
def published(request: pytest.FixtureRequest) -> Published:
    return request.getfixturevalue(request.param)


def background(values: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the normal distribution whose moments in the window are those of the map."""
    ordered = np.sort(values)
    last = len(ordered) - 1
    low, high = ordered[last // 4], ordered[last - last // 4]
    centre, sd = float(np.median(ordered)), (high - low) / (2 * stats.norm.ppf(0.75))
    for _ in range(200):
        inside = ordered[np.abs(ordered - centre) <= WINDOW * sd]
        centre, sd = float(inside.mean()), float(inside.std()) / REDUCED
    return centre, sd


def kept_values(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float, float]:
    """Compute which values ``background:0.05`` keeps, and its limits."""
    known = values != 0
    if 2 * np.count_nonzero(known) < len(values):
        return known, 0.0, 0.0
    centre, sd = background(values[known])
    p = np.ones(len(values))
    p[known] = 2 * stats.norm.sf(np.abs(values[known] - centre) / sd)
    passed = np.zeros(len(values), dtype=bool)
    passed[known] = stats.false_discovery_control(p[known], method="bh") <= LEVEL
    if not passed.any():
        return passed, np.nan, np.nan
    reach = stats.norm.isf(passed.sum() * LEVEL / known.sum() / 2) * sd
    return passed, centre - reach, centre + reach


def thresholded(published: Published, method: str) -> NDArray[np.float64]:
    pattern = f"tpl-*/func/*_seg-{method}_*_desc-thresholded_components.nii.gz"
    return published.in_mask(published.one(pattern))


@pytest.mark.parametrize("method", METHODS)
@recomputes("*_metrics.tsv", "threshold_low", "threshold_high", "support", "thresholded_support")
def test_each_map_is_cut_where_its_own_background_ends(published: Published, method: str) -> None:
    maps = published.maps(method)
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    kept, low, high = map(np.array, zip(*map(kept_values, maps), strict=True))
    np.testing.assert_array_equal(thresholded(published, method), np.where(kept, maps, 0))
    agree("threshold_low", numbers(rows, "threshold_low"), low, DIGITS)
    agree("threshold_high", numbers(rows, "threshold_high"), high, DIGITS)
    agree("support", numbers(rows, "support"), (maps != 0).mean(axis=1), DIGITS)
    share = numbers(rows, "thresholded_support")
    agree("thresholded_support", share, kept.mean(axis=1), DIGITS)
    about = published.json(f"tpl-*/func/*_seg-{method}_*_desc-thresholded_components.json")
    limits = [
        (one or {}).get(key, np.nan) for one in about["Thresholds"] for key in ("Low", "High")
    ]
    agree("Thresholds", np.reshape(limits, (-1, 2)), np.column_stack([low, high]), DIGITS)


@pytest.mark.parametrize("method", METHODS)
@recomputes(
    "*_metrics.tsv", "component", "index", "kurtosis", "peak_x", "peak_y", "peak_z", "peak_value"
)
def test_the_shape_of_each_map(published: Published, method: str) -> None:
    maps = published.maps(method)
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    about = published.json(f"tpl-*/func/*_seg-{method}_*_res-native_components.json")
    assert [row["component"] for row in rows] == about["ComponentNames"]
    agree("index", numbers(rows, "index"), np.arange(len(maps)), 0)
    kurtosis = stats.kurtosis(maps, axis=1)
    agree("kurtosis", numbers(rows, "kurtosis") / kurtosis, np.ones(len(maps)), DIGITS)
    places = apply_affine(published.affine, np.argwhere(published.mask))[maps.argmax(axis=1)]
    for axis, coordinate in zip("xyz", places.T, strict=True):
        agree("peak position", numbers(rows, f"peak_{axis}"), coordinate, 1e-3)
    agree("peak_value", numbers(rows, "peak_value"), maps.max(axis=1), 10 * DIGITS)


@pytest.mark.parametrize("method", METHODS)
def test_the_soft_atlas_has_the_positive_values_divided_by_the_largest(
    published: Published, method: str
) -> None:
    paths = published.output.glob(f"tpl-*/func/*_seg-{method}_*_probseg.nii.gz")
    (path,) = (path for path in paths if "_desc-" not in path.name)
    positive = np.maximum(thresholded(published, method), 0)
    largest = positive.max(axis=1, keepdims=True)
    expected = positive / np.where(largest > 0, largest, 1)
    agree("soft atlas of networks", published.in_mask(path), expected, 1e-7)


@pytest.mark.parametrize("method", METHODS)
@recomputes("*_peaks.tsv", "component", "cluster", "x", "y", "z", "value", "volume_mm3")
def test_peaks_are_those_of_the_largest_clusters(published: Published, method: str) -> None:
    names = [
        row["component"] for row in published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    ]
    noise = published.at_chance(method)
    mm3 = float(np.abs(np.linalg.det(published.affine[:3, :3])))
    expected = []
    for name, values, is_noise in zip(names, thresholded(published, method), noise, strict=True):
        volume = np.zeros(published.mask.shape)
        volume[published.mask] = 0 if is_noise else values
        clusters = []
        for sign in (1, -1):
            numbered, n_clusters = ndimage.label(sign * volume > 0)
            for cluster in range(1, n_clusters + 1):
                inside = np.argwhere(numbered == cluster)
                strength = np.abs(volume[tuple(inside.T)])
                lowest_first = np.lexsort((inside[:, 0], inside[:, 1], inside[:, 2]))
                peak = inside[lowest_first][strength[lowest_first].argmax()]
                lowest = inside[lowest_first[0]][::-1].tolist()
                clusters.append((-len(inside), lowest, peak))
        clusters.sort(key=lambda cluster: cluster[:2])
        large = [cluster for cluster in clusters if -cluster[0] * mm3 >= LEAST_CLUSTER_MM3]
        for number, (size, _, peak) in enumerate(large[:N_CLUSTERS], start=1):
            place = apply_affine(published.affine, peak)
            expected.append((name, number, *place, volume[tuple(peak)], -size * mm3))
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_peaks.tsv")
    assert [row["component"] for row in rows] == [one[0] for one in expected]
    columns = ("cluster", "x", "y", "z", "value", "volume_mm3")
    for index, column in enumerate(columns, start=1):
        within = 10 * DIGITS if column == "value" else 1e-3
        agree(f"peaks: {column}", numbers(rows, column), [one[index] for one in expected], within)
