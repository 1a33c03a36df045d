"""What the components look like: the named map that each is most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from nidecomp.linalg import blocks

# A map's variance is 0 where it is less of its mean square than this: what rounding leaves of a
# constant is 1e-32, and one voxel of a million that differs in its last digit is 1e-21.
_ROUNDING = 1e-26


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
    correlations = _correlations(maps, reference_maps)
    return tuple(_label(row, reference_names) for row in correlations)


def _label(correlations: NDArray[np.float64], names: Sequence[str]) -> NetworkLabel:
    if np.isnan(correlations).all():
        return NetworkLabel("", nan, "", nan)
    best, *others = np.argsort(-correlations, kind="stable")[:2]
    second, second_r = (names[others[0]], float(correlations[others[0]])) if others else ("", nan)
    return NetworkLabel(names[best], float(correlations[best]), second, second_r)


def _correlations(
    maps: NDArray[np.floating], references: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Correlate every map with every reference, (n_components, n_references).

    Rows of maps without variance are NaN, columns of references without variance 0.
    """
    n_voxels = maps.shape[1]
    means = [_means(one) for one in (maps, references)]
    cross = np.zeros((len(maps), len(references)))
    squares = [np.zeros(len(maps)), np.zeros(len(references))]
    for block in blocks(n_voxels):
        one, other = (
            values[:, block].astype(np.float64) - mean[:, None]
            for values, mean in zip((maps, references), means, strict=True)
        )
        cross += one @ other.T
        squares[0] += np.einsum("ij,ij->i", one, one)
        squares[1] += np.einsum("ij,ij->i", other, other)
    flat = [
        square <= _ROUNDING * (square + n_voxels * mean**2)
        for square, mean in zip(squares, means, strict=True)
    ]
    # Not the product of the squares: that of very small maps would be 0.
    scale = np.sqrt(squares[0])[:, None] * np.sqrt(squares[1])[None, :]
    known = ~flat[0][:, None] & ~flat[1][None, :]
    correlations = np.divide(cross, scale, out=np.zeros_like(cross), where=known)
    correlations[flat[0]] = nan
    return np.asarray(np.clip(correlations, -1.0, 1.0))


def _means(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    total = np.zeros(len(maps))
    for block in blocks(maps.shape[1]):
        total += maps[:, block].sum(axis=1, dtype=np.float64)
    return np.asarray(total / maps.shape[1])
