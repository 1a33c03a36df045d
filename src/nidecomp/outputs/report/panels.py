"""Drawing brain maps: the implementation is chosen by the extension of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.volume_panels import VolumePanels

if TYPE_CHECKING:
    from PIL.Image import Image

    from nidecomp.outputs.report.compared_views import ComparedPicture
    from nidecomp.outputs.report.pictures import Cut, MapPictures


class MapPanels(Protocol):
    """Draws the maps of one kind of file; what `maps` yields is for the other methods."""

    def maps(self, path: Path) -> Iterator[Any]:
        """Yield the maps of a file, one at a time and in order."""

    def sample(self, brain_map: Any) -> NDArray[np.float32]:
        """Return the values that the maps of two decompositions are compared by."""

    def pictures(self, brain_map: Any, cut: Cut) -> MapPictures:
        """Return what the page shows of a map; several threads may ask at the same time."""

    def figure(self, brain_map: Any, cut: Cut) -> Image:
        """Return the picture of a map for papers; several threads may ask at the same time."""

    def compared(self, statistic: Any, found: NDArray[np.bool_]) -> ComparedPicture:
        """Return the picture of a test's statistic, with a line around what was found."""

    def scene(self) -> Mapping[str, object] | None:
        """Return what the page draws maps on, as JSON; None where it cannot draw such maps."""


@dataclass(frozen=True)
class Place:
    """Where maps lie.

    Parameters
    ----------
    mask : Path or None
        The group mask.
    maps : Path
        A file of maps.
    is_mni : bool
        Whether the template's anatomy and glass brain fit.
    n_maps : int
        How many maps the page holds: the more there are, the coarser they are.
    """

    mask: Path | None
    maps: Path
    is_mni: bool
    n_maps: int


def _cifti(place: Place) -> MapPanels:
    # Meshes take long to import, and volumes have none.
    from nidecomp.outputs.report.surface_panels import cifti_panels  # noqa: PLC0415

    return cifti_panels(place.maps, place.n_maps)


def _gifti(place: Place) -> MapPanels:
    from nidecomp.outputs.report.surface_panels import gifti_panels  # noqa: PLC0415  as above

    return gifti_panels(place.maps, place.n_maps)


# Extension to the implementation.
PANELS: dict[str, Callable[[Place], MapPanels]] = {
    ".nii.gz": lambda place: VolumePanels(place.mask or place.maps, place.is_mni, place.n_maps),
    ".dscalar.nii": _cifti,
    ".func.gii": _gifti,
}
_LEFT, _RIGHT = "_hemi-L", "_hemi-R"


def panels_for(place: Place) -> MapPanels:
    """Return the implementation that draws maps.

    Parameters
    ----------
    place : Place
        The name of its maps ends as one of `PANELS`.

    Returns
    -------
    MapPanels
    """
    extension = next(one for one in PANELS if place.maps.name.endswith(one))
    return PANELS[extension](place)


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
        The files, sorted, and the name of each without its extension. A pair is its left file,
        and its name has no hemisphere.
    """
    return sorted(
        (path, path.name.removesuffix(extension).replace(_LEFT, "", 1))
        for extension in PANELS
        for path in folder.glob(pattern + extension)
        if _RIGHT not in path.name
    )
