"""Files of maps and labels of grayordinates: what they contain, and their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES, files_of, of_hemisphere
from nidecomp.spaces.brain_models import BrainModels
from nidecomp.spaces.cifti import open_cifti
from nidecomp.spaces.contract import MapKind
from nidecomp.spaces.gifti import data_arrays, read_head
from nidecomp.spaces.grayordinate_series import cortex_of, kind_of


def describe_maps(path: Path) -> tuple[MapKind, int]:
    """Return what a file contains: see `contract.FeatureSpace.describe_maps`."""
    if kind_of(path) == "cifti":
        file = open_cifti(path)
        return ("labels", 1) if file.is_labels else ("maps", file.n_maps)
    head = read_head(path)
    return ("labels", 1) if head.is_labels else ("maps", head.n_arrays)


def read_values(path: Path) -> tuple[BrainModels, NDArray[np.float32]]:
    """Return the values of a file of maps or labels, and where they lie.

    Parameters
    ----------
    path : Path
        A CIFTI-2 file, or the left one of a pair of GIFTI files.

    Returns
    -------
    models : BrainModels
    values : ndarray of float32, shape (n_maps, models.n_numbers)

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    if kind_of(path) == "cifti":
        file = open_cifti(path)
        return file.models, np.ascontiguousarray(file.values(slice(None)).T)
    if len(files_of(path)) == 1:
        raise FailedRunError(f"{path.name} is not the left file of a pair (hemi-L)")
    sides = [
        np.stack([one.values for one in data_arrays(of_hemisphere(path, hemi))])
        for hemi in HEMISPHERES
    ]
    if sides[0].shape != sides[1].shape or sides[0].ndim != 2:
        raise FailedRunError(
            f"{path.name} and the right hemisphere have different numbers of values"
        )
    models = cortex_of(sides[0].shape[1])
    return models, np.concatenate(sides, axis=1).astype(np.float32)
