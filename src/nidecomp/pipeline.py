"""The group analysis from top to bottom: read `run` first.

`run_participant_job` is its first half, for one job of a cluster array. Template maps are projected
in `pipeline_maps`. `start.carry_out` chooses what the settings ask for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from nidecomp.annotation.regions import RegionsOfMaps, find_regions
from nidecomp.annotation.select import components_to_regress_out
from nidecomp.bids.datasets import Located
from nidecomp.comparing import Study, check_study, compare_participants, study_as_lines
from nidecomp.comparison.records import Comparison
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError, NothingToDoError
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import ReducedRun, runs_of
from nidecomp.core.reduced_runs import remove_old_files
from nidecomp.core.text import count
from nidecomp.decomposition.choose_model_order import choose_model_order, lowered_to_runs
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.model_order_choice import ModelOrderChoice
from nidecomp.decomposition.reproducibility import judge_reproducibility
from nidecomp.decomposition.stored import Fitted, find_fitted, fitted_file, store_fitted
from nidecomp.execution.executor import Executor
from nidecomp.execution.memory import release_freed_memory
from nidecomp.execution.progress import keeping_warnings
from nidecomp.outputs.dataset import keep_inventory
from nidecomp.outputs.decompositions import write_group
from nidecomp.outputs.description import keep_description
from nidecomp.outputs.dry_run import print_dry_run
from nidecomp.outputs.finished import Origin, about_manifest, is_finished, origin_of
from nidecomp.outputs.model_order import MODEL_ORDER_TABLE, write_choice_alone
from nidecomp.outputs.report.build import keep_results, write_report
from nidecomp.outputs.request_in_words import request_as_lines
from nidecomp.outputs.result import GroupResult, Outcome
from nidecomp.plan import make_plan
from nidecomp.preflight import Preparation, draw_held_out, prepare
from nidecomp.projection.all_runs import Projections, project_runs
from nidecomp.projection.superseded import remove_superseded
from nidecomp.runs.fetching import as_their_headers_say
from nidecomp.runs.known_images import gather_images
from nidecomp.runs.reduce_all import (
    reduce_runs,
    reduce_task,
    warn_of_copies,
    warn_of_empty_volumes,
)
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.kept_kernels import remove_other_kernels

_LOG = logging.getLogger(__name__)


def run(settings: Settings, command: Sequence[str] = (), located: Located | None = None) -> Outcome:
    """Decompose a group of participants, and write what was found.

    Parameters, return value and exceptions are those of `start.carry_out`, but for `located`: the
    datasets, where they were looked for already.
    """
    with prepare(settings, command, located) as found:
        step, space = found.monitor.step, found.space
        request = Request(settings, lowered_to_runs(settings.science, found.inventory.used))
        study = check_study(found.runs, found.inventory, found.datasets, space, request)
        held_out = draw_held_out(found.runs, space, request)
        for line in request_as_lines(found.runs, request):
            _LOG.info(line)
        design = study.design if study else None
        plan = make_plan(found.runs, space, request, found.end_workers, design)
        if settings.execution.dry_run:
            print_dry_run(found.inventory, found.datasets, plan, study_as_lines(study))
            return Outcome(found.inventory, settings.output_dir)
        origin = _origin(found, request, study)
        if is_finished(settings.output_dir, origin):
            return keep_results(settings, found.inventory, plan.n_threads)
        with found.executor(request, plan.n_processes) as executor:
            with step("reducing runs"):
                reduced, inventory = _reduce(found, request, executor)
            with step("fitting the group"):
                fitted = _decompose(reduced, held_out, space, request, plan.group_plan)
                components = fitted.components
            with step("projecting runs"):
                projections = _project(components, reduced, space, request, executor)
            inventory = inventory.with_failed(projections.failed)
            comparison = compare_participants(
                study, components, projections, inventory.failed, executor, step
            )
            is_compared = study is None or comparison is not None
            with step("finding regions"):
                regions = _find_regions(components, space, request, plan.n_threads)
            result = GroupResult(
                settings=settings, datasets=found.datasets, inventory=inventory, reduced=reduced,
                space=space, components=components, held_out=held_out, choice=fitted.choice,
                projections=projections, regions=regions, n_threads=plan.n_threads,
                comparison=comparison,
            )  # fmt: skip
            with step("writing"):
                tree = write_group(result)
            is_reported = write_report(tree, settings, plan.n_threads, found.monitor)
            # Of images that were fetched, nothing was known before.
            origin = origin or _origin_after_fetching(found, request, study)
            tree.finish(about_manifest(origin if is_compared else None, inventory))
            _clear_work_folder(settings, space, projections, inventory, comparison)
        _LOG.info("The results of %s are in %s", _n_runs(reduced), settings.output_dir)
        return _ended(
            Outcome(inventory, settings.output_dir, len(components), is_reported, is_compared)
        )


def run_participant_job(
    settings: Settings, command: Sequence[str] = (), located: Located | None = None
) -> Outcome:
    """Reduce the runs of some participants: one job of a cluster array, for a later group run.

    Parameters, return value and exceptions are those of `start.carry_out`, but for `located`: the
    datasets, where they were looked for already.
    """
    with prepare(settings, command, located) as found:
        request = Request(settings, lowered_to_runs(settings.science, found.inventory.used))
        for line in request_as_lines(found.runs, request):
            _LOG.info(line)
        plan = make_plan(found.runs, found.space, request, found.end_workers)
        if settings.execution.dry_run:
            print_dry_run(found.inventory, found.datasets, plan)
            return Outcome(found.inventory, settings.output_dir)
        with (
            found.executor(request, plan.n_processes) as executor,
            found.monitor.step("reducing runs"),
        ):
            reduced, inventory = _reduce(found, request, executor)
        keep_description(found.datasets, settings)
        _LOG.info("Reduced %s, kept in %s", _n_runs(reduced), settings.work_dir)
        return _ended(Outcome(inventory, settings.output_dir))


# ---------------------------------------------------------------- the steps
def _origin(found: Preparation, request: Request, study: Study | None) -> Origin | None:
    """Return what the results depend on, of the runs as they are now."""
    tasks = [reduce_task(run, found.space, request) for run in found.runs]
    files = study.files if study else ()
    return origin_of(tasks, found.inventory, found.datasets, found.space, request, files)


def _origin_after_fetching(
    found: Preparation, request: Request, study: Study | None
) -> Origin | None:
    """Return the origin that a later start will find, which knows the images that were read."""
    if not request.execution.fetch:
        return None
    tasks = [reduce_task(run, found.space, request) for run in found.runs]
    runs = as_their_headers_say(tasks)
    later = replace(found, runs=runs, inventory=found.inventory.with_used(runs))
    return _origin(later, request, study)


def _reduce(
    found: Preparation, request: Request, executor: Executor
) -> tuple[tuple[ReducedRun, ...], Inventory]:
    """Reduce the runs; what becomes of each is written before anything else can go wrong."""
    reduced, failed = reduce_runs(found.runs, found.space, executor, request)
    if request.asked.analysis_level == "group":
        for one in found.datasets.found:
            gather_images(one.root, request.work_dir)
    inventory = found.inventory.with_used(runs_of(reduced)).with_failed(failed)
    keep_inventory(found.datasets, inventory, request.asked)
    if failed and request.execution.stop_on_first_crash:
        raise NidecompError(f"Stopped at the first run that failed:\n{inventory.failures()}")
    if not reduced:
        raise NidecompError(f"Every run failed:\n{inventory.failures()}")
    if failed:
        _LOG.error("%s failed:\n%s", count(len(failed), "run"), inventory.failures())
    warn_of_empty_volumes(runs_of(reduced))
    warn_of_copies(reduced)
    return reduced, inventory


def _decompose(
    reduced: Sequence[ReducedRun],
    held_out: frozenset[str],
    space: FeatureSpace,
    request: Request,
    plan: GroupPlan,
) -> Fitted:
    """Fit the group and judge its maps, unless this was done before."""
    fitted = [run for run in reduced if run.participant not in held_out]
    held_out_runs = [run for run in reduced if run.participant in held_out]
    if not fitted:
        raise NidecompError("Every run of the participants to be fitted failed.")
    is_judged = request.extent.level == "full"
    path = fitted_file(
        request.work_dir, fitted, held_out_runs, request.science, space, is_judged=is_judged
    )
    if (found := find_fitted(path)) is not None:
        _LOG.info("The decomposition of these runs is in %s", path)
        for message in found.warnings:
            _LOG.warning(message)
        return found
    choice = None
    with keeping_warnings() as warnings:
        if request.science.decomposition.is_auto:
            choice = _choose_model_order(fitted, space, request, plan)
            request = request.with_model_order(choice.n_components)
        components = fit_group(fitted, request.science, plan)
        if is_judged:
            components = judge_reproducibility(
                components, fitted, request.science, space, plan, held_out_runs
            )
    made = Fitted(components, choice, tuple(warnings))
    return store_fitted(path, made, replaces_others=_owns_work_folder(request.asked))


def _choose_model_order(
    fitted: Sequence[ReducedRun], space: FeatureSpace, request: Request, plan: GroupPlan
) -> ModelOrderChoice:
    """Choose the number of components; raise, with the evidence written, where it would be 0."""
    output_dir = request.asked.output_dir
    choice = choose_model_order(fitted, request.science, plan.n_threads)
    if not choice.n_components:
        write_choice_alone(output_dir, choice, space.measure)
        raise NothingToDoError(
            f"--n-components auto finds nothing to decompose. {choice.reason} "
            f"{output_dir / MODEL_ORDER_TABLE} has the numbers; --n-components with a number fits "
            "as many all the same."
        )
    return choice


def _project(
    components: Sequence[Components],
    reduced: Sequence[ReducedRun],
    space: FeatureSpace,
    request: Request,
    executor: Executor,
) -> Projections:
    """Project every run that was reduced to the group's maps."""
    if request.extent.level != "full":
        return Projections()
    # This process waits from here on, for others that need memory.
    release_freed_memory()
    runs = runs_of(reduced)
    removed = components_to_regress_out(components, space, request)
    cleaning = [reduce_task(run, space, request) for run in runs if not run.is_of_site]
    return project_runs(components, cleaning, request, executor, removed)


def _find_regions(
    components: Sequence[Components], space: FeatureSpace, request: Request, n_threads: int
) -> RegionsOfMaps:
    """Find the regions of every map."""
    if request.extent.level != "full":
        return ()
    return find_regions(components, space, request.science, n_threads)


def _clear_work_folder(
    settings: Settings,
    space: FeatureSpace,
    projections: Projections,
    inventory: Inventory,
    comparison: Comparison | None,
) -> None:
    """Remove what no later start can use from a work folder that nobody else uses.

    Projections of runs that failed now may be of use once their images are there again.
    """
    if not _owns_work_folder(settings):
        return
    n_removed = remove_old_files(settings.work_dir)
    n_removed += remove_other_kernels(
        settings.work_dir, space.digest, settings.science.smoothings_fwhm
    )
    if projections.runs and not inventory.failed:
        kept = comparison.kept if comparison else ()
        n_removed += remove_superseded(projections, settings.work_dir, kept)
    _LOG.debug("Removed %s of earlier projections, kernels and versions", count(n_removed, "file"))


def _owns_work_folder(settings: Settings) -> bool:
    """Return whether the work folder is this output folder's own, so that no others use it."""
    return settings.execution.work_dir is None


def _n_runs(reduced: Sequence[ReducedRun]) -> str:
    """Return how many runs were reduced, in words."""
    return count(len(runs_of(reduced)), "run")


def _ended(outcome: Outcome) -> Outcome:
    """Return the outcome, and remind of what failed at the end of the log."""
    if outcome.inventory.failed:
        n_failed = count(len(outcome.inventory.failed), "run")
        _LOG.error("%s failed: the reasons are above", n_failed)
    if outcome.inventory.lost:
        n_lost = count(len(outcome.inventory.lost), "dataset")
        _LOG.error("%s could not be used: the reasons are above", n_lost)
    if not outcome.is_compared:
        _LOG.error("Participants were not compared: the reason is above")
    return outcome
