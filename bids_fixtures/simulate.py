"""Simulate BOLD runs with known networks and known artefacts.

Arrays in, arrays out. The image of a run is::

    anatomy + networks + structured nuisance + motion + physiology + drift + noise

Motion, physiology and drift are linear combinations of columns of the run's confounds table:
denoising with these columns removes them, and a decomposition without it finds them.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from confounds import (
    FloatArray,
    Table,
    confounds_table,
    cosine_drifts,
    motion_parameters,
    motion_table,
    regressors_without_gaps,
)
from participants import (
    BRAIN_INTENSITY,
    BoolArray,
    Participant,
    Strength,
    smooth_field,
    voxel_size_mm,
)
from scipy import ndimage


@dataclass(frozen=True)
class Recording:
    """A simulated run as fMRIPrep would deliver it.

    Attributes
    ----------
    bold : array of shape (x, y, z, n_volumes), zero away from the brain
    mask : boolean array of shape (x, y, z)
    affine : array of shape (4, 4), voxel to mm (RAS+)
    """

    bold: FloatArray
    mask: BoolArray
    affine: FloatArray
    confounds: Table
    repetition_time_s: float


def rng_for(*names: str) -> np.random.Generator:
    """Random numbers that belong to these names, on any machine and in any order of calls."""
    # crc32 and not hash(): Python salts the hash of strings anew in each process.
    return np.random.default_rng(zlib.crc32("/".join(names).encode()))


def band_limited(
    n_volumes: int, n_series: int, repetition_time_s: float, rng: np.random.Generator
) -> FloatArray:
    """Time courses with power between 0.01 and 0.1 Hz only, as resting BOLD mostly has.

    Returns
    -------
    array of shape (n_volumes, n_series), standard deviation 1
    """
    frequency_hz = np.fft.rfftfreq(n_volumes, repetition_time_s)
    in_band = (frequency_hz >= 0.01) & (frequency_hz <= 0.1)
    shape = (frequency_hz.size, n_series)
    spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    # Resting spectra fall with frequency; the root of 1/f is their usual amplitude.
    weight = np.where(in_band, 1 / np.sqrt(np.maximum(frequency_hz, 0.01)), 0.0)
    series = np.fft.irfft(spectrum * weight[:, np.newaxis], n=n_volumes, axis=0)
    return np.asarray(series / series.std(axis=0), dtype=np.float64)


def network_time_courses(
    n_volumes: int, n_series: int, repetition_time_s: float, rng: np.random.Generator
) -> FloatArray:
    """Band-limited time courses of which any two correlate mildly (0.15 on average).

    Returns
    -------
    array of shape (n_volumes, n_series)
    """
    own = band_limited(n_volumes, n_series, repetition_time_s, rng)
    common = band_limited(n_volumes, 1, repetition_time_s, rng)
    return np.asarray(np.sqrt(0.85) * own + np.sqrt(0.15) * common, dtype=np.float64)


def noise_image(
    shape: tuple[int, ...], n_volumes: int, level: float, rng: np.random.Generator
) -> FloatArray:
    """Noise that is white in time and slightly smooth in space.

    Returns
    -------
    array of shape (x, y, z, n_volumes)
    """
    white = rng.standard_normal((*shape, n_volumes))
    smooth = ndimage.gaussian_filter(white, (0.5, 0.5, 0.5, 0.0))
    return np.asarray(level * smooth / smooth.std(), dtype=np.float64)


def drift_image(
    shape: tuple[int, ...],
    sigma_voxels: float,
    n_volumes: int,
    repetition_time_s: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Slow drift of each region: smooth maps times the cosines of the confounds table.

    Returns
    -------
    array of shape (x, y, z, n_volumes), each cosine with standard deviation 1 over the run
    """
    drift = np.zeros((*shape, n_volumes))
    for cosine in cosine_drifts(n_volumes, repetition_time_s).values():
        drift += smooth_field(shape, sigma_voxels, rng)[..., np.newaxis] * cosine / cosine.std()
    return drift


def simulate_run(
    participant: Participant,
    displacement_mm: FloatArray,
    repetition_time_s: float,
    strength: Strength,
    rng: np.random.Generator,
) -> Recording:
    """Simulate one run.

    Parameters
    ----------
    displacement_mm : array of shape (n_volumes,)
        Framewise displacement that the run shall have; the first value is not used.

    Notes
    -----
    Needs about five times the bytes of the run in float64.
    """
    n_volumes = displacement_mm.size
    shape = participant.mask.shape
    drift_sigma_voxels = 24.0 / voxel_size_mm(participant.affine)
    motion = motion_parameters(displacement_mm, rng)
    # More motion, more artefact; the root keeps the extremes within what denoising can mend.
    motion_gain = np.sqrt(displacement_mm[1:].mean() / 0.15)
    artefact = motion_gain * regressors_without_gaps(motion_table(motion))
    physiology = band_limited(n_volumes, 2, repetition_time_s, rng)
    courses = network_time_courses(n_volumes, participant.sources.shape[3], repetition_time_s, rng)

    bold = (
        participant.anatomy[..., np.newaxis]
        + participant.sources @ courses.T
        + participant.motion @ artefact.T
        + participant.physiology @ physiology.T
        + strength.drift * drift_image(shape, drift_sigma_voxels, n_volumes, repetition_time_s, rng)
        + noise_image(shape, n_volumes, strength.noise, rng)
    )
    bold *= participant.has_signal[..., np.newaxis]
    csf, white_matter = BRAIN_INTENSITY + strength.physiology * physiology.T
    series = bold[participant.mask].T
    confounds = confounds_table(motion, csf, white_matter, series, repetition_time_s)
    return Recording(bold, participant.mask, participant.affine, confounds, repetition_time_s)
