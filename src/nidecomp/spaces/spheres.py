"""Where the vertices of one mesh lie on the sphere of another: both are registered to fsaverage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from nidecomp.core.linalg import blocks

# FreeSurfer's, in mm.
RADIUS = 100.0
# How many of the nearest triangles are tried, until one of them has the place.
_CANDIDATES = (6, 30, 150)
# In barycentric weights: a place on an edge is in both triangles, whatever is rounded.
_ON_EDGE = 1e-6
_PLACES_AT_ONCE = 4096


def nearest(sphere: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the vertex that is nearest to each place on a sphere.

    Parameters
    ----------
    sphere : ndarray, shape (n_vertices, 3)
    places : ndarray, shape (n_places, 3)
        On the same sphere.

    Returns
    -------
    ndarray of int, shape (n_places,)
        Of the vertices at the same distance, any, but always the same one.
    """
    return np.asarray(KDTree(_unit(sphere)).query(_unit(places))[1], dtype=np.intp)


def barycentric(
    sphere: NDArray[np.floating], faces: NDArray[np.int32], places: NDArray[np.floating]
) -> csr_array:
    """Return the matrix that interpolates values at vertices linearly within triangles.

    Parameters
    ----------
    sphere : ndarray, shape (n_vertices, 3)
    faces : ndarray of int32, shape (n_faces, 3)
        Counter-clockwise seen from outside.
    places : ndarray, shape (n_places, 3)
        On the same sphere.

    Returns
    -------
    csr_array of float64, shape (n_places, n_vertices)
        Rows sum to 1; each has the three corners of the triangle that the line from the centre
        through the place meets.
    """
    corners = _unit(sphere)[faces]
    # Six times the volumes of the tetrahedra of the centre, two corners and a place are products
    # with these; their shares are the weights of the third corner.
    opposite = np.stack(
        [np.cross(corners[:, (at + 1) % 3], corners[:, (at + 2) % 3]) for at in range(3)], axis=1
    )
    tree = KDTree(_unit(corners.sum(axis=1)))
    unit = _unit(places)
    face = np.empty(len(unit), dtype=np.intp)
    weights = np.empty((len(unit), 3))
    for block in blocks(len(unit), _PLACES_AT_ONCE):
        face[block], weights[block] = _met(unit[block], tree, opposite)
    weights = np.maximum(weights, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(unit)), 3)
    shape = (len(unit), len(sphere))
    return csr_array((weights.ravel(), (rows, faces[face].ravel())), shape=shape)


def _met(
    places: NDArray[np.float64], tree: KDTree, opposite: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the triangle of each place, and the weights of its corners."""
    face = np.zeros(len(places), dtype=np.intp)
    weights = np.full((len(places), 3), -np.inf)
    for n_candidates in _CANDIDATES:
        left = np.flatnonzero(weights.min(axis=1) < -_ON_EDGE)
        if not left.size:
            break
        _, near = tree.query(places[left], k=min(n_candidates, tree.n))
        shares = np.einsum("nkij,nj->nki", opposite[near], places[left])
        total = shares.sum(axis=2, keepdims=True)
        # Behind the centre, the line meets triangles too.
        shares = np.where(total > 0, shares / np.where(total > 0, total, 1), -np.inf)
        best = shares.min(axis=2).argmax(axis=1)
        face[left] = near[np.arange(len(left)), best]
        weights[left] = shares[np.arange(len(left)), best]
    return face, weights


def on_sphere(places: NDArray[np.floating], radius: float = RADIUS) -> NDArray[np.float64]:
    """Return places moved along the line from the centre to the sphere, shape (n, 3)."""
    places = np.asarray(places, dtype=np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", places, places))
    return np.asarray(places * (radius / lengths)[:, None])


def _unit(places: NDArray[np.floating]) -> NDArray[np.float64]:
    return on_sphere(places, 1.0)
