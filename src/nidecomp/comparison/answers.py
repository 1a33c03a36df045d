"""The answer of each test in a sentence, as the log, the README and the report give it.

Answers are made of the rows of ``comparisons.tsv`` and ``comparisons_edges.tsv``, so that whoever
reads these files gets the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from nidecomp.config.comparison import Measure
from nidecomp.core.text import count

# What is found has a p value below this, corrected for the family-wise error over everything.
ALPHA = 0.05
# Smaller p values are given as below it.
_SMALLEST_P = 0.0001
# Where corrected p values of maps are, the first that was computed.
MAIN_P_OF_MAPS = ("map_p_tfce_all", "map_p_voxel_all")
_OF_AMPLITUDES = "amplitude_p_all"
_NO_DIRECTION = "differs"
# How cells of tables are written, or read, that have nothing.
_UNKNOWN = ("n/a", "")

Row = Mapping[str, object]


@dataclass(frozen=True)
class Finding:
    """What a test found: a component, or the edge between two.

    Parameters
    ----------
    name : str
        ``canica07 (Salience)``.
    direction : str
        ``larger in patients``; ``differs`` where a test has no direction.
    p : float
        Corrected over everything that was tested.
    components : tuple of str
        The component, or both.
    """

    name: str
    direction: str
    p: float
    components: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The answer of one test about one measure of one decomposition.

    Parameters
    ----------
    test : str
        As the user gave it.
    decomposition : str
        ``canica20``.
    measure : {"maps", "amplitudes", "connectomes"}
    kind : str
        Of connectomes; else nothing.
    n_values : int
        How many components, or edges, were tested.
    n_tests : int
        How many tests the p values are corrected over.
    smallest_p : float
        NaN where nothing could be tested.
    findings : tuple of Finding
        With the smallest p first; empty where nothing was found.
    contrast : str
        The name of the test in names of files.
    nearest : tuple of str
        What has the smallest p: a component, or both of an edge.
    n_in_sets : int
        How many edges are in connected sets that were found (network-based statistic).
    smallest_set_p : float
        Of these sets; NaN where there is none.
    """

    test: str
    decomposition: str
    measure: Measure
    kind: str
    n_values: int
    n_tests: int
    smallest_p: float
    findings: tuple[Finding, ...]
    contrast: str = ""
    nearest: tuple[str, ...] = ()
    n_in_sets: int = 0
    smallest_set_p: float = nan

    @property
    def corrected_over(self) -> str:
        """What p values are corrected over: ``18 components and 2 tests``."""
        noun = "edge" if self.measure == "connectomes" else "component"
        tests = f" and {count(self.n_tests, 'test')}" if self.n_tests > 1 else ""
        return count(self.n_values, noun) + tests

    @property
    def subject(self) -> str:
        """What was tested: ``group, maps of canica20``."""
        kind = f" ({self.kind})" if self.kind else ""
        return f"{self.test}, {self.measure} of {self.decomposition}{kind}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each finding, or one that nothing was found, without the subject."""
        return (*self._sentences, *([self.about_sets] if self.n_in_sets else []))

    @property
    def about_sets(self) -> str:
        """What the network-based statistic found."""
        return (
            f"{count(self.n_in_sets, 'edge')} in connected sets that differ, smallest "
            f"{p_in_words(self.smallest_set_p)} (network-based statistic)"
        )

    @property
    def _sentences(self) -> tuple[str, ...]:
        if self.findings:
            return tuple(
                f"{one.name}: {one.direction}, {p_in_words(one.p)} corrected over "
                f"{self.corrected_over}"
                for one in self.findings
            )
        noun = "edge" if self.measure == "connectomes" else "component"
        if isnan(self.smallest_p):
            return (f"no {noun} could be tested",)
        return (
            f"nothing found in any {noun} (smallest {p_in_words(self.smallest_p)} corrected over "
            f"{self.corrected_over})",
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentences with their subject, as the log has them."""
        return tuple(f"{self.subject}: {sentence}" for sentence in self.sentences)


def answers(comparisons: Sequence[Row], edges: Iterable[Row] = ()) -> tuple[Answer, ...]:
    """Return the answers of all tests, in the order of the tables.

    Parameters
    ----------
    comparisons : sequence of mapping
        The rows of ``comparisons.tsv``: column to value; None, NaN or ``n/a`` where it is unknown.
    edges : iterable of mapping
        Those of ``comparisons_edges.tsv``.

    Returns
    -------
    tuple of Answer
        By decomposition and test: about maps, amplitudes, and each kind of connectome.
    """
    n_tests = len({row["contrast"] for row in comparisons})
    found: list[Answer] = []
    of_edges = _grouped(edges, ("decomposition", "contrast", "kind"))
    for key, all_rows in _grouped(comparisons, ("decomposition", "contrast")).items():
        rows = [row for row in all_rows if str(row["compared"]) == "1"]
        if not rows:
            continue
        test, names = str(rows[0]["test"]), {str(row["component"]): _name(row) for row in rows}
        for measure, columns in _COLUMNS.items():
            p_column = next((one for one in columns if one in rows[0]), None)
            if p_column is not None:
                direction = p_column.partition("_")[0] + "_direction"
                about = Answer(test, key[0], measure, "", len(rows), n_tests, nan, (), key[1])
                tested = [(_name(row), row[direction], row[p_column]) for row in rows]
                found.append(_answer(about, tested, [(str(row["component"]),) for row in rows]))
        for kind, of_kind in ((one[2], own) for one, own in of_edges.items() if one[:2] == key):
            about = Answer(
                test, key[0], "connectomes", kind, len(of_kind), n_tests, nan, (), key[1]
            )
            in_sets = [p for row in of_kind if (p := _number(row.get("network_p"))) < ALPHA]
            about = replace(about, n_in_sets=len(in_sets), smallest_set_p=min(in_sets, default=nan))
            tested = [(_edge(row, names), row["direction"], row["p_all"]) for row in of_kind]
            found.append(_answer(about, tested, [_ends(row) for row in of_kind]))
    return tuple(found)


_COLUMNS: Mapping[Measure, tuple[str, ...]] = {
    "maps": MAIN_P_OF_MAPS,
    "amplitudes": (_OF_AMPLITUDES,),
}


def p_in_words(p: float) -> str:
    """Return a p value as it is written in a sentence: ``p = 0.012``.

    It has two digits, or more near 0.05, so that what is found does not look like what is not.
    """
    if p < _SMALLEST_P:
        return f"p < {_SMALLEST_P:g}"
    written = (f"{p:.{digits}g}" for digits in range(2, 7))
    return f"p = {next((one for one in written if (float(one) < ALPHA) == (p < ALPHA)), f'{p:g}')}"


def _answer(
    about: Answer,
    tested: Iterable[tuple[str, object, object]],
    components: Iterable[tuple[str, ...]],
) -> Answer:
    """Return the answer with what was found among names with their direction and p."""
    known = [
        Finding(name, _text(direction) or _NO_DIRECTION, p, own)
        for (name, direction, value), own in zip(tested, components, strict=True)
        if not isnan(p := _number(value))
    ]
    in_order = sorted(known, key=lambda one: one.p)
    return replace(
        about,
        n_values=len(known),
        smallest_p=in_order[0].p if in_order else nan,
        findings=tuple(one for one in in_order if one.p < ALPHA),
        nearest=in_order[0].components if in_order else (),
    )


def _grouped(rows: Iterable[Row], columns: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[column]) for column in columns), []).append(row)
    return groups


def _name(row: Row) -> str:
    label = _text(row.get("label"))
    return f"{row['component']} ({label})" if label else str(row["component"])


def _edge(row: Row, names: Mapping[str, str]) -> str:
    return " and ".join(names.get(one, one) for one in _ends(row))


def _ends(row: Row) -> tuple[str, ...]:
    return str(row["component_1"]), str(row["component_2"])


def _text(value: object) -> str:
    return str(value) if isinstance(value, str) and value not in _UNKNOWN else ""


def _number(value: object) -> float:
    return nan if value is None or value in _UNKNOWN else float(str(value))
