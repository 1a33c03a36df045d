"""The smallest p value that permutations of so few people can give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.answers import ALPHA
from nidecomp.comparison.bases import has_constant, nuisance_of
from nidecomp.comparison.records import Contrast
from nidecomp.core.text import count


def notes_on_smallest_p(
    values: NDArray[np.float64], contrasts: Sequence[Contrast], blocks: Sequence[str]
) -> Iterator[str]:
    """Yield a note where no p value can be small, whatever the data.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_columns)
        The design matrix.
    contrasts : sequence of Contrast
    blocks : sequence of str
        The block of each person; none where all can be exchanged.

    Yields
    ------
    str
    """
    are_permuted = {has_constant(nuisance_of(values, one.weights)) for one in contrasts}
    if len(are_permuted) > 1:
        # Signs are flipped and people permuted, which is more than enough.
        return
    if are_permuted == {True}:
        smallest, how = smallest_p_of_permutations(values, blocks), "orders of these people"
    else:
        # Where all signs are flipped, t is the same but for its own sign.
        smallest, how = 2.0 ** (1 - len(values)), "flips of their signs"
    if smallest >= ALPHA:
        yield (
            f"{count(len(values), 'participant')} are so few that no p value can be below "
            f"{smallest:.2g}, whatever the data: there are not enough different {how}. Nothing "
            f"can be found at {ALPHA}."
        )


def smallest_p_of_permutations(values: NDArray[np.float64], blocks: Sequence[str]) -> float:
    """Return the smallest p value of permutations, or a smaller number.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_columns)
        The design matrix. To permute people with the same row changes nothing.
    blocks : sequence of str

    Returns
    -------
    float
    """
    rows = [tuple(row) for row in values.tolist()]
    of_block: dict[str, list[tuple[float, ...]]] = {}
    for row, block in zip(rows, blocks or [""] * len(rows), strict=True):
        of_block.setdefault(block, []).append(row)
    log_number = 0.0
    is_symmetric = len(set(rows)) == 2
    for own in of_block.values():
        sizes = Counter(own).values()
        log_number += math.lgamma(len(own) + 1) - sum(math.lgamma(size + 1) for size in sizes)
        is_symmetric &= len(sizes) == 2 and len(set(sizes)) == 1
    # Two groups of the same size give the same t, but for its sign, where all are exchanged.
    return (2 if is_symmetric else 1) * math.exp(-log_number)
