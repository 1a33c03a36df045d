"""Connectomes of each run and of the group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nidecomp.bids.names import projected_file, sidecar_of_all
from nidecomp.bids.same_input import SOURCES
from nidecomp.config.science import CONNECTOMES, Connectome
from nidecomp.decomposition.components import Components
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.projection.connectome import connectomes

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


def write_connectomes(
    tree: OutputTree, result: GroupResult, index: int, *, is_job: bool
) -> tuple[float, ...]:
    """Write the wanted connectomes of one decomposition, and return how covariances were shrunk.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
    index : int
        Of the decomposition.
    is_job : bool
        Whether these are some of the participants only: what needs all of them is then left out.

    Returns
    -------
    tuple of float
        The coefficient of each run; empty where no connectome needs shrunk covariances.
    """
    components = result.components[index]
    courses = [one.projections[index].courses for one in result.projected]
    participants = [one.run.participant for one in result.projected]
    labels = result.labels(components)
    shrinkages: tuple[float, ...] = ()
    for kind in CONNECTOMES:
        is_wanted = kind in result.settings.science.projection.connectomes
        if not is_wanted or (is_job and kind == "tangent"):
            continue
        found = connectomes(courses, participants, kind)
        if found is None:
            continue
        shrinkages = shrinkages or found.shrinkages
        stat = _STAT[kind]
        for projected, matrix in zip(result.projected, found.runs, strict=True):
            path = projected_file(projected.key, "relmat", ".tsv", labels, stat=stat)
            _write_matrix(tree, path, components, matrix)
        tree.write_json(
            sidecar_of_all("relmat", labels, stat=stat),
            _about(_MEASURE[kind], "of the time courses of the same run at the volumes kept"),
        )
        if not is_job:
            path = result.file(components, "relmat", ".tsv", stat=stat)
            _write_matrix(tree, path, components, found.group)
            tree.write_json(
                path.with_suffix(".json"),
                _about(_GROUP_MEASURE[kind], "of the time courses at the volumes kept"),
            )
    return shrinkages


def _write_matrix(
    tree: OutputTree, path: PurePosixPath, components: Components, matrix: NDArray[np.float64]
) -> None:
    """Write a matrix with the names of the nodes in the first row and column, as XCP-D does."""
    tree.write_tsv(
        path,
        ("Node", *components.names),
        (
            {"Node": name, **dict(zip(components.names, row, strict=True))}
            for name, row in zip(components.names, matrix.tolist(), strict=True)
        ),
    )


def _about(measure: str, of_what: str) -> Mapping[str, object]:
    return {
        "Measure": measure,
        "MeasureDescription": f"{measure}, {of_what}.",
        "Weighted": True,
        "Directed": False,
        "Sources": [f"bids::{SOURCES}"],
    }
