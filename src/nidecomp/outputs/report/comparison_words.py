"""What a comparison of participants found, in sentences; see `comparison.answers`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nidecomp.comparison.answers import ALPHA, Answer, Finding, p_in_words
from nidecomp.core.text import count
from nidecomp.outputs.report.comparison_results import (
    WrittenComparison,
    WrittenTest,
    is_compared,
    kind_in_words,
)
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.words import listed

_MEASURES = {"maps": "Maps", "amplitudes": "Amplitudes", "connectomes": "Connectome"}


def measure_of(answer: Answer) -> str:
    """Return what an answer is about: ``Maps``, ``Connectome (correlation)``."""
    kind = f" ({kind_in_words(answer.kind)})" if answer.kind else ""
    return _MEASURES[answer.measure] + kind


def is_about_edges(answer: Answer) -> bool:
    """Return whether an answer is about connectomes."""
    return answer.measure == "connectomes"


def text_of_finding(answer: Answer, finding: Finding) -> str:
    """Return ``larger in patients, p = 0.012 corrected over 18 components``."""
    return f"{finding.direction}, {p_in_words(finding.p)} corrected over {answer.corrected_over}"


def nothing_in_words(answer: Answer) -> str:
    """Return what is said where nothing was found, without the smallest p."""
    noun = "edge" if is_about_edges(answer) else "component"
    if not math.isfinite(answer.smallest_p):
        return f"no {noun} could be tested"
    return f"nothing found: no {noun} differs"


def smallest_in_words(answer: Answer) -> str:
    """Return the smallest p without its letter: ``0.23``, or ``below 0.0001``."""
    words = p_in_words(answer.smallest_p).removeprefix("p ")
    return words.removeprefix("= ").replace("< ", "below ")


def family(comparison: WrittenComparison, decomposition: str) -> str:
    """Return what p values of maps and amplitudes are corrected over: ``18 components``."""
    n_components = len(comparison.compared_in(decomposition))
    n_tests = len(comparison.tests)
    tests = f" and {n_tests} tests" if n_tests > 1 else ""
    return count(n_components, "component") + tests


def map_p(comparison: WrittenComparison, row: Row) -> float:
    """Return the p that decides about the map of a component; NaN where there is none."""
    inference = comparison.inference
    return number(row.get(f"map_p_{inference}_all")) if inference else math.nan


def is_found(p: float) -> bool:
    """Return whether a corrected p value is one of something found."""
    return p < ALPHA


def found_components(comparison: WrittenComparison, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of components whose map or amplitude differs, the smallest p first."""
    keyed = [(_least(comparison, row), row) for row in rows if is_compared(row)]
    return [row for p, row in sorted(keyed, key=lambda one: one[0]) if is_found(p)]


def _least(comparison: WrittenComparison, row: Row) -> float:
    both = (map_p(comparison, row), number(row.get("amplitude_p_all")))
    return min((p for p in both if math.isfinite(p)), default=math.inf)


def answers_of(
    comparison: WrittenComparison, test: WrittenTest, decomposition: str
) -> list[Answer]:
    """Return what a test says of a decomposition, a measure at a time."""
    wanted = (decomposition, test.name)
    return [one for one in comparison.answers if (one.decomposition, one.contrast) == wanted]


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
    in_networks = [one for one in p if is_found(one)]
    if not in_networks:
        return f"Network-based statistic: no network found; the smallest {p_in_words(min(p))}."
    values = listed(p_in_words(one) for one in sorted(set(in_networks)))
    return (
        f"Network-based statistic: {count(len(in_networks), 'edge')} in networks that differ "
        f"({values}). It says that a network differs, not which of its edges do."
    )
