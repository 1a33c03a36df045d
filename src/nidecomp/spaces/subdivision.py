"""The meshes of fsaverage, each of which is the one before with every triangle divided into four.

FreeSurfer's icosahedra are nested: the first vertices of a mesh are those of the coarser ones, and
each new vertex lies in the middle of an edge. In which order new vertices and triangles come is
what FreeSurfer's files show: fsaverage5's triangles follow from fsaverage4's, and those from
fsaverage3's, exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Subdivided(NamedTuple):
    """A mesh in which every triangle of another is divided into four.

    Parameters
    ----------
    faces : ndarray of int32, shape (4 n_faces, 3)
    parents : ndarray of int, shape (n_edges, 2)
        The ends of the edge in whose middle each new vertex lies; new vertices follow the old ones.
    """

    faces: NDArray[np.int32]
    parents: NDArray[np.intp]


def subdivide(faces: NDArray[np.int32], n_vertices: int) -> Subdivided:
    """Return the next finer mesh, in FreeSurfer's order.

    Parameters
    ----------
    faces : ndarray of int32, shape (n_faces, 3)
    n_vertices : int
        How many vertices this mesh has.

    Returns
    -------
    Subdivided
    """
    a, b, c = faces.T.astype(np.intp)
    edges = np.stack([np.stack([a, c], 1), np.stack([c, b], 1), np.stack([b, a], 1)], axis=1)
    ends = np.sort(edges, axis=2).reshape(-1, 2)
    _, first, inverse = np.unique(
        ends[:, 0] * n_vertices + ends[:, 1], return_index=True, return_inverse=True
    )
    # A new vertex is numbered when its edge is met for the first time.
    met = np.argsort(first)
    number = np.empty(len(met), dtype=np.intp)
    number[met] = np.arange(n_vertices, n_vertices + len(met))
    ac, cb, ba = number[inverse].reshape(-1, 3).T
    corners = np.stack([a, ba, ac], axis=1)
    others = np.stack([[ac, cb, c], [ba, cb, ac], [ba, b, cb]]).transpose(2, 0, 1).reshape(-1, 3)
    return Subdivided(np.concatenate([corners, others]).astype(np.int32), ends[first[met]])


def coarser(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangles of the mesh that was subdivided into this one.

    Parameters
    ----------
    faces : ndarray of int32, shape (4 n_faces, 3)

    Returns
    -------
    ndarray of int32, shape (n_faces, 3)
    """
    n_faces = len(faces) // 4
    others = faces[n_faces:].reshape(n_faces, 3, 3)
    return np.stack([faces[:n_faces, 0], others[:, 2, 1], others[:, 0, 2]], axis=1)


def in_the_middle(values: NDArray[np.floating], parents: NDArray[np.intp]) -> NDArray[np.floating]:
    """Return values at the vertices of a finer mesh: those of the old ones, and means between.

    Parameters
    ----------
    values : ndarray, shape (n_vertices,) or (n_vertices, n)
    parents : ndarray of int, shape (n_edges, 2)

    Returns
    -------
    ndarray, shape (n_vertices + n_edges,) or (n_vertices + n_edges, n)
    """
    return np.concatenate([values, (values[parents[:, 0]] + values[parents[:, 1]]) / 2])


def gathered(sizes: NDArray[np.floating], parents: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sizes of the vertices of a coarser mesh, which have half of each vertex between.

    Parameters
    ----------
    sizes : ndarray, shape (n_vertices + n_edges,)
    parents : ndarray of int, shape (n_edges, 2)

    Returns
    -------
    ndarray of float64, shape (n_vertices,)
        Their sum is the same.
    """
    n_vertices = len(sizes) - len(parents)
    halves = np.repeat(sizes[n_vertices:] / 2, 2)
    between = np.bincount(parents.ravel(), halves, minlength=n_vertices)
    return np.asarray(sizes[:n_vertices] + between, dtype=np.float64)
