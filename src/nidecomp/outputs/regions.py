"""The regions of each decomposition as a soft atlas and as a parcellation with its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.regions import (
    KIND_OF_METHOD,
    MIN_REGION_MM3,
    Region,
    parcellation,
    region_volume_mm3,
)
from nidecomp.decomposition.components import Components
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.spaces.nifti import nifti

_HOW = {
    "local_regions": "around the peaks of the smoothed map, by random walks",
    "connected_components": "connected components",
}
REGIONS = {
    "index": "",
    "name": "Name of the region: its component and its number in it, from 1, the largest first",
    "label": "The same, under the name that other programs look for",
    "network": "Component that it is a region of",
    "network_label": "The most similar network, see the metrics file; n/a where none is similar",
    "hemisphere": "L, R, or B where less than 95 % of its weight lies on one side",
    "x": "Centre of its weights in the soft atlas, first RAS+ coordinate of the space",
    "y": "Centre of its weights, second RAS+ coordinate",
    "z": "Centre of its weights, third RAS+ coordinate",
    "volume_mm3": "Volume of its voxels in the image",
}
REGION_UNITS = {**dict.fromkeys("xyz", "mm"), "volume_mm3": "mm^3"}


def write_regions(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    of_maps: Sequence[tuple[Region, ...]],
    network_labels: Sequence[object],
) -> None:
    """Write the regions of one decomposition; nothing where no map has any."""
    regions = tuple(region for of_map in of_maps for region in of_map)
    if not regions:
        return
    names = [
        f"{name}-{number}"
        for name, of_map in zip(components.names, of_maps, strict=True)
        for number in range(1, len(of_map) + 1)
    ]
    _write_soft_atlas(tree, result, components, regions, names)
    labels = parcellation(regions, result.geometry.n_features)
    counts = np.bincount(labels, minlength=len(regions) + 1)[1:]
    networks = [
        {"network": network, "network_label": label}
        for network, label, of_map in zip(components.names, network_labels, of_maps, strict=True)
        for _ in of_map
    ]
    table = [
        {
            "index": number,
            "name": name,
            "label": name,
            **network,
            "hemisphere": region.hemisphere,
            **dict(zip("xyz", region.centre, strict=True)),
            "volume_mm3": region_volume_mm3(int(count), result.geometry),
        }
        for number, (name, network, region, count) in enumerate(
            zip(names, networks, regions, counts, strict=True), start=1
        )
    ]
    _write_parcellation(tree, result, components, labels, table)


def _write_parcellation(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    labels: NDArray[np.int32],
    table: Sequence[Mapping[str, object]],
) -> None:
    tree.write_image(
        result.file(components, "dseg", ".nii.gz"),
        nifti(_volume(labels, result), result.geometry.grid),
    )
    tree.write_table(
        result.file(components, "dseg", ".tsv"),
        REGIONS,
        table,
        units=REGION_UNITS,
        about={
            "Description": "Regions of the networks: of the soft atlas of regions each voxel "
            "belongs to the region that weighs most in it.",
            "Sources": [f"bids::{result.file(components, 'probseg', '.nii.gz', 'regions')}"],
            **result.spatial,
        },
    )


def _write_soft_atlas(
    tree: OutputTree,
    result: GroupResult,
    components: Components,
    regions: Sequence[Region],
    names: Sequence[str],
) -> None:
    # An array that is one number everywhere: it only says how large the image is.
    shape = (*result.geometry.grid.shape, len(regions))
    whole = nifti(np.broadcast_to(np.float32(0), shape), result.geometry.grid)
    tree.write_volumes(
        result.file(components, "probseg", ".nii.gz", "regions"),
        whole,
        (result.geometry.image(_dense(region, result)) for region in regions),
    )
    kind = KIND_OF_METHOD[components.method]
    tree.write_json(
        result.file(components, "probseg", ".json", "regions"),
        {
            "Description": f"Regions of the thresholded networks, of {MIN_REGION_MM3} mm^3 or "
            f"more: {_HOW[kind]} (nilearn's RegionExtractor, {kind}). Values are those of the "
            "soft atlas of networks, from 0 to 1.",
            "LabelMap": list(names),
            "Sources": [f"bids::{result.file(components, 'probseg', '.nii.gz')}"],
            **result.spatial,
        },
    )


def _dense(region: Region, result: GroupResult) -> NDArray[np.float32]:
    weights = np.zeros(result.geometry.n_features, dtype=np.float32)
    weights[region.voxels] = region.weights
    return weights


def _volume(labels: NDArray[np.int32], result: GroupResult) -> NDArray[np.int32]:
    volume = np.zeros(result.geometry.grid.shape[::-1], dtype=np.int32)
    volume[result.geometry.mask.T] = labels
    return volume.T
