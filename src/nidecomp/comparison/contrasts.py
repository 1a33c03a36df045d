"""From what is to be tested (``--test``) to contrasts of the columns of the matrix."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison import words
from nidecomp.comparison.formula import Factor
from nidecomp.comparison.matrix import DesignMatrix
from nidecomp.comparison.model import MEAN, Model
from nidecomp.comparison.model_file import CONSTANT, GivenContrast
from nidecomp.comparison.records import Contrast
from nidecomp.comparison.within import sides_of
from nidecomp.comparison.words import Levels
from nidecomp.config.option import did_you_mean
from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted

_LEVEL = re.compile(r"(?P<variable>[^\W\d]\w*)\s*\[(?P<level>.*)\]")
_CODES = re.compile(r"(\d+)\s*-\s*(\d+)")
_WRAPPED = re.compile(r"(?:C|scale)\(\s*([^\W\d]\w*)\s*\)")
# Names of files have other entities, too.
_LONGEST_NAME = 40
_NEGLIGIBLE = 1e-10

# Settings of variables, with the sign that their row of the matrix has.
_Signed = tuple[float, dict[str, float | str]]


@dataclass(frozen=True)
class Tested:
    """A contrast with what is to be said about it."""

    contrast: Contrast
    notes: tuple[str, ...] = ()


def contrasts_of(
    model: Model, matrix: DesignMatrix, within: str | None
) -> tuple[tuple[Contrast, ...], tuple[str, ...]]:
    """Return the contrasts that are to be tested, and notes on them.

    Parameters
    ----------
    model : Model
    matrix : DesignMatrix
    within : str or None
        ``--within``.

    Returns
    -------
    contrasts : tuple of Contrast
        In the order of the model's, with distinct names.
    notes : tuple of str

    Raises
    ------
    UsageError
        A test is not possible in the model; the message says which are.
    """
    reader = _Tests(matrix, within)
    tested = [reader.read(" ".join(text.split())) for text in model.tests]
    given = [_given(one, matrix, within) for one in model.given]
    tested += [Tested(one, tuple(_notes_on_mean(one, matrix))) for one in given]
    contrasts = with_distinct_names([one.contrast for one in tested])
    notes = [note for one in tested for note in one.notes]
    return contrasts, tuple(dict.fromkeys([*notes, *_repeated(contrasts)]))


@dataclass(frozen=True)
class _Tests:
    matrix: DesignMatrix
    within: str | None

    def read(self, text: str) -> Tested:
        if text == MEAN:
            return self._mean()
        bare = _WRAPPED.sub(r"\1", text)
        variables = [part.strip() for part in bare.split(":")]
        if all(one in self.matrix.formula.variables for one in variables):
            return self._variables(text, sorted(set(variables), key=variables.index))
        if pair := self._difference(bare):
            return self._levels(text, pair)
        raise UsageError(f"--test {quoted(text)}: {self._why_not(bare)}")

    # ---------------------------------------------------------------- the kinds of tests
    def _mean(self) -> Tested:
        if self.within is None:
            raise UsageError(
                "--test mean: whether the mean differs from 0 can be tested with --within only; "
                "maps, amplitudes and connectomes of people are never 0 on average."
            )
        weights = self.matrix.values.mean(axis=0)[None, :]
        return Tested(_contrast(MEAN, weights, words.of_mean(*sides_of(self.within)), ""))

    def _variables(self, text: str, variables: Sequence[str]) -> Tested:
        if len(variables) > 1 and not self.matrix.formula.has_term_of(variables):
            joined = ":".join(variables)
            raise UsageError(
                f"--test {quoted(text)}: the model has no interaction {joined}; write "
                f"{'*'.join(variables)} in it."
            )
        steps = [list(self._steps(variable)) for variable in variables]
        weights = np.array([self._row(chosen) for chosen in product(*steps)])
        return self._tested(text, weights, variables, self._directions(variables))

    def _levels(self, text: str, pair: Levels) -> Tested:
        variable = pair.variable
        row = self._row([[(1.0, {variable: pair.level}), (-1.0, {variable: pair.other})]])
        said = words.of_levels(pair, self.within or "")
        return self._tested(text, row[None, :], [variable], said)

    def _steps(self, variable: str) -> Iterator[list[_Signed]]:
        """Yield what is compared with what: each level with the reference, or 1 with 0."""
        reference, *levels = self.matrix.levels.get(variable, (0.0, 1.0))
        for level in levels:
            yield [(1.0, {variable: level}), (-1.0, {variable: reference})]

    def _row(self, steps: Sequence[Sequence[_Signed]]) -> NDArray[np.float64]:
        """Return the difference (of differences, ...) between rows of the matrix."""
        total = np.zeros(self.matrix.values.shape[1])
        for chosen in product(*steps):
            sign = float(np.prod([one for one, _ in chosen]))
            settings = {name: value for _, of in chosen for name, value in of.items()}
            total += sign * self.matrix.expected(settings)
        total[np.abs(total) < _NEGLIGIBLE] = 0.0
        return total

    def _tested(
        self,
        text: str,
        weights: NDArray[np.float64],
        variables: Sequence[str],
        said: words.Directions | None,
    ) -> Tested:
        if not np.abs(weights).max(axis=1).all():
            others = " and ".join(self.matrix.interacts_with(variables))
            raise UsageError(
                f"--test {quoted(text)}: the model has it in interactions only, so that it is 0 "
                f"where {others} is 0. Test the interaction, or add {' + '.join(variables)}."
            )
        factors = [one for one in variables if one in self.matrix.levels]
        variable = (factors or list(variables))[0]
        contrast = _contrast(text, weights, said if len(weights) == 1 else None, variable)
        return Tested(contrast, tuple(self._notes(text, variables)))

    # ---------------------------------------------------------------- words
    def _directions(self, variables: Sequence[str]) -> words.Directions | None:
        difference = self.within or ""
        pairs = [
            Levels(one, *self.matrix.levels[one][1::-1])
            for one in variables
            if one in self.matrix.levels
        ]
        numbers = [one for one in variables if one not in self.matrix.levels]
        match pairs, numbers:
            case [pair], []:
                return words.of_levels(pair, difference)
            case [], [number]:
                return words.of_number(number, difference)
            case [pair], [number]:
                return words.of_slopes(number, pair, difference)
            case [one, two], []:
                return words.of_differences(one, two, difference)
            case [], [first, second]:
                return words.of_two_numbers(first, second, difference)
            case _:
                return words.of_others(":".join(variables), difference)

    def _notes(self, text: str, variables: Sequence[str]) -> Iterator[str]:
        for other in self.matrix.interacts_with(variables):
            joined = self._term_with(variables, other)
            because = f"because the model has {joined}"
            if other in self.matrix.levels:
                yield (
                    f"{text} is tested at the average of the levels of {other} "
                    f"({', '.join(self.matrix.levels[other])}), {because}."
                )
            elif self.matrix.coding_of(other).factor.kind == "scaled":
                yield f"{text} is tested at the mean of {other}, {because}."
            else:
                values = self.matrix.coding_of(other).values
                yield (
                    f"{text} is tested where {other} is 0 (people have {values.min():g} to "
                    f"{values.max():g}), {because}; with scale({other}) in the model it is tested "
                    f"at the mean of {other}."
                )

    def _term_with(self, variables: Sequence[str], other: str) -> str:
        """Return the first term that has one of some variables and another one."""
        terms = ([one.variable for one in term] for term in self.matrix.formula.terms)
        return ":".join(next(one for one in terms if other in one and {*one} & {*variables}))

    # ---------------------------------------------------------------- differences of levels
    def _difference(self, text: str) -> Levels | None:
        """Return the variable and both levels of ``patients - controls``, or None."""
        found = {
            pair
            for match in re.finditer("-", text)
            for pair in self._pairs(text[: match.start()].strip(), text[match.end() :].strip())
        }
        if len(found) > 1:
            written = " or ".join(
                f"{variable}[{level}] - {variable}[{other}]"
                for variable, level, other in sorted(found)
            )
            raise UsageError(
                f"--test {quoted(text)}: more than one variable has these levels: write {written}."
            )
        return found.pop() if found else None

    def _pairs(self, left: str, right: str) -> Iterator[Levels]:
        sides = [self._named(left), self._named(right)]
        for variable in self.matrix.levels:
            level, other = (side.get(variable) for side in sides)
            if level is not None and other is not None and level != other:
                yield Levels(variable, level, other)

    def _named(self, side: str) -> Mapping[str, str]:
        """Return the variables that have a level, named with its variable or without."""
        match = _LEVEL.fullmatch(side)
        if match and match["level"] in self.matrix.levels.get(match["variable"], ()):
            return {match["variable"]: match["level"]}
        return {name: side for name, levels in self.matrix.levels.items() if side in levels}

    def _has_codes(self, variable: str, text: str) -> bool:
        """Return whether a test is of values of a number as if it were a factor."""
        if text.startswith(f"{variable}["):
            return True
        sides = _CODES.fullmatch(text)
        if sides is None or variable in self.matrix.levels:
            return False
        values = self.matrix.coding_of(variable).values
        return all(bool(np.any(values == float(side))) for side in sides.groups())

    def _differences_of_levels(self) -> Iterator[str]:
        for levels in self.matrix.levels.values():
            yield from (f"{one} - {other}" for one, other in permutations(levels, 2))

    def _why_not(self, text: str) -> str:
        """Return why there is no such test, and which there are."""
        formula = self.matrix.formula
        if (match := _LEVEL.fullmatch(text)) and match["variable"] in self.matrix.levels:
            levels = self.matrix.levels[match["variable"]]
            other = next(one for one in levels if one != match["level"])
            return f"a level is tested against another one: {text} - {match['variable']}[{other}]."
        having = [name for name, levels in self.matrix.levels.items() if text in levels]
        if having:
            others = [one for one in self.matrix.levels[having[0]] if one != text]
            return f"a level is tested against another one: {text} - {others[0]}."
        known = list(formula.variables)
        known += [":".join(one.variable for one in term) for term in formula.terms if len(term) > 1]
        of_levels = [f"{one[1]} - {one[0]}" for one in self.matrix.levels.values()]
        means = [MEAN] if self.within is not None else []
        possible = ", ".join([*known, *of_levels, *means]) or "nothing but mean, with --within"
        hints = dict.fromkeys([*known, *self._differences_of_levels()])
        codes = [name for name in formula.variables if self._has_codes(name, text)]
        as_factor = (
            f" {codes[0]} is a number here; write C({codes[0]}) in the model." if codes else ""
        )
        return (
            f"the model {quoted(formula.text)} has no such test. It has: {possible}."
            f"{as_factor}{did_you_mean(text, hints)}"
        )


def _contrast(
    text: str, weights: NDArray[np.float64], said: words.Directions | None, variable: str
) -> Contrast:
    positive, negative = said or ("", "")
    return Contrast(name_of(text), text, weights, positive, negative, variable)


def _given(given: GivenContrast, matrix: DesignMatrix, within: str | None) -> Contrast:
    """Return a contrast of a model file."""
    weights = np.zeros((len(given.weights), len(matrix.names)))
    for place, column in enumerate(given.columns):
        weights[:, matrix.names.index(column)] += [row[place] for row in given.weights]
    if np.linalg.matrix_rank(weights) < len(weights):
        raise UsageError(
            f"Contrast {quoted(given.name)} of --model-file: a row of its weights follows from the "
            "others."
        )
    factors = {factor.text: factor for factor in matrix.formula.factors}
    own = [factors[column] for column in dict.fromkeys(given.columns) if column in factors]
    variable = own[0].variable if own else ""
    if len(weights) > 1:
        return _contrast(given.name, weights, None, variable)
    signs = {name: np.sign(weight) for name, weight in zip(matrix.names, weights[0], strict=True)}
    up = [factor for factor in own if signs[factor.text] > 0]
    down = [factor for factor in own if signs[factor.text] < 0]
    said = words.of_others(given.name, within or "")
    match up, down:
        case [one], [other] if one.level and other.level and one.variable == other.variable:
            said = words.of_levels(Levels(one.variable, one.level, other.level), within or "")
        case [one], [] if one.kind != "indicator":
            said = words.of_number(one.variable, within or "")
        case [one], [] if _is_only_one_of_its_variable(one, matrix):
            said = words.of_levels(Levels(one.variable, one.level, "others"), within or "")
        case [], [] if within is not None and len(matrix.names) == 1:
            said = words.of_mean(*sides_of(within))
    return _contrast(given.name, weights, said, variable)


def _notes_on_mean(contrast: Contrast, matrix: DesignMatrix) -> Iterator[str]:
    """Yield where numbers are, if the weights of a model file are about the constant."""
    weights = dict(zip(matrix.names, contrast.weights.T, strict=True))
    if CONSTANT not in weights or not weights[CONSTANT].any():
        return
    for name, values in zip(matrix.names, matrix.values.T, strict=True):
        if not weights[name].any() and abs(values.mean()) > _NEGLIGIBLE * np.abs(values).max():
            yield (
                f"{contrast.text} is tested where {name} is 0 (people have {values.min():g} to "
                f"{values.max():g}), because its weight is 0. That is not the mean of all people."
            )


def _is_only_one_of_its_variable(factor: Factor, matrix: DesignMatrix) -> bool:
    """Return whether an indicator compares a level with all others."""
    alike = [one for one in matrix.formula.factors if one.variable == factor.variable]
    return matrix.formula.has_constant and alike == [factor]


def name_of(text: str) -> str:
    """Return the label of a test in names of files.

    Examples
    --------
    >>> name_of("patients - controls"), name_of("group:age"), name_of("mean_fd")
    ('patientsMinusControls', 'groupByAge', 'meanFd')
    """
    spoken = re.sub(r"\s*:\s*", " by ", re.sub(r"(?:^|\s)-\s", " minus ", text))
    plain = unicodedata.normalize("NFKD", spoken).encode("ascii", "ignore").decode()
    first, *others = re.findall(r"[A-Za-z0-9]+", plain) or ["test"]
    return "".join([first, *(one[0].upper() + one[1:] for one in others)])[:_LONGEST_NAME]


def with_distinct_names(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Return contrasts whose names differ, also where upper and lower case do not count."""
    used: set[str] = set()
    found: list[Contrast] = []
    for one in contrasts:
        name, number = one.name, 1
        while name.casefold() in used:
            number += 1
            name = f"{one.name}X{number}"
        used.add(name.casefold())
        found.append(replace(one, name=name))
    return tuple(found)


def _repeated(contrasts: Sequence[Contrast]) -> Iterator[str]:
    for place, one in enumerate(contrasts):
        for other in contrasts[:place]:
            if _same_hypothesis(one.weights, other.weights):
                yield f"{other.text} and {one.text} are the same hypothesis, which is tested twice."


def _same_hypothesis(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    if one.shape != other.shape:
        return False
    both = np.vstack([one, other])
    sizes = np.linalg.norm(both, axis=1, keepdims=True)
    return bool(np.linalg.matrix_rank(both / sizes, tol=1e-8) == len(one))
