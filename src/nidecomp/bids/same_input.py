"""Whether results were made from a dataset, wherever both lie now."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nidecomp.bids.dataset import OUR_NAME, read_description
from nidecomp.bids.datasets import Dataset
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.core.content import is_not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import LostDataset

# The list of the input files, to which every group file refers.
SOURCES = PurePosixPath("logs/sources.tsv")
SOURCE_COLUMNS = ("run", "kind", "uri", "size")


def made_from(output_dir: Path, dataset: Dataset, *, are_several: bool = False) -> bool:
    """Return whether a dataset is the one that results were made from, moved or copied.

    Programs and their versions must be the same, and the masks and confounds tables in the list of
    sources must have the size that they had. Some may be missing: participants withdraw.

    Parameters
    ----------
    output_dir : Path
        The folder with the results.
    dataset : Dataset
        The preprocessed dataset.
    are_several : bool
        Whether the results were made from others, too.

    Returns
    -------
    bool
        False if the list cannot be read, or none of its files is there.
    """
    programs = _programs(read_description(output_dir))
    own = _programs(read_description(dataset.root))
    if not set(own) <= set(programs) if are_several else own != programs:
        return False
    prefix = f"bids:{dataset.link}:"
    sizes = [
        (str(row["size"]), size)
        for row in _sources(output_dir)
        if str(row.get("uri")).startswith(prefix)
        and (row.get("size") or "n/a") != "n/a"
        and (size := size_of(dataset.root / str(row.get("uri")).removeprefix(prefix))) is not None
    ]
    return bool(sizes) and all(before == str(now) for before, now in sizes)


def check_kept(output_dir: Path, lost: Iterable[LostDataset]) -> None:
    """Check that no results would be replaced by others without a dataset that cannot be used now.

    Parameters
    ----------
    output_dir : Path
        The folder that may hold results.
    lost : iterable of LostDataset

    Raises
    ------
    UsageError
        The results have runs of one of them.
    """
    uris = [str(row.get("uri")) for row in _sources(output_dir)]
    for one in lost:
        if any(uri.startswith(f"bids:{one.name or OF_BIDS_DIR}:") for uri in uris):
            called = f"dataset {one.name}" if one.name else "BIDS_DIR"
            raise UsageError(
                f"OUTPUT_DIR {output_dir} holds results with {called} ({one.path}), which "
                f"cannot be used now: {one.reason.rstrip('.')}. The results are kept. Make the "
                "dataset available again, or choose another OUTPUT_DIR."
            )


def _sources(output_dir: Path) -> list[dict[str, str]]:
    """Return the rows of the list of sources, none if it cannot be read."""
    try:
        with (output_dir / SOURCES).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, or None if its content is not there."""
    try:
        return None if is_not_fetched(path) else path.stat().st_size
    except (OSError, ValueError):
        return None


def _programs(description: Mapping[str, Any]) -> list[tuple[object, object]]:
    """Return name and version of each program that made a dataset, other than this one."""
    named = description.get("GeneratedBy")
    return [
        (entry.get("Name"), entry.get("Version"))
        for entry in (named if isinstance(named, list) else [])
        if isinstance(entry, dict) and entry.get("Name") not in {OUR_NAME, None}
    ]
