"""Check whether a run can be used, from its header, sidecar and confounds table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nidecomp.config.science import METHODS, Denoising
from nidecomp.core.errors import FailedRunError, RefusedRunError
from nidecomp.core.inventory import RefusedRun
from nidecomp.core.records import RunFiles, UsableRun
from nidecomp.core.surface_files import kind_of_series
from nidecomp.core.text import in_one_line
from nidecomp.runs.group_mask import with_mask_checked
from nidecomp.runs.left import degrees_left, volumes_left
from nidecomp.runs.nuisance import build_nuisance_model
from nidecomp.runs.repetition_time import as_seconds, repetition_time
from nidecomp.runs.sidecars import Entry, sidecar_entries
from nidecomp.runs.strategy import relies_on_aroma_images
from nidecomp.spaces.headers import read_header
from nidecomp.spaces.images import Header

_AROMA = "smoothAROMAnonaggr"


@dataclass(frozen=True, eq=False)
class InspectTask:
    """Everything that the inspection of a run depends on: see `inspect_run`."""

    files: RunFiles
    denoising: Denoising
    n_rows: int
    known_header: Header | None = None


def inspect(task: InspectTask) -> UsableRun | RefusedRun:
    """Check the header, sidecar, confounds table and brain mask of a run.

    Parameters
    ----------
    task : InspectTask

    Returns
    -------
    UsableRun or RefusedRun
    """
    record = inspect_run(task.files, task.denoising, task.n_rows, task.known_header)
    if isinstance(record, RefusedRun):
        return record
    try:
        return with_mask_checked(record)
    except FailedRunError as error:
        return RefusedRun(record.key, record.files.bold, str(error))


def inspect_run(
    files: RunFiles, denoising: Denoising, n_rows: int, known_header: Header | None = None
) -> UsableRun | RefusedRun:
    """Check the header, sidecar and confounds table of a run.

    Parameters
    ----------
    files : RunFiles
    denoising : Denoising
        The options for cleaning.
    n_rows : int
        Minimum degrees of freedom after cleaning.
    known_header : Header, optional
        The header of an image that is not there any more.

    Returns
    -------
    UsableRun or RefusedRun
        Problems with the run are not raised, but recorded as the reason of a RefusedRun.
    """
    try:
        return _inspect(files, denoising, n_rows, known_header)
    except (RefusedRunError, FailedRunError) as error:
        # Messages of libraries may have several lines, but the reason is written to a table.
        return RefusedRun(files.key, files.bold, in_one_line(error, longest=None))
    except MemoryError:
        return RefusedRun(files.key, files.bold, "there was not enough memory to check it")


def _inspect(
    files: RunFiles, denoising: Denoising, n_rows: int, known_header: Header | None
) -> UsableRun:
    if relies_on_aroma_images(denoising) and files.desc != _AROMA:
        raise RefusedRunError(
            f"it is desc-{files.desc}, but --denoise-strategy ica_aroma needs images denoised by "
            f"ICA-AROMA: use --desc-label {_AROMA} --space MNI152NLin6Asym (fMRIPrep before 23.1), "
            'or a JSON strategy with {"strategy": ["ica_aroma"], "ica_aroma": "basic"}'
        )
    header = known_header or read_header(files.bold)
    said = sidecar_entries(files)
    kind = kind_of_series(files.bold)
    time = repetition_time(said, header.repetition_time_s, header.n_volumes, kind)
    design = build_nuisance_model(
        files.confounds,
        header.n_volumes,
        time.seconds,
        denoising,
        sidecars=files.confounds_sidecars,
    )
    run = UsableRun(
        files=files,
        grid=header.grid,
        repetition_time_s=time.seconds,
        start_time_s=as_seconds(said["StartTime"].value) if "StartTime" in said else None,
        n_volumes=header.n_volumes,
        stored_bytes=header.stored_bytes,
        kept=tuple(design.kept.tolist()),
        n_regressors=design.nuisance.shape[1],
        mean_fd_mm=design.mean_fd_mm,
        notes=(
            *files.notes,
            *_gone_notes(files),
            *time.notes,
            *_start_notes(said),
            *_smoothing_notes(files.desc, denoising),
            *design.notes,
        ),
        repetition_time_source=time.source,
        regressors=design.regressors,
        dropped=design.dropped,
    )
    check_long_enough(run, denoising, n_rows)
    return run


def check_long_enough(run: UsableRun, denoising: Denoising, n_rows: int) -> None:
    """Check that enough of a run is left.

    Parameters
    ----------
    run : UsableRun
    denoising : Denoising
    n_rows : int
        Minimum degrees of freedom after cleaning.

    Raises
    ------
    RefusedRunError
    """
    left = volumes_left(run.n_kept, run.n_volumes)
    if run.n_kept < denoising.min_volumes:
        raise RefusedRunError(f"{left}, fewer than --min-volumes {denoising.min_volumes}")
    if run.degrees_of_freedom < n_rows:
        raise RefusedRunError(
            f"it is too short: {left} after scrubbing; "
            f"{degrees_left(run.n_regressors, run.degrees_of_freedom)}, but --n-components "
            f"requires {n_rows}"
        )


def _gone_notes(files: RunFiles) -> tuple[str, ...]:
    """Return a note if the image was removed after the run was reduced."""
    if not files.image_is_gone:
        return ()
    return (
        "its image is not there any more: its reduced run is used, if the work folder has one "
        "with these settings",
    )


def _start_notes(said: Mapping[str, Entry]) -> tuple[str, ...]:
    """Return a note if the start time of the sidecar is not a number."""
    if "StartTime" not in said or as_seconds(said["StartTime"].value) is not None:
        return ()
    return ("StartTime in its sidecar is not a number and was ignored",)


def _smoothing_notes(desc: str | None, denoising: Denoising) -> tuple[str, ...]:
    """Return a note if images that were smoothed before are smoothed again."""
    # Dictionary learning may have a kernel of its own.
    kernels = {denoising.smoothing_of(method) for method in METHODS} - {0.0}
    if desc is None or "smooth" not in desc.lower() or not kernels:
        return ()
    widths = " and ".join(f"{fwhm:g} mm" for fwhm in sorted(kernels))
    return (f"the images (desc-{desc}) were smoothed before, and are smoothed again with {widths}",)
