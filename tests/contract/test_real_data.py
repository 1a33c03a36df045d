"""Real data from beside the repository; without it these are skipped."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import SHARED, nidecomp, validator_issues

from nidecomp.bids.index import find_runs
from nidecomp.config.science import Denoising, Masking, Selection
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import UsableRun
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.reduce import cleaned_series
from nidecomp.runs.task import ReduceTask

HAXBY = SHARED / "haxby_runs"
UNFETCHED = SHARED / "ds002748_fmriprep_tree.tar.gz"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not here")


def test_real_voxels_with_real_motion_run_through(tmp_path: Path) -> None:
    done = nidecomp(
        HAXBY, tmp_path / "out", "group", "--space", "T1w", "--n-components", "5",
        "--denoise-strategy", "motion+high_pass",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert validator_issues(tmp_path / "out") == []


def test_cleaned_series_are_orthogonal_to_every_regressor(tmp_path: Path) -> None:
    """|r| < 1e-5 with the 24 motion regressors and the cosines of every real run."""
    denoising = Denoising(denoise_strategy="motion+high_pass", smoothing_fwhm=6.0)
    found, _, *_ = find_runs(HAXBY, Selection(space="T1w"))
    usable = tuple(
        run
        for run in (inspect_run(files, denoising, 5) for files in found)
        if isinstance(run, UsableRun)
    )
    assert len(usable) == 12
    space, inventory = share_space(Inventory(usable), Masking(), None)
    assert space is not None
    largest = 0.0
    for run in inventory.used:
        task = ReduceTask(run, space, denoising, (6.0,), 5, 5, tmp_path)
        series = cleaned_series(task, (6.0,)).cleaned[6.0].series
        table = pd.read_csv(run.files.confounds, sep="\t", na_values=["n/a"])
        regressors = table.filter(regex="^(trans|rot)_|^cosine").bfill().iloc[list(run.kept)]
        correlation = np.corrcoef(series.T.astype(float), regressors.T.to_numpy())
        n_voxels = series.shape[1]
        largest = max(largest, np.nanmax(np.abs(correlation[:n_voxels, n_voxels:])))
    assert largest < 1e-5


def test_a_dataset_whose_content_was_not_fetched_is_one_sentence(tmp_path: Path) -> None:
    with tarfile.open(UNFETCHED) as archive:
        # Its dangling links are what the test is about; the archive is our own.
        archive.extractall(tmp_path, filter="fully_trusted")  # noqa: S202
    (source,) = tmp_path.iterdir()
    done = nidecomp(source, tmp_path / "out", "group")
    assert done.exit_code == 70
    assert "All of the 72 matching BOLD images" in done.stderr
    assert "datalad get" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
