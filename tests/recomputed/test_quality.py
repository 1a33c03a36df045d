"""Quality of runs, components and participants, and the table of runs, from the inputs."""

from __future__ import annotations

import json
from collections import defaultdict

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from recomputed.cleaned_runs import (
    METHODS,
    bold_path,
    cleaned,
    confounds,
    mask_path,
    parts_of_strategy,
    stage_1,
    stage_2,
    used_runs,
)
from recomputed.published import Published, agree, numbers, recomputes

INVENTORY, QUALITY = "logs/inventory.tsv", "logs/quality.tsv"
COMPONENTS, PARTICIPANTS = "logs/quality_components.tsv", "participants.tsv"
# Tables have six digits.
RELATIVE = 5e-6


def same(file: str, column: str, found: NDArray[np.float64], expected: list[float]) -> None:
    """Compare a column within its six digits and the rounding errors of float32."""
    largest = np.nanmax(np.abs(expected)) if len(expected) else 1.0
    agree(f"{file}: {column}", found, expected, float(2 * RELATIVE * max(largest, 1e-3)))


def displacement(published: Published, run: str) -> float:
    """Return the mean framewise displacement of a run, without volumes where it is unknown."""
    return float(np.nanmean(confounds(published, run)["framewise_displacement"]))


def tsnr(published: Published, run: str) -> float:
    """Return the median of mean / standard deviation over voxels that vary."""
    smoothed = cleaned(published, run).smoothed
    deviation = smoothed.std(axis=0)
    varies = deviation > 0
    return float(np.median(np.abs(smoothed.mean(axis=0)[varies]) / deviation[varies]))


def not_dropped(published: Published, run: str) -> NDArray[np.bool_]:
    """Return the volumes that fMRIPrep did not flag as non-steady-state."""
    columns = confounds(published, run)
    flags = [values for name, values in columns.items() if name.startswith("non_steady_state")]
    return ~np.any([np.zeros(nib.load(bold_path(published, run)).shape[3]), *flags], axis=0)


def fits(
    published: Published, run: str, method: str
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return explained variance, and each component's map_r and amplitude."""
    maps, series = published.maps(method), cleaned(published, run).series
    courses = stage_1(series, maps)
    explained = 1 - np.sum((series - courses @ maps) ** 2) / np.sum(series**2)
    own = stage_2(series, courses)
    r = [np.corrcoef(*pair)[0, 1] for pair in zip(own, maps, strict=True)]
    return float(explained), np.array(r), courses.std(axis=0, ddof=1)


def independent_values(published: Published, method: str) -> float:
    """Return 1/variance of r between unrelated maps with the mean autocorrelation of these.

    At each distance, products are summed over all pairs of different maps and divided by the number
    of pairs of voxels; distances at which a tenth of the voxels or fewer have a partner are left
    out. Voxels are more than 4 mm apart, so that all of them are used.
    """
    mask, maps = published.mask, published.maps(method)
    shape = [fft.next_fast_len(int(1.5 * size), real=True) for size in mask.shape]
    pairs = fft.ifftn(np.abs(fft.fftn(mask.astype(float), shape)) ** 2).real
    products = []
    for values in maps - maps.mean(axis=1, keepdims=True):
        volume = np.zeros(mask.shape)
        volume[mask] = values
        own = fft.ifftn(np.abs(fft.fftn(volume, shape)) ** 2).real
        products.append(own / own[0, 0, 0])
    of_all = np.mean(
        [one * other for one in products for other in products if one is not other], axis=0
    )
    known = pairs > 0.1 * mask.sum()
    return float(1 / np.sum(of_all[known] / pairs[known]))


@recomputes(
    QUALITY, "scale", "explained_variance", "map_r", "map_r_min", "map_r_chance", "tsnr",
    "n_volumes_kept", "mean_fd",
)  # fmt: skip
@recomputes(COMPONENTS, "scale", "map_r", "amplitude")
def test_quality_of_runs_and_of_their_components(detailed: Published) -> None:
    columns: dict[str, list[float]] = defaultdict(list)
    of_components: dict[str, list[float]] = defaultdict(list)
    rows, component_rows = detailed.table(QUALITY), detailed.table(COMPONENTS)
    independent = {method: independent_values(detailed, method) for method in METHODS}
    for row in rows:
        run = row["run"]
        explained, r, amplitude = fits(detailed, run, row["method"])
        columns["scale"].append(len(r))
        columns["explained_variance"].append(explained)
        columns["map_r"].append(float(r.mean()))
        columns["map_r_min"].append(float(r.min()))
        kept = not_dropped(detailed, run).sum()
        n = kept - cleaned(detailed, run).basis.shape[1] - len(r) + 1
        columns["map_r_chance"].append(np.sqrt(n / (n + independent[row["method"]])))
        columns["tsnr"].append(tsnr(detailed, run))
        columns["n_volumes_kept"].append(int(not_dropped(detailed, run).sum()))
        columns["mean_fd"].append(displacement(detailed, run))
        of_components["scale"] += [len(r)] * len(r)
        of_components["map_r"] += r.tolist()
        of_components["amplitude"] += amplitude.tolist()
    assert len(rows) == len(METHODS) * len(used_runs(detailed))
    for column, expected in columns.items():
        same(QUALITY, column, numbers(rows, column), expected)
    for column, expected in of_components.items():
        same(COMPONENTS, column, numbers(component_rows, column), expected)


@recomputes(
    PARTICIPANTS, "n_runs_used", "n_runs_not_used", "n_volumes_kept", "mean_fd", "map_r",
    "explained_variance", "tsnr", "outlier",
)  # fmt: skip
def test_quality_of_participants_and_outliers(detailed: Published) -> None:
    rows, inventory = detailed.table(PARTICIPANTS), detailed.table(INVENTORY)
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        own = [one for one in inventory if one["run"].split("_")[0] == row["participant_id"]]
        runs = [one["run"] for one in own if one["status"] == "used"]
        columns["n_runs_used"].append(len(runs))
        columns["n_runs_not_used"].append(len(own) - len(runs))
        columns["n_volumes_kept"].append(sum(not_dropped(detailed, run).sum() for run in runs))
        columns["mean_fd"].append(float(np.mean([displacement(detailed, run) for run in runs])))
        found = [fits(detailed, run, method) for method in METHODS for run in runs]
        columns["map_r"].append(float(np.mean([r.mean() for _, r, _ in found])))
        columns["explained_variance"].append(float(np.mean([share for share, _, _ in found])))
        columns["tsnr"].append(float(np.mean([tsnr(detailed, run) for run in runs])))
    for column, expected in columns.items():
        same(PARTICIPANTS, column, numbers(rows, column), expected)
    # Modified z scores (Iglewicz and Hoaglin 1993), where data are worse than usual.
    reasons: list[list[str]] = [[] for _ in rows]
    for name in ("map_r", "explained_variance", "tsnr", "mean_fd", "n_volumes_kept"):
        values = np.array(columns[name], dtype=float)
        middle = np.median(values)
        spread = np.median(np.abs(values - middle))
        if spread == 0:
            continue
        z = 0.6745 * (values - middle) / spread
        bad = z > 3.5 if name == "mean_fd" else z < -3.5
        for index in np.flatnonzero(bad & (np.abs(values - middle) > 0.25 * middle)):
            reasons[index].append(
                f"{name} {values[index]:.3g} (median {middle:.3g}, modified z {z[index]:.1f})"
            )
    assert [row["outlier"] for row in rows] == ["; ".join(one) or "n/a" for one in reasons]
    assert any(reasons)


@recomputes(
    INVENTORY, "repetition_time", "start_time", "n_volumes", "n_volumes_kept", "dropped",
    "n_regressors", "regressors", "mean_fd", "resampled", "mask_voxels", "mask_coverage",
    "n_nonfinite_voxels", "n_constant_voxels", "variance_kept",
)  # fmt: skip
def test_the_table_of_runs(detailed: Published) -> None:
    rows = detailed.table(INVENTORY)
    runs = [row["run"] for row in rows]
    assert runs == used_runs(detailed)
    masks = {run: np.asarray(nib.load(mask_path(detailed, run)).dataobj) > 0 for run in runs}
    participants = defaultdict(list)
    for run, mask in masks.items():
        participants[run.split("_")[0]].append(mask)
    shares = [np.mean(own, axis=0) for own in participants.values()]
    shared = np.mean(shares, axis=0) >= 0.5
    np.testing.assert_array_equal(detailed.mask, shared)
    n_rows = 2 * len(detailed.maps("canica"))
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        run = row["run"]
        image, data = nib.load(bold_path(detailed, run)), cleaned(detailed, run)
        about = json.loads(
            bold_path(detailed, run).with_name(f"{_stem(detailed, run)}.json").read_text("utf-8")
        )
        kept = not_dropped(detailed, run)
        values = np.linalg.svd(data.series, compute_uv=False) ** 2
        columns["repetition_time"].append(about["RepetitionTime"])
        columns["start_time"].append(about["StartTime"])
        columns["n_volumes"].append(image.shape[3])
        columns["n_volumes_kept"].append(int(kept.sum()))
        columns["n_regressors"].append(data.basis.shape[1])
        columns["mean_fd"].append(displacement(detailed, run))
        columns["mask_voxels"].append(int(masks[run].sum()))
        columns["mask_coverage"].append(float(masks[run][shared].mean()))
        columns["n_nonfinite_voxels"].append(int((~np.isfinite(data.raw)).any(axis=0).sum()))
        columns["n_constant_voxels"].append(int((np.ptp(data.raw, axis=0) == 0).sum()))
        columns["variance_kept"].append(float(values[:n_rows].sum() / values.sum()))
        assert kept.all()
        assert row["dropped"] == "n/a"
        on_grid = np.allclose(image.affine, detailed.affine)
        assert on_grid
        assert row["resampled"] == "false"
        parts = parts_of_strategy(confounds(detailed, run))
        counts = {"trend": 2} | {name: len(part) for name, part in parts.items()}
        said = dict(part.rsplit(" ", 1) for part in row["regressors"].split(", "))
        assert {name: int(number) for name, number in said.items()} == counts
    for column, expected in columns.items():
        same(INVENTORY, column, numbers(rows, column), expected)


def _stem(published: Published, run: str) -> str:
    return bold_path(published, run).name.removesuffix(".nii.gz")


@recomputes("sub-*_outliers.tsv", "dropped")
def test_dropped_volumes_of_runs(detailed: Published) -> None:
    for run in used_runs(detailed):
        found = numbers(detailed.table(f"sub-*/**/{run}_outliers.tsv"), "dropped")
        agree("dropped volumes", found, ~not_dropped(detailed, run), 0)
