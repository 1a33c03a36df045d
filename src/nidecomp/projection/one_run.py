"""Project one run to the group's maps.

As in the reduce step, this is a picklable function of a picklable task. The names of its files have
a hash of everything that they depend on, so that a restarted run and the jobs of a cluster array
find what is done already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.core.atomic import writing
from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.core.inventory import FailedRun
from nidecomp.projection.component_regression import fit_component_regression, regressed_volumes
from nidecomp.projection.dual_regression import (
    effect_maps,
    map_correlations,
    run_maps,
    time_courses,
)
from nidecomp.projection.fixed_effects import combine
from nidecomp.projection.store import (
    as_array,
    find_combined,
    find_projected,
    load_effect,
    store_array,
    store_maps,
    store_noise,
    store_summary,
)
from nidecomp.projection.task import CombinedMaps, ProjectedRun, ProjectTask
from nidecomp.runs.clean import clean
from nidecomp.runs.fetching import with_image
from nidecomp.runs.read import check_enough_left, read_run
from nidecomp.runs.reduce import check_unchanged, failures_recorded
from nidecomp.runs.task import ReduceTask
from nidecomp.runs.tsnr import temporal_snr
from nidecomp.spaces.contract import FeatureSpace


def project_run(task: ProjectTask) -> ProjectedRun | FailedRun:
    """Project one run to the group's maps, unless this was done before.

    Parameters
    ----------
    task : ProjectTask

    Returns
    -------
    ProjectedRun or FailedRun
        A problem with the run is returned as a FailedRun, never raised.
    """

    def is_projected(cleaning: ReduceTask) -> bool:
        known = replace(task, cleaning=cleaning)
        return find_projected(known, known.stem) is not None

    return failures_recorded(
        task.cleaning.run.files,
        lambda: with_image(
            task.cleaning,
            is_projected,
            lambda cleaning: _found_or_projected(replace(task, cleaning=cleaning)),
        ),
    )


def _found_or_projected(task: ProjectTask) -> ProjectedRun:
    stem = task.stem
    found = find_projected(task, stem)
    is_gone = task.cleaning.run.files.image_is_gone
    if found is None and is_gone and not task.with_maps:
        # Its maps cannot be compared, but everything else is there.
        found = find_projected(replace(task, arrays=()), stem)
    if found is None and is_gone:
        raise FailedRunError(
            "its image is not there any more, so that the maps cannot be projected to it"
        )
    found = found or _project(task, stem)
    check_enough_left(found.run, task.cleaning)
    return found


def _project(task: ProjectTask, stem: Path) -> ProjectedRun:
    smoothings = tuple(sorted({target.smoothing_fwhm for target in task.targets}))
    read = read_run(task.cleaning, smoothings)
    design = read.design
    tsnr = temporal_snr(read.series[smoothings.index(task.targets[0].smoothing_fwhm)])
    n_regressors = design.nuisance.shape[1]
    cleaned = {
        fwhm: clean(one, design.nuisance) for fwhm, one in zip(smoothings, read.series, strict=True)
    }
    stored: dict[str, NDArray[np.generic]] = {
        "tsnr": np.array(tsnr),
        "empty": np.array(read.empty, dtype=np.int64),
        "n_regressors": np.array(n_regressors),
    }
    for index, target in enumerate(task.targets):
        maps = np.load(target.path, mmap_mode="r")
        here = cleaned[target.smoothing_fwhm]
        courses = time_courses(here.series, maps, here.total_variance)
        if task.normalise:
            courses = courses.normalised()
        effect = effect_maps(here.series, courses.values)
        stored |= {
            f"courses_{index}": courses.values,
            f"explained_variance_{index}": np.array(courses.explained_variance),
            f"map_r_{index}": map_correlations(effect, maps),
        }
        if task.regressed_out_of(index):
            _store_regressed(task, stem, index, courses.values, design.kept)
        if "effect" in task.arrays:
            store_array(effect, stem, index, "effect")
        if not task.needs_noise:
            continue
        own, noise = run_maps(
            here.series, courses.values, effect, design.nuisance, np.asarray(design.kept)
        )
        stored[f"noise_{index}"] = as_array(noise.summary())
        if task.with_maps:
            store_maps(own, stem, index, task.cleaning.space)
        if "noise" in task.arrays:
            store_noise(noise, stem, index)
        if "z" in task.arrays:
            store_array(own.z, stem, index, "z")
    check_unchanged(stem, task.stem)
    # This file is written last: if it is there, all others are complete.
    with writing(stem.with_name(stem.name + ".npz")) as file:
        np.savez(file, allow_pickle=False, **stored)
    found = find_projected(task, stem)
    assert found is not None  # noqa: S101  it was stored above
    return found


def _store_regressed(
    task: ProjectTask,
    stem: Path,
    index: int,
    courses: NDArray[np.float64],
    kept: NDArray[np.intp],
) -> None:
    """Write the run's image with components regressed out, in two passes over its volumes."""
    image = task.cleaning.space.open_run(task.cleaning.run.files.bold)
    removal = fit_component_regression(
        image.volumes(kept), courses, task.regressed_out_of(index), aggressive=task.aggressive
    )
    path = task.regressed_path(stem, index)
    for hemi in task.cleaning.space.hemispheres:
        volumes = regressed_volumes(image.volumes(np.arange(image.n_volumes)), kept, removal)
        with writing(of_hemisphere(path, hemi)) as file:
            for part in image.encode(volumes, hemi):
                file.write(part)


# ---------------------------------------------------------------- maps
@dataclass(frozen=True, eq=False)
class CombineTask:
    """The runs of one participant whose maps are combined, in a fixed order."""

    participant: str
    stems: tuple[Path, ...]
    n_targets: int
    space: FeatureSpace

    @property
    def stem(self) -> Path:
        """The path of the stored files, without index, statistic and extension."""
        return stem_of_runs(self.participant, self.stems)


def stem_of_runs(participant: str, stems: Sequence[Path]) -> Path:
    """Return the stem of what several runs of a participant give, whose stems are given."""
    names = "\n".join(stem.name for stem in stems)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return stems[0].with_name(f"sub-{participant}_{digest[:20]}")


def combine_runs(task: CombineTask) -> tuple[str, tuple[CombinedMaps, ...]]:
    """Combine the maps of a participant's runs in a fixed-effects model and store them.

    Parameters
    ----------
    task : CombineTask

    Returns
    -------
    participant : str
    combined : tuple of CombinedMaps
        For each target.
    """
    with threadpool_limits(limits=1):
        return task.participant, tuple(
            find_combined(task.stem, index, task.space) or _combine(task, index)
            for index in range(task.n_targets)
        )


def _combine(task: CombineTask, index: int) -> CombinedMaps:
    effects, noises = zip(*(load_effect(stem, index) for stem in task.stems), strict=True)
    own, noise = combine(effects, noises)
    store_maps(own, task.stem, index, task.space)
    store_summary(noise, task.stem, index)
    found = find_combined(task.stem, index, task.space)
    assert found is not None  # noqa: S101  it was stored above
    return found
