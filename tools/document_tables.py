"""Write tables of output columns and exit codes in Markdown, for the documentation site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nidecomp.annotation import columns as metrics
from nidecomp.cli import EXIT_CODES
from nidecomp.outputs import comparison_tables as compared
from nidecomp.outputs import comparisons, dataset, inventory, quality, regions, resources
from nidecomp.outputs import components as evidence
from nidecomp.outputs import model_order as order
from nidecomp.spaces.voxels import VoxelSpace

Columns = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A kind of table: its file name, a description, its columns and their units."""

    file: str
    about: str
    columns: Columns
    units: Columns


TABLES: tuple[Table, ...] = (
    Table(
        "*_metrics.tsv",
        "A row for each component, in the order of the maps.",
        metrics.METRICS | metrics.OF_DATASETS,
        metrics.UNITS,
    ),
    Table(
        "*_peaks.tsv",
        "The largest clusters of each thresholded map.",
        evidence.peak_columns(VoxelSpace.measure),
        evidence.peak_units(VoxelSpace.measure),
    ),
    Table(
        "*_dseg.tsv",
        "A row for each region of the parcellation.",
        {
            **regions.region_columns(VoxelSpace.measure, VoxelSpace.extensions.file),
            "index": "The region's value in the image",
        },
        regions.region_units(VoxelSpace.measure),
    ),
    Table(
        "participants.tsv",
        "A row for each participant; the last four columns where runs were projected.",
        dataset.PARTICIPANTS | dataset.QUALITY_OF_PARTICIPANTS,
        {},
    ),
    Table("sub-*_outliers.tsv", "A row for each volume of the run.", dataset.OUTLIERS, {}),
    Table("logs/inventory.tsv", "A row for each run that was found.", inventory.COLUMNS, {}),
    Table(
        "logs/quality.tsv",
        "A row for each run at each decomposition.",
        quality.QUALITY,
        {},
    ),
    Table(
        "logs/quality_components.tsv",
        "A row for each component in each run.",
        quality.QUALITY_OF_COMPONENTS,
        {},
    ),
    Table(
        "logs/stability.tsv",
        "A row for each split of the participants at each decomposition.",
        comparisons.STABILITY,
        {},
    ),
    Table(
        "logs/splits.tsv",
        "A row for each participant of each split.",
        comparisons.SPLITS,
        {},
    ),
    Table(
        "logs/matching.tsv",
        "A row for each component, with each of the other decompositions.",
        comparisons.MATCHING,
        {},
    ),
    Table(
        "logs/datasets.tsv",
        "With `--datasets`: a row for each dataset at each component. (Tables with a row for each "
        "run or participant then have a column `dataset`, too.)",
        comparisons.DATASETS,
        {},
    ),
    Table(
        "comparisons.tsv",
        "With `--model`: a row for each test of each component of each decomposition. Columns of "
        "what was not computed are left out.",
        compared.columns_in_words(compared.COMPARISONS, VoxelSpace.measure),
        compared.COMPARISONS_UNITS,
    ),
    Table(
        "comparisons_edges.tsv",
        "With `--model`: a row for each test of each edge between two compared components.",
        compared.EDGES,
        {},
    ),
    Table(
        "amplitudes.tsv",
        "With `--model`: a row for each compared component of each participant.",
        compared.AMPLITUDES,
        {},
    ),
    Table(
        "*_clusters.tsv",
        "With `--model`: a row for each cluster of what a test found in the maps of a "
        "decomposition.",
        compared.cluster_columns(VoxelSpace.measure),
        compared.cluster_units(VoxelSpace.measure),
    ),
    Table(
        "logs/order.tsv",
        "With `--n-components auto`: a row for each number that was considered.",
        order.MODEL_ORDER,
        {},
    ),
    Table(
        "logs/resources.tsv",
        "A row for each step, with `--resource-monitor` for each run, too.",
        resources.RESOURCES_COLUMNS,
        {},
    ),
)


def columns_of_tables() -> str:
    """Return a description of all columns of all tables, with a heading for each file."""
    return "\n\n".join(
        "\n".join(
            [
                f"## `{table.file}`",
                "",
                table.about,
                "",
                "| column | |",
                "|---|---|",
                *(
                    f"| `{column}` | {_escaped(text)}{_unit(table.units, column)} |"
                    for column, text in table.columns.items()
                ),
            ]
        )
        for table in TABLES
    )


def exit_codes() -> str:
    """Return a table of exit codes."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def _escaped(text: str) -> str:
    """Return text with characters escaped that have a meaning in Markdown."""
    return text.replace("|", "\\|").replace("*", "\\*")


def _unit(units: Columns, column: str) -> str:
    return f" (in {units[column]})" if column in units else ""
