"""Reading an output folder for the report, from its published files alone."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.parse import read_config_file, settings_from_options
from nidecomp.config.science import Science
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.core.records import REDUCED_EXTENSION
from nidecomp.core.text import count
from nidecomp.outputs.report.comparison_results import WrittenComparison, read_comparison
from nidecomp.outputs.report.panels import files_of_maps
from nidecomp.outputs.report.reading import Row, number, read_json, read_table, read_text

# Method and number of components of a decomposition, and the name of a component.
ComponentKey = tuple[str, str, str]
_DECOMPOSITION, _COMPONENTS = "_decomposition.json", "_components"
_MASK = "tpl-*/**/anat/*_desc-brain_mask"


@dataclass(frozen=True, eq=False)
class Fits:
    """How strongly each run expresses one component.

    `map_r` is the correlation of the run's own map with the group's, `amplitude` the standard
    deviation of the time course; both of shape (n_runs,).
    """

    runs: tuple[str, ...]
    map_r: NDArray[np.float64]
    amplitude: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WrittenDecomposition:
    """One decomposition, as it was written.

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
        Files of maps.
    root : Path
        The output folder.
    is_template : bool
        Whether its maps were not fitted to these runs but given.
    """

    method: str
    scale: int
    stem: Path
    described: Mapping[str, object]
    names: tuple[str, ...]
    metrics: tuple[Row, ...]
    maps: Path | None
    thresholded: Path | None
    root: Path
    is_template: bool

    @property
    def key(self) -> str:
        """An identifier of the decomposition, for names."""
        return f"seg-{self.method}_scale-{self.scale}"

    @property
    def label(self) -> str:
        """What tables of a comparison of participants call it."""
        return f"{self.method}{self.scale}"

    def course_files(self, participants: Sequence[Path] | None = None) -> tuple[Path, ...]:
        """Return the files of time courses, sorted.

        Parameters
        ----------
        participants : sequence of Path, optional
            The folders of some participants; all by default, which takes seconds where there are
            thousands of runs.
        """
        if participants is None:
            return tuple(sorted(self.root.glob(f"sub-*/**/{self._course_name}")))
        found = (path for one in participants for path in one.glob(f"**/{self._course_name}"))
        return tuple(sorted(found))

    @property
    def has_courses(self) -> bool:
        """Whether there are files of time courses."""
        return next(self.root.glob(f"sub-*/**/{self._course_name}"), None) is not None

    @property
    def _course_name(self) -> str:
        """The pattern of their names."""
        stem = self.stem.name
        entities = stem[stem.index("_atlas-") :] if "_atlas-" in stem else stem
        return f"func/*{entities}_timeseries.tsv"

    @property
    def metrics_file(self) -> Path:
        """The table of measures, which need not be there."""
        return self.stem.with_name(f"{self.stem.name}_metrics.tsv")

    @property
    def space(self) -> str:
        """What BIDS calls the space of the maps."""
        return self.stem.name.split("_")[0].removeprefix("tpl-")

    @property
    def is_mni(self) -> bool:
        """Whether maps are in MNI space, so that its template and glass brain can be used."""
        return self.stem.name.startswith("tpl-MNI")

    @property
    def title(self) -> str:
        """The title of the decomposition in the report."""
        names = {"canica": "CanICA", "dictlearning": "Dictionary learning", "given": "Maps given"}
        given = " (given)" if self.is_template and self.method != "given" else ""
        return f"{names.get(self.method, self.method)}{given}, {count(self.scale, 'component')}"


@dataclass(frozen=True, eq=False)
class Results:
    """The content of an output folder; `missing` lists what should be there and is not.

    `is_template` says that maps were projected which were not fitted here. `fits` has, for each
    component, how each run has it, `circumstances` how and where nidecomp was run. `settings` is
    the text of the file of settings, `options` what it says; None if it cannot be read.
    `comparison` is None where participants were not compared.
    """

    root: Path
    is_template: bool
    description: Mapping[str, object]
    decompositions: tuple[WrittenDecomposition, ...]
    runs: tuple[Row, ...]
    participants: tuple[Row, ...]
    quality: tuple[Row, ...]
    stability: tuple[Row, ...]
    matching: tuple[Row, ...]
    datasets: tuple[Row, ...]
    fits: Mapping[ComponentKey, Fits]
    resources: tuple[Row, ...]
    circumstances: Mapping[str, object]
    order: Mapping[str, object]
    order_figure: Path | None
    settings: str
    options: Settings | None
    mask: Path | None
    missing: tuple[str, ...]
    comparison: WrittenComparison | None = None

    @property
    def science(self) -> Science | None:
        """The options that changed the outputs, but for those of further datasets alone."""
        return self.options.science if self.options else None

    @property
    def own_science(self) -> dict[str, Science]:
        """All options of each further dataset, by its name."""
        if self.options is None:
            return {}
        return {one.name: self.options.of_dataset(one).science for one in self.options.further}


def read_results(root: Path) -> Results:
    """Read everything that the report is made of.

    Parameters
    ----------
    root : Path
        An output folder, complete or not.

    Returns
    -------
    Results
        Never raises for what is missing or damaged: it is in `missing`.
    """
    missing: list[str] = []
    settings = read_text(root / "logs" / "settings.toml", missing)
    is_template = _maps_were_given(settings)
    decompositions = read_decompositions(root, missing)
    if not decompositions:
        missing.append("There is no decomposition (tpl-*/func/*_decomposition.json).")
    figure = root / "figures" / "order.svg"
    # There is no evidence about template maps.
    of_fits = None if is_template else missing
    runs = read_table(root / "logs" / "inventory.tsv", missing)
    comparison = read_comparison(root, missing)
    # Runs that other sites reduced have no images that maps could be projected to.
    of_projections = None if _are_of_sites(runs) else missing
    return Results(
        root=root,
        is_template=is_template,
        description=read_json(root / "dataset_description.json", missing),
        decompositions=decompositions,
        runs=runs,
        participants=read_table(root / "participants.tsv", missing),
        quality=read_table(root / "logs" / "quality.tsv", of_projections),
        stability=read_table(root / "logs" / "stability.tsv", of_fits),
        matching=read_table(root / "logs" / "matching.tsv", of_fits),
        # Of several datasets only.
        datasets=read_table(root / "logs" / "datasets.tsv"),
        fits=_fits(root / "logs" / "quality_components.tsv", of_projections),
        resources=read_table(root / "logs" / "resources.tsv"),
        circumstances=read_json(root / "logs" / "resources.json"),
        order=read_json(root / "logs" / "order.json") if figure.exists() else {},
        order_figure=figure if figure.exists() else None,
        settings=settings,
        options=_options(root / "logs" / "settings.toml"),
        mask=next((path for path, _ in files_of_maps(root, _MASK)), None),
        missing=tuple(missing),
        comparison=comparison,
    )


def _are_of_sites(runs: Sequence[Row]) -> bool:
    """Return whether all runs that were used are reduced runs of other sites."""
    used = [row for row in runs if row.get("status") == "used"]
    return bool(used) and all(
        row.get("source_file", "").endswith(REDUCED_EXTENSION) for row in used
    )


def read_decompositions(root: Path, missing: list[str]) -> tuple[WrittenDecomposition, ...]:
    """Return the decompositions of an output folder, with the files of each.

    Parameters
    ----------
    root : Path
        An output folder, complete or not.
    missing : list of str
        What should be there and is not, or is damaged, is added to it.

    Returns
    -------
    tuple of WrittenDecomposition
        Sorted by number of components, then by method.
    """
    is_template = _maps_were_given(read_text(root / "logs" / "settings.toml"))
    found = (_decomposition(stem, root, missing, is_template=is_template) for stem in _stems(root))
    return tuple(sorted(found, key=lambda one: (one.scale, one.method)))


def pairs_of(folder: Results) -> list[tuple[WrittenDecomposition, WrittenDecomposition, list[Row]]]:
    """Return the matched components of every pair of decompositions."""
    found = []
    by_key = {(one.method, str(one.scale)): one for one in folder.decompositions}
    for first in folder.decompositions:
        for second in folder.decompositions:
            rows = [
                row
                for row in folder.matching
                if by_key.get((row.get("method", ""), row.get("scale", ""))) is first
                and by_key.get((row.get("other_method", ""), row.get("other_scale", ""))) is second
            ]
            if rows:
                found.append((first, second, rows))
    return found


def _options(path: Path) -> Settings | None:
    """Return the options that changed the outputs; None where they cannot be read."""
    try:
        options = read_config_file(path)
        # Their folders are not in the file.
        tables = cast("Mapping[str, Mapping[str, object]]", options.pop("datasets", {}))
        datasets = {name: {**table, "path": "."} for name, table in tables.items()}
        return settings_from_options(".", ".", "group", {**options, "datasets": datasets})
    except UsageError:
        return None


def _maps_were_given(settings: str) -> bool:
    """Return whether template maps were projected, according to the settings."""
    try:
        projection = tomllib.loads(settings).get("projection")
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(projection, dict) and "maps" in projection


def _stems(root: Path) -> list[Path]:
    """Return the beginning of the file names of each decomposition."""
    described = {
        path.with_name(path.name.removesuffix(_DECOMPOSITION))
        for path in root.glob(f"tpl-*/**/func/*{_DECOMPOSITION}")
    }
    with_maps = {
        path.with_name(re.split(r"_(?:res|den|desc|stat)-", name)[0].removesuffix(_COMPONENTS))
        for path, name in files_of_maps(root, f"tpl-*/**/func/*{_COMPONENTS}")
    }
    return sorted(described | with_maps)


def _of_name(stem: str, entity: str) -> str:
    """Return the label of an entity in a file name; empty where it is missing."""
    found = re.search(rf"_{entity}-([^_]+)", stem)
    return found[1] if found else ""


def _scale(stem: str, n_names: int) -> int:
    """Return the number of components from a file name; count them where it is not there."""
    label = _of_name(stem, "scale")
    return int(label) if label.isdecimal() else n_names


def _decomposition(
    path: Path, root: Path, missing: list[str], *, is_template: bool
) -> WrittenDecomposition:
    stem = path.name
    described: Mapping[str, object] = {}
    if not is_template:
        described = read_json(path.with_name(stem + _DECOMPOSITION), missing)
    method = str(described.get("Method") or _of_name(stem, "seg") or "unknown")
    n_components = described.get("NumberOfComponents")
    maps, thresholded, sidecar = _images(path)
    if maps is None:
        missing.append(f"The maps of {stem} are not there.")
    names = _names(sidecar, missing) if sidecar else ()
    metrics = () if is_template else read_table(path.with_name(f"{stem}_metrics.tsv"), missing)
    if len(metrics) != len(names) or any("component" not in row for row in metrics):
        metrics = tuple({"component": name} for name in names)
    return WrittenDecomposition(
        method=method,
        scale=n_components if isinstance(n_components, int) else _scale(stem, len(names)),
        stem=path,
        described=described,
        names=names,
        metrics=metrics,
        maps=maps,
        thresholded=thresholded,
        root=root,
        is_template=is_template,
    )


def _images(path: Path) -> tuple[Path | None, Path | None, Path | None]:
    """Return the files of a decomposition's maps, unthresholded and thresholded, and their JSON."""
    stem = path.name
    images = {
        name.removeprefix(stem): image
        # All are listed: the names of pairs say the hemisphere amid that of the decomposition.
        for image, name in files_of_maps(path.parent, f"*{_COMPONENTS}")
        # scale-2 must not match scale-20.
        if name.startswith(f"{stem}_")
    }
    plain = next((name for name in images if "_desc-" not in name), None)
    thresholded = next((one for name, one in images.items() if "_desc-thresholded_" in name), None)
    if plain is None:
        return None, thresholded, None
    # Both files of a pair may have one JSON file, which names no hemisphere.
    own, shared = (
        path.with_name(f"{name}.json")
        for name in (images[plain].name.partition(".")[0], f"{stem}{plain}")
    )
    return images[plain], thresholded, own if own.exists() else shared


def _names(sidecar: Path, missing: list[str]) -> tuple[str, ...]:
    """Return the names of components from the JSON beside their maps."""
    listed = read_json(sidecar, missing).get("ComponentNames")
    return tuple(str(name) for name in listed) if isinstance(listed, list) else ()


def _fits(path: Path, missing: list[str] | None) -> dict[ComponentKey, Fits]:
    """Return how strongly each run expresses each component, from the long table."""
    header, _, text = read_text(path, missing).partition("\n")
    names = header.split("\t") if header else []
    wanted = ("run", "method", "scale", "component", "map_r", "amplitude")
    # Hundreds of thousands of rows: the table is cut into columns at once.
    cells = text.removesuffix("\n").replace("\n", "\t").split("\t") if text else []
    is_whole = set(wanted) <= set(names) and len(cells) % len(names) == 0
    if names and not is_whole and missing is not None:
        missing.append(f"{path.name} is damaged.")
    if not cells or not is_whole:
        return {}
    runs, method, scale, component, *texts = (
        cells[names.index(name) :: len(names)] for name in wanted
    )
    map_r, amplitude = (np.array([number(text) for text in column]) for column in texts)
    rows: dict[ComponentKey, list[int]] = defaultdict(list)
    for index, key in enumerate(zip(method, scale, component, strict=True)):
        rows[key].append(index)
    return {
        key: Fits(tuple(runs[index] for index in found), map_r[found], amplitude[found])
        for key, found in rows.items()
    }
