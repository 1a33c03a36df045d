"""Formulas: what is allowed is understood as elsewhere, and nothing else reaches anything."""

from __future__ import annotations

import itertools
import os

import formulaic
import pytest
from comparison_examples import AGES, design_of, with_column
from hypothesis import example, given
from hypothesis import strategies as st
from option_examples import LAW

from nidecomp.comparison.formula import Formula, read_formula
from nidecomp.core.errors import UsageError

names = st.sampled_from(["a", "b", "c", "d"])
formulas = st.recursive(
    names,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", ":", " * "]), inner).map("".join),
        inner.map("({})".format),
    ),
    max_leaves=6,
)


def terms_of(text: str) -> set[frozenset[str]]:
    formula = read_formula(text)
    constant = {frozenset[str]()} if formula.has_constant else set()
    return constant | {frozenset(one.variable for one in term) for term in formula.terms}


def formulaic_terms(text: str) -> set[frozenset[str]]:
    parsed = formulaic.Formula(text)
    return {
        frozenset(str(factor) for factor in term.factors if str(factor) != "1") for term in parsed
    }


@LAW
@example("a*b*c")
@example("(a + b):c")
@example("a + b:a + a:b")
@given(formulas)
def test_terms_are_those_of_formulaic(text: str) -> None:
    assert terms_of(text) == formulaic_terms(text)


@pytest.mark.parametrize("text", ["0 + a", "a + 0", "a - 1", "-1 + a", "1 + a", "a + b:c - 1", "1"])
def test_the_constant_is_there_unless_it_is_left_out(text: str) -> None:
    assert terms_of(text) == formulaic_terms(text)


def test_terms_with_fewer_factors_come_first() -> None:
    formula = read_formula("a:b + c + C(d)*scale(e)")
    texts = [":".join(factor.text for factor in term) for term in formula.terms]
    assert texts == ["c", "C(d)", "scale(e)", "a:b", "C(d):scale(e)"]
    assert formula.variables == ("c", "d", "e", "a", "b")


HOSTILE = [
    "{open('hacked', 'w')}",
    "a + {__import__('os').system('touch hacked')}",
    "open('hacked', 'w')",
    "a + C(open('hacked', 'w'))",
    "C(a, contr.treatment(open('hacked','w')))",
    "scale(__import__('os').system('touch hacked'))",
    "`a`",
    "a.__class__",
    "(lambda: 0)()",
    "a[0]",
    "Q('a')",
    "I(a)",
    "np.log(a)",
    "poly(a, 2)",
    "a ~ b",
    "y ~ a",
    "~ a",
    "a | b",
    "a ** 2",
    "a ^ 2",
    "a / b",
    "a %in% b",
    "a, b",
    "a; b",
    "a = b",
    "a @ b",
    '"a"',
    "'a'",
    "a\\b",
    "\0",
    "a\u2028{1}",
    "C",  # a name like any other, which the table does not have
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_formula_runs_code(
    text: str, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = with_column("a", [str(age) for age in AGES])
    design_of("a", "a", table=table)
    with pytest.raises(UsageError):
        design_of(text, "a", table=table)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@LAW
@given(
    st.text(st.sampled_from("ab C()scale+-*:01{}`~.'\"[]_@ ,"), max_size=20) | st.text(max_size=9)
)
def test_any_text_is_a_formula_of_its_names_or_is_refused(text: str) -> None:
    try:
        formula = read_formula(text)
    except UsageError as error:
        assert len(str(error)) < 600
        return
    assert isinstance(formula, Formula)
    assert all(name.isidentifier() or name.isalnum() for name in formula.variables)
    assert all(name in text for name in formula.variables)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("a +", "it ends where a name is expected"),
        ("+ + a", "a name is expected in place of '+'"),
        ("a b", "'b' is not expected there"),
        ("(a", "a parenthesis is not closed"),
        ("a)", "')' is not expected there"),
        ("a - b", "only the constant can be subtracted"),
        ("body-mass", "must be renamed"),
        ("a + 2", "the number 2 is not allowed"),
        ("0.5", "the number 0.5 is not allowed"),
        ("0:a", "nothing can be joined"),
        ("(0 + a)", "outside parentheses only"),
        ("log(a)", "'log()' is not allowed"),
        ("C(scale(a))", "a parenthesis is not closed, or has more in it"),
        ("C(1)", "C() needs the name of a column"),
        ("group ~ age", "leave out ~"),
        ("{a}", "the character '{' is not allowed"),
        ("(" * 99 + "a" + ")" * 99, "nested too deeply"),
        ("a + scale(a):b", "it has a and scale(a): use a in one way"),
        ("C(a):b + a", "use a in one way"),
        ("a" * 3000, "longer than 2000 characters"),
        ("*".join(f"x{place}" for place in range(40)), "more than 200 terms"),
        (":".join(f"(a{n} + b{n} + c{n})" for n in range(40)), "more than 200 terms"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_formula(text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("--model ")


def test_blanks_do_not_matter() -> None:
    same = {read_formula(text).terms for text in ("a+b:C(c)", " a  + b : C( c ) ", "a\n+ b:C(c)")}
    assert len(same) == 1


def test_the_order_of_an_interaction_does_not_matter() -> None:
    orders = itertools.permutations(["a", "b", "c"])
    assert len({frozenset(terms_of(":".join(order))) for order in orders}) == 1
