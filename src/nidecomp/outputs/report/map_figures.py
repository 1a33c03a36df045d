"""The picture of each map at publication size, drawn on demand (``--figures``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nidecomp.core.parallel import map_ordered
from nidecomp.outputs.report.drawing import cut_of, paired
from nidecomp.outputs.report.panels import MapPanels, Place, panels_for
from nidecomp.outputs.report.payload import anchor
from nidecomp.outputs.report.pictures import Cut
from nidecomp.outputs.report.raster import as_png
from nidecomp.outputs.report.results import Results, WrittenDecomposition

FIGURES = PurePosixPath("figures")


def map_figures(one: WrittenDecomposition) -> list[PurePosixPath]:
    """Return the files of the pictures of a decomposition's maps, relative to the output folder."""
    names = [f"{one.key}_{row['component']}" for row in one.metrics]
    return [FIGURES / f"{anchor(name)}.png" for name in names]


def draw_map_figures(folder: Results, n_threads: int) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Draw every map.

    Parameters
    ----------
    folder : Results
    n_threads : int
        The result does not depend on it.

    Yields
    ------
    PurePosixPath, bytes
        Where the picture of a map belongs, and the PNG file.
    """
    for one in folder.decompositions:
        if one.maps is not None and one.metrics:
            panels = panels_for(Place(folder.mask, one.maps, one.is_mni, len(one.metrics)))
            yield from zip(map_figures(one), _drawn(one, one.maps, panels, n_threads), strict=True)


def _drawn(
    one: WrittenDecomposition, maps: Path, panels: MapPanels, n_threads: int
) -> Iterator[bytes]:
    def draw(item: tuple[object, Cut]) -> bytes:
        return as_png(panels.figure(*item))

    cuts = [cut_of(one, row) for row in one.metrics]
    return map_ordered(draw, paired(panels.maps(maps), cuts, maps), n_threads)
