"""The files of a comparison of participants: design, maps, clusters and tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.describe import ReferenceMaps, read_references
from nidecomp.bids.names import IGNORED_OF_COMPARISONS
from nidecomp.bids.same_input import SOURCES
from nidecomp.comparison.answers import ALPHA, Answer, answers
from nidecomp.comparison.describe import formula_in_words
from nidecomp.comparison.records import Compared, Comparison, Contrast, Design, MapsOfContrast
from nidecomp.comparison.tails import LARGEST_TAIL_P, least_tail_p
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.comparison_checks import measures_to_compare
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.outputs.comparison_tables import (
    AMPLITUDES,
    COMPARISONS_UNITS,
    Row,
    amplitudes_table,
    cluster_columns,
    cluster_units,
    clusters_table,
    comparisons_table,
    edges_table,
    main_inference,
)
from nidecomp.outputs.dataset_column import with_datasets
from nidecomp.outputs.map_files import write_maps
from nidecomp.outputs.readme import readme
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree

DESIGN = PurePosixPath("design.tsv")
COMPARISONS_TABLE = PurePosixPath("comparisons.tsv")
EDGES_TABLE = PurePosixPath("comparisons_edges.tsv")
AMPLITUDES_TABLE = PurePosixPath("amplitudes.tsv")
_LOG = logging.getLogger(__name__)
_OVER_ALL = "corrected over all compared components and all tests, too"
_INFERENCE = {
    "voxel": "the largest absolute t (or F) of each permutation",
    "tfce": "the largest absolute TFCE value of each permutation",
    "cluster": "the largest extent of a cluster in each permutation",
}


class ComparisonWriter:
    """Writes the files of a comparison.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
        With a comparison.
    comparison : Comparison
        It.
    """

    def __init__(self, tree: OutputTree, result: GroupResult, comparison: Comparison) -> None:
        self._tree, self._result, self._comparison = tree, result, comparison

    @property
    def _design(self) -> Design:
        return self._comparison.design

    @property
    def _options(self) -> ComparisonOptions:
        return self._result.settings.science.comparison

    @property
    def _permutations(self) -> dict[str, object]:
        """How data were permuted, as sidecars have it."""
        comparison = self._comparison
        return {
            "Kind": comparison.kind,
            "Number": comparison.n_permutations,
            "NumberTFCE": comparison.n_tfce_permutations,
            "AllPossible": comparison.n_possible is not None,
            "Seed": self._result.settings.science.decomposition.random_seed,
        }

    @cached_property
    def _references(self) -> ReferenceMaps:
        return read_references(self._result.space, self._result.settings.science.evidence)

    def write(self) -> tuple[Answer, ...]:
        """Write all files, and return the answers of the tests."""
        self._write_design()
        rows = self._write_comparisons()
        edges = self._write_edges()
        self._write_amplitudes()
        for components, compared in zip(
            self._result.components, self._comparison.decompositions, strict=True
        ):
            for contrast, maps in zip(self._design.contrasts, compared.maps, strict=False):
                self._write_maps(components, compared, contrast, maps)
        return answers(rows, edges)

    # ------------------------------------------------------------ design
    def _write_design(self) -> None:
        """Write the matrix of the model, and who and what is in it."""
        design = self._design
        columns, rows = with_datasets(self._result, design_columns(design), design_table(design))
        self._tree.write_table(DESIGN, columns, rows, about=self._about_design())

    def _about_design(self) -> Mapping[str, object]:
        design = self._design
        return {
            "Description": "The model that participants are compared in: a row for each "
            "participant, the columns of the design matrix, and the variables as they are in the "
            "table of participants.",
            "Formula": design.formula,
            "MatrixColumns": list(design.columns),
            "Contrasts": {
                one.name: {
                    "Test": one.text,
                    "Statistic": one.statistic,
                    "Weights": one.weights.tolist(),
                    "Positive": one.positive,
                    "Negative": one.negative,
                    "Variable": one.variable,
                }
                for one in design.contrasts
            },
            "Permutations": self._permutations,
            "Compared": list(measures_to_compare(self._result.settings.science)),
            "Within": design.within or None,
            "Blocks": design.blocks_column or None,
            "LeftOut": [
                {"participant_id": f"sub-{one.participant}", "reason": one.reason}
                for one in design.left_out
            ],
            "Notes": list(design.notes),
            "Sources": [f"bids::{SOURCES}"],
        }

    # ------------------------------------------------------------ tables
    def _write_comparisons(self) -> list[Row]:
        columns, rows = comparisons_table(
            self._comparison, self._result.components, self._result.space, self._references
        )
        about = {
            "Description": "What was found: a row for each test of each component. p values with "
            "_all are corrected for the family-wise error over the compared components of the "
            "decomposition and over all tests.",
            "Sources": [f"bids::{DESIGN}"],
        }
        units = {name: unit for name, unit in COMPARISONS_UNITS.items() if name in columns}
        self._tree.write_table(COMPARISONS_TABLE, columns, rows, units=units, about=about)
        return rows

    def _write_edges(self) -> list[Row]:
        columns, rows = edges_table(self._comparison, self._result.components)
        if rows:
            about = {
                "Description": "Comparison of the connectomes: a row for each test of each edge "
                "between two compared components.",
                "Sources": [f"bids::{DESIGN}"],
            }
            self._tree.write_table(EDGES_TABLE, columns, rows, about=about)
        return rows

    def _write_amplitudes(self) -> None:
        rows = amplitudes_table(self._comparison, self._result.components)
        if rows:
            about = {
                "Description": "The amplitudes of networks that were compared.",
                "Sources": [f"bids::{SOURCES}"],
            }
            columns, named = with_datasets(self._result, AMPLITUDES, rows)
            self._tree.write_table(AMPLITUDES_TABLE, columns, named, about=about)

    # ------------------------------------------------------------ maps
    def _write_maps(
        self,
        components: Components,
        compared: Compared,
        contrast: Contrast,
        maps: MapsOfContrast,
    ) -> None:
        """Write the maps of one test of one decomposition, and the table of its clusters."""
        result, names = self._result, [components.names[one] for one in compared.components]
        shared = self._about_maps(components, compared, contrast, maps)
        for stat, desc, values, about in self._kinds_of_maps(contrast, maps):
            options = {"stat": stat, "desc": desc, "contrast": contrast.name}
            end = result.space.extensions.maps
            write_maps(
                self._tree,
                result,
                result.file(components, "statmap", end, **options),
                values,
                names,
            )
            self._tree.write_json(
                result.file(components, "statmap", ".json", **options), {**about, **shared}
            )
        measure = result.space.measure
        self._tree.write_table(
            result.file(components, "clusters", ".tsv", contrast=contrast.name),
            cluster_columns(measure),
            clusters_table(maps, contrast, names, result.space, self._references),
            units=cluster_units(measure),
            about={
                "Description": f"Clusters of {measure.features} where '{contrast.text}' was found: "
                f"p < {ALPHA:g} by {_INFERENCE[main_inference(maps)]}, {_OVER_ALL}."
            },
        )

    def _kinds_of_maps(
        self, contrast: Contrast, maps: MapsOfContrast
    ) -> Iterator[tuple[str, str | None, NDArray[np.floating], dict[str, object]]]:
        """Yield stat, desc, maps and description of each file."""
        sign = (
            f" Positive: {contrast.positive}; negative: {contrast.negative}."
            if contrast.statistic == "t"
            else ""
        )
        yield (
            contrast.statistic,
            None,
            maps.statistic,
            {"Description": f"{contrast.statistic} of the test '{contrast.text}'.{sign}"},
        )
        if maps.effect is not None:
            yield (
                "effect",
                None,
                maps.effect,
                {
                    "Description": f"Estimate of the test '{contrast.text}': its weights times the "
                    f"coefficients of the model.{sign}",
                    "Units": "arbitrary",
                },
            )
        if maps.tfce is not None:
            yield (
                "tfce",
                None,
                maps.tfce,
                {
                    "Description": "Threshold-free cluster enhancement of "
                    f"{contrast.statistic} of the test '{contrast.text}'.{sign}",
                    "Units": "arbitrary",
                },
            )
        for name, p in maps.p.items():
            yield "logp", name, -np.log10(p), self._about_p(name, contrast, maps)

    def _about_p(self, name: str, contrast: Contrast, maps: MapsOfContrast) -> dict[str, object]:
        """Return what is said of p values."""
        kind = name.removesuffix("all")
        over = _OVER_ALL if name.endswith("all") else "corrected over the voxels of a map"
        counted = maps.counted_p.get(name)
        tail = (
            {}
            if counted is None
            else {
                "Tail": f"p values below {LARGEST_TAIL_P:g} come from a gamma distribution that "
                "fits the largest values of the permutations, without that of the data as they are "
                "(Winkler et al. 2016, doi:10.1016/j.neuroimage.2016.05.068). None is below "
                f"{least_tail_p(self._comparison.n_tfce_permutations):.1g}, for which there are "
                "too few permutations. SmallestCountedP has the smallest p value of each map by "
                "counting permutations.",
                "SmallestCountedP": _smallest(counted),
            }
        )
        in_words = self._result.space.measure.in_words
        return {
            "Description": in_words(
                f"-log10 of p of the test '{contrast.text}' by {_INFERENCE[kind]}: family-wise "
                f"error, {over}. 1.301 is p = 0.05."
            ),
            "SmallestP": _smallest(maps.p[name]),
            **tail,
        }

    def _about_maps(
        self,
        components: Components,
        compared: Compared,
        contrast: Contrast,
        maps: MapsOfContrast,
    ) -> dict[str, object]:
        """Return what holds for all maps of one test of one decomposition."""
        result = self._result
        return {
            "ComponentNames": [components.names[one] for one in compared.components],
            "Test": contrast.text,
            "Formula": self._design.formula,
            "DegreesOfFreedom": maps.dof
            if contrast.statistic == "t"
            else [len(contrast.weights), maps.dof],
            "Permutations": self._permutations,
            "ComparedMaps": f"{self._options.compare_stat} of dual regression, stage 2",
            "Participants": [f"sub-{one.participant}" for one in self._design.people],
            result.space.measure.in_words("ComparedVoxels"): compared.n_features,
            "Design": f"bids::{DESIGN}",
            "Maps": f"bids::{result.maps_file(components, 'components')}",
            "Mask": f"bids::{result.mask_file()}",
            "Sources": [f"bids::{DESIGN}", f"bids::{SOURCES}"],
            **result.spatial,
        }


def _smallest(p: NDArray[np.float32]) -> list[float]:
    """Return the smallest p value of each map, without digits that float32 does not have."""
    return [float(f"{one:.6g}") for one in p.min(axis=1).tolist()]


def design_columns(design: Design) -> dict[str, str]:
    """Return the columns of the table of the design with their descriptions."""
    columns = {"participant_id": "Participant"}
    columns |= dict.fromkeys(design.columns, "Column of the design matrix")
    if design.blocks:
        columns["block"] = (
            f"{design.blocks_column}: participants are permuted within its levels only"
        )
    return columns | {
        name: "Variable of the model, as it was given"
        for name in design.variables
        if name not in columns
    }


def design_table(design: Design) -> list[Row]:
    """Return a row for each participant of the design."""
    return [
        {
            "participant_id": f"sub-{person.participant}",
            **{name: values[row] for name, values in design.variables.items()},
            **({"block": design.blocks[row]} if design.blocks else {}),
            **dict(zip(design.columns, design.matrix[row].tolist(), strict=True)),
        }
        for row, person in enumerate(design.people)
    ]


def write_comparison(tree: OutputTree, result: GroupResult) -> tuple[Answer, ...]:
    """Write all files of a comparison of participants, and remove those of an earlier one.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult

    Returns
    -------
    tuple of Answer
        Those of the tests; none without a comparison.
    """
    found: tuple[Answer, ...] = ()
    if result.comparison is not None:
        found = ComparisonWriter(tree, result, result.comparison).write()
    # The report must not take files of an earlier comparison for those of this one.
    tree.remove_earlier(IGNORED_OF_COMPARISONS)
    for answer in found:
        for line in answer.lines:
            _LOG.info(line)
    return found


def comparison_in_readme(result: GroupResult, found: Sequence[Answer]) -> str:
    """Return what the README says of a comparison; nothing without one."""
    comparison = result.comparison
    if comparison is None:
        return ""
    return readme(
        "comparison.md.jinja",
        n=count(len(comparison.design.people), "participant"),
        formula=formula_in_words(comparison.design.formula),
        within=comparison.design.within,
        lines=[line for answer in found for line in answer.lines],
        design=DESIGN,
        comparisons=COMPARISONS_TABLE,
        edges=EDGES_TABLE,
        amplitudes=AMPLITUDES_TABLE,
        has_edges=any(one.edges for one in comparison.decompositions),
        has_amplitudes=any(one.amplitudes for one in comparison.decompositions),
        has_maps=any(one.maps for one in comparison.decompositions),
        ends=result.space.extensions,
    )
