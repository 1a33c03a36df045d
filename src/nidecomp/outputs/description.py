"""The description of the output dataset: dataset_description.json, .bidsignore and README.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from nidecomp.bids.dataset import DESCRIPTION, OUR_NAME, read_description
from nidecomp.bids.datasets import Datasets
from nidecomp.bids.names import (
    BIDS_VERSION,
    IGNORED_BY_THE_VALIDATOR,
    IGNORED_OF_COMPARISONS,
    IGNORED_OF_SURFACES,
)
from nidecomp.config.settings import Settings
from nidecomp.core.atomic import replace_atomically
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.version import __version__

T = TypeVar("T")
CODE_URL = "https://github.com/nidecomp/nidecomp"


def write_description(tree: OutputTree, result: GroupResult, title: str, readme: str) -> None:
    """Write dataset_description.json, .bidsignore and README.md.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
    title : str
        What the dataset contains; the name of the input is added.
    readme : str
    """
    sources = _descriptions(result.datasets)
    links = result.datasets.links(result.settings.output_dir)
    tree.write_json(
        PurePosixPath(DESCRIPTION),
        {
            "Name": f"NiDecomp: {title} of {input_name(result.datasets)}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": licence(result.datasets),
            "Authors": _authors(sources),
            "GeneratedBy": [_generated_by(), *_programs_before(sources)],
            "SourceDatasets": [
                *({"URL": link} for link in links.values()),
                *_source_datasets(sources),
            ],
            "DatasetLinks": links,
        },
    )
    is_volume = result.space.extensions.mask_suffix == "mask"
    ignored = IGNORED_BY_THE_VALIDATOR + (() if is_volume else IGNORED_OF_SURFACES)
    ignored += () if result.comparison is None else IGNORED_OF_COMPARISONS
    tree.write_text(PurePosixPath(".bidsignore"), "\n".join(ignored) + "\n")
    tree.write_text(PurePosixPath("README.md"), readme)


def keep_description(datasets: Datasets, settings: Settings) -> None:
    """Write what the datasets say of themselves to the work folder, for a group run without them.

    Links to other datasets are left out where they are paths, which the site may not want to tell.

    Parameters
    ----------
    datasets : Datasets
    settings : Settings
        Without ``--mask``, reduced runs are of no use elsewhere, and nothing is written.
    """
    if settings.science.masking.mask is None:
        return
    sources = _descriptions(datasets)
    described = {
        "Name": input_name(datasets),
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": licence(datasets),
        "Authors": _named_authors(sources),
        "GeneratedBy": _programs_before(sources),
        "SourceDatasets": _distinct(filter(_is_public, _source_datasets(sources))),
    }
    with replace_atomically(settings.work_dir / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _descriptions(datasets: Datasets) -> list[dict[str, Any]]:
    """Return what the datasets say of themselves."""
    return [read_description(one.root) for one in datasets.found]


def input_name(datasets: Datasets) -> object:
    """Return the name of the preprocessed dataset, or of all of them."""
    names = [source.get("Name") or "unnamed dataset" for source in _descriptions(datasets)]
    return ", ".join(map(str, _distinct(names))) if len(names) > 1 else names[0]


def licence(datasets: Datasets) -> object:
    """Return the licence of the preprocessed dataset, which its derivatives have, too."""
    unknown = "not stated by the preprocessed dataset"
    sources = _descriptions(datasets)
    stated = [source.get("License") or unknown for source in sources]
    if len(set(stated)) == 1:
        return stated[0]
    # Who uses what was made of all of them has to respect each.
    named = zip(datasets.found, stated, strict=True)
    return "; ".join(f"{one.link}: {of_dataset}" for one, of_dataset in named)


def _distinct(values: Iterable[T]) -> list[T]:
    """Return each value once, in order of first appearance; they need not be hashable."""
    found: list[T] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _authors(sources: Sequence[Mapping[str, object]]) -> list[object]:
    """Return the authors of the inputs; the validator warns of lists with fewer than two."""
    authors = _named_authors(sources)
    if len(authors) > 1:
        return authors
    nobody = ["(the preprocessed dataset names no authors)"]
    return [*(authors or nobody), f"{OUR_NAME} (the software that made these derivatives)"]


def _named_authors(sources: Sequence[Mapping[str, object]]) -> list[object]:
    return _distinct(_listed(sources, "Authors"))


def _source_datasets(sources: Sequence[Mapping[str, object]]) -> list[object]:
    return list(_listed(sources, "SourceDatasets"))


def _is_public(source: object) -> bool:
    """Return whether an entry of SourceDatasets has no link, or one to the web."""
    return isinstance(source, Mapping) and str(source.get("URL", "http")).startswith("http")


def _listed(sources: Sequence[Mapping[str, object]], name: str) -> Iterable[object]:
    """Return the entries of a list that some of the descriptions have."""
    lists = (source.get(name) for source in sources)
    return (one for entries in lists if isinstance(entries, list) for one in entries)


def programs_before(source: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the programs that made a dataset, as its description names them.

    Parameters
    ----------
    source : mapping
        The content of its dataset_description.json.

    Returns
    -------
    list of dict
        Each with a ``Name``; entries that BIDS does not allow are left out.
    """
    named = source.get("GeneratedBy")
    return [
        entry
        for entry in (named if isinstance(named, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("Name"), str) and entry["Name"]
    ]


def _programs_before(sources: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the programs that made the datasets, each once."""
    return _distinct(program for source in sources for program in programs_before(source))


def _generated_by() -> dict[str, object]:
    """Return the entry for this program; the container image sets the variables about itself."""
    entry: dict[str, object] = {"Name": OUR_NAME, "Version": __version__, "CodeURL": CODE_URL}
    container = {
        name: value
        for name, variable in (
            ("Type", "NIDECOMP_CONTAINER_TYPE"),
            ("Tag", "NIDECOMP_CONTAINER_TAG"),
            ("URI", "NIDECOMP_CONTAINER_URI"),
        )
        if (value := os.environ.get(variable))
    }
    if container:
        entry["Container"] = container
    return entry
