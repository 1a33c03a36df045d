"""Comparing participants (``--model``): the steps that `pipeline` and `pipeline_maps` share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.describe import read_references
from nidecomp.annotation.family import components_to_compare
from nidecomp.bids.datasets import Datasets
from nidecomp.bids.participants_file import find_participants_files
from nidecomp.comparison.compare import compare
from nidecomp.comparison.data import DecompositionData, RowFiles
from nidecomp.comparison.design import make_design
from nidecomp.comparison.participants import ParticipantTable, read_tables
from nidecomp.comparison.records import Absence, Compared, Comparison, Design, Measured
from nidecomp.config.comparison import ComparisonOptions, Measure
from nidecomp.config.request import Request
from nidecomp.config.science import Connectome
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import group_by_text
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.execution.executor import Executor
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
# Tangent matrices have no edges.
_KINDS: tuple[Connectome, ...] = ("correlation", "partial")
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
    """

    request: Request
    space: FeatureSpace
    table: ParticipantTable
    runs: tuple[UsableRun, ...]
    design: Design

    @property
    def options(self) -> ComparisonOptions:
        """How participants are compared."""
        return self.request.science.comparison


def check_study(
    runs: tuple[UsableRun, ...], datasets: Datasets, space: FeatureSpace, request: Request
) -> Study | None:
    """Read the participants' table, and make the design, before anything slow begins.

    Parameters
    ----------
    runs : tuple of UsableRun
        The runs that were found.
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
    if request.extent.level != "full" and request.science.projection.maps is None:
        raise UsageError(
            "--model needs --level full: lower levels do not project components to the runs."
        )
    table = read_tables(find_participants_files(datasets, options.participants_file))
    study = Study(request, space, table, runs, make_design(options, table, runs))
    _check_measures(request)
    for line in design_as_lines(study.design, options):
        _LOG.info(line)
    _warn_of(study.design)
    return study


def measures_to_compare(request: Request) -> tuple[Measure, ...]:
    """Return what of ``--compare`` can be compared."""
    normalised = request.science.projection.normalise_time_courses
    impossible = {
        "amplitudes": normalised,
        "connectomes": not set(request.science.projection.connectomes) & set(_KINDS),
    }
    return tuple(one for one in request.science.comparison.compare if not impossible.get(one))


def kinds_to_compare(request: Request) -> tuple[Connectome, ...]:
    """Return the kinds of connectomes that are compared; tangent matrices have no edges."""
    if "connectomes" not in request.science.comparison.compare:
        return ()
    return tuple(kind for kind in request.science.projection.connectomes if kind in _KINDS)


def _check_measures(request: Request) -> None:
    """Log what cannot be compared; raise where nothing is left."""
    possible = measures_to_compare(request)
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
        return _compare(study, components, projections, executor)


def _compare(
    study: Study, components: Sequence[Components], projections: Projections, executor: Executor
) -> Comparison | None:
    """Compare participants in the components that are probably no noise."""
    request = study.request
    references = read_references(study.space, request.science.evidence)
    families = [components_to_compare(one, references) for one in components]
    for one, family in zip(components, families, strict=True):
        _log_family(one, family)
    if not any(families):
        return None
    design, rows = _design_of_projected(study, projections.runs, executor)
    _warn_of(design, known=study.design)
    source = _Data(
        people=design.people,
        projected=projections.runs,
        rows=rows,
        has_amplitudes="amplitudes" in measures_to_compare(request),
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
    return replace(
        found,
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
    study: Study, projected: Sequence[ProjectedRun], executor: Executor
) -> tuple[Design, Mapping[RunNames, Row]]:
    """Return the design of those whose data are there, and the files of their maps."""
    statistic = study.options.statistic_of_maps
    there = {one.run.participant for one in projected}
    lost = {
        run.participant: "none of the participant's runs could be used"
        for run in study.runs
        if run.participant not in there
    }
    while True:
        runs = [one for one in projected if one.run.participant not in lost]
        design = make_design(study.options, study.table, [one.run for one in runs])
        rows = combined_rows(_sets(design.people), runs, statistic, executor) if statistic else {}
        without = _without_maps(design.people, rows)
        if not without:
            absences = [Absence(label, reason) for label, reason in lost.items()]
            in_order = sorted((*design.left_out, *absences), key=lambda one: one.participant)
            return replace(design, left_out=tuple(in_order)), rows
        lost |= without


def _sets(people: Iterable[Measured]) -> Iterable[RunNames]:
    """Return the sets of runs that participants are compared by."""
    return filter(None, chain.from_iterable((one.runs, one.minus) for one in people))


def _without_maps(people: Iterable[Measured], rows: Mapping[RunNames, Row]) -> dict[str, str]:
    """Return the participants whose maps are not there, with the reason."""
    return {
        one.participant: rows[names].reason
        for one in people
        for names in _sets([one])
        if names in rows and not rows[names].paths
    }


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
def design_as_lines(design: Design, options: ComparisonOptions) -> list[str]:
    """Return what is compared and how, for the log and ``--dry-run``.

    Parameters
    ----------
    design : Design
    options : ComparisonOptions

    Returns
    -------
    list of str
    """
    tests = ", ".join(f"{one.text} ({one.statistic})" for one in design.contrasts)
    within = f" of the difference {design.within}" if design.within else ""
    blocks = f", within blocks of {design.blocks_column}" if design.blocks_column else ""
    with_tfce = (
        f", {options.n_tfce_permutations} with TFCE"
        if options.statistic_of_maps and options.n_tfce_permutations
        else ""
    )
    return [
        f"Comparison: {' and '.join(options.compare)} of "
        f"{count(len(design.people), 'participant')}{within}; model {design.formula} "
        f"({', '.join(design.columns)})",
        f"Tests: {tests}; {count(options.n_permutations, 'permutation')} at most"
        f"{with_tfce}{blocks}",
    ]


def _warn_of(design: Design, known: Design | None = None) -> None:
    """Log who is left out and what was assumed, but for what is known of an earlier design."""
    before = (known.left_out, known.notes) if known else ((), ())
    absent = [one for one in design.left_out if one not in before[0]]
    if absent:
        grouped = group_by_text((f"sub-{one.participant}", one.reason) for one in absent)
        _LOG.warning("Left out of the comparison:\n%s", _with_all_names(grouped))
    for note in design.notes:
        if note not in before[1]:
            _LOG.warning("Comparison: %s", note)


def _with_all_names(grouped: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """Return each reason with all who it holds for, one per line."""
    return "\n".join(f"  {', '.join(names)}: {reason}" for reason, names in grouped)
