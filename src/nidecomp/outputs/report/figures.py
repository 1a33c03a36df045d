"""The figures of the report, each drawn by a function that any process can run."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.outliers import is_outlier
from nidecomp.outputs.report.panels import panels_for
from nidecomp.outputs.report.plain import drawn_plainly
from nidecomp.outputs.report.results import Fits
from nidecomp.outputs.report.viewer import Slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_COLOURS = "RdBu_r"
_DPI = 90
_FOUND, _MARK = "#0072B2", "#D55E00"
# More labels would overlap.
_MOST_NAMES = 8


@dataclass(frozen=True, eq=False)
class ComponentTask:
    """The task of drawing one component.

    Parameters
    ----------
    key : str
        What the picture is found by.
    maps, thresholded : Path
        Files of maps; `thresholded` may be None.
    index : int
        Which of their maps.
    peak_mm : tuple of float
        Where to cut.
    is_mni : bool
        Whether the template's anatomy and glass brain fit.
    frequency_hz, power : ndarray, shape (n_frequencies,)
        Spectrum of the time courses, mean over runs; empty where there are none.
    fits : Fits or None
        How the component is found in each run.
    """

    key: str
    maps: Path
    thresholded: Path | None
    index: int
    peak_mm: tuple[float, float, float]
    is_mni: bool
    frequency_hz: NDArray[np.float64]
    power: NDArray[np.float64]
    fits: Fits | None


@dataclass(frozen=True, eq=False)
class OverviewTask:
    """The task of drawing all components of a decomposition in one figure.

    `maps` is a file of maps, thresholded if there is such a one.
    """

    key: str
    maps: Path
    is_mni: bool


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure as PNG for papers and as WebP for the page."""

    key: str
    png: bytes
    webp: bytes


@dataclass(frozen=True, eq=False)
class ComponentPictures:
    """The figures of a component: a thumbnail, the whole figure, and slices for the viewer."""

    key: str
    small: Picture
    whole: Picture
    slices: Slices | None


def draw(task: ComponentTask | OverviewTask) -> ComponentPictures | Picture:
    """Draw the figure of a task.

    Parameters
    ----------
    task : ComponentTask or OverviewTask

    Returns
    -------
    ComponentPictures or Picture
    """
    return draw_overview(task) if isinstance(task, OverviewTask) else draw_component(task)


@drawn_plainly()
def draw_component(task: ComponentTask) -> ComponentPictures:
    """Draw the figure of a component.

    Parameters
    ----------
    task : ComponentTask

    Returns
    -------
    ComponentPictures
    """
    # Only the report needs it, and importing it takes long.
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = panels_for(task.maps, is_mni=task.is_mni)
    whole = panels.read(task.maps, task.index)
    kept = whole if task.thresholded is None else panels.read(task.thresholded, task.index)
    with warnings.catch_warnings():
        # nilearn warns of empty maps and of values that are not finite; the report shows these.
        warnings.simplefilter("ignore")
        small = Figure(figsize=(1.6, 1.6))
        panels.draw_small(small, kept, task.peak_mm)
        figure = Figure(figsize=(9.6, 7.4))
        figure.text(0.02, 0.97, "unthresholded, in units of its root mean square", va="top")
        figure.text(0.02, 0.62, "thresholded", va="top")
        panels.draw_unthresholded(figure, (0.02, 0.64, 0.96, 0.3), whole, task.peak_mm)
        panels.draw_thresholded(figure, (0.02, 0.29, 0.96, 0.3), kept)
        _draw_spectrum(figure.add_axes((0.06, 0.07, 0.4, 0.15)), task)
        _draw_fits(figure, task.fits)
        slices = panels.slices(kept)
    return ComponentPictures(
        task.key, _picture(f"{task.key}-small", small), _picture(task.key, figure), slices
    )


@drawn_plainly()
def draw_overview(task: OverviewTask) -> Picture:
    """Draw all components at once.

    Parameters
    ----------
    task : OverviewTask

    Returns
    -------
    Picture
    """
    with warnings.catch_warnings():
        # As above; nilearn also warns of contours of empty maps.
        warnings.simplefilter("ignore")
        figure = panels_for(task.maps, is_mni=task.is_mni).overview(task.maps)
        return _picture(task.key, figure)


def _draw_spectrum(axes: Axes, task: ComponentTask) -> None:
    axes.set_title("spectrum of its time courses", fontsize=10)
    axes.set(xlabel="Hz", yticks=[])
    axes.spines[["top", "right", "left"]].set_visible(False)
    if len(task.frequency_hz):
        axes.plot(task.frequency_hz, task.power, color=_FOUND)
        axes.axvline(0.1, color="0.6", linewidth=0.8, linestyle=":")


def _draw_fits(figure: Figure, fits: Fits | None) -> None:
    """Draw the correlation and amplitude of a component in each run; outliers are named."""
    columns = {} if fits is None else {
        "r of the run's own map with it": fits.map_r,
        "amplitude (standard deviation of its time course)": fits.amplitude,
    }  # fmt: skip
    for index, (title, values) in enumerate(columns.items()):
        axes = figure.add_axes((0.54, 0.17 - 0.14 * index, 0.4, 0.055))
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=8)
        _draw_strip(axes, values, is_outlier(values), fits.runs if fits else ())


def _draw_strip(
    axes: Axes,
    values: NDArray[np.float64],
    marked: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    """Draw each value as a point; marked values are coloured and named."""
    # Spread in a fixed pattern, so that equal values do not overlap.
    height = np.arange(len(values)) * 0.618 % 1
    for chosen, colour in ((~marked, _FOUND), (marked, _MARK)):
        axes.plot(values[chosen], height[chosen], "o", color=colour, alpha=0.7, markersize=4)
    for index in np.flatnonzero(marked)[:_MOST_NAMES]:
        axes.annotate(
            names[index],
            (values[index], height[index]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    if np.isfinite(values).any():
        axes.axvline(float(np.nanmedian(values)), color="0.6", linewidth=0.8, linestyle=":")
    axes.set(yticks=[], ylim=(-0.3, 1.3))
    axes.spines[["top", "right", "left"]].set_visible(False)


@drawn_plainly()
def draw_connectome(matrix: NDArray[np.float64], labels: Sequence[str]) -> Picture:
    """Draw a connectome with the names of the components.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    labels : sequence of str

    Returns
    -------
    Picture
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  as above

    size = max(4.5, 0.22 * len(labels) + 2.5)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shown = matrix.copy()
    np.fill_diagonal(shown, np.nan)
    limit = float(np.nanmax(np.abs(shown))) if np.isfinite(shown).any() else 1.0
    image = axes.imshow(shown, cmap=_COLOURS, vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    figure.colorbar(
        image, ax=axes, label="Pearson's correlation, mean over participants", shrink=0.8
    )
    return _picture("connectome", figure)


@drawn_plainly()
def draw_matching(r: NDArray[np.float64], first: Sequence[str], second: Sequence[str]) -> Picture:
    """Draw the correlations between maps of two decompositions, matched ones on the diagonal.

    Parameters
    ----------
    r : ndarray, shape (n_first, n_second)
        Correlations, in the order in which they are shown.
    first, second : sequence of str
        Names of the components.

    Returns
    -------
    Picture
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  as above

    size = (0.2 * len(second) + 2.6, 0.2 * len(first) + 1.6)
    figure = Figure(figsize=(max(size[0], 4.5), max(size[1], 3.5)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(r, cmap=_COLOURS, vmin=-1, vmax=1)
    axes.set_xticks(range(len(second)), second, rotation=90, fontsize=7)
    axes.set_yticks(range(len(first)), first, fontsize=7)
    figure.colorbar(image, ax=axes, label="correlation of the maps", shrink=0.8)
    return _picture("matching", figure)


@drawn_plainly()
def draw_strips(
    columns: Sequence[tuple[str, NDArray[np.float64]]],
    marked: NDArray[np.bool_],
    names: Sequence[str],
) -> Picture:
    """Draw the distribution of participants in several measures; marked participants are coloured.

    Parameters
    ----------
    columns : sequence of (str, ndarray)
        What it is, and each participant's value.
    marked : ndarray of bool, shape (n_participants,)
    names : sequence of str

    Returns
    -------
    Picture
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  as above

    figure = Figure(figsize=(9.6, 0.95 * len(columns) + 0.3), layout="constrained")
    for axes, (name, values) in zip(
        np.atleast_1d(figure.subplots(len(columns), 1)), columns, strict=True
    ):
        _draw_strip(axes, values, marked, names)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return _picture("participants", figure)


def _picture(key: str, figure: Figure) -> Picture:
    from PIL import Image  # noqa: PLC0415  as above

    png = _saved(lambda file: figure.savefig(file, format="png", dpi=_DPI))
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return Picture(key, png, _saved(lambda file: image.save(file, "WEBP", quality=82, method=4)))


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
