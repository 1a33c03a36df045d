"""What an output folder holds, for the report: read from files that anybody can read."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One decomposition as it was written.

    Parameters
    ----------
    method : str
    scale : int
        Its number of components.
    stem : Path
        What the names of its tables begin with.
    described : mapping
        The content of ``decomposition.json``.
    names : tuple of str
    metrics : tuple of mapping
        A row for each component; only their names where there is no table.
    maps, thresholded : Path or None
        4D images.
    courses : tuple of Path
        The runs' time courses, sorted.
    connectome : Path or None
        The group's correlations.
    """

    method: str
    scale: int
    stem: Path
    described: Mapping[str, object]
    names: tuple[str, ...]
    metrics: tuple[Row, ...]
    maps: Path | None
    thresholded: Path | None
    courses: tuple[Path, ...]
    connectome: Path | None

    @property
    def key(self) -> str:
        """What tells it from the others, as a part of names."""
        return f"seg-{self.method}_scale-{self.scale}"

    @property
    def title(self) -> str:
        """What people call it."""
        names = {"canica": "CanICA", "dictlearning": "Dictionary learning"}
        return f"{names.get(self.method, self.method)}, {self.scale} components"


@dataclass(frozen=True, eq=False)
class Folder:
    """An output folder; what should be there and is not is told in `missing`."""

    root: Path
    description: Mapping[str, object]
    decompositions: tuple[Decomposition, ...]
    runs: tuple[Row, ...]
    participants: tuple[Row, ...]
    quality: tuple[Row, ...]
    stability: tuple[Row, ...]
    matching: tuple[Row, ...]
    order: Mapping[str, object]
    order_figure: Path | None
    settings: str
    mask: Path | None
    missing: tuple[str, ...]


def read_folder(root: Path) -> Folder:
    """Read what the report is made of.

    Parameters
    ----------
    root : Path
        An output folder, complete or not.

    Returns
    -------
    Folder
        Never raises for what is missing or damaged: it is in `missing`.
    """
    missing: list[str] = []
    decompositions = tuple(
        sorted(
            (
                _decomposition(path, root, missing)
                for path in root.glob("tpl-*/**/func/*_decomposition.json")
            ),
            key=lambda one: (one.scale, one.method),
        )
    )
    if not decompositions:
        missing.append("There is no decomposition (tpl-*/func/*_decomposition.json).")
    figure = root / "figures" / "order.svg"
    return Folder(
        root=root,
        description=read_json(root / "dataset_description.json", missing),
        decompositions=decompositions,
        runs=_table(root / "logs" / "inventory.tsv", missing),
        participants=_table(root / "participants.tsv", missing),
        quality=_table(root / "logs" / "quality.tsv", missing),
        stability=_table(root / "logs" / "stability.tsv", missing),
        matching=_table(root / "logs" / "matching.tsv", missing),
        order=read_json(root / "logs" / "order.json") if figure.exists() else {},
        order_figure=figure if figure.exists() else None,
        settings=_text(root / "logs" / "settings.toml", missing),
        mask=next(iter(sorted(root.glob("tpl-*/**/anat/*_desc-brain_mask.nii.gz"))), None),
        missing=tuple(missing),
    )


def _decomposition(path: Path, root: Path, missing: list[str]) -> Decomposition:
    described = read_json(path, missing)
    stem = path.name.removesuffix("_decomposition.json")
    method = str(described.get("Method", "unknown"))
    number = described.get("NumberOfComponents")
    images = {
        image.name.removeprefix(stem): image
        for image in path.parent.glob(f"{stem}*_components.nii.gz")
    }
    maps = next((image for name, image in images.items() if "_desc-" not in name), None)
    thresholded = next(
        (image for name, image in images.items() if "_desc-thresholded_" in name), None
    )
    if maps is None:
        missing.append(f"The maps of {stem} are not there.")
    names: tuple[str, ...] = ()
    if maps is not None:
        listed = read_json(Path(str(maps).replace(".nii.gz", ".json")), missing).get(
            "ComponentNames"
        )
        names = tuple(str(name) for name in listed) if isinstance(listed, list) else ()
    metrics = _table(path.with_name(f"{stem}_metrics.tsv"), missing)
    if len(metrics) != len(names):
        metrics = tuple({"component": name} for name in names)
    entities = stem[stem.index("_atlas-") :] if "_atlas-" in stem else stem
    relmat = path.with_name(f"{stem}_stat-pearsoncorrelation_relmat.tsv")
    return Decomposition(
        method=method,
        scale=number if isinstance(number, int) else len(names),
        stem=path.with_name(stem),
        described=described,
        names=names,
        metrics=metrics,
        maps=maps,
        thresholded=thresholded,
        courses=tuple(sorted(root.glob(f"sub-*/**/func/*{entities}_timeseries.tsv"))),
        connectome=relmat if relmat.exists() else None,
    )


def _text(path: Path, missing: list[str] | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        if missing is not None:
            missing.append(f"{path.name} is not there.")
        return ""


def read_json(path: Path, missing: list[str] | None = None) -> Mapping[str, object]:
    """Read a JSON object; nothing where there is none, which is added to `missing`."""
    try:
        content = json.loads(_text(path, missing) or "{}")
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    if missing is not None:
        missing.append(f"{path.name} is damaged.")
    return {}


def _table(path: Path, missing: list[str] | None = None) -> tuple[Row, ...]:
    """Read a table; n/a becomes an empty cell."""
    lines = _text(path, missing).splitlines()
    try:
        rows = list(csv.DictReader(lines, delimiter="\t", restval=""))
    except csv.Error:
        rows = []
        if missing is not None:
            missing.append(f"{path.name} is damaged.")
    return tuple(
        {
            str(name): "" if value in {"n/a", None} else str(value)
            for name, value in row.items()
            if isinstance(value, str | None)
        }
        for row in rows
    )
