"""Whether an output folder already has the results that a command would make."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from nidecomp.annotation.atlases import files_of_atlas
from nidecomp.bids.dataset import read_description
from nidecomp.bids.datasets import Datasets
from nidecomp.config.request import Request
from nidecomp.core.content import identity_of_all
from nidecomp.core.errors import FailedRunError
from nidecomp.core.inventory import Inventory
from nidecomp.core.text import parse_json, read_text
from nidecomp.outputs import inventory as inventory_table
from nidecomp.outputs.tree import MANIFEST, is_whole
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.version import __version__, code_digest, library_versions

_LOG = logging.getLogger(__name__)
MADE_FROM = MANIFEST.with_suffix(".json")
_KEY = "MadeFrom"

# What decides the comparison of participants, without which everything else is the same.
_COMPARISON = "another comparison of participants"
_FILES = ("participants_file", "model_file")
# What results depend on, each by a hash of it.
Origin = Mapping[str, str]


def origin_of(
    tasks: Sequence[ReduceTask],
    inventory: Inventory,
    datasets: Datasets,
    space: FeatureSpace,
    request: Request,
    files_of_comparison: Sequence[Path] = (),
) -> Origin | None:
    """Return what the results of a command depend on.

    Parameters
    ----------
    tasks : sequence of ReduceTask
        The runs to be reduced, with all of their inputs and settings.
    inventory : Inventory
        All runs that were found, before any image is read.
    datasets : Datasets
        The preprocessed datasets.
    space : FeatureSpace
    request : Request
    files_of_comparison : sequence of Path
        The table of participants and the model file.

    Returns
    -------
    dict of str to str, or None
        None where a run or the atlas cannot be read, of which what reads them says why.
    """
    asked = request.asked
    tables = asked.as_tables()
    comparison = tables.pop("comparison", None)
    atlas = request.science.evidence.label_atlas
    try:
        names = sorted(task.path(fwhm).name for task in tasks for fwhm in task.smoothing_fwhm)
        of_atlas = identity_of_all(files_of_atlas(Path(atlas))) if atlas else None
        of_comparison = [
            hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of_comparison
        ]
    except (FailedRunError, OSError):
        return None
    parts: dict[str, object] = {
        "other runs": [names, space.digest, inventory_table.rows(inventory, datasets)],
        "other settings": [
            tables,
            asked.extent.level,
            asked.extent.participant_maps,
            of_atlas,
        ],
        "another description of the dataset": [
            dict(read_description(one.root)) for one in datasets.found
        ],
        "another path of the dataset": datasets.links(asked.output_dir),
        "other versions": [
            __version__,
            code_digest(),
            platform.python_version(),
            library_versions(),
        ],
    }
    if comparison is not None:
        # Files count by their content, wherever they are.
        decisive = {name: value for name, value in comparison.items() if name not in _FILES}
        parts[_COMPARISON] = [decisive, of_comparison]
    return {
        name: hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()
        for name, part in parts.items()
    }


def about_manifest(origin: Origin | None, inventory: Inventory) -> dict[str, object] | None:
    """Return the JSON that stands beside the manifest of complete results.

    Parameters
    ----------
    origin : mapping or None
        See `origin_of`.
    inventory : Inventory
        All runs, as they ended.

    Returns
    -------
    dict or None
        None where a run failed: the next start tries it again.
    """
    if origin is None or inventory.failed:
        return None
    return {
        "Description": "All files of these results, with their sizes in bytes and SHA-256 hashes. "
        "The same command makes nothing again as long as they are there, and what they were made "
        "from is the same.",
        _KEY: dict(origin),
    }


def is_finished(output_dir: Path, origin: Origin | None) -> bool:
    """Return whether a folder has complete results of this origin; log if they will be replaced.

    Parameters
    ----------
    output_dir : Path
    origin : mapping or None
        See `origin_of`.

    Returns
    -------
    bool
    """
    before = _origin_before(output_dir)
    if origin is None or before is None:
        return False
    changed = [name for name in {**before, **origin} if before.get(name) != origin.get(name)]
    if changed == [_COMPARISON]:
        _LOG.warning(_OF_COMPARISON[_COMPARISON in before, _COMPARISON in origin], output_dir)
        return False
    if changed:
        _LOG.warning(
            "The results in %s were made from %s: they are replaced",
            output_dir,
            " and ".join(changed),
        )
        return False
    return is_whole(output_dir)


# By whether there is a comparison, and whether there will be one.
_OF_COMPARISON = {
    (False, True): "A comparison of participants is added to the results in %s",
    (True, True): "The comparison of participants in %s is replaced by another one",
    (True, False): "The comparison of participants in %s is removed, as --model is not given",
}


def _origin_before(output_dir: Path) -> Origin | None:
    if not (output_dir / MANIFEST).exists():
        return None
    try:
        content = parse_json(read_text(output_dir / MADE_FROM))
    except (OSError, ValueError):
        return None
    origin = content.get(_KEY) if isinstance(content, dict) else None
    return origin if isinstance(origin, dict) else None
