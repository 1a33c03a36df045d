"""Make the design that participants are compared in, or say why it cannot be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from nidecomp.comparison.absent import grouped
from nidecomp.comparison.checks import (
    check_design,
    check_tests,
    notes_on_design,
    notes_on_influence,
)
from nidecomp.comparison.contrasts import contrasts_of
from nidecomp.comparison.matrix import DesignMatrix
from nidecomp.comparison.model import Model, model_of, named_columns
from nidecomp.comparison.participants import KNOWN, ParticipantTable, check_columns
from nidecomp.comparison.records import Absence, Design
from nidecomp.comparison.smallest_p import are_permuted, notes_on_smallest_p
from nidecomp.comparison.variables import Coding, Column, Value, code, notes_on, read_column
from nidecomp.comparison.within import Row, rows_of
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count

_SHOWN = 20

# Ratio of the numbers of volumes of participants.
_UNEQUAL = 2


def make_design(
    options: ComparisonOptions,
    table: ParticipantTable,
    runs: Iterable[UsableRun],
    absent: Sequence[Absence] = (),
    unused: Mapping[str, str] = MappingProxyType({}),
) -> Design:
    """Return the design of a comparison.

    Parameters
    ----------
    options : ComparisonOptions
    table : ParticipantTable
        An empty one if the model needs none.
    runs : iterable of UsableRun
        The runs whose maps can be compared, in any order.
    absent : sequence of Absence
        Participants without any of these runs who are known to be left out, with the reason.
    unused : mapping of str to str
        Participants who have more runs, to the reason why these cannot be used.

    Returns
    -------
    Design
        Its rows do not depend on the order of the table or of the runs.

    Raises
    ------
    UsageError
        The formula, a test or the table is not valid.
    NothingToDoError
        There are too few people, or the model cannot be estimated from those that there are.
    """
    model = model_of(options)
    found = rows_of(runs, options.within, unused)
    named = named_columns(model, options)
    check_columns(named, table)
    rows, columns, lacking = _complete(found.rows, named, table)
    left_out = _sorted(
        (*absent, *found.left_out, *lacking), {row.measured.participant for row in rows}
    )
    if not rows:
        raise NothingToDoError(f"Nobody is left to be compared:\n{grouped(left_out)}")
    try:
        return _design(
            options,
            model,
            table,
            rows,
            columns,
            left_out=left_out,
            notes_on_rows=(*found.notes, *_on_unused(rows, unused)),
        )
    except NothingToDoError as error:
        if not left_out:
            raise
        raise NothingToDoError(f"{error}\nLeft out before that:\n{grouped(left_out)}") from None


def _design(
    options: ComparisonOptions,
    model: Model,
    table: ParticipantTable,
    rows: Sequence[Row],
    columns: Mapping[str, Column],
    *,
    left_out: tuple[Absence, ...],
    notes_on_rows: Sequence[str],
) -> Design:
    """Return the design of the participants who have a value of each variable."""
    codings = [code(factor, columns[factor.variable]) for factor in model.formula.factors]
    _check_no_text(model, codings)
    matrix = DesignMatrix(model.formula, codings, len(rows))
    has_differences = options.within is not None
    check_design(matrix, has_differences=has_differences)
    contrasts, on_tests = contrasts_of(model, matrix, options.within)
    blocks = columns[options.blocks].texts if options.blocks is not None else ()
    check_tests(matrix.values, contrasts, blocks, options)
    are_used = bool(blocks) and are_permuted(matrix.values, contrasts)
    notes = (
        *table.notes,
        *model.notes,
        *notes_on_rows,
        *_on_known(columns, table, has_differences=has_differences),
        *(
            note
            for coding in codings
            for note in notes_on(coding.factor, columns[coding.factor.variable], coding)
        ),
        *on_tests,
        *notes_on_design(matrix, contrasts),
        *_on_volumes(rows, model),
        *notes_on_influence(matrix.values, contrasts, [row.measured.participant for row in rows]),
        *notes_on_smallest_p(matrix.values, contrasts, blocks),
        *_on_blocks(blocks, options.blocks, are_used=are_used),
    )
    return Design(
        formula=model.formula.text,
        people=tuple(row.measured for row in rows),
        matrix=matrix.values,
        columns=matrix.names,
        contrasts=contrasts,
        blocks=blocks if are_used else (),
        blocks_column=(options.blocks or "") if are_used else "",
        within=options.within or "",
        variables={name: columns[name].values for name in model.formula.variables},
        left_out=left_out,
        notes=tuple(dict.fromkeys(notes)),
    )


def _sorted(left_out: Iterable[Absence], present: set[str]) -> tuple[Absence, ...]:
    """Return those left out by participant, each once, without those who are in the model."""
    first: dict[str, Absence] = {}
    for one in left_out:
        first.setdefault(one.participant, one)
    return tuple(first[person] for person in sorted(first) if person not in present)


def _check_no_text(model: Model, codings: Iterable[Coding]) -> None:
    """Raise UsageError where a model file uses text as a number: there, factors are made by it."""
    for coding in codings:
        if model.given and coding.levels:
            name = coding.factor.variable
            raise UsageError(
                f"--model-file: {name} is text: add the transformation Factor, and "
                f"{name}.{coding.levels[-1]} to X."
            )


# ---------------------------------------------------------------- values of variables
def _complete(
    rows: Sequence[Row], names: Iterable[str], table: ParticipantTable
) -> tuple[list[Row], dict[str, Column], list[Absence]]:
    """Return the rows with a value of each variable, the variables, and who has none."""
    names = tuple(names)
    needs_table = any(name in table.columns for name in names)
    without = _datasets_without(rows, names, table)
    chosen: list[Row] = []
    values: list[list[Value]] = []
    left_out: list[Absence] = []
    for row in rows:
        person = row.measured.participant
        if needs_table and person not in table.rows:
            hint = table.hint_at(person, row.runs[0].key.dataset)
            left_out.append(Absence(person, f"it is not in {table.short_name}{hint}"))
            continue
        own = [_value(name, row, table) for name in names]
        missing = [name for name, value in zip(names, own, strict=True) if value is None]
        if missing:
            hint = ""
            dataset = row.runs[0].key.dataset
            if any(name == "mean_fd" and name not in table.columns for name in missing):
                hint = " (its confounds have no framewise_displacement)"
            elif any((dataset, name) in without for name in missing):
                hint = f" (as everybody in dataset {dataset or OF_BIDS_DIR})"
            left_out.append(Absence(person, f"it has no value of {' and '.join(missing)}{hint}"))
            continue
        chosen.append(row)
        values.append([value for value in own if value is not None])
    people = [row.measured.participant for row in chosen]
    columns = {
        name: read_column(name, people, [own[place] for own in values], table.name)
        for place, name in enumerate(names)
    }
    return chosen, columns, left_out


def _datasets_without(
    rows: Sequence[Row], names: Sequence[str], table: ParticipantTable
) -> set[tuple[str, str]]:
    """Return the columns that nobody of a dataset has, where there are several datasets."""
    people: dict[str, list[str]] = {}
    for row in rows:
        people.setdefault(row.runs[0].key.dataset, []).append(row.measured.participant)
    return {
        (dataset, name)
        for dataset, labels in people.items()
        for name in names
        if len(people) > 1
        and name in table.columns
        and not any(name in table.rows.get(label, {}) for label in labels)
    }


def _value(name: str, row: Row, table: ParticipantTable) -> Value | None:
    if name in table.columns:
        return table.rows[row.measured.participant].get(name)
    if name == "dataset":
        return row.runs[0].key.dataset or OF_BIDS_DIR
    n_kept = [run.n_kept for run in row.runs]
    if name == "n_volumes":
        return float(sum(n_kept))
    displacements = [run.mean_fd_mm for run in row.runs]
    known = [one for one in displacements if one is not None]
    if len(known) < len(displacements):
        return None
    return float(np.average(known, weights=n_kept))


def _on_known(
    columns: Mapping[str, Column], table: ParticipantTable, *, has_differences: bool
) -> Iterator[str]:
    for name in columns:
        if name in KNOWN and name in table.columns:
            yield f"{name} is the column of {table.short_name}, and not what is known of the runs."
        elif name == "mean_fd":
            which = "on both sides" if has_differences else "that are compared"
            yield (
                "mean_fd is the mean framewise displacement (mm) of a participant's runs "
                f"{which}, also of volumes that were scrubbed; runs are weighted by the volumes "
                "that are used."
            )


def _on_volumes(rows: Sequence[Row], model: Model) -> Iterator[str]:
    """Yield how unequal the amounts of data are, unless the model has them."""
    n_kept = [sum(run.n_kept for run in row.runs) for row in rows]
    if "n_volumes" not in model.formula.variables and max(n_kept) >= _UNEQUAL * min(n_kept):
        yield (
            f"Participants have {min(n_kept):,} to {max(n_kept):,} volumes that are used. Maps of "
            "those with few are noisier, and their partial correlations are shrunk more: see that "
            "groups do not differ in it, or put n_volumes into the model."
        )


def _on_unused(rows: Iterable[Row], unused: Mapping[str, str]) -> Iterator[str]:
    people = [row.measured.participant for row in rows]
    if some := [f"sub-{person}" for person in people if person in unused]:
        shown = ", ".join(some[:_SHOWN]) + (", …" if len(some) > _SHOWN else "")
        yield (
            f"Of {count(len(some), 'participant')}, some runs could not be used, and the others "
            f"are compared: {shown}."
        )


def _on_blocks(blocks: Sequence[str], column: str | None, *, are_used: bool) -> Iterator[str]:
    sizes = Counter(blocks)
    if not sizes:
        return
    if not are_used:
        yield (
            f"--blocks {column} changes nothing here: signs of differences are flipped, and nobody "
            "is exchanged."
        )
        return
    listed = ", ".join(f"{block} ({sizes[block]})" for block in sorted(sizes))
    yield f"Participants are permuted within the levels of {column} only: {listed}."
    if alone := sorted(block for block in sizes if sizes[block] == 1):
        yield (
            f"Levels of {column} with one person, who is compared but never permuted: "
            f"{', '.join(alone)}."
        )
