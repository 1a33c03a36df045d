"""Names of places: the network or the region of an atlas that a feature is in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.atlases import Reference
from nidecomp.annotation.describe import ReferenceMaps

# A place is named after a network or a region whose map is as strong there: z of the published
# networks (reached by a third of the brain), and the share of the maximum of an atlas's map, as
# atlases of probabilities are often cut.
LEAST_Z, LEAST_SHARE = 5.0, 0.25


def label_at(feature: int, references: ReferenceMaps) -> str | None:
    """Return the network, or else the region of the atlas, that a feature is in.

    Somewhere in the brain, every network's map is a little above 0: a name needs more than that.
    Published networks are in z. The maps of atlases may have any unit, so that a value is judged by
    the map's maximum (1 for labels).

    Parameters
    ----------
    feature : int
    references : ReferenceMaps

    Returns
    -------
    str or None
    """
    if (networks := references.networks) is not None:
        name = _largest_at(feature, networks, np.full(len(networks.names), LEAST_Z))
        if name is not None:
            return name
    if (atlas := references.atlas) is not None:
        return _largest_at(feature, atlas, LEAST_SHARE * atlas.maps.max(axis=1))
    return None


def _largest_at(feature: int, reference: Reference, least: NDArray[np.floating]) -> str | None:
    """Return the map that is largest at a feature, of those that have their least value there."""
    values: NDArray[np.float32] = reference.maps[:, feature]
    is_in = (values > 0) & (values >= least)
    return reference.names[int(np.where(is_in, values, 0).argmax())] if is_in.any() else None
