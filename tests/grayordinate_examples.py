"""Small spaces and runs of grayordinates: fsaverage3's vertices, and some voxels of 8 mm."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import cifti2
from numpy.typing import NDArray

from nidecomp.core.hemispheres import HEMISPHERES, of_hemisphere
from nidecomp.spaces.brain_models import CORTEX, BrainModels, Structure
from nidecomp.spaces.grayordinate_series import cortex_of
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.meshes import template_mesh

N_VERTICES = 642
SPACE = "fsaverage3"
_GRID = Grid((23, 28, 23), ((-8, 0, 0, 90), (0, 8, 0, -126), (0, 0, 8, -72), (0, 0, 0, 1)))
# Names of structures, their middle in mm, and how many voxels they reach.
_BOXES = {
    "CIFTI_STRUCTURE_CEREBELLUM_LEFT": ((-24, -64, -40), 2),
    "CIFTI_STRUCTURE_THALAMUS_RIGHT": ((14, -20, 8), 1),
}


@cache
def example_models(order: str = "column") -> BrainModels:
    """Cortex without its medial wall, and two structures, whose voxels are in one of two orders."""
    structures = []
    for hemi in HEMISPHERES:
        inside = np.flatnonzero(~template_mesh(SPACE, N_VERTICES, hemi).wall)
        structures.append(Structure(CORTEX[hemi], inside, N_VERTICES))
    for name, (middle, reach) in _BOXES.items():
        centre = np.rint(np.linalg.inv(_GRID.matrix) @ [*middle, 1])[:3].astype(int)
        steps = np.arange(-reach, reach + 1)
        box = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3) + centre
        keys = box.T if order == "column" else box.T[::-1]
        structures.append(Structure(name, box[np.lexsort(keys)], None))
    return BrainModels(tuple(structures), _GRID)


def cifti_space(work_dir: Path | None = None) -> GrayordinateSpace:
    """Nearly all of these grayordinates."""
    models = example_models()
    inside = np.arange(models.n_numbers) % 17 != 3
    return GrayordinateSpace(models, inside, SPACE, "tiny", "cifti", work_dir)


def gifti_space(work_dir: Path | None = None) -> GrayordinateSpace:
    """The vertices of both hemispheres that are no wall."""
    models = cortex_of(N_VERTICES)
    inside = np.concatenate([~template_mesh(SPACE, N_VERTICES, hemi).wall for hemi in HEMISPHERES])
    return GrayordinateSpace(models, inside, SPACE, None, "gifti", work_dir)


def axis_of(models: BrainModels) -> cifti2.BrainModelAxis:
    """nibabel's axis of brain models."""
    axis = None
    for one in models.structures:
        names = [one.name] * len(one.places)
        if one.n_vertices is None:
            own = cifti2.BrainModelAxis(
                names, voxel=one.places, affine=models.grid.matrix, volume_shape=models.grid.shape
            )
        else:
            own = cifti2.BrainModelAxis(
                names, vertex=one.places, nvertices={one.name: one.n_vertices}
            )
        axis = own if axis is None else axis + own
    return axis


def write_dense_series(
    path: Path,
    values: NDArray,
    models: BrainModels,
    *,
    order: str = "column",
    left_out: NDArray | None = None,
    dtype: type = np.float32,
    repetition_time_s: float = 2.0,
) -> None:
    """Write a .dtseries.nii with nibabel; `values` are in the order of `models`."""
    if left_out is not None:
        other = example_models(order)
        places = other.places_in(models)
        kept = ~np.isin(places, left_out)
        values, models = values[:, places[kept]], other.restricted(kept)
    header = cifti2.Cifti2Header.from_axes(
        (cifti2.SeriesAxis(0, repetition_time_s, len(values)), axis_of(models))
    )
    image = nib.Cifti2Image(np.asarray(values, dtype=np.float32), header)
    image.set_data_dtype(dtype)
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    image.to_filename(path)


def write_pair_of_series(left: Path, values: NDArray) -> None:
    """Write two .func.gii with nibabel."""
    for hemi, own in zip(HEMISPHERES, np.split(values, 2, axis=1), strict=True):
        arrays = [
            nib.gifti.GiftiDataArray(
                np.ascontiguousarray(one, dtype=np.float32),
                intent="NIFTI_INTENT_TIME_SERIES",
                datatype="NIFTI_TYPE_FLOAT32",
            )
            for one in own
        ]
        image = nib.GiftiImage(darrays=arrays)
        name = {"L": "CortexLeft", "R": "CortexRight"}[hemi]
        image.meta["AnatomicalStructurePrimary"] = name
        image.to_filename(of_hemisphere(left, hemi))
