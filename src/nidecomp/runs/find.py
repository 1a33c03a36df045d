"""Find the runs that can be used."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nidecomp.bids.index import find_runs
from nidecomp.bids.listing import KeptListing
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun
from nidecomp.core.kept import digest
from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.core.surface_files import kind_of_series
from nidecomp.core.text import count
from nidecomp.execution.executor import Executor, WorkerDied, lost_worker
from nidecomp.execution.progress import with_progress
from nidecomp.runs.companions import fetch_companions
from nidecomp.runs.fetching import HeaderBefore, HeaderTask, key_and_header
from nidecomp.runs.inspect import InspectTask, inspect
from nidecomp.runs.inspected import FOLDER, Inspections
from nidecomp.runs.known_images import KnownImages

_LOG = logging.getLogger(__name__)
_SILENT_S = 10.0
# Fewer take a second or two, in which workers that are started early are not ready yet.
_FEWEST_IN_PARALLEL = 500


def find_usable_runs(root: Path, settings: Settings, executor: Executor) -> Inventory:
    """Return the selected runs, after checking their headers, sidecars, confounds and masks.

    Parameters
    ----------
    root : Path
        The preprocessed dataset.
    settings : Settings
    executor : Executor
        Inspects runs where there are many. The results do not depend on it.

    Returns
    -------
    Inventory
        Usable and refused runs, and folders without runs, sorted by name.
    """
    science, execution = settings.science, settings.execution
    known = KnownImages(root, settings.work_dir)
    # Template maps can be projected to runs of any length.
    n_rows = 1 if science.projection.maps is not None else science.decomposition.fewest_rows
    earlier = Inspections(root, settings.work_dir, science.denoising, n_rows)
    listing = KeptListing(settings.work_dir / FOLDER / f"{digest(str(root))}_files.json")
    found, refused, unmatched, failed = find_runs(
        root,
        science.selection,
        database_dir=Path(execution.bids_database_dir) if execution.bids_database_dir else None,
        reset_database=execution.reset_database,
        needs_mask=science.masking.mask is None,
        # A participant-level job needs the runs of all participants for the group mask.
        of_all_participants=settings.analysis_level == "participant",
        reduced_before=known,
        kept=listing,
        is_known=earlier.has,
        fetch=fetch_companions if execution.fetch else None,
    )
    new = [files for files in found if files.image_is_gone or not earlier.has(files)]
    headers = _headers(new, settings, executor)
    failed += _without_header(new, headers)
    new = [files for files in new if files.key not in {run.key for run in failed}]
    tasks = [
        InspectTask(files, science.denoising, n_rows, header.header if header else None)
        for files in new
        for header in [headers.get(files.key)]
    ]
    inspected = {
        record.key: _with_origin(record, headers.get(record.key))
        for record in _inspect_all(tasks, executor)
    }
    if not execution.dry_run:
        listing.write()
        earlier.add(record for record in inspected.values() if isinstance(record, UsableRun))
    records = [inspected.get(files.key) or earlier.find(files) for files in found]
    usable = tuple(record for record in records if isinstance(record, UsableRun))
    refused += tuple(record for record in records if isinstance(record, RefusedRun))
    found_text = count(len(usable) + len(refused) + len(failed), "run")
    _LOG.info("Found %s, %d of them usable", found_text, len(usable))
    refused = tuple(sorted(refused, key=lambda record: record.key.label))
    if failed:
        reasons = Inventory(failed=failed).reasons()
        _LOG.error("Files of %s could not be fetched:\n%s", count(len(failed), "run"), reasons)
    return Inventory(usable, refused, failed, unmatched)


def _headers(
    runs: Sequence[RunFiles], settings: Settings, executor: Executor
) -> dict[RunKey, HeaderBefore | None]:
    """Return what is known of the headers of images that are fetched later, by their runs.

    Surfaces are fetched to know it, which is done by several processes.
    """
    is_dry = settings.execution.dry_run
    tasks = [HeaderTask(files, settings.work_dir, is_dry) for files in runs]
    must_come = any(
        files.is_fetched_when_read and kind_of_series(files.bold) is not None for files in runs
    )
    if not must_come:
        return dict(map(key_and_header, tasks))
    found: dict[RunKey, HeaderBefore | None] = {}
    results = executor.map_unordered(key_and_header, tasks)
    for result in with_progress(results, len(tasks), "Fetching headers", after_s=_SILENT_S):
        if not isinstance(result, WorkerDied):
            found[result[0]] = result[1]
    return found


def _without_header(
    files: Iterable[RunFiles], headers: Mapping[RunKey, HeaderBefore | None]
) -> tuple[FailedRun, ...]:
    """Return the runs of which the image was fetched and has no header that can be used."""
    found = ((one, headers.get(one.key)) for one in files)
    return tuple(
        FailedRun(one.key, one.bold, header.failure)
        for one, header in found
        if header is not None and header.failure
    )


def _with_origin(
    record: UsableRun | RefusedRun, header: HeaderBefore | None
) -> UsableRun | RefusedRun:
    """Return a record that says whether the header of its image was never read."""
    if isinstance(record, RefusedRun) or header is None:
        return record
    return replace(record, header_is_expected=header.is_expected)


def _inspect_all(
    tasks: Sequence[InspectTask], executor: Executor
) -> Iterator[UsableRun | RefusedRun]:
    """Yield the result of each inspection, in any order."""
    is_few = len(tasks) < _FEWEST_IN_PARALLEL
    results: Iterable[UsableRun | RefusedRun | WorkerDied[InspectTask]] = (
        map(inspect, tasks) if is_few else executor.map_unordered(inspect, tasks)
    )
    for result in with_progress(results, len(tasks), "Inspecting runs", after_s=_SILENT_S):
        match result:
            case WorkerDied(item=InspectTask(files=lost)):
                yield RefusedRun(lost.key, lost.bold, lost_worker())
            case UsableRun() | RefusedRun():
                yield result


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
