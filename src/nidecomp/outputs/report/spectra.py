"""Power spectra of components' time courses, for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.reading import read_json
from nidecomp.outputs.report.results import WrittenDecomposition

# Points of the line of a spectrum; only its looks depend on it.
_N_FREQUENCIES = 80


def spectra(one: WrittenDecomposition) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies, and the power of every component at each, mean over runs."""
    runs = [found for path in one.courses if (found := _read_courses(path, one)) is not None]
    if not runs:
        return np.zeros(0), np.zeros((0, 0))
    highest = min(0.5 * rate for _, rate in runs)
    frequency_hz = np.linspace(0, highest, _N_FREQUENCIES)
    powers = [_spectrum(values, rate, frequency_hz) for values, rate in runs]
    return frequency_hz, np.mean(powers, axis=0)


def _read_courses(
    path: Path, one: WrittenDecomposition
) -> tuple[NDArray[np.float64], float] | None:
    """Return a run's time courses and their sampling rate; None where they cannot be read."""
    rate = read_json(path.with_suffix(".json")).get("SamplingFrequency")
    try:
        values = np.genfromtxt(path, delimiter="\t", skip_header=1, missing_values="n/a")
    except (OSError, ValueError):
        return None
    values = np.atleast_2d(values)
    if not isinstance(rate, int | float) or values.shape[1] != len(one.names):
        return None
    return values, float(rate)


def _spectrum(
    values: NDArray[np.float64], rate: float, frequency_hz: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the power spectrum of each time course; dropped volumes are set to its mean."""
    centred = np.nan_to_num(values - np.nanmean(values, axis=0))
    power = np.abs(np.fft.rfft(centred, axis=0)) ** 2
    power /= np.where(power.sum(axis=0) > 0, power.sum(axis=0), 1)
    own = np.fft.rfftfreq(len(values), 1 / rate)
    return np.column_stack([np.interp(frequency_hz, own, column) for column in power.T])
