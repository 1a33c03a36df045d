"""The report: pictures drawn by many processes, put into one page and into ``figures/``."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nidecomp.bids.write import OutputTree
from nidecomp.errors import NidecompError
from nidecomp.execute.local import WorkerDied, map_unordered
from nidecomp.group.matching import correlations
from nidecomp.report.folder import Decomposition, Folder, Row, read_folder, read_json
from nidecomp.report.methods import methods_text
from nidecomp.report.page import anchor, pairs_of, render
from nidecomp.report.pictures import (
    ComponentTask,
    Picture,
    draw_component,
    draw_connectome,
    draw_matching,
    draw_strips,
)

REPORT = PurePosixPath("report.html")
CITATION = PurePosixPath("logs/CITATION.md")
_FIGURES = PurePosixPath("figures")
_LOG = logging.getLogger(__name__)
_N_FREQUENCIES = 80
_STRIPS = {
    "map_r": "own maps' r",
    "explained_variance": "explained",
    "tsnr": "tSNR",
    "mean_fd": "mean FD, mm",
}


def add_report(tree: OutputTree, n_processes: int) -> bool:
    """Make the report of what an output folder holds and add it.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    n_processes : int
        The result does not depend on it.

    Returns
    -------
    bool
        Whether it was made. What goes wrong is told and stops nothing: all data are there.
    """
    try:
        folder = read_folder(tree.root)
        pictures = draw(folder, n_processes)
        page = render(folder, _by_key(folder, pictures))
        for picture in pictures:
            if not picture.key.endswith("-small"):
                tree.write_bytes(_FIGURES / f"{anchor(picture.key)}.png", picture.png)
        tree.write_text(REPORT, page)
        tree.write_text(CITATION, _citation(folder))
    except NidecompError as error:
        _LOG.error("The report was not made: %s", error)
    except Exception as error:
        _LOG.error("The report was not made: %s: %s", type(error).__name__, error)
        _LOG.debug(traceback.format_exc())
    else:
        return True
    return False


def draw(folder: Folder, n_processes: int) -> list[Picture]:
    """Draw all pictures, in a fixed order.

    Parameters
    ----------
    folder : Folder
    n_processes : int

    Returns
    -------
    list of Picture
        Those of components whose process died are not among them.
    """
    tasks = [task for one in folder.decompositions for task in _component_tasks(one)]
    found: dict[str, tuple[Picture, Picture]] = {}
    for result in map_unordered(draw_component, tasks, n_processes):
        match result:
            case WorkerDied(item=ComponentTask(key=key)):
                _LOG.error("The picture of %s was not drawn: its process was killed", key)
            case (_, Picture(key=key)):
                found[key] = result
    pictures = [picture for task in tasks for picture in found.get(task.key, ())]
    for one in folder.decompositions:
        if (matrix := _matrix(one)) is not None:
            picture = draw_connectome(matrix, _labels(one))
            pictures.append(Picture(f"connectome_{one.key}", picture.png, picture.webp))
    for first, second, rows in pairs_of(folder):
        if (drawn := _matching(folder, first, second, rows)) is not None:
            key = f"matching_{first.key}_{second.key}"
            pictures.append(Picture(key, drawn.png, drawn.webp))
    strips = _strips(folder)
    return [*pictures, strips] if strips else pictures


def _citation(folder: Folder) -> str:
    """Write the methods and their references as a file of its own."""
    paragraph, references = methods_text(folder)
    listed = "\n".join(f"- {reference}" for reference in references)
    return f"# Methods\n\n{paragraph}\n\n# References\n\n{listed}\n"


def _by_key(folder: Folder, pictures: Sequence[Picture]) -> dict[str, bytes]:
    by_key = {picture.key: picture.webp for picture in pictures}
    if folder.order_figure is not None:
        by_key["order"] = folder.order_figure.read_bytes()
    return by_key


# ---------------------------------------------------------------- components
def _component_tasks(one: Decomposition) -> list[ComponentTask]:
    if one.maps is None:
        return []
    frequency_hz, power, amplitudes = _time_courses(one)
    return [
        ComponentTask(
            key=f"{one.key}_{row['component']}",
            maps=one.maps,
            thresholded=one.thresholded,
            index=index,
            peak_mm=_peak(row),
            is_mni=one.stem.name.startswith("tpl-MNI"),
            frequency_hz=frequency_hz,
            power=power[:, index] if len(power) else np.zeros(0),
            amplitudes=amplitudes[:, index] if len(amplitudes) else np.zeros(0),
        )
        for index, row in enumerate(one.metrics)
    ]


def _peak(row: Row) -> tuple[float, float, float]:
    """Give where to cut a map; the origin where its peak is not known."""
    try:
        x, y, z = (float(row.get(f"peak_{axis}", "")) for axis in "xyz")
    except ValueError:
        return 0.0, 0.0, 0.0
    return x, y, z


def _time_courses(
    one: Decomposition,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give frequencies, the mean spectrum of each component, and its amplitude in each run."""
    runs = [found for path in one.courses if (found := _read_courses(path, one)) is not None]
    if not runs:
        return np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))
    highest = min(0.5 * rate for _, rate in runs)
    frequency_hz = np.linspace(0, highest, _N_FREQUENCIES)
    spectra = [_spectrum(values, rate, frequency_hz) for values, rate in runs]
    amplitudes = np.array([np.nanstd(values, axis=0) for values, _ in runs])
    return frequency_hz, np.mean(spectra, axis=0), amplitudes


def _read_courses(path: Path, one: Decomposition) -> tuple[NDArray[np.float64], float] | None:
    """Read a run's time courses and their sampling rate; None where they cannot be had."""
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
    """Give the power spectrum of each time course; volumes that were dropped count as its mean."""
    centred = np.nan_to_num(values - np.nanmean(values, axis=0))
    power = np.abs(np.fft.rfft(centred, axis=0)) ** 2
    power /= np.where(power.sum(axis=0) > 0, power.sum(axis=0), 1)
    own = np.fft.rfftfreq(len(values), 1 / rate)
    return np.column_stack([np.interp(frequency_hz, own, column) for column in power.T])


# ---------------------------------------------------------------- group and participants
def _matrix(one: Decomposition) -> NDArray[np.float64] | None:
    if one.connectome is None:
        return None
    try:
        values = np.genfromtxt(one.connectome, delimiter="\t", skip_header=1)
    except (OSError, ValueError):
        return None
    matrix = np.atleast_2d(values)[:, 1:]
    return matrix if matrix.shape == (len(one.names), len(one.names)) else None


def _matching(
    folder: Folder, first: Decomposition, second: Decomposition, rows: Sequence[Row]
) -> Picture | None:
    """Draw all correlations between two decompositions' maps, matched ones on the diagonal."""
    if folder.mask is None or first.maps is None or second.maps is None:
        return None
    inside = np.asarray(nib.load(folder.mask).dataobj) > 0
    r = correlations(_within(first.maps, inside), _within(second.maps, inside))
    other = [row.get("other_component", "") for row in rows]
    matched = [second.names.index(name) for name in other if name in second.names]
    left = [index for index in range(len(second.names)) if index not in matched]
    order = [*matched, *left]
    return draw_matching(r[:, order], first.names, [second.names[index] for index in order])


def _within(path: Path, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Read maps within the mask, (n_components, n_voxels), one volume at a time."""
    image = nib.load(path)
    volumes = (np.asarray(image.slicer[..., index].dataobj) for index in range(image.shape[-1]))
    return np.stack([volume[inside] for volume in volumes]).astype(np.float32)


def _labels(one: Decomposition) -> list[str]:
    return [
        f"{row['component']} {row['label']}" if row.get("label") else row["component"]
        for row in one.metrics
    ]


def _strips(folder: Folder) -> Picture | None:
    columns = []
    for name, title in _STRIPS.items():
        values = np.array([_number(row.get(name, "")) for row in folder.participants])
        if np.isfinite(values).any():
            columns.append((title, values))
    if not columns:
        return None
    marked = np.array([bool(row.get("outlier")) for row in folder.participants])
    return draw_strips(columns, marked)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
