"""The table of every run and participant that was found: used or not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nidecomp.bids.datasets import Datasets
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.core.inventory import FailedRun, Inventory, LostDataset, RefusedRun, UnmatchedFolder
from nidecomp.core.records import ReducedRun, UsableRun
from nidecomp.core.text import in_one_line
from nidecomp.outputs.dataset_column import DATASET, columns_with_dataset
from nidecomp.spaces.records import Measure

COLUMNS = {
    "run": "Name of the run, as in its file names",
    "status": "used; refused (cannot be used, see reason); failed (error while it was processed); "
    "not matched (a participant without a run that matches the selection); not selected (a "
    "participant that was excluded or not named)",
    "reason": "Why the run was refused, failed or did not match",
    "notes": "What was assumed about the run, or is unusual about it",
    "source_file": "The BOLD image (or a folder), relative to the preprocessed dataset",
    "repetition_time": "Time from one volume to the next, in s",
    "repetition_time_source": "Where the repetition time was read: sidecar (with its name if it "
    "was inherited), header, or VolumeTiming (the onsets of the volumes in the sidecar)",
    "start_time": "Time that the first volume refers to (after slice timing correction), in s",
    "n_volumes": "Number of volumes in the image",
    "n_volumes_kept": "Number of volumes after scrubbing and dropping",
    "dropped": "Number of volumes dropped for each reason: dummy (--dummy-scans), non-steady state "
    "(confounds table), displacement and DVARS (scrubbing), short segments (between scrubbed "
    "volumes), empty (all values in the brain are the same). A volume with several reasons counts "
    "for the first of them",
    "n_regressors": "Number of independent regressors that were removed from the volumes kept, "
    "including the constant, the trend and filters",
    "regressors": "Number of regressors of each part of the nuisance model that are not constant "
    "over the volumes kept: trend (with the constant), filter (--high-pass and --low-pass), and "
    "the parts of --denoise-strategy",
    "mean_fd": "Mean framewise displacement over all volumes, in mm; n/a if it is unknown or 0 at "
    "all volumes",
    "resampled": "Whether the run was resampled to the voxel grid of the group",
    "mask_voxels": "Number of voxels in the run's own brain mask",
    "mask_coverage": "Share of the voxels in at least half of the participants' brain masks (or in "
    "--mask) that the run's own brain mask covers",
    "n_nonfinite_voxels": "Number of voxels with NaN or infinite values; these were set to 0",
    "n_constant_voxels": "Number of voxels of the group mask without signal in this run",
    "variance_kept": "Share of the cleaned run's variance that its principal components retain",
}

# What is otherwise where features are not voxels of an image.
_WITHOUT_MASKS = {
    "source_file": "The BOLD file (of two hemispheres the left one; or a folder), relative to the "
    "preprocessed dataset",
    "n_volumes": "Number of volumes in the file",
    "resampled": "Always false: voxels are matched with those of the group, not resampled",
    "mask_voxels": "n/a: such runs have no brain masks",
    "mask_coverage": "Of the voxels with signal in at least half of the participants (or in "
    "--mask), the share that has signal in this run",
    "n_nonfinite_voxels": COLUMNS["n_nonfinite_voxels"],
    "n_constant_voxels": COLUMNS["n_constant_voxels"],
}

# The status of a dataset of several.
NOT_USED = "dataset not used"
Row = dict[str, object]
_BETWEEN_NOTES = "; "


def columns(datasets: Datasets, measure: Measure | None = None) -> dict[str, str]:
    """Return the columns of the table with their descriptions.

    Parameters
    ----------
    datasets : Datasets
    measure : Measure, optional
        What features are called, where that is known.

    Returns
    -------
    dict
    """
    described = COLUMNS if measure is None else _in_words(measure)
    if not datasets.are_several:
        return described
    status = f"{described['status']}; {NOT_USED} (a dataset that has no row for each of its runs)"
    return {**columns_with_dataset(described, datasets), "status": status}


def _in_words(measure: Measure) -> dict[str, str]:
    """Return the descriptions of columns for the features of a space."""
    if measure.counted == Measure.counted:
        return COLUMNS
    return {**COLUMNS, **{name: measure.in_words(text) for name, text in _WITHOUT_MASKS.items()}}


def rows(inventory: Inventory, datasets: Datasets, reduced: Sequence[ReducedRun] = ()) -> list[Row]:
    """Return the rows of the table, sorted by run.

    Parameters
    ----------
    inventory : Inventory
    datasets : Datasets
        The preprocessed datasets; paths are relative to them.
    reduced : sequence of ReducedRun
        The runs that were reduced, which have more columns.

    Returns
    -------
    list of dict
        Column to value; None where it is unknown.
    """
    failed_keys = {run.key for run in inventory.failed}
    # A run that was reduced at several smoothings has a record for each: one of them will do.
    used = {run.key: _used_row(run, datasets) for run in inventory.used}
    used |= {record.key: _reduced_row(record, datasets) for record in reduced}
    table = [
        *(row for key, row in used.items() if key not in failed_keys),
        *(_unused_row("refused", run, datasets) for run in inventory.refused),
        *(_unused_row("failed", run, datasets) for run in inventory.failed),
        *(_unmatched_row(folder, datasets) for folder in inventory.unmatched),
    ]
    if datasets.are_several:
        table += [_lost_row(one) for one in inventory.lost]
    return sorted(table, key=lambda row: (str(row["run"]), str(row["source_file"])))


def _used_row(run: UsableRun, datasets: Datasets) -> Row:
    return _row("used", run.label, run.files.bold, datasets) | {
        "notes": _joined(run.notes),
        "repetition_time": run.repetition_time_s,
        "repetition_time_source": run.repetition_time_source,
        "start_time": run.start_time_s,
        "n_volumes": run.n_volumes,
        "n_volumes_kept": run.n_kept,
        "dropped": _counts(run.dropped),
        "n_regressors": run.n_regressors,
        "regressors": _counts(run.regressors),
        "mean_fd": run.mean_fd_mm,
        "resampled": run.resampled,
        "mask_voxels": run.mask_voxels,
        "mask_coverage": run.coverage,
    }


def _joined(notes: Sequence[str]) -> str | None:
    """Return notes as the text of one cell, which `split_notes` takes apart."""
    whole = [in_one_line(note, longest=None).replace(_BETWEEN_NOTES, ", ") for note in notes]
    return _BETWEEN_NOTES.join(whole) or None


def split_notes(cell: str) -> list[str]:
    """Return the notes in a cell of the table."""
    return [note for note in cell.split(_BETWEEN_NOTES) if note]


def _counts(numbers: Sequence[tuple[str, int]]) -> str | None:
    """Return counts as text: ``motion 24, high_pass 5``."""
    return ", ".join(f"{name} {number}" for name, number in numbers) or None


def _reduced_row(reduced: ReducedRun, datasets: Datasets) -> Row:
    return _used_row(reduced.run, datasets) | {
        "n_nonfinite_voxels": reduced.n_nonfinite,
        "n_constant_voxels": reduced.n_constant,
        "variance_kept": reduced.variance_share(reduced.n_rows),
    }


def _unused_row(status: str, run: RefusedRun | FailedRun, datasets: Datasets) -> Row:
    return _row(status, run.key.label, run.bold, datasets, run.reason)


def _unmatched_row(folder: UnmatchedFolder, datasets: Datasets) -> Row:
    status = "not selected" if folder.is_deselected else "not matched"
    return _row(status, folder.name, folder.folder, datasets, folder.reason)


def _lost_row(lost: LostDataset) -> Row:
    # Where the folder lies may reveal the name of a user.
    reason = lost.reason.replace(str(lost.path.absolute()), lost.path.name)
    reason = reason.replace(str(lost.path), lost.path.name)
    return dict.fromkeys((*COLUMNS, DATASET)) | {
        DATASET: lost.name or OF_BIDS_DIR,
        "status": NOT_USED,
        "reason": in_one_line(reason, longest=None),
    }


def _row(
    status: str, name: str, source: Path, datasets: Datasets, reason: str | None = None
) -> Row:
    row: Row = dict.fromkeys(columns(datasets))
    if datasets.are_several:
        row["dataset"] = datasets.of(source).link
    row |= {
        "run": name,
        "status": status,
        "reason": in_one_line(reason, longest=None) if reason else None,
        "source_file": datasets.relative(source),
    }
    return row
