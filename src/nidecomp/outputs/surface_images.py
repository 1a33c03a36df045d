"""Maps of surfaces as nilearn has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere
from nidecomp.spaces.brain_models import CORTEX
from nidecomp.spaces.grayordinate_maps import read_values
from nidecomp.spaces.meshes import Mesh, PictureMesh, picture_mesh, template_mesh

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
        Data of shape (n_vertices, n_maps) for each hemisphere; 0 where there is no value. The
        coordinates are those of NiDecomp, also of results with ``--surfaces-dir``.

    Raises
    ------
    UsageError
        The file cannot be read, has no vertices of the cortex, or NiDecomp has no mesh of them.
    """
    # Importing it takes long.
    from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage  # noqa: PLC0415

    try:
        sides = _sides(path, space, picture_mesh if inflated else template_mesh)
    except FailedRunError as error:
        raise UsageError(f"{path.name} cannot be shown on the cortex: {error}.") from None
    if not sides:
        raise UsageError(
            f"{path.name} has voxels alone, and no vertices of the cortex: use maps_img."
        )
    meshes = {side: InMemoryMesh(one.coordinates, one.faces) for side, (one, _) in sides.items()}
    return SurfaceImage(
        mesh=PolyMesh(**meshes), data={side: values for side, (_, values) in sides.items()}
    )


def _sides(
    path: Path, space: str, mesh_of: Callable[[str, int, Hemisphere], Mesh | PictureMesh]
) -> dict[str, tuple[Mesh | PictureMesh, NDArray[np.float32]]]:
    """Return the mesh and the maps, (n_vertices, n_maps), of each hemisphere that is there."""
    models, values, _ = read_values(path, space)
    sides = {}
    for hemi in HEMISPHERES:
        for one, part in zip(models.structures, models.slices, strict=True):
            if one.name != CORTEX[hemi] or one.n_vertices is None:
                continue
            whole = np.zeros((one.n_vertices, len(values)), dtype=np.float32)
            whole[one.places] = values[:, part].T
            sides[_SIDES[hemi]] = mesh_of(space, one.n_vertices, hemi), whole
    return sides
