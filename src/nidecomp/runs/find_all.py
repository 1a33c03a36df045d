"""Find the runs of several datasets, and put them together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from nidecomp.bids.checks import SPACES_OF_PARTICIPANTS, SPACES_OF_RUNS
from nidecomp.bids.datasets import Dataset, Datasets, all_requests, none_left, reason_of
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.config.science import Selection
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.core.inventory import Inventory, LostDataset, UnmatchedFolder
from nidecomp.core.records import RunKey
from nidecomp.core.text import in_one_line
from nidecomp.execution.executor import Executor
from nidecomp.runs.find import find_usable_runs
from nidecomp.runs.sites import find_runs_of_site

_LOG = logging.getLogger(__name__)


def find_runs_of_datasets(
    datasets: Datasets, lost: Iterable[LostDataset], settings: Settings, executor: Executor
) -> Inventory:
    """Return the runs of all datasets, with the dataset's name before the participant's label.

    Parameters
    ----------
    datasets : Datasets
    lost : iterable of LostDataset
        Those that are not there.
    settings : Settings
    executor : Executor
        Inspects runs where there are many. The results do not depend on it.

    Returns
    -------
    Inventory
        A dataset that cannot be used is listed with the reason.

    Raises
    ------
    NothingToDoError
        No dataset can be used, or nobody has a label that was named.
    """
    if not datasets.are_several:
        return _find(datasets.found[0], settings, executor)
    not_used = list(lost)
    own = _own_settings(datasets, not_used, settings)
    if not own:
        named = " ".join(settings.science.selection.participant_label)
        raise NothingToDoError(
            f"--participant-label {named}: of these, nobody is in a dataset that can be used.\n"
            + "\n".join(map(_in_words, not_used))
        )
    found: list[Inventory] = []
    for one in datasets.found:
        if one.name not in own:
            continue
        _LOG.info("Dataset %s (%s):", one.link, one.path)
        try:
            runs = _find(one, own[one.name], executor)
            _check_place(runs, found)
        except NidecompError as error:
            reason = in_one_line(reason_of(error, one.name), longest=None)
            not_used.append(LostDataset(one.name, one.path, reason))
            continue
        found.append(_named(runs, one.name))
    together = replace(_together(found), lost=tuple(sorted(not_used, key=lambda one: one.name)))
    if not together.used:
        raise NothingToDoError(none_left(with_lost(together, datasets).lost))
    return together


def with_lost(inventory: Inventory, datasets: Datasets) -> Inventory:
    """Return an inventory in which datasets are lost of which every run is refused.

    Parameters
    ----------
    inventory : Inventory
        After all checks.
    datasets : Datasets

    Returns
    -------
    Inventory
    """
    if not datasets.are_several:
        return inventory
    lost = list(inventory.lost)
    used = {run.key.dataset for run in inventory.used}
    for one in datasets.found:
        refused = tuple(run for run in inventory.refused if run.key.dataset == one.name)
        if refused and one.name not in used:
            why = in_one_line(Inventory(refused=refused).reasons(), longest=None)
            lost.append(LostDataset(one.name, one.path, f"all of its runs are refused: {why}"))
    return replace(inventory, lost=tuple(sorted(lost, key=lambda one: one.name)))


def _find(dataset: Dataset, settings: Settings, executor: Executor) -> Inventory:
    if dataset.is_reduced:
        return find_runs_of_site(dataset.root, settings)
    return find_usable_runs(dataset.root, settings, executor)


def warn_of_lost(lost: Iterable[LostDataset]) -> None:
    """Log the datasets that cannot be used, with their reasons."""
    for one in lost:
        _LOG.error("%s", _in_words(one))


def _in_words(one: LostDataset) -> str:
    return f"Dataset {one.name or OF_BIDS_DIR} ({one.path}) cannot be used: {one.reason}"


# ---------------------------------------------------------------- participants by their labels
def _own_settings(
    datasets: Datasets, lost: Sequence[LostDataset], settings: Settings
) -> dict[str, Settings]:
    """Return the settings of each dataset of which participants may take part, by its name."""
    selection = settings.science.selection
    named, excluded = selection.participant_label, selection.exclude_participant_label
    labels = {one.name: one.participants() for one in datasets.found}
    _check_known(datasets, labels, lost, selection)
    requests = {one.name: one for one in all_requests(settings)}
    own: dict[str, Settings] = {}
    for one in datasets.found:
        mine = _labels_in(one, labels[one.name], named)
        # A job of a cluster array needs the runs of all participants for the group mask.
        if named and not mine and settings.analysis_level == "group":
            continue
        science = settings.science
        narrowed = replace(
            selection,
            participant_label=mine,
            exclude_participant_label=_labels_in(one, labels[one.name], excluded),
        )
        narrowed_settings = replace(settings, science=replace(science, selection=narrowed))
        request = requests[one.name]
        own[one.name] = narrowed_settings.of_dataset(request) if one.name else narrowed_settings
    return own


def _labels_in(one: Dataset, there: frozenset[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that participants of one dataset have in it, of those given."""
    own = (label.removeprefix(one.name) for label in labels if label.startswith(one.name))
    return tuple(label for label in own if label in there)


def _check_known(
    datasets: Datasets,
    labels: dict[str, frozenset[str]],
    lost: Sequence[LostDataset],
    selection: Selection,
) -> None:
    """Check that somebody has each label, so that no mistyped label is silently ignored.

    Those of a dataset that is not there cannot be known.
    """
    known = {one.name + label for one in datasets.found for label in labels[one.name]}
    not_there = tuple(one.name for one in lost)
    for option, given in (
        ("participant-label", selection.participant_label),
        ("exclude-participant-label", selection.exclude_participant_label),
    ):
        unknown = [label for label in given if label not in known]
        unknown = [label for label in unknown if not label.startswith(not_there)]
        if unknown:
            shown = ", ".join(sorted(known)[:20]) + (", …" if len(known) > 20 else "")
            raise NothingToDoError(
                f"--{option} {' '.join(unknown)}: no dataset has this participant (labels begin "
                f"with the name of the dataset, but for those of BIDS_DIR); found: {shown}."
                + "".join(f"\n{_in_words(one)}" for one in lost)
            )


# ---------------------------------------------------------------- putting together
def _named(runs: Inventory, dataset: str) -> Inventory:
    """Return runs as those of one dataset of several."""

    def key(of_run: RunKey) -> RunKey:
        return of_run.of_dataset(dataset)

    return Inventory(
        used=tuple(
            replace(run, files=replace(run.files, key=key(run.files.key))) for run in runs.used
        ),
        refused=tuple(replace(run, key=key(run.key)) for run in runs.refused),
        failed=tuple(replace(run, key=key(run.key)) for run in runs.failed),
        unmatched=tuple(_named_folder(one, dataset) for one in runs.unmatched),
    )


def _named_folder(folder: UnmatchedFolder, dataset: str) -> UnmatchedFolder:
    return replace(folder, name=folder.name.replace("sub-", f"sub-{dataset}", 1))


def _together(found: Sequence[Inventory]) -> Inventory:
    """Return the runs of all datasets, sorted by name."""
    return Inventory(
        used=tuple(sorted((run for one in found for run in one.used), key=lambda r: r.label)),
        refused=tuple(
            sorted((run for one in found for run in one.refused), key=lambda r: r.key.label)
        ),
        failed=tuple(
            sorted((run for one in found for run in one.failed), key=lambda r: r.key.label)
        ),
        unmatched=tuple(
            sorted((one for part in found for one in part.unmatched), key=lambda u: u.name)
        ),
    )


def _check_place(runs: Inventory, before: Sequence[Inventory]) -> None:
    """Check that the maps of a dataset's runs can be those of the others.

    Raises
    ------
    UsageError
        Their voxels do not correspond.
    """
    place, other = _place(runs), next(filter(None, map(_place, before)), None)
    if place is None or other is None:
        return
    if place.space in SPACES_OF_PARTICIPANTS | SPACES_OF_RUNS:
        raise UsageError(
            f"space-{place.space} is the own space of each participant or run, in which the voxels "
            "of several datasets do not correspond: choose a template's space with --space"
        )
    if place != other:
        raise UsageError(
            f"its images are in {place.in_words}, those of the datasets before it in "
            f"{other.in_words}: all datasets must have the same space"
            + (" and density" if place.den or other.den else "")
        )


class _Place(NamedTuple):
    """The space of images, the cohort of its template, and the density of its surfaces."""

    space: str
    cohort: str | None
    den: str | None

    @property
    def in_words(self) -> str:
        """The entities in file names."""
        more = (("cohort", self.cohort), ("den", self.den))
        return f"space-{self.space}" + "".join(f"_{name}-{of}" for name, of in more if of)


def _place(runs: Inventory) -> _Place | None:
    # All runs of a dataset have the same.
    for run in runs.used:
        return _Place(run.files.space, run.files.cohort, run.files.den)
    return None
