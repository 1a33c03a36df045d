"""Neighbours of vertices on a mesh, and of voxels in a list."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nidecomp.spaces.geodesic import geodesic_graph, mesh_adjacency
from nidecomp.spaces.meshes import Mesh


def touching_vertices(mesh: Mesh, vertices: NDArray[np.integer]) -> csr_array:
    """Return which of some vertices share an edge: bool, (n, n), symmetric, without diagonal."""
    touching = mesh_adjacency(mesh.faces, mesh.n_vertices)
    return csr_array(touching[vertices][:, vertices], dtype=np.bool_)


def touching_voxels(voxels: NDArray[np.integer]) -> csr_array:
    """Return which voxels, (n, 3), share a face: bool, (n, n), symmetric, without diagonal."""
    low = voxels.min(axis=0) - 1
    numbers = np.full(voxels.max(axis=0) - low + 2, -1)
    numbers[tuple((voxels - low).T)] = np.arange(len(voxels))
    rows, columns = [], []
    for axis in range(3):
        beside = voxels - low
        beside[:, axis] += 1
        other = numbers[tuple(beside.T)]
        own = np.flatnonzero(other >= 0)
        rows += [own, other[own]]
        columns += [other[own], own]
    row, column = np.concatenate(rows), np.concatenate(columns)
    shape = (len(voxels), len(voxels))
    return csr_array((np.ones(len(row), dtype=np.bool_), (row, column)), shape=shape)


def distances_of_vertices(mesh: Mesh, vertices: NDArray[np.integer]) -> csr_array:
    """Return the distances in mm of those that are next to each other, or nearly: (n, n)."""
    return csr_array(geodesic_graph(mesh)[vertices][:, vertices])


def distances_of_voxels(voxels: NDArray[np.integer], voxel_mm: NDArray[np.floating]) -> csr_array:
    """Return the distances in mm of those that share a face: (n, n)."""
    touching = touching_voxels(voxels).tocoo()
    apart = (voxels[touching.row] - voxels[touching.col]) * voxel_mm
    lengths = np.sqrt(np.einsum("ij,ij->i", apart, apart))
    return csr_array((lengths, (touching.row, touching.col)), shape=touching.shape)
