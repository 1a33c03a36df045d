"""Can the request be met at all? Answered from its words, its folders and what OUTPUT_DIR holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nidecomp.bids.dataset import (
    SETTINGS,
    check_folders,
    check_outside,
    link_to,
    locate_derivatives,
    source_of,
)
from nidecomp.config.parse import read_config_file
from nidecomp.config.science import science_as_tables
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.execution.choose import check_executor


def check_request(settings: Settings) -> Path:
    """Check folders, files and what OUTPUT_DIR holds, before anything is written anywhere.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Path
        The preprocessed dataset.

    Raises
    ------
    UsageError
    """
    execution = settings.execution
    check_executor(execution)
    root = locate_derivatives(settings.bids_dir, skip_validation=execution.skip_bids_validation)
    check_folders(settings.bids_dir, root, settings.output_dir)
    check_outside(settings.bids_dir, root, settings.work_dir, "--work-dir")
    mask = settings.science.masking.mask
    atlas = settings.science.evidence.label_atlas
    for option, file in (("--mask", mask), ("--label-atlas", atlas)):
        if file is not None and not Path(file).is_file():
            raise UsageError(f"{option} {file}: there is no such file.")
    maps = settings.science.projection.maps
    if maps is not None and not Path(maps).exists():
        raise UsageError(f"--maps {maps}: there is no such file or folder.")
    if execution.bids_database_dir:
        database = Path(execution.bids_database_dir)
        check_outside(settings.bids_dir, root, database, "--bids-database-dir")
    if (settings.analysis_level == "group" or maps is not None) and not execution.dry_run:
        _check_same_request(root, of_all_jobs(settings))
    return root


def _check_same_request(root: Path, settings: Settings) -> None:
    """Refuse an output folder that was made from another input or with other settings."""
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
    before["input"], now["input"] = source_of(settings.output_dir), link_to(root, settings)
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


def of_all_jobs(settings: Settings) -> Settings:
    """Give the settings that all jobs have in common: not whose each is."""
    if settings.analysis_level == "group":
        return settings
    selection = replace(settings.science.selection, participant_label=())
    return replace(settings, science=replace(settings.science, selection=selection))
