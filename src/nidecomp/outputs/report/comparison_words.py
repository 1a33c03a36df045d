"""What a comparison of participants found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nidecomp.core.text import count
from nidecomp.outputs.report.comparison_results import (
    ALPHA,
    WrittenComparison,
    WrittenTest,
    is_compared,
)
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.words import listed

# More than these are told by their number.
_MOST_EDGES = 12


@dataclass(frozen=True)
class Finding:
    """A component, or a pair of them, with what was found.

    Parameters
    ----------
    components : tuple of str
    text : str
        ``larger in patients, p = 0.012 corrected over 18 components``.
    p : float
    """

    components: tuple[str, ...]
    text: str
    p: float


@dataclass(frozen=True)
class Answer:
    """What one test says of one measure in one decomposition.

    Parameters
    ----------
    measure : str
        ``Maps``, ``Amplitudes``, ``Connectome (correlation)``.
    found : tuple of Finding
        The smallest p first.
    nothing : str
        What is said where nothing was found.
    nearest : Finding or None
        What has the smallest p, where nothing was found; its text is that value.
    over : str
        What that p is corrected over.
    is_about_edges : bool
    """

    measure: str
    found: tuple[Finding, ...]
    nothing: str = ""
    nearest: Finding | None = None
    over: str = ""
    is_about_edges: bool = False


def p_in_words(p: float) -> str:
    """Return a p value as it stands in a sentence: ``p = 0.012``."""
    if not math.isfinite(p):
        return "p unknown"
    if p < 1e-4:
        return "p < 0.0001"
    return f"p = {float(f'{p:.2g}'):g}"


def family(comparison: WrittenComparison) -> str:
    """Return what p values of maps and amplitudes are corrected over: components and tests."""
    return _over(f"{count(comparison.n_compared, 'component')}", comparison)


def _over(what: str, comparison: WrittenComparison) -> str:
    n_tests = len(comparison.tests)
    return f"corrected over {what}" + (f" and {n_tests} tests" if n_tests > 1 else "")


def map_p(comparison: WrittenComparison, row: Row) -> float:
    """Return the p that decides about the map of a component; NaN where there is none."""
    return (
        number(row.get(f"map_p_{comparison.inference}_all")) if comparison.inference else math.nan
    )


def is_found(p: float) -> bool:
    """Return whether a corrected p value is one of something found."""
    return p < ALPHA


def found_components(comparison: WrittenComparison, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of components whose map or amplitude differs, the smallest p first."""
    compared = [row for row in rows if is_compared(row)]
    return sorted((row for row in compared if is_found(_least(comparison, row))),
                  key=lambda row: _least(comparison, row))  # fmt: skip


def _least(comparison: WrittenComparison, row: Row) -> float:
    known = [
        p for p in (map_p(comparison, row), number(row.get("amplitude_p_all"))) if math.isfinite(p)
    ]
    return min(known, default=math.inf)


def answers(comparison: WrittenComparison, test: WrittenTest, decomposition: str) -> list[Answer]:
    """Return what a test says of a decomposition, a measure at a time.

    Parameters
    ----------
    comparison : WrittenComparison
    test : WrittenTest
    decomposition : str
        As the tables name it.

    Returns
    -------
    list of Answer
    """
    rows = [row for row in comparison.rows_of(decomposition, test) if is_compared(row)]
    over = family(comparison)
    found = []
    if comparison.inference:
        told = [(row, map_p(comparison, row), row.get("map_direction")) for row in rows]
        found.append(_answer("Maps", test, told, over))
    if comparison.has_amplitudes:
        told = [
            (row, number(row.get("amplitude_p_all")), row.get("amplitude_direction"))
            for row in rows
        ]
        found.append(_answer("Amplitudes", test, told, over))
    found += [_of_edges(comparison, test, decomposition, kind) for kind in comparison.edge_kinds]
    return found


def _answer(
    measure: str, test: WrittenTest, told: Iterable[tuple[Row, float, str | None]], over: str
) -> Answer:
    known = sorted(
        ((p, row, direction) for row, p, direction in told if math.isfinite(p)),
        key=lambda one: one[0],
    )
    found = tuple(
        Finding(
            (row.get("component", ""),),
            f"{_differs(test, direction)}, {p_in_words(p)} {over}",
            p,
        )
        for p, row, direction in known
        if is_found(p)
    )
    if found or not known:
        return Answer(measure, found, "" if found else "nothing could be compared")
    p, row, _ = known[0]
    nearest = Finding((row.get("component", ""),), _smallest(p), p)
    return Answer(measure, (), "nothing found", nearest, over)


def _smallest(p: float) -> str:
    return p_in_words(p).removeprefix("p ").removeprefix("= ")


def _differs(test: WrittenTest, direction: str | None) -> str:
    """Return how something differs: the direction, or for F that it does."""
    if words := test.direction(direction):
        return words
    return f"differs with {test.variable or test.text}"


def _of_edges(
    comparison: WrittenComparison, test: WrittenTest, decomposition: str, kind: str
) -> Answer:
    rows = comparison.edges_of(decomposition, test, kind)
    n_edges = len({frozenset(edge_of(row)) for row in rows})
    over = _over(count(n_edges, "edge"), comparison)
    known = sorted(
        ((p, row) for row in rows if math.isfinite(p := number(row.get("p_all")))),
        key=lambda one: one[0],
    )
    found = tuple(
        Finding(edge_of(row), f"{_differs(test, row.get('direction'))}, {p_in_words(p)} {over}", p)
        for p, row in known
        if is_found(p)
    )
    measure = f"Connectome ({kind})"
    if found or not known:
        nothing = "" if found else "nothing could be compared"
        return Answer(measure, found, nothing, is_about_edges=True)
    p, row = known[0]
    nearest = Finding(edge_of(row), _smallest(p), p)
    return Answer(measure, (), "no edge found", nearest, over, is_about_edges=True)


def edge_of(row: Row) -> tuple[str, str]:
    """Return the components of an edge."""
    return row.get("component_1", ""), row.get("component_2", "")


def network_words(rows: Sequence[Row]) -> str:
    """Return what the network-based statistic found; empty where it was not asked for.

    Parameters
    ----------
    rows : sequence of mapping
        The edges of one kind of connectome in one test.

    Returns
    -------
    str
    """
    if not rows or "network_p" not in rows[0]:
        return ""
    p = [found for row in rows if math.isfinite(found := number(row.get("network_p")))]
    if not p:
        return "Network-based statistic: no edge exceeds the threshold that forms networks."
    in_network = [one for one in p if is_found(one)]
    if not in_network:
        return f"Network-based statistic: no network found; the smallest {p_in_words(min(p))}."
    values = listed(p_in_words(one) for one in sorted(set(in_network)))
    return (
        f"Network-based statistic: {count(len(in_network), 'edge')} in networks that differ "
        f"({values}). It says that a network differs, not which of its edges do."
    )


def few_edges(found: Sequence[Finding]) -> tuple[Sequence[Finding], int]:
    """Return the first edges that were found, and how many there are besides."""
    return found[:_MOST_EDGES], max(0, len(found) - _MOST_EDGES)
