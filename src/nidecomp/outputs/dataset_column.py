"""The column of tables that names the dataset of a run or participant, where there are several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nidecomp.bids.datasets import Datasets
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.core.records import RunKey
from nidecomp.outputs.result import GroupResult

DATASET = "dataset"
# The columns that it follows, and what it belongs to.
_NAMING = ("participant_id", "run")
_ABOUT = f"Name of the dataset (--datasets); {OF_BIDS_DIR} stands for BIDS_DIR"


def dataset_name(key: RunKey) -> str:
    """Return the name of a run's dataset, as in tables."""
    return key.dataset or OF_BIDS_DIR


def columns_with_dataset(columns: Mapping[str, str], datasets: Datasets) -> Mapping[str, str]:
    """Return the columns of a table, with the dataset after the run or participant.

    Parameters
    ----------
    columns : mapping
        Column to its description.
    datasets : Datasets
        Of a single one, no column is added.

    Returns
    -------
    mapping
    """
    if not datasets.are_several:
        return columns
    named: dict[str, str] = {}
    for name, about in columns.items():
        named[name] = about
        if name in _NAMING:
            named[DATASET] = _ABOUT
    return named


def with_datasets(
    result: GroupResult, columns: Mapping[str, str], table: Iterable[Mapping[str, object]]
) -> tuple[Mapping[str, str], Iterable[Mapping[str, object]]]:
    """Return the columns and rows of a table of runs or participants, with their dataset.

    Parameters
    ----------
    result : GroupResult
    columns : mapping
        Column to its description.
    table : iterable of mapping
        Each row has a run or a participant.

    Returns
    -------
    columns : mapping
    table : iterable of mapping
        As given, where there is a single dataset.
    """
    if not result.datasets.are_several:
        return columns, table
    keys = [run.key for run in result.reduced_runs]
    names = {key.label: dataset_name(key) for key in keys}
    names |= {f"sub-{key.participant}": dataset_name(key) for key in keys}
    naming = next(name for name in _NAMING if name in columns)
    rows = ({**row, DATASET: names[str(row[naming])]} for row in table)
    return columns_with_dataset(columns, result.datasets), rows
