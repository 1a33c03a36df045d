"""The files of each run: time courses, connectomes, its own maps, and its cleaned image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nidecomp.bids.names import (
    ambiguous_runs,
    projected_file,
    regressed_file,
    shared_key,
    sidecar_of_all,
    sidecar_of_run,
)
from nidecomp.bids.same_input import SOURCES
from nidecomp.core.records import UsableRun
from nidecomp.decomposition.components import Components
from nidecomp.outputs.connectomes import write_connectomes
from nidecomp.outputs.map_files import take_images
from nidecomp.outputs.quality import write_quality
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.projection.dual_regression import NoiseSummary
from nidecomp.projection.task import STATISTICS, CombinedMaps
from nidecomp.runs.sidecars import read_sidecar

CIRCULAR = (
    "The time courses were computed from the same data with the group maps, so that z is biased "
    "towards the group map: in a run of noise, it has the shape of the group map. It does not "
    "test whether a run has the network."
)
# What z values depend on and what they do not show.
_ABOUT_Z = {
    "NoiseModel": "AR(1) in each voxel; EffectiveDegreesOfFreedom and Autocorrelation are medians "
    "over voxels. DegreesOfFreedom: volumes kept minus regressors and components.",
    "Limitation": CIRCULAR,
}
_UNITS = {
    "effect": "Regression coefficient: standard deviations of the voxel's cleaned series for "
    "each unit of the time course",
    "z": "The coefficient divided by its standard error, as a standard normal value",
}


def write_projections(tree: OutputTree, result: GroupResult, *, is_job: bool = False) -> None:
    """Write time courses, connectomes, maps (where they are wanted) and quality of the runs.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
    is_job : bool
        Whether these are some of the participants only: files that need all of them are then left
        to the group run.
    """
    if not result.projected:
        return
    shrinkages = []
    for index in range(len(result.components)):
        _write_time_courses(tree, result, index)
        if STATISTICS[0] in result.projected[0].projections[index].maps:
            _write_maps(tree, result, index)
        for projected in result.projected:
            denoised = projected.projections[index].denoised
            if denoised is not None:
                _write_regressed(tree, result, index, projected.run, denoised)
        shrinkages.append(write_connectomes(tree, result, index, is_job=is_job))
    _write_sidecars_of_runs(tree, result)
    if not is_job:
        write_quality(tree, result, shrinkages)


# ---------------------------------------------------------------- time courses
def _write_time_courses(tree: OutputTree, result: GroupResult, index: int) -> None:
    """Write the time courses of one decomposition, and what is the same for those of all runs."""
    components = result.components[index]
    labels = result.labels(components)
    for projected in result.projected:
        run = projected.run
        values = np.full((run.n_volumes, components.n_components), math.nan)
        values[list(run.kept)] = projected.projections[index].courses
        tree.write_tsv(
            projected_file(run.key, "timeseries", ".tsv", labels),
            components.names,
            (dict(zip(components.names, row, strict=True)) for row in values.tolist()),
        )
    normalised = result.settings.science.projection.normalise_time_courses
    tree.write_json(
        sidecar_of_all("timeseries", labels),
        {
            "Description": "Time courses of the group maps in one run: least-squares regression "
            "of each cleaned volume on all maps together (dual regression, stage 1)"
            + ("; scaled to unit variance" if normalised else "")
            + ". One row per volume; n/a: the volume was dropped.",
            "Units": "arbitrary",
            "Maps": f"bids::{result.maps_file(components, 'components')}",
        },
    )


def _write_sidecars_of_runs(tree: OutputTree, result: GroupResult) -> None:
    """Write the JSON of each run's time courses, which is the same for all decompositions."""
    labels = [result.labels(components) for components in result.components]
    ambiguous = ambiguous_runs(projected.key for projected in result.projected)
    for projected in result.projected:
        key, about = projected.key, _about_run(result, projected.run)
        if key not in ambiguous:
            tree.write_json(sidecar_of_run(key, "timeseries", labels[0]), about)
            continue
        # Beside each table, a JSON of the same name applies before any other.
        for one in labels:
            tree.write_json(projected_file(key, "timeseries", ".json", one), about)


def _about_run(result: GroupResult, run: UsableRun) -> dict[str, object]:
    """Return how a run was sampled, what was removed from it, and what is unusual about it."""
    start = {} if run.start_time_s is None else {"StartTime": run.start_time_s}
    dropped = {"DroppedVolumes": dict(run.dropped)} if run.dropped else {}
    notes = {"Notes": list(run.notes)} if run.notes else {}
    files = (*run.files.images, run.files.confounds)
    return {
        "SamplingFrequency": 1 / run.repetition_time_s,
        **start,
        "Regressors": dict(run.regressors),
        **dropped,
        **notes,
        "Sources": [result.uri(path) for path in files if path is not None],
    }


# ---------------------------------------------------------------- maps
def _write_maps(tree: OutputTree, result: GroupResult, index: int) -> None:
    """Write the maps of each run, and those of each participant with several runs."""
    components = result.components[index]
    labels, extension = result.labels(components), result.space.extensions.maps
    for stat in STATISTICS:
        tree.write_json(
            sidecar_of_all("components", labels, stat=stat),
            {
                **_about_maps(result, components, stat, "run", "dual regression, stage 2"),
                "Sources": [f"bids::{SOURCES}"],
            },
        )
    for projected in result.projected:
        found = projected.projections[index]
        for stat in STATISTICS:
            image = projected_file(projected.key, "components", extension, labels, stat=stat)
            take_images(tree, result, image, found.maps[stat])
        if found.noise is not None:
            path = projected_file(projected.key, "components", ".json", labels, stat="z")
            sources = {"Sources": result.image_uris(projected.run)}
            tree.write_json(path, {**_numbers_of_noise(found.noise), **sources})
    for participant, combined in result.projections.combined.items():
        runs = [one.run for one in result.projected if one.run.participant == participant]
        _write_combined(tree, result, components, runs, combined[index])


def _write_combined(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    runs: Sequence[UsableRun],
    combined: CombinedMaps,
) -> None:
    """Write the maps of a participant; their JSON is complete, as those of runs' maps apply too."""
    labels, extension = result.labels(components), result.space.extensions.maps
    key = shared_key([run.key for run in runs])
    for stat in STATISTICS:
        paths = [
            projected_file(key, "components", end, labels, stat=stat, desc="fixedeffects")
            for end in (extension, ".json")
        ]
        take_images(tree, result, paths[0], combined.maps[stat])
        tree.write_json(
            paths[1],
            {
                **_about_maps(result, components, stat, "participant", "combined over runs"),
                **(_numbers_of_noise(combined.noise) if stat == "z" else {}),
                "CombinedRuns": [run.label for run in runs],
                "Combination": "Fixed effects: runs are weighted by the precision that their time "
                f"courses give; the noise variance of a {result.space.measure.feature} is that of "
                "all runs together",
                "Sources": [uri for run in runs for uri in result.image_uris(run)],
            },
        )


def _about_maps(
    result: GroupResult, components: Components, stat: str, whose: str, how: str
) -> dict[str, object]:
    """Return what the maps of all runs, or of all participants, have in common."""
    in_words = result.space.measure.in_words
    units = in_words(_UNITS[stat])
    return {
        "Description": f"The {whose}'s own maps of the group components ({how}). {units}.",
        "Units": "arbitrary",
        "ComponentNames": list(components.names),
        "Maps": f"bids::{result.maps_file(components, 'components')}",
        "Mask": f"bids::{result.mask_file()}",
        **({key: in_words(text) for key, text in _ABOUT_Z.items()} if stat == "z" else {}),
        **result.spatial,
    }


def _numbers_of_noise(noise: NoiseSummary) -> dict[str, object]:
    return {
        "DegreesOfFreedom": noise.dof,
        "EffectiveDegreesOfFreedom": noise.effective_dof,
        "Autocorrelation": noise.autocorrelation,
    }


# ---------------------------------------------------------------- images without components
def _write_regressed(
    tree: OutputTree, result: GroupResult, index: int, run: UsableRun, image: Path
) -> None:
    """Write the run's image after component regression; its sidecar repeats that of the input."""
    components, removed = result.components[index], result.projections.removed[index]
    labels, extension = result.labels(components), result.space.extensions.run
    aggressive = result.settings.science.projection.aggressive
    how = (
        "everything that their time courses explain"
        if aggressive
        else "what they explain in addition to all other components"
    )
    path = regressed_file(run.key, extension, labels, aggressive=aggressive)
    take_images(tree, result, path, image)
    tree.write_json(
        regressed_file(run.key, ".json", labels, aggressive=aggressive),
        {
            **result.spatial,
            # Not the group's grid but the run's own.
            "SpatialReference": result.uri(run.files.bold),
            **read_sidecar(run.files),
            "Description": f"The preprocessed image after component regression: {how} was "
            "removed from the volumes kept; dropped volumes are unchanged. Confounds, trends and "
            "the mean are retained.",
            "RemovedComponents": {components.names[one]: why for one, why in removed.items()},
            "Regression": "aggressive" if aggressive else "non-aggressive",
            "Maps": f"bids::{result.maps_file(components, 'components')}",
            "Sources": result.image_uris(run),
        },
    )
