"""The features that are compared, and their neighbours: those of surfaces, and those of volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.spaces.contract import FeatureSpace


@dataclass(frozen=True, eq=False)
class FeatureKind:
    """Vertices of surfaces, or voxels: sizes of clusters of both cannot be compared.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        Which they are among the features that are compared, ascending.
    is_surface : bool
    starts, neighbours : ndarray of int32
        The neighbours of feature i, among these, are ``neighbours[starts[i]:starts[i + 1]]``.
    sizes : ndarray of float64, shape (n,)
        Areas in mm² or volumes in mm³.
    """

    features: NDArray[np.intp]
    is_surface: bool
    starts: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    sizes: NDArray[np.float64]

    def of(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return maps, (n_maps, n_compared), at these features only."""
        first, last = self.features[0], self.features[-1]
        is_range = last - first + 1 == len(self.features)
        # A range is not copied.
        return maps[:, first : last + 1] if is_range else maps[:, self.features]


def feature_kinds(space: FeatureSpace, used: NDArray[np.bool_]) -> tuple[FeatureKind, ...]:
    """Return the kinds of features that are compared: one, or for grayordinates two.

    Parameters
    ----------
    space : FeatureSpace
    used : ndarray of bool, shape (n_features,)
        Which features are compared.

    Returns
    -------
    tuple of FeatureKind
        Surfaces first.
    """
    compared = np.flatnonzero(used)
    return tuple(_kind(space, compared, features) for features in features_of_kinds(space, used))


def features_of_kinds(space: FeatureSpace, used: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """Return the features of each kind, numbered among those that are compared."""
    on_surface = space.on_surface[used]
    kinds = (np.flatnonzero(on_surface), np.flatnonzero(~on_surface))
    return tuple(one for one in kinds if len(one))


def _kind(
    space: FeatureSpace, compared: NDArray[np.intp], features: NDArray[np.intp]
) -> FeatureKind:
    own = compared[features]
    among = space.adjacency[own][:, own]
    return FeatureKind(
        features=features,
        is_surface=bool(space.on_surface[own[0]]),
        starts=among.indptr.astype(np.int32),
        neighbours=among.indices.astype(np.int32),
        sizes=np.ascontiguousarray(space.sizes[own]),
    )
