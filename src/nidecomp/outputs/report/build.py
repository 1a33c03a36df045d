"""Making the report: figures are drawn by many processes, for the page and for ``figures/``."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nidecomp.bids.dataset import DESCRIPTION
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError, UsageError
from nidecomp.core.records import Inventory
from nidecomp.decomposition.matching import correlations
from nidecomp.execution.choose import wanted_cores
from nidecomp.execution.executor import Executor, WorkerDied
from nidecomp.execution.local import LocalProcesses
from nidecomp.execution.monitor import REPORT_STEP, Monitor
from nidecomp.execution.progress import logging_to
from nidecomp.outputs.dataset import exclusive_output
from nidecomp.outputs.report.citation import citation_files
from nidecomp.outputs.report.figures import (
    ComponentPictures,
    ComponentTask,
    OverviewTask,
    Picture,
    draw,
    draw_connectome,
    draw_matching,
    draw_strips,
)
from nidecomp.outputs.report.page import anchor, pairs_of, peak_of, render
from nidecomp.outputs.report.panels import panels_for
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import (
    Results,
    WrittenDecomposition,
    read_decompositions,
    read_results,
)
from nidecomp.outputs.report.spectra import spectra
from nidecomp.outputs.report.viewer import Background, Slices
from nidecomp.outputs.resources import write_resources
from nidecomp.outputs.result import Outcome
from nidecomp.outputs.tree import OutputTree

Made = TypeVar("Made")
REPORT = PurePosixPath("report.html")
_LOGS = PurePosixPath("logs")
_FIGURES = PurePosixPath("figures")
_LOG = logging.getLogger(__name__)
_STRIPS = {
    "map_r": "own maps' r",
    "explained_variance": "explained",
    "tsnr": "tSNR",
    "mean_fd": "mean FD, mm",
}


def write_report(tree: OutputTree, settings: Settings, n_processes: int, monitor: Monitor) -> bool:
    """Make the report, where one is wanted. The files to cite are written in any case.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    settings : Settings
    n_processes : int
        How many processes of this machine draw.
    monitor : Monitor
        The report shows what the steps before it took.

    Returns
    -------
    bool
        False where it could not be made.
    """
    if settings.extent.level != "full" or settings.extent.no_report:
        return _write_citations(tree)
    write_resources(settings.output_dir, monitor)
    with monitor.step(REPORT_STEP):
        return add_report(tree, LocalProcesses(n_processes))


def remake_report(settings: Settings) -> Outcome:
    """Make the report anew from the files in the output folder (``--report-only``).

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Outcome

    Raises
    ------
    UsageError
        The folder holds no results.
    """
    output = settings.output_dir
    if not (output / DESCRIPTION).is_file():
        raise UsageError(f"--report-only: {output} is not an output folder of nidecomp.")
    with exclusive_output(settings), logging_to(settings):
        tree = OutputTree(output, adding=True)
        is_reported = add_report(tree, LocalProcesses(wanted_cores(settings.execution)))
        tree.finish()
        if is_reported:
            _LOG.info("The report is %s", output / REPORT)
    return Outcome(Inventory(), output, is_reported=is_reported)


def keep_results(settings: Settings, inventory: Inventory, n_processes: int) -> Outcome:
    """Keep results that are complete; make their report if one is wanted and there is none.

    Parameters
    ----------
    settings : Settings
        The output folder must be locked.
    inventory : Inventory
        The runs that were found.
    n_processes : int
        How many processes of this machine draw.

    Returns
    -------
    Outcome
    """
    output = settings.output_dir
    _LOG.info(
        "The results in %s are complete, and were made from the same runs with the same settings "
        "and versions: nothing is made again. To make them again, choose another folder",
        output,
    )
    is_wanted = settings.extent.level == "full" and not settings.extent.no_report
    is_reported = True
    if is_wanted and not (output / REPORT).exists():
        tree = OutputTree(output, adding=True)
        is_reported = add_report(tree, LocalProcesses(n_processes))
        tree.finish()
    n_decompositions = len(read_decompositions(output, missing=[]))
    return Outcome(inventory, output, n_decompositions, is_reported)


def add_report(tree: OutputTree, executor: Executor) -> bool:
    """Make the report of an output folder and add it to the folder.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    executor : Executor
        The result does not depend on it.

    Returns
    -------
    bool
        Whether it was made. An error is logged and stops nothing: all data are written.
    """
    return _made("report", lambda: _add(tree, executor)) is not None


def _add(tree: OutputTree, executor: Executor) -> Results:
    """Write the report and return what it shows."""
    folder = read_results(tree.root)
    drawn = draw_all(folder, executor)
    page = render(folder, drawn.by_key(folder), drawn.slices, _background(folder))
    for picture in drawn.pictures:
        tree.write_bytes(_FIGURES / f"{anchor(picture.key)}.png", picture.png)
    tree.write_text(REPORT, page)
    for name, text in citation_files(folder).items():
        tree.write_text(_LOGS / name, text)
    return folder


def _write_citations(tree: OutputTree) -> bool:
    """Write the methods text and what it cites, and return whether they could be made.

    They are results like others: where they cannot be written, nothing is.
    """
    texts = _made("methods text", lambda: citation_files(read_results(tree.root)))
    for name, text in (texts or {}).items():
        tree.write_text(_LOGS / name, text)
    return texts is not None


def _made(what: str, make: Callable[[], Made]) -> Made | None:
    """Return what could be made; None after an error, which is logged and stops nothing."""
    try:
        return make()
    except NidecompError as error:
        _LOG.error("The %s was not made: %s", what, error)
    except Exception as error:
        _LOG.error("The %s was not made: %s: %s", what, type(error).__name__, error)
        _LOG.debug(traceback.format_exc())
    return None


@dataclass(frozen=True, eq=False)
class Drawn:
    """All figures, in a fixed order; `small` are those that only the page has."""

    pictures: tuple[Picture, ...]
    small: tuple[Picture, ...]
    slices: Mapping[str, Slices]

    def by_key(self, folder: Results) -> dict[str, bytes]:
        """Return the images of the page: WebP, and the model order curve as it was drawn."""
        found = {picture.key: picture.webp for picture in (*self.pictures, *self.small)}
        if folder.order_figure is not None:
            found["order"] = folder.order_figure.read_bytes()
        return found


def draw_all(folder: Results, executor: Executor) -> Drawn:
    """Draw all figures.

    Parameters
    ----------
    folder : Results
    executor : Executor

    Returns
    -------
    Drawn
        Without the figures of processes that died.
    """
    overviews = [task for one in folder.decompositions for task in _overview_task(one)]
    components = [task for one in folder.decompositions for task in _component_tasks(folder, one)]
    # The tasks that take longest come first.
    tasks: list[OverviewTask | ComponentTask] = [*overviews, *components]
    found: dict[str, ComponentPictures | Picture] = {}
    for result in executor.map_unordered(draw, tasks):
        match result:
            case WorkerDied(item=task):
                _LOG.error("The figure of %s was not drawn: its process was killed", task.key)
            case Picture(key=key) | ComponentPictures(key=key):
                found[key] = result
    in_order = [found[task.key] for task in tasks if task.key in found]
    of_components = [each for each in in_order if isinstance(each, ComponentPictures)]
    pictures = [each for each in in_order if isinstance(each, Picture)]
    pictures += [each.whole for each in of_components]
    for one in folder.decompositions:
        if (matrix := _matrix(one)) is not None:
            picture = draw_connectome(matrix, _labels(one))
            pictures.append(Picture(f"connectome_{one.key}", picture.png, picture.webp))
    for first, second, rows in pairs_of(folder):
        if (drawn := _matching(folder, first, second, rows)) is not None:
            key = f"matching_{first.key}_{second.key}"
            pictures.append(Picture(key, drawn.png, drawn.webp))
    strips = _strips(folder)
    return Drawn(
        pictures=(*pictures, *([strips] if strips else [])),
        small=tuple(each.small for each in of_components),
        slices={each.key: each.slices for each in of_components if each.slices is not None},
    )


def _background(folder: Results) -> Background | None:
    """Return the background of the viewer; None where there is no mask to show."""
    if folder.mask is None or not folder.decompositions:
        return None
    return panels_for(folder.mask, is_mni=folder.decompositions[0].is_mni).background(folder.mask)


# ---------------------------------------------------------------- components
def _overview_task(one: WrittenDecomposition) -> list[OverviewTask]:
    maps = one.thresholded or one.maps
    return [] if maps is None else [OverviewTask(f"overview_{one.key}", maps, one.is_mni)]


def _component_tasks(folder: Results, one: WrittenDecomposition) -> list[ComponentTask]:
    if one.maps is None:
        return []
    frequency_hz, power = spectra(one)
    return [
        ComponentTask(
            key=f"{one.key}_{row['component']}",
            maps=one.maps,
            thresholded=one.thresholded,
            index=index,
            peak_mm=peak_of(row),
            is_mni=one.is_mni,
            frequency_hz=frequency_hz,
            power=power[:, index] if len(power) else np.zeros(0),
            fits=folder.fits.get((one.method, str(one.scale), row["component"])),
        )
        for index, row in enumerate(one.metrics)
    ]


# ---------------------------------------------------------------- group and participants
def _matrix(one: WrittenDecomposition) -> NDArray[np.float64] | None:
    if one.connectome is None:
        return None
    try:
        values = np.genfromtxt(one.connectome, delimiter="\t", skip_header=1)
    except (OSError, ValueError):
        return None
    matrix = np.atleast_2d(values)[:, 1:]
    return matrix if matrix.shape == (len(one.names), len(one.names)) else None


def _matching(
    folder: Results, first: WrittenDecomposition, second: WrittenDecomposition, rows: Sequence[Row]
) -> Picture | None:
    """Draw the correlations between maps of two decompositions, matched ones on the diagonal."""
    if folder.mask is None or first.maps is None or second.maps is None:
        return None
    panels = panels_for(first.maps, is_mni=first.is_mni)
    r = correlations(
        panels.within_mask(first.maps, folder.mask), panels.within_mask(second.maps, folder.mask)
    )
    other = [row.get("other_component", "") for row in rows]
    matched = [second.names.index(name) for name in other if name in second.names]
    left = [index for index in range(len(second.names)) if index not in matched]
    order = [*matched, *left]
    return draw_matching(r[:, order], first.names, [second.names[index] for index in order])


def _labels(one: WrittenDecomposition) -> list[str]:
    return [
        f"{row['component']} {row['label']}" if row.get("label") else row["component"]
        for row in one.metrics
    ]


def _strips(folder: Results) -> Picture | None:
    columns = []
    for name, title in _STRIPS.items():
        values = np.array([number(row.get(name)) for row in folder.participants])
        if np.isfinite(values).any():
            columns.append((title, values))
    if not columns:
        return None
    marked = np.array([bool(row.get("outlier")) for row in folder.participants])
    return draw_strips(columns, marked, [row["participant_id"] for row in folder.participants])
