"""Local maxima along surfaces and within structures, around which regions lie."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from grayordinate_examples import cifti_space
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra

from nidecomp.spaces.geodesic import geodesic_graph, surface_kernel
from nidecomp.spaces.meshes import template_mesh
from nidecomp.spaces.neighbours import distances_of_voxels
from nidecomp.spaces.seeds import local_maxima, local_maxima_of_graph

few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


@cache
def _around():
    """A mesh, its distances, what is within 20 mm or a neighbour, and smoothing."""
    mesh = template_mesh("fsaverage3", 642, "L")
    graph = geodesic_graph(mesh)
    is_near = (dijkstra(graph, limit=20) <= 20) | (graph.toarray() > 0)
    return mesh, graph, is_near, surface_kernel(mesh, np.arange(642), 15.0)


@few
@given(st.integers(0, 2**32 - 1))
def test_a_maximum_is_the_largest_value_within_20_mm_along_the_surface(seed) -> None:
    mesh, graph, is_near, kernel = _around()
    noise = np.random.default_rng(seed).standard_normal(642)
    values = np.maximum(kernel @ noise, 0)
    seeds = local_maxima_of_graph(values, graph, mesh.coordinates)
    highest = np.where(is_near, values, 0).max(axis=1)
    expected = (values == highest) & (values > 0.1 * values.max())
    np.testing.assert_array_equal(seeds > 0, expected)
    # Numbered from below, whatever the order of the vertices.
    heights = [mesh.coordinates[seeds == number, 2].item() for number in range(1, seeds.max() + 1)]
    assert heights == sorted(heights)
    order = np.random.default_rng(seed).permutation(642)
    again = local_maxima_of_graph(values[order], graph[order][:, order], mesh.coordinates[order])
    np.testing.assert_array_equal(again, seeds[order])


def test_of_a_plateau_all_is_one_maximum() -> None:
    mesh = template_mesh("fsaverage3", 642, "L")
    graph = geodesic_graph(mesh)
    near = dijkstra(graph, indices=[30, 400])
    values = np.where((near < 14).any(axis=0), 1.0, 0.0)
    seeds = local_maxima_of_graph(values, graph, mesh.coordinates)
    np.testing.assert_array_equal(seeds > 0, values > 0)
    assert set(seeds[near[0] < 14]) | set(seeds[near[1] < 14]) == {1, 2}
    assert len(set(seeds[near[0] < 14])) == 1


def test_in_a_box_of_voxels_maxima_are_nearly_those_of_volumes() -> None:
    """Distances go along the axes, where nilearn's window is a box: what lies in it is near."""
    shape = (30, 24, 20)
    voxels = np.indices(shape).reshape(3, -1).T
    places = 2.0 * voxels
    values = np.zeros(shape, dtype=np.float32)
    for middle, height in (((6, 6, 6), 1.0), ((23, 17, 13), 0.8), ((9, 6, 6), 0.5)):
        far = np.linalg.norm(voxels - middle, axis=1).reshape(shape)
        values = np.maximum(values, height * np.exp(-((far / 3) ** 2))).astype(np.float32)
    lengths = distances_of_voxels(voxels, np.array([2.0, 2.0, 2.0]))
    seeds = local_maxima_of_graph(values.ravel(), lengths, places)
    expected = local_maxima(values, np.array([2.0, 2.0, 2.0]))
    assert seeds.max() == expected.max() == 2
    np.testing.assert_array_equal(np.flatnonzero(seeds), np.flatnonzero(expected))


def test_seeds_of_grayordinates_lie_in_the_map_and_in_one_structure_each() -> None:
    space = cifti_space()
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(space.n_features).astype(np.float32)
    values = np.maximum(space.kernel(20.0) @ noise, 0)
    values[rng.random(space.n_features) < 0.1] = 0
    seeds = space.region_seeds(values.astype(np.float32))
    assert seeds.max() > 4
    assert not seeds[values == 0].any()
    structure = np.zeros(space.n_features)
    for number, part in enumerate(space._parts):
        structure[part.features] = number
    for number in np.unique(seeds[seeds > 0]):
        assert len(set(structure[seeds == number])) == 1
    assert len(set(structure[seeds > 0])) > 2
    assert space.region_seeds(values.astype(np.float32)) == pytest.approx(seeds)
