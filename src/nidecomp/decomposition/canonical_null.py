"""Canonical correlations that unrelated participants have by chance, given smooth data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products

# The 95 % quantile of the Tracy-Widom law of real matrices (Johnstone 2001, see `null_quantile`).
_TRACY_WIDOM_95 = 0.9793
# The median of the chi-squared distribution with one degree of freedom (scipy.stats.chi2).
_MEDIAN_CHI_SQUARED = 0.4549


def null_quantile(n_participants: int, n_rows: float, n_effective: float) -> float:
    """Return the 95 % quantile of the largest canonical correlation of unrelated participants.

    Each participant's rows span a random subspace. The eigenvalues of the sum of P unrelated
    projectors on n of N dimensions follow, for large N, the P-fold free convolution of Bernoulli
    laws (Voiculescu, Dykema and Nica 1992, Free random variables), whose upper edge is
    ``1 + (P - 2) c + 2 √((P - 1) c (1 - c))`` with c = n/N. Where c is small, this is the edge of
    the Marchenko-Pastur law. The distance of the largest of finitely many eigenvalues from the edge
    follows the law of the largest eigenvalue of P n independent rows (Johnstone 2001, Annals of
    Statistics 29:295).

    Parameters
    ----------
    n_participants : int
    n_rows : float
        The number of dimensions of each participant's subspace.
    n_effective : float
        The number of dimensions of the whole space.

    Returns
    -------
    float
        The root mean square over participants of the correlation, from 0 to 1.
    """
    share = min(max(n_rows / n_effective, 0.0), 1.0)
    n_unrelated = n_participants - 1
    if share * n_participants >= n_unrelated or n_unrelated == 0:
        # The participants' dimensions sum to (P - 1) N or more: subspaces this large intersect.
        return 1.0
    edge = 1 + (n_unrelated - 1) * share + 2 * math.sqrt(n_unrelated * share * (1 - share))
    n_all = max(n_rows, 1.0) * n_participants
    roots = math.sqrt(n_effective) + math.sqrt(n_all)
    spread = roots * (n_effective**-0.5 + n_all**-0.5) ** (1 / 3) / n_effective
    return math.sqrt(min((edge + _TRACY_WIDOM_95 * spread) / n_participants, 1.0))


def effective_voxels(noise: Sequence[NDArray[np.float32]]) -> float:
    """Estimate the number of independent voxels from unrelated rows of several participants.

    Two unrelated unit vectors of N dimensions have a squared correlation of 1/N on average. This
    holds for smooth vectors, too, if N is ``(tr Σ)² / tr Σ²`` for their covariance Σ over voxels.

    Parameters
    ----------
    noise : sequence of ndarray, each (n_rows, n_voxels)
        Rows of each participant, of unit norm, that are mostly noise. The estimate uses the median
        of their squared correlations, which a few rows with signal hardly change.

    Returns
    -------
    float
        NaN for fewer than two participants.
    """
    squared = [
        products(first, second).ravel() ** 2
        for index, first in enumerate(noise)
        for second in noise[:index]
    ]
    if not squared:
        return math.nan
    median = float(np.median(np.concatenate(squared)))
    return float(_MEDIAN_CHI_SQUARED / max(median, _MEDIAN_CHI_SQUARED / noise[0].shape[1]))
