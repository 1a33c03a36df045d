"""The table of every run that was found: used, refused or failed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nidecomp.core.records import FailedRun, Inventory, ReducedRun, RefusedRun, RunKey, UsableRun
from nidecomp.core.text import one_line

COLUMNS = {
    "run": "Name of the run, as its files carry it",
    "status": "used, refused (by a rule, see reason) or failed (while it was processed)",
    "reason": "Why the run was refused or failed, or what had to be assumed about it",
    "source_file": "The BOLD image (or a folder that cannot be read), relative to the preprocessed "
    "dataset",
    "repetition_time": "Time from one volume to the next, in s",
    "start_time": "Time that the first volume stands for (after slice timing), in s",
    "n_volumes": "Number of volumes in the image",
    "n_volumes_kept": "Number of volumes after scrubbing and dropping",
    "n_regressors": "Rank of everything that was regressed out of the volumes kept, the constant "
    "and filters included",
    "mean_fd": "Mean framewise displacement over all volumes, in mm",
    "resampled": "Whether the run was resampled to the group's grid",
    "mask_coverage": "Share that the run's own brain mask holds of the voxels which at least half "
    "of the participants have (or of the mask given)",
    "n_nonfinite_voxels": "Voxels that were NaN or infinite at least once; those values became 0",
    "n_constant_voxels": "Voxels of the group's mask without signal in this run",
    "variance_kept": "Share of the cleaned run's variance that its leading components hold",
}

Row = dict[str, object]


def rows(inventory: Inventory, root: Path, reduced: Sequence[ReducedRun] = ()) -> list[Row]:
    """Make the rows of the table, sorted by run.

    Parameters
    ----------
    inventory : Inventory
    root : Path
        The preprocessed dataset, which paths are given relative to.
    reduced : sequence of ReducedRun
        What the map step found out, where it was done.

    Returns
    -------
    list of dict
        Column to value; a value that is not known is None.
    """
    found = {record.key: record for record in reduced}
    failed_keys = {run.key for run in inventory.failed}
    table = [
        *(
            _used_row(run, root, found.get(run.files.key))
            for run in inventory.used
            if run.files.key not in failed_keys
        ),
        *(_unused_row("refused", run, root) for run in inventory.refused),
        *(_unused_row("failed", run, root) for run in inventory.failed),
    ]
    return sorted(table, key=lambda row: (str(row["run"]), str(row["source_file"])))


def _used_row(run: UsableRun, root: Path, reduced: ReducedRun | None) -> Row:
    row = _row("used", run.files.key, run.files.bold, root, "; ".join(run.notes))
    row |= {
        "repetition_time": run.repetition_time_s,
        "start_time": run.start_time_s,
        "n_volumes": run.n_volumes,
        "n_volumes_kept": run.n_kept,
        "n_regressors": run.n_regressors,
        "mean_fd": run.mean_fd_mm,
        "resampled": run.resampled,
        "mask_coverage": run.coverage,
    }
    if reduced is not None:
        row |= {
            "n_nonfinite_voxels": reduced.n_nonfinite,
            "n_constant_voxels": reduced.n_constant,
            "variance_kept": reduced.variance_share(reduced.n_rows),
        }
    return row


def _unused_row(status: str, run: RefusedRun | FailedRun, root: Path) -> Row:
    return _row(status, run.key, run.bold, root, run.reason)


def _row(status: str, key: RunKey, bold: Path, root: Path, reason: str) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row |= {
        "run": key.label,
        "status": status,
        "reason": one_line(reason) or None,
        "source_file": bold.relative_to(root).as_posix(),
    }
    return row


def as_text(table: Sequence[Mapping[str, object]]) -> str:
    """Lay the table out for a terminal.

    Parameters
    ----------
    table : sequence of mapping
        As `rows` makes it.

    Returns
    -------
    str
        A line for each run; long reasons stand at the end of their line.
    """
    lines = []
    width = max((len(str(row["run"])) for row in table), default=3)
    for row in table:
        line = f"{row['run']!s:<{width}}  {row['status']!s:<7}"
        if row["status"] == "used":
            line += (
                f"  {row['n_volumes_kept']}/{row['n_volumes']} volumes, "
                f"{row['n_regressors']} regressors, TR {row['repetition_time']:g} s"
            )
            if row["mean_fd"] is not None:
                line += f", mean FD {row['mean_fd']:.2f} mm"
            if row["resampled"]:
                line += ", resampled"
        if row["reason"]:
            line += f"  {row['reason']}"
        lines.append(line)
    return "\n".join(lines)
