"""Reading a comparison of participants from the files of an output folder."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.answers import Answer, answers
from nidecomp.outputs.report.panels import files_of_maps
from nidecomp.outputs.report.reading import Row, number, read_json, read_table, read_text

_PARTICIPANT, _BLOCK = "participant_id", "block"
# Inference to what it is called; the first one that there is decides what is found in maps.
INFERENCES: Mapping[str, str] = {"tfce": "TFCE", "voxel": "the largest value"}
# Columns that a table needs to be read.
_OF_COMPONENTS = {"decomposition", "component", "compared", "contrast", "test"}
_OF_EDGES = {
    "decomposition",
    "contrast",
    "kind",
    "component_1",
    "component_2",
    "direction",
    "p_all",
}
_DIRECTIONS = ("map_direction", "amplitude_direction")


@dataclass(frozen=True, eq=False)
class WrittenTest:
    """One test of the model, as ``design.json`` has it.

    Parameters
    ----------
    name : str
        Its label in names of files.
    text : str
        As the user gave it.
    statistic : str
        ``t`` or ``F``.
    weights : ndarray, shape (n_rows, n_columns)
        Empty where they cannot be read.
    positive, negative : str
        What positive and negative t mean; empty for F.
    variable : str
        The variable that it is about, where one is named.
    """

    name: str
    text: str
    statistic: str
    weights: NDArray[np.float64]
    positive: str = ""
    negative: str = ""
    variable: str = ""


@dataclass(frozen=True, eq=False)
class WrittenComparison:
    """A comparison of participants, as it was written.

    Parameters
    ----------
    described : mapping
        The content of ``design.json``.
    people : tuple of str
        The participants, in the order of the rows of `matrix`.
    columns : tuple of str
    matrix : ndarray, shape (n_people, n_columns)
        Empty where it cannot be read.
    variables : mapping
        Each variable to the value of each participant; numbers may be columns of the matrix.
    blocks : tuple of str
        Of each participant; empty where all can be exchanged.
    tests : tuple of WrittenTest
    components, edges, amplitudes : tuple of mapping
        The rows of ``comparisons.tsv``, ``comparisons_edges.tsv`` and ``amplitudes.tsv``.
    """

    described: Mapping[str, object]
    people: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: NDArray[np.float64]
    variables: Mapping[str, tuple[str, ...]]
    blocks: tuple[str, ...]
    tests: tuple[WrittenTest, ...]
    components: tuple[Row, ...]
    edges: tuple[Row, ...] = ()
    amplitudes: tuple[Row, ...] = ()

    @property
    def inference(self) -> str:
        """What decides about maps: ``tfce`` or ``voxel``; empty where no maps were compared."""
        columns = self.components[0] if self.components else {}
        return next((one for one in INFERENCES if f"map_p_{one}_all" in columns), "")

    @property
    def has_amplitudes(self) -> bool:
        """Whether amplitudes were compared."""
        return bool(self.components) and "amplitude_p_all" in self.components[0]

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """What each test says of each measure of each decomposition."""
        return answers(self.components, self.edges)

    def compared_in(self, decomposition: str) -> tuple[str, ...]:
        """Return the components of a decomposition that p values are corrected over."""
        rows = self.rows_of(decomposition, self.tests[0]) if self.tests else []
        return tuple(row["component"] for row in rows if is_compared(row))

    @property
    def edge_kinds(self) -> tuple[str, ...]:
        """The kinds of connectomes that were compared, in the order of the table."""
        return tuple(dict.fromkeys(row.get("kind", "") for row in self.edges))

    @property
    def within(self) -> str:
        """The difference that is compared (``--within``); empty where there is none."""
        return text_of(self.described.get("Within"))

    def rows_of(self, decomposition: str, test: WrittenTest) -> list[Row]:
        """Return the rows of all components of a decomposition in one test."""
        return self._components.get((decomposition, test.name), [])

    def edges_of(self, decomposition: str, test: WrittenTest, kind: str) -> list[Row]:
        """Return the rows of the edges of one kind of connectome in one test."""
        return self._edges.get((decomposition, test.name, kind), [])

    def amplitudes_of(self, decomposition: str, component: str) -> NDArray[np.float64]:
        """Return the amplitude of a component in each participant, NaN where there is none."""
        rows = self._amplitudes.get((decomposition, component), [])
        found = {row.get(_PARTICIPANT, ""): number(row.get("amplitude")) for row in rows}
        return np.array([found.get(person, math.nan) for person in self.people])

    @cached_property
    def _components(self) -> Mapping[tuple[str, ...], list[Row]]:
        return _grouped(self.components, ("decomposition", "contrast"))

    @cached_property
    def _edges(self) -> Mapping[tuple[str, ...], list[Row]]:
        return _grouped(self.edges, ("decomposition", "contrast", "kind"))

    @cached_property
    def _amplitudes(self) -> Mapping[tuple[str, ...], list[Row]]:
        return _grouped(self.amplitudes, ("decomposition", "component"))


def _grouped(rows: Sequence[Row], names: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    """Return rows by some of their cells."""
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row.get(name, "") for name in names)].append(row)
    return found


def is_compared(row: Row) -> bool:
    """Return whether a component of ``comparisons.tsv`` was compared: it has no noise flag."""
    return row.get("compared") == "1"


def left_out(comparison: WrittenComparison) -> list[tuple[str, str]]:
    """Return the participants who are not in the model, each with the reason."""
    written = comparison.described.get("LeftOut")
    rows = [one for one in written if isinstance(one, dict)] if isinstance(written, list) else []
    return [(text_of(one.get("participant_id")), text_of(one.get("reason"))) for one in rows]


def kind_in_words(kind: str) -> str:
    """Return a kind of connectome in words."""
    return {"partial": "partial correlation"}.get(kind, kind)


def text_of(value: object) -> str:
    """Return text of a JSON file; empty where there is none."""
    return value if isinstance(value, str) else ""


def texts_of(value: object) -> list[str]:
    """Return the texts of a list in a JSON file."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def read_comparison(root: Path, missing: list[str]) -> WrittenComparison | None:
    """Return the comparison of participants of an output folder.

    Parameters
    ----------
    root : Path
    missing : list of str
        What should be there and is not, or is damaged, is added to it.

    Returns
    -------
    WrittenComparison or None
        None where participants were not compared.
    """
    if not (root / "design.json").exists():
        if (root / "comparisons.tsv").exists():
            missing.append("design.json is missing: the comparison of participants is not shown.")
        return None
    described = read_json(root / "design.json", missing)
    tests = _tests(described.get("Contrasts"))
    head, lines = _cells(root / "design.tsv", missing)
    columns = tuple(texts_of(described.get("MatrixColumns")))
    n_columns = max((test.weights.shape[1] for test in tests), default=0)
    is_whole = len(columns) == n_columns and set(columns) <= set(head)
    places = [head.index(name) for name in columns] if is_whole else []
    matrix = np.array([[number(line[place]) for place in places] for line in lines])
    if matrix.shape != (len(lines), n_columns) or not np.isfinite(matrix).all():
        if n_columns:
            missing.append("design.tsv is damaged.")
        lines, matrix = [], np.zeros((0, n_columns))
    cells = {name: tuple(line[place] for line in lines) for place, name in enumerate(head)}
    blocks = cells.get(_BLOCK, ()) if described.get("Blocks") else ()
    return WrittenComparison(
        described=described,
        people=cells.get(_PARTICIPANT, ()),
        columns=columns,
        matrix=matrix,
        variables={name: values for name, values in cells.items() if _is_variable(name)},
        blocks=blocks,
        tests=tests,
        components=_whole(root / "comparisons.tsv", _OF_COMPONENTS, missing),
        edges=_whole(root / "comparisons_edges.tsv", _OF_EDGES, missing, is_needed=False),
        amplitudes=_optional(root / "amplitudes.tsv"),
    )


def _is_variable(name: str) -> bool:
    """Return whether a column of ``design.tsv`` has a variable as it was given.

    A number stands once, as a column of the matrix.
    """
    return name not in {_PARTICIPANT, _BLOCK, "Intercept"} and not re.search(r"[\[(:]", name)


def _whole(
    path: Path, columns: Set[str], missing: list[str], *, is_needed: bool = True
) -> tuple[Row, ...]:
    """Return the rows of a table with these columns; nothing where it is damaged."""
    rows = read_table(path, missing) if is_needed or path.exists() else ()
    if rows and not columns <= rows[0].keys():
        missing.append(f"{path.name} is damaged.")
        return ()
    directions = dict.fromkeys(_DIRECTIONS, "")
    return tuple({**directions, **row} for row in rows)


def _optional(path: Path) -> tuple[Row, ...]:
    """Return the rows of a table that need not be there."""
    return read_table(path) if path.exists() else ()


def _cells(path: Path, missing: list[str]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the rows of a table."""
    head, *lines = list(csv.reader(read_text(path, missing).splitlines(), delimiter="\t")) or [[]]
    return head, [line for line in lines if len(line) == len(head)]


def _tests(written: object) -> tuple[WrittenTest, ...]:
    if not isinstance(written, dict):
        return ()
    return tuple(_test(str(name), one) for name, one in written.items() if isinstance(one, dict))


def _test(name: str, one: Mapping[str, object]) -> WrittenTest:
    try:
        weights = np.atleast_2d(np.array(one.get("Weights"), dtype=np.float64))
    except (TypeError, ValueError):
        weights = np.zeros((1, 0))
    return WrittenTest(
        name=name,
        text=text_of(one.get("Test")) or name,
        statistic=text_of(one.get("Statistic")) or "t",
        weights=weights if weights.ndim == 2 and np.isfinite(weights).all() else np.zeros((1, 0)),
        positive=text_of(one.get("Positive")),
        negative=text_of(one.get("Negative")),
        variable=text_of(one.get("Variable")),
    )


# ---------------------------------------------------------------- files of a decomposition
def image_of(stem: Path, test: WrittenTest, stat: str, desc: str = "") -> Path | None:
    """Return the file of a statistic of all components that were compared.

    Parameters
    ----------
    stem : Path
        What the names of the decomposition's files begin with.
    test : WrittenTest
    stat : str
        ``t``, ``F``, ``logp`` …
    desc : str, optional
        Which p values: ``tfceall``.

    Returns
    -------
    Path or None
        The left file of a pair; None where there is none.
    """
    for path, name in files_of_maps(stem.parent, "*_statmap"):
        parts = name.removeprefix(stem.name).split("_")
        wanted = {f"contrast-{test.name}", f"stat-{stat}"} | ({f"desc-{desc}"} if desc else set())
        if not name.startswith(f"{stem.name}_") or not wanted <= set(parts):
            continue
        if desc or not any(part.startswith("desc-") for part in parts):
            return path
    return None


def names_in(image: Path) -> tuple[str, ...]:
    """Return the components whose maps a file has, according to the JSON beside it."""
    name = image.name.partition(".")[0]
    own = image.with_name(f"{name}.json")
    shared = image.with_name(f"{name.replace('_hemi-L', '', 1)}.json")
    listed = read_json(own if own.exists() else shared).get("ComponentNames")
    return tuple(texts_of(listed))


def clusters_of(stem: Path, test: WrittenTest) -> tuple[Row, ...]:
    """Return the clusters of what was found in the maps of a decomposition; they may be none."""
    return _optional(stem.with_name(f"{stem.name}_contrast-{test.name}_clusters.tsv"))
