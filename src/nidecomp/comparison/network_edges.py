"""Connected sets of edges: the network-based statistic.

Zalesky, Fornito and Bullmore (2010), NeuroImage 53:1197. The size of a set is the number of its
edges. Edges above the threshold, and those below the negative one, form sets of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.compiled import compiled


def largest_networks(
    statistics: NDArray[np.float64], threshold: float, is_compared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the size of the largest set of edges for each transformation.

    Parameters
    ----------
    statistics : ndarray, shape (n, n_compared)
        t or F of the edges that are compared.
    threshold : float
    is_compared : ndarray of bool, shape (n_edges,)
        Which edges they are, in the order of ``numpy.triu_indices(n_nodes, 1)``.

    Returns
    -------
    ndarray, shape (n,)
    """
    first, second = _nodes(is_compared)
    sizes = np.empty(statistics.shape[1])
    largest = np.empty(len(statistics))
    for number, one in enumerate(statistics):
        _fill_sizes(one, threshold, first, second, sizes)
        largest[number] = sizes.max(initial=0.0)
    return largest


def networks_of(
    statistic: NDArray[np.float64], threshold: float, is_compared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the size of the set that each edge belongs to; 0 for none.

    Parameters
    ----------
    statistic : ndarray, shape (n_compared,)
    threshold : float
    is_compared : ndarray of bool, shape (n_edges,)

    Returns
    -------
    ndarray, shape (n_compared,)
    """
    sizes = np.empty(len(statistic))
    _fill_sizes(statistic, threshold, *_nodes(is_compared), sizes)
    return sizes


def _nodes(is_compared: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two components of each edge that is compared."""
    n_nodes = round((1 + (1 + 8 * len(is_compared)) ** 0.5) / 2)
    first, second = np.triu_indices(n_nodes, 1)
    return first[is_compared].astype(np.int64), second[is_compared].astype(np.int64)


@compiled
def _fill_sizes(
    values: NDArray[np.float64],
    threshold: float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    sizes: NDArray[np.float64],
) -> None:
    """Write the number of edges in the set of each edge."""
    n_edges = len(values)
    n_nodes = 0
    for edge in range(n_edges):
        n_nodes = max(n_nodes, second[edge] + 1)
    sizes[:] = 0
    leads_to = np.empty(n_nodes, np.int64)
    n_of_set = np.empty(n_nodes, np.float64)
    for sign in (1.0, -1.0):
        for node in range(n_nodes):
            leads_to[node] = node
        for edge in range(n_edges):
            if sign * values[edge] > threshold:
                one, other = _root(leads_to, first[edge]), _root(leads_to, second[edge])
                leads_to[max(one, other)] = min(one, other)
        n_of_set[:] = 0
        for edge in range(n_edges):
            if sign * values[edge] > threshold:
                n_of_set[_root(leads_to, first[edge])] += 1
        for edge in range(n_edges):
            if sign * values[edge] > threshold:
                sizes[edge] = n_of_set[_root(leads_to, first[edge])]


@compiled
def _root(leads_to: NDArray[np.int64], node: int) -> int:
    while leads_to[node] != node:
        leads_to[node] = leads_to[leads_to[node]]
        node = leads_to[node]
    return node
