"""The Gram matrix of a cleaned run, and its principal components.

The cleaned series itself is not stored: a second pass computes the leading components from the
series as they were read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks, leading_vectors, upwards
from nidecomp.core.packed import BLOCK, PackedSeries
from nidecomp.core.pca import PrincipalComponents, padded_rows, rows_of_block
from nidecomp.runs.clean import clean, standardise
from nidecomp.runs.complement import Complement, complement_of


@dataclass(frozen=True, eq=False)
class CleanedGram:
    """A run as it was read, and the Gram matrix of its cleaned series.

    Parameters
    ----------
    raw : PackedSeries
        The series before cleaning.
    nuisance : ndarray, shape (n_kept, n_regressors)
        The regressors, as orthonormal columns.
    complement : Complement
        The coordinates of the cleaned series in which the Gram matrix is.
    scale : ndarray of float32, shape (n_features,)
        What makes the standard deviation of each residual 1; 0 for features without signal.
    gram : ndarray, shape (n_kept - n_regressors, n_kept - n_regressors)
        Inner products of the coordinates of the cleaned series.
    """

    raw: PackedSeries
    nuisance: NDArray[np.float64]
    complement: Complement
    scale: NDArray[np.float32]
    gram: NDArray[np.float64]

    @property
    def n_constant(self) -> int:
        """The number of features without signal."""
        return int(np.count_nonzero(self.scale == 0))

    @property
    def series(self) -> NDArray[np.float32]:
        """The cleaned series: computed when it is asked for, and as large as the run."""
        return clean(self.raw.values(), self.nuisance).series

    @property
    def total_variance(self) -> float:
        """The sum of squares of the cleaned series: n - 1 for each feature with signal."""
        n_kept, n_features = self.raw.shape
        return float((n_kept - 1) * (n_features - self.n_constant))

    def principal_components(self, n_rows: int) -> PrincipalComponents:
        """Return the leading principal components of the cleaned series.

        Parameters
        ----------
        n_rows : int
            At most the number of dimensions, n_kept - n_regressors.

        Returns
        -------
        PrincipalComponents
            None of them depends on how many are asked for, to the last bit.

        Notes
        -----
        The left singular vectors are orthogonal to the regressors, so that their products with the
        cleaned series and with the series before cleaning are the same.
        """
        coordinates, squared = leading_vectors(self.gram, n_rows)
        vectors = upwards(self.complement.series(coordinates))
        across = padded_rows(vectors)
        n_features = self.raw.shape[1]
        rows = np.empty((vectors.shape[1], n_features), dtype=np.float32)
        for features in blocks(n_features, BLOCK):
            block, _ = self.raw.deviations(features)
            product = rows_of_block(across, block)[: len(rows)]
            np.multiply(product, self.scale[features], out=rows[:, features])
        return PrincipalComponents(
            rows, vectors.astype(np.float32), self.total_variance, squared[:n_rows]
        )


def cleaned_gram(raw: PackedSeries, nuisance: NDArray[np.float64]) -> CleanedGram:
    """Return the Gram matrix of a series after the same cleaning as in `runs.clean.clean`.

    Parameters
    ----------
    raw : PackedSeries
        Not changed.
    nuisance : ndarray, shape (n_kept, n_regressors)
        Orthonormal columns that span the constant, the trend, the filters and the confounds.

    Returns
    -------
    CleanedGram

    Notes
    -----
    This takes one pass over the series. Products are in float32, and sums over blocks in float64.
    """
    n_kept, n_features = raw.shape
    complement = complement_of(nuisance)
    n_left = n_kept - complement.n_regressors
    gram = np.zeros((n_left, n_left))
    scale = np.empty(n_features, dtype=np.float32)
    for features in blocks(n_features, BLOCK):
        block, largest = raw.deviations(features)
        left = complement.coordinates(block)
        scale[features] = standardise(left, largest, n_kept)
        gram += left @ left.T
    return CleanedGram(raw, nuisance, complement, scale, gram)
