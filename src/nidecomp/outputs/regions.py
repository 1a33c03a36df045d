"""Writing the regions of each decomposition: a parcellation with its table, and a soft atlas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.columns import AT_CHANCE
from nidecomp.annotation.regions import (
    KIND_OF_METHOD,
    Parcel,
    Region,
    parcellate,
)
from nidecomp.decomposition.components import Components
from nidecomp.outputs.map_files import write_labels, write_sparse_maps
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.spaces.records import Measure


def region_columns(measure: Measure, file: str) -> dict[str, str]:
    """Return the columns of the table of regions with their descriptions.

    Parameters
    ----------
    measure : Measure
    file : str
        What the file of the parcellation is called (`Extensions.file`).
    """
    place = f"Centre of the region's {measure.features} in the {file}"
    return {
        "index": "",
        "name": "Name of the region: its component, and its number from 1, the largest first",
        "label": "The same name, in the column that other programs use",
        "network": "Component to which the region belongs",
        "network_label": "The network most similar to that component (see the metrics file); n/a "
        "where none is similar",
        "hemisphere": f"Side of its {measure.features} in the {file}: L or R if at least 95 % of "
        f"their {measure.size} is on one side, otherwise B (both); {measure.features} at the "
        "midline, through which the plane x = 0 passes, count for neither side; M if at least 95 % "
        "is there",
        "x": f"{place}, first RAS+ coordinate of the space",
        "y": f"{place}, second coordinate",
        "z": f"{place}, third coordinate",
        **{
            one.column: f"{one.size.capitalize()} of its {measure.features} in the {file}, at "
            f"least {one.min_region:g} {one.unit}{measure.other_unit(one)}"
            for one in measure.units
        },
    }


def region_units(measure: Measure) -> dict[str, str]:
    """Return the units of the columns of the table of regions."""
    return {**dict.fromkeys("xyz", "mm"), **measure.units_of_columns}


def write_regions(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    of_maps: Sequence[tuple[Region, ...]],
    network_labels: Sequence[object],
) -> None:
    """Write the regions of one decomposition, if there are any.

    The image of labels, its table and the soft atlas have the same regions in the same order.
    """
    space, measure = result.space, result.space.measure
    parcels = parcellate(of_maps, space)
    if not parcels:
        return
    names = [f"{components.names[one.row]}-{one.number}" for one in parcels]
    _write_soft_atlas(tree, result, components, parcels, names)
    labels = np.zeros(space.n_features, dtype=np.int32)
    for index, parcel in enumerate(parcels, start=1):
        labels[parcel.features] = index
    path = result.file(components, "dseg", space.extensions.labels)
    write_labels(tree, result, path, labels, names)
    tree.write_table(
        result.file(components, "dseg", ".tsv"),
        region_columns(measure, space.extensions.file),
        [
            {
                "index": index,
                "name": name,
                "label": name,
                "network": components.names[parcel.row],
                "network_label": network_labels[parcel.row],
                "hemisphere": parcel.hemisphere,
                **dict(zip("xyz", parcel.centre, strict=True)),
                **dict.fromkeys(measure.units_of_columns),
                parcel.column: parcel.size,
            }
            for index, (name, parcel) in enumerate(zip(names, parcels, strict=True), start=1)
        ],
        units=region_units(measure),
        about={
            "Description": "Parcellation into regions of the networks: each "
            f"{measure.feature} belongs to the region with the largest weight in the soft atlas "
            f"of regions. {_too_small(measure)} {AT_CHANCE} and are in no region.",
            "Sources": [f"bids::{result.maps_file(components, 'probseg', 'regions')}"],
            **result.spatial,
        },
    )


def _too_small(measure: Measure) -> str:
    return (
        "The parcellation and the soft atlas have the same regions in the same order: those that "
        f"are left with at least {measure.min_region} where regions of several "
        "networks overlap. "
        f"{measure.features.capitalize()} of smaller ones belong to the region with the next "
        "largest weight, if there is one."
    )


def _write_soft_atlas(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    parcels: Sequence[Parcel],
    names: Sequence[str],
) -> None:
    space, measure = result.space, result.space.measure
    path = result.maps_file(components, "probseg", "regions")
    write_sparse_maps(
        tree, result, path, lambda index: _dense(parcels[index].region, space.n_features), names
    )
    rule = space.region_rule(KIND_OF_METHOD[components.method])
    tree.write_json(
        result.file(components, "probseg", ".json", "regions"),
        {
            "Description": f"Soft atlas of regions of the thresholded networks: {rule}. Values are "
            "those of the soft atlas of networks, from 0 to 1; regions of several networks "
            "overlap, and the parcellation (dseg) has the largest at each "
            f"{measure.feature}. {_too_small(measure)} {AT_CHANCE} and have no regions.",
            "Rule": f"{rule}, of at least {measure.min_region}",
            "LabelMap": list(names),
            "Sources": [f"bids::{result.maps_file(components, 'probseg')}"],
            **result.spatial,
        },
    )


def _dense(region: Region, n_features: int) -> NDArray[np.float32]:
    weights = np.zeros(n_features, dtype=np.float32)
    weights[region.features] = region.weights
    return weights
