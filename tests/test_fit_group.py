"""Every participant weighs the same; how the fit is executed changes no byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nidecomp.errors import NothingToDoError
from nidecomp.fit_group import GroupPlan, fit_group, participant_weights
from nidecomp.records import Components, ReducedRun, RunKey
from nidecomp.settings import Decomposition, Denoising, Science

N_ROWS, N_VOXELS = 5, 2000
FEW_DIMENSIONS = Science(
    denoising=Denoising(dictlearning_smoothing_fwhm=10.0),
    decomposition=Decomposition(n_components=(3, N_ROWS), n_init=3, subspace_dims=12),
)


def reduced_runs(folder: Path) -> list[ReducedRun]:
    """Seven participants at two smoothings: rows that share three sparse sources."""
    rng = np.random.default_rng(0)
    sources = rng.laplace(size=(3, N_VOXELS)) * (rng.random((3, N_VOXELS)) < 0.2)
    runs = []
    for participant in range(7):
        for fwhm in (6.0, 10.0):
            series = rng.normal(size=(30, 3)) @ sources + rng.normal(size=(30, N_VOXELS)) / fwhm
            _, singular, rows = np.linalg.svd(series, full_matrices=False)
            path = folder / f"{participant}_{fwhm}.npy"
            kept = (singular[:N_ROWS, None] * rows[:N_ROWS]).astype(np.float32)
            np.save(path, kept)
            squared = tuple((singular[:N_ROWS] ** 2).tolist())
            key = RunKey((("sub", f"{participant:02d}"), ("task", "rest")))
            total = float((singular**2).sum())
            runs.append(ReducedRun(key, path, fwhm, N_ROWS, N_VOXELS, total, squared, 0, 0))
    return runs


def as_bytes(fitted: tuple[Components, ...]) -> list[bytes]:
    return [components.maps.tobytes() for components in fitted]


@pytest.mark.parametrize("plan", [GroupPlan(1, 1), GroupPlan(2, 1), GroupPlan(3, 3)], ids=repr)
def test_threads_passes_and_order_of_runs_change_no_byte(plan: GroupPlan, tmp_path: Path) -> None:
    runs = reduced_runs(tmp_path)
    expected = as_bytes(fit_group(runs, FEW_DIMENSIONS))
    assert len(expected) == 4
    assert as_bytes(fit_group(runs[::-1], FEW_DIMENSIONS, plan)) == expected


def test_each_order_is_what_it_would_be_alone(tmp_path: Path) -> None:
    runs = reduced_runs(tmp_path)
    alone = Science(
        denoising=FEW_DIMENSIONS.denoising,
        decomposition=Decomposition(n_components=(3,), n_init=3, subspace_dims=12),
    )
    assert as_bytes(fit_group(runs, FEW_DIMENSIONS))[:2] == as_bytes(fit_group(runs, alone))


def test_more_components_than_voxels_are_refused(tmp_path: Path) -> None:
    runs = reduced_runs(tmp_path)
    too_many = Science(decomposition=Decomposition(n_components=(N_VOXELS,)))
    with pytest.raises(NothingToDoError, match="2000 is more than the group mask's 2000 voxels"):
        fit_group(runs, too_many)


def test_participants_weigh_the_same() -> None:
    variance = np.array([100.0, 400.0, 100.0, 50.0])
    weights = participant_weights(["01", "02", "02", "03"], variance.tolist())
    canonical, scaled = np.array(weights.canonical) ** 2, np.array(weights.scaled) ** 2
    for weight in (canonical, scaled * variance / variance.mean()):
        np.testing.assert_allclose([weight[0], weight[1] + weight[2], weight[3]], 1.0)
        np.testing.assert_allclose(weight[1], weight[2])


def test_equal_single_runs_are_left_as_they_are() -> None:
    """So that alpha keeps nilearn's units."""
    weights = participant_weights(["01", "02"], [300.0, 300.0])
    assert weights.canonical == weights.scaled == (1.0, 1.0)
