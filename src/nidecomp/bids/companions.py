"""Match brain masks and confounds tables to the images of their runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from nidecomp.bids.entities import canonical, same_label, wrong_name
from nidecomp.bids.listing import ListedFile
from nidecomp.bids.names import RUN_ENTITIES

Shared = tuple[tuple[str, str | None], ...]


class Companions:
    """Masks or confounds tables, indexed by the entities that they share with their run.

    Files whose names cannot be read completely belong to no run.

    Parameters
    ----------
    files : iterable of ListedFile
    """

    def __init__(self, files: Iterable[ListedFile]) -> None:
        self._files: dict[Shared, list[ListedFile]] = defaultdict(list)
        for file in files:
            if wrong_name(file.path) is None:
                self._files[shared_entities(file.entities)].append(file)

    def of(self, bold: ListedFile, *, same_voxels: bool) -> list[Path]:
        """Return the files of a run; with `same_voxels`, of the same space and resolution only."""
        candidates = self._files.get(shared_entities(bold.entities), [])
        # A mask or a confounds table belongs to one echo, or to all if it has no echo entity.
        echo = bold.entities.get("echo")
        return [
            file.path
            for file in candidates
            if ("echo" not in file.entities or same_label("echo", file.entities["echo"], echo))
            and (
                not same_voxels
                or all(
                    same_label(name, file.entities.get(name), bold.entities.get(name))
                    for name in ("space", "cohort", "res")
                )
            )
        ]


def shared_entities(entities: Mapping[str, str]) -> Shared:
    """Return the entities that the files of a run have in common, with comparable labels."""
    return tuple(
        (name, canonical(name, entities[name]))
        for name in RUN_ENTITIES.values()
        if name in entities and name not in {"echo", "part"}
    )
