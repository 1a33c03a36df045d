"""Writing the regions of each decomposition: a soft atlas, and a parcellation with its table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.regions import (
    KIND_OF_METHOD,
    Region,
    parcellation,
)
from nidecomp.decomposition.components import Components
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.spaces.contract import FeatureSpace, Measure


def region_columns(measure: Measure) -> dict[str, str]:
    """Return the columns of the table of regions with their descriptions."""
    return {
        "index": "",
        "name": "Name of the region: its component, and its number from 1, the largest first",
        "label": "The same name, in the column that other programs use",
        "network": "Component to which the region belongs",
        "network_label": "The network most similar to that component (see the metrics file); n/a "
        "where none is similar",
        "hemisphere": "L or R; B (both) where less than 95 % of the weight is on one side",
        "x": "Centre of the region's weights in the soft atlas, first RAS+ coordinate of the space",
        "y": "Centre of the weights, second RAS+ coordinate",
        "z": "Centre of the weights, third RAS+ coordinate",
        measure.column: f"{measure.size.capitalize()} of its {measure.features} in the image",
    }


def region_units(measure: Measure) -> dict[str, str]:
    """Return the units of the columns of the table of regions."""
    return {**dict.fromkeys("xyz", "mm"), measure.column: measure.unit}


def write_regions(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    of_maps: Sequence[tuple[Region, ...]],
    network_labels: Sequence[object],
) -> None:
    """Write the regions of one decomposition, if there are any."""
    regions = tuple(region for of_map in of_maps for region in of_map)
    if not regions:
        return
    names = [
        f"{name}-{number}"
        for name, of_map in zip(components.names, of_maps, strict=True)
        for number in range(1, len(of_map) + 1)
    ]
    whose = [row for row, of_map in enumerate(of_maps) for _ in of_map]
    networks = [(components.names[row], network_labels[row]) for row in whose]
    _write_soft_atlas(tree, result, components, regions, names)
    space, measure = result.space, result.space.measure
    labels = parcellation(regions, space.n_features)
    table = _rows(regions, names, networks, labels, space)
    tree.write_bytes(
        result.file(components, "dseg", space.extensions.labels), space.encode_labels(labels)
    )
    tree.write_table(
        result.file(components, "dseg", ".tsv"),
        region_columns(measure),
        table,
        units=region_units(measure),
        about={
            "Description": "Parcellation into regions of the networks: each "
            f"{measure.feature} belongs to the region with the largest weight in the soft atlas "
            "of regions.",
            "Sources": [f"bids::{result.maps_file(components, 'probseg', 'regions')}"],
            **result.spatial,
        },
    )


def _rows(
    regions: Sequence[Region],
    names: Sequence[str],
    networks: Sequence[tuple[str, object]],
    labels: NDArray[np.int32],
    space: FeatureSpace,
) -> list[dict[str, object]]:
    """Return a row for each region; `networks` has the name and the label of each one's network."""
    return [
        {
            "index": number,
            "name": name,
            "label": name,
            "network": network,
            "network_label": network_label,
            "hemisphere": region.hemisphere,
            **dict(zip("xyz", region.centre, strict=True)),
            space.measure.column: space.size_of(np.flatnonzero(labels == number)),
        }
        for number, (name, (network, network_label), region) in enumerate(
            zip(names, networks, regions, strict=True), start=1
        )
    ]


def _write_soft_atlas(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    regions: Sequence[Region],
    names: Sequence[str],
) -> None:
    space, measure = result.space, result.space.measure
    maps = (_dense(region, space.n_features) for region in regions)
    parts = space.encode_each(maps, len(regions))
    tree.write_bytes(result.maps_file(components, "probseg", "regions"), b"".join(parts))
    rule = space.region_rule(KIND_OF_METHOD[components.method])
    tree.write_json(
        result.file(components, "probseg", ".json", "regions"),
        {
            "Description": "Regions of the thresholded networks of at least "
            f"{measure.min_region:g} {measure.unit}: {rule}. Values are those of the soft atlas of "
            "networks, from 0 to 1.",
            "Rule": f"{rule}, of at least {measure.min_region:g} {measure.unit}",
            "LabelMap": list(names),
            "Sources": [f"bids::{result.maps_file(components, 'probseg')}"],
            **result.spatial,
        },
    )


def _dense(region: Region, n_features: int) -> NDArray[np.float32]:
    weights = np.zeros(n_features, dtype=np.float32)
    weights[region.features] = region.weights
    return weights
