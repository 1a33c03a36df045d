"""What the components look like: the named map that each is most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from nidecomp.decomposition.matching import correlations, is_constant


@dataclass(frozen=True)
class NetworkLabel:
    """The two named maps that a component is most like, and how much.

    `r` and `second_r` are Pearson correlations over the voxels of the mask. A component that is
    empty is like nothing: its names are "" and its correlations NaN. Where there is one named map
    only, `second` is "" and `second_r` NaN.
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
    """Name each component after the reference map that correlates best with it.

    The best is the largest r and not the largest |r|: maps of both have a positive peak
    (`order.arrange`), so a strong negative r is a component that is high where the network is low
    (the task-negative network and the attention network, for instance). It must not get the
    other's name.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    reference_maps : ndarray, shape (n_references, n_voxels)
        At least one. Those without variance in the mask correlate 0 with everything.
    reference_names : sequence of str
        One for each of them.

    Returns
    -------
    tuple of NetworkLabel
        One for each component. Among equals the reference that comes first is taken.
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
