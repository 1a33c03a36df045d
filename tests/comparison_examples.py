"""Participants, their runs and their table, for tests of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from run_examples import run_of

from nidecomp.comparison.design import make_design
from nidecomp.comparison.participants import ParticipantTable
from nidecomp.comparison.records import Design
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.records import RunKey, UsableRun

# Twelve people: two groups, two sexes and three sites that cross, and an age that nothing explains.
AGES = (31, 24, 45, 38, 52, 29, 41, 36, 27, 58, 33, 48)
PEOPLE: dict[str, dict[str, str]] = {
    f"{place + 1:02d}": {
        "group": "patients" if place % 2 else "controls",
        "age": str(age),
        "sex": "MF"[place // 2 % 2],
        "site": str(place % 3 + 1),
    }
    for place, age in enumerate(AGES)
}


def table_of(people: Mapping[str, Mapping[str, str]] = PEOPLE) -> ParticipantTable:
    """A table with these people, without missing values."""
    columns = dict.fromkeys(name for row in people.values() for name in row)
    return ParticipantTable(tuple(columns), people, (Path("participants.tsv"),))


def changed(**cells: str | None) -> ParticipantTable:
    """The table of `PEOPLE` where sub-01 has other values; None: it is missing."""
    first = PEOPLE["01"] | cells
    own = {name: cell for name, cell in first.items() if cell is not None}
    return ParticipantTable(table_of().columns, PEOPLE | {"01": own}, (Path("participants.tsv"),))


def with_column(name: str, cells: Sequence[str]) -> ParticipantTable:
    """The table of `PEOPLE` with one more column."""
    rows = zip(PEOPLE.items(), cells, strict=True)
    return table_of({label: row | {name: cell} for (label, row), cell in rows})


def runs_of(*names: str, mean_fd_mm: float | None = 0.1) -> list[UsableRun]:
    """Runs with these names, such as ``sub-01_ses-pre_task-rest``."""
    keys = [
        RunKey(tuple((part.split("-")[0], part.split("-")[1]) for part in name.split("_")))
        for name in names
    ]
    return [replace(run_of(key), mean_fd_mm=mean_fd_mm) for key in keys]


RUNS = runs_of(*(f"sub-{label}_task-rest" for label in PEOPLE))
PRE_AND_POST = runs_of(
    *(f"sub-{label}_ses-{session}_task-rest" for label in PEOPLE for session in ("post", "pre"))
)
WITHIN = "ses-post - ses-pre"


def design_of(
    model: str | None = None,
    *test: str,
    table: ParticipantTable | None = None,
    runs: Sequence[UsableRun] | None = None,
    **options: str,
) -> Design:
    """The design for a formula and tests; with ``within``, of two sessions."""
    asked = ComparisonOptions(model=model, test=test, **options)  # type: ignore[arg-type]
    default = RUNS if "within" not in options else PRE_AND_POST
    return make_design(asked, table or table_of(), default if runs is None else runs)
