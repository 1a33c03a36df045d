"""What the nuisance regressors leave of a run, in as few numbers as it has dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Complement:
    """Orthonormal coordinates of all series that are orthogonal to the nuisance regressors.

    They are the last entries of the series after a block reflection ``H = I - left across``, which
    is symmetric and orthogonal and maps all regressors to the first entries. With n_regressors of
    n_kept volumes, the inner products of volumes take (1 - n_regressors / n_kept)² of the time.

    Parameters
    ----------
    left : ndarray, shape (n_kept, n_regressors)
    across : ndarray, shape (n_regressors, n_kept)
    """

    left: NDArray[np.float64]
    across: NDArray[np.float64]

    @property
    def n_regressors(self) -> int:
        """The number of entries that are left out."""
        return len(self.across)

    def coordinates(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the coordinates of what is left of series without the regressors.

        Parameters
        ----------
        block : ndarray of float32, shape (n_kept, n_series)

        Returns
        -------
        ndarray of float32, shape (n_kept - n_regressors, n_series)
            Their sums of squares are those of the residuals.
        """
        shares = self.across.astype(np.float32) @ block
        below = np.float32(self.left[self.n_regressors :]) @ shares
        return np.subtract(block[self.n_regressors :], below, out=below)

    def series(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the series with the given coordinates.

        Parameters
        ----------
        coordinates : ndarray, shape (n_kept - n_regressors, n_series)

        Returns
        -------
        ndarray, shape (n_kept, n_series)
            Orthogonal to all regressors.
        """
        below = np.ascontiguousarray(self.across[:, self.n_regressors :])
        found = np.zeros((len(self.left), coordinates.shape[1]))
        # One by one, so that none depends on how many there are, to the last bit.
        for index, vector in enumerate(np.ascontiguousarray(coordinates.T)):
            found[self.n_regressors :, index] = vector
            found[:, index] -= self.left @ (below @ vector)
        return found


def complement_of(nuisance: NDArray[np.float64]) -> Complement:
    """Return the coordinates of what is orthogonal to the nuisance regressors.

    Parameters
    ----------
    nuisance : ndarray, shape (n_kept, n_regressors)
        Orthonormal columns.

    Returns
    -------
    Complement

    Notes
    -----
    With B the regressors, and S an orthogonal matrix in the first rows and 0 below it, the block
    reflection along ``B - S`` maps B to S (Schreiber & Parlett 1988, Block reflectors: theory and
    computation, SIAM Journal on Numerical Analysis 25:189). With S as the polar factor of the first
    rows of B with its sign changed, the matrix that has to be inverted has singular values between
    1 and 2.
    """
    n_regressors = nuisance.shape[1]
    U, cosines, Vt = np.linalg.svd(nuisance[:n_regressors])
    left = nuisance.copy()
    left[:n_regressors] += U @ Vt
    across = (Vt.T / (1 + cosines)) @ Vt @ left.T
    return Complement(left, across)
