"""Reading the series of voxels of a run: read, smooth and mask, one volume at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from nidecomp.core.packed import PackedSeries
from nidecomp.spaces.constancy import Constancy, Probe
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.records import PackedRun, RunSeries
from nidecomp.spaces.smooth import make_smoother
from nidecomp.spaces.volumes import describe_image, stored_volumes


def read_series(
    path: Path,
    grid: Grid,
    mask: NDArray[np.bool_],
    kept: NDArray[np.intp],
    smoothing_fwhm: tuple[float, ...],
) -> RunSeries:
    """Return the series of the voxels of a mask, read once, at each smoothing.

    The result is that of nilearn's maskers within float32 rounding, in their order: values that
    are not finite become 0, then the volume is resampled (where its grid is another one), smoothed
    and masked. But a voxel whose value is the same in all volumes before smoothing has no data, as
    beside a field of view that was cut, and its series is 0: smoothing would give it a share of its
    neighbours' signal.

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
    RunSeries
        Nonfinite values and empty volumes are looked for in the mask, or in the whole image where
        that is on another grid.

    Raises
    ------
    FailedRunError
        The file cannot be read.

    Notes
    -----
    Memory: what is returned, and two volumes: as stored and as float32.
    """
    shape = (len(kept), int(np.count_nonzero(mask)))
    series = tuple(np.empty(shape, dtype=np.float32) for _ in smoothing_fwhm)

    def to_take(index: int) -> list[NDArray[np.float32]]:
        return [one[index] for one in series]

    constant, n_nonfinite, empty = _read(path, grid, mask, kept, smoothing_fwhm, to_take=to_take)
    if constant.any():
        for one in series:
            one[:, constant] = 0
    return RunSeries(series, n_nonfinite, empty)


def read_packed(
    path: Path,
    grid: Grid,
    mask: NDArray[np.bool_],
    kept: NDArray[np.intp],
    smoothing_fwhm: tuple[float, ...],
) -> PackedRun:
    """Return what `read_series` does, in 20 bits per value.

    Parameters and errors are the same. Each volume is packed before the next is read.
    """
    shape = (len(kept), int(np.count_nonzero(mask)))
    series = tuple(PackedSeries(*shape) for _ in smoothing_fwhm)

    def to_take(_: int) -> list[NDArray[np.float32]]:
        return [one.volume for one in series]

    def put(index: int) -> None:
        for one in series:
            one.put(index)

    constant, n_nonfinite, empty = _read(
        path, grid, mask, kept, smoothing_fwhm, to_take=to_take, put=put
    )
    for one in series:
        one.set_to_zero(constant)
    return PackedRun(series, n_nonfinite, empty)


def _read(
    path: Path,
    grid: Grid,
    mask: NDArray[np.bool_],
    kept: NDArray[np.intp],
    smoothing_fwhm: tuple[float, ...],
    *,
    to_take: Callable[[int], Sequence[NDArray[np.float32]]],
    put: Callable[[int], None] = lambda _: None,
) -> tuple[NDArray[np.bool_], int, tuple[int, ...]]:
    """Smooth and mask the volumes of a run.

    Parameters
    ----------
    path, grid, mask, kept, smoothing_fwhm
        As in `read_series`.
    to_take : callable
        Returns where to write the volume with a given index, at each smoothing.
    put : callable
        Called with the index of each volume that is not empty, after it was written.

    Returns
    -------
    constant : ndarray of bool, shape (n_features,)
        Features whose value is the same in all volumes before smoothing.
    n_nonfinite : int
    empty : tuple of int
    """
    image = describe_image(path)
    sizes = voxel_sizes(grid.matrix)
    smoothers = [make_smoother(mask, tuple(sizes), fwhm) for fwhm in smoothing_fwhm]
    volumes, scaling = stored_volumes(image, kept), (image.slope, image.inter)
    if image.grid.is_same(grid):
        probe, constancy = Probe(mask.T, scaling), Constancy(mask.T, scaling)
        nonfinite = np.zeros(grid.shape[::-1], dtype=np.bool_)
        empty: list[int] = []
        for index, volume in enumerate(volumes):
            is_empty = probe.finds_nothing_in(volume)
            # It will be dropped, so that it does not matter how many of its values are NaN.
            found = np.zeros_like(nonfinite) if is_empty else nonfinite
            for smoother, features in zip(smoothers, to_take(index), strict=True):
                smoother.take(volume, scaling, features, found)
            if is_empty:
                empty.append(index)
            else:
                constancy.add(volume)
                put(index)
        n_nonfinite = int(np.count_nonzero(nonfinite & mask.T))
        return constancy.constant()[mask.T], n_nonfinite, tuple(empty)
    moved = _Resampling(volumes, scaling, image.grid, grid)
    nowhere = np.zeros(grid.shape[::-1], dtype=np.bool_)
    for index, resampled in enumerate(moved):
        for smoother, features in zip(smoothers, to_take(index), strict=True):
            smoother.take(resampled, (1.0, 0.0), features, nowhere)
        if index not in moved.empty:
            put(index)
    n_nonfinite = int(np.count_nonzero(moved.nonfinite))
    return moved.constant()[mask.T], n_nonfinite, tuple(moved.empty)


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
        self.empty: list[int] = []
        # What lies beyond the image becomes 0, so that only its own voxels say whether it is empty.
        everywhere = np.ones(grid.shape[::-1], dtype=np.bool_)
        self._probe = Probe(everywhere, scaling)
        self._constancy = Constancy(everywhere, scaling)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        slope, inter = self._scaling
        for index, stored in enumerate(self._volumes):
            if self._probe.finds_nothing_in(stored):
                # It will be dropped; resampling it takes time, and nilearn would warn about it.
                self.empty.append(index)
                yield np.zeros(self._target.shape[::-1], dtype=np.float32)
                continue
            self._constancy.add(stored)
            values = (stored.astype(np.float64) * slope + inter).astype(np.float32)
            bad = ~np.isfinite(values)
            self.nonfinite |= bad
            yield _resampled(np.where(bad, np.float32(0), values), self._grid, self._target)

    def constant(self) -> NDArray[np.bool_]:
        """Return where in the target grid the nearest voxel of the image is constant, or none.

        The splines of the resampling reach infinitely far, so that resampled values vary a little
        where the image has no data.
        """
        varying = ~self._constancy.constant()
        moved = _resampled(varying.astype(np.float32), self._grid, self._target, "nearest")
        return np.asarray(moved == 0)


def _resampled(
    volume: NDArray[np.float32], grid: Grid, target: Grid, interpolation: str = "continuous"
) -> NDArray[np.float32]:
    """Return one volume, resampled as nilearn's maskers do."""
    from nilearn.image import resample_img  # noqa: PLC0415  it takes long, and is rarely needed

    moved = resample_img(
        nib.Nifti1Image(volume.T, grid.matrix),
        target_affine=target.matrix,
        target_shape=target.shape,
        interpolation=interpolation,
        copy_header=True,
        force_resample=True,
    )
    return np.ascontiguousarray(np.asarray(moved.dataobj).T, dtype=np.float32)
