"""The cleaned series of a run, from its image and its confounds table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.image import smooth_img
from numpy.typing import NDArray

from recomputed.published import Published, numbers

FWHM_MM = 6.0
METHODS = ("canica", "dictlearning")
_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_VARIANTS = ("", "_derivative1", "_power2", "_derivative1_power2")


@dataclass(frozen=True, eq=False)
class CleanedRun:
    """A run of the demo, which drops no volume.

    `smoothed` and `series` are (n_volumes, n_voxels), before and after cleaning; the columns of
    `basis` are orthonormal and span the regressors; `raw` is not smoothed.
    """

    raw: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    series: NDArray[np.float64]
    basis: NDArray[np.float64]


def bold_path(published: Published, run: str) -> Path:
    """Return the preprocessed image of a run."""
    (path,) = published.dataset.glob(f"sub-*/**/{run}_*_desc-preproc_bold.nii.gz")
    return path


def mask_path(published: Published, run: str) -> Path:
    """Return the brain mask of a run."""
    (path,) = published.dataset.glob(f"sub-*/**/{run}_*_desc-brain_mask.nii.gz")
    return path


def confounds(published: Published, run: str) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a run's confounds table; n/a is NaN."""
    (path,) = published.dataset.glob(f"sub-*/**/{run}_desc-confounds_timeseries.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {name: numbers(rows, name) for name in rows[0]}


def parts_of_strategy(columns: dict[str, NDArray[np.float64]]) -> dict[str, list[str]]:
    """Return the columns of each part of the strategy "simple" of nilearn."""
    return {
        "high_pass": [name for name in columns if name.startswith("cosine")],
        "motion": [name + variant for name in _MOTION for variant in _VARIANTS],
        "wm_csf": ["csf", "white_matter"],
    }


def regressors(published: Published, run: str) -> NDArray[np.float64]:
    """Return constant, linear trend and confounds; derivatives begin with their second value."""
    columns = confounds(published, run)
    names = [name for part in parts_of_strategy(columns).values() for name in part]
    values = np.column_stack([columns[name] for name in names])
    values[0] = np.where(np.isnan(values[0]), values[1], values[0])
    n_volumes = len(values)
    return np.column_stack([np.ones(n_volumes), np.arange(n_volumes), values])


@cache
def cleaned(published: Published, run: str) -> CleanedRun:
    """Clean a run: smoothing, one regression of everything, unit variance."""
    path = bold_path(published, run)
    raw = published.in_mask(path)
    smoothed = np.asarray(smooth_img(nib.load(path), FWHM_MM).dataobj, dtype=np.float64)
    smoothed = smoothed[published.mask].T
    # A voxel that is constant in the image has no data: smoothing gives it none.
    constant = np.ptp(raw, axis=0) == 0
    smoothed[:, constant] = 0
    columns = regressors(published, run)
    columns /= np.linalg.norm(columns, axis=0)
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, sizes > 1e-10 * sizes[0]]
    series = smoothed - basis @ (basis.T @ smoothed)
    deviation = series.std(axis=0, ddof=1)
    series = np.divide(series, deviation, out=np.zeros_like(series), where=~constant)
    return CleanedRun(raw, smoothed, series, basis)


def stage_1(series: NDArray[np.float64], maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return time courses: each volume on all maps, without an intercept."""
    return np.linalg.lstsq(maps.T, series.T)[0].T


def stage_2(series: NDArray[np.float64], courses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return own maps: each voxel's series on all time courses."""
    return np.linalg.lstsq(courses, series)[0]


def used_runs(published: Published) -> list[str]:
    """Return the names of the runs that were used."""
    rows = published.table("logs/inventory.tsv")
    return [row["run"] for row in rows if row["status"] == "used"]
