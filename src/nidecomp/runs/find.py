"""Find the runs that can be used."""

from __future__ import annotations

import logging
from pathlib import Path

from nidecomp.bids.index import find_runs
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import Inventory, UsableRun
from nidecomp.core.text import count
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.known_images import known_images

_LOG = logging.getLogger(__name__)


def find_usable_runs(root: Path, settings: Settings) -> Inventory:
    """Return the selected runs, after checking their headers, sidecars and confounds tables.

    Parameters
    ----------
    root : Path
        The preprocessed dataset.
    settings : Settings

    Returns
    -------
    Inventory
        Usable and refused runs, and folders without runs, sorted by name.
    """
    science, execution = settings.science, settings.execution
    known = known_images(root, settings.work_dir)
    found, refused, unmatched = find_runs(
        root,
        science.selection,
        database_dir=Path(execution.bids_database_dir) if execution.bids_database_dir else None,
        reset_database=execution.reset_database,
        needs_mask=science.masking.mask is None,
        # A participant-level job needs the runs of all participants for the group mask.
        of_all_participants=settings.analysis_level == "participant",
        reduced_before=known.keys(),
    )
    # Template maps can be projected to runs of any length.
    n_rows = 1 if science.projection.maps is not None else science.decomposition.fewest_rows
    inspected = [
        inspect_run(
            files,
            science.denoising,
            n_rows,
            known[files.bold].header if files.image_is_gone else None,
        )
        for files in found
    ]
    usable = tuple(record for record in inspected if isinstance(record, UsableRun))
    refused += tuple(record for record in inspected if not isinstance(record, UsableRun))
    found_text = count(len(usable) + len(refused), "run")
    _LOG.info("Found %s, %d of them usable", found_text, len(usable))
    refused = tuple(sorted(refused, key=lambda record: record.key.label))
    return Inventory(usable, refused, unmatched=unmatched)


def runs_of_participants(inventory: Inventory, labels: tuple[str, ...]) -> tuple[UsableRun, ...]:
    """Return the usable runs of some participants.

    Parameters
    ----------
    inventory : Inventory
    labels : tuple of str
        Participant labels without ``sub-``; if empty, all participants.

    Returns
    -------
    tuple of UsableRun

    Raises
    ------
    NothingToDoError
        The participants have no usable run.
    """
    runs, refused = inventory.used, inventory.refused
    named = tuple(run for run in runs if not labels or run.participant in labels)
    if not named:
        asked = f"No run of participant {', '.join(labels)}"
        why = tuple(run for run in refused if run.key.get("sub") in labels)
        if why:
            reasons = Inventory(refused=why).reasons()
            raise NothingToDoError(f"{asked} can be used:\n{reasons}")
        keys = [*(run.key for run in runs), *(run.key for run in refused)]
        existing = sorted({label for key in keys if (label := key.get("sub"))})
        shown = ", ".join(existing[:20]) + (", …" if len(existing) > 20 else "")
        raise NothingToDoError(f"{asked} matches the selection; participants found: {shown}.")
    return named
