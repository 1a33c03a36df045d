"""Find the tables of participants of the datasets, which are usually in the raw datasets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from nidecomp.bids.dataset import read_description
from nidecomp.bids.datasets import Dataset, Datasets
from nidecomp.core.content import is_not_fetched
from nidecomp.core.errors import UsageError

FILE_NAME = "participants.tsv"
# Where a raw dataset is kept beside its derivatives, or in them (as BIDS has it).
_BESIDE = ("", "bids", "raw", "rawdata", "raw_data", "BIDS", "sourcedata/raw", "sourcedata")
_INSIDE = ("sourcedata/raw", "sourcedata", "raw")


def find_participants_files(
    datasets: Datasets, given: str | None, *, is_needed: bool
) -> tuple[tuple[str, Path], ...]:
    """Return the tables of participants of the datasets.

    Parameters
    ----------
    datasets : Datasets
    given : str or None
        ``--participants-file``, which is the table of all datasets: it has labels as outputs have
        them, beginning with the name of the dataset.
    is_needed : bool
        Whether a dataset without a table is an error. Otherwise there are fewer tables.

    Returns
    -------
    tuple of (str, Path)
        The name of each dataset, which the labels of its participants begin with, and its table.
        Sites that have reduced runs only have no table.

    Raises
    ------
    UsageError
        A table is not there; the message says where it was looked for.
    """
    if given is not None:
        if not os.path.lexists(given):
            raise UsageError(f"--participants-file {given} does not exist.")
        return (("", Path(given)),)
    found: list[tuple[str, Path]] = []
    for one in datasets.found:
        if one.is_reduced:
            continue
        places = list(dict.fromkeys(_places(one)))
        path = next((place for place in places if _is_there(place)), None)
        if path is not None:
            found.append((one.name, path))
        elif is_needed:
            whose = f" of dataset {one.name}" if one.name else ""
            looked = "".join(f"\n  {place}" for place in places)
            raise UsageError(
                f"The table of participants{whose} was not found; give it with "
                f"--participants-file. It was looked for here:{looked}"
            )
    return tuple(found)


def _is_there(path: Path) -> bool:
    # A link to content that was not fetched is told when it is read.
    return path.is_file() or is_not_fetched(path)


def _places(dataset: Dataset) -> Iterator[Path]:
    """Yield where a dataset's table may be, the best first."""
    root = dataset.root
    yield root / FILE_NAME
    for folder in _linked(root, read_description(root)):
        yield folder / FILE_NAME
    # BIDS_DIR, where it is the raw dataset.
    yield dataset.path.absolute() / FILE_NAME
    if root.parent.name == "derivatives":
        yield root.parent.parent / FILE_NAME
    for name in _INSIDE:
        yield root / name / FILE_NAME
    for name in _BESIDE:
        yield root.parent / name / FILE_NAME


def _linked(root: Path, description: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders of the datasets that a dataset was made from, as it names them."""
    links = description.get("DatasetLinks")
    if isinstance(links, dict):
        # fMRIPrep names the raw dataset so; others are atlases and templates.
        for name in sorted(links, key=lambda name: (name != "raw", name)):
            yield from _folder(root, links[name])
    sources = description.get("SourceDatasets")
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict):
            yield from _folder(root, source.get("URL"))
            yield from _folder(root, source.get("Path"))


def _folder(root: Path, link: object) -> Iterator[Path]:
    """Yield the folder that a link stands for; none for one to the web."""
    if not isinstance(link, str) or not link or "\0" in link:
        return
    try:
        parsed = urlparse(link)
    except ValueError:
        return
    if parsed.scheme == "file" and parsed.netloc in {"", "localhost"}:
        yield Path(unquote(parsed.path))
    elif not parsed.scheme:
        # normpath rather than resolve: folders may be reached by links.
        yield Path(os.path.normpath(root / link))
