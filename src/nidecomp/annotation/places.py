"""Where features are: an order that does not depend on the file, and the hemisphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.spaces.contract import FeatureSpace

# Something is in one hemisphere if at least this share of it is there, and at the midline if at
# least this share is there.
ONE_SIDED = 0.95
# Digits of mm that count in comparing places: the same image stored in another order of its axes
# has the same coordinates except for rounding errors.
_DIGITS = 3


def rank_by_place(space: FeatureSpace, features: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the rank of features by their place: from below, from behind, from the left.

    Ties between peaks and regions are broken by it, and not by the order of the features, which is
    the order in which the voxels of the image happen to be stored.

    Parameters
    ----------
    space : FeatureSpace
    features : ndarray of int, shape (n,)
        Those that are compared, each once.

    Returns
    -------
    ndarray of int, shape (n_features,)
        From 0; -1 for all other features.
    """
    order = np.lexsort(space.coordinates(features).round(_DIGITS).T)
    rank = np.full(space.n_features, -1)
    rank[features[order]] = np.arange(len(features))
    return rank


def hemisphere(features: NDArray[np.integer], space: FeatureSpace) -> str:
    """Return the side of the brain that features are on.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        At least one.
    space : FeatureSpace

    Returns
    -------
    {"L", "R", "B", "M"}
        ``M`` (midline) where at least 95 % of the size is at most `FeatureSpace.midline_mm` from
        the plane x = 0. These features count for neither side: of the size of the others, at least
        95 % are on the left (``L``) or on the right (``R``); otherwise it is on both (``B``).
    """
    x = space.coordinates(features)[:, 0]
    sizes = space.sizes[features]
    beside = np.abs(x) > space.midline_mm
    on_sides = float(sizes[beside].sum())
    if on_sides <= (1 - ONE_SIDED) * float(sizes.sum()):
        return "M"
    left = float(sizes[beside & (x < 0)].sum()) / on_sides
    return "L" if left >= ONE_SIDED else "R" if left <= 1 - ONE_SIDED else "B"
