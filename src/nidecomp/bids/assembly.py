"""Put the runs together: each image with its mask, its confounds table and its sidecars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple, Protocol

from nidecomp.bids.companions import Companions, Shared, shared_entities
from nidecomp.bids.entities import (
    canonical,
    key_of_name,
    unknown_entities,
    wrong_folder,
    wrong_name,
)
from nidecomp.bids.listing import ListedFile
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.bids.pairs import wrong_hemisphere
from nidecomp.bids.sidecars import Sidecars, ambiguous_sidecars, own_sidecars
from nidecomp.core.content import is_not_fetched, not_fetched, stands_for_content
from nidecomp.core.hemispheres import files_of
from nidecomp.core.inventory import FailedRun, RefusedRun
from nidecomp.core.records import RunFiles, RunKey
from nidecomp.core.surface_files import kind_of_series


def run_key(entities: Mapping[str, str]) -> RunKey:
    """Return the entities that identify a run."""
    return RunKey(
        tuple((short, entities[name]) for short, name in RUN_ENTITIES.items() if name in entities)
    )


IsKnown = Callable[[RunFiles], bool]


class Fetched(NamedTuple):
    """Runs whose small files are there, and those of which some could not be fetched."""

    runs: Sequence[RunFiles]
    failed: Sequence[FailedRun]


# Fetches the small files of runs. Their images are fetched later.
FetchCompanions = Callable[[Sequence[RunFiles]], Fetched]


class ReducedBefore(Protocol):
    """Images whose reduced runs are stored, so that they need not be there any more."""

    def __contains__(self, path: object) -> bool:
        """Return whether an image is one of them."""
        ...

    def other_than(self, paths: Iterable[Path]) -> Sequence[Path]:
        """Return the images that are not among some others."""
        ...


class Assembly(NamedTuple):
    """What is needed to match the files of a dataset to runs; `of` does it for some images.

    `is_known` tells whether the files of a run are those that could be read before. With `fetch`,
    annexed content need not be there: small files are fetched by it, and images when they are read.
    `wrong_grayordinates` says why those of the dataset cannot be used.
    """

    root: Path
    masks: Companions
    confounds: Companions
    sidecars: Sidecars
    filters: Mapping[str, Mapping[str, Any]]
    needs_mask: bool
    reduced_before: ReducedBefore | tuple[()]
    is_known: IsKnown
    fetch: FetchCompanions | None = None
    wrong_grayordinates: str | None = None

    def of(
        self, bolds: list[ListedFile]
    ) -> tuple[tuple[RunFiles, ...], tuple[RefusedRun, ...], tuple[FailedRun, ...]]:
        """Return the runs with their files, those that cannot be used, and those that failed."""
        same_run: dict[tuple[Shared, str | None, str | None], list[Path]] = defaultdict(list)
        for bold in bolds:
            same_run[identity(bold)].append(bold.path)
        found = [self._run(bold, same_run[identity(bold)]) for bold in bolds]
        there = [one for one in found if isinstance(one, RunFiles)]
        fetched = Fetched(there, ()) if self.fetch is None else self.fetch(there)
        checked = [self._checked(one) for one in fetched.runs]
        runs = [one for one in checked if isinstance(one, RunFiles)]
        refused = [one for one in (*found, *checked) if isinstance(one, RefusedRun)]
        runs.sort(key=lambda run: run.key.label)
        refused.sort(key=lambda run: run.key.label)
        return tuple(runs), tuple(refused), tuple(fetched.failed)

    def _run(self, bold: ListedFile, same_run: list[Path]) -> RunFiles | RefusedRun:
        if reason := wrong_name(bold.path):
            return RefusedRun(key_of_name(bold.path), bold.path, reason)
        kind = kind_of_series(bold.path)
        masks = self.masks.of(bold, same_voxels=True) if kind is None else []
        tables = self.confounds.of(bold, same_voxels=False)
        sidecars = chain.from_iterable(map(self.sidecars.of, files_of(bold.path)))
        of_table = self.sidecars.of(tables[0]) if tables else ()
        reason = (
            wrong_folder(self.root, bold.path, bold.entities)
            or self._wrong_entities(bold, same_run)
            or self._wrong_surfaces(bold)
            or self._several("brain mask", masks)
            or (_no_mask() if self.needs_mask and kind is None and not masks else None)
            or self._several("confounds table", tables)
        )
        if reason:
            return RefusedRun(run_key(bold.entities), bold.path, reason)
        return RunFiles(
            key=run_key(bold.entities),
            space=bold.entities["space"],
            cohort=bold.entities.get("cohort"),
            desc=bold.entities.get("desc"),
            res=bold.entities.get("res"),
            bold=bold.path,
            mask=masks[0] if masks else None,
            confounds=tables[0] if tables else None,
            sidecars=tuple(dict.fromkeys(sidecars)),
            confounds_sidecars=of_table,
            notes=unknown_entities(bold.path),
            den=bold.entities.get("den"),
        )

    def _checked(self, files: RunFiles) -> RunFiles | RefusedRun:
        """Return a run after checking that its files are there, as far as that is not known."""
        groups = [*(own_sidecars(files.sidecars, path) for path in files.images)]
        reason = next(
            filter(None, map(ambiguous_sidecars, (*groups, files.confounds_sidecars))), None
        )
        if reason is None and self.is_known(files):
            return files
        image = _first_unusable("image", files.images)
        may_be_away = files.is_fetched_when_read and any(map(is_not_fetched, files.images))
        is_gone = image is not None and not may_be_away and files.bold in self.reduced_before
        reason = (
            (None if is_gone or may_be_away else image)
            or _first_unusable("brain mask", (files.mask,))
            or _first_unusable("confounds table", (files.confounds,))
            or reason
            or _first_unusable("sidecar", (*files.sidecars, *files.confounds_sidecars))
        )
        if reason:
            return RefusedRun(files.key, files.bold, reason)
        return replace(files, image_is_gone=is_gone)

    def _several(self, what: str, paths: list[Path]) -> str | None:
        if len(paths) > 1:
            return f"{len(paths)} files match as its {what}: " + ", ".join(self._inside(paths))
        return None

    def _inside(self, paths: list[Path]) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in paths]

    def _wrong_entities(self, bold: ListedFile, same_run: list[Path]) -> str | None:
        for entity, short in (("subject", "sub"), ("task", "task"), ("space", "space")):
            if entity not in bold.entities:
                return f"its file name has no {short}- entity"
        if "echo" in bold.entities and "echo" not in self.filters["bold"]:
            return (
                "it is a single echo of a multi-echo run; use fMRIPrep's optimally combined image "
                "(or select an echo with --bids-filter-file)"
            )
        if bold.entities.get("part") in {"phase", "real", "imag"}:
            return f"it is a {bold.entities['part']} image, not a magnitude image"
        if len(same_run) > 1:
            return f"{len(same_run)} files match this run: " + ", ".join(self._inside(same_run))
        return None

    def _wrong_surfaces(self, bold: ListedFile) -> str | None:
        if kind_of_series(bold.path) == "cifti":
            return self.wrong_grayordinates
        return None if bold.path in self.reduced_before else wrong_hemisphere(bold)


def identity(bold: ListedFile) -> tuple[Shared, str | None, str | None]:
    """Return the entities that tell the images of runs apart, with comparable labels."""
    entities = bold.entities
    return (
        shared_entities(entities),
        canonical("echo", entities.get("echo")),
        entities.get("part"),
    )


def _no_mask() -> str:
    return (
        "it has no brain mask with the same entities (*_desc-brain_mask.nii.gz); use --mask with "
        "the mask of a template if the dataset has none (as that of XCP-D)"
    )


def _first_unusable(what: str, paths: Iterable[Path | None]) -> str | None:
    """Return why the first of some files that cannot be read cannot be, or None."""
    return next((why for path in paths if path and (why := _unusable(what, path))), None)


def _unusable(what: str, path: Path) -> str | None:
    """Return why a file cannot be read, or None: its content was not fetched, or it is a pipe."""
    try:
        status = path.stat()
    except OSError as error:
        if is_not_fetched(path):
            return not_fetched(f"its {what}", path)
        return f"its {what} {path.name} cannot be read: {error.strerror}"
    if stands_for_content(path, status):
        return not_fetched(f"its {what}", path)
    # Reading from a pipe could block forever.
    return None if S_ISREG(status.st_mode) else f"its {what} {path.name} is not a regular file"
