"""Making the report of an output folder: the page, figures and the texts to cite."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TypeVar

from nidecomp.bids.dataset import DESCRIPTION
from nidecomp.config.settings import Settings
from nidecomp.core.atomic import exclusive_lock
from nidecomp.core.errors import NidecompError, UsageError
from nidecomp.core.inventory import Inventory
from nidecomp.execution.choose import wanted_cores
from nidecomp.execution.monitor import REPORT_STEP, Monitor
from nidecomp.execution.progress import logging_to
from nidecomp.outputs.report.citation import citation_files
from nidecomp.outputs.report.comparison_pictures import as_file, design_picture
from nidecomp.outputs.report.drawing import draw_all
from nidecomp.outputs.report.map_figures import FIGURES, draw_map_figures, map_figures
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.payload import anchor
from nidecomp.outputs.report.results import Results, read_decompositions, read_results
from nidecomp.outputs.resources import write_resources
from nidecomp.outputs.result import Outcome
from nidecomp.outputs.tree import OutputTree, remove_leftovers_of_results

Made = TypeVar("Made")
REPORT = PurePosixPath("report.html")
_LOGS = PurePosixPath("logs")
_LOG = logging.getLogger(__name__)


def write_report(tree: OutputTree, settings: Settings, n_threads: int, monitor: Monitor) -> bool:
    """Make the report and the figures of maps, where they are wanted.

    The files to cite are written in any case.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    settings : Settings
    n_threads : int
        How many threads draw.
    monitor : Monitor
        The report shows what the steps before it took.

    Returns
    -------
    bool
        False where something could not be made.
    """
    has_report = settings.extent.has_report
    is_cited = has_report or _write_citations(tree)
    if not (has_report or settings.extent.figures):
        return is_cited
    write_resources(settings.output_dir, monitor)
    with monitor.step(REPORT_STEP):
        is_reported = not has_report or add_report(tree, n_threads)
        is_drawn = not settings.extent.figures or add_figures(tree, n_threads)
    return is_cited and is_reported and is_drawn


def remake_report(settings: Settings) -> Outcome:
    """Make the report anew from the files in the output folder (``--report-only``).

    With ``--figures``, the figures of maps are made, too.

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
    with exclusive_lock(settings.output_dir), logging_to(settings):
        tree = OutputTree(output, adding=True)
        n_threads = wanted_cores(settings.execution)
        is_reported = add_report(tree, n_threads)
        if settings.extent.figures:
            is_reported &= add_figures(tree, n_threads)
        tree.finish()
        if is_reported:
            _LOG.info("The report is %s", output / REPORT)
    return Outcome(Inventory(), output, is_reported=is_reported)


def keep_results(settings: Settings, inventory: Inventory, n_threads: int) -> Outcome:
    """Keep results that are complete; make report and figures if they are wanted and missing.

    Parameters
    ----------
    settings : Settings
        The output folder must be locked.
    inventory : Inventory
        The runs that were found.
    n_threads : int
        How many draw.

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
    remove_leftovers_of_results(output)
    decompositions = read_decompositions(output, missing=[])
    figures = [output / name for one in decompositions for name in map_figures(one)]
    adding: list[Callable[[OutputTree, int], bool]] = []
    if settings.extent.has_report and not (output / REPORT).exists():
        adding.append(add_report)
    if settings.extent.figures and not all(path.exists() for path in figures):
        adding.append(add_figures)
    is_reported = True
    if adding:
        tree = OutputTree(output, adding=True)
        for add in adding:
            is_reported &= add(tree, n_threads)
        tree.finish()
    return Outcome(inventory, output, len(decompositions), is_reported)


def add_report(tree: OutputTree, n_threads: int) -> bool:
    """Make the report of an output folder and add it to the folder.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    bool
        Whether it was made. An error is logged and stops nothing: all data are written.
    """
    return _made("report", lambda: _add(tree, n_threads)) is not None


def add_figures(tree: OutputTree, n_threads: int) -> bool:
    """Draw each map of an output folder at publication size and add the files to the folder.

    Parameters
    ----------
    tree : OutputTree
        The folder, whose other files are written.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    bool
        Whether they were drawn. An error is logged and stops nothing: all data are written.
    """

    def draw() -> bool:
        for path, png in draw_map_figures(read_results(tree.root), n_threads):
            tree.write_bytes(path, png)
        return True

    return _made("picture of each map", draw) is not None


def _add(tree: OutputTree, n_threads: int) -> Results:
    """Write the report and return what it shows."""
    folder = read_results(tree.root)
    drawn = draw_all(folder, n_threads)
    page = render(folder, drawn)
    for name, png in drawn.figures.items():
        tree.write_bytes(FIGURES / f"{anchor(name)}.png", png)
    if folder.comparison is not None and (picture := design_picture(folder.comparison)):
        tree.write_text(FIGURES / "design.svg", as_file(picture))
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
