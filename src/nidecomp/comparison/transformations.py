"""Draw the permutations and sign flips that participants are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.bases import constant_within, effect_of, has_constant, nuisance_of
from nidecomp.comparison.records import Design, PermutationKind
from nidecomp.core.errors import UsageError


@dataclass(frozen=True, eq=False)
class Transformations:
    """How the rows of the data are exchanged and their signs flipped; the first changes nothing.

    Row i of transformed data is ``signs[g, i] * data[orders[g, i]]``.

    Parameters
    ----------
    kind : {"permutations", "sign flips", "permutations and sign flips"}
    orders : ndarray of int32, shape (n, n_people)
    signs : ndarray of int8, shape (n, n_people)
    n_possible : int or None
        How many there are, where these are all of them; else None.
    """

    kind: PermutationKind
    orders: NDArray[np.int32]
    signs: NDArray[np.int8]
    n_possible: int | None

    def __len__(self) -> int:
        return len(self.orders)

    @property
    def digest(self) -> str:
        """A hash of all of them."""
        content = hashlib.sha256(self.orders.tobytes())
        content.update(self.signs.tobytes())
        return content.hexdigest()


def draw_transformations(design: Design, n_permutations: int, seed: int) -> Transformations:
    """Return all possible transformations if there are no more than asked for, else random ones.

    One kind holds for the whole model, so that p values can be corrected over all contrasts.
    Permutations leave the mean of the data as it is: a contrast whose null hypothesis has no
    intercept is tested by flipping signs instead. Random ones are drawn without replacement.

    Parameters
    ----------
    design : Design
    n_permutations : int
        The largest number, with the one that changes nothing.
    seed : int

    Returns
    -------
    Transformations
        In random order after the first, so that any number of the first ones is a random sample.

    Raises
    ------
    UsageError
        A contrast is the same in all permutations within blocks.
    """
    kind = permutation_kind(design)
    # Flipped signs change what is the same in a block, too.
    if kind == "permutations":
        _check_blocks(design)
    members = _members(design) if kind != "sign flips" else ()
    n_signs = len(design.people) if kind != "permutations" else 0
    n_possible = prod(factorial(len(one)) for one in members) * 2**n_signs
    random = np.random.RandomState(seed)
    if n_possible <= n_permutations:
        drawn = list(_all_of(members, n_signs, len(design.people)))
        # Every number of the first ones is a random sample, too.
        drawn[1:] = [drawn[1 + index] for index in random.permutation(len(drawn) - 1)]
    else:
        drawn = _some_of(members, n_signs, len(design.people), n_permutations, random)
    return Transformations(
        kind=kind,
        orders=np.array([order for order, _ in drawn], dtype=np.int32),
        signs=np.array([signs for _, signs in drawn], dtype=np.int8),
        n_possible=n_possible if n_possible <= n_permutations else None,
    )


def permutation_kind(design: Design) -> PermutationKind:
    """Return how the data of a model are transformed: by permutations, sign flips, or both."""
    has_intercept = {
        has_constant(nuisance_of(design.matrix, one.weights)) for one in design.contrasts
    }
    if has_intercept == {True}:
        return "permutations"
    return "sign flips" if has_intercept == {False} else "permutations and sign flips"


def _check_blocks(design: Design) -> None:
    for one in design.contrasts:
        effect = effect_of(design.matrix, one.weights)
        if design.blocks and constant_within(effect, design.blocks):
            raise UsageError(
                f"'{one.text}' cannot be tested with --blocks {design.blocks_column}: it is the "
                "same for all participants of a block, so that exchanging them within blocks "
                "changes nothing. Leave out --blocks, or do not test it."
            )


def _members(design: Design) -> tuple[NDArray[np.intp], ...]:
    """Return the rows of each block."""
    if not design.blocks:
        return (np.arange(len(design.people)),)
    blocks = np.array(design.blocks)
    return tuple(np.flatnonzero(blocks == one) for one in np.unique(blocks))


_Drawn = tuple[NDArray[np.int32], NDArray[np.int8]]


def _all_of(members: tuple[NDArray[np.intp], ...], n_signs: int, n: int) -> Iterator[_Drawn]:
    """Yield all orders with all signs; the first is the one that changes nothing."""
    for orders in product(*(permutations(one.tolist()) for one in members)):
        order = np.arange(n, dtype=np.int32)
        for one, changed in zip(members, orders, strict=True):
            order[one] = changed
        for signs in product((1, -1), repeat=n_signs):
            yield order, np.array(signs or [1] * n, dtype=np.int8)


def _some_of(
    members: tuple[NDArray[np.intp], ...],
    n_signs: int,
    n: int,
    n_drawn: int,
    random: np.random.RandomState,
) -> list[_Drawn]:
    """Draw different ones, after the one that changes nothing."""
    order, signs = np.arange(n, dtype=np.int32), np.ones(n, dtype=np.int8)
    found = {order.tobytes() + signs.tobytes(): (order, signs)}
    while len(found) < n_drawn:
        order, signs = np.arange(n, dtype=np.int32), np.ones(n, dtype=np.int8)
        for one in members:
            order[one] = random.permutation(one)
        if n_signs:
            signs = (1 - 2 * random.randint(2, size=n)).astype(np.int8)
        found.setdefault(order.tobytes() + signs.tobytes(), (order, signs))
    return list(found.values())
