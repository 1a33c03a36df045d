"""The sparsity penalty of dictionary learning at which maps cover a given share of the voxels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.text import count, verb
from nidecomp.decomposition.dictlearning import learn_dictionary, with_unit_norm
from nidecomp.decomposition.sparse_coding import encode

_LOG = logging.getLogger(__name__)

# The search is described in docs/decisions/0009-dictionary-learning.md. It usually takes four to
# nine fits. It measures the support on at most this many voxels.
_VOXELS_OF_SEARCH = 20_000
# It learns a dictionary at most this many times.
_MAX_EVALUATIONS = 16
# It stops when the support differs from the one asked for by at most this share of it.
_SUPPORT_TOLERANCE = 0.01
# A larger relative difference than this is logged as a warning. A rule of thumb: it is several
# times the usual difference.
_SUPPORT_MISSED = 0.05
# The first step away from the first guess, in log(alpha). Each further step is twice as long; after
# six of them (a factor of e²⁵) the search gives up.
_FIRST_STRETCH = 0.4
_MAX_STRETCHES = 6


def alpha_for_support(
    rows: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    *,
    support: float,
    batch_size: int,
    n_epochs: int,
    seed: int,
    n_threads: int = 1,
) -> float:
    """Return the penalty at which maps cover a given share of the voxels on average.

    A penalty is in the units of the rows: the more runs and volumes there are, the weaker it is.
    The support of the maps has the same meaning for all data. The penalty for a support is
    proportional to the values of the data and to the square root of the number of runs.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
        As for `dictlearning.fit_dictlearning`.
    dictionary : ndarray, shape (n_components, n_rows)
        The first dictionary, as `dictlearning.first_dictionary` returns it.
    support : float
        The share of voxels in which a map is not 0, mean over maps; between 0 and 1.
    batch_size, n_epochs, seed, n_threads : int
        As for `dictlearning.fit_dictlearning`.

    Returns
    -------
    float
        The penalty. Where none gives that support, it is the one that comes nearest, and a warning
        is logged.

    Notes
    -----
    Each of the search's evaluations (about five, at most 16) learns as `fit_dictlearning` does
    with that penalty, then codes at most 20,000 evenly spaced voxels, whose support is that of all
    voxels to about one per cent. Learning from these voxels alone would not be faster, because
    learning ends after some thousand batches in any case, and its result would differ (by up to a
    fifth in the support).
    """
    samples = np.ascontiguousarray(rows.T, dtype=np.float32)
    coded = samples[evenly_spaced(len(samples), _VOXELS_OF_SEARCH)]

    def support_at(alpha: float) -> float:
        learner, _ = learn_dictionary(
            samples, dictionary, alpha=alpha, batch_size=batch_size, n_epochs=n_epochs, seed=seed
        )
        maps, _ = encode(coded, learner.dictionary, alpha, n_threads)
        return np.count_nonzero(maps) / maps.size

    alpha, reached = _search(support_at, _first_guess(coded, dictionary, support), support)
    if abs(reached / support - 1) > _SUPPORT_MISSED:
        _LOG.warning(
            "Found no sparsity penalty with which %s %s %.3g of the voxels on average "
            "(--map-support); the nearest is %.3g, with a penalty of %.4g",
            count(len(dictionary), "map"),
            verb(len(dictionary), "covers", "cover"),
            support,
            reached,
            alpha,
        )
    return alpha


def _first_guess(
    samples: NDArray[np.float32], dictionary: NDArray[np.float64], support: float
) -> float:
    """Return the penalty that would be right if atoms were orthogonal and learning changed none."""
    similar = np.abs(samples.astype(np.float64) @ with_unit_norm(dictionary).T)
    # The quantile is 0 where most voxels are empty. Where all are empty, any penalty will do.
    return float(np.quantile(similar, 1.0 - support)) or float(similar.max()) or 1.0


def _search(
    support_at: Callable[[float], float], guess: float, wanted: float
) -> tuple[float, float]:
    """Return the penalty whose support is nearest to the one wanted, and that support.

    The wanted support is bracketed and approached in log(alpha). The support decreases with alpha
    except for small jumps where learning ends some steps earlier or later. These do not keep the
    bracket from shrinking, and the nearest of all evaluations is returned.

    Parameters
    ----------
    support_at : callable
        Returns the support for an alpha.
    guess : float
        The alpha to start from.
    wanted : float
        The support that is wanted.

    Returns
    -------
    alpha, support : float
    """
    evaluated: list[tuple[float, float]] = []
    # (log(alpha), support) of the bracket's ends, where the support is too large and too small.
    above: tuple[float, float] | None = None
    below: tuple[float, float] | None = None
    position, stretch = np.log(guess), _FIRST_STRETCH
    longest = _FIRST_STRETCH * 2**_MAX_STRETCHES
    while len(evaluated) < _MAX_EVALUATIONS and stretch <= longest:
        support = support_at(float(np.exp(position)))
        evaluated.append((float(np.exp(position)), support))
        if abs(support / wanted - 1) <= _SUPPORT_TOLERANCE:
            break
        if support > wanted:
            above = (position, support)
        else:
            below = (position, support)
        if above and below:
            # Linear interpolation between both ends, but not too near to either.
            share = (above[1] - wanted) / (above[1] - below[1])
            position = above[0] + np.clip(share, 0.1, 0.9) * (below[0] - above[0])
        else:
            position += stretch if above else -stretch
            stretch *= 2
    return min(evaluated, key=lambda point: abs(point[1] - wanted))
