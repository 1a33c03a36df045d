"""Own maps of runs and participants (dual regression, stage 2), from the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from recomputed.cleaned_runs import METHODS, cleaned, stage_1, stage_2
from recomputed.published import Published, agree

RUNS = ("sub-03_ses-1_task-rest", "sub-03_ses-2_task-rest")
# AR(1) coefficients that are told apart.
GRID = np.arange(-0.5, 0.901, 0.05)


@dataclass(frozen=True, eq=False)
class OwnMaps:
    """Own maps of a run, and what z depends on.

    `dof`, `variance` and `correlation` are those of each voxel, `factors` the variances of the
    coefficients for a noise of variance 1, `clear` says where rounding cannot change `correlation`.
    """

    effect: NDArray[np.float64]
    factors: NDArray[np.float64]
    variance: NDArray[np.float64]
    dof: NDArray[np.float64]
    correlation: NDArray[np.float64]
    clear: NDArray[np.bool_]
    residual_dof: int

    @property
    def varies(self) -> NDArray[np.bool_]:
        return self.variance > 0


def own_maps(published: Published, name: str, method: str) -> OwnMaps:
    """Regress, with the standard errors of AR(1) noise (Worsley and Friston 1995)."""
    run = cleaned(published, name)
    courses = stage_1(run.series, published.maps(method))
    effect = stage_2(run.series, courses)
    residual = run.series - courses @ effect
    squares = np.sum(residual**2, axis=0)
    varies = squares > 0
    n = len(courses)
    basis = np.linalg.qr(np.column_stack([run.basis, courses]))[0]
    R = np.eye(n) - basis @ basis.T
    L = (np.eye(n, k=1) + np.eye(n, k=-1)) / 2
    covariances = [rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for rho in GRID]
    traces = np.array([np.trace(R @ V) for V in covariances])
    expected = np.array([np.trace(R @ L @ R @ V) for V in covariances]) / traces
    dofs = traces**2 / np.array([np.trace(R @ V @ R @ V) for V in covariances])
    solve = np.linalg.pinv(courses)
    factors = np.array([np.diag(solve @ V @ solve.T) for V in covariances])

    found = np.sum(residual * (L @ residual), axis=0)[varies] / squares[varies]
    usual = np.argmin(np.abs(expected - found.mean()))
    W = R @ covariances[usual] @ R
    off = L - expected[usual] * np.eye(n)
    sampling = 2 * np.trace(off @ W @ off @ W) / traces[usual] ** 2
    weight = max(0.0, 1 - sampling / found.var())
    shrunk = found.mean() + weight * (found - found.mean())
    distances = np.abs(expected[:, np.newaxis] - shrunk)
    index = np.zeros(len(squares), dtype=int)
    index[varies] = distances.argmin(axis=0)
    clear = np.ones(len(squares), dtype=bool)
    clear[varies] = np.diff(np.sort(distances, axis=0)[:2], axis=0)[0] > 1e-4
    return OwnMaps(
        effect, factors[index].T, squares / traces[index], dofs[index], GRID[index], clear,
        n - basis.shape[1],
    )  # fmt: skip


def as_z(t: NDArray[np.float64], dof: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normal value of the same probability as t."""
    tail = stats.t.logsf(np.abs(t), dof)
    return np.asarray(np.sign(t) * -stats.norm.ppf(np.exp(tail)))


def compared(
    quantity: str,
    found: NDArray[np.float64],
    z: NDArray[np.float64],
    clear: NDArray[np.bool_],
    within: float,
) -> None:
    assert clear.mean() > 0.95
    agree(quantity, found[:, clear], z[:, clear], within)


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_run_are_coefficients_with_z_for_serially_correlated_noise(
    detailed: Published, method: str
) -> None:
    own = own_maps(detailed, RUNS[0], method)
    pattern = f"sub-03/ses-1/func/{RUNS[0]}_*_seg-{method}_*_stat-"
    effect = detailed.in_mask(detailed.one(f"{pattern}effect_components.nii.gz"))
    agree("own maps of a run, effect", effect, own.effect, 2e-4)
    deviation = np.sqrt(own.factors * own.variance)
    t = np.divide(own.effect, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    z = detailed.in_mask(detailed.one(f"{pattern}z_components.nii.gz"))
    compared("own maps of a run, z", z, as_z(t, own.dof), own.clear, 3e-4)
    about = detailed.json(f"{pattern}z_components.json")
    agree("DegreesOfFreedom", about["DegreesOfFreedom"], own.residual_dof, 0)
    middle = np.median(own.dof[own.varies]), np.median(own.correlation[own.varies])
    names = ("EffectiveDegreesOfFreedom", "Autocorrelation")
    agree("degrees of freedom, autocorrelation", [about[name] for name in names], middle, 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_participant_pool_the_noise_of_their_runs(
    detailed: Published, method: str
) -> None:
    runs = [own_maps(detailed, name, method) for name in RUNS]
    pattern = f"sub-03/func/sub-03_task-rest_*_seg-{method}_*_stat-"
    weights = [run.varies / run.factors for run in runs]
    total = np.sum(weights, axis=0)
    effect = sum(w * run.effect for w, run in zip(weights, runs, strict=True))
    effect = np.divide(effect, total, out=np.zeros_like(total), where=total > 0)
    dof = np.sum([run.varies * run.dof for run in runs], axis=0)
    pooled = np.sum([run.varies * run.dof * run.variance for run in runs], axis=0)
    deviation = np.sqrt(pooled / np.maximum(dof, 1) / np.where(total > 0, total, 1))
    t = np.divide(effect, deviation, out=np.zeros_like(effect), where=deviation > 0)
    clear = np.all([run.clear for run in runs], axis=0)
    found = detailed.in_mask(detailed.one(f"{pattern}effect_desc-fixedeffects_components.nii.gz"))
    compared("maps of a participant, effect", found, effect, clear, 2e-4)
    found = detailed.in_mask(detailed.one(f"{pattern}z_desc-fixedeffects_components.nii.gz"))
    # Degrees of freedom are rounded to half a percent there.
    compared("maps of a participant, z", found, as_z(t, np.maximum(dof, 1)), clear, 0.015)
    about = detailed.json(f"{pattern}z_desc-fixedeffects_components.json")
    agree("DegreesOfFreedom", about["DegreesOfFreedom"], sum(r.residual_dof for r in runs), 0)
    agree(
        "EffectiveDegreesOfFreedom of a participant",
        about["EffectiveDegreesOfFreedom"], np.median(dof[dof > 0]), 1e-6,
    )  # fmt: skip
