"""The section of the report about a comparison of participants, as its template shows it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nidecomp.comparison.answers import ALPHA, Answer, Finding, p_in_words
from nidecomp.core.text import count
from nidecomp.outputs.report.adjusted import Adjusted, adjusted
from nidecomp.outputs.report.cautions import Ids
from nidecomp.outputs.report.colours import colour_table
from nidecomp.outputs.report.compared_maps import MOST_MAPS, DrawnComparison
from nidecomp.outputs.report.comparison_model import model_of
from nidecomp.outputs.report.comparison_pictures import (
    edge_picture,
    edges_of,
    scale_picture,
    signed_scale,
)
from nidecomp.outputs.report.comparison_plots import plot
from nidecomp.outputs.report.comparison_results import (
    INFERENCES,
    WrittenComparison,
    WrittenTest,
    is_compared,
    kind_in_words,
    texts_of,
)
from nidecomp.outputs.report.comparison_words import (
    answers_of,
    edge_of,
    family,
    found_components,
    is_about_edges,
    is_found,
    map_p,
    measure_of,
    network_words,
    nothing_in_words,
    smallest_in_words,
    text_of_finding,
)
from nidecomp.outputs.report.component_facts import naming, short_name
from nidecomp.outputs.report.drawing import Drawn
from nidecomp.outputs.report.features import features_of
from nidecomp.outputs.report.payload import anchor, data_uri
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.words import listed

# Plots of components in which nothing was found, and the participants in all of them: a page of a
# thousand participants would grow by megabytes.
_MOST_PLOTS, _MOST_DOTS = 40, 6000
# Of one measure, for one test; the tables have all.
_MOST_FOUND = 12
# Of the top of the report.
_MOST_IN_SHORT = 8
Shown = dict[str, object]


def section(folder: Results, drawn: Drawn, ids: Ids) -> Shown | None:
    """Return what the section shows; None where participants were not compared.

    Parameters
    ----------
    folder : Results
    drawn : Drawn
    ids : mapping
        Of the components.

    Returns
    -------
    dict or None
    """
    comparison = folder.comparison
    if comparison is None:
        return None
    page = _Page(folder, comparison, drawn, ids)
    return {
        "n": count(len(comparison.people), "participant"),
        "short": in_short(folder, ids),
        "tests": [page.test(test) for test in comparison.tests],
        "model": model_of(folder, comparison, ids),
        "t_scale": data_uri(scale_picture(colour_table()), "png"),
        "edge_scale": data_uri(signed_scale(), "png"),
    }


def test_id(test: WrittenTest) -> str:
    """Return the id of what is told of a test."""
    return f"part-test-{anchor(test.name)}"


def figure_id(test: WrittenTest, component_id: str) -> str:
    """Return the id of what a test found in a component."""
    return f"part-c-{anchor(test.name)}-{component_id}"


def title_of(comparison: WrittenComparison, test: WrittenTest) -> str:
    """Return the heading of a test."""
    if comparison.within and test.text == "mean":
        return comparison.within.replace(" - ", " − ")
    return test.text.replace(" - ", " − ")


@dataclass(frozen=True, eq=False)
class _Page:
    """What all parts of the section are made of."""

    folder: Results
    comparison: WrittenComparison
    drawn: Drawn
    ids: Ids

    # ------------------------------------------------------------ a test
    def test(self, test: WrittenTest) -> Shown:
        """Return what is shown of a test."""
        comparison = self.comparison
        several = len(self.folder.decompositions) > 1
        return {
            "id": test_id(test),
            "title": title_of(comparison, test),
            "about": " ".join([*_about(test), *_where(comparison, test)]),
            "answers": [
                {
                    "title": one.title if several else "",
                    "lines": [
                        self._line(one, answer)
                        for answer in answers_of(comparison, test, one.label)
                    ],
                }
                for one in self.folder.decompositions
                if comparison.rows_of(one.label, test)
            ],
            "figures": [
                figure for one in self.folder.decompositions for figure in self._figures(one, test)
            ],
            "others": [
                other
                for one in self.folder.decompositions
                if (other := self._others(one, test)) is not None
            ],
            "edges": [
                edges
                for one in self.folder.decompositions
                for kind in comparison.edge_kinds
                if (edges := self._edges(one, test, kind)) is not None
            ],
            "tables": [
                {"key": anchor(test.name, one.key), "title": one.title if several else ""}
                for one in self.folder.decompositions
            ],
        }

    def _line(self, one: WrittenDecomposition, answer: Answer) -> Shown:
        return {
            "measure": measure_of(answer),
            "nothing": nothing_in_words(answer),
            "nearest": [self._named(one, name) for name in answer.nearest],
            "smallest": smallest_in_words(answer),
            "over": answer.corrected_over,
            "found": [self.finding(one, answer, each) for each in answer.findings[:_MOST_FOUND]],
            "n_more": max(0, len(answer.findings) - _MOST_FOUND),
        }

    def finding(self, one: WrittenDecomposition, answer: Answer, found: Finding) -> Shown:
        """Return what was found, with links."""
        return {
            "measure": measure_of(answer).lower(),
            "components": [self._named(one, name) for name in found.components],
            "text": text_of_finding(answer, found),
        }

    def _named(self, one: WrittenDecomposition, name: str) -> Shown:
        """Return the name of a component with its id, and how sure its label is."""
        row = next((row for row in one.metrics if row["component"] == name), None)
        note = ""
        if row is not None:
            named = naming(row)
            note = named.label if named.is_sure else ""
            if not note and named.label:
                note = f"similar to {named.label}"
            if named.is_at_chance:
                note = "no more reproducible than chance"
        return {"id": self.ids.get((one.key, name), ""), "name": name, "note": note}

    # ------------------------------------------------------------ what was found
    def _figures(self, one: WrittenDecomposition, test: WrittenTest) -> list[Shown]:
        rows = found_components(self.comparison, self.comparison.rows_of(one.label, test))
        figures = [self._figure(one, test, row) for row in rows[:MOST_MAPS]]
        # Those with maps are as wide as the page.
        return sorted(figures, key=lambda figure: not figure["picture"])

    def _figure(self, one: WrittenDecomposition, test: WrittenTest, row: Row) -> Shown:
        name = row["component"]
        picture = self.drawn.compared.get((one.key, test.name, name))
        component = self._named(one, name)
        amplitudes = adjusted(self.comparison, test, self.comparison.amplitudes_of(one.label, name))
        return {
            "id": figure_id(test, str(component["id"])),
            "component": component,
            "picture": data_uri(picture.picture, "webp") if picture else "",
            "shows": f"{test.statistic} of {name} {picture.shows}" if picture else "",
            "limit": f"{picture.window:.1f}" if picture else "",
            "unit": f"{test.statistic}({_dof(test, row)})",
            "is_f": test.statistic == "F",
            "caption": self._caption(one, test, row, picture),
            "is_map_found": is_found(map_p(self.comparison, row)),
            "plot": self._plot(amplitudes) if amplitudes else "",
            "plot_caption": self._plot_caption(amplitudes, row) if amplitudes else "",
        }

    def _caption(
        self,
        one: WrittenDecomposition,
        test: WrittenTest,
        row: Row,
        picture: DrawnComparison | None,
    ) -> list[str]:
        if picture is None:
            return []
        feature = features_of(self.folder.decompositions)
        colours = (
            "Yellow: large F."
            if test.statistic == "F"
            else f"Red to yellow: {test.positive}; blue: {test.negative}."
            if test.positive
            else "Red to yellow: positive t; blue: negative t."
        )
        method = INFERENCES[self.comparison.inference]
        lines = [
            colours,
            f"The line is around what is found: p < {ALPHA}, corrected over all {feature.many}, "
            f"{family(self.comparison, one.label)} ({method}); fainter "
            "outside of it.",
        ]
        if picture.peak_mm is not None:
            x, y, z = (f"{value:.0f}" for value in picture.peak_mm)
            lines.append(
                f"Slices at x = {x}, y = {y}, z = {z} mm, the largest value in it; L: left."
            )
        n_found = number(row.get("n_features_found"))
        if math.isfinite(n_found):
            lines.insert(0, f"{feature.count(int(n_found))} found.")
        return lines

    def _plot(self, one: Adjusted, *, is_named: bool = True) -> str:
        words = "amplitude"
        if self.comparison.within:
            words = f"difference of amplitude ({self.comparison.within})"
        return plot(one, words, has_zero=bool(self.comparison.within), is_named=is_named)

    def _plot_caption(self, one: Adjusted, row: Row) -> str:
        dots = "A dot for each participant; lines: "
        fit = (
            "fit of the model with its 95 % interval."
            if len(one.x)
            else "mean with its 95 % interval."
        )
        out = f" Taken out (set to the mean): {listed(one.taken_out)}." if one.taken_out else ""
        size = number(row.get("amplitude_effect_size"))
        low, high = (number(row.get(f"amplitude_effect_size_{end}")) for end in ("low", "high"))
        if not math.isfinite(size):
            return f"{dots}{fit}{out}"
        effect = f" Effect size {size:.2f}"
        if math.isfinite(low):
            effect += f" (partial correlation, 95 % interval {low:.2f} to {high:.2f})"
        else:
            effect += " (partial eta squared)"
        return f"{dots}{fit}{out}{effect}, {_p_text(row)}."

    def _others(self, one: WrittenDecomposition, test: WrittenTest) -> Shown | None:
        """Return small plots of the amplitudes in which nothing was found."""
        comparison = self.comparison
        rows = comparison.rows_of(one.label, test)
        found = {row["component"] for row in found_components(comparison, rows)[:MOST_MAPS]}
        others = sorted(
            (row for row in rows if is_compared(row) and row["component"] not in found),
            key=lambda row: number(row.get("amplitude_p_all")),
        )
        most = min(_MOST_PLOTS, max(1, _MOST_DOTS // max(1, len(comparison.people))))
        plots = [
            {
                "component": self._named(one, row["component"]),
                "plot": self._plot(values, is_named=False),
            }
            for row in others[:most]
            if (
                values := adjusted(
                    comparison, test, comparison.amplitudes_of(one.label, row["component"])
                )
            )
        ]
        if not plots:
            return None
        return {
            "title": one.title if len(self.folder.decompositions) > 1 else "",
            "plots": plots,
            "n_more": max(0, len(others) - most),
            "is_all": not found,
        }

    # ------------------------------------------------------------ edges
    def _edges(self, one: WrittenDecomposition, test: WrittenTest, kind: str) -> Shown | None:
        rows = self.comparison.edges_of(one.label, test, kind)
        if not rows:
            return None
        there = {name for row in rows for name in edge_of(row)}
        metrics = [row for row in one.metrics if row["component"] in there]
        place = {row["component"]: index for index, row in enumerate(metrics)}
        pairs = {
            (place[first], place[second]): (
                number(row.get("statistic")),
                is_found(number(row.get("p_all"))),
            )
            for row in rows
            if (first := edge_of(row)[0]) in place and (second := edge_of(row)[1]) in place
        }
        names = [short_name(row) for row in metrics]
        picture, limit = edge_picture(edges_of(pairs, names, test.statistic))
        return {
            "kind": kind_in_words(kind),
            "title": one.title if len(self.folder.decompositions) > 1 else "",
            "picture": picture,
            "limit": f"{limit:.1f}",
            "unit": f"{test.statistic}({_dof(test, rows[0])})",
            "is_f": test.statistic == "F",
            "words": _edge_words(test),
            "network": network_words(rows),
            "table": edge_table_id(test, one, kind),
            "n_found": sum(found for _, found in pairs.values()),
        }


def edge_table_id(test: WrittenTest, one: WrittenDecomposition, kind: str) -> str:
    """Return the id of the table of edges that were found."""
    return f"part-e-{anchor(test.name, one.key, kind)}"


def _edge_words(test: WrittenTest) -> str:
    if test.statistic == "F" or not test.positive:
        return ""
    return f"Red: {test.positive}; blue: {test.negative}."


def _about(test: WrittenTest) -> Iterator[str]:
    """Yield what the signs of a test mean."""
    if test.statistic == "F":
        levels = len(test.weights)
        yield f"An F test of {count(levels, 'column')} of the model together; it has no direction."
    elif test.positive:
        yield f"Both directions are tested: {test.positive}, or {test.negative}."


def _where(comparison: WrittenComparison, test: WrittenTest) -> Iterator[str]:
    """Yield for which values of other variables a test holds: its answers are about these alone."""
    notes = texts_of(comparison.described.get("Notes"))
    yield from (note for note in notes if note.startswith(f"{test.text} is tested "))


def _dof(test: WrittenTest, row: Row) -> str:
    dof = row.get("dof", "")
    return f"{len(test.weights)}, {dof}" if test.statistic == "F" else dof


def _p_text(row: Row) -> str:
    p = number(row.get("amplitude_p_all"))
    return f"{p_in_words(p)} corrected" if math.isfinite(p) else "p unknown"


def in_short(folder: Results, ids: Ids) -> list[Shown]:
    """Return for each test what was found, for the top of the report.

    Parameters
    ----------
    folder : Results
    ids : mapping
        Of the components.

    Returns
    -------
    list of dict
        Empty where participants were not compared.
    """
    comparison = folder.comparison
    if comparison is None:
        return []
    page = _Page(folder, comparison, Drawn(), ids)
    return [
        {
            "id": test_id(test),
            "title": title_of(comparison, test),
            **_found_in_short(page, test),
        }
        for test in comparison.tests
    ]


def _found_in_short(page: _Page, test: WrittenTest) -> Shown:
    """Return the first components that were found, and the numbers of edges."""
    found: list[Shown] = []
    edges = []
    for one in page.folder.decompositions:
        for answer in answers_of(page.comparison, test, one.label):
            if is_about_edges(answer) and answer.findings:
                words = f"{count(len(answer.findings), 'edge')} of the {measure_of(answer).lower()}"
                edges.append(f"{words}, {one.title}")
            if answer.n_in_sets:
                edges.append(f"{answer.about_sets}, {measure_of(answer).lower()}, {one.title}")
            elif not is_about_edges(answer):
                found += [page.finding(one, answer, each) for each in answer.findings]
    return {
        "found": found[:_MOST_IN_SHORT],
        "n_more": max(0, len(found) - _MOST_IN_SHORT),
        "edges": edges,
    }


def told_of_components(folder: Results, ids: Ids) -> Mapping[tuple[str, str], list[Shown]]:
    """Return what the comparison says of each component, for its tile and its panel.

    Parameters
    ----------
    folder : Results
    ids : mapping
        Of the components.

    Returns
    -------
    mapping
        Key of the decomposition and name of the component to a list with an entry for each test:
        the title of the test, what was found in words and in short (empty where it is nothing),
        and the id of the place of the page that has more.
    """
    comparison = folder.comparison
    if comparison is None:
        return {}
    told: dict[tuple[str, str], list[Shown]] = defaultdict(list)
    for one in folder.decompositions:
        for test in comparison.tests:
            found: dict[str, list[str]] = defaultdict(list)
            short: dict[str, list[str]] = defaultdict(list)
            for answer in answers_of(comparison, test, one.label):
                for each in () if is_about_edges(answer) else answer.findings:
                    words = f"{text_of_finding(answer, each)} ({answer.measure})"
                    found[each.components[0]].append(words)
                    short[each.components[0]].append(each.direction)
            for row in comparison.rows_of(one.label, test):
                key = (one.key, row.get("component", ""))
                if key not in ids:
                    continue
                texts = found.get(key[1], [])
                nothing = "nothing found" if is_compared(row) else "not compared, as it has flags"
                told[key].append(
                    {
                        "title": title_of(comparison, test),
                        "text": "; ".join(texts) or nothing,
                        "short": " / ".join(dict.fromkeys(short.get(key[1], []))),
                        "id": figure_id(test, ids[key]) if texts else test_id(test),
                    }
                )
    return told
