"""Fixed effects: the maps of a participant over several runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks
from nidecomp.projection.dual_regression import Noise, NoiseSummary, RunMaps
from nidecomp.projection.student_t import t_values, z_values

# Degrees of freedom of several runs together are rounded to this share before t is converted to z:
# they take thousands of values, and this changes z by 0.003 at most where it is 3.
_DOF_STEP = 0.005


def combine(
    effects: Sequence[NDArray[np.float32]], noises: Sequence[Noise]
) -> tuple[RunMaps, NoiseSummary]:
    """Combine the maps of a participant's runs in a fixed-effects model.

    All runs of a participant have the same noise variance in a voxel, so that its estimates are
    pooled with their degrees of freedom. The coefficients are weighted by their precision, which
    then depends on the runs' time courses and serial correlation only. Weights that were estimated
    from each run alone would be noisy themselves, and z values too large.

    Parameters
    ----------
    effects : sequence of ndarray, each (n_components, n_voxels)
        The maps of the participant's runs, in a fixed order.
    noises : sequence of Noise
        Their noise. A run is left out in voxels where its variance is 0 (no signal). Where it is
        infinite (unknown), the run has a coefficient, but no degrees of freedom.

    Returns
    -------
    maps : RunMaps
    summary : NoiseSummary
    """
    n_voxels = effects[0].shape[1]
    effect, z = (np.zeros(effects[0].shape, dtype=np.float32) for _ in range(2))
    dof = np.zeros(n_voxels)
    for block in blocks(n_voxels):
        effect[:, block], t, dof[block] = _combined(
            [one[:, block] for one in effects], noises, block
        )
        z[:, block] = z_values(t, _rounded(dof[block]))
    known = dof > 0
    summaries = [one.summary() for one in noises]
    return RunMaps(effect, z), NoiseSummary(
        sum(one.dof for one in summaries),
        float(np.median(dof[known])) if known.any() else 0.0,
        float(np.mean([one.autocorrelation for one in summaries if one.effective_dof] or [0.0])),
    )


def _combined(
    effects: Sequence[NDArray[np.float32]], noises: Sequence[Noise], block: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients of some voxels over runs, their t, and its degrees of freedom."""
    shape = effects[0].shape
    total, weighted = np.zeros(shape), np.zeros(shape)
    dof, pooled = np.zeros(shape[1]), np.zeros(shape[1])
    for effect, noise in zip(effects, noises, strict=True):
        known, index = noise.known[block], noise.correlation[block]
        # The weight of a coefficient does not need the variance of the noise.
        has_signal = noise.variance[block] > 0
        own_dof = np.where(known, noise.dof[index], 0.0)
        dof += own_dof
        pooled += own_dof * np.where(known, noise.variance[block], 0.0)
        factors = noise.factors[index].T
        weight = np.divide(1.0, factors, out=np.zeros(shape), where=has_signal & (factors > 0))
        total += weight
        weighted += weight * effect
    mean = np.divide(weighted, total, out=np.zeros(shape), where=total > 0)
    variance = np.divide(pooled, dof, out=np.zeros_like(dof), where=dof > 0)
    of_mean = np.divide(variance, total, out=np.zeros(shape), where=total > 0)
    return mean, t_values(mean, of_mean), dof


def _rounded(dof: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return degrees of freedom in steps of half a percent; 0 stays 0."""
    steps = np.round(np.log(np.maximum(dof, 1.0)) / _DOF_STEP)
    return np.where(dof > 0, np.exp(steps * _DOF_STEP), 0.0)
