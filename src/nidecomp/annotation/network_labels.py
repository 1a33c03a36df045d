"""Label components with the named map that each is most similar to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from nidecomp.decomposition.matching import correlations, is_constant


@dataclass(frozen=True)
class NetworkLabel:
    """The two named maps that are most similar to a component, and their correlations with it.

    `r` and `second_r` are Pearson correlations over the voxels of the mask. For an empty component,
    names are "" and correlations are NaN. If there is only one named map, `second` is "" and
    `second_r` is NaN.
    """

    name: str
    r: float
    second: str
    second_r: float


def label_components(
    maps: NDArray[np.floating],
    reference_maps: NDArray[np.floating],
    reference_names: Sequence[str],
) -> tuple[NetworkLabel, ...]:
    """Label each component with the reference maps that have the largest correlation with it.

    The signed r is compared, not |r|. Components and references both have a positive peak
    (`decomposition.arrange`), so that a strong negative r belongs to a component that is high where
    the network is low, as the default mode network is where attention networks are. It must not
    get the name of that network.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    reference_maps : ndarray, shape (n_references, n_voxels)
        At least one map. A map that is constant over the mask has a correlation of 0.
    reference_names : sequence of str
        The name of each reference map.

    Returns
    -------
    tuple of NetworkLabel
        One for each component. With equal correlations, the first reference is used.
    """
    r = correlations(maps, reference_maps)
    r[is_constant(maps)] = nan
    return tuple(_label(row, reference_names) for row in r)


def _label(r: NDArray[np.float64], names: Sequence[str]) -> NetworkLabel:
    if np.isnan(r).all():
        return NetworkLabel("", nan, "", nan)
    best, *others = np.argsort(-r, kind="stable")[:2]
    second, second_r = (names[others[0]], float(r[others[0]])) if others else ("", nan)
    return NetworkLabel(names[best], float(r[best]), second, second_r)
