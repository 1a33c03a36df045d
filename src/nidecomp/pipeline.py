"""The whole flow in one function: read `run` first.

index → inspect → share one space → reduce each run → fit the group → judge → project → write
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from nidecomp.annotation.atlases import label_atlas
from nidecomp.annotation.regions import find_regions
from nidecomp.annotation.select import check_words, components_to_regress_out
from nidecomp.annotation.template_maps import read_template_maps
from nidecomp.bids.dataset import DESCRIPTION
from nidecomp.bids.index import find_runs
from nidecomp.config.settings import Settings
from nidecomp.core.atomic import exclusive_lock
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.core.records import FailedRun, Inventory, ReducedRun, UsableRun, runs_of
from nidecomp.core.text import count
from nidecomp.decomposition.choose_model_order import (
    bounded,
    check_participants,
    choose_model_order,
    fewest_rows,
)
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.model_order_choice import ModelOrderChoice
from nidecomp.decomposition.reproducibility import judge_reproducibility
from nidecomp.decomposition.stability import hold_out
from nidecomp.execution import progress
from nidecomp.execution.choose import executor_for, worker_memory_mb
from nidecomp.execution.executor import Executor
from nidecomp.execution.local import LocalProcesses, available_cores, started_early
from nidecomp.execution.memory import idle_workers, release_freed_memory
from nidecomp.execution.monitor import REPORT_STEP, Monitor
from nidecomp.execution.monitored import MeasuredExecutor
from nidecomp.outputs import inventory as inventory_table
from nidecomp.outputs.dataset import write_inventory
from nidecomp.outputs.decompositions import write_group
from nidecomp.outputs.model_order import MODEL_ORDER_TABLE, write_choice_alone
from nidecomp.outputs.report.build import REPORT, add_report
from nidecomp.outputs.resources import recording_steps, write_resources
from nidecomp.outputs.result import GroupResult, Outcome
from nidecomp.outputs.template_projections import write_template_projections
from nidecomp.outputs.tree import OutputTree
from nidecomp.plan import Forecast, forecast
from nidecomp.preflight import check_request, of_all_jobs
from nidecomp.projection.all_runs import Projections, project_runs
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.inspect import InspectTask, inspect_run
from nidecomp.runs.reduce import warm_up
from nidecomp.runs.reduce_all import reduce_runs, reduce_task, warn_of_copies
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)


def run(settings: Settings, command: Sequence[str] = ()) -> Outcome:
    """Do what was asked for.

    Parameters
    ----------
    settings : Settings
    command : sequence of str
        The words of the command line, for the record; none for a call from Python.

    Returns
    -------
    Outcome
        Which runs were used, refused and failed, and the components.

    Raises
    ------
    NidecompError
        Nothing could be done, or every run failed; the message says why.
    """
    if settings.execution.report_only:
        return _report_only(settings)
    root = check_request(settings)
    with (
        progress.logging_to(settings),
        recording_steps(settings, command) as monitor,
        _workers_started_early(settings) as end_workers,
    ):
        with monitor.step("finding runs"):
            inventory = _inspect(root, settings)
            space, inventory = _share_space(root, inventory, settings)
        check_words(space, settings)
        if settings.science.projection.maps is not None:
            return _project_template_maps(root, inventory, space, settings, end_workers, monitor)
        asked, settings = settings, _bounded(inventory, settings)
        to_reduce = _named(inventory, settings)
        held_out = _check_evidence(to_reduce, space, settings)
        plan = _forecast(to_reduce, space, settings, end_workers)
        if settings.execution.dry_run:
            _show(inventory, root, plan)
            return Outcome(inventory, settings.output_dir)
        with _alone_in_output(settings), _executor(plan, settings, monitor) as executor:
            with monitor.step("reducing runs"):
                reduced, failed = reduce_runs(to_reduce, space, executor, settings)
            inventory = replace(inventory, failed=failed)
            _keep_inventory(root, inventory, settings)
            _stop_if_nothing_is_left(reduced, failed, settings)
            warn_of_copies(reduced)
            components: tuple[Components, ...] = ()
            is_reported = True
            if settings.analysis_level == "group":
                with monitor.step("fitting the group"):
                    choice, components = _decompose(reduced, held_out, plan, settings)
                with monitor.step("projecting runs"):
                    found = _project(components, reduced, space, executor, settings)
                inventory = replace(inventory, failed=failed + found.failed)
                with monitor.step("finding regions"):
                    regions = find_regions(
                        components, found.paths, space, settings.science, executor
                    )
                with monitor.step("writing"):
                    tree = write_group(
                        GroupResult(
                            settings=asked,
                            root=root,
                            inventory=inventory,
                            reduced=reduced,
                            space=space,
                            components=components,
                            held_out=held_out,
                            choice=choice,
                            projected=found.runs,
                            removed=found.removed,
                            combined=found.combined,
                            regions=regions,
                        )
                    )
                is_reported = _report(tree, settings, LocalProcesses(plan.n_drawing), monitor)
                tree.finish()
        _say_how_it_ended(inventory, reduced, settings)
        return Outcome(inventory, settings.output_dir, components, is_reported)


def _report(tree: OutputTree, settings: Settings, executor: Executor, monitor: Monitor) -> bool:
    """Make the report, where one is wanted; it tells what the steps before it took."""
    if settings.extent.level != "full" or settings.extent.no_report:
        return True
    write_resources(settings.output_dir, monitor)
    with monitor.step(REPORT_STEP):
        return add_report(tree, executor)


def _report_only(settings: Settings) -> Outcome:
    """Make the report anew of what the output folder holds."""
    output = settings.output_dir
    if not (output / DESCRIPTION).is_file():
        raise UsageError(f"--report-only: {output} is no output folder of nidecomp.")
    with progress.logging_to(settings), _alone_in_output(settings):
        tree = OutputTree(output, adding=True)
        is_reported = add_report(tree, LocalProcesses(_wanted_cores(settings)))
        tree.finish()
        if is_reported:
            _LOG.info("The report is %s", output / REPORT)
    return Outcome(Inventory(), output, is_reported=is_reported)


def _project_template_maps(
    root: Path,
    inventory: Inventory,
    space: FeatureSpace,
    settings: Settings,
    end_workers: Callable[[], None],
    monitor: Monitor,
) -> Outcome:
    """Fit nothing: project maps that were given to the runs of the participants named."""
    runs = _named(inventory, settings)
    path = Path(str(settings.science.projection.maps))
    given = read_template_maps(path, space)
    largest = max(one.n_components for one in given)
    asked = of_all_jobs(settings)
    settings = replace(settings, science=settings.science.with_model_order(largest))
    plan = _forecast(runs, space, settings, end_workers)
    if settings.execution.dry_run:
        _show(replace(inventory, used=runs), root, plan)
        return Outcome(inventory, settings.output_dir)
    with _alone_in_output(settings), _executor(plan, settings, monitor) as executor:
        cleaning = [reduce_task(run, space, settings) for run in runs]
        removed = components_to_regress_out(given, space, settings)
        with monitor.step("projecting runs"):
            found = project_runs(given, cleaning, settings, executor, removed)
        inventory = replace(inventory, failed=found.failed)
        _keep_inventory(root, inventory, settings)
        if not found.runs:
            reasons = Inventory(failed=found.failed).reasons()
            raise NidecompError(f"Every run failed:\n{reasons}")
        result = GroupResult(
            settings=asked,
            root=root,
            inventory=inventory,
            reduced=(),
            space=space,
            components=given,
            projected=found.runs,
            removed=found.removed,
            combined=found.combined,
        )
        is_job = settings.analysis_level == "participant"
        with monitor.step("writing"):
            tree = write_template_projections(result, is_job=is_job)
        is_reported = is_job or _report(tree, settings, LocalProcesses(plan.n_drawing), monitor)
        tree.finish()
    _LOG.info(
        "Projected %s; the results are in %s", count(len(found.runs), "run"), settings.output_dir
    )
    return Outcome(inventory, settings.output_dir, given, is_reported)


# ---------------------------------------------------------------- the steps
def _workers_started_early(settings: Settings) -> AbstractContextManager[Callable[[], None]]:
    """Let workers do their imports while the runs are looked for: no more than will be of use."""
    execution = settings.execution
    if execution.dry_run or execution.executor != "local":
        return started_early(warm_up, 0)
    named = settings.science.selection.participant_label
    n_participants = len(named) or sum(1 for _ in settings.bids_dir.glob("sub-*"))
    n_workers = min(_wanted_cores(settings), idle_workers(execution), n_participants)
    return started_early(warm_up, n_workers)


def _wanted_cores(settings: Settings) -> int:
    return settings.execution.nprocs or available_cores()


@contextmanager
def _executor(plan: Forecast, settings: Settings, monitor: Monitor) -> Iterator[Executor]:
    """Open what does the work on the runs; the report's pictures are drawn on this machine."""
    with executor_for(settings.execution, settings.work_dir, plan.n_processes) as executor:
        if settings.execution.resource_monitor:
            yield MeasuredExecutor(executor, monitor)
        else:
            yield executor


def _inspect(root: Path, settings: Settings) -> Inventory:
    """Find the runs and check each one's small files."""
    science, execution = settings.science, settings.execution
    found, refused = find_runs(
        root,
        science.selection,
        database_dir=Path(execution.bids_database_dir) if execution.bids_database_dir else None,
        reset_database=execution.reset_database,
        needs_mask=science.masking.mask is None,
        # The mask is the group's: a job for one participant needs to know of all of them.
        of_all_participants=settings.analysis_level == "participant",
    )
    # Maps that are given can be projected to a run however short.
    n_rows = 1 if science.projection.maps is not None else fewest_rows(science.decomposition)
    looked_at = [inspect_run(InspectTask(files, science.denoising, n_rows)) for files in found]
    usable = tuple(record for record in looked_at if isinstance(record, UsableRun))
    refused += tuple(record for record in looked_at if not isinstance(record, UsableRun))
    found_text = count(len(usable) + len(refused), "run")
    _LOG.info("Found %s, %d of them usable", found_text, len(usable))
    return Inventory(usable, tuple(sorted(refused, key=lambda record: record.key.label)))


def _share_space(
    root: Path, inventory: Inventory, settings: Settings
) -> tuple[FeatureSpace, Inventory]:
    """Bring all runs to one grid and mask; end here where no run is left."""
    cache = None if settings.execution.dry_run else settings.work_dir / "mask"
    space, inventory = share_space(inventory, settings.science.masking, cache)
    if space is None or not inventory.used:
        _keep_inventory(root, inventory, settings)
        raise NothingToDoError(
            f"None of the {count(len(inventory.refused), 'run')} found can be used:\n"
            + inventory.reasons()
        )
    if inventory.refused:
        refused = count(len(inventory.refused), "run")
        _LOG.warning("Refused %s by a rule:\n%s", refused, inventory.reasons())
    for run in inventory.used:
        for note in run.notes:
            _LOG.warning("%s: %s", run.label, note)
    return space, inventory


def _bounded(inventory: Inventory, settings: Settings) -> Settings:
    """Have no more components to choose from than the shortest run holds."""
    return replace(settings, science=bounded(settings.science, inventory.used))


def _alone_in_output(settings: Settings) -> AbstractContextManager[None]:
    """Keep a second group run out of the output; jobs of a cluster array write nothing there."""
    return (
        exclusive_lock(settings.output_dir) if settings.analysis_level == "group" else nullcontext()
    )


def _keep_inventory(root: Path, inventory: Inventory, settings: Settings) -> None:
    """Write the table of runs at once: whatever happens later, it says what was found."""
    if settings.analysis_level == "group" and not settings.execution.dry_run:
        write_inventory(settings.output_dir, inventory_table.rows(inventory, root))


def _named(inventory: Inventory, settings: Settings) -> tuple[UsableRun, ...]:
    """Take the runs of the participants named; all of them where none is named."""
    runs, refused = inventory.used, inventory.refused
    labels = settings.science.selection.participant_label
    named = tuple(run for run in runs if not labels or run.participant in labels)
    if not named:
        asked = f"No run of participant {', '.join(labels)}"
        why = tuple(run for run in refused if run.key.get("sub") in labels)
        if why:
            reasons = Inventory(refused=why).reasons()
            raise NothingToDoError(f"{asked} can be used:\n{reasons}")
        keys = [*(run.key for run in runs), *(run.key for run in refused)]
        there = sorted({label for key in keys if (label := key.get("sub"))})
        shown = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
        raise NothingToDoError(
            f"{asked} matches what was asked for; there {'is' if len(there) == 1 else 'are'} "
            f"{shown}."
        )
    return named


def _forecast(
    runs: tuple[UsableRun, ...],
    space: FeatureSpace,
    settings: Settings,
    end_workers: Callable[[], None],
) -> Forecast:
    worker_mb = worker_memory_mb(settings.execution)
    plan = forecast(runs, space, settings, available_cores(), worker_mb)
    for line in plan.as_text().splitlines():
        _LOG.info(line)
    if plan.n_processes == 1:
        # All is done in this process: they would only hold memory.
        end_workers()
    return plan


def _show(inventory: Inventory, root: Path, plan: Forecast) -> None:
    """Print what a dry run is for."""
    print(inventory_table.as_text(inventory_table.rows(inventory, root)))  # noqa: T201
    used, refused = count(len(inventory.used), "run"), len(inventory.refused)
    print(f"{used} used, {refused} refused")  # noqa: T201
    print(plan.as_text())  # noqa: T201


def _check_evidence(
    runs: Sequence[UsableRun], space: FeatureSpace, settings: Settings
) -> frozenset[str]:
    """Find out before hours of work what evidence cannot be had; draw who is left out of the fit.

    An atlas is read again when it is needed, so that the fit has its memory.
    """
    if settings.analysis_level != "group":
        return frozenset()
    options = settings.science.evidence
    if settings.extent.level == "full" and options.label_atlas:
        label_atlas(Path(options.label_atlas), space)
    participants = [run.participant for run in runs]
    seed = settings.science.decomposition.random_seed
    out = hold_out(participants, options.holdout, seed)
    if len(out) == len(set(participants)):
        raise NothingToDoError(
            f"--holdout {options.holdout:g} leaves none of {count(len(out), 'participant')} to be "
            "fitted."
        )
    if settings.science.decomposition.is_auto:
        check_participants([one for one in participants if one not in out])
    if out:
        _LOG.info("Left out of the fit: %s", ", ".join(f"sub-{label}" for label in out))
    return frozenset(out)


def _decompose(
    reduced: Sequence[ReducedRun], held_out: frozenset[str], plan: Forecast, settings: Settings
) -> tuple[ModelOrderChoice | None, tuple[Components, ...]]:
    """Choose the number of components where it was not given, fit the group and judge its maps."""
    science, choice = settings.science, None
    how = GroupPlan(plan.n_threads, plan.at_once, plan.samples_at_once)
    fitted = [run for run in reduced if run.participant not in held_out]
    others = [run for run in reduced if run.participant in held_out]
    if not fitted:
        raise NidecompError("Every run of the participants to be fitted failed.")
    if science.decomposition.is_auto:
        choice = _choose(fitted, plan, settings)
        science = science.with_model_order(choice.n_components)
    components = fit_group(fitted, science, how)
    if settings.extent.level == "full":
        components = judge_reproducibility(components, fitted, science, how, others)
    return choice, components


def _choose(fitted: Sequence[ReducedRun], plan: Forecast, settings: Settings) -> ModelOrderChoice:
    """Choose the number of components; where there are none to be had, end with the evidence."""
    choice = choose_model_order(fitted, settings.science, plan.n_threads)
    if not choice.n_components:
        write_choice_alone(settings.output_dir, choice)
        raise NothingToDoError(
            f"--n-components auto finds nothing to decompose. {choice.reason} "
            f"{settings.output_dir / MODEL_ORDER_TABLE} has the numbers; --n-components with a "
            "number fits as many all the same."
        )
    return choice


def _project(
    components: Sequence[Components],
    reduced: Sequence[ReducedRun],
    space: FeatureSpace,
    executor: Executor,
    settings: Settings,
) -> Projections:
    """Project every run that was reduced to the group's maps."""
    if settings.extent.level != "full":
        return Projections()
    # This process waits from here on, for others that need memory.
    release_freed_memory()
    removed = components_to_regress_out(components, space, settings)
    cleaning = [reduce_task(run, space, settings) for run in runs_of(reduced)]
    return project_runs(components, cleaning, settings, executor, removed)


def _stop_if_nothing_is_left(
    reduced: Sequence[ReducedRun], failed: Sequence[FailedRun], settings: Settings
) -> None:
    reasons = Inventory(failed=tuple(failed)).reasons()
    if failed and settings.execution.stop_on_first_crash:
        raise NidecompError(f"Stopped at the first run that failed:\n{reasons}")
    if not reduced:
        raise NidecompError(f"Every run failed:\n{reasons}")
    if failed:
        _LOG.error("%s failed:\n%s", count(len(failed), "run"), reasons)


def _say_how_it_ended(
    inventory: Inventory, reduced: Sequence[ReducedRun], settings: Settings
) -> None:
    done = count(len({record.key for record in reduced}), "run")
    if settings.analysis_level == "group":
        _LOG.info("The results of %s are in %s", done, settings.output_dir)
    else:
        _LOG.info("Reduced %s, kept in %s", done, settings.work_dir)
    if inventory.failed:
        _LOG.error("%s failed: the reasons are above", count(len(inventory.failed), "run"))
