"""Read the formula of a model, so that nothing in it can be run as code.

formulaic evaluates parts of formulas as Python. Therefore formulas are read here: they may have
names, ``+ : * ( )``, 0 or 1, ``C()`` and ``scale()``. formulaic is given names that are made by us.

Only the standard library is imported here, so that a mistyped formula is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted

# plain: as it is in the table; factor: C(); scaled: scale(); indicator: 1 for one level, else 0.
FactorKind = Literal["plain", "factor", "scaled", "indicator"]
ALLOWED = (
    "A formula may have names of columns (letters, digits and _), + : * ( ), 0 or 1, C() and "
    "scale(). Columns whose names have other characters must be renamed in the table."
)
_CALLS: dict[str, FactorKind] = {"C": "factor", "scale": "scaled"}
_TOKEN = re.compile(r"\s*(?:(?P<name>[^\W\d]\w*)|(?P<number>[0-9.]+)|(?P<sign>[+\-:*()]))")
# Far beyond any model that can be estimated; they bound the time that a formula can take.
_LONGEST, _DEEPEST, _MOST_TERMS = 2000, 20, 200


@dataclass(frozen=True)
class Factor:
    """A variable as a term of the model uses it.

    `level` is that of an indicator, and empty for the other kinds.
    """

    variable: str
    kind: FactorKind = "plain"
    level: str = ""

    @property
    def text(self) -> str:
        """The name that columns of the matrix have."""
        match self.kind:
            case "factor":
                return f"C({self.variable})"
            case "scaled":
                return f"scale({self.variable})"
            case "indicator":
                return f"{self.variable}.{self.level}"
            case _:
                return self.variable


# Distinct factors that are multiplied; none: the constant.
Term = tuple[Factor, ...]


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Parameters
    ----------
    text : str
        As it was given.
    terms : tuple of Term
        Distinct, without the constant; those with fewest factors come first.
    has_constant : bool
    """

    text: str
    terms: tuple[Term, ...]
    has_constant: bool = True

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The distinct factors, in the order of the formula."""
        return tuple(dict.fromkeys(factor for term in self.terms for factor in term))

    @property
    def variables(self) -> tuple[str, ...]:
        """The distinct names of variables, in the order of the formula."""
        return tuple(dict.fromkeys(factor.variable for factor in self.factors))

    def has_term_of(self, variables: Iterable[str]) -> bool:
        """Return whether a term is of these variables and of no other."""
        wanted = set(variables)
        return any({factor.variable for factor in term} == wanted for term in self.terms)


def read_formula(text: str, option: str = "--model") -> Formula:
    """Return a formula, checked.

    Parameters
    ----------
    text : str
        The right side of a formula, such as ``group + age``.
    option : str
        What the message says where the formula was given.

    Returns
    -------
    Formula

    Raises
    ------
    UsageError
        The formula has something that is not allowed, or is no formula.

    Examples
    --------
    >>> [[factor.text for factor in term] for term in read_formula("group * scale(age)").terms]
    [['group'], ['scale(age)'], ['group', 'scale(age)']]
    """
    try:
        return _Reader(text).formula()
    except ValueError as error:
        raise UsageError(f"{option} {quoted(text)}: {error}") from None


def check_used_in_one_way(formula: Formula) -> None:
    """Raise ValueError for a variable that is both a number and a factor, or also scaled."""
    first: dict[str, Factor] = {}
    for factor in formula.factors:
        other = first.setdefault(factor.variable, factor)
        if other.kind != factor.kind:
            raise ValueError(
                f"it has {other.text} and {factor.text}: use {factor.variable} in one way."
            )


class _Token(NamedTuple):
    kind: str
    text: str


_END = _Token("end", "")


def _tokens(text: str) -> list[_Token]:
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST} characters.")
    found: list[_Token] = []
    place = 0
    rest = text.rstrip()
    while place < len(rest):
        match = _TOKEN.match(rest, place)
        if match is None:
            wrong = rest[place:].lstrip()[0]
            if wrong == "~":
                raise ValueError(
                    "leave out ~ and what stands before it: participants' maps, amplitudes and "
                    "connectomes are what is explained."
                )
            raise ValueError(f"the character {quoted(wrong)} is not allowed. {ALLOWED}")
        found.append(_Token(str(match.lastgroup), str(match[match.lastgroup or 0])))
        place = match.end()
    return found


class _Reader:
    """Reads a formula from left to right, with one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = _tokens(text)[::-1]
        self._has_constant = True
        self._depth = 0

    def formula(self) -> Formula:
        if not self._left:
            raise ValueError(f"it is empty. {ALLOWED}")
        terms = self._sum()
        if self._next != _END:
            raise ValueError(f"{quoted(self._next.text)} is not expected there. {ALLOWED}")
        chosen = sorted(filter(None, terms), key=len)
        formula = Formula(" ".join(self._text.split()), tuple(chosen), self._has_constant)
        check_used_in_one_way(formula)
        return formula

    @property
    def _next(self) -> _Token:
        return self._left[-1] if self._left else _END

    def _takes(self, sign: str) -> bool:
        """Return whether a sign comes next, and go past it."""
        if self._next != ("sign", sign):
            return False
        self._left.pop()
        return True

    def _sum(self) -> list[Term]:
        terms: list[Term] = []
        is_first = True
        while True:
            if self._takes("-"):
                self._subtract()
            elif is_first or self._takes("+"):
                if self._next == ("number", "0"):
                    self._left.pop()
                    self._leave_out_constant()
                else:
                    terms = _distinct([*terms, *self._product()])
            else:
                return terms
            is_first = False

    def _subtract(self) -> None:
        if self._next != ("number", "1"):
            raise ValueError(
                "only the constant can be subtracted (- 1). Leave out terms that you do not want; "
                "levels are compared with --test. A column whose name has a hyphen must be renamed "
                "in the table."
            )
        self._left.pop()
        self._leave_out_constant()

    def _leave_out_constant(self) -> None:
        if self._depth:
            raise ValueError("the constant can be left out (0 or - 1) outside parentheses only.")
        if self._next.text in {"*", ":"}:
            raise ValueError("0 and - 1 leave out the constant, and nothing can be joined to them.")
        self._has_constant = False

    def _product(self) -> list[Term]:
        terms = self._interaction()
        while self._takes("*"):
            other = self._interaction()
            terms = _distinct([*terms, *other, *_joined(terms, other)])
        return terms

    def _interaction(self) -> list[Term]:
        terms = self._atom()
        while self._takes(":"):
            terms = _joined(terms, self._atom())
        return terms

    def _atom(self) -> list[Term]:
        token = self._next
        if self._takes("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise ValueError("its parentheses are nested too deeply.")
            terms = self._sum()
            self._depth -= 1
            self._close()
            return terms
        if token.kind == "end":
            raise ValueError(f"it ends where a name is expected. {ALLOWED}")
        if token.kind == "sign":
            raise ValueError(f"a name is expected in place of {quoted(token.text)}. {ALLOWED}")
        self._left.pop()
        if token.kind == "number":
            if token.text != "1":
                raise ValueError(
                    f"the number {token.text} is not allowed: 1 is the constant, and 0 or - 1 "
                    "leaves it out."
                )
            return [()]
        if self._takes("("):
            return [(self._call(token.text),)]
        return [(Factor(token.text),)]

    def _call(self, function: str) -> Factor:
        if function not in _CALLS:
            raise ValueError(
                f"{quoted(function + '()')} is not allowed: functions other than C() and scale() "
                "cannot be computed in a formula. Add a column to the table."
            )
        name = self._next
        if name.kind != "name":
            raise ValueError(f"{function}() needs the name of a column.")
        self._left.pop()
        self._close()
        return Factor(name.text, _CALLS[function])

    def _close(self) -> None:
        if not self._takes(")"):
            raise ValueError("a parenthesis is not closed, or has more in it than is allowed.")


def _distinct(terms: Sequence[Term]) -> list[Term]:
    """Return terms without repetitions; a:b and b:a are the same."""
    found = {frozenset(term): term for term in reversed(terms)}
    if len(found) > _MOST_TERMS:
        raise ValueError(f"it has more than {_MOST_TERMS} terms.")
    return list(found.values())[::-1]


def _joined(terms: Sequence[Term], others: Sequence[Term]) -> list[Term]:
    """Return the interactions of all terms with all others."""
    if len(terms) * len(others) > _MOST_TERMS**2:
        raise ValueError(f"it has more than {_MOST_TERMS} terms.")
    pairs = [tuple(dict.fromkeys((*one, *other))) for one in terms for other in others]
    return _distinct(pairs)
