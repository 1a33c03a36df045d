"""All pictures of a report: maps are read one by one, and each is drawn by a thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from nidecomp.core.parallel import map_ordered
from nidecomp.outputs.report.compared_maps import ComparedKey, DrawnComparison, draw_comparison
from nidecomp.outputs.report.component_facts import peak_of, short_name, title
from nidecomp.outputs.report.connectomes import GroupConnectome, read_connectome
from nidecomp.outputs.report.figures import draw_contact_sheet, draw_matrix, draw_strips
from nidecomp.outputs.report.panels import MapPanels, Place, panels_for
from nidecomp.outputs.report.pictures import CannotDrawError, Cut
from nidecomp.outputs.report.raster import as_png, as_webp
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition, pairs_of

_LOG = logging.getLogger(__name__)
QUALITY_IN_WORDS = {
    "map_r": "r with group maps",
    "explained_variance": "explained variance",
    "tsnr": "temporal SNR",
    "mean_fd": "mean FD, mm",
}


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """What the page holds of a map: a small picture (WebP) and what the viewer draws.

    `values`, `limit`, `window` and `shows` as in `pictures.MapPictures`.
    """

    small: bytes
    values: str
    limit: float
    window: float
    cut: Cut
    shows: str = "Picture of {name}"


@dataclass(frozen=True, eq=False)
class Drawn:
    """All pictures of a report.

    Parameters
    ----------
    figures : mapping
        Name of a file, without its extension, to a PNG.
    maps : mapping
        Key of a decomposition and name of a component to what the page holds of it.
    scene : mapping or None
        What the viewer draws maps on; None where it cannot draw them.
    connectomes : mapping
        Key of a decomposition to those of the group.
    matches : mapping
        Keys of two decompositions to the correlations of their maps.
    compared : mapping
        What a comparison of participants found in maps.
    """

    figures: Mapping[str, bytes] = field(default_factory=dict)
    maps: Mapping[tuple[str, str], DrawnMap] = field(default_factory=dict)
    scene: Mapping[str, object] | None = None
    connectomes: Mapping[str, GroupConnectome] = field(default_factory=dict)
    matches: Mapping[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    compared: Mapping[ComparedKey, DrawnComparison] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _DrawnComponent:
    """One component as a thread returns it."""

    small: Image
    sample: NDArray[np.float32]
    drawn: DrawnMap


def draw_all(folder: Results, n_threads: int) -> Drawn:
    """Draw everything that a report shows, and the figures about more than one map.

    Parameters
    ----------
    folder : Results
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    Drawn
    """
    figures: dict[str, bytes] = {}
    maps: dict[tuple[str, str], DrawnMap] = {}
    samples: dict[str, NDArray[np.float32]] = {}
    connectomes = {
        one.key: connectome
        for one in folder.decompositions
        if (connectome := read_connectome(one)) is not None
    }
    panels: MapPanels | None = None
    n_maps = sum(len(one.metrics) for one in folder.decompositions)
    for one in folder.decompositions:
        if one.maps is None or not one.metrics:
            continue
        if panels is None:
            try:
                panels = panels_for(Place(folder.mask, one.maps, one.is_mni, n_maps))
            except CannotDrawError as error:
                _LOG.warning("The report has no pictures of maps: %s", error)
                break
        found = list(_components(panels, one, n_threads))
        names = [row["component"] for row in one.metrics]
        sheet = draw_contact_sheet(
            [each.small for each in found], [each.drawn.cut.title for each in found]
        )
        figures[f"overview_{one.key}"] = as_png(sheet)
        for name, each in zip(names, found, strict=True):
            maps[one.key, name] = each.drawn
        samples[one.key] = np.stack([each.sample for each in found])
    matches = {
        (first.key, second.key): _correlations(samples[first.key], samples[second.key])
        for first, second, _ in pairs_of(folder)
        if first.key in samples and second.key in samples
    }
    figures |= _figures_of_matrices(folder, connectomes, matches)
    if (strips := _strips(folder)) is not None:
        figures["participants"] = as_png(strips)
    scene = panels.scene() if panels is not None else None
    compared = draw_comparison(folder, panels, n_threads) if panels is not None else {}
    return Drawn(figures, maps, scene, connectomes, matches, compared)


def _components(
    panels: MapPanels, one: WrittenDecomposition, n_threads: int
) -> Iterator[_DrawnComponent]:
    assert one.maps is not None  # noqa: S101  for mypy: the caller has looked
    cuts = [cut_of(one, row) for row in one.metrics]

    def draw(item: tuple[object, Cut]) -> _DrawnComponent:
        brain_map, cut = item
        pictures = panels.pictures(brain_map, cut)
        drawn = DrawnMap(
            as_webp(pictures.small),
            pictures.values,
            pictures.limit,
            pictures.window,
            cut,
            pictures.shows,
        )
        return _DrawnComponent(pictures.small, panels.sample(brain_map), drawn)

    yield from map_ordered(draw, paired(panels.maps(one.maps), cuts, one.maps), n_threads)


def paired(maps: Iterator[object], cuts: Sequence[Cut], path: Path) -> Iterator[tuple[object, Cut]]:
    """Yield each map of a file with where it is cut."""
    for brain_map, cut in zip_longest(maps, cuts):
        if brain_map is None or cut is None:
            raise ValueError(
                f"{path.name} does not have the {len(cuts)} maps that the JSON file beside it names"
            )
        yield brain_map, cut


def cut_of(one: WrittenDecomposition, row: Row) -> Cut:
    """Return where a component is cut, and at which limits it is thresholded."""
    limits = (0.0, 0.0)
    if one.thresholded is not None and "threshold_high" in row:
        limits = number(row.get("threshold_low")), number(row.get("threshold_high"))
    return Cut(peak_of(row), *limits, title=title(row))


def _correlations(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the correlation of every map of one decomposition with every map of another."""
    both = []
    for maps in (first, second):
        centred = maps - maps.mean(axis=1, keepdims=True, dtype=np.float64)
        norm = np.linalg.norm(centred, axis=1, keepdims=True)
        both.append(centred / np.where(norm > 0, norm, 1))
    return np.asarray(both[0] @ both[1].T)


def in_matched_order(
    first: WrittenDecomposition, second: WrittenDecomposition, rows: Sequence[Row]
) -> list[int]:
    """Return the components of the second decomposition in the order of their partners."""
    partners = {row.get("component", ""): row.get("other_component", "") for row in rows}
    wanted = [partners.get(name, "") for name in first.names]
    matched = [second.names.index(name) for name in wanted if name in second.names]
    return [*matched, *(index for index in range(len(second.names)) if index not in matched)]


def _figures_of_matrices(
    folder: Results,
    connectomes: Mapping[str, GroupConnectome],
    matches: Mapping[tuple[str, str], NDArray[np.float64]],
) -> dict[str, bytes]:
    figures = {}
    for one in folder.decompositions:
        if (connectome := connectomes.get(one.key)) is not None:
            shown = connectome.first[np.ix_(connectome.order, connectome.order)]
            np.fill_diagonal(shown, np.nan)
            words = f"{connectome.words.capitalize()} of time courses, mean over participants"
            names = [short_name(one.metrics[index]) for index in connectome.order]
            figures[f"connectome_{one.key}"] = as_png(draw_matrix(shown, names, names, words))
    for first, second, rows in pairs_of(folder):
        if (r := matches.get((first.key, second.key))) is not None:
            order = in_matched_order(first, second, rows)
            drawn = draw_matrix(
                r[:, order],
                first.names,
                [second.names[index] for index in order],
                "Correlation of maps, matched ones on the diagonal",
            )
            figures[f"matching_{first.key}_{second.key}"] = as_png(drawn)
    return figures


def quality_of_participants(folder: Results) -> list[tuple[str, NDArray[np.float64]]]:
    """Return what each measure of data quality is, and the value of each participant."""
    columns = []
    for name, words in QUALITY_IN_WORDS.items():
        values = np.array([number(row.get(name)) for row in folder.participants])
        if np.isfinite(values).any():
            columns.append((words, values))
    return columns


def _strips(folder: Results) -> Image | None:
    columns = quality_of_participants(folder)
    if not columns:
        return None
    marked = np.array([bool(row.get("outlier")) for row in folder.participants])
    return draw_strips(columns, marked, [row["participant_id"] for row in folder.participants])
