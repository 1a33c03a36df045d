"""Start what the settings ask for: check the request, then start workers before the slow imports.

numpy, nilearn, numba and pybids take seconds to import. Therefore this module imports none of them,
and worker processes import them while this process does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nidecomp.annex.commands import check_installed
from nidecomp.annex.fetched import fetch_to_stay
from nidecomp.annex.subdatasets import make_installed
from nidecomp.bids.dataset import (
    SETTINGS,
    check_folders,
    check_outside,
    sources_of,
)
from nidecomp.bids.datasets import Datasets, Located, locate_datasets
from nidecomp.bids.participants_file import find_participants_files
from nidecomp.bids.same_input import check_kept, made_from
from nidecomp.comparison.model import model_of, named_columns, needs_table
from nidecomp.comparison.participants import check_columns, read_tables
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.comparison_checks import check_comparison
from nidecomp.config.parse import read_config_file
from nidecomp.config.settings import Settings
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.garbage import no_garbage
from nidecomp.core.inventory import LostDataset
from nidecomp.core.numba_settings import set_up_numba
from nidecomp.execution.choose import check_executor, workers_started_early

if TYPE_CHECKING:
    from nidecomp.outputs.result import Outcome

_Table = Mapping[str, object]
_Tables = Mapping[str, _Table]


def carry_out(settings: Settings, command: Sequence[str] = ()) -> Outcome:
    """Do what the settings ask for.

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
        from nidecomp.outputs.report.build import remake_report  # noqa: PLC0415  it takes long

        return remake_report(settings)
    located = check_request(settings)
    # Its settings are environment variables, which workers get at their start.
    set_up_numba()
    with workers_started_early(settings, warm_up):
        with no_garbage():
            from nidecomp.pipeline import run, run_participant_job  # noqa: PLC0415
            from nidecomp.pipeline_maps import run_maps  # noqa: PLC0415
        if settings.science.projection.maps is not None:
            return run_maps(settings, command, located)
        if settings.analysis_level == "participant":
            return run_participant_job(settings, command, located)
        return run(settings, command, located)


def warm_up() -> None:
    """Import what the reduce step needs and compile its loops, in a worker."""
    with no_garbage():
        from nidecomp.runs import reduce  # noqa: PLC0415
    reduce.warm_up()


def check_request(settings: Settings) -> Located:
    """Check folders, files and what OUTPUT_DIR holds, before anything is written anywhere.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    tuple
        The datasets, and those that are not there: see `bids.datasets.locate_datasets`.

    Raises
    ------
    UsageError
    """
    execution = settings.execution
    check_executor(execution)
    if execution.fetch:
        check_installed()
    datasets, lost = locate_datasets(settings, partial(make_installed, fetch=execution.fetch))
    _check_folders(datasets, lost, settings)
    _check_sites(datasets, settings)
    _check_comparison(datasets, settings)
    mask = settings.science.masking.mask
    atlas = settings.science.evidence.label_atlas
    for option, file in (("--mask", mask), ("--label-atlas", atlas)):
        if file is not None:
            _check_file(option, Path(file))
    surfaces = settings.science.masking.surfaces_dir
    if surfaces is not None and not Path(surfaces).is_dir():
        raise UsageError(f"--surfaces-dir {surfaces} does not exist or is not a folder.")
    maps = settings.science.projection.maps
    if maps is not None and not Path(maps).is_dir():
        _check_file("--maps", Path(maps))
    if settings.analysis_level == "group" or maps is not None:
        check_kept(settings.output_dir, lost)
        _check_same_request(datasets, settings.shared())
    return datasets, lost


def _check_folders(datasets: Datasets, lost: Iterable[LostDataset], settings: Settings) -> None:
    """Check that what is written lies outside all datasets, also of those that cannot be used."""
    database = settings.execution.bids_database_dir
    folders = [(one.path, one.root) for one in datasets.found]
    # As of a raw dataset, whose derivatives are where outputs belong.
    folders += [(one.path, one.path / "derivatives" / "fmriprep") for one in lost]
    for path, root in folders:
        check_folders(path, root, settings.output_dir)
        check_outside(path, root, settings.work_dir, "--work-dir")
        if database:
            check_outside(path, root, Path(database), "--bids-database-dir")


def _check_sites(datasets: Datasets, settings: Settings) -> None:
    """Check what is needed for reduced runs without images: no site can be used without it."""
    for one in datasets.found:
        if one.is_reduced and settings.science.projection.maps is not None:
            raise UsageError(f"{one.path} has no images that --maps could be projected to")
        if one.is_reduced and settings.science.masking.mask is None:
            raise UsageError(
                f"{one.path} has reduced runs of a site without their images: give the --mask "
                "that they were reduced with"
            )


def _check_comparison(datasets: Datasets, settings: Settings) -> None:
    """Check the model by which participants are compared, as far as no run needs to be known."""
    check_comparison(settings)
    options = settings.science.comparison
    if not options.is_asked:
        return
    if options.model_file is not None:
        _check_file("--model-file", Path(options.model_file))
    is_needed = needs_table(options)
    files = find_participants_files(datasets, options.participants_file, is_needed=is_needed)
    if settings.execution.fetch:
        for _, path in files:
            fetch_to_stay(path)
    check_columns(named_columns(model_of(options), options), read_tables(files))


def _check_file(option: str, path: Path) -> None:
    if is_not_fetched(path):
        raise UsageError(f"{option}: {not_fetched('the file', path)}.")
    if not path.is_file():
        raise UsageError(f"{option} {path} does not exist or is not a file.")


def _check_same_request(datasets: Datasets, settings: Settings) -> None:
    """Refuse an output folder that was made from another input or with other settings.

    An input that only has another path from there, as one of both was moved or copied, is the same.
    """
    path = settings.output_dir / SETTINGS
    if not path.exists():
        return
    try:
        before = read_config_file(path)
    except UsageError as error:
        raise UsageError(
            f"OUTPUT_DIR {settings.output_dir} holds results whose settings cannot be read "
            f"({error}): choose another folder, or delete this one."
        ) from None
    tables = settings.as_tables()
    # A dataset may be called like an option.
    of_datasets = [before.pop("datasets", {}), tables.pop("datasets", {})]
    # A comparison can be added to results, and replaced, without making them again.
    tables.pop("comparison", None)
    for declared in fields(ComparisonOptions):
        before.pop(declared.name, None)
    now: dict[str, object] = {}
    for table in tables.values():
        now |= table
    for one_side in (before, now):
        # Not recorded of a single dataset.
        one_side.setdefault("dataset_weights", "participants")
    differences = _differences_of_datasets(*(cast("_Tables", one) for one in of_datasets))
    links, links_now = sources_of(settings.output_dir), datasets.links(settings.output_dir)
    for one in datasets.found:
        linked, link = links.get(one.link), links_now[one.link]
        # One of several that could not be used has no link.
        if linked == link or (linked is None and datasets.are_several):
            continue
        if not made_from(settings.output_dir, one, are_several=datasets.are_several):
            name = f"dataset {one.link}" if datasets.are_several else "input"
            before[name], now[name] = linked, link
    differences += _differences(before, now)
    if differences:
        raise UsageError(
            f"OUTPUT_DIR {settings.output_dir} holds results of another request: "
            f"{'; '.join(differences)}. Choose another folder (reduced runs are found again with "
            f"--work-dir {settings.work_dir}), or delete this one."
        )


def _differences(before: _Table, now: _Table, whose: str = "") -> list[str]:
    return [
        f"{name}{whose} was {before.get(name, 'not set')!r} and is {now.get(name, 'not set')!r}"
        for name in sorted(set(before) | set(now))
        if before.get(name) != now.get(name)
    ]


def _differences_of_datasets(before: _Tables, now: _Tables) -> list[str]:
    """Return which further datasets come or go, and which of their own options differ."""
    differences: list[str] = []
    for name in sorted(set(before) | set(now)):
        if name not in now:
            differences.append(f"dataset {name} took part and does not now")
        elif name not in before:
            differences.append(f"dataset {name} takes part and did not before")
        else:
            differences += _differences(before[name], now[name], f" of dataset {name}")
    return differences
