"""The reduce step of one run: read, mask, smooth, clean, standardise, reduce and store it.

`reduce_run` takes a `ReduceTask` and returns records; both can be pickled. The arrays are stored in
the work folder under a hash of everything that they depend on, so that repeated and resumed
commands and the jobs of a cluster array find runs that were reduced before.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from nidecomp.core.errors import FailedRunError, NidecompError
from nidecomp.core.inventory import FailedRun
from nidecomp.core.packed import PackedSeries, pack
from nidecomp.core.records import ReducedRun, RunFiles
from nidecomp.core.reduced_runs import RunVolumes, find_reduced, store_reduced
from nidecomp.core.text import count, in_one_line, verb
from nidecomp.runs.clean import clean
from nidecomp.runs.fetching import with_image
from nidecomp.runs.gram import CleanedGram, cleaned_gram
from nidecomp.runs.known_images import remember_image
from nidecomp.runs.read import ReadRun, check_enough_left, read_packed_run
from nidecomp.runs.sites import about_reduced
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.series import compile_reading

Result = TypeVar("Result")
# Squared singular values smaller than this fraction of the largest are rounding errors of float32
# data.
_RANK_TOLERANCE = 1e-6


def warm_up(stored: str = "int16") -> None:
    """Import what the reduce step needs and compile its loops, once per worker.

    Workers start before the feature space is known, so that the loops for images are always
    compiled.

    Parameters
    ----------
    stored : str
        The data type of the images.
    """
    compile_reading(stored)
    series, constant = np.zeros((3, 2), dtype=np.float32), np.full((3, 1), 3**-0.5)
    cleaned_gram(pack(series), constant).principal_components(1)
    clean(series, constant)


def reduce_run(task: ReduceTask) -> tuple[ReducedRun, ...] | FailedRun:
    """Reduce a run, unless it was reduced before.

    Parameters
    ----------
    task : ReduceTask

    Returns
    -------
    tuple of ReducedRun, or FailedRun
        One for each smoothing, in the task's order. Problems with the run are not raised, but
        recorded in a FailedRun.
    """
    return failures_recorded(
        task.run.files, partial(with_image, task, _is_reduced, _found_or_reduced)
    )


def failures_recorded(files: RunFiles, work: Callable[[], Result]) -> Result | FailedRun:
    """Call a function for a run, and record an error as a FailedRun.

    Parameters
    ----------
    files : RunFiles
        The run.
    work : callable
        Called with linear algebra limited to one thread, because sums that are split between
        threads depend on the number of threads.

    Returns
    -------
    result or FailedRun
    """
    try:
        with threadpool_limits(limits=1):
            return work()
    except NidecompError as error:
        return FailedRun(files.key, files.bold, str(error))
    except MemoryError:
        return FailedRun(files.key, files.bold, "there was not enough memory to process it")
    except Exception as error:
        reason = f"{type(error).__name__}: {in_one_line(error)}"
        return FailedRun(files.key, files.bold, reason, traceback.format_exc())


def check_unchanged(path: Path, now: Path) -> None:
    """Check that the hash of a run's files, which is part of a path, is the same as before.

    Raises
    ------
    FailedRunError
        The files have changed.
    """
    if now != path:
        raise FailedRunError("its files changed while it was processed: run the command again")


def _is_reduced(task: ReduceTask) -> bool:
    return all(find_reduced(task.run, task.path(fwhm)) for fwhm in task.smoothing_fwhm)


def _found_or_reduced(task: ReduceTask) -> tuple[ReducedRun, ...]:
    paths = {fwhm: task.path(fwhm) for fwhm in task.smoothing_fwhm}
    found = {fwhm: find_reduced(task.run, path) for fwhm, path in paths.items()}
    missing = tuple(fwhm for fwhm, record in found.items() if record is None)
    if missing and task.run.is_of_site:
        names = ", ".join(paths[fwhm].name for fwhm in missing)
        raise FailedRunError(f"its reduced run is damaged: ask for the file again ({names})")
    if missing and task.run.files.image_is_gone:
        raise FailedRunError(
            "its image is not there any more, and it was not reduced with these settings and this "
            "group mask before: fetch the image"
        )
    if missing:
        found |= _reduce(task, {fwhm: paths[fwhm] for fwhm in missing})
    remember_image(task.run.files, task.run.grid, task.work_dir)
    records = tuple(record for record in found.values() if record is not None)
    for record in records:
        check_enough_left(record.run, task)
        # Fewer may have been required when it was reduced.
        _check_rank(record.n_rows, task)
    return records


def _reduce(task: ReduceTask, paths: Mapping[float, Path]) -> dict[float, ReducedRun]:
    """Reduce a run with each smoothing and store the results under the given names."""
    reduced: dict[float, ReducedRun] = {}
    found = cleaned_series(task, tuple(paths))
    read = found.read
    for fwhm, cleaned in found.cleaned.items():
        leading = cleaned.principal_components(task.n_rows)
        squared = leading.squared
        rank = int(np.count_nonzero(squared > _RANK_TOLERANCE * squared[0]))
        _check_rank(rank, task)
        leading = leading.first(rank)
        check_unchanged(paths[fwhm], task.path(fwhm))
        record = ReducedRun(
            run=read.run,
            path=paths[fwhm],
            smoothing_fwhm=fwhm,
            n_rows=leading.rows.shape[0],
            n_voxels=leading.rows.shape[1],
            total_variance=leading.total_variance,
            squared_singular_values=tuple(leading.squared.tolist()),
            n_nonfinite=read.n_nonfinite,
            n_constant=cleaned.n_constant,
            empty=read.empty,
        )
        times_s = np.asarray(read.design.kept * task.run.repetition_time_s, dtype=np.float64)
        volumes = RunVolumes(leading.volumes, times_s, read.design.motion)
        store_reduced(record, leading.rows, volumes, about_reduced(task, fwhm))
        reduced[fwhm] = record
    return reduced


def _check_rank(n_dimensions: int, task: ReduceTask) -> None:
    """Check that the cleaned data have as many dimensions as are required.

    Raises
    ------
    FailedRunError
    """
    if n_dimensions < task.n_required:
        raise FailedRunError(
            f"its cleaned data have only {count(n_dimensions, 'dimension')} (was it denoised "
            f"before?), but {task.n_required} {verb(task.n_required, 'is', 'are')} required: "
            "decrease --n-components, or --max-components if --n-components is auto"
        )


@dataclass(frozen=True, eq=False)
class CleanedRun:
    """A run that was read and cleaned.

    Parameters
    ----------
    read : ReadRun
    cleaned : mapping
        Smoothing in mm to the Gram matrix of the cleaned series.
    """

    read: ReadRun[PackedSeries]
    cleaned: Mapping[float, CleanedGram]


def cleaned_series(task: ReduceTask, smoothing_fwhm: tuple[float, ...]) -> CleanedRun:
    """Return a run as it was read, cleaned with each smoothing.

    Parameters
    ----------
    task : ReduceTask
    smoothing_fwhm : tuple of float
        In mm.

    Returns
    -------
    CleanedRun

    Raises
    ------
    FailedRunError
        The data cannot be read, or most voxels or most volumes have no signal.
    """
    read = read_packed_run(task, smoothing_fwhm)
    cleaned = {
        fwhm: cleaned_gram(smoothed, read.design.nuisance)
        for fwhm, smoothed in zip(smoothing_fwhm, read.series, strict=True)
    }
    n_constant = max(result.n_constant for result in cleaned.values())
    space = task.space
    if 2 * n_constant > space.n_features:
        raise FailedRunError(
            f"{n_constant} of the {space.measure.count(space.n_features)} in the group mask "
            f"{verb(n_constant, 'has', 'have')} no signal"
        )
    return CleanedRun(read, cleaned)
