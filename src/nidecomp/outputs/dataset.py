"""The files that every output dataset has: participants, logs, group mask."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath

import numpy as np
import tomli_w

from nidecomp.bids.dataset import SETTINGS
from nidecomp.bids.datasets import Datasets
from nidecomp.bids.names import run_file
from nidecomp.bids.same_input import SOURCE_COLUMNS, SOURCES, size_of
from nidecomp.config.settings import Settings
from nidecomp.core.atomic import exclusive_lock, replace_atomically
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun
from nidecomp.core.tsv import encoded, table_text
from nidecomp.outputs import inventory as inventory_table
from nidecomp.outputs.dataset_column import with_datasets
from nidecomp.outputs.outliers import (
    FEWEST_PARTICIPANTS,
    LEAST_DEPARTURE,
    LIMIT,
    outlier_reasons_within,
)
from nidecomp.outputs.quality import participant_quality
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import MANIFEST, OutputTree
from nidecomp.version import __version__

_LOG = logging.getLogger(__name__)

INVENTORY = PurePosixPath("logs/inventory.tsv")
# It describes the table of every run.
OUTLIERS_JSON = PurePosixPath("outliers.json")
PARTICIPANTS = {
    "participant_id": "Participant, as in the preprocessed dataset",
    "role": "fitted: the components were fitted to this participant; held out: left out of the "
    "fit by --holdout, to assess what the components explain; projected: template maps were "
    "projected, and nothing was fitted",
    "n_runs_used": "Number of runs that were used",
    "n_runs_not_used": "Number of runs that were refused or failed; see logs/inventory.tsv for why",
    "n_volumes_kept": "Number of volumes of the runs used, after scrubbing and dropping",
    "mean_fd": "Mean framewise displacement over the runs used, in mm",
}
OUTLIERS = {"dropped": "1 where the volume was dropped (scrubbed, non-steady-state or dummy)"}
QUALITY_OF_PARTICIPANTS = {
    "map_r": "Correlation of the participant's own maps (dual regression) with the group maps, "
    "mean over components, decompositions and runs. It is positive in noise, too: see "
    "logs/quality.json",
    "explained_variance": "Share of the cleaned runs' variance that the group maps explain, mean "
    "over decompositions and runs",
    "tsnr": "Temporal signal-to-noise ratio, median over voxels, mean over runs",
    "outlier": "The measures (map_r, explained_variance, tsnr, mean_fd, n_volumes_kept) in which "
    "the participant is an outlier with worse data than the others: a modified z score (distance "
    "from the median in units of the median absolute deviation / 0.6745) above "
    f"{LIMIT:g} and a distance "
    f"of more than {100 * LEAST_DEPARTURE:.0f} % of the median, where there are at least "
    f"{FEWEST_PARTICIPANTS} participants. It is a recommendation to check the data: nobody is "
    "excluded because of it",
}
# Added to the description of `outlier` where there are several datasets.
_WITHIN_DATASETS = (
    ". The others are those of the same dataset, so that datasets with fewer than "
    f"{FEWEST_PARTICIPANTS} participants have no outliers"
)


def write_inventory(
    output_dir: Path, columns: Mapping[str, str], table: Sequence[inventory_table.Row]
) -> None:
    """Write the table of runs alone, where there are no results to write.

    A folder with the results of an earlier run keeps its own table.
    """
    if not (output_dir / MANIFEST).exists():
        text = table_text(tuple(columns), table)
        with replace_atomically(output_dir / INVENTORY) as temporary:
            temporary.write_bytes(encoded(text))


def keep_inventory(datasets: Datasets, inventory: Inventory, settings: Settings) -> None:
    """Write the table of runs as soon as it is known, whatever happens later."""
    if settings.analysis_level == "group" and not settings.execution.dry_run:
        table = inventory_table.rows(inventory, datasets)
        write_inventory(settings.output_dir, inventory_table.columns(datasets), table)


def exclusive_output(settings: Settings) -> AbstractContextManager[None]:
    """Return a lock of the output folder; participant jobs write nothing there and need none."""
    is_group = settings.analysis_level == "group"
    return exclusive_lock(settings.output_dir) if is_group else nullcontext()


# ---------------------------------------------------------------- participants
def write_participants(tree: OutputTree, result: GroupResult) -> None:
    """Write participants.tsv: who took part, data quality, and outliers."""
    runs = result.reduced_runs
    unused: list[RefusedRun | FailedRun] = [*result.inventory.refused, *result.inventory.failed]
    not_used = [run.key.get("sub") for run in unused]
    table: list[dict[str, object]] = []
    for label in sorted({run.participant for run in runs}):
        own = [run for run in runs if run.participant == label]
        motion = [run.mean_fd_mm for run in own if run.mean_fd_mm is not None]
        table.append(
            {
                "participant_id": f"sub-{label}",
                "role": _role(label, result),
                "n_runs_used": len(own),
                "n_runs_not_used": not_used.count(label),
                "n_volumes_kept": sum(run.n_kept for run in own),
                "mean_fd": float(np.mean(motion)) if motion else None,
            }
        )
    columns = PARTICIPANTS
    if result.projected:
        tsnr = result.space.measure.in_words(QUALITY_OF_PARTICIPANTS["tsnr"])
        columns = columns | QUALITY_OF_PARTICIPANTS | {"tsnr": tsnr}
        if result.datasets.are_several:
            columns = columns | {"outlier": columns["outlier"] + _WITHIN_DATASETS}
        _add_quality(table, result)
    tree.write_table(
        PurePosixPath("participants.tsv"),
        *with_datasets(result, columns, table),
        about={"Description": "The participants whose runs were used."},
    )


def _role(label: str, result: GroupResult) -> str:
    if result.settings.science.projection.maps is not None:
        return "projected"
    return "held out" if label in result.held_out else "fitted"


def _add_quality(table: list[dict[str, object]], result: GroupResult) -> None:
    """Add data quality and outliers to the table of participants."""
    labels = [str(row["participant_id"]).removeprefix("sub-") for row in table]
    quality = participant_quality(result, labels)
    motion = [row["mean_fd"] for row in table]
    measures = {
        **quality,
        "mean_fd": np.array([np.nan if value is None else value for value in motion], dtype=float),
        "n_volumes_kept": np.array([row["n_volumes_kept"] for row in table], dtype=float),
    }
    datasets = {run.participant: run.key.dataset for run in result.reduced_runs}
    reasons = outlier_reasons_within(
        [datasets[label] for label in labels], measures, bad_is_high=frozenset({"mean_fd"})
    )
    for index, (row, reason) in enumerate(zip(table, reasons, strict=True)):
        row |= {name: float(values[index]) for name, values in quality.items()}
        row["outlier"] = reason or None
        if reason:
            _LOG.warning("%s is an outlier in data quality: %s", row["participant_id"], reason)


def write_outliers(tree: OutputTree, result: GroupResult) -> None:
    """Write which volumes of each run were dropped, and one JSON about the tables of all runs."""
    for run in result.reduced_runs:
        kept = set(run.kept)
        rows = [{"dropped": int(volume not in kept)} for volume in range(run.n_volumes)]
        tree.write_tsv(run_file(run.key, "outliers", ".tsv"), tuple(OUTLIERS), rows)
    described = {name: {"Description": text} for name, text in OUTLIERS.items()}
    tree.write_json(
        OUTLIERS_JSON,
        {
            "Description": "Which volumes of a run were not used, one row per volume. The column "
            f"dropped of {INVENTORY} has their number for each reason.",
            **described,
            "Sources": [f"bids::{SOURCES}"],
        },
    )


# ---------------------------------------------------------------- logs and mask
def write_logs(tree: OutputTree, result: GroupResult) -> None:
    """Write the settings, the table of runs and the list of sources."""
    write_settings(tree, result.settings)
    table = inventory_table.rows(result.inventory, result.datasets, result.reduced)
    tree.write_table(
        INVENTORY, inventory_table.columns(result.datasets, result.space.measure), table
    )
    sources = [
        {
            "run": run.label,
            "kind": kind,
            "uri": result.uri(path),
            # Images may be removed when they were reduced, and results stay the same.
            "size": None if kind == "bold" else size_of(path),
        }
        for run in result.reduced_runs
        for kind, path in (
            *(("reduced" if run.is_of_site else "bold", path) for path in run.files.images),
            ("mask", run.files.mask),
            ("confounds", run.files.confounds),
        )
        if path is not None
    ]
    about = dict.fromkeys(SOURCE_COLUMNS, "")
    columns, rows = with_datasets(result, about, sources)
    tree.write_tsv(SOURCES, tuple(columns), rows)


def write_settings(tree: OutputTree, settings: Settings) -> None:
    """Write the settings that affect the results."""
    tree.write_text(SETTINGS, settings_text(settings))


def settings_text(settings: Settings) -> str:
    """Return the settings that affect the results as TOML, as ``--config-file`` reads it."""
    paths = ", with the paths of the datasets in --datasets" if settings.further else ""
    return (
        f"# All that decided these results, by NiDecomp {__version__}; --config-file replays it"
        f"{paths}.\n" + tomli_w.dumps(settings.as_tables())
    )


def write_mask(tree: OutputTree, result: GroupResult) -> None:
    """Write the group mask with its sidecar."""
    masking, measure = result.settings.science.masking, result.space.measure
    for hemi in result.space.hemispheres:
        path = of_hemisphere(result.mask_file(), hemi)
        tree.write_bytes(path, result.space.encode_mask(hemi=hemi))
    how = (
        f"those of --mask {Path(masking.mask).name}"
        if masking.mask
        else f"{measure.features} {measure.counted} at least {masking.mask_threshold:g} of the "
        "participants"
    )
    tree.write_json(
        result.mask_file(".json"),
        {
            "Type": "Brain",
            "Description": f"The {measure.features} that were decomposed: {how}.",
            "Sources": [f"bids::{SOURCES}"],
            **result.spatial,
        },
    )
