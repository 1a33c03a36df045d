"""Maps of surfaces as nilearn has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.spaces.brain_models import CORTEX
from nidecomp.spaces.grayordinate_maps import read_values
from nidecomp.spaces.meshes import picture_mesh, template_mesh

_SIDES = {"L": "left", "R": "right"}


def surface_image(path: Path, space: str, *, inflated: bool = False) -> Any:
    """Return maps or labels of the cortex as an image of nilearn.

    Parameters
    ----------
    path : Path
        A .dscalar.nii or .dlabel.nii, or the left one of a pair of GIFTI files.
    space : str
        What BIDS calls the space.
    inflated : bool
        Whether the mesh is the inflated one, and not the midthickness surface.

    Returns
    -------
    nilearn.surface.SurfaceImage
        Data of shape (n_vertices, n_maps) for each hemisphere; 0 where there is no value.

    Raises
    ------
    FailedRunError
        The file cannot be read, or there is no mesh of it.
    """
    # Importing it takes long.
    from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage  # noqa: PLC0415

    models, values, _ = read_values(path, space)
    meshes, data = {}, {}
    mesh_of = picture_mesh if inflated else template_mesh
    for hemi in HEMISPHERES:
        for one, part in zip(models.structures, models.slices, strict=True):
            if one.name != CORTEX[hemi] or one.n_vertices is None:
                continue
            mesh = mesh_of(space, one.n_vertices, hemi)
            whole = np.zeros((one.n_vertices, len(values)), dtype=np.float32)
            whole[one.places] = values[:, part].T
            meshes[_SIDES[hemi]] = InMemoryMesh(mesh.coordinates, mesh.faces)
            data[_SIDES[hemi]] = whole
    return SurfaceImage(mesh=PolyMesh(**meshes), data=data)
