"""The linear model and its statistics under permutation, for many features at once.

Freedman and Lane (1983), J Bus Econ Stat 1:292, as in Winkler et al. (2014), NeuroImage 92:381: the
residuals E of the data on the nuisance (the model where the hypothesis holds) are permuted, and the
whole model is fitted again. With orthonormal bases Q of the effect given the nuisance, and Z of the
nuisance, the share of the permuted residuals gE that the effect explains is

    u = |Q'gE|² / (|E|² - |Z'gE|²),    t² = dof u / (1 - u),    F = dof / m · u / (1 - u).

Permuted data are never formed: Q'g is Q with its rows permuted, and the products of all
permutations with a block of features are one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.bases import changing_part, effect_of, estimating, nuisance_of
from nidecomp.comparison.records import Contrast, Design, PermutationKind
from nidecomp.comparison.transformations import Transformations
from nidecomp.core.compiled import compiled
from nidecomp.core.linalg import blocks

# Features of one product, and about how many rows it has: both fit into the processor's cache.
# Fixed, because sums may depend on them.
_FEATURES_AT_ONCE = 2048
_ROWS_AT_ONCE = 512
# Data that the nuisance explains but for rounding are constant: float32 has 7 digits.
_ROUNDING = 1e-10
# Less than this share of permuted data, which the nuisance does not explain, is rounding.
_LEAST_SINGLE = np.float32(1e-6)
_LEAST_REST = 1e-14


@dataclass(frozen=True, eq=False)
class LinearTest:
    """A contrast of a model, ready for the data of many features.

    Parameters
    ----------
    effect : ndarray, shape (n_people, m)
        Orthonormal basis of the effect given the nuisance.
    nuisance : ndarray, shape (n_people, n_nuisance)
        Orthonormal basis of the nuisance.
    changing : ndarray, shape (n_people, n_changing)
        That of the part of the nuisance that transformations change: residuals have nothing of the
        rest, such as the mean, in whatever order they are.
    estimating : ndarray, shape (n_people,), or None
        The product with data is the estimate of the contrast; None for several rows of weights.
    dof : int
        The residual degrees of freedom of the model.
    """

    effect: NDArray[np.float64]
    nuisance: NDArray[np.float64]
    changing: NDArray[np.float64]
    estimating: NDArray[np.float64] | None
    dof: int

    @property
    def n_effects(self) -> int:
        """The number of rows of weights: with one, the statistic is t, else F."""
        return int(self.effect.shape[1])

    def residuals(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the residuals on the nuisance, each feature scaled to a sum of squares of 1.

        Parameters
        ----------
        data : ndarray, shape (n_people, n_features)

        Returns
        -------
        ndarray, shape (n_people, n_features)
            0 where the nuisance explains the data but for rounding.
        """
        values = data.astype(np.float64)
        rest = values - self.nuisance @ (self.nuisance.T @ values)
        # Again, for what rounding left of a large mean.
        rest -= self.nuisance @ (self.nuisance.T @ rest)
        squared = np.einsum("ij,ij->j", rest, rest)
        is_constant = squared <= _ROUNDING * np.einsum("ij,ij->j", values, values)
        rest *= 1 / np.sqrt(np.where(is_constant, np.inf, squared))
        return np.asarray(rest)

    def statistic(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return t or F of residuals as they are, shape (n_features,)."""
        return np.asarray(self.from_products((self.effect.T @ residuals)[None])[0])

    def from_products(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return t or F from the products of some transformations.

        Parameters
        ----------
        products : ndarray, shape (n, m + n_changing, n_features)
            Of the rows of `transformed_rows` with residuals.

        Returns
        -------
        ndarray, shape (n, n_features)
        """
        squared = products**2
        explained = squared[:, : self.n_effects].sum(axis=1)
        rest = 1 - squared[:, self.n_effects :].sum(axis=1) - explained
        found = self.dof / self.n_effects * explained / np.maximum(rest, _LEAST_REST)
        signed = np.sqrt(found) * np.sign(products[:, 0])
        return np.asarray(signed if self.n_effects == 1 else found)


def linear_test(design: Design, contrast: Contrast, kind: PermutationKind) -> LinearTest:
    """Return a contrast of a model, ready for data.

    Parameters
    ----------
    design : Design
    contrast : Contrast
        One of its contrasts.
    kind : {"permutations", "sign flips", "permutations and sign flips"}
        How data are transformed.

    Returns
    -------
    LinearTest
    """
    matrix, weights = design.matrix, contrast.weights
    nuisance = nuisance_of(matrix, weights)
    blocks_of = design.blocks or ("",) * len(matrix)
    return LinearTest(
        effect=effect_of(matrix, weights),
        nuisance=nuisance,
        changing=changing_part(nuisance, blocks_of) if kind == "permutations" else nuisance,
        estimating=estimating(matrix, weights)[0] if len(weights) == 1 else None,
        dof=len(matrix) - matrix.shape[1],
    )


def transformed_rows(
    test: LinearTest, transformations: Transformations, some: slice
) -> NDArray[np.float64]:
    """Return the bases of some transformations, whose products with residuals give statistics.

    Parameters
    ----------
    test : LinearTest
    transformations : Transformations
    some : slice

    Returns
    -------
    ndarray, shape (n, m + n_changing, n_people)
    """
    basis = np.concatenate([test.effect, test.changing], axis=1).T
    orders, signs = transformations.orders[some], transformations.signs[some]
    rows = np.empty((len(orders), *basis.shape))
    for row, order, sign in zip(rows, orders, signs, strict=True):
        row[:, order] = basis * sign
    return rows


def largest_statistics(
    test: LinearTest, residuals: NDArray[np.float32], transformations: Transformations
) -> NDArray[np.float64]:
    """Return the largest absolute t, or F, over the features, for each transformation.

    The largest is found in float32, and computed again in float64: transformations that make the
    same groups then give the same number, also where the effect explains nearly all.

    Parameters
    ----------
    test : LinearTest
    residuals : ndarray of float32, shape (n_people, n_features)
        As `LinearTest.residuals` gives them.
    transformations : Transformations

    Returns
    -------
    ndarray, shape (n,)
    """
    n_rows = test.n_effects + test.changing.shape[1]
    largest = np.empty(len(transformations))
    for some in blocks(len(transformations), max(1, _ROWS_AT_ONCE // n_rows)):
        rows = transformed_rows(test, transformations, some)
        flat = rows.astype(np.float32).reshape(-1, rows.shape[2])
        shares = np.full(len(rows), -1, dtype=np.float32)
        where = np.zeros(len(rows), dtype=np.int64)
        for block in blocks(residuals.shape[1], _FEATURES_AT_ONCE):
            # Contiguous: the same product wherever the block lies.
            products = flat @ np.ascontiguousarray(residuals[:, block])
            products = products.reshape(*rows.shape[:2], -1)
            _find_largest(products, test.n_effects, block.start, shares, where)
        found = residuals[:, where].astype(np.float64)
        found *= 1 / np.maximum(np.linalg.norm(found, axis=0), np.finfo(float).tiny)
        products = np.einsum("gri,ig->gr", rows, found)[:, :, None]
        largest[some] = np.abs(test.from_products(products)[:, 0])
    return largest


@compiled
def _find_largest(
    products: NDArray[np.float32],
    n_effects: int,
    start: int,
    largest: NDArray[np.float32],
    where: NDArray[np.int64],
) -> None:
    """Find where the effect explains most, for each transformation: in this block, or before."""
    n, _, n_features = products.shape
    shares = np.empty(n_features, np.float32)
    # Positive numbers are sorted as their bits are, whose largest is found by vector instructions.
    bits = shares.view(np.int32)
    for one in range(n):
        _fill_shares(products[one], n_effects, shares)
        top = bits[0]
        for feature in range(1, n_features):
            top = max(top, bits[feature])
        feature = 0
        while bits[feature] != top:
            feature += 1
        if shares[feature] > largest[one]:
            largest[one] = shares[feature]
            where[one] = start + feature


@compiled
def _fill_shares(
    products: NDArray[np.float32], n_effects: int, shares: NDArray[np.float32]
) -> None:
    """Write the share that the effect explains, for one transformation."""
    n_rows, n_features = products.shape
    for feature in range(n_features):
        shares[feature] = products[0, feature] * products[0, feature]
    for row in range(1, n_effects):
        for feature in range(n_features):
            shares[feature] += products[row, feature] * products[row, feature]
    if n_rows > n_effects:
        for feature in range(n_features):
            rest = np.float32(1)
            for row in range(n_effects, n_rows):
                rest -= products[row, feature] * products[row, feature]
            shares[feature] = shares[feature] / max(rest, _LEAST_SINGLE)


def statistic_maps(
    test: LinearTest,
    residuals: NDArray[np.float32],
    transformations: Transformations,
    some: slice,
) -> NDArray[np.float32]:
    """Return the maps of t or F of a few transformations, shape (n, n_features).

    Parameters
    ----------
    test : LinearTest
    residuals : ndarray of float32, shape (n_people, n_features)
        As `LinearTest.residuals` gives them.
    transformations : Transformations
    some : slice

    Returns
    -------
    ndarray of float32
        Computed in float64.
    """
    rows = transformed_rows(test, transformations, some)
    flat = rows.reshape(-1, rows.shape[2])
    maps = np.empty((len(rows), residuals.shape[1]), dtype=np.float32)
    for block in blocks(residuals.shape[1], _FEATURES_AT_ONCE):
        own = residuals[:, block].astype(np.float64)
        # 1 but for the rounding to float32.
        squared = np.einsum("ij,ij->j", own, own)
        products = (flat @ own).reshape(*rows.shape[:2], -1)
        _fill_statistics(products, squared, test.n_effects, test.dof, maps[:, block])
    return maps


@compiled
def _fill_statistics(
    products: NDArray[np.float64],
    squared: NDArray[np.float64],
    n_effects: int,
    dof: int,
    maps: NDArray[np.float32],
) -> None:
    """Write t or F to `maps`, of shape (n, n_features)."""
    n, n_rows, n_features = products.shape
    for one in range(n):
        for feature in range(n_features):
            explained = 0.0
            for row in range(n_effects):
                explained += products[one, row, feature] ** 2
            rest = squared[feature] - explained
            for row in range(n_effects, n_rows):
                rest -= products[one, row, feature] ** 2
            found = dof / n_effects * explained / max(rest, _LEAST_REST)
            if n_effects > 1:
                maps[one, feature] = np.float32(found)
            elif products[one, 0, feature] < 0:
                maps[one, feature] = np.float32(-np.sqrt(found))
            else:
                maps[one, feature] = np.float32(np.sqrt(found))
