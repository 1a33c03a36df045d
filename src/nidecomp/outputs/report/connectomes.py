"""The group's connectomes, with components that go together beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.reading import number
from nidecomp.outputs.report.results import WrittenDecomposition

# The stat label of a file to what its values are, the most familiar first. The reference of the
# tangent space is a covariance, which is read in the file and not in a picture.
_SHOWN: Mapping[str, str] = {
    "pearsoncorrelation": "correlation",
    "partialcorrelation": "partial correlation",
}


@dataclass(frozen=True, eq=False)
class GroupConnectome:
    """The matrices of a decomposition, and the order in which they are shown.

    Parameters
    ----------
    matrices : mapping
        What the values are to a matrix; not empty.
    order : tuple of int
        The components by hierarchical clustering of the first matrix.
    """

    matrices: Mapping[str, NDArray[np.float64]]
    order: tuple[int, ...]

    @property
    def words(self) -> str:
        """What the values of the first matrix are."""
        return next(iter(self.matrices))

    @property
    def first(self) -> NDArray[np.float64]:
        """The matrix that orders the components."""
        return self.matrices[self.words]


def read_connectome(one: WrittenDecomposition) -> GroupConnectome | None:
    """Return the group's connectomes of a decomposition.

    Parameters
    ----------
    one : WrittenDecomposition

    Returns
    -------
    GroupConnectome or None
        None where there is none that can be read: they may be switched off.
    """
    read = {
        words: _read(one.stem.with_name(f"{one.stem.name}_stat-{stat}_relmat.tsv"), one.names)
        for stat, words in _SHOWN.items()
    }
    matrices = {words: matrix for words, matrix in read.items() if matrix is not None}
    if not matrices:
        return None
    return GroupConnectome(matrices, order_of(next(iter(matrices.values()))))


def order_of(matrix: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the order in which rows of a matrix that are alike stand beside each other.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Correlations; a value that is not known is taken for 0.

    Returns
    -------
    tuple of int
        The leaves of average linkage, each subtree turned so that neighbours correlate most; of
        both directions, the one that begins with the earlier component.
    """
    if len(matrix) < 3:
        return tuple(range(len(matrix)))
    # The command must not wait for it at its start.
    from scipy.cluster.hierarchy import leaves_list, linkage  # noqa: PLC0415
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    r = np.nan_to_num(matrix, posinf=0, neginf=0)
    distance = np.clip(1 - (r + r.T) / 2, 0, 2)
    condensed = squareform(distance, checks=False)
    order = leaves_list(linkage(condensed, "average", optimal_ordering=True)).tolist()
    return tuple(order if order[0] < order[-1] else order[::-1])


def _read(path: Path, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Return a matrix; None where it is not there or not that of these components."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        matrix = np.array([[number(cell) for cell in line.split("\t")[1:]] for line in lines])
    except (OSError, ValueError):
        return None
    return matrix if matrix.shape == (len(names), len(names)) else None
