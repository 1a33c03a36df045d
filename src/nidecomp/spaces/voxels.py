"""Features that are the voxels of a brain mask: runs and maps are NIfTI images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.records import UsableRun
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.interpolate import labels_at, maps_at, share_at
from nidecomp.spaces.nifti import compressed, compressed_parts, nifti
from nidecomp.spaces.records import (
    Extensions,
    LabelFile,
    MapKind,
    Measure,
    PackedRun,
    RegionKind,
    RunSeries,
    SizeUnit,
)
from nidecomp.spaces.seeds import local_maxima
from nidecomp.spaces.series import read_packed, read_series
from nidecomp.spaces.smoothness import independent_values, surrogate_maps
from nidecomp.spaces.volumes import VolumeImage, describe_image, describe_maps_of_volume

# nilearn's default is regions of at least 1350 mm³.
VOLUME = SizeUnit(
    size="volume",
    unit="mm^3",
    neighbours="voxels that share a face",
    min_cluster=100.0,
    min_region=1350,
)
_RAS = axcodes2ornt("RAS")
_SPLIT = {
    "local_regions": "around the peaks of the smoothed map, by random walks",
    "connected_components": "connected components",
}


@dataclass(frozen=True, eq=False)
class VoxelSpace(FeatureSpace):
    """The voxels of a brain mask.

    Parameters
    ----------
    grid : Grid
        Shape and affine of the images that maps are written to.
    mask : ndarray of bool, shape grid.shape
        The voxels that are features, in the order in which a file holds them: the first axis
        varies fastest.
    label : str
        What BIDS calls the space. Nothing in an image says it.
    """

    grid: Grid
    mask: NDArray[np.bool_]
    label: str

    measure = Measure("voxel", "voxels", (VOLUME,))
    extensions = Extensions(".nii.gz", ".nii.gz", ".nii.gz", ".nii.gz")
    atlas_format = "a NIfTI file"

    def __getstate__(self) -> dict[str, object]:
        # These are computed faster than they are sent to another process.
        derived = {"adjacency", "_places"}
        return {name: value for name, value in vars(self).items() if name not in derived}

    # ------------------------------------------------------------ what there is
    @cached_property
    def n_features(self) -> int:
        """The number of voxels in the mask."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def digest(self) -> str:
        """A hash of the grid and the mask: spaces with the same digest are the same."""
        content = hashlib.sha256()
        content.update(repr((self.grid.shape, self.grid.affine)).encode())
        content.update(np.packbits(self.mask).tobytes())
        return content.hexdigest()

    @property
    def sizes(self) -> NDArray[np.float64]:
        """The volume of each voxel in mm³: all have the same."""
        return np.full(self.n_features, self.grid.voxel_mm3)

    def size_of(self, features: NDArray[np.integer]) -> float:
        """Return the volume of some voxels in mm³: a product, which a sum would round."""
        return len(features) * self.grid.voxel_mm3

    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the centres of some voxels, RAS+ in mm, shape (n, 3)."""
        return np.asarray(self._places[features])

    @property
    def midline_mm(self) -> float:
        """Half of a voxel's extent from left to right, a bit less: these voxels hold the plane."""
        # A voxel that only touches the plane is on one side.
        return (0.5 - 1e-6) * float(np.abs(self.grid.matrix[0, :3]).sum())

    @cached_property
    def adjacency(self) -> csr_array:
        """The voxels that share a face with each voxel."""
        numbers = np.full(self.mask.T.shape, -1, dtype=np.int32)
        numbers[self.mask.T] = np.arange(self.n_features, dtype=np.int32)
        first, second = [], []
        for axis in range(3):
            along = np.moveaxis(numbers, axis, 0)
            both = (along[:-1] >= 0) & (along[1:] >= 0)
            first.append(along[:-1][both])
            second.append(along[1:][both])
        rows, columns = np.concatenate(first + second), np.concatenate(second + first)
        touch = np.ones(len(rows), dtype=np.bool_)
        return csr_array((touch, (rows, columns)), shape=(self.n_features, self.n_features))

    def independent_values(self, maps: NDArray[np.floating]) -> float:
        """Return the number of independent values: see `spaces.smoothness`."""
        return independent_values(maps, self.mask.T, voxel_sizes(self.grid.matrix)[::-1])

    def surrogates(self, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Return maps with the same power spectra and random phases."""
        return surrogate_maps(maps, self.mask.T, voxel_sizes(self.grid.matrix)[::-1], seed)

    @property
    def references(self) -> str | None:
        """``MNI`` for all spaces of that name: the differences are small against networks."""
        return "MNI" if self.label.startswith("MNI") else None

    def spatial_metadata(self, reference: str, res: str | None) -> dict[str, object]:
        """Return the image on whose grid maps are, and what the label of the resolution means."""
        # The images decide where the voxels are; the validator asks for it even of templates.
        content: dict[str, object] = {"SpatialReference": reference}
        if res is not None:
            text = " × ".join(f"{size:.4g}" for size in voxel_sizes(self.grid.matrix))
            content["Resolution"] = f"{text} mm voxels, as in the preprocessed images"
        return content

    # ------------------------------------------------------------ runs
    def read_series(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> RunSeries:
        """Read some volumes of a 4D image on any grid: see `spaces.series.read_series`."""
        return read_series(path, self.grid, self.mask, kept, smoothing_fwhm)

    def read_packed(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> PackedRun:
        """Read some volumes of a 4D image on any grid: see `spaces.series.read_packed`."""
        return read_packed(path, self.grid, self.mask, kept, smoothing_fwhm)

    def reading_bytes(self, run: UsableRun) -> float:
        """Return the memory of a few volumes: as stored, as float32, and where bad values are."""
        # Libraries resample volumes in float64.
        resampling = 40 if run.resampled else 0
        return run.grid.n_numbers * (run.stored_bytes + 5 + resampling)

    def open_run(self, path: Path) -> VolumeImage:
        """Open a 4D image on any grid."""
        return VolumeImage(describe_image(path))

    # ------------------------------------------------------------ maps as files
    @property
    def n_stored(self) -> int:
        """The number of voxels of the grid."""
        return self.grid.n_numbers

    def features(self, volume: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the features of one volume on this grid.

        Parameters
        ----------
        volume : ndarray, shape grid.shape

        Returns
        -------
        ndarray, shape (n_features,)
        """
        return volume.T[self.mask.T]

    def image(self, maps: NDArray[np.floating]) -> nib.Nifti1Image:
        """Return maps as an image; voxels outside the mask are 0.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features) or (n_features,)

        Returns
        -------
        nibabel.Nifti1Image
            float32, 4D for several maps, with units, space codes and scaling set.
        """
        return nifti(self._volume(maps, np.float32).T, self.grid)

    def _volume(self, values: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
        """Return values of features, in the last axis, in the order of a file: 0 elsewhere."""
        volume = np.zeros(values.shape[:-1] + self.grid.shape[::-1], dtype=dtype)
        volume[..., self.mask.T] = values
        return volume

    def mask_image(self) -> nib.Nifti1Image:
        """Return the mask itself as an image of uint8."""
        return nifti(self.mask.astype(np.uint8), self.grid)

    def encode(
        self,
        maps: NDArray[np.floating],
        n_threads: int = 1,
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return a 4D .nii.gz with one volume per map."""
        return b"".join(self.encode_each(iter(maps), len(maps), n_threads))

    def encode_each(
        self,
        maps: Iterable[NDArray[np.floating]],
        n_maps: int,
        n_threads: int = 1,
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> Iterator[bytes]:
        """Return a 4D .nii.gz in parts: many sparse maps take little memory."""
        # A broadcast array takes no memory: only its shape is used.
        whole = nifti(np.broadcast_to(np.float32(0), (*self.grid.shape, n_maps)), self.grid)
        # Otherwise NaN, which not all programs read as no scaling.
        whole.header.set_slope_inter(1, 0)
        yield from compressed_parts(whole.header, self._volumes(maps), n_threads)

    def _volumes(self, maps: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
        """Yield maps in the order of a file, each in the memory of the one before."""
        volume = np.zeros(self.grid.shape[::-1], dtype=np.float32)
        places, values = np.flatnonzero(self.mask.T), volume.reshape(-1)
        for one in maps:
            values[places] = one
            yield volume

    def encode_labels(
        self,
        labels: NDArray[np.int32],
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return a 3D .nii.gz of int32."""
        return compressed(nifti(self._volume(labels, np.int32).T, self.grid))

    def encode_mask(self, *, hemi: Hemisphere | None = None) -> bytes:
        """Return a 3D .nii.gz of uint8."""
        return compressed(self.mask_image())

    # ------------------------------------------------------------ maps of others
    def describe_maps(self, path: Path) -> tuple[MapKind, int]:
        """Return what an image contains, by its dimensions: 4D maps, 3D labels."""
        return describe_maps_of_volume(path)

    def read_maps(self, path: Path, n_maps: int) -> NDArray[np.float32]:
        """Return the volumes of a 4D image on any grid, interpolated linearly."""
        return maps_at(path, self._places, n_maps)

    def read_share(self, path: Path, beyond: float) -> NDArray[np.float32]:
        """Return a 3D image on any grid, interpolated linearly."""
        return share_at(path, self._places, beyond)

    def read_labels(self, path: Path) -> LabelFile:
        """Return the labels of a 3D image on any grid, by nearest neighbour."""
        return LabelFile(*labels_at(path, self._places))

    @cached_property
    def _places(self) -> NDArray[np.float64]:
        voxels = np.argwhere(self.mask.T)[:, ::-1]
        return np.asarray(apply_affine(self.grid.matrix, voxels), dtype=np.float64)

    # ------------------------------------------------------------ regions
    def region_seeds(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return local maxima of the smoothed map, as nilearn's RegionExtractor finds them."""
        # In one order of the axes, so that rounding does not depend on that of the file.
        as_stored = io_orientation(self.grid.matrix)
        image = nib.as_closest_canonical(self.image(values))
        seeds = local_maxima(np.asarray(image.dataobj), voxel_sizes(image.affine))
        to_stored = ornt_transform(_RAS, as_stored)
        return np.where(values > 0, self.features(apply_orientation(seeds, to_stored)), 0)

    def region_rule(self, kind: RegionKind) -> str:
        """Return what the method does, and nilearn's name for it."""
        return f"{_SPLIT[kind]} (as nilearn's RegionExtractor, {kind})"
