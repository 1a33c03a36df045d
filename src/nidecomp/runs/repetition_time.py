"""Find out the repetition time of a run from its JSON files and its header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from nidecomp.core.errors import RefusedRunError
from nidecomp.core.surface_files import SurfaceKind
from nidecomp.core.text import count, quoted
from nidecomp.runs.sidecars import Entry

# Headers store float32 seconds (or whole milliseconds), so that smaller differences are ignored.
_SAME_TIME_S = 1e-3
# Any real repetition time is between these; a larger number is probably in milliseconds.
_SHORTEST_S, _LONGEST_S = 0.01, 100.0
# What some versions of fMRIPrep wrote to the header whatever the repetition time was.
_WRITTEN_ANYWAY_S = 1.0


@dataclass(frozen=True)
class RepetitionTime:
    """The repetition time of a run, where it was read, and what is unusual about it."""

    seconds: float
    source: str
    notes: tuple[str, ...] = ()


def repetition_time(
    said: Mapping[str, Entry],
    in_header: float | None,
    n_volumes: int,
    kind: SurfaceKind | None = None,
) -> RepetitionTime:
    """Return the repetition time of a run.

    Parameters
    ----------
    said : mapping of str to Entry
        What the JSON files of the image say.
    in_header : float or None
        What the header of the image says, in seconds.
    n_volumes : int
        Number of volumes of the image.
    kind : {"cifti", "gifti"}, optional
        Of grayordinates or surfaces. Nobody is known to write a wrong time into CIFTI, as into the
        headers of volumes, so that it must be the same; GIFTI files say nothing reliable.

    Returns
    -------
    RepetitionTime
        RepetitionTime of the JSON files, else the time between the onsets of the volumes
        (VolumeTiming), else that of the header.

    Raises
    ------
    RefusedRunError
        It is unknown or impossible, or files contradict each other.
    """
    nothing = Entry(None, "sidecar")
    in_sidecar, onsets = said.get("RepetitionTime", nothing), said.get("VolumeTiming", nothing)
    if in_sidecar.value is None and onsets.value is None:
        return _of_header(in_header, kind)
    spacing = None if onsets.value is None else _spacing(onsets, n_volumes)
    if in_sidecar.value is None and spacing is not None:
        seconds = _possible("the spacing of VolumeTiming", Entry(spacing, onsets.source))
        return _compared(RepetitionTime(seconds, "VolumeTiming"), in_header, kind)
    seconds = _possible("RepetitionTime", in_sidecar)
    if spacing is not None and abs(seconds - spacing) > _SAME_TIME_S:
        raise RefusedRunError(
            f"RepetitionTime is {seconds:g} s in its {in_sidecar.source}, but the spacing of "
            f"VolumeTiming is {spacing:g} s: correct the wrong one"
        )
    return _compared(RepetitionTime(seconds, in_sidecar.source), in_header, kind)


def _possible(name: str, entry: Entry) -> float:
    """Return a time in seconds after checking that it can be a repetition time."""
    seconds, value, source = as_seconds(entry.value), entry.value, entry.source
    if seconds is None or seconds <= 0:
        raise RefusedRunError(
            f"{name} is {quoted(value)} in its {source}, which is not a valid time in seconds"
        )
    if seconds > _LONGEST_S:
        raise RefusedRunError(
            f"{name} is {quoted(value)} in its {source}, which is probably in milliseconds: write "
            "it in seconds"
        )
    if seconds < _SHORTEST_S:
        raise RefusedRunError(
            f"{name} is {quoted(value)} in its {source}, which is too short for a repetition time "
            "in seconds: correct it"
        )
    return seconds


def _spacing(onsets: Entry, n_volumes: int) -> float:
    """Return the time between the volumes, given their onset times."""
    source, listed = onsets.source, onsets.value
    times = [as_seconds(onset) for onset in listed] if isinstance(listed, list) else [None]
    numbers = [time for time in times if time is not None]
    if len(numbers) < len(times):
        raise RefusedRunError(f"VolumeTiming in its {source} is not a list of numbers")
    if len(numbers) != n_volumes:
        raise RefusedRunError(
            f"VolumeTiming in its {source} has {count(len(numbers), 'onset time')}, but its "
            f"image has {count(n_volumes, 'volume')}"
        )
    if n_volumes < 2:
        raise RefusedRunError(
            f"VolumeTiming in its {source} has no two onset times, so that its repetition time is "
            "unknown"
        )
    # Rounded, because differences of decimal fractions have rounding errors.
    spacing = round((numbers[-1] - numbers[0]) / (n_volumes - 1), 6)
    steps = [after - before for before, after in pairwise(numbers)]
    if max(abs(step - spacing) for step in steps) > _SAME_TIME_S * 1.001:
        raise RefusedRunError(
            f"VolumeTiming in its {source} is not evenly spaced (for example sparse sampling); "
            "NiDecomp needs one repetition time"
        )
    return spacing


def _compared(
    found: RepetitionTime, in_header: float | None, kind: SurfaceKind | None
) -> RepetitionTime:
    """Return the time that was found after comparing it with the header's."""
    name = "VolumeTiming" if found.source == "VolumeTiming" else "RepetitionTime"
    if in_header is None or abs(in_header - found.seconds) <= _SAME_TIME_S:
        return found
    if kind is not None:
        raise RefusedRunError(
            f"{name} is {found.seconds:g} s in its {_file(found.source)}, but volumes are "
            f"{in_header:g} s apart in the file itself (SeriesStep): correct the wrong one"
        )
    if any(abs(in_header * unit - found.seconds) <= _SAME_TIME_S for unit in (1e3, 1e-3)):
        note = (
            f"the repetition time in the header differs from {name} by a factor of 1,000, as if "
            f"its unit were wrong; {name} counts"
        )
    elif in_header == _WRITTEN_ANYWAY_S:
        note = (
            "the repetition time in the header is 1 s, which some versions of fMRIPrep wrote "
            f"whatever it was; {name} counts"
        )
    else:
        raise RefusedRunError(
            f"{name} is {found.seconds:g} s in its {_file(found.source)}, but {in_header:g} s in "
            "its header: correct the wrong one"
        )
    return RepetitionTime(found.seconds, found.source, (note,))


def _file(source: str) -> str:
    return "sidecar" if source == "VolumeTiming" else source


# Where a file itself says its repetition time.
_PLACES: dict[SurfaceKind | None, str] = {None: "header (pixdim[4])", "cifti": "XML (SeriesStep)"}


def _of_header(seconds: float | None, kind: SurfaceKind | None) -> RepetitionTime:
    if kind == "gifti":
        raise RefusedRunError(
            "its repetition time is unknown: no sidecar has RepetitionTime, and surfaces in GIFTI "
            "do not say it themselves. fMRIPrep before 20.2.1 wrote no sidecars for them: write "
            "one for all runs of a task at the top of the dataset, task-…_bold.json with "
            '{"RepetitionTime": …} in seconds'
        )
    if seconds is None:
        raise RefusedRunError(
            "its repetition time is unknown: it is neither in its sidecar (RepetitionTime) nor "
            f"in its {_PLACES[kind]}"
        )
    if seconds > _LONGEST_S:
        raise RefusedRunError(
            f"the repetition time in its header is {seconds:g} s, which is probably in "
            "milliseconds, and its sidecar has no RepetitionTime: add it, in seconds"
        )
    if seconds < _SHORTEST_S:
        raise RefusedRunError(
            f"the repetition time in its header is {seconds:g} s, which is too short, and its "
            "sidecar has no RepetitionTime: add it, in seconds"
        )
    note = "the repetition time was read from the header, because no sidecar has RepetitionTime"
    if seconds == _WRITTEN_ANYWAY_S and kind is None:
        note += "; it is 1 s, which some versions of fMRIPrep wrote whatever it was: check it"
    return RepetitionTime(seconds, "header", (note,))


def as_seconds(value: object) -> float | None:
    """Return a value of a sidecar as a float, or None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
