"""The files of each run: time courses, connectomes, its own maps, and its cleaned image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nidecomp.bids.names import projected_file, regressed_file, shared_key
from nidecomp.config.science import CONNECTOMES, Connectome
from nidecomp.core.records import RunKey, UsableRun
from nidecomp.decomposition.components import Components
from nidecomp.outputs.quality import write_quality
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.projection.connectome import connectomes
from nidecomp.projection.dual_regression import NoiseSummary
from nidecomp.projection.task import STATISTICS, CombinedMaps, Projection
from nidecomp.runs.sidecars import read_sidecar

# The stat labels of BEP017 for relationship matrices.
_STAT: dict[Connectome, str] = {
    "correlation": "pearsoncorrelation",
    "partial": "partialcorrelation",
    "tangent": "tangent",
}
_MEASURE: dict[Connectome, str] = {
    "correlation": "Pearson's correlation",
    "partial": "Partial correlation given all other components, from Ledoit-Wolf "
    "shrunk covariances",
    "tangent": "Deviation of the run's covariance from the geometric mean of the participants' "
    "covariances, in the tangent space at that mean; Ledoit-Wolf shrunk covariances",
}
_GROUP_MEASURE: dict[Connectome, str] = {
    "correlation": "Mean of the participants' correlations, each the mean of its runs; means are "
    "those of Fisher's z (arctanh), transformed back",
    "partial": "Mean of the participants' partial correlations, each the mean of its "
    "runs; means are those of Fisher's z (arctanh), transformed back",
    "tangent": "Geometric mean of the participants' covariances, each the mean of its runs, at "
    "which the tangent space of the runs' matrices is taken",
}
CIRCULAR = (
    "The time courses were computed from the same data with the group maps, so that z is biased "
    "towards the group map: in a run of noise, it has the shape of the group map. It does not "
    "test whether a run has the network."
)
_UNITS = {
    "effect": "Regression coefficient: standard deviations of the {feature}'s cleaned series for "
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
    for index, components in enumerate(result.components):
        for projected in result.projected:
            run, found = projected.run, projected.projections[index]
            _write_time_courses(tree, result, components, run, found)
            sources = [result.uri(run.files.bold)]
            about = {"Sources": sources}
            _write_maps(tree, result, components, projected.key, found, about)
            if found.denoised is not None:
                _write_regressed(tree, result, index, run, found.denoised)
        _write_connectomes(tree, result, components, index, is_job=is_job)
        for participant, combined in result.projections.combined.items():
            own = [one.run for one in result.projected if one.run.participant == participant]
            about_all: dict[str, object] = {
                "CombinedRuns": [run.label for run in own],
                "Combination": "Fixed effects: runs are weighted by the precision that their time "
                "courses give; the noise variance of a voxel is that of all runs together",
                "Sources": [result.uri(run.files.bold) for run in own],
            }
            _write_maps(
                tree,
                result,
                components,
                shared_key([run.key for run in own]),
                combined[index],
                about_all,
                desc="fixedeffects",
            )
    if not is_job:
        write_quality(tree, result)


# ---------------------------------------------------------------- time courses
def _write_time_courses(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    run: UsableRun,
    found: Projection,
) -> None:
    labels = result.labels(components)
    values = np.full((run.n_volumes, components.n_components), math.nan)
    values[list(run.kept)] = found.courses
    tree.write_tsv(
        projected_file(run.key, "timeseries", ".tsv", labels),
        components.names,
        (dict(zip(components.names, row, strict=True)) for row in values.tolist()),
    )
    start = {} if run.start_time_s is None else {"StartTime": run.start_time_s}
    normalised = result.settings.science.projection.normalise_time_courses
    tree.write_json(
        projected_file(run.key, "timeseries", ".json", labels),
        {
            "Description": "Time courses of the group maps in this run: least-squares regression "
            "of each cleaned volume on all maps together (dual regression, stage 1)"
            + ("; scaled to unit variance" if normalised else "")
            + ". One row per volume; n/a: the volume was dropped.",
            "SamplingFrequency": 1 / run.repetition_time_s,
            **start,
            "Units": "arbitrary",
            "ExplainedVariance": found.explained_variance,
            **_about_run(run),
            "Maps": f"bids::{result.maps_file(components, 'components')}",
            "Sources": [
                result.uri(path)
                for path in (run.files.bold, run.files.confounds)
                if path is not None
            ],
        },
    )


def _about_run(run: UsableRun) -> dict[str, object]:
    """Return what was removed from a run and what is unusual about it, for its sidecar."""
    dropped = {"DroppedVolumes": dict(run.dropped)} if run.dropped else {}
    notes = {"Notes": list(run.notes)} if run.notes else {}
    return {"Regressors": dict(run.regressors), **dropped, **notes}


# ---------------------------------------------------------------- connectomes
def _write_connectomes(
    tree: OutputTree, result: GroupResult, components: Components, index: int, *, is_job: bool
) -> None:
    courses = [one.projections[index].courses for one in result.projected]
    participants = [one.run.participant for one in result.projected]
    labels = result.labels(components)
    wanted = result.settings.science.projection.connectomes
    for kind in CONNECTOMES:
        if kind not in wanted or (is_job and kind == "tangent"):
            continue
        found = connectomes(courses, participants, kind)
        if found is None:
            continue
        stat = _STAT[kind]
        shrinkages = found.shrinkages or (None,) * len(found.runs)
        for projected, matrix, shrinkage in zip(
            result.projected, found.runs, shrinkages, strict=True
        ):
            paths = [
                projected_file(projected.key, "relmat", extension, labels, stat=stat)
                for extension in (".tsv", ".json")
            ]
            source = projected_file(projected.key, "timeseries", ".tsv", labels)
            about: dict[str, object] = {"Sources": [f"bids::{source}"]}
            if shrinkage is not None:
                about["Shrinkage"] = shrinkage
            _write_matrix(tree, paths, components, matrix, _MEASURE[kind], about)
        if is_job:
            continue
        paths = [
            result.file(components, "relmat", extension, stat=stat)
            for extension in (".tsv", ".json")
        ]
        about = {"Sources": ["bids::logs/sources.tsv"]}
        _write_matrix(tree, paths, components, found.group, _GROUP_MEASURE[kind], about)


def _write_matrix(
    tree: OutputTree,
    paths: Sequence[PurePosixPath],
    components: Components,
    matrix: NDArray[np.float64],
    measure: str,
    about: Mapping[str, object],
) -> None:
    """Write a matrix with the names of the nodes in the first row and column, as XCP-D does."""
    table, sidecar = paths
    tree.write_tsv(
        table,
        ("Node", *components.names),
        (
            {"Node": name, **dict(zip(components.names, row, strict=True))}
            for name, row in zip(components.names, matrix.tolist(), strict=True)
        ),
    )
    tree.write_json(
        sidecar,
        {
            "Measure": measure,
            "MeasureDescription": f"{measure}, of the components' time courses at the volumes "
            "kept.",
            "Weighted": True,
            "Directed": False,
            **about,
        },
    )


# ---------------------------------------------------------------- maps
def _write_maps(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    key: RunKey,
    found: Projection | CombinedMaps,
    about: Mapping[str, object],
    *,
    desc: str | None = None,
) -> None:
    labels, extension = result.labels(components), result.space.extensions.maps
    for stat in STATISTICS:
        if stat not in found.maps:
            continue
        units = _UNITS[stat].format(feature=result.space.measure.feature)
        image = projected_file(key, "components", extension, labels, stat=stat, desc=desc)
        tree.take_file(image, found.maps[stat])
        tree.write_json(
            image.with_name(image.name.removesuffix(extension) + ".json"),
            {
                "Description": f"This run's own maps of the group components (dual regression, "
                f"stage 2). {units}."
                if desc is None
                else f"This participant's own maps of the group components, combined over runs. "
                f"{units}.",
                "Units": "arbitrary",
                "ComponentNames": list(components.names),
                "Maps": f"bids::{result.maps_file(components, 'components')}",
                "Mask": f"bids::{result.mask_file()}",
                **(_about_z(found.noise) if stat == "z" and found.noise is not None else {}),
                **about,
                **result.spatial,
            },
        )


def _about_z(noise: NoiseSummary) -> dict[str, object]:
    """Return what z values depend on and what they do not show, for their sidecar."""
    return {
        "DegreesOfFreedom": noise.dof,
        "EffectiveDegreesOfFreedom": noise.effective_dof,
        "Autocorrelation": noise.autocorrelation,
        "NoiseModel": "AR(1) in each voxel; EffectiveDegreesOfFreedom and Autocorrelation are "
        "medians over voxels. DegreesOfFreedom: volumes kept minus regressors and components.",
        "Limitation": CIRCULAR,
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
    tree.take_file(regressed_file(run.key, extension, labels, aggressive=aggressive), image)
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
            "Sources": [result.uri(run.files.bold)],
        },
    )
