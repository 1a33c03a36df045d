"""The design matrix, by formulaic, and its rows for people who are not there.

formulaic codes factors so that the matrix has full rank, whatever the formula. It sees names and
levels that are made here, so that nothing of the user's is evaluated or taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nidecomp.comparison.formula import Formula
from nidecomp.comparison.variables import Coding

_PART = re.compile(r"v(\d+)(?:\[(T\.)?L(\d+)\])?")
CONSTANT = "Intercept"


class DesignMatrix:
    """The design matrix of a formula.

    Parameters
    ----------
    formula : Formula
    codings : sequence of Coding
        One for each of `formula.factors`, in that order.
    n_people : int
    """

    def __init__(self, formula: Formula, codings: Sequence[Coding], n_people: int) -> None:
        self.formula = formula
        self._codings = tuple(codings)
        self._place = {coding.factor: place for place, coding in enumerate(codings)}
        values = [coding.values for coding in codings]
        self._spec, self.values = self._built(self._frame(values, n_people))

    def _frame(self, values: Sequence[NDArray[np.float64]], n_rows: int) -> pd.DataFrame:
        frame = pd.DataFrame(index=pd.RangeIndex(n_rows))
        for place, (coding, column) in enumerate(zip(self._codings, values, strict=True)):
            if coding.levels:
                names = [f"L{level}" for level in range(len(coding.levels))]
                frame[f"v{place}"] = pd.Categorical.from_codes(
                    column.astype(np.int64), categories=pd.Index(names)
                )
            else:
                frame[f"v{place}"] = column
        return frame

    def _built(self, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        # It takes a second to import.
        from formulaic import Formula as Formulaic  # noqa: PLC0415

        terms = [":".join(f"v{self._place[one]}" for one in term) for term in self.formula.terms]
        right = " + ".join(["1" if self.formula.has_constant else "0", *terms])
        matrix = Formulaic(right).get_model_matrix(frame, na_action="raise", output="pandas")
        return matrix.model_spec, np.asarray(matrix, dtype=np.float64)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, such as ``Intercept`` and ``group[T.patients]:age``."""
        return tuple(
            CONSTANT if name == CONSTANT else ":".join(map(self._name, name.split(":")))
            for name in self._spec.column_names
        )

    def _name(self, part: str) -> str:
        match = _PART.fullmatch(part)
        # The names are those that `_frame` made.
        assert match is not None, part  # noqa: S101
        coding = self._codings[int(match[1])]
        if match[3] is None:
            return coding.factor.text
        return f"{coding.factor.text}[{match[2] or ''}{coding.levels[int(match[3])]}]"

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels of each variable that is a factor."""
        return {one.factor.variable: one.levels for one in self._codings if one.levels}

    def coding_of(self, variable: str) -> Coding:
        """Return the first coding of a variable."""
        return next(one for one in self._codings if one.factor.variable == variable)

    def interacts_with(self, variables: Sequence[str]) -> tuple[str, ...]:
        """Return the other variables in terms with one of some, in the order of the formula."""
        named = set(variables)
        terms = [{one.variable for one in term} for term in self.formula.terms]
        others = set().union(*(term - named for term in terms if term & named))
        return tuple(one for one in self.formula.variables if one in others)

    def expected(self, settings: Mapping[str, float | str]) -> NDArray[np.float64]:
        """Return the row of the matrix for variables with some values.

        Parameters
        ----------
        settings : mapping
            Variable to a level, or to a number as it enters the matrix. Numbers that are not named
            are 0. Over the levels of factors that are not named, and that interact with those that
            are, the mean is taken; others are at their reference level.

        Returns
        -------
        ndarray, shape (n_columns,)
        """
        mixed = [
            variable for variable in self.interacts_with(list(settings)) if variable in self.levels
        ]
        cells = list(product(*(self.levels[variable] for variable in mixed)))
        settled = [{**settings, **dict(zip(mixed, cell, strict=True))} for cell in cells]
        values = [np.array([_setting(coding, one) for one in settled]) for coding in self._codings]
        if not values:
            first: NDArray[np.float64] = self.values[0]
            return first
        matrix = self._spec.get_model_matrix(self._frame(values, len(settled)))
        row: NDArray[np.float64] = np.asarray(matrix, dtype=np.float64).mean(axis=0)
        return row


def _setting(coding: Coding, settings: Mapping[str, float | str]) -> float:
    value = settings.get(coding.factor.variable, 0.0)
    if isinstance(value, str):
        return float(coding.levels.index(value)) if coding.levels else 0.0
    return value
