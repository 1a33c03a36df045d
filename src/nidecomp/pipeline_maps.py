"""Projecting template maps (``--maps``): nothing is fitted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nidecomp.annotation.select import components_to_regress_out
from nidecomp.annotation.template_maps import read_template_maps
from nidecomp.bids.datasets import Located
from nidecomp.comparing import check_study, compare_participants, study_as_lines
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError
from nidecomp.core.text import count
from nidecomp.outputs.dataset import keep_inventory
from nidecomp.outputs.dry_run import print_dry_run
from nidecomp.outputs.report.build import write_report
from nidecomp.outputs.request_in_words import request_as_lines
from nidecomp.outputs.result import GroupResult, Outcome
from nidecomp.outputs.template_projections import write_template_projections
from nidecomp.plan import make_plan
from nidecomp.preflight import prepare
from nidecomp.projection.all_runs import project_runs
from nidecomp.runs.reduce_all import reduce_task, warn_of_empty_volumes

_LOG = logging.getLogger(__name__)


def run_maps(
    settings: Settings, command: Sequence[str] = (), located: Located | None = None
) -> Outcome:
    """Project template maps to the runs of the participants named, and write what they have.

    Parameters
    ----------
    settings : Settings
        With maps.
    command : sequence of str
        The words of the command line, for the record.
    located : tuple, optional
        The datasets, where they were looked for already.

    Returns
    -------
    Outcome

    Raises
    ------
    NidecompError
        Nothing could be done, or every run failed; the message says why.
    """
    is_job = settings.analysis_level == "participant"
    with prepare(settings, command, located) as found:
        step, space = found.monitor.step, found.space
        maps = read_template_maps(Path(str(settings.science.projection.maps)), space)
        largest = max(one.n_components for one in maps)
        request = Request(settings, settings.science.with_model_order(largest))
        for line in request_as_lines(found.runs, request):
            _LOG.info(line)
        # Of jobs of participants, a group run later compares those of all.
        study = (
            None
            if is_job
            else check_study(found.runs, found.inventory, found.datasets, space, request)
        )
        design = study.design if study else None
        plan = make_plan(found.runs, space, request, found.end_workers, design)
        if settings.execution.dry_run:
            print_dry_run(
                replace(found.inventory, used=found.runs),
                found.datasets,
                plan,
                study_as_lines(study),
            )
            return Outcome(found.inventory, settings.output_dir)
        with found.executor(request, plan.n_processes) as executor:
            removed = components_to_regress_out(maps, space, request)
            cleaning = [reduce_task(run, space, request) for run in found.runs]
            with step("projecting runs"):
                projections = project_runs(maps, cleaning, request, executor, removed)
            projected = [one.run for one in projections.runs]
            inventory = found.inventory.with_used(projected).with_failed(projections.failed)
            keep_inventory(found.datasets, inventory, settings)
            warn_of_empty_volumes(projected)
            if not projections.runs:
                raise NidecompError(f"Every run failed:\n{inventory.failures()}")
            comparison = compare_participants(
                study, maps, projections, inventory.failed, executor, step
            )
            result = GroupResult(
                settings=settings.shared(),
                datasets=found.datasets,
                inventory=inventory,
                reduced=(),
                space=space,
                components=maps,
                projections=projections,
                comparison=comparison,
            )
            with step("writing"):
                tree = write_template_projections(result, is_job=is_job)
            is_reported = is_job or write_report(tree, settings, plan.n_threads, found.monitor)
            tree.finish()
        n_done = count(len(projections.runs), "run")
        _LOG.info("Projected %s; the results are in %s", n_done, settings.output_dir)
        is_compared = study is None or comparison is not None
        return Outcome(inventory, settings.output_dir, len(maps), is_reported, is_compared)
