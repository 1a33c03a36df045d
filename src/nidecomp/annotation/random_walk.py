"""Random walks: which of several seeds a feature of a map belongs to.

A walker starts at a feature and steps to its neighbours, rather to those with a similar value of
the map. The feature belongs to the seed that it is most likely to reach first (Grady 2006,
doi:10.1109/TPAMI.2006.233), as in `nilearn.regions.RegionExtractor`. nilearn walks on the whole
grid of an image; here the graph has the features of the map only, so that it need not be a grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from nidecomp.core.compiled import compiled

# nilearn's parameters: how much differences between values count, and what a step at least has.
_BETA = 130.0 / 10
_LEAST_WEIGHT = 1e-10
# With this, 0.03 % of the voxels of simulated maps belong to another seed than with nilearn.
_TOLERANCE = 1e-4
_MOST_ITERATIONS = 10_000


def walk_to_seeds(
    values: NDArray[np.floating], seeds: NDArray[np.integer], graph: csr_array, spread: float
) -> NDArray[np.integer]:
    """Return the seed that a random walk from each feature is most likely to reach first.

    Parameters
    ----------
    values : ndarray, shape (n,)
        The map's values at connected features.
    seeds : ndarray of int, shape (n,)
        Numbers above 0 where seeds are, 0 elsewhere; at least one seed.
    graph : csr_array, shape (n, n)
        The neighbours of each of the features, symmetric.
    spread : float
        Standard deviation of the values of the whole map, above 0. Values that differ by much more
        are rarely stepped between.

    Returns
    -------
    ndarray of int, shape (n,)
        Seeds keep their number. Of several equally likely seeds, the lowest number.
    """
    numbers = np.unique(seeds[seeds > 0])
    free, seeded = np.flatnonzero(seeds == 0), np.flatnonzero(seeds)
    if len(numbers) == 1 or not len(free):
        return np.where(seeds > 0, seeds, numbers[0])
    weights = _step_weights(values.astype(np.float64), graph, spread)
    degrees = weights.sum(axis=1)[free]
    steps = weights[free]
    # A walk reaches one of the seeds, so that the probabilities of all but the last give the last.
    seed_of = (seeds[seeded, None] == numbers[:-1]).astype(np.float64)
    # Scaled to a diagonal of 1, with which conjugate gradients converge in half of the iterations.
    scale = 1 / np.sqrt(degrees)
    among = csr_array(diags_array(scale) @ steps[:, free] @ diags_array(scale))
    towards = scale[:, None] * (steps[:, seeded] @ seed_of)
    likely = scale[:, None] * _solve(among, towards)
    likely = np.column_stack([likely, 1 - likely.sum(axis=1)])
    reached = seeds.copy()
    reached[free] = numbers[likely.argmax(axis=1)]
    return reached


def _step_weights(values: NDArray[np.float64], graph: csr_array, spread: float) -> csr_array:
    """Return the weights of the steps between neighbours, larger for more similar values."""
    edges = graph.tocoo()
    differences = values[edges.row] - values[edges.col]
    weights = np.exp(-_BETA / spread * differences**2) + _LEAST_WEIGHT
    return csr_array((weights, (edges.row, edges.col)), shape=graph.shape)


def _solve(weights: csr_array, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``(I - weights) X = right`` for all columns at once, by conjugate gradients."""
    found, rest, direction = np.zeros_like(right), right.copy(), right.copy()
    image = np.empty_like(right)
    squared = (rest**2).sum(axis=0)
    limits = _TOLERANCE**2 * squared
    for _ in range(_MOST_ITERATIONS):
        # Columns that have converged stay as they are.
        is_moving = squared > limits
        if not is_moving.any():
            break
        along = _step_from(weights.indptr, weights.indices, weights.data, direction, image)
        lengths = np.divide(squared, along, out=np.zeros_like(squared), where=is_moving)
        squared = _advance(lengths, direction, image, found, rest, squared)
    return found


@compiled
def _step_from(
    starts: NDArray[np.int32],
    indices: NDArray[np.int32],
    weights: NDArray[np.float64],
    direction: NDArray[np.float64],
    image: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Write ``(I - weights) direction`` to `image`; return the inner products of both."""
    n, n_columns = direction.shape
    along = np.zeros(n_columns)
    for row in range(n):
        for column in range(n_columns):
            image[row, column] = direction[row, column]
        for entry in range(starts[row], starts[row + 1]):
            weight, other = weights[entry], indices[entry]
            for column in range(n_columns):
                image[row, column] -= weight * direction[other, column]
        for column in range(n_columns):
            along[column] += direction[row, column] * image[row, column]
    return along


@compiled
def _advance(
    lengths: NDArray[np.float64],
    direction: NDArray[np.float64],
    image: NDArray[np.float64],
    found: NDArray[np.float64],
    rest: NDArray[np.float64],
    squared: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Go along the directions and turn; return the squared norms of what is left of each column."""
    n, n_columns = direction.shape
    left = np.zeros(n_columns)
    for row in range(n):
        for column in range(n_columns):
            found[row, column] += lengths[column] * direction[row, column]
            rest[row, column] -= lengths[column] * image[row, column]
            left[column] += rest[row, column] ** 2
    turns = np.zeros(n_columns)
    for column in range(n_columns):
        # Nothing leads to a seed whose neighbours are seeds, too.
        if squared[column] > 0:
            turns[column] = left[column] / squared[column]
    for row in range(n):
        for column in range(n_columns):
            direction[row, column] = rest[row, column] + turns[column] * direction[row, column]
    return left
