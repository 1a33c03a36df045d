"""Drawing brain maps: the implementation is chosen by the extension of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.viewer import Background, Slices
from nidecomp.outputs.report.volume_panels import VolumePanels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Left, bottom, width and height, as shares of the figure.
Place = tuple[float, float, float, float]


class MapPanels(Protocol):
    """Draws the maps of one kind of file; what `read` returns is for the other methods."""

    def read(self, path: Path, index: int) -> Any:
        """Return one map of a file, as the other methods take it."""

    def draw_small(self, figure: Figure, brain_map: Any, peak_mm: tuple[float, ...]) -> None:
        """Draw a map at its peak, filling a small figure."""

    def draw_unthresholded(
        self, figure: Figure, place: Place, brain_map: Any, peak_mm: tuple[float, ...]
    ) -> None:
        """Draw an unthresholded map at its peak."""

    def draw_thresholded(self, figure: Figure, place: Place, brain_map: Any) -> None:
        """Draw the whole of a thresholded map."""

    def overview(self, path: Path) -> Figure:
        """Return a figure of all maps of a file."""

    def slices(self, brain_map: Any) -> Slices | None:
        """Return the slices of a map for the viewer; None where it cannot show such maps."""

    def background(self, mask: Path) -> Background | None:
        """Return the background of the viewer; None where it cannot show such maps."""

    def within_mask(self, maps: Path, mask: Path) -> NDArray[np.float32]:
        """Read the maps of a file within a mask, shape (n_maps, n_features)."""


# Extension to the implementation, which is told whether the maps are in MNI space.
PANELS: dict[str, Callable[[bool], MapPanels]] = {".nii.gz": VolumePanels}


def panels_for(path: Path, *, is_mni: bool) -> MapPanels:
    """Return the implementation that draws the maps of a file.

    Parameters
    ----------
    path : Path
        Its name ends as one of `PANELS`.
    is_mni : bool
        Whether the template's anatomy and glass brain fit.

    Returns
    -------
    MapPanels
    """
    extension = next(one for one in PANELS if path.name.endswith(one))
    return PANELS[extension](is_mni)


def files_of_maps(folder: Path, pattern: str) -> list[tuple[Path, str]]:
    """Return the files of maps that can be drawn.

    Parameters
    ----------
    folder : Path
    pattern : str
        As for `Path.glob`, without the extension.

    Returns
    -------
    list of (Path, str)
        The files, sorted, and the name of each without its extension.
    """
    return sorted(
        (path, path.name.removesuffix(extension))
        for extension in PANELS
        for path in folder.glob(pattern + extension)
    )
