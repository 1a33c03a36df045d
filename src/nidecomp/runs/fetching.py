"""Work on runs whose images are fetched when they are read (``--fetch``).

What has to be known of a run before that follows from its small files: the grid is that of its
brain mask, there is one row of the confounds table for each volume, and JSON files say the
repetition time. Surfaces have no mask, so that their headers are read. When the image is there, the
run is checked again, so that the results are those of a dataset that was fetched completely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nidecomp.annex.commands import size_of
from nidecomp.annex.fetched import all_at_hand
from nidecomp.core.errors import FailedRunError, RefusedRunError
from nidecomp.core.inventory import RefusedRun
from nidecomp.core.records import RunFiles, RunKey, Sampling, UsableRun
from nidecomp.core.text import count, size_in_words
from nidecomp.runs.answers import learn
from nidecomp.runs.inspect import InspectTask, inspect
from nidecomp.runs.known_images import is_at_hand, known_header, remember_image
from nidecomp.runs.sidecars import sidecar_entries
from nidecomp.runs.signal import MASK_FOLDER, Signals
from nidecomp.runs.table import n_rows_of
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.headers import read_header
from nidecomp.spaces.images import Header, read_mask

Result = TypeVar("Result")
# The memory that a run needs is forecast with it; fMRIPrep writes 2 or 4 bytes for each number.
_STORED_BYTES = 4


@dataclass(frozen=True)
class HeaderBefore:
    """The header of an image that is fetched later; `is_expected` if it was never read.

    `failure` says why there is none, where the image was fetched for it.
    """

    header: Header | None
    is_expected: bool
    failure: str = ""


@dataclass(frozen=True)
class HeaderTask:
    """A run whose header is wanted before its image is fetched, and the work folder.

    Nothing is written to the work folder if it `is_dry`.
    """

    files: RunFiles
    work_dir: Path
    is_dry: bool = False


def key_and_header(task: HeaderTask) -> tuple[RunKey, HeaderBefore | None]:
    """Return the key of a run with what `header_before_it_is_read` says of it."""
    return task.files.key, header_before_it_is_read(task.files, task.work_dir, is_dry=task.is_dry)


def header_before_it_is_read(
    files: RunFiles, work_dir: Path, *, is_dry: bool = False
) -> HeaderBefore | None:
    """Return the header that the image of a run has, as far as it is known before it is fetched.

    Parameters
    ----------
    files : RunFiles
    work_dir : Path
    is_dry : bool
        Whether nothing is to be written to the work folder.

    Returns
    -------
    HeaderBefore or None
        That of the image where it is there or was read before, else one that follows from the
        other files of the run; where they do not say enough, the image is fetched to read its
        header, and dropped, which may fail. None where an image need not be fetched, or cannot be
        read: the inspection reads it, and says why.
    """
    if files.image_is_gone:
        known = known_header(files, work_dir)
        return HeaderBefore(known, is_expected=False) if known else None
    if not files.is_fetched_when_read:
        return None
    # Another process may drop an image at any moment, so that it is not looked at again.
    if found := _header_there(files) or known_header(files, work_dir):
        return HeaderBefore(found, is_expected=False)
    if is_at_hand(files):
        return None
    signals = Signals(None if is_dry else work_dir / MASK_FOLDER, work_dir)
    expected = _expected_header(files)
    return HeaderBefore(expected, is_expected=True) if expected else _fetched(files, signals)


def _header_there(files: RunFiles) -> Header | None:
    """Return the header of an image that is there, or None."""
    try:
        return read_header(files.bold) if is_at_hand(files) else None
    except FailedRunError:
        return None


def _expected_header(files: RunFiles) -> Header | None:
    """Return the header that follows from a run's mask, table and JSON files."""
    if files.mask is None or files.confounds is None:
        return None
    try:
        said = sidecar_entries(files)
        if not {"RepetitionTime", "VolumeTiming"}.intersection(said):
            return None
        grid = read_mask(files.mask).grid
        n_volumes = n_rows_of(files.confounds)
    except (FailedRunError, RefusedRunError):
        # The inspection says what is wrong with the file.
        return None
    return Header(grid, n_volumes, _STORED_BYTES, repetition_time_s=None)


def _fetched(files: RunFiles, signals: Signals) -> HeaderBefore:
    try:
        with all_at_hand(files.images):
            header = read_header(files.bold)
            # All of it is there, and would have to be fetched again for that.
            signals.keep_of_image(files, header)
            return HeaderBefore(header, is_expected=True)
    except FailedRunError as error:
        return HeaderBefore(None, is_expected=True, failure=str(error))


def with_image(
    task: ReduceTask, is_stored: Callable[[ReduceTask], bool], work: Callable[[ReduceTask], Result]
) -> Result:
    """Return the result of work on a run, whose image is fetched for as long as it is needed.

    Parameters
    ----------
    task : ReduceTask
    is_stored : callable
        Whether the result is stored, so that the image is not needed.
    work : callable
        Takes the task, with its run as the image's own header says.

    Returns
    -------
    result

    Raises
    ------
    FailedRunError
        The image cannot be fetched, or is not what the other files of the run say.
    """
    files = task.run.files
    if not files.is_fetched_when_read:
        return work(task)
    if not is_at_hand(files) and (header := known_header(files, task.work_dir)) is not None:
        known = _checked_again(task, header)
        if is_stored(known):
            return work(known)
    with all_at_hand(files.images):
        remember_image(task.run.files, task.run.grid, task.work_dir)
        return work(_checked_again(task, None))


def as_their_headers_say(tasks: Iterable[ReduceTask]) -> tuple[UsableRun, ...]:
    """Return runs as they are found once their images were read.

    Parameters
    ----------
    tasks : iterable of ReduceTask
        As they were before.

    Returns
    -------
    tuple of UsableRun
        Those whose images could not be fetched are as they were.
    """
    runs = []
    for task in tasks:
        header = known_header(task.run.files, task.work_dir)
        try:
            runs.append(_checked_again(task, header).run if header else task.run)
        except FailedRunError:
            runs.append(task.run)
    return tuple(runs)


def _checked_again(task: ReduceTask, header: Header | None) -> ReduceTask:
    """Return a task whose run was checked with the image's header, or with one that is given."""
    run = task.run
    if not run.header_is_expected:
        return task
    learn(task.answers)
    found = inspect(InspectTask(run.files, task.denoising, task.n_required, header))
    if isinstance(found, RefusedRun):
        raise FailedRunError(found.reason)
    _check_as_expected(run, found)
    return replace(task, run=replace(found, resampled=run.resampled, coverage=run.coverage))


def _check_as_expected(expected: UsableRun, found: UsableRun) -> None:
    """Check that the group mask, which was made before the image was there, is right for it."""
    if not _is_same(found.grid, expected.grid):
        raise FailedRunError(
            "its image is on another grid than its brain mask, so that --fetch, which knows the "
            "grid by the mask, cannot use it: fetch this image first, and run the command again"
        )
    if found.repetition_time_s != expected.repetition_time_s or found.kept != expected.kept:
        raise FailedRunError(
            "its image has another repetition time or number of volumes than its other files: "
            "fetch this image first, and run the command again to see what differs"
        )


def _is_same(one: Sampling, other: Sampling) -> bool:
    if isinstance(one, Grid) and isinstance(other, Grid):
        return one.is_same(other)
    return one == other


def images_in_words(runs: Sequence[UsableRun], n_at_once: int) -> str | None:
    """Return what has to be fetched for some runs, or None where all of it is there.

    Parameters
    ----------
    runs : sequence of UsableRun
    n_at_once : int
        How many images are in the dataset at the same time at most.

    Returns
    -------
    str or None
    """
    missing = [
        sum(map(size_of, run.files.images))
        for run in runs
        if run.files.is_fetched_when_read and not is_at_hand(run.files)
    ]
    if not missing:
        return None
    n_there = len(runs) - len(missing)
    there = ""
    if n_there:
        there = f", {count(n_there, 'image')} of them {'is' if n_there == 1 else 'are'} there"
    n_at_once = min(n_at_once, len(missing))
    return (
        f"Fetching: {count(len(missing), 'image')}, {size_in_words(sum(missing))} "
        f"({count(len(runs), 'run')}{there}); at most {n_at_once} at a time, up to "
        f"{size_in_words(sum(sorted(missing)[-n_at_once:]))} of disk space, and each is "
        "dropped after it was read. Images of runs whose results are stored are not fetched again"
    )
