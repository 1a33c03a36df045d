"""The variance that maps explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products


@dataclass(frozen=True, eq=False)
class Explained:
    """What maps explain of rows, as shares of a variance.

    Parameters
    ----------
    alone : ndarray, shape (n_components,)
        ``‖X c‖² / (‖c‖² total)``: the share that a regression on this map alone explains. Maps that
        overlap explain some of the same variance, so the shares can sum to more than `together`.
    unique : ndarray, shape (n_components,)
        The share that is not explained without this map: by how much the sum of squared residuals
        grows when it is left out.
    together : float
        The share that a regression on all maps explains.
    loadings : ndarray, shape (n_rows, n_components)
        The regression coefficients of the rows on all maps together.
    """

    alone: NDArray[np.float64]
    unique: NDArray[np.float64]
    together: float
    loadings: NDArray[np.float64]


def explained_variance(
    maps: NDArray[np.floating],
    rows: NDArray[np.float32],
    total_variance: float,
    gram: NDArray[np.float64] | None = None,
) -> Explained:
    """Compute the share of a variance that maps explain in rows.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The leading rows of a run, or of the group's subspace: variance outside of them counts as
        not explained.
    total_variance : float
        The sum of squares that shares are shares of: that of the whole run, or of all rows of the
        group.
    gram : ndarray, shape (n_components, n_components), optional
        ``maps mapsᵀ``, where it is known.

    Returns
    -------
    Explained
        All shares are 0 where the variance is 0.
    """
    cross = products(rows, maps)
    gram = products(maps, maps) if gram is None else gram
    inverse = np.linalg.pinv(gram, hermitian=True)
    loadings = cross @ inverse
    return Explained(
        alone=_share(cross, np.diag(gram) * total_variance),
        unique=_share(loadings, np.diag(inverse) * total_variance),
        together=float(np.sum(cross * loadings) / total_variance) if total_variance else 0.0,
        loadings=loadings,
    )


def _share(values: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each column's sum of squares divided by a norm; 0 for an empty map."""
    power = np.einsum("ij,ij->j", values, values)
    return np.asarray(np.divide(power, norms, out=np.zeros(len(norms)), where=norms > 0))
