"""The checks before any image is read: refuse requests that the data cannot meet.

What can be checked without the data is checked before (`start.check_request`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from nidecomp.annex.fetched import without_leftovers
from nidecomp.annotation.atlases import label_atlas
from nidecomp.annotation.select import check_words
from nidecomp.bids.datasets import Datasets, Located, locate_datasets
from nidecomp.bids.same_input import check_kept
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.decomposition.choose_model_order import check_participants
from nidecomp.decomposition.stability import hold_out
from nidecomp.execution.choose import early_workers, open_executor, workers_started_early
from nidecomp.execution.executor import Executor
from nidecomp.execution.monitor import Monitor
from nidecomp.execution.progress import logging_to
from nidecomp.outputs.dataset import exclusive_output, keep_inventory
from nidecomp.outputs.name_lengths import refuse_long_names
from nidecomp.outputs.resources import recording_steps
from nidecomp.runs.find import runs_of_participants
from nidecomp.runs.find_all import find_runs_of_datasets, warn_of_lost, with_lost
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.reduce import warm_up
from nidecomp.runs.signal import MASK_FOLDER
from nidecomp.runs.sites import refuse_other_spaces
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is known before any image is read.

    Parameters
    ----------
    datasets : Datasets
        The preprocessed datasets.
    inventory : Inventory
        Every run that was found; those that are used share a feature space.
    runs : tuple of UsableRun
        The usable runs of the participants named: those that are worked on.
    space : FeatureSpace
        The space that they share.
    monitor : Monitor
        Measures the steps.
    end_workers : callable
        Ends workers that were started early.
    is_locked : bool
        Whether other processes are kept from the output folder. It is not locked before it exists.
    """

    datasets: Datasets
    inventory: Inventory
    runs: tuple[UsableRun, ...]
    space: FeatureSpace
    monitor: Monitor
    end_workers: Callable[[], None]
    is_locked: bool

    @contextmanager
    def executor(self, request: Request, n_processes: int) -> Iterator[Executor]:
        """Keep the output folder for this run alone, and open what does the work.

        Parameters
        ----------
        request : Request
        n_processes : int
            How many may work at once on this machine.

        Yields
        ------
        Executor
        """
        with (
            nullcontext() if self.is_locked else exclusive_output(request.asked),
            open_executor(request, n_processes, self.monitor) as executor,
        ):
            yield executor


@contextmanager
def prepare(
    settings: Settings, command: Sequence[str], located: Located | None = None
) -> Iterator[Preparation]:
    """Find the runs, and bring them to one grid and mask.

    Inside the context the log is written, steps are measured and workers are kept.

    Parameters
    ----------
    settings : Settings
    command : sequence of str
        The words of the command line, for the record.
    located : tuple, optional
        The datasets, where they were looked for already (`start.check_request`).

    Yields
    ------
    Preparation

    Raises
    ------
    UsageError, NothingToDoError
        The request cannot be met.
    """
    datasets, lost = located or locate_datasets(settings)
    roots = [one.root for one in datasets.found]
    # Taken before the log is opened, so that it has no lines of another process.
    is_locked = settings.output_dir.is_dir() and not settings.execution.dry_run
    with (
        exclusive_output(settings) if is_locked else nullcontext(),
        logging_to(settings),
        recording_steps(settings, command) as monitor,
        # Those that `start.carry_out` has started already, where it was called.
        workers_started_early(settings, warm_up) as end_workers,
        without_leftovers(roots) if settings.execution.fetch else nullcontext(),
    ):
        # The log begins with what was found: where nothing can be done, none is written.
        with monitor.step("finding runs", announced=False):
            found = find_runs_of_datasets(datasets, lost, settings, early_workers(settings))
            inventory = refuse_long_names(found, settings)
            space, inventory = _share_space(datasets, inventory, settings)
        if settings.analysis_level == "group" or settings.science.projection.maps is not None:
            check_kept(settings.output_dir, inventory.lost)
        check_words(space, settings)
        runs = runs_of_participants(inventory, settings.science.selection.participant_label)
        yield Preparation(datasets, inventory, runs, space, monitor, end_workers, is_locked)


def _share_space(
    datasets: Datasets, inventory: Inventory, settings: Settings
) -> tuple[FeatureSpace, Inventory]:
    """Find the feature space that all runs share; raise where no run is left."""
    cache = None if settings.execution.dry_run else settings.work_dir / MASK_FOLDER
    space, inventory = share_space(
        inventory, settings.science.masking, cache, settings.work_dir, early_workers(settings)
    )
    if space is not None:
        inventory = with_lost(refuse_other_spaces(inventory, space), datasets)
    if space is None or not inventory.used:
        keep_inventory(datasets, inventory, settings)
        raise NothingToDoError(
            f"None of the {count(len(inventory.refused), 'run')} found can be used:\n"
            + inventory.reasons()
        )
    warn_of_lost(inventory.lost)
    if inventory.refused:
        refused = count(len(inventory.refused), "run")
        _LOG.warning("Refused %s by a rule:\n%s", refused, inventory.reasons())
    if unmatched := inventory.unmatched_as_lines():
        _LOG.warning("No run that matches the selection in:\n%s", unmatched)
    if notes := inventory.notes_as_lines():
        _LOG.warning("Notes on runs that are used:\n%s", notes)
    return space, inventory


def draw_held_out(
    runs: Sequence[UsableRun], space: FeatureSpace, request: Request
) -> frozenset[str]:
    """Draw the participants that are left out of the fit, and check that the evidence can be had.

    Parameters
    ----------
    runs : sequence of UsableRun
        The runs to be reduced.
    space : FeatureSpace
    request : Request

    Returns
    -------
    frozenset of str
        Labels of the participants that ``--holdout`` leaves out.

    Raises
    ------
    UsageError, NothingToDoError
        ``--label-atlas`` cannot be read, or too few participants are left to be fitted.
    """
    options = request.science.evidence
    if request.extent.level == "full" and options.label_atlas:
        # It is read again when it is needed, so that the fit has its memory.
        atlas = Path(options.label_atlas)
        label_atlas(atlas, space)
        if lacking := space.without_values(atlas):
            _LOG.warning(
                "--label-atlas %s is a volume, and counts as 0 on %s, where it has no values",
                atlas,
                lacking,
            )
    participants = [run.participant for run in runs]
    out = hold_out(participants, options.holdout, request.science.decomposition.random_seed)
    if len(out) == len(set(participants)):
        raise NothingToDoError(
            f"--holdout {options.holdout:g} leaves none of {count(len(out), 'participant')} to be "
            "fitted."
        )
    if request.science.decomposition.is_auto:
        check_participants([one for one in participants if one not in out])
    if out:
        _LOG.info("Left out of the fit: %s", ", ".join(f"sub-{label}" for label in out))
    return frozenset(out)
