"""What a feature is: today a voxel of a mask. The only place that knows.

The decomposition sees samples × features. This type says how features come from an image and how
maps go back into one; CIFTI grayordinates or GIFTI vertices would be a second such type.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from nidecomp.core.records import Grid
from nidecomp.spaces.nifti import nifti


@dataclass(frozen=True, eq=False)
class VoxelGeometry:
    """The voxels of a brain mask.

    Parameters
    ----------
    grid : Grid
        Shape and affine of the images that maps are written to.
    mask : ndarray of bool, shape grid.shape
        The voxels that are features, in the order in which a file holds them: the first axis
        varies fastest.
    """

    grid: Grid
    mask: NDArray[np.bool_]

    @cached_property
    def n_features(self) -> int:
        """The number of voxels in the mask."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def digest(self) -> str:
        """A hash of the grid and the mask: geometries with the same digest are the same."""
        content = hashlib.sha256()
        content.update(repr((self.grid.shape, self.grid.affine)).encode())
        content.update(np.packbits(self.mask).tobytes())
        return content.hexdigest()

    def features(self, volume: NDArray[np.floating]) -> NDArray[np.floating]:
        """Take the features of one volume on this grid.

        Parameters
        ----------
        volume : ndarray, shape grid.shape

        Returns
        -------
        ndarray, shape (n_features,)
        """
        return volume.T[self.mask.T]

    def image(self, maps: NDArray[np.floating]) -> nib.Nifti1Image:
        """Put maps back into an image; voxels outside the mask are 0.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features) or (n_features,)

        Returns
        -------
        nibabel.Nifti1Image
            float32, 4D for several maps, with units, space codes and scaling set.
        """
        # Laid out as the file will be, so that neither this nor writing transposes anything.
        data = np.zeros(maps.shape[:-1] + self.grid.shape[::-1], dtype=np.float32)
        data[..., self.mask.T] = maps
        return nifti(data.T, self.grid)

    def mask_image(self) -> nib.Nifti1Image:
        """Give the mask itself as an image of uint8."""
        return nifti(self.mask.astype(np.uint8), self.grid)

    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        """Give the centres of some features.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Indices into the features.

        Returns
        -------
        ndarray, shape (n, 3)
            RAS+ coordinates in mm, in the space of the images.
        """
        voxels = np.argwhere(self.mask.T)[features][:, ::-1]
        return np.asarray(apply_affine(self.grid.matrix, voxels), dtype=np.float64)
