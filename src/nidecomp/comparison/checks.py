"""Refuse models that cannot be estimated, and tests that permutations cannot do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.bases import effect_of, has_constant, nuisance_of, orthonormal
from nidecomp.comparison.matrix import DesignMatrix
from nidecomp.comparison.records import Contrast
from nidecomp.comparison.variables import FEWEST_OF_LEVEL
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.text import count, quoted, verb

FEWEST_DOF = 3
# The share of a single person in the estimate of an effect, as squared weights.
_MUCH_WEIGHT = 0.5
# Of the variance of an effect, by the rest of the model: a variance inflation factor of 10.
_MOST_EXPLAINED = 0.9
# Of the part of a column, scaled to unit length, that the others do not explain.
_TOLERANCE = 1e-7

Matrix = NDArray[np.float64]


def check_design(matrix: DesignMatrix, *, has_differences: bool) -> None:
    """Check that a model can be estimated.

    Parameters
    ----------
    matrix : DesignMatrix
    has_differences : bool
        Whether differences within participants are compared.

    Raises
    ------
    UsageError
        The model needs its constant, and has none.
    NothingToDoError
        There are too few people, or columns of the matrix say the same.
    """
    values, names = matrix.values, matrix.names
    n_people, n_columns = values.shape
    for joined, levels, size in _cells(matrix):
        if not size:
            raise NothingToDoError(
                f"The model has {joined}, but nobody in it is {' and '.join(levels)}. Leave out "
                "the interaction, or a level."
            )
    if n_people - n_columns < FEWEST_DOF:
        raise NothingToDoError(
            f"{n_people} people are too few for a model with {count(n_columns, 'column')} "
            f"({', '.join(names)}): at least {n_columns + FEWEST_DOF} are needed."
        )
    for place in range(n_columns):
        if explaining := _explained_by(values, place):
            others = " and ".join(names[one] for one in explaining)
            raise NothingToDoError(
                f"{names[place]} follows from {others} for the {n_people} people in the model, so "
                "that their effects cannot be told apart: leave one of them out."
            )
    if not has_constant(orthonormal(values)):
        why = (
            "What depends on a number could then not be told from the mean of the differences"
            if has_differences
            else "Maps, amplitudes and connectomes of people are never 0 on average"
        )
        raise UsageError(
            f"The model has no constant. {why}, so that it needs one: leave out 0 or - 1 (in a "
            "model file, put 1 in X)."
        )


def _cells(matrix: DesignMatrix) -> Iterator[tuple[str, tuple[str, str], int]]:
    """Yield each two levels of factors that interact, with the number of people who have both."""
    for term in matrix.formula.terms:
        coded = [matrix.coding_of(one.variable) for one in term if one.variable in matrix.levels]
        for one, other in combinations(coded, 2):
            sizes = Counter(zip(one.values.tolist(), other.values.tolist(), strict=True))
            for cell in product(range(len(one.levels)), range(len(other.levels))):
                both = one.levels[cell[0]], other.levels[cell[1]]
                yield f"{one.factor.variable}:{other.factor.variable}", both, sizes[cell]


def notes_on_design(matrix: DesignMatrix, contrasts: Sequence[Contrast]) -> Iterator[str]:
    """Yield what makes the estimates of a model uncertain.

    Parameters
    ----------
    matrix : DesignMatrix
    contrasts : sequence of Contrast

    Yields
    ------
    str
        Interactions of which few people tell, and effects that the rest of the model explains.
    """
    for joined, levels, size in _cells(matrix):
        if size < FEWEST_OF_LEVEL:
            both = " and ".join(levels)
            people = verb(size, "person is", "people are")
            yield f"The model has {joined}, for which only {size} {people} {both}."
    for contrast in contrasts:
        share = 0.0 if _is_interaction(matrix, contrast) else _share_explained(matrix, contrast)
        if share > _MOST_EXPLAINED:
            yield (
                f"{share:.0%} of the variance of {contrast.text} among these people is explained "
                "by the rest of the model, so that its own effect can hardly be seen."
            )


def notes_on_influence(
    values: Matrix, contrasts: Sequence[Contrast], people: Sequence[str]
) -> Iterator[str]:
    """Yield who alone decides a test: permutations are not exact with covariates that far out.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_columns)
        The design matrix.
    contrasts : sequence of Contrast
    people : sequence of str
        The labels of the participants.

    Yields
    ------
    str
    """
    for contrast in contrasts:
        if contrast.statistic == "F":
            continue
        weights = effect_of(values, contrast.weights)[:, 0] ** 2
        most = int(weights.argmax())
        if weights[most] > _MUCH_WEIGHT:
            yield (
                f"sub-{people[most]} has {weights[most]:.0%} of the weight in the test of "
                f"{contrast.text}, and all others together have the rest: see whether the values "
                "of this participant are right, and whether the answer is the same without."
            )


def _is_interaction(matrix: DesignMatrix, contrast: Contrast) -> bool:
    """Return whether products of columns are tested alone.

    How much the columns explain of them depends on where numbers are 0, but the test does not.
    """
    tested = np.flatnonzero((contrast.weights != 0).any(axis=0))
    return all(":" in matrix.names[place] for place in tested)


def _share_explained(matrix: DesignMatrix, contrast: Contrast) -> float:
    """Return how much of the variance of what is tested follows from the rest of the model."""
    values = matrix.values
    # A mean has no variance.
    if contrast.statistic == "F" or not has_constant(nuisance_of(values, contrast.weights)):
        return 0.0
    tested = values @ contrast.weights[0]
    tested = tested - tested.mean()
    size = float(tested @ tested)
    if size <= _TOLERANCE**2 * float(np.abs(values).max()) ** 2:
        return 0.0
    nuisance = nuisance_of(values, contrast.weights)
    if not has_constant(nuisance):
        # A mean, which is no difference between people.
        return 0.0
    rest = tested - nuisance @ (nuisance.T @ tested)
    return 1.0 - float(rest @ rest) / size


def _explained_by(values: Matrix, place: int) -> list[int]:
    """Return the earlier columns that a column is a combination of; none where it is not."""
    column = values[:, place]
    size = np.linalg.norm(column)
    if size == 0:
        return [place]
    if place == 0:
        return []
    sizes = np.linalg.norm(values[:, :place], axis=0)
    before = values[:, :place] / sizes
    weights = np.linalg.lstsq(before, column / size, rcond=None)[0]
    rest = column / size - before @ weights
    if np.linalg.norm(rest) > _TOLERANCE:
        return []
    return [int(one) for one in np.flatnonzero(np.abs(weights) > _TOLERANCE)]


def check_tests(
    values: Matrix,
    contrasts: Sequence[Contrast],
    blocks: Sequence[str],
    options: ComparisonOptions,
) -> None:
    """Check that permutations can test what is asked.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_columns)
        The design matrix.
    contrasts : sequence of Contrast
    blocks : sequence of str
        The block of each person; none without ``--blocks``.
    options : ComparisonOptions

    Raises
    ------
    UsageError
        A contrast tests whether a mean is 0, without ``--within``; or it is the same within every
        block.
    """
    if blocks and len(set(blocks)) == 1:
        raise UsageError(
            f"--blocks {options.blocks}: all people in the model are {quoted(blocks[0])}, so that "
            "there is one block only: leave out --blocks."
        )
    if blocks and len(set(blocks)) == len(blocks):
        raise UsageError(
            f"--blocks {options.blocks}: every person in the model has a value of their own, so "
            "that nobody can be permuted. Blocks are groups of people, such as those of a site."
        )
    members = np.array([[one == block for block in sorted(set(blocks))] for one in blocks], float)
    for contrast in contrasts:
        nuisance = nuisance_of(values, contrast.weights)
        is_permuted = has_constant(nuisance)
        if not is_permuted and options.within is None:
            raise UsageError(
                f"{contrast.text}: this tests whether a mean is 0, which can be tested with "
                "--within only; maps, amplitudes and connectomes of people are never 0 on average."
            )
        if blocks and is_permuted and _is_of_blocks(values, nuisance, members):
            raise UsageError(
                f"--test {quoted(contrast.text)} cannot be tested within the blocks of "
                f"{options.blocks}: people of one block do not differ in it, so that permuting "
                "them changes nothing. Leave out --blocks, or this test."
            )


def _is_of_blocks(values: Matrix, nuisance: Matrix, members: Matrix) -> bool:
    """Return whether a part of an effect follows from the nuisance and the blocks."""
    without = np.hstack([nuisance, members])
    n_effects = values.shape[1] - nuisance.shape[1]
    n_changed = _rank(np.hstack([without, values])) - _rank(without)
    return bool(n_changed < n_effects)


def _rank(values: Matrix) -> int:
    sizes = np.linalg.norm(values, axis=0)
    scaled = values[:, sizes > 0] / sizes[sizes > 0]
    return int(np.linalg.matrix_rank(scaled, tol=_TOLERANCE * np.sqrt(values.shape[1])))
