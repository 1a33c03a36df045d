"""Reading the series of voxels of a run: read, smooth and mask, one volume at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nilearn.image import resample_img
from numpy.typing import NDArray

from nidecomp.spaces.grid import Grid
from nidecomp.spaces.smooth import Smoother, make_smoother
from nidecomp.spaces.volumes import describe_image, stored_volumes


def read_series(
    path: Path,
    grid: Grid,
    mask: NDArray[np.bool_],
    kept: NDArray[np.intp],
    smoothing_fwhm: tuple[float, ...],
) -> tuple[tuple[NDArray[np.float32], ...], int]:
    """Return the series of the voxels of a mask, read once, at each smoothing.

    The result is that of nilearn's maskers within float32 rounding, in their order: values that
    are not finite become 0, then the volume is resampled (where its grid is another one), smoothed
    and masked.

    Parameters
    ----------
    path : Path
        The run's 4D image.
    grid : Grid
        Where the volumes are brought to.
    mask : ndarray of bool, shape grid.shape
        The voxels to take.
    kept : ndarray of int, shape (n_kept,)
        The volumes to take, ascending.
    smoothing_fwhm : tuple of float
        Full widths at half maximum of the Gaussians in mm, 0 for none: one or several smoothings
        of the same volumes.

    Returns
    -------
    series : tuple of ndarray of float32, each of shape (n_kept, n_features)
        One for each smoothing.
    n_nonfinite : int
        How many voxels were NaN or infinite in at least one volume: of the mask's, or of the
        whole image where that is on another grid.

    Raises
    ------
    FailedRunError
        The file cannot be read.

    Notes
    -----
    Memory: what is returned, and two volumes: as stored and as float32.
    """
    image = describe_image(path)
    sizes = voxel_sizes(grid.matrix)
    smoothers = [make_smoother(mask, tuple(sizes), fwhm) for fwhm in smoothing_fwhm]
    shape = (len(kept), int(np.count_nonzero(mask)))
    series = tuple(np.empty(shape, dtype=np.float32) for _ in smoothers)
    volumes, scaling = stored_volumes(image, kept), (image.slope, image.inter)
    if image.grid == grid:
        nonfinite = np.zeros(grid.shape[::-1], dtype=np.bool_)
        _take_all(volumes, scaling, smoothers, series, nonfinite)
        return series, int(np.count_nonzero(nonfinite & mask.T))
    moved = _Resampling(volumes, scaling, image.grid, grid)
    nowhere = np.zeros(grid.shape[::-1], dtype=np.bool_)
    _take_all(moved, (1.0, 0.0), smoothers, series, nowhere)
    return series, int(np.count_nonzero(moved.nonfinite))


def _take_all(
    volumes: Iterable[NDArray[np.generic]],
    scaling: tuple[float, float],
    smoothers: Sequence[Smoother],
    series: Sequence[NDArray[np.float32]],
    nonfinite: NDArray[np.bool_],
) -> None:
    for index, volume in enumerate(volumes):
        for smoother, features in zip(smoothers, series, strict=True):
            smoother.take(volume, scaling, features[index], nonfinite)


def compile_reading(stored: str) -> None:
    """Compile the loops of reading and smoothing, on a small volume.

    Parameters
    ----------
    stored : str
        The type of the numbers that images store.
    """
    volume = np.zeros((3, 3, 3), dtype=stored)
    smoother = make_smoother(np.ones(volume.shape, dtype=np.bool_), (1.0, 1.0, 1.0), 1.0)
    features = np.empty(volume.size, dtype=np.float32)
    smoother.take(volume, (1.0, 0.0), features, np.zeros(volume.shape, dtype=np.bool_))


class _Resampling:
    """Resamples volumes to another grid one by one, as nilearn's maskers do."""

    def __init__(
        self,
        volumes: Iterable[NDArray[np.generic]],
        scaling: tuple[float, float],
        grid: Grid,
        target: Grid,
    ) -> None:
        self._volumes, self._scaling, self._grid, self._target = volumes, scaling, grid, target
        self.nonfinite = np.zeros(grid.shape[::-1], dtype=np.bool_)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        slope, inter = self._scaling
        for stored in self._volumes:
            values = (stored.astype(np.float64) * slope + inter).astype(np.float32)
            bad = ~np.isfinite(values)
            self.nonfinite |= bad
            yield _resampled(np.where(bad, np.float32(0), values), self._grid, self._target)


def _resampled(volume: NDArray[np.float32], grid: Grid, target: Grid) -> NDArray[np.float32]:
    """Return one volume, resampled as nilearn's maskers do."""
    moved = resample_img(
        nib.Nifti1Image(volume.T, grid.matrix),
        target_affine=target.matrix,
        target_shape=target.shape,
        interpolation="continuous",
        copy_header=True,
        force_resample=True,
    )
    return np.ascontiguousarray(np.asarray(moved.dataobj).T, dtype=np.float32)
