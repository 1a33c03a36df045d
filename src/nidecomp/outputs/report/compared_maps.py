"""Drawing the maps of components in which a comparison found something."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.answers import ALPHA
from nidecomp.core.parallel import map_ordered
from nidecomp.core.text import in_one_line
from nidecomp.outputs.report.compared_views import ComparedPicture
from nidecomp.outputs.report.comparison_results import (
    WrittenComparison,
    WrittenTest,
    image_of,
    names_in,
)
from nidecomp.outputs.report.comparison_words import found_components, is_found, map_p
from nidecomp.outputs.report.panels import MapPanels
from nidecomp.outputs.report.raster import as_webp
from nidecomp.outputs.report.results import Results, WrittenDecomposition

_LOG = logging.getLogger(__name__)
# Key of the decomposition, name of the test, component.
ComparedKey = tuple[str, str, str]
# Files have single precision, in which this is what a p of exactly ALPHA is written as.
_LIMIT = np.float32(-math.log10(ALPHA))
# More of one test are not drawn; the files have all of them.
MOST_MAPS = 24


@dataclass(frozen=True)
class DrawnComparison:
    """The picture of a component's statistic, as the page holds it (WebP).

    The other fields are those of `ComparedPicture`.
    """

    picture: bytes
    window: float
    peak_mm: tuple[float, float, float] | None
    shows: str


def maps_to_draw(comparison: WrittenComparison, key: str, test: WrittenTest) -> list[str]:
    """Return the components of a decomposition whose maps a test found something in.

    Parameters
    ----------
    comparison : WrittenComparison
    key : str
        The decomposition, as the tables name it.
    test : WrittenTest

    Returns
    -------
    list of str
        The smallest p first, at most `MOST_MAPS`.
    """
    rows = found_components(comparison, comparison.rows_of(key, test))
    return [row["component"] for row in rows if is_found(map_p(comparison, row))][:MOST_MAPS]


def draw_comparison(
    folder: Results, panels: MapPanels, n_threads: int
) -> Mapping[ComparedKey, DrawnComparison]:
    """Draw the statistic of all components in whose maps something was found.

    Parameters
    ----------
    folder : Results
    panels : MapPanels
        Of the maps of components.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    mapping
    """
    found: dict[ComparedKey, DrawnComparison] = {}
    if folder.comparison is None:
        return found
    for one in folder.decompositions:
        for test in folder.comparison.tests:
            names = maps_to_draw(folder.comparison, one.label, test)
            if names:
                found |= _drawn(folder.comparison, one, test, (names, panels, n_threads))
    return found


def _drawn(
    comparison: WrittenComparison,
    one: WrittenDecomposition,
    test: WrittenTest,
    how: tuple[list[str], MapPanels, int],
) -> dict[ComparedKey, DrawnComparison]:
    names, panels, n_threads = how
    statistic = image_of(one.stem, test, test.statistic)
    logp = image_of(one.stem, test, "logp", f"{comparison.inference}all")
    if statistic is None or logp is None:
        _LOG.warning("The maps of the test %s are not there, and are not drawn", test.text)
        return {}

    def draw(item: tuple[str, NDArray[np.float32], NDArray[np.bool_]]) -> DrawnComparison:
        _, values, inside = item
        drawn: ComparedPicture = panels.compared(values, inside)
        return DrawnComparison(as_webp(drawn.picture), drawn.window, drawn.peak_mm, drawn.shows)

    try:
        items = list(_items(panels, statistic, logp, names))
    # Errors of damaged images have no common class; the tables say what was found all the same.
    except Exception as error:
        why = in_one_line(error)
        _LOG.warning(
            "The maps of the test %s cannot be read, and are not drawn: %s", test.text, why
        )
        return {}
    drawn = map_ordered(draw, iter(items), n_threads)
    return {
        (one.key, test.name, name): each for (name, _, _), each in zip(items, drawn, strict=True)
    }


def _items(
    panels: MapPanels, statistic: Path, logp: Path, names: list[str]
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield the statistic of each component that is drawn, and where something was found."""
    listed = names_in(statistic)
    for name, values, each in zip(listed, panels.maps(statistic), panels.maps(logp), strict=False):
        if name in names:
            yield name, values, each > _LIMIT
