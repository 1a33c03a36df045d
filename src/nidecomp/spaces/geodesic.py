"""Gaussian smoothing along the surface of the cortex, as a matrix.

This is the method GEO_GAUSS_AREA of Connectome Workbench (``wb_command -cifti-smoothing`` and
``-metric-smoothing``), whose results the matrix gives: each vertex spreads its value over the
vertices around it, by a Gaussian of their distance along the surface and by their areas, and by its
own area. Vertices without data take nothing away: what arrives at a vertex is divided by the
weights that arrived. Only where two vertices are as far from each other as the Gaussian reaches, to
one millionth, can the results differ: by a weight of up to 0.011 of the largest, since Workbench
adds distances up in 32 bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from nidecomp.core.compiled import compiled
from nidecomp.core.linalg import blocks
from nidecomp.spaces.meshes import Mesh
from nidecomp.spaces.surface_files import vertex_areas

FWHM_OF_SIGMA = float(np.sqrt(8 * np.log(2)))
# Of the Gaussian, as in Workbench: weights beyond are below 0.011 of the largest.
TRUNCATE = 3.0
# As in Workbench, too: no more vertices than most have neighbours.
FEW_NEIGHBOURS = 6
_SOURCES_AT_ONCE = 4096
_LARGEST_INT32 = np.iinfo(np.int32).max


def surface_kernel(mesh: Mesh, vertices: NDArray[np.intp], fwhm_mm: float) -> csr_array:
    """Return the matrix that smooths values at some vertices of a mesh.

    Parameters
    ----------
    mesh : Mesh
    vertices : ndarray of int, shape (n,)
        Those with data, ascending.
    fwhm_mm : float
        The full width at half maximum of the Gaussian, above 0.

    Returns
    -------
    csr_array of float32, shape (n, n)
        Its rows sum to 1. The same on each call, whatever the number of processes.
    """
    sigma = fwhm_mm / FWHM_OF_SIGMA
    graph, edges = geodesic_graph(mesh), mesh_adjacency(mesh.faces, mesh.n_vertices)
    number = np.full(mesh.n_vertices, -1, dtype=np.int32)
    number[vertices] = np.arange(len(vertices), dtype=np.int32)
    parts = [
        spread(
            vertices[block].astype(np.int64),
            number,
            (graph.indptr.astype(np.int64), graph.indices.astype(np.int64), graph.data),
            (edges.indptr.astype(np.int64), edges.indices.astype(np.int64)),
            mesh.areas.astype(np.float64),
            sigma,
        )
        for block in blocks(len(vertices), _SOURCES_AT_ONCE)
    ]
    counts, rows, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    del parts  # as large as the matrix, which is large for fine meshes
    starts = np.append(0, np.cumsum(counts))
    # SciPy makes all indices as large as the largest kind.
    starts = starts.astype(np.int32 if starts[-1] < _LARGEST_INT32 else np.int64)
    kernel = csc_array((weights, rows, starts), shape=(len(vertices), len(vertices)))
    return with_rows_of_1(kernel.tocsr())


def with_rows_of_1(kernel: csr_array) -> csr_array:
    """Return a matrix of float32 with each row, none of which is empty, divided by its sum."""
    arrived = np.add.reduceat(kernel.data, kernel.indptr[:-1], dtype=np.float64)
    kernel.data /= np.repeat(arrived.astype(np.float32), np.diff(kernel.indptr))
    return kernel


def block_diagonal(blocks: Sequence[csr_array]) -> csr_array:
    """Return square matrices along the diagonal of one.

    SciPy's `block_diag` needs three times the memory on the way.
    """
    sizes = [block.shape[0] for block in blocks]
    firsts = np.cumsum([0, *sizes[:-1]])
    ends = np.cumsum([0, *(block.nnz for block in blocks)])
    indices = np.empty(ends[-1], dtype=np.int32)
    pointers = np.zeros(sum(sizes) + 1, dtype=np.int32 if ends[-1] < _LARGEST_INT32 else np.int64)
    for block, first, start, end in zip(blocks, firsts, ends[:-1], ends[1:], strict=True):
        np.add(block.indices, first, out=indices[start:end], casting="same_kind")
        pointers[first + 1 : first + 1 + block.shape[0]] = block.indptr[1:] + start
    data = np.concatenate([block.data for block in blocks])
    return csr_array((data, indices, pointers), shape=(sum(sizes), sum(sizes)))


def mesh_adjacency(faces: NDArray[np.int32], n_vertices: int) -> csr_array:
    """Return which vertices share an edge: bool, (n_vertices, n_vertices), symmetric.

    Parameters
    ----------
    faces : ndarray of int32, shape (n_faces, 3)
    n_vertices : int
    """
    ends = np.concatenate([faces, np.roll(faces, -1, axis=1)]).ravel()
    others = np.concatenate([np.roll(faces, -1, axis=1), faces]).ravel()
    touch = np.ones(len(ends), dtype=np.bool_)
    return csr_array((touch, (ends, others)), shape=(n_vertices, n_vertices))


def geodesic_graph(mesh: Mesh) -> csr_array:
    """Return the distances between vertices that are next to each other, or nearly.

    These are the lengths of edges, and of the straight lines that join the far corners of two
    triangles, laid flat, across the edge that they share: paths along edges alone would be too
    long. Where the areas of vertices are other than those of the triangles, a line is as many times
    longer as the roots of the areas at its ends say.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    csr_array of float64, shape (n_vertices, n_vertices)
        Symmetric, in mm.
    """
    places, n_vertices = mesh.coordinates, mesh.n_vertices
    sides = np.concatenate([np.roll(mesh.faces, -turn, axis=1) for turn in range(3)])
    ends, opposite = np.sort(sides[:, :2], axis=1).astype(np.int64), sides[:, 2].astype(np.int64)
    keys = ends[:, 0] * n_vertices + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    edges, first, count = np.unique(keys[order], return_index=True, return_counts=True)
    start, end = edges // n_vertices, edges % n_vertices
    shared = count == 2
    far = opposite[order][first[shared, None] + np.arange(2)]
    across, crosses = _across(*(places[at] for at in (start[shared], end[shared], *far.T)))
    lines = np.concatenate([np.stack([start, end], axis=1), np.sort(far[crosses], axis=1)])
    lengths = np.concatenate([_length(places[start] - places[end]), across[crosses]])
    # The shorter one, where an edge and a line across join the same two.
    order = np.lexsort((lengths, lines[:, 1], lines[:, 0]))
    lines, lengths = lines[order], lengths[order]
    new = np.append(True, np.any(lines[1:] != lines[:-1], axis=1))
    (one, other), lengths = lines[new].T, lengths[new]
    now = np.sqrt(vertex_areas(places, mesh.faces))
    then = np.sqrt(mesh.areas)
    lengths = lengths * (then[one] + then[other]) / (now[one] + now[other])
    both = (np.append(one, other), np.append(other, one))
    return csr_array((np.append(lengths, lengths), both), shape=(n_vertices, n_vertices))


def _across(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    one: NDArray[np.float64],
    other: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the lengths of lines over an edge, and whether they meet it.

    `one` and `other` are the far corners of the two triangles at the edge from `start` to `end`,
    which are turned around it into one plane. All have shape (n_edges, 3).
    """
    edge = end - start
    length = _length(edge)
    along = edge / length[:, None]

    def flat(corner: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        towards = corner - start
        x = np.einsum("ij,ij->i", towards, along)
        return x, _length(towards - x[:, None] * along)

    (x_one, y_one), (x_other, y_other) = flat(one), flat(other)
    height = np.maximum(y_one + y_other, np.finfo(np.float64).tiny)
    meets = x_one + (x_other - x_one) * y_one / height
    lengths = np.hypot(x_one - x_other, y_one + y_other)
    return lengths, (meets > 0) & (meets < length)


def _length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))


@compiled
def reach(
    source: int,
    limit: float,
    graph: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    distance: NDArray[np.float64],
    reached: NDArray[np.int64],
) -> int:
    """Return how many vertices are within a distance, by Dijkstra's algorithm.

    Parameters
    ----------
    source : int
    limit : float
    graph : tuple
        ``indptr``, ``indices`` and ``data`` of the matrix of distances.
    distance : ndarray of float64, shape (n_vertices,)
        Infinite on the call; has the distances of the vertices that are reached afterwards.
    reached : ndarray of int64, shape (n_vertices,)
        Its first numbers are these vertices afterwards, in the order in which they are met.
    """
    indptr, indices, lengths = graph
    reached[0] = source
    distance[source] = 0.0
    n_reached = 1
    queue = [(0.0, source)]
    while len(queue) > 0:
        so_far, vertex = heapq.heappop(queue)
        if so_far > distance[vertex]:
            continue
        for edge in range(indptr[vertex], indptr[vertex + 1]):
            other = indices[edge]
            there = so_far + lengths[edge]
            if there <= limit and there < distance[other]:
                if distance[other] == np.inf:
                    reached[n_reached] = other
                    n_reached += 1
                distance[other] = there
                heapq.heappush(queue, (there, other))
    return n_reached


@compiled
def spread(
    sources: NDArray[np.int64],
    number: NDArray[np.int32],
    graph: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    neighbours: tuple[NDArray[np.int64], NDArray[np.int64]],
    areas: NDArray[np.float64],
    sigma: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return what each of some vertices gives to those around it.

    Parameters
    ----------
    sources : ndarray of int64, shape (n_sources,)
    number : ndarray of int32, shape (n_vertices,)
        The row of each vertex, -1 of those without data: they take their share, which is lost.
    graph : tuple
        ``indptr``, ``indices`` and ``data`` of the matrix of distances.
    neighbours : tuple
        ``indptr`` and ``indices`` of the matrix of edges.
    areas : ndarray of float64, shape (n_vertices,)
    sigma : float

    Returns
    -------
    counts : ndarray of int64, shape (n_sources,)
        How many weights each source has.
    rows : ndarray of int32, shape (sum of counts,)
    weights : ndarray of float32, of the same shape
    """
    n_vertices = len(areas)
    limit = TRUNCATE * sigma
    steepness = -0.5 / (sigma * sigma)
    counts = np.zeros(len(sources), np.int64)
    rows = np.empty(64 * len(sources), np.int32)
    weights = np.empty(64 * len(sources), np.float32)
    distance = np.full(n_vertices, np.inf)
    reached = np.empty(n_vertices, np.int64)
    around = np.empty(n_vertices, np.int64)
    gauss = np.empty(n_vertices)
    n_written = 0
    for at in range(len(sources)):
        source = sources[at]
        n_reached = reach(source, limit, graph, distance, reached)
        n_around = n_reached
        around[:n_reached] = reached[:n_reached]
        first, last = neighbours[0][source], neighbours[0][source + 1]
        if n_reached <= min(last - first, FEW_NEIGHBOURS):
            # A Gaussian that reaches hardly anything has the neighbours, however far they are.
            distance[reached[:n_reached]] = np.inf
            n_around = last - first + 1
            # No farther than by the longest of the lines from here, an edge among them.
            farthest = graph[2][graph[0][source] : graph[0][source + 1]].max()
            n_reached = reach(source, farthest, graph, distance, reached)
            around[0] = source
            around[1:n_around] = neighbours[1][first:last]
        total = 0.0
        for step in range(n_around):
            vertex = around[step]
            gauss[step] = np.exp(distance[vertex] * distance[vertex] * steepness) * areas[vertex]
            total += gauss[step]
        if n_written + n_around > len(rows):
            rows = np.concatenate((rows, np.empty(len(rows) + n_around, np.int32)))
            weights = np.concatenate((weights, np.empty(len(weights) + n_around, np.float32)))
        for step in range(n_around):
            row = number[around[step]]
            if row >= 0:
                rows[n_written] = row
                weights[n_written] = gauss[step] * areas[source] / total
                n_written += 1
                counts[at] += 1
        distance[reached[:n_reached]] = np.inf
    return counts, rows[:n_written], weights[:n_written]
