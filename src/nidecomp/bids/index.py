"""Find the selected runs in a dataset, each with its brain mask and confounds table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from nidecomp.bids.listing import ListedFile, Listing, list_files
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.bids.selection import (
    KINDS,
    check_labels,
    check_one_grid,
    entities_of_folder,
    entities_of_query,
    filters_of,
    is_selected,
    matches,
    nothing_matches,
)
from nidecomp.config.science import Selection
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import RefusedRun, RunFiles, RunKey


def find_runs(
    root: Path,
    selection: Selection,
    *,
    database_dir: Path | None = None,
    reset_database: bool = False,
    needs_mask: bool = True,
    of_all_participants: bool = False,
) -> tuple[tuple[RunFiles, ...], tuple[RefusedRun, ...]]:
    """Return the selected runs with their masks and confounds, and those that cannot be used.

    Parameters
    ----------
    root : Path
        The derivative dataset.
    selection : Selection
        The options that select runs.
    database_dir : Path, optional
        Folder to save the pybids index in.
    reset_database : bool
        Index the dataset again, even if there is a saved index.
    needs_mask : bool
        Refuse runs without a brain mask.
    of_all_participants : bool
        Ignore the participant labels in `selection`, apart from excluded ones.

    Returns
    -------
    runs : tuple of RunFiles
        Sorted by name.
    refused : tuple of RefusedRun
        Selected runs that cannot be used, with the reason. A folder that cannot be read is listed
        once for all runs in it.

    Raises
    ------
    UsageError
        The filter file has an unknown key, the runs have several spaces or resolutions, or the
        dataset folder cannot be read.
    NothingToDoError
        No run matches, a selected label does not exist, or the content of no image was fetched.
    """
    filters = filters_of(selection)
    root = root.absolute()
    listing = list_files(root, database_dir, reset=reset_database)
    by_kind = {
        kind: [file for file in listing.files if matches(file.entities, query)]
        for kind, query in KINDS.items()
    }
    check_labels(root, selection, filters["bold"], by_kind["bold"], listing.closed)
    if of_all_participants:
        selection = replace(selection, participant_label=())
    closed = _closed_folders(root, listing, selection, filters["bold"])
    bolds = [file for file in by_kind["bold"] if is_selected(file.entities, selection, filters)]
    if not bolds:
        message = nothing_matches(root, selection, filters["bold"], by_kind["bold"])
        raise NothingToDoError("\n".join([message, *(f"  {run.reason}" for run in closed)]))
    check_one_grid(bolds)
    _check_fetched(root, bolds)
    masks = [file for file in by_kind["mask"] if matches(file.entities, filters["mask"])]
    confounds = [
        file for file in by_kind["confounds"] if matches(file.entities, filters["confounds"])
    ]
    runs, refused = _assemble(
        bolds, _Companions(masks), _Companions(confounds), filters, needs_mask
    )
    return runs, tuple(sorted((*refused, *closed), key=lambda run: run.key.label))


# ---------------------------------------------------------------- folders that cannot be read
def _closed_folders(
    root: Path, listing: Listing, selection: Selection, filters: Mapping[str, Any]
) -> tuple[RefusedRun, ...]:
    """Return folders that cannot be read and may contain selected runs, as refused runs."""
    query = entities_of_query(selection, filters)
    refused = []
    for folder, why in listing.closed.items():
        known = entities_of_folder(root, folder)
        # Files in a func folder have the session given in its path, or none.
        certain = {*known, "session"} if folder.name == "func" else {*known}
        asked = {name: wanted for name, wanted in query.items() if name in certain}
        if known.get("subject") in selection.exclude_participant_label:
            continue
        if matches(known, asked):
            reason = f"its folder {folder.relative_to(root).as_posix()} cannot be read: {why}"
            refused.append(RefusedRun(_run_key(known), folder, reason))
    return tuple(refused)


def _check_fetched(root: Path, bolds: list[ListedFile]) -> None:
    if all(_is_dangling(file.path) for file in bolds):
        raise NothingToDoError(
            f"All of the {len(bolds)} matching BOLD images in {root} are links to content that was "
            "not fetched. Fetch it first, for example with "
            f"'datalad get {bolds[0].path.parent.relative_to(root)}' for each folder."
        )


def _is_dangling(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        # The target cannot be accessed, so that it may exist.
        return False
    except OSError:
        return path.is_symlink()
    return False


# ---------------------------------------------------------------- matching files to runs
class _Companions:
    """Masks or confounds tables, indexed by the entities that they share with their run."""

    def __init__(self, files: Iterable[ListedFile]) -> None:
        self._files: dict[tuple[tuple[str, str], ...], list[ListedFile]] = defaultdict(list)
        for file in files:
            self._files[_shared_entities(file.entities)].append(file)

    def of(self, bold: ListedFile, *, same_voxels: bool) -> list[Path]:
        """Return the files of a run; with `same_voxels`, of the same space and resolution only."""
        candidates = self._files.get(_shared_entities(bold.entities), [])
        # A mask or a confounds table belongs to one echo, or to all if it has no echo entity.
        echo = bold.entities.get("echo")
        return [
            file.path
            for file in candidates
            if file.entities.get("echo") in {None, echo}
            and (
                not same_voxels
                or all(
                    file.entities.get(name) == bold.entities.get(name)
                    for name in ("space", "cohort", "res")
                )
            )
        ]


def _shared_entities(entities: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, entities[name])
        for name in RUN_ENTITIES.values()
        if name in entities and name not in {"echo", "part"}
    )


def _run_key(entities: Mapping[str, str]) -> RunKey:
    return RunKey(
        tuple((short, entities[name]) for short, name in RUN_ENTITIES.items() if name in entities)
    )


def _assemble(
    bolds: list[ListedFile],
    masks: _Companions,
    confounds: _Companions,
    filters: Mapping[str, Mapping[str, Any]],
    needs_mask: bool,
) -> tuple[tuple[RunFiles, ...], tuple[RefusedRun, ...]]:
    """Return the runs with their masks and confounds, and those that cannot be used."""
    same_name: dict[RunKey, list[Path]] = defaultdict(list)
    for bold in bolds:
        same_name[_run_key(bold.entities)].append(bold.path)
    runs: list[RunFiles] = []
    refused: list[RefusedRun] = []
    for bold in bolds:
        key = _run_key(bold.entities)
        mask = masks.of(bold, same_voxels=True)
        table = confounds.of(bold, same_voxels=False)
        reason = (
            _wrong_name(bold, same_name[key], filters)
            or _wrong_companions("brain mask", mask, required=needs_mask)
            or _wrong_companions("confounds table", table, required=False)
        )
        if reason:
            refused.append(RefusedRun(key, bold.path, reason))
        else:
            runs.append(
                RunFiles(
                    key=key,
                    space=bold.entities["space"],
                    cohort=bold.entities.get("cohort"),
                    desc=bold.entities.get("desc"),
                    res=bold.entities.get("res"),
                    bold=bold.path,
                    mask=mask[0] if mask else None,
                    confounds=table[0] if table else None,
                )
            )
    runs.sort(key=lambda run: run.key.label)
    refused.sort(key=lambda run: run.key.label)
    return tuple(runs), tuple(refused)


def _wrong_name(
    bold: ListedFile, same_name: list[Path], filters: Mapping[str, Mapping[str, Any]]
) -> str | None:
    for entity, short in (("subject", "sub"), ("task", "task"), ("space", "space")):
        if entity not in bold.entities:
            return f"its file name has no {short}- entity"
    if "echo" in bold.entities and "echo" not in filters["bold"]:
        return (
            "it is a single echo of a multi-echo run; use fMRIPrep's optimally combined image (or "
            "select an echo with --bids-filter-file)"
        )
    if bold.entities.get("part") == "phase":
        return "it is a phase image, not a magnitude image"
    if len(same_name) > 1:
        return f"{len(same_name)} files match this run: " + ", ".join(
            path.name for path in same_name
        )
    return _is_no_file(bold.path, "image")


def _wrong_companions(what: str, paths: list[Path], *, required: bool) -> str | None:
    if len(paths) > 1:
        return f"{len(paths)} files match as its {what}: " + ", ".join(path.name for path in paths)
    if required and not paths:
        return f"it has no {what} with the same entities (*_desc-brain_mask.nii.gz)"
    return _is_no_file(paths[0], what) if paths else None


def _is_no_file(path: Path, what: str) -> str | None:
    try:
        is_file = S_ISREG(path.stat().st_mode)
    except OSError as error:
        if _is_dangling(path):
            return f"the content of its {what} was not fetched; try 'datalad get {path}'"
        return f"its {what} {path.name} cannot be read: {error.strerror}"
    # Reading from a pipe could block forever.
    return None if is_file else f"its {what} {path.name} is not a regular file"
