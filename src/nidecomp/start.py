"""Start what the settings ask for: check the request, then start workers before the slow imports.

numpy, nilearn, numba and pybids take seconds to import. Therefore this module imports none of them,
and worker processes import them while this process does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nidecomp.annex.commands import check_installed
from nidecomp.annex.subdatasets import install, is_not_installed
from nidecomp.bids.dataset import (
    SETTINGS,
    check_folders,
    check_outside,
    link_to,
    locate_derivatives,
    source_of,
)
from nidecomp.bids.same_input import made_from
from nidecomp.config.parse import read_config_file
from nidecomp.config.science import science_as_tables
from nidecomp.config.settings import Settings
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import UsageError
from nidecomp.core.garbage import no_garbage
from nidecomp.core.numba_settings import set_up_numba
from nidecomp.execution.choose import check_executor, workers_started_early

if TYPE_CHECKING:
    from nidecomp.outputs.result import Outcome


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
    check_request(settings)
    # Its settings are environment variables, which workers get at their start.
    set_up_numba()
    with workers_started_early(settings, warm_up):
        with no_garbage():
            from nidecomp.pipeline import run, run_participant_job  # noqa: PLC0415
            from nidecomp.pipeline_maps import run_maps  # noqa: PLC0415
        if settings.science.projection.maps is not None:
            return run_maps(settings, command)
        if settings.analysis_level == "participant":
            return run_participant_job(settings, command)
        return run(settings, command)


def warm_up() -> None:
    """Import what the reduce step needs and compile its loops, in a worker."""
    with no_garbage():
        from nidecomp.runs import reduce  # noqa: PLC0415
    reduce.warm_up()


def check_request(settings: Settings) -> None:
    """Check folders, files and what OUTPUT_DIR holds, before anything is written anywhere.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    UsageError
    """
    execution = settings.execution
    check_executor(execution)
    prepare_fetching(settings)
    root = locate_derivatives(settings.bids_dir, skip_validation=execution.skip_bids_validation)
    check_folders(settings.bids_dir, root, settings.output_dir)
    check_outside(settings.bids_dir, root, settings.work_dir, "--work-dir")
    mask = settings.science.masking.mask
    atlas = settings.science.evidence.label_atlas
    for option, file in (("--mask", mask), ("--label-atlas", atlas)):
        if file is not None:
            _check_file(option, Path(file))
    maps = settings.science.projection.maps
    if maps is not None and not Path(maps).is_dir():
        _check_file("--maps", Path(maps))
    if execution.bids_database_dir:
        database = Path(execution.bids_database_dir)
        check_outside(settings.bids_dir, root, database, "--bids-database-dir")
    if settings.analysis_level == "group" or maps is not None:
        _check_same_request(root, settings.shared())


def prepare_fetching(settings: Settings) -> None:
    """With ``--fetch``, install a subdataset that BIDS_DIR is; else say how, if it is one.

    Raises
    ------
    UsageError
        git-annex is missing, or the subdataset is not installed.
    """
    if settings.execution.fetch:
        check_installed()
    for folder in (settings.bids_dir, *settings.bids_dir.glob("derivatives/fmriprep*")):
        if not is_not_installed(folder):
            continue
        if not settings.execution.fetch:
            raise UsageError(
                f"{folder} is a DataLad subdataset that is not installed: try 'datalad get -n "
                f"{folder}', or --fetch, which also fetches the content of files as it is needed."
            )
        install(folder)


def _check_file(option: str, path: Path) -> None:
    if is_not_fetched(path):
        raise UsageError(f"{option}: {not_fetched('the file', path)}.")
    if not path.is_file():
        raise UsageError(f"{option} {path} does not exist or is not a file.")


def _check_same_request(root: Path, settings: Settings) -> None:
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
    now: dict[str, object] = {
        name: value
        for table in science_as_tables(settings.science).values()
        for name, value in table.items()
    }
    link = link_to(root, settings)
    linked = source_of(settings.output_dir)
    if linked != link and not made_from(settings.output_dir, root):
        before["input"], now["input"] = linked, link
    different = [
        f"{name} was {before.get(name, 'not set')!r} and is {now.get(name, 'not set')!r}"
        for name in sorted(set(before) | set(now))
        if before.get(name) != now.get(name)
    ]
    if different:
        raise UsageError(
            f"OUTPUT_DIR {settings.output_dir} holds results of another request: "
            f"{'; '.join(different)}. Choose another folder (reduced runs are found again with "
            f"--work-dir {settings.work_dir}), or delete this one."
        )
