"""Say in lines for the log what is compared."""

from __future__ import annotations

from collections.abc import Iterator

from nidecomp.comparison.absent import grouped
from nidecomp.comparison.records import Contrast, Design
from nidecomp.core.text import count


def formula_in_words(formula: str) -> str:
    """Return a formula; that of a mean alone says so."""
    return f"{formula} (a mean, without variables)" if formula == "1" else formula


def design_as_lines(design: Design) -> tuple[str, ...]:
    """Return what is compared: the model, who is in it and who is not, the tests, and notes.

    Parameters
    ----------
    design : Design

    Returns
    -------
    tuple of str
        One line each, without indentation.
    """
    return tuple(_lines(design))


def _lines(design: Design) -> Iterator[str]:
    within = f"the difference {design.within} of " if design.within else ""
    blocks = f", permuted within {design.blocks_column}" if design.blocks else ""
    yield (
        f"Comparing {within}{count(len(design.people), 'participant')} in the model "
        f"{formula_in_words(design.formula)}{blocks}; its columns are {', '.join(design.columns)}"
    )
    for contrast in design.contrasts:
        yield f"Test {_in_words(contrast)}"
    if design.left_out:
        yield f"Left out of the comparison: {count(len(design.left_out), 'participant')}"
        yield from grouped(design.left_out).splitlines()
    for note in design.notes:
        yield f"Note: {note}"


def _in_words(contrast: Contrast) -> str:
    if contrast.statistic == "F":
        return f"{contrast.text} (F with {len(contrast.weights)} degrees of freedom)"
    return f"{contrast.text} (t): positive means {contrast.positive}"
