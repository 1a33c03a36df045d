"""The files about each component: metrics, peaks, thresholded maps, soft atlas."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from pathlib import PurePosixPath

import numpy as np

from nidecomp.annotation.columns import AT_CHANCE, OF_DATASETS, UNITS, metrics_columns
from nidecomp.annotation.describe import describe, read_references
from nidecomp.annotation.thresholds import Thresholded, is_sparse, kept_in_words, parse_rule
from nidecomp.core.text import count, verb
from nidecomp.decomposition.components import Components
from nidecomp.outputs.comparisons import (
    DATASETS,
    MATCHING,
    SPLITS,
    STABILITY,
    datasets_table,
    matching_table,
    splits_table,
    stability_table,
)
from nidecomp.outputs.dataset_column import with_datasets
from nidecomp.outputs.map_files import write_maps
from nidecomp.outputs.regions import write_regions
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.spaces.records import Measure

STABILITY_TABLE = PurePosixPath("logs/stability.tsv")
SPLITS_TABLE = PurePosixPath("logs/splits.tsv")
MATCHING_TABLE = PurePosixPath("logs/matching.tsv")
DATASETS_TABLE = PurePosixPath("logs/datasets.tsv")
_THRESHOLDED = "thresholded"
_LOG = logging.getLogger(__name__)


def peak_columns(measure: Measure) -> dict[str, str]:
    """Return the columns of the table of peaks with their descriptions."""
    place = f"Position of its strongest {measure.feature}"
    return {
        "component": "Name of the component",
        "cluster": "Number of the cluster of the thresholded map, from 1, the largest first",
        "x": f"{place}, first RAS+ coordinate of the space",
        "y": f"{place}, second RAS+ coordinate",
        "z": f"{place}, third RAS+ coordinate",
        "value": "The map's value there, with its sign",
        **{
            one.column: f"{one.size.capitalize()} of the cluster: {one.neighbours} and a sign"
            f"{measure.other_unit(one)}"
            for one in measure.units
        },
    }


def peak_units(measure: Measure) -> dict[str, str]:
    """Return the units of the columns of the table of peaks."""
    return {**dict.fromkeys("xyz", "mm"), **measure.units_of_columns}


def write_evidence(tree: OutputTree, result: GroupResult) -> None:
    """Write the files about each component, and the comparison of decompositions."""
    options = result.settings.science.evidence
    references, measure = read_references(result.space, options), result.space.measure
    of_maps = result.regions or ((),) * len(result.components)
    for components, regions in zip(result.components, of_maps, strict=True):
        known = describe(components, result.space, references, options)
        _write_thresholded(tree, result, components, known.thresholded)
        metrics = result.file(components, "metrics", ".tsv")
        of_datasets = OF_DATASETS if result.datasets.are_several else {}
        # They are not known where only one of the datasets could be used.
        table = [{**dict.fromkeys(of_datasets), **row} for row in known.table]
        columns = metrics_columns(result.space) | of_datasets
        tree.write_table(metrics, columns, table, units=UNITS)
        labels = [row["label"] for row in known.table]
        if regions:
            write_regions(tree, result, components, regions, labels)
        peaks = [
            {
                "component": components.names[peak.component_index],
                **asdict(peak),
                **dict.fromkeys(measure.units_of_columns),
                peak.column: peak.size,
            }
            for peak in known.peaks
        ]
        tree.write_table(
            result.file(components, "peaks", ".tsv"),
            peak_columns(measure),
            peaks,
            units=peak_units(measure),
            about={
                "Description": "Peaks of the largest clusters of the thresholded maps. "
                f"{AT_CHANCE} and have no peaks."
            },
        )
        _warn_of_chance(components)
    tree.write_table(STABILITY_TABLE, STABILITY, stability_table(result.components))
    tree.write_table(SPLITS_TABLE, *with_datasets(result, SPLITS, splits_table(result.components)))
    tree.write_table(MATCHING_TABLE, MATCHING, matching_table(result.components))
    if result.datasets.are_several:
        tree.write_table(DATASETS_TABLE, DATASETS, datasets_table(result.components))


def _warn_of_chance(components: Components) -> None:
    """Log which maps of a decomposition are not interpreted, and what can be done."""
    # The fit has warned of empty maps already.
    noise = components.at_chance & components.maps.any(axis=1)
    names = [name for name, is_noise in zip(components.names, noise, strict=True) if is_noise]
    if names:
        _LOG.warning(
            "%d of %s %s no more reproducible between halves of the participants than chance, and "
            "without label, peaks or regions: %s. Do not interpret %s; reduce --n-components (or "
            "use auto), or include more participants",
            len(names),
            count(components.n_components, f"{components.method} map"),
            verb(len(names), "is", "are"),
            ", ".join(names),
            verb(len(names), "it", "them"),
        )


def _write_thresholded(
    tree: OutputTree, result: GroupResult, components: Components, thresholded: Thresholded
) -> None:
    """Write the thresholded maps, signed, and as a soft atlas with weights from 0 to 1."""
    rule = parse_rule(result.settings.science.evidence.threshold)
    kept = kept_in_words(rule, is_sparse(components.maps), result.space.measure.features)
    source = [f"bids::{result.maps_file(components, 'components')}"]
    path = result.maps_file(components, "components", _THRESHOLDED)
    write_maps(tree, result, path, thresholded.maps, components.names)
    tree.write_json(
        result.file(components, "components", ".json", _THRESHOLDED),
        {
            "Description": f"The maps of the components file after thresholding: {kept}.",
            "Units": "arbitrary",
            "ComponentNames": list(components.names),
            "Thresholds": [
                {"Low": low, "High": high} if math.isfinite(high) else None
                for low, high in thresholded.limits.tolist()
            ],
            "Sources": source,
            **result.spatial,
        },
    )
    positive = np.maximum(thresholded.maps, 0)
    largest = positive.max(axis=1, keepdims=True)
    positive /= np.where(largest == 0, 1, largest)
    path = result.maps_file(components, "probseg")
    write_maps(tree, result, path, positive, components.names)
    tree.write_json(
        result.file(components, "probseg", ".json"),
        {
            "Description": "Soft atlas: the thresholded maps, values below 0 set to 0, divided by "
            "the largest of each map. Values are weights from 0 to 1, not probabilities that sum "
            f"to 1. Kept of the components file: {kept}.",
            "LabelMap": list(components.names),
            "Sources": source,
            **result.spatial,
        },
    )
