"""Is a run usable? Answered from its small files alone, before any voxel is read."""

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

# A header stores float32 seconds (or whole milliseconds): smaller differences mean nothing.
_SAME_TIME_S = 1e-3
_AROMA = "smoothAROMAnonaggr"
# No volume takes this long; milliseconds written as seconds do.
_LONGEST_S = 1000.0


def inspect_run(files: RunFiles, denoising: Denoising, n_rows: int) -> UsableRun | RefusedRun:
    """Check one run's header, sidecar and confounds.

    Parameters
    ----------
    files : RunFiles
    denoising : Denoising
        How it is to be cleaned.
    n_rows : int
        How many rows must be left of it.

    Returns
    -------
    UsableRun or RefusedRun
        Never raises for what is wrong with the run: the reason is in the record.
    """
    try:
        return _inspect(files, denoising, n_rows)
    except (RefusedRunError, FailedRunError) as error:
        # One line, whatever a library put into its message: the reason becomes a cell of a table.
        return RefusedRun(files.key, files.bold, in_one_line(error, longest=None))
    except MemoryError:
        return RefusedRun(files.key, files.bold, "there was not enough memory to look at it")


def _inspect(files: RunFiles, denoising: Denoising, n_rows: int) -> UsableRun:
    if relies_on_aroma_images(denoising) and files.desc != _AROMA:
        raise RefusedRunError(
            f"it is desc-{files.desc}, and the strategy ica_aroma relies on images that ICA-AROMA "
            f"has denoised: --desc-label {_AROMA} --space MNI152NLin6Asym (fMRIPrep before 23.1); "
            'or {"strategy": ["ica_aroma"], "ica_aroma": "basic"} as a JSON strategy'
        )
    header = read_header(files.bold)
    sidecar = read_sidecar(files.bold)
    repetition_time_s, notes = _repetition_time(sidecar, header)
    design = build_nuisance_model(files.confounds, header.n_volumes, repetition_time_s, denoising)
    if files.desc == _AROMA and denoising.smoothing_fwhm > 0:
        notes += (f"smoothed by ICA-AROMA and again by {denoising.smoothing_fwhm:g} mm",)
    n_kept, n_regressors = len(design.kept), design.nuisance.shape[1]
    if n_kept < denoising.min_volumes:
        raise RefusedRunError(
            f"{n_kept} of its {header.n_volumes} volumes are left, fewer than --min-volumes "
            f"{denoising.min_volumes}"
        )
    if design.degrees_of_freedom < n_rows:
        raise RefusedRunError(
            f"it is too short: {n_kept} of its {header.n_volumes} volumes are left after scrubbing "
            f"and dropping; less {n_regressors} regressors that makes "
            f"{design.degrees_of_freedom}, fewer than the {n_rows} that --n-components needs"
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
    """Name the JSON file that belongs to an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def read_sidecar(image: Path) -> dict[str, object]:
    """Read the JSON file that belongs to an image; nothing where there is none.

    Raises
    ------
    RefusedRunError
        It cannot be read, or holds no JSON object.
    """
    path = sidecar_path(image)
    try:
        if path.exists() and not path.is_file():
            raise RefusedRunError(f"its sidecar {path.name} is no file")
        content = parse_json(read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RefusedRunError(
            f"its sidecar {path.name} cannot be read: {in_one_line(error)}"
        ) from None
    if not isinstance(content, dict):
        raise RefusedRunError(f"its sidecar {path.name} holds no JSON object")
    return content


def _repetition_time(sidecar: dict[str, object], header: Header) -> tuple[float, tuple[str, ...]]:
    """Take the repetition time from the sidecar, checked against the header."""
    said = sidecar.get("RepetitionTime")
    in_header = header.repetition_time_s
    if said is None:
        if in_header is None:
            raise RefusedRunError(
                "its repetition time is unknown: neither its sidecar (RepetitionTime) nor its "
                "header (pixdim[4]) has one"
            )
        if in_header >= _LONGEST_S:
            raise RefusedRunError(
                f"its header's repetition time is {in_header:g} s, which looks like milliseconds, "
                "and its sidecar has no RepetitionTime"
            )
        return in_header, (f"RepetitionTime {in_header:g} s from the header, not the sidecar",)
    seconds = _seconds(said)
    if seconds is None or not 0 < seconds < _LONGEST_S:
        raise RefusedRunError(
            f"its sidecar's RepetitionTime is {in_one_line(repr(said))}, which is no time in s"
        )
    if in_header is not None and abs(in_header - seconds) > _SAME_TIME_S:
        raise RefusedRunError(
            f"its sidecar says RepetitionTime {seconds:g} s and its header {in_header:g} s: "
            "correct the one that is wrong"
        )
    return seconds, ()


def _seconds(value: object) -> float | None:
    """Take a number from a sidecar; anything else is nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
