"""Power spectra of components' time courses, for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.reading import read_json, read_text
from nidecomp.outputs.report.results import WrittenDecomposition

# Points of the line of a spectrum; only its looks depend on it.
_N_FREQUENCIES = 80
# More would change the mean of so many spectra by less than a line's width, and take minutes to
# read.
_MOST_PARTICIPANTS, _MOST_RUNS = 40, 60


@dataclass(frozen=True, eq=False)
class Spectra:
    """The power of every component at each frequency, mean over runs.

    `power` has the shape (n_frequencies, n_components), both are empty where there are no time
    courses.
    """

    frequency_hz: NDArray[np.float64]
    power: NDArray[np.float64]
    n_runs: int


def spectra(one: WrittenDecomposition) -> Spectra:
    """Return the spectra of a decomposition, of at most 60 runs evenly over the participants.

    Parameters
    ----------
    one : WrittenDecomposition

    Returns
    -------
    Spectra
    """
    folders = sorted(path for path in one.root.glob("sub-*") if path.is_dir())
    files = one.course_files(_spread(folders, _MOST_PARTICIPANTS))
    runs = [
        found
        for path in _spread(files, _MOST_RUNS)
        if (found := _read_courses(path, one)) is not None
    ]
    if not runs:
        return Spectra(np.zeros(0), np.zeros((0, 0)), 0)
    highest = min(0.5 * rate for _, rate in runs)
    frequency_hz = np.linspace(0, highest, _N_FREQUENCIES)
    powers = [_spectrum(values, rate, frequency_hz) for values, rate in runs]
    return Spectra(frequency_hz, np.mean(powers, axis=0), len(runs))


def _spread(paths: Sequence[Path], most: int) -> Sequence[Path]:
    """Return at most so many of a list, evenly over it."""
    return paths[:: max(1, -(-len(paths) // most))]


def _read_courses(
    path: Path, one: WrittenDecomposition
) -> tuple[NDArray[np.float64], float] | None:
    """Return a run's time courses and their sampling rate; None where they cannot be read."""
    rate = read_json(_sidecar(path)).get("SamplingFrequency")
    _, _, text = read_text(path).partition("\n")
    try:
        values = np.array(text.replace("n/a", "nan").split(), dtype=np.float64)
    except ValueError:
        return None
    n = len(one.names)
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        return None
    if not n or not len(values) or len(values) % n:
        return None
    return values.reshape(-1, n), float(rate)


def _sidecar(path: Path) -> Path:
    """Return the JSON of a table of time courses: its own, or that of its run."""
    own, run = path.with_suffix(".json"), path.name.partition("_atlas-")[0]
    return own if own.exists() else path.with_name(f"{run}_timeseries.json")


def _spectrum(
    values: NDArray[np.float64], rate: float, frequency_hz: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the power spectrum of each time course; dropped volumes are set to its mean."""
    is_known = np.isfinite(values)
    mean = np.where(is_known, values, 0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    power = np.abs(np.fft.rfft(np.where(is_known, values - mean, 0), axis=0)) ** 2
    power /= np.where(power.sum(axis=0) > 0, power.sum(axis=0), 1)
    own = np.fft.rfftfreq(len(values), 1 / rate)
    return np.column_stack([np.interp(frequency_hz, own, column) for column in power.T])
