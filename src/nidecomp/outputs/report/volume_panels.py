"""Drawing NIfTI images on slices and glass brains with nilearn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.viewer import (
    Background,
    Slices,
    make_background,
    on_grid,
    take_slices,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "RdBu_r"
# A colour map with many colours that can be distinguished.
_MANY = "gist_rainbow"


class VolumePanels:
    """Draws volumes; see `panels.MapPanels` for the methods.

    Parameters
    ----------
    is_mni : bool
        Whether the template's anatomy and glass brain fit; without them maps stand alone.
    """

    # Only the report needs matplotlib and nilearn.plotting, and importing them takes long.

    def __init__(self, is_mni: bool) -> None:
        self._is_mni = is_mni
        self._alone = {} if is_mni else {"bg_img": None}

    def read(self, path: Path, index: int) -> nib.Nifti1Image:
        """Read one volume."""
        return nib.load(path).slicer[..., index]

    def draw_small(
        self, figure: Figure, brain_map: nib.Nifti1Image, peak_mm: tuple[float, ...]
    ) -> None:
        """Draw an axial slice."""
        from nilearn import plotting  # noqa: PLC0415

        plotting.plot_stat_map(
            brain_map,
            axes=figure.add_axes((0, 0, 1, 1)),
            display_mode="z",
            cut_coords=[peak_mm[2]],
            colorbar=False,
            annotate=False,
            draw_cross=False,
            cmap=_COLOURS,
            **self._alone,
        )

    def draw_unthresholded(
        self,
        figure: Figure,
        place: tuple[float, float, float, float],
        brain_map: nib.Nifti1Image,
        peak_mm: tuple[float, ...],
    ) -> None:
        """Draw three orthogonal slices."""
        from nilearn import plotting  # noqa: PLC0415

        plotting.plot_stat_map(
            brain_map,
            axes=figure.add_axes(place),
            display_mode="ortho",
            cut_coords=peak_mm,
            draw_cross=False,
            threshold=0,
            cmap=_COLOURS,
            **self._alone,
        )

    def draw_thresholded(
        self,
        figure: Figure,
        place: tuple[float, float, float, float],
        brain_map: nib.Nifti1Image,
    ) -> None:
        """Draw a glass brain in MNI space, and axial slices in other spaces."""
        from nilearn import plotting  # noqa: PLC0415

        axes = figure.add_axes(place)
        if self._is_mni:
            plotting.plot_glass_brain(
                brain_map,
                axes=axes,
                display_mode="lyrz",
                colorbar=True,
                plot_abs=False,
                symmetric_cbar=True,
                cmap=_COLOURS,
            )
        else:
            plotting.plot_stat_map(
                brain_map,
                axes=axes,
                display_mode="z",
                cut_coords=7,
                draw_cross=False,
                cmap=_COLOURS,
                bg_img=None,
            )

    def overview(self, path: Path) -> Figure:
        """Draw the maps' outlines on slices and on a glass brain."""
        from matplotlib import colormaps  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
        from nilearn import plotting  # noqa: PLC0415

        maps = on_grid(nib.load(path), is_mni=self._is_mni, interpolation="linear")
        figure = Figure(figsize=(11, 6.2 if self._is_mni else 3.2))
        upper = (0, 0.5, 0.96, 0.48) if self._is_mni else (0, 0, 0.96, 1)
        plotting.plot_prob_atlas(
            maps,
            axes=figure.add_axes(upper),
            view_type="contours",
            display_mode="z",
            cut_coords=7,
            draw_cross=False,
            cmap=_MANY,
            **self._alone,
        )
        if self._is_mni:
            glass = plotting.plot_glass_brain(
                None, axes=figure.add_axes((0, 0, 0.96, 0.48)), display_mode="lyrz"
            )
            colours = colormaps[_MANY](np.linspace(0, 1, maps.shape[-1]))
            for index, colour in enumerate(colours):
                volume = maps.slicer[..., index]
                size = np.abs(volume.get_fdata())
                if size.any():
                    outline = nib.Nifti1Image(size, volume.affine)
                    # The outline at half of the largest value shows the core of a map.
                    glass.add_contours(
                        outline, levels=[size.max() / 2], colors=[colour], linewidths=1.2
                    )
        return figure

    def slices(self, brain_map: nib.Nifti1Image) -> Slices:
        """Arrange all sagittal slices."""
        return take_slices(brain_map, is_mni=self._is_mni)

    def background(self, mask: Path) -> Background:
        """Return the template in MNI space, and the mask in other spaces."""
        return make_background(nib.load(mask), is_mni=self._is_mni)

    def within_mask(self, maps: Path, mask: Path) -> NDArray[np.float32]:
        """Read one volume at a time."""
        inside = np.asarray(nib.load(mask).dataobj) > 0
        image = nib.load(maps)
        volumes = (np.asarray(image.slicer[..., index].dataobj) for index in range(image.shape[-1]))
        return np.stack([volume[inside] for volume in volumes]).astype(np.float32)
