"""The sparsity penalty of dictionary learning at which maps cover a given share of the voxels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced
from nidecomp.decomposition.dictlearning import learn_dictionary, with_unit_norm
from nidecomp.decomposition.sparse_coding import encode

_LOG = logging.getLogger(__name__)

# docs/decisions/0009-dictionary-learning.md tells how the search goes, four to nine fits as a rule.
# It looks at the codes of this many voxels at most,
_VOXELS_OF_SEARCH = 20_000
# learns this many times at most,
_MAX_EVALUATIONS = 16
# and is content with a support that is off by this share of what was asked for.
_SUPPORT_TOLERANCE = 0.01
# The miss that is worth a warning: a rule of thumb, several times what is met otherwise.
_SUPPORT_MISSED = 0.05
# The first step away from the first guess, in log(alpha); each further one is twice as long, and
# after six of them (a factor of e²⁵) the support asked for is out of reach.
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
    """Find the penalty at which maps cover a given share of the voxels.

    A penalty in the units of the rows means less the more runs and volumes there are; the support
    of the maps means the same. Values twice as large have twice the penalty, and so have four times
    the runs.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
    dictionary : ndarray, shape (n_components, n_rows)
        The first one, of `first_dictionary`.
    support : float
        The share of voxels in which a map is not 0, on average over maps; between 0 and 1.
    batch_size, n_epochs, seed, n_threads : int
        As in `dictlearning.fit_dictlearning`.

    Returns
    -------
    float
        Where no penalty gives that support, the one with the nearest; a warning is logged.

    Notes
    -----
    Each step of the search, about five of them and 16 at most, learns as `fit_dictlearning` would
    at that penalty, then codes 20,000 evenly spaced voxels at most: they tell the support of all
    to about one per cent. Learning from them alone would be no faster, for it ends after some
    thousand batches in any case, and would end elsewhere (the support then missed by up to a
    fifth).
    """
    samples = np.ascontiguousarray(rows.T, dtype=np.float32)
    looked_at = samples[evenly_spaced(len(samples), _VOXELS_OF_SEARCH)]

    def support_at(alpha: float) -> float:
        learner, _ = learn_dictionary(
            samples, dictionary, alpha=alpha, batch_size=batch_size, n_epochs=n_epochs, seed=seed
        )
        maps, _ = encode(looked_at, learner.dictionary, alpha, n_threads)
        return np.count_nonzero(maps) / maps.size

    alpha, found = _search(support_at, _first_guess(looked_at, dictionary, support), support)
    if abs(found / support - 1) > _SUPPORT_MISSED:
        _LOG.warning(
            "No sparsity penalty was found at which %d maps cover %.3g of the voxels on average; "
            "the nearest is %.3g, at a penalty of %.4g",
            len(dictionary),
            support,
            found,
            alpha,
        )
    return alpha


def _first_guess(
    samples: NDArray[np.float32], dictionary: NDArray[np.float64], support: float
) -> float:
    """Give the penalty that would be right if atoms were orthogonal and learning changed none."""
    similar = np.abs(samples.astype(np.float64) @ with_unit_norm(dictionary).T)
    # Where most voxels are empty the quantile is 0; where all are, any penalty is as good.
    return float(np.quantile(similar, 1.0 - support)) or float(similar.max()) or 1.0


def _search(
    support_at: Callable[[float], float], guess: float, wanted: float
) -> tuple[float, float]:
    """Bracket the wanted support and close in on it, in log(alpha).

    Support falls with alpha, but for small jumps where learning ends some steps earlier or later:
    the bracket shrinks all the same, and the nearest of all that was seen is taken.

    Parameters
    ----------
    support_at : callable
        From alpha to the support.
    guess : float
    wanted : float

    Returns
    -------
    alpha, support : float
    """
    seen: list[tuple[float, float]] = []
    # (log(alpha), support) where too much and too little is covered.
    above: tuple[float, float] | None = None
    below: tuple[float, float] | None = None
    position, stretch = np.log(guess), _FIRST_STRETCH
    longest = _FIRST_STRETCH * 2**_MAX_STRETCHES
    while len(seen) < _MAX_EVALUATIONS and stretch <= longest:
        support = support_at(float(np.exp(position)))
        seen.append((float(np.exp(position)), support))
        if abs(support / wanted - 1) <= _SUPPORT_TOLERANCE:
            break
        if support > wanted:
            above = (position, support)
        else:
            below = (position, support)
        if above and below:
            # On the straight line between both, but not too near to either end.
            share = (above[1] - wanted) / (above[1] - below[1])
            position = above[0] + np.clip(share, 0.1, 0.9) * (below[0] - above[0])
        else:
            position += stretch if above else -stretch
            stretch *= 2
    return min(seen, key=lambda one: abs(one[1] - wanted))
