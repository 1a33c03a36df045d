"""What ``--dry-run`` prints: every run, and what the request would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nidecomp.bids.datasets import Datasets
from nidecomp.core.inventory import Inventory
from nidecomp.core.text import count
from nidecomp.forecast import Forecast
from nidecomp.outputs.dataset_column import DATASET
from nidecomp.outputs.inventory import rows


def print_dry_run(
    inventory: Inventory, datasets: Datasets, plan: Forecast, more: Iterable[str] = ()
) -> None:
    """Print every run that was found, and the forecast.

    Parameters
    ----------
    inventory : Inventory
    datasets : Datasets
        The preprocessed datasets.
    plan : Forecast
    more : iterable of str
        Further lines: how participants will be compared.
    """
    found = replace(
        inventory, unmatched=tuple(one for one in inventory.unmatched if not one.is_deselected)
    )
    print(as_text(rows(found, datasets)))  # noqa: T201
    summary = f"{count(len(found.used), 'run')} used, {len(found.refused)} refused"
    if found.unmatched:
        summary += f", {count(len(found.unmatched), 'folder')} without a matching run"
    print(summary)  # noqa: T201
    print(plan.as_text())  # noqa: T201
    for line in more:
        print(line)  # noqa: T201


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
    # A dataset that cannot be used has no run.
    names = [str(row["run"] or row.get(DATASET)) for row in table]
    width = max(map(len, names), default=3)
    for name, row in zip(names, table, strict=True):
        line = f"{name:<{width}}  {row['status']!s:<12}"
        if row["status"] == "used":
            line += (
                f"  {row['n_volumes_kept']}/{count(int(str(row['n_volumes'])), 'volume')}, "
                f"{count(int(str(row['n_regressors'])), 'regressor')}, "
                f"TR {row['repetition_time']:g} s"
            )
            if row["mean_fd"] is not None:
                line += f", mean FD {row['mean_fd']:.2f} mm"
            if row["resampled"]:
                line += ", resampled"
        line += "".join(f"  {row[name]}" for name in ("reason", "notes") if row[name])
        lines.append(line)
    return "\n".join(lines)
