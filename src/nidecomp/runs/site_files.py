"""The reduced runs in the work folder of another site, and what each says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nidecomp.bids.listing import ListedFile
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.core.inventory import RefusedRun
from nidecomp.core.records import REDUCED_EXTENSION, REDUCED_FOLDER, RunKey
from nidecomp.core.reduced_runs import read_about

# Entities in which the images of one run can differ.
_OF_IMAGES = ("space", "res", "desc", "cohort")


@dataclass(frozen=True)
class SiteFile:
    """A reduced run of another site: its run, and what `runs.sites.about_reduced` said of it."""

    path: Path
    key: RunKey
    about: Mapping[str, Any]

    @property
    def settings(self) -> Mapping[str, Any]:
        """How it was reduced."""
        settings: Mapping[str, Any] = self.about["settings"]
        return settings

    @property
    def space(self) -> str:
        """The digest of its feature space."""
        return str(self.settings["geometry"])

    @property
    def smoothing_fwhm(self) -> float:
        """The smoothing in mm."""
        return float(self.settings["smoothing_fwhm"])

    @property
    def n_rows(self) -> float:
        """The number of principal components that it was reduced to, if it had as many."""
        return float(self.settings["n_rows"])

    @property
    def listed(self) -> ListedFile:
        """The file with the entities of its image, as images in a dataset are listed."""
        named = (*_OF_IMAGES, "den")
        of_image = {name: label for name in named if (label := self.about.get(name)) is not None}
        return ListedFile(self.path, {**_long(self.key), **of_image})


def read_site_files(root: Path) -> tuple[list[SiteFile], list[RefusedRun]]:
    """Return the reduced runs of a site, and those that cannot be used, with the reason.

    Parameters
    ----------
    root : Path
        The work folder of the site.

    Returns
    -------
    files : list of SiteFile
        Sorted by path. The names of files begin with the labels of their runs: participants can be
        selected by names, and nobody who was renamed or withdrawn is used under another label.
    refused : list of RefusedRun
    """
    files: list[SiteFile] = []
    refused: list[RefusedRun] = []
    for path in sorted((root / REDUCED_FOLDER).glob(f"[!.]*{REDUCED_EXTENSION}")):
        about, named = read_about(path), key_of_name(path)
        if about is None or not _is_complete(about):
            refused.append(RefusedRun(named, path, "its file is damaged, or too old"))
            continue
        key = RunKey(tuple((name, label) for name, label in about["entities"]))
        if path.name.rpartition("_")[0] == key.label:
            files.append(SiteFile(path, key, about))
        else:
            # The label inside is not told: it may be one that nobody should know.
            reason = (
                "its file was renamed, but labels are inside the file: reduce the run again under "
                "the new label"
            )
            refused.append(RefusedRun(named, path, reason))
    return files, refused


def listed_by_name(refused: RefusedRun) -> ListedFile:
    """Return a file that cannot be used, with the entities in its name."""
    return ListedFile(refused.bold, _long(refused.key))


def key_of_name(path: Path) -> RunKey:
    """Return the key of a run by the name of its file, whose hash is left out."""
    pairs = (part.partition("-") for part in path.stem.rpartition("_")[0].split("_"))
    return RunKey(tuple((name, label) for name, _, label in pairs if label))


def _long(key: RunKey) -> dict[str, str]:
    """Return the entities of a run with pybids' names."""
    return {RUN_ENTITIES.get(short, short): label for short, label in key.entities}


def _is_complete(about: Mapping[str, Any]) -> bool:
    """Return whether a file says all that is needed; names of outputs are made of its labels."""
    try:
        entities, settings = dict(about["entities"]), about["settings"]
        about["run"], settings["format"]
        numbers = settings["smoothing_fwhm"], settings["n_rows"]
        of_image = (*(about[name] for name in _OF_IMAGES), about.get("den"))
        labels = [*entities.values(), *of_image]
        return (
            {"sub", "task"} <= entities.keys() <= RUN_ENTITIES.keys()
            and isinstance(about["space"], str)
            and isinstance(settings["geometry"], str)
            and isinstance(settings["denoising"], Mapping)
            and all(isinstance(one, int | float) for one in numbers)
            and all(one is None or one.replace("+", "").isalnum() for one in labels)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
