"""Confounds tables with fMRIPrep's columns, and head motion that has a given displacement.

Arrays only; files are written in ``layout.py``.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Table = dict[str, FloatArray]
"""Column name to one value a volume; NaN is written as ``n/a``."""

MOTION_NAMES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
EXPANSIONS = ("", "_derivative1", "_power2", "_derivative1_power2")

HEAD_RADIUS_MM = 50.0
"""Radius at which Power et al. 2012 turn rotations (rad) into displacements."""

HIGH_PASS_CUTOFF_S = 128.0


def motion_parameters(displacement_mm: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Make rigid-body motion with a given framewise displacement.

    Each step's displacement is shared among the six parameters. Signs lean towards zero, so that
    the head wanders about its place as a real one does and does not walk away.

    Parameters
    ----------
    displacement_mm : array of shape (n_volumes,)
        The first value is not used: the first volume has no predecessor.

    Returns
    -------
    array of shape (n_volumes, 6)
        Three translations (mm), then three rotations (rad).
    """
    n_volumes = displacement_mm.size
    shares = rng.dirichlet(np.full(6, 1.5), size=n_volumes)
    chances = rng.random((n_volumes, 6))
    position_mm = np.zeros((n_volumes, 6))
    for volume in range(1, n_volumes):
        previous_mm = position_mm[volume - 1]
        chance_of_up = 0.5 - 0.35 * np.tanh(previous_mm / 0.3)
        sign = np.where(chances[volume] < chance_of_up, 1.0, -1.0)
        position_mm[volume] = previous_mm + sign * shares[volume] * displacement_mm[volume]
    position_mm[:, 3:] /= HEAD_RADIUS_MM
    return position_mm


def framewise_displacement(motion: FloatArray) -> FloatArray:
    """Framewise displacement (mm) of Power et al. 2012, NaN at the first volume.

    Parameters
    ----------
    motion : array of shape (n_volumes, 6)
        Three translations (mm), then three rotations (rad).
    """
    steps = np.abs(np.diff(motion, axis=0))
    displacement = steps[:, :3].sum(axis=1) + HEAD_RADIUS_MM * steps[:, 3:].sum(axis=1)
    return np.concatenate([[np.nan], displacement])


def expand(name: str, series: FloatArray) -> Table:
    """Add the temporal derivative (NaN at the first volume) and the squares of both.

    Parameters
    ----------
    series : array of shape (n_volumes,)
    """
    derivative = np.concatenate([[np.nan], np.diff(series)])
    variants = (series, derivative, series**2, derivative**2)
    return {name + suffix: values for suffix, values in zip(EXPANSIONS, variants, strict=True)}


def motion_table(motion: FloatArray) -> Table:
    """Expand six motion parameters, shape (n_volumes, 6), to the 24 regressors of Friston 1996."""
    table: Table = {}
    for name, series in zip(MOTION_NAMES, motion.T, strict=True):
        table |= expand(name, series)
    return table


def regressors_without_gaps(table: Table) -> FloatArray:
    """Z-scored columns of a table, with the NaN of the first volume replaced by the second value.

    nilearn's ``load_confounds`` fills the gap in the same way: what is made of these regressors
    is removed by its design matrix to rounding error.

    Returns
    -------
    array of shape (n_volumes, n_columns)
    """
    columns = np.column_stack(list(table.values()))
    columns[0] = np.where(np.isnan(columns[0]), columns[1], columns[0])
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def cosine_drifts(n_volumes: int, repetition_time_s: float) -> Table:
    """Discrete cosines below the cut-off of 128 s, as fMRIPrep writes them.

    A run shorter than 128 s has none.
    """
    order = int(np.floor(2 * n_volumes * repetition_time_s / HIGH_PASS_CUTOFF_S))
    phase = np.pi / n_volumes * (np.arange(n_volumes) + 0.5)
    scale = np.sqrt(2.0 / n_volumes)
    return {f"cosine{k - 1:02d}": scale * np.cos(k * phase) for k in range(1, order)}


def dvars(series: FloatArray) -> FloatArray:
    """Root mean square over voxels of the change since the last volume, NaN at the first.

    Parameters
    ----------
    series : array of shape (n_volumes, n_voxels)
    """
    change = np.sqrt(np.mean(np.diff(series, axis=0) ** 2, axis=1))
    return np.concatenate([[np.nan], change])


def expected_dvars(series: FloatArray) -> float:
    """DVARS that a motionless run would have (Nichols 2017), which standardises the measured one.

    Parameters
    ----------
    series : array of shape (n_volumes, n_voxels)
    """
    lower, upper = np.percentile(series, [25, 75], axis=0)
    robust_sd = (upper - lower) / 1.349
    centred = series - series.mean(axis=0)
    lag_product = np.sum(centred[1:] * centred[:-1], axis=0)
    autocorrelation = lag_product / np.sum(centred**2, axis=0)
    return float(np.mean(np.sqrt(2 - 2 * autocorrelation) * robust_sd))


def confounds_table(
    motion: FloatArray,
    csf: FloatArray,
    white_matter: FloatArray,
    series: FloatArray,
    repetition_time_s: float,
) -> Table:
    """All columns of a run.

    Parameters
    ----------
    motion : array of shape (n_volumes, 6)
        Three translations (mm), then three rotations (rad).
    csf, white_matter : arrays of shape (n_volumes,)
        Mean signals, in the units of the image.
    series : array of shape (n_volumes, n_voxels)
        The image within the brain mask, for the global signal and DVARS.
    """
    change = dvars(series)
    return {
        **expand("global_signal", series.mean(axis=1)),
        **expand("csf", csf),
        **expand("white_matter", white_matter),
        "std_dvars": change / expected_dvars(series),
        "dvars": change,
        "framewise_displacement": framewise_displacement(motion),
        **cosine_drifts(series.shape[0], repetition_time_s),
        **motion_table(motion),
    }


def non_steady_state(n_volumes: int, n_outliers: int) -> Table:
    """One indicator column for each of the first volumes, as fMRIPrep flags them."""
    return {
        f"non_steady_state_outlier{volume:02d}": (np.arange(n_volumes) == volume).astype(float)
        for volume in range(n_outliers)
    }
