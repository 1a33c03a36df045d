"""Read the dataset-level node of a BIDS Stats Model, as far as it says what a formula can say.

https://bids-standard.github.io/stats-models: the design (``Model.X``), the transformations Factor
and Scale, ``Contrasts`` and ``DummyContrasts``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nidecomp.comparison.formula import Factor, Formula, check_used_in_one_way
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line, parse_json, quoted, read_text

CONSTANT = "Intercept"
_TRANSFORMATIONS = ("Factor", "Scale")
_TESTS = ("t", "F")
# The constant is called 1 in X, and also Intercept in contrasts.
_ONE = ("1", "intercept")


@dataclass(frozen=True)
class GivenContrast:
    """A contrast with its weights.

    Parameters
    ----------
    name : str
    columns : tuple of str
        Names of columns of the matrix.
    weights : tuple of tuple of float
        One row for t, several for F.
    """

    name: str
    columns: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class StatsModel:
    """The model of a file, its contrasts, and what of the file was not used."""

    formula: Formula
    contrasts: tuple[GivenContrast, ...]
    notes: tuple[str, ...] = ()


def read_model(path: Path, *, has_differences: bool = False) -> StatsModel:
    """Return the model of the dataset-level node of a BIDS Stats Model.

    Parameters
    ----------
    path : Path
        The JSON file.
    has_differences : bool
        Whether differences within participants are compared (``--within``): otherwise, dummy
        contrasts leave out the constant, whose test would say nothing.

    Returns
    -------
    StatsModel

    Raises
    ------
    UsageError
        The file is no such model, or has something that is not supported.
    """
    if is_not_fetched(path):
        raise UsageError(f"--model-file: {not_fetched('the file', path)}.")
    try:
        content = parse_json(read_text(path))
    except OSError as error:
        raise UsageError(f"--model-file {path}: {error.strerror or error}.") from None
    except ValueError as error:
        raise UsageError(f"--model-file {path} is not JSON: {in_one_line(error)}.") from None
    try:
        return _Node(_dataset_node(content), has_differences).model(_notes(content))
    except ValueError as error:
        raise UsageError(f"--model-file {path}: {in_one_line(error)}.") from None


def _dataset_node(content: object) -> Mapping[str, Any]:
    nodes = content.get("Nodes") if isinstance(content, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise ValueError("it is no BIDS Stats Model: it needs a list of Nodes")
    found = [node for node in nodes if str(node.get("Level")).lower() == "dataset"]
    if len(found) != 1:
        raise ValueError(f"it has {len(found) or 'no'} nodes of Level Dataset, and must have one")
    node: Mapping[str, Any] = found[0]
    return node


def _notes(content: Any) -> list[str]:
    """Return what of the file is not used."""
    others = [
        str(node.get("Name") or node.get("Level"))
        for node in content["Nodes"]
        if str(node.get("Level")).lower() != "dataset"
    ]
    notes = []
    if others:
        notes.append(
            f"Of the model file, only its Dataset node is used, and not the others "
            f"({', '.join(others)})."
        )
    if content.get("Input"):
        notes.append("Input of the model file is not used: options select participants and runs.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True)
class _Node:
    """The dataset-level node."""

    content: Mapping[str, Any]
    has_differences: bool
    # What transformations make: the name of a column to its variable and kind.
    made: dict[str, Factor] = field(default_factory=dict)
    factors: set[str] = field(default_factory=set)

    def model(self, notes: Sequence[str]) -> StatsModel:
        described = self._table("Model")
        self._check(described)
        self._transform()
        columns = described.get("X")
        if not isinstance(columns, list) or not columns:
            raise ValueError("Model.X of its Dataset node must be a list of columns")
        names = [self._name(column, "Model.X") for column in columns]
        factors = {name: self._factor(name) for name in names if name not in _ONE}
        has_constant = len(factors) < len(names)
        contrasts = tuple(self._contrasts(factors, has_constant=has_constant))
        if not contrasts:
            raise ValueError("its Dataset node has neither Contrasts nor DummyContrasts")
        terms = tuple((factor,) for factor in dict.fromkeys(factors.values()))
        first = ["1" if has_constant else "0"]
        text = " + ".join([*first, *(term[0].text for term in terms)])
        formula = Formula(text, terms, has_constant)
        check_used_in_one_way(formula)
        return StatsModel(formula, contrasts, tuple(notes))

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self.content.get(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"{name} of its Dataset node must be an object")
        return table

    def _check(self, described: Mapping[str, Any]) -> None:
        kind = described.get("Type", "glm")
        if str(kind).lower() != "glm":
            raise ValueError(f"Model.Type {quoted(kind)} is not supported: it must be glm")
        groups = self.content.get("GroupBy", [])
        if not isinstance(groups, list) or not {str(one) for one in groups} <= {"contrast"}:
            raise ValueError(
                f"GroupBy {quoted(groups)} of its Dataset node is not supported: all participants "
                'are in one model, so that it must be ["contrast"] or []'
            )

    # ---------------------------------------------------------------- transformations
    def _transform(self) -> None:
        described = self._table("Transformations")
        steps = described.get("Instructions", [])
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise ValueError("Transformations.Instructions must be a list of objects")
        for step in steps:
            name = step.get("Name")
            if name not in _TRANSFORMATIONS:
                raise ValueError(
                    f"the transformation {quoted(name)} is not supported; supported are "
                    f"{_listed(_TRANSFORMATIONS)}. Add a column to the participants' table"
                )
            inputs = self._names(step.get("Input"), f"Input of {name}")
            if name == "Factor":
                self.factors.update(inputs)
            else:
                self._scale(step, inputs)

    def _scale(self, step: Mapping[str, Any], inputs: Sequence[str]) -> None:
        if not (step.get("Demean", True) is True and step.get("Rescale", True) is True):
            raise ValueError("Scale must have Demean and Rescale; other settings are not supported")
        outputs = self._names(step.get("Output", list(inputs)), "Output of Scale")
        if len(outputs) != len(inputs):
            raise ValueError("Scale must have as many Output as Input")
        for name, variable in zip(outputs, inputs, strict=True):
            if variable in self.made:
                raise ValueError(f"{quoted(variable)} is transformed twice")
            self.made[name] = Factor(variable, "scaled")

    def _names(self, given: object, what: str) -> list[str]:
        listed = given if isinstance(given, list) else [given]
        return [self._name(one, what) for one in listed]

    @staticmethod
    def _name(given: object, what: str) -> str:
        is_one = given == 1 and not isinstance(given, bool)
        if not is_one and (not isinstance(given, str) or not given):
            raise ValueError(f"{what} has {quoted(given)}, which is no name of a column")
        if any(sign in str(given) for sign in "*?"):
            raise ValueError(f"{what} has {quoted(given)}: patterns are not supported")
        text = str(given)
        return text.lower() if text.lower() in _ONE else text

    def _factor(self, name: str) -> Factor:
        """Return the factor that a column of X stands for."""
        if name in self.made:
            return self.made[name]
        variable, point, level = name.partition(".")
        if point and variable in self.factors:
            return Factor(variable, "indicator", level)
        if name in self.factors:
            raise ValueError(
                f"Model.X has {quoted(name)}, which Factor replaces by a column for each level, "
                f"such as {name}.<level>"
            )
        return Factor(name)

    # ---------------------------------------------------------------- contrasts
    def _contrasts(
        self, factors: Mapping[str, Factor], *, has_constant: bool
    ) -> Iterator[GivenContrast]:
        columns = dict.fromkeys(_ONE, CONSTANT) if has_constant else {}
        columns |= {name: factor.text for name, factor in factors.items()}
        listed = self.content.get("Contrasts", [])
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise ValueError("Contrasts of its Dataset node must be a list of objects")
        for place, described in enumerate(listed, start=1):
            yield self._given(described, f"contrast {place}", columns)
        yield from self._dummies(columns)

    def _given(
        self, described: Mapping[str, Any], what: str, columns: Mapping[str, str]
    ) -> GivenContrast:
        name = described.get("Name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{what} needs a Name")
        what = f"contrast {quoted(name)}"
        conditions = self._names(described.get("ConditionList"), f"ConditionList of {what}")
        chosen = [_column(one, columns, what) for one in conditions]
        test = described.get("Test")
        if test not in _TESTS:
            raise ValueError(f"Test of {what} is {quoted(test)}; it must be t or F")
        weights = _weights(described.get("Weights"), len(chosen), what)
        # An F test of one row says the same as t, and the direction, too.
        if test == "t" and len(weights) > 1:
            raise ValueError(f"{what} is a t test with {len(weights)} rows of Weights")
        return GivenContrast(" ".join(name.split()), tuple(chosen), weights)

    def _dummies(self, columns: Mapping[str, str]) -> Iterator[GivenContrast]:
        described = self.content.get("DummyContrasts")
        if described is None:
            return
        if not isinstance(described, dict) or described.get("Test", "t") != "t":
            raise ValueError("DummyContrasts of its Dataset node must have Test t")
        of_all = [
            name
            for name in columns
            if name != "intercept" and (self.has_differences or name != "1")
        ]
        chosen = self._names(described.get("Contrasts", of_all), "Contrasts of DummyContrasts")
        # Beside other columns, the constant is what is expected where these are 0.
        constant = "mean" if set(columns.values()) == {CONSTANT} else CONSTANT
        for name in chosen:
            column = _column(name, columns, "DummyContrasts")
            yield GivenContrast(constant if column == CONSTANT else name, (column,), ((1.0,),))


def _column(name: str, columns: Mapping[str, str], what: str) -> str:
    if name not in columns:
        known = _listed([one for one in columns if one != "intercept"])
        raise ValueError(f"{what} has {quoted(name)}, which is not in Model.X: it has {known}")
    return columns[name]


def _weights(given: object, n_columns: int, what: str) -> tuple[tuple[float, ...], ...]:
    rows = given if isinstance(given, list) and given and isinstance(given[0], list) else [given]
    found = tuple(tuple(_numbers(row, what)) for row in rows)
    if any(len(row) != n_columns for row in found):
        raise ValueError(f"Weights of {what} must have a number for each of ConditionList")
    if not all(any(row) for row in found):
        raise ValueError(f"Weights of {what} are all 0")
    return found


def _numbers(row: object, what: str) -> Iterator[float]:
    for value in row if isinstance(row, list) else [None]:
        number = _number(value)
        if not math.isfinite(number):
            raise ValueError(f"Weights of {what} must be a list of numbers")
        yield number


def _number(value: object) -> float:
    """Return a weight, NaN where it is none; the standard allows fractions such as ``"1/3"``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    top, slash, bottom = str(value).partition("/") if isinstance(value, str) else ("", "", "")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        return math.nan
