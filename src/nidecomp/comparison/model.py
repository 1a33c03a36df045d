"""What is asked of a comparison: the formula and its tests, from options or from a file.

Nothing slow is imported here, so that mistakes are told at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nidecomp.comparison.formula import Formula, read_formula
from nidecomp.comparison.model_file import GivenContrast, read_model
from nidecomp.comparison.participants import KNOWN
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.errors import UsageError

# --test: whether the mean of differences is 0.
MEAN = "mean"


@dataclass(frozen=True)
class Model:
    """A model and what is tested in it.

    Parameters
    ----------
    formula : Formula
    tests : tuple of str
        Each as for ``--test``.
    given : tuple of GivenContrast
        Contrasts with weights, of a model file.
    notes : tuple of str
    """

    formula: Formula
    tests: tuple[str, ...] = ()
    given: tuple[GivenContrast, ...] = ()
    notes: tuple[str, ...] = ()


def model_of(options: ComparisonOptions) -> Model:
    """Return the model that options ask for.

    Parameters
    ----------
    options : ComparisonOptions
        With ``--within`` alone, the mean difference is tested.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        The formula or the model file is not valid, or nothing is tested.
    """
    if options.model_file is not None:
        read = read_model(Path(options.model_file), has_differences=options.within is not None)
        model = Model(read.formula, (), read.contrasts, read.notes)
    else:
        formula = read_formula(options.model if options.model is not None else "1")
        tests = options.test
        if not formula.terms and options.within is not None:
            tests = tests or (MEAN,)
        model = Model(formula, tests)
        if not tests:
            possible = ", ".join(formula.variables) or "mean, with --within"
            raise UsageError(
                f"--model {formula.text!r}: say with --test what is tested; the model has "
                f"{possible}."
            )
    if MEAN in model.formula.variables:
        raise UsageError(
            "A variable of the model is called mean, which --test has another meaning for: rename "
            "the column in the table."
        )
    return model


def named_columns(model: Model, options: ComparisonOptions) -> tuple[str, ...]:
    """Return the distinct names of the variables of a model and of ``--blocks``."""
    blocks = () if options.blocks is None else (options.blocks,)
    return tuple(dict.fromkeys((*model.formula.variables, *blocks)))


def needs_table(options: ComparisonOptions) -> bool:
    """Return whether a model has variables that are not known without a table of participants.

    Raises
    ------
    UsageError
        As `model_of`.
    """
    return not set(named_columns(model_of(options), options)) <= set(KNOWN)
