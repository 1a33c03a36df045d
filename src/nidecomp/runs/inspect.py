"""Check whether a run can be used, from its header, sidecar and confounds table."""

from __future__ import annotations

import math
from pathlib import Path

from nidecomp.config.science import Denoising
from nidecomp.core.errors import FailedRunError, RefusedRunError
from nidecomp.core.records import RefusedRun, RunFiles, UsableRun
from nidecomp.core.text import in_one_line, parse_json, read_text
from nidecomp.runs.nuisance import build_nuisance_model
from nidecomp.runs.strategy import relies_on_aroma_images
from nidecomp.spaces.images import Header, read_header

# Headers store float32 seconds (or whole milliseconds), so that smaller differences are ignored.
_SAME_TIME_S = 1e-3
_AROMA = "smoothAROMAnonaggr"
# Longer than any repetition time; a larger value is probably in milliseconds.
_LONGEST_S = 1000.0


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
    sidecar = read_sidecar(files.bold)
    repetition_time_s, notes = _repetition_time(sidecar, header)
    design = build_nuisance_model(files.confounds, header.n_volumes, repetition_time_s, denoising)
    if files.desc == _AROMA and denoising.smoothing_fwhm > 0:
        notes += (f"smoothed by ICA-AROMA and again with {denoising.smoothing_fwhm:g} mm",)
    if files.image_is_gone:
        notes += ("its image is not there any more: the reduced run in the work folder is used",)
    n_kept, n_regressors = len(design.kept), design.nuisance.shape[1]
    if n_kept < denoising.min_volumes:
        raise RefusedRunError(
            f"{n_kept} of its {header.n_volumes} volumes are left, fewer than --min-volumes "
            f"{denoising.min_volumes}"
        )
    if design.degrees_of_freedom < n_rows:
        raise RefusedRunError(
            f"it is too short: {n_kept} of its {header.n_volumes} volumes are left after "
            f"scrubbing; minus {n_regressors} regressors, {design.degrees_of_freedom} degrees of "
            f"freedom remain, but --n-components requires {n_rows}"
        )
    return UsableRun(
        files=files,
        grid=header.grid,
        repetition_time_s=repetition_time_s,
        start_time_s=_seconds(sidecar.get("StartTime")),
        n_volumes=header.n_volumes,
        stored_bytes=header.stored_bytes,
        kept=tuple(design.kept.tolist()),
        n_regressors=n_regressors,
        mean_fd_mm=design.mean_fd_mm,
        notes=notes,
    )


def sidecar_path(image: Path) -> Path:
    """Return the path of the JSON sidecar of an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def read_sidecar(image: Path) -> dict[str, object]:
    """Read the JSON sidecar of an image; empty if there is none.

    Raises
    ------
    RefusedRunError
        It cannot be read, or does not contain a JSON object.
    """
    path = sidecar_path(image)
    try:
        if path.exists() and not path.is_file():
            raise RefusedRunError(f"its sidecar {path.name} is not a regular file")
        content = parse_json(read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its sidecar {path.name} cannot be read: {in_one_line(error)}"
        ) from None
    if not isinstance(content, dict):
        raise RefusedRunError(f"its sidecar {path.name} does not contain a JSON object")
    return content


def _repetition_time(sidecar: dict[str, object], header: Header) -> tuple[float, tuple[str, ...]]:
    """Return the repetition time in seconds, from the sidecar or the header, and notes on it."""
    in_sidecar = sidecar.get("RepetitionTime")
    in_header = header.repetition_time_s
    if in_sidecar is None:
        if in_header is None:
            raise RefusedRunError(
                "its repetition time is unknown: it is neither in its sidecar (RepetitionTime) nor "
                "in its header (pixdim[4])"
            )
        if in_header >= _LONGEST_S:
            raise RefusedRunError(
                f"the repetition time in its header is {in_header:g} s, which is probably in "
                "milliseconds, and its sidecar has no RepetitionTime"
            )
        return in_header, (f"RepetitionTime {in_header:g} s from the header, not the sidecar",)
    seconds = _seconds(in_sidecar)
    if seconds is None or not 0 < seconds < _LONGEST_S:
        raise RefusedRunError(
            f"RepetitionTime is {in_one_line(repr(in_sidecar))} in its sidecar, which is not a "
            "valid time in seconds"
        )
    if in_header is not None and abs(in_header - seconds) > _SAME_TIME_S:
        raise RefusedRunError(
            f"RepetitionTime is {seconds:g} s in its sidecar, but {in_header:g} s in its header: "
            "correct the wrong one"
        )
    return seconds, ()


def _seconds(value: object) -> float | None:
    """Return a value of a sidecar as a float, or None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
