"""What participants have of a component once the other variables of the model are taken out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.outputs.report.comparison_results import WrittenComparison, WrittenTest
from nidecomp.outputs.report.reading import number

_N_POINTS = 33
_SHARE = 0.975


@dataclass(frozen=True, eq=False)
class Fitted:
    """What the model says of a group: one value, or a line where it is about a number.

    Parameters
    ----------
    group : str
        Empty where there are no groups.
    x : ndarray, shape (n_points,)
        Empty for one value.
    middle, low, high : ndarray, shape (n_points,) or (1,)
        The fit, with its 95 % confidence interval.
    """

    group: str
    x: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Values of participants for a plot.

    Parameters
    ----------
    people : tuple of str
    values : ndarray, shape (n_people,)
        The residual, what the test is about, and the mean of everything else.
    groups : tuple of str
        Of each participant; all empty where there are none.
    x : ndarray, shape (n_people,)
        The number that the test is about; empty where it is about groups.
    x_name : str
    fitted : tuple of Fitted
        One for each group, in the order in which they are shown.
    taken_out : tuple of str
        The variables that were taken out.
    """

    people: tuple[str, ...]
    values: NDArray[np.float64]
    groups: tuple[str, ...]
    x: NDArray[np.float64]
    x_name: str
    fitted: tuple[Fitted, ...]
    taken_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a plot is about: columns of the model that stay in, groups and a number."""

    kept: NDArray[np.bool_]
    groups: tuple[str, ...]
    x: NDArray[np.float64]
    x_name: str


def adjusted(
    comparison: WrittenComparison, test: WrittenTest, values: NDArray[np.float64]
) -> Adjusted | None:
    """Return the values of participants with all variables taken out that a test is not about.

    Parameters
    ----------
    comparison : WrittenComparison
    test : WrittenTest
    values : ndarray, shape (n_people,)
        One for each row of the model.

    Returns
    -------
    Adjusted or None
        None where the model or a value is not known. The model is fitted by least squares; columns
        that have nothing to do with the test are then set to their mean.
    """
    matrix = comparison.matrix
    n_people, n_columns = matrix.shape
    is_whole = test.weights.shape[1] == n_columns and len(values) == n_people > n_columns > 0
    if not is_whole or not np.isfinite(values).all():
        return None
    shown = _shown(comparison, test)
    coefficients = np.asarray(np.linalg.lstsq(matrix, values, rcond=None)[0], dtype=np.float64)
    others = ~shown.kept & ~_constant(matrix)
    means = matrix.mean(axis=0)
    taken_out = (matrix[:, others] - means[others]) @ coefficients[others]
    at_means = np.where(others, means, matrix)
    named = (names_in(comparison, comparison.columns[place]) for place in np.flatnonzero(others))
    return Adjusted(
        people=comparison.people,
        values=values - taken_out,
        groups=shown.groups,
        x=shown.x,
        x_name=shown.x_name,
        fitted=_fits(matrix, values, coefficients, at_means, shown),
        taken_out=tuple(dict.fromkeys(name for found in named for name in found)),
    )


def names_in(comparison: WrittenComparison, column: str) -> tuple[str, ...]:
    """Return the variables that a column of the matrix is made of.

    Parameters
    ----------
    comparison : WrittenComparison
    column : str
        Such as ``group[T.patients]:scale(age)``.

    Returns
    -------
    tuple of str
        In the order of the column's name; nothing for the constant.
    """
    terms = (re.sub(r"^\w+\((.*)\)$", r"\1", term.partition("[")[0]) for term in column.split(":"))
    return tuple(term for term in terms if term in comparison.variables)


def is_number(comparison: WrittenComparison, variable: str) -> bool:
    """Return whether a variable is a number in the model, and no factor."""
    if any(f"{variable}[" in column or f"{variable})[" in column for column in comparison.columns):
        return False
    return all(np.isfinite(number(value)) for value in comparison.variables[variable])


def _constant(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(matrix, axis=0) == 0)


def _shown(comparison: WrittenComparison, test: WrittenTest) -> _Shown:
    """Return what a test is about."""
    n_people, n_columns = comparison.matrix.shape
    none, nobody = np.zeros(0), ("",) * n_people
    if test.text == "mean" and not test.variable:
        return _Shown(np.zeros(n_columns, dtype=np.bool_), nobody, none, "")
    tested = (test.weights != 0).any(axis=0) & ~_constant(comparison.matrix)
    of_column = [set(names_in(comparison, column)) for column in comparison.columns]
    about = {name for place in np.flatnonzero(tested) for name in of_column[place]}
    about |= {test.variable} & comparison.variables.keys()
    kept = tested | np.array([bool(one) and one <= about for one in of_column])
    names = [name for name in comparison.variables if name in about]
    numbers = [name for name in names if is_number(comparison, name)]
    factors = [name for name in names if name not in numbers]
    groups = tuple(
        ", ".join(comparison.variables[name][row] for name in factors) for row in range(n_people)
    )
    if len(numbers) == 1:
        x = np.array([number(value) for value in comparison.variables[numbers[0]]])
        return _Shown(kept, groups, x, numbers[0])
    if numbers or not names:
        # A product of numbers has no other axis than itself.
        place = int(np.flatnonzero(tested)[0]) if tested.any() else 0
        return _Shown(tested, nobody, comparison.matrix[:, place], comparison.columns[place])
    return _Shown(kept, groups, none, "")


def _fits(
    matrix: NDArray[np.float64],
    values: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    at_means: NDArray[np.float64],
    shown: _Shown,
) -> tuple[Fitted, ...]:
    """Return what the model says of each group, with everything else at its mean."""
    # The command must not wait for it at its start.
    from scipy.special import stdtrit  # noqa: PLC0415

    dof = len(matrix) - matrix.shape[1]
    variance = float(((values - matrix @ coefficients) ** 2).sum()) / dof
    spread = variance * np.linalg.pinv(matrix.T @ matrix)
    factor = float(stdtrit(dof, _SHARE))
    found = []
    for group in sorted(set(shown.groups)):
        members = np.array([one == group for one in shown.groups])
        x, rows = _rows(at_means[members], shown.x[members] if len(shown.x) else shown.x)
        middle = rows @ coefficients
        half = factor * np.sqrt(np.einsum("ij,jk,ik->i", rows, spread, rows))
        found.append(Fitted(group, x, middle, middle - half, middle + half))
    return tuple(found)


def _rows(
    at_means: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows of the model that are drawn of a group: its mean, or points along a number.

    Within a group, every column is a straight line over the number.
    """
    if not len(x) or np.ptp(x) == 0:
        return np.zeros(0), at_means.mean(axis=0, keepdims=True)
    along = np.linspace(x.min(), x.max(), _N_POINTS)
    slopes, starts = np.polyfit(x, at_means, 1)
    return along, starts + along[:, None] * slopes
