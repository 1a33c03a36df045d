"""Comparing participants (``--model``): the steps that `pipeline` and `pipeline_maps` share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.describe import read_references
from nidecomp.annotation.family import components_to_compare
from nidecomp.bids.datasets import Datasets
from nidecomp.bids.participants_file import find_participants_files
from nidecomp.comparison.absent import absent_people, grouped, lost_people, unused_runs
from nidecomp.comparison.compare import compare
from nidecomp.comparison.data import DecompositionData, RowFiles
from nidecomp.comparison.describe import design_as_lines
from nidecomp.comparison.design import make_design
from nidecomp.comparison.model import needs_table
from nidecomp.comparison.participants import ParticipantTable, read_tables
from nidecomp.comparison.records import Absence, Compared, Comparison, Design, Measured
from nidecomp.config.comparison import ComparisonOptions, Measure
from nidecomp.config.comparison_checks import KINDS_OF_EDGES, measures_to_compare
from nidecomp.config.request import Request
from nidecomp.config.science import Connectome
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.execution.executor import Executor
from nidecomp.outputs.report.words import listed
from nidecomp.projection.all_runs import Projections
from nidecomp.projection.rows import (
    Row,
    RunNames,
    amplitudes,
    combined_rows,
    connectomes_in_z,
)
from nidecomp.projection.task import ProjectedRun
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)
_WHY_NOT: Mapping[Measure, str] = {
    "amplitudes": "with --normalise-time-courses, all of them are 1",
    "connectomes": "--connectomes has neither correlation nor partial",
}


@dataclass(frozen=True, eq=False)
class Study:
    """What a comparison is made of before runs are projected.

    Parameters
    ----------
    request : Request
    space : FeatureSpace
    table : ParticipantTable
        The variables of the model.
    runs : tuple of UsableRun
        The runs that were found.
    design : Design
        The design if all of them can be projected.
    refused : tuple of RefusedRun
        The runs that cannot be used.
    """

    request: Request
    space: FeatureSpace
    table: ParticipantTable
    runs: tuple[UsableRun, ...]
    design: Design
    refused: tuple[RefusedRun, ...] = ()

    @property
    def options(self) -> ComparisonOptions:
        """How participants are compared."""
        return self.request.science.comparison

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that decide the comparison: tables of participants, and the model file."""
        model = self.options.model_file
        return (*self.table.paths, *([Path(model)] if model is not None else []))


def check_study(
    runs: tuple[UsableRun, ...],
    inventory: Inventory,
    datasets: Datasets,
    space: FeatureSpace,
    request: Request,
) -> Study | None:
    """Read the participants' table, and make the design, before anything slow begins.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs that were found.
    inventory : Inventory
        Has the runs that were refused, and participants without runs, too.
    datasets : Datasets
    space : FeatureSpace
    request : Request

    Returns
    -------
    Study or None
        None where participants are not to be compared.

    Raises
    ------
    UsageError, NothingToDoError
        The comparison that was asked for cannot be made.
    """
    options = request.science.comparison
    if not options.is_asked:
        return None
    is_needed = needs_table(options)
    files = find_participants_files(datasets, options.participants_file, is_needed=is_needed)
    table = read_tables(files)
    labels = request.science.selection.participant_label
    absent = absent_people(inventory, runs, labels)
    refused = inventory.refused
    design = make_design(options, table, runs, absent, unused_runs(refused))
    study = Study(request, space, table, runs, design, refused)
    _check_measures(request)
    for line in study_as_lines(replace(study, design=replace(study.design, left_out=()))):
        _LOG.info(line)
    if out := study.design.left_out:
        n_out = count(len(out), "participant")
        _LOG.warning("Left out of the comparison: %s\n%s", n_out, grouped(out))
    return study


def kinds_to_compare(request: Request) -> tuple[Connectome, ...]:
    """Return the kinds of connectomes that are compared; tangent matrices have no edges."""
    if "connectomes" not in request.science.comparison.compare:
        return ()
    return tuple(kind for kind in request.science.projection.connectomes if kind in KINDS_OF_EDGES)


def _check_measures(request: Request) -> None:
    """Log what cannot be compared; raise where nothing is left."""
    possible = measures_to_compare(request.science)
    for measure, why in _WHY_NOT.items():
        if measure in request.science.comparison.compare and measure not in possible:
            _LOG.warning("--compare: %s are not compared: %s", measure, why)
    if not possible:
        raise UsageError(
            f"--compare {' '.join(request.science.comparison.compare)} leaves nothing to compare: "
            "the reason is above."
        )


def compare_participants(
    study: Study | None,
    components: Sequence[Components],
    projections: Projections,
    failed: Sequence[FailedRun],
    executor: Executor,
    step: Callable[[str], AbstractContextManager[None]],
) -> Comparison | None:
    """Compare the participants whose runs were projected.

    Parameters
    ----------
    study : Study or None
        None where participants are not to be compared.
    components : sequence of Components
    projections : Projections
    failed : sequence of FailedRun
        The runs that could not be reduced or projected.
    executor : Executor
        The result does not depend on it.
    step : callable
        Measures a step of this name.

    Returns
    -------
    Comparison or None
        None, too, where every component has a noise flag.

    Raises
    ------
    UsageError, NothingToDoError
        Too few participants are left.
    """
    if study is None:
        return None
    with step("comparing participants"):
        return _compare(study, components, projections, failed, executor)


def _compare(
    study: Study,
    components: Sequence[Components],
    projections: Projections,
    failed: Sequence[FailedRun],
    executor: Executor,
) -> Comparison | None:
    """Compare participants in the components that are probably no noise."""
    request = study.request
    references = read_references(study.space, request.science.evidence)
    families = [components_to_compare(one, references) for one in components]
    for one, family in zip(components, families, strict=True):
        _log_family(one, family)
    if not any(families):
        return None
    design, rows = _design_of_projected(study, projections.runs, failed, executor)
    _warn_of_absent(design, study)
    source = _Data(
        people=design.people,
        projected=projections.runs,
        rows=rows,
        has_amplitudes="amplitudes" in measures_to_compare(request.science),
        kinds=kinds_to_compare(request),
    )
    # A decomposition without a family has nothing to compare.
    data = [
        source.of(index, one.title, families[index])
        for index, one in enumerate(components)
        if families[index]
    ]
    found = compare(design, data, study.space, request, executor)
    compared = iter(found.decompositions)
    of_rows = (path for row in rows.values() for path in row.paths)
    return replace(
        found,
        kept=(*found.kept, *of_rows),
        decompositions=tuple(next(compared) if family else _nothing(design) for family in families),
    )


def _log_family(components: Components, family: tuple[int, ...]) -> None:
    """Log which components are compared."""
    left_out = [name for index, name in enumerate(components.names) if index not in family]
    if not family:
        _LOG.warning("No %s component is compared: all have a noise flag", components.method)
        return
    _LOG.info(
        "Comparing %d of %s%s",
        len(family),
        count(components.n_components, f"{components.method} component"),
        f"; with a noise flag and left out: {', '.join(left_out)}" if left_out else "",
    )


def _nothing(design: Design) -> Compared:
    return Compared((), 0, (), (), np.zeros((len(design.people), 0)), {})


# ---------------------------------------------------------------- who is compared
def _design_of_projected(
    study: Study,
    projected: Sequence[ProjectedRun],
    failed: Sequence[FailedRun],
    executor: Executor,
) -> tuple[Design, Mapping[RunNames, Row]]:
    """Return the design of those whose data are there, and the files of their maps."""
    statistic = study.options.statistic_of_maps
    # Why somebody was left out before says more than that nothing of theirs is there.
    known = study.design.left_out
    unused = unused_runs((*study.refused, *failed))
    lost = [*lost_people(study.runs, [one.run for one in projected], failed)]
    while True:
        gone = {one.participant for one in lost}
        runs = [one for one in projected if one.run.participant not in gone]
        usable = [one.run for one in runs]
        design = make_design(study.options, study.table, usable, (*known, *lost), unused)
        rows = combined_rows(_sets(design.people), runs, statistic, executor) if statistic else {}
        without = _without_maps(design.people, rows)
        if not without:
            return design, rows
        lost += without


def _sets(people: Iterable[Measured]) -> Iterable[RunNames]:
    """Return the sets of runs that participants are compared by."""
    return filter(None, chain.from_iterable((one.runs, one.minus) for one in people))


def _without_maps(people: Iterable[Measured], rows: Mapping[RunNames, Row]) -> list[Absence]:
    """Return the participants whose maps are not there, with the reason."""
    return [
        Absence(one.participant, rows[names].reason)
        for one in people
        for names in _sets([one])
        if names in rows and not rows[names].paths
    ]


# ---------------------------------------------------------------- what is compared
@dataclass(frozen=True, eq=False)
class _Data:
    """Where the data of participants come from: rows of maps, and the runs that were projected."""

    people: Sequence[Measured]
    projected: Sequence[ProjectedRun]
    rows: Mapping[RunNames, Row]
    has_amplitudes: bool
    kinds: tuple[Connectome, ...]

    def of(self, index: int, name: str, family: tuple[int, ...]) -> DecompositionData:
        """Return the data of one decomposition, with a row for each participant."""
        return DecompositionData(
            families=family,
            paths=tuple(self._files(one, index) for one in self.people) if self.rows else (),
            amplitudes=self._amplitudes(index, family) if self.has_amplitudes else None,
            edges={kind: self._edges(index, family, kind) for kind in self._kinds_of(family)},
            name=name,
        )

    def _files(self, person: Measured, index: int) -> RowFiles:
        minus = self.rows[person.minus].paths[index] if person.minus else None
        return RowFiles(self.rows[person.runs].paths[index], minus)

    def _amplitudes(self, index: int, family: tuple[int, ...]) -> NDArray[np.float64]:
        by_name = {one.key.label: one for one in self.projected}
        return self._of_people(
            lambda names: amplitudes([by_name[one] for one in names], index)[list(family)]
        )

    def _kinds_of(self, family: tuple[int, ...]) -> tuple[Connectome, ...]:
        """Return the kinds of connectomes that have edges within a family."""
        return self.kinds if len(family) > 1 else ()

    def _edges(self, index: int, family: tuple[int, ...], kind: Connectome) -> NDArray[np.float64]:
        """Return Fisher's z between components of the family, the mean over each one's runs."""
        first, second = (np.array(family)[one] for one in np.triu_indices(len(family), 1))
        z = connectomes_in_z(self.projected, index, kind)
        return self._of_people(
            lambda names: np.mean([z[one][first, second] for one in names], axis=0)
        )

    def _of_people(
        self, values_of: Callable[[RunNames], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Return a row of numbers for each participant, which may be a difference."""
        return np.array(
            [
                values_of(one.runs) - values_of(one.minus) if one.minus else values_of(one.runs)
                for one in self.people
            ]
        )


# ---------------------------------------------------------------- in words
def study_as_lines(study: Study | None) -> list[str]:
    """Return what is compared and how, for the log and ``--dry-run``; nothing without a study."""
    if study is None:
        return []
    options = study.options
    of_maps = options.statistic_of_maps is not None and options.n_tfce_permutations
    tfce = f", {options.n_tfce_permutations} of them with TFCE" if of_maps else ""
    return [
        *design_as_lines(study.design),
        f"Compared are {listed(measures_to_compare(study.request.science))}, by at most "
        f"{count(options.n_permutations, 'permutation')}{tfce}",
    ]


def _warn_of_absent(design: Design, study: Study) -> None:
    """Log who is left out in addition to those who were known before runs were projected."""
    absent = [one for one in design.left_out if one not in study.design.left_out]
    if absent:
        # All of them, and not some as of runs: who reads an answer must know who is not in it.
        _LOG.warning("Left out of the comparison, too:\n%s", grouped(absent))
