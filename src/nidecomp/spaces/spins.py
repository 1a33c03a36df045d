"""Maps on the cortex that are turned at random: as smooth as before, and otherwise unrelated.

This is the spin test (Alexander-Bloch et al. 2018, NeuroImage 178:540-551,
doi:10.1016/j.neuroimage.2018.05.070): values keep their neighbours, and thereby their smoothness,
which no shuffling does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.spaces.meshes import Mesh
from nidecomp.spaces.spheres import nearest

_MIRROR = np.diag([-1.0, 1.0, 1.0])
# fsaverage's right sphere is not the mirrored left one, but turned by 17 degrees more: with this,
# vertices of fs_LR, which are the same places of both hemispheres, are 1.9 mm apart in the median,
# and 25 mm without.
_TURN = np.array([[0.9596, -0.1719, -0.2226], [0.1893, 0.9801, 0.0593], [0.2079, -0.0990, 0.9731]])
_TO_LEFT = _MIRROR @ _TURN


def spun(
    maps: NDArray[np.floating],
    mesh: Mesh,
    vertices: NDArray[np.intp],
    seed: int,
    *,
    mirrored: bool,
) -> NDArray[np.float32]:
    """Return maps after a random rotation of the sphere.

    Parameters
    ----------
    maps : ndarray, shape (n_maps, n)
    mesh : Mesh
        Of one hemisphere.
    vertices : ndarray of int, shape (n,)
        Those of the mesh that the values are at.
    seed : int
        The same rotation for the same seed.
    mirrored : bool
        For the right hemisphere: what is at the same places of both hemispheres stays so.

    Returns
    -------
    ndarray of float32, shape (n_maps, n)
        At each vertex the value of the nearest one of the turned sphere; 0 where that has none, on
        the turned medial wall.
    """
    rotation = random_rotation(seed)
    if mirrored:
        rotation = _TO_LEFT.T @ rotation @ _TO_LEFT
    number = np.full(mesh.n_vertices, len(vertices))
    number[vertices] = np.arange(len(vertices))
    found = number[nearest(mesh.sphere, mesh.sphere[vertices] @ rotation)]
    padded = np.zeros((len(maps), len(vertices) + 1), dtype=np.float32)
    padded[:, :-1] = maps
    return padded[:, found]


def random_rotation(seed: int) -> NDArray[np.float64]:
    """Return a rotation of which all are equally likely.

    Parameters
    ----------
    seed : int

    Returns
    -------
    ndarray of float64, shape (3, 3)
        That of a random unit quaternion (Shoemake 1992, Graphics Gems III:124-132).
    """
    quaternion = np.random.default_rng(seed).standard_normal(4)
    w, x, y, z = quaternion / np.sqrt(np.sum(quaternion**2))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
