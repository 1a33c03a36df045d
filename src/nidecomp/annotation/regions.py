"""Regions: the connected pieces of the networks' maps, and the parcellation made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.annotation.places import hemisphere, rank_by_place
from nidecomp.annotation.random_walk import walk_to_seeds
from nidecomp.annotation.thresholds import apply_rule, parse_rule
from nidecomp.config.science import Science
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.records import RegionKind

# The rounding error of sizes, as a share of a feature.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Region:
    """One region of one map, which may overlap with those of other maps.

    Parameters
    ----------
    features : ndarray of int, shape (n,)
        Indices into the features, ascending.
    weights : ndarray of float32, shape (n,)
        The map's values there, above 0.
    """

    features: NDArray[np.intp]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parcel:
    """What a region has in the parcellation: the features at which its weight is the largest.

    Parameters
    ----------
    row : int
        Which map it belongs to.
    number : int
        Its number among the parcels of this map, from 1, the largest first.
    region : Region
    features : ndarray of int, shape (n,)
        The features of the region that are in the parcel, ascending.
    size : float
        Their size, at least `SizeUnit.min_region`.
    column : str
        Its unit: `SizeUnit.column`.
    centre : tuple of float
        The centre of their size, RAS+ coordinates in mm.
    hemisphere : str
        ``L``, ``R``, ``B`` for both or ``M`` for the midline: see `places.hemisphere`.
    """

    row: int
    number: int
    region: Region
    features: NDArray[np.intp]
    size: float
    column: str
    centre: tuple[float, float, float]
    hemisphere: str


# For each decomposition, the regions of each component.
RegionsOfMaps = tuple[tuple[tuple[Region, ...], ...], ...]


def extract_regions(
    values: NDArray[np.float32], space: FeatureSpace, kind: RegionKind
) -> tuple[Region, ...]:
    """Return the regions of one map.

    Parameters
    ----------
    values : ndarray of float32, shape (n_features,)
        The thresholded map; negative values are ignored.
    space : FeatureSpace
    kind : {"local_regions", "connected_components"}
        Regions around the peaks of the smoothed map, or the connected components of the map.

    Returns
    -------
    tuple of Region
        The largest first, of several of the same size the one with the lowest feature
        (`rank_by_place`); none smaller than `SizeUnit.min_region`.
    """
    features = np.flatnonzero(values > 0)
    if not len(features):
        return ()
    rank = rank_by_place(space, features)
    # In this order, so that rounding does not depend on how the image is stored.
    features = features[np.argsort(rank[features])]
    pieces = _clusters(features, space)
    if kind == "local_regions":
        seeds, spread = space.region_seeds(np.maximum(values, 0)), _spread(values[features], space)
        pieces = [part for piece in pieces for part in _grown(piece, values, seeds, space, spread)]
    large = [np.sort(one) for one in pieces if space.relative_size(one) > 1]
    return tuple(
        Region(one, values[one])
        for one in sorted(large, key=lambda one: (-space.relative_size(one), rank[one].min()))
    )


def _clusters(features: NDArray[np.intp], space: FeatureSpace) -> list[NDArray[np.intp]]:
    """Return the connected components of some features."""
    numbers = space.clusters(features)
    order = np.argsort(numbers, kind="stable")
    return np.split(features[order], np.cumsum(np.bincount(numbers))[:-1])


def _spread(values: NDArray[np.float32], space: FeatureSpace) -> float:
    """Return the standard deviation of a map in its file, of which all other values are 0."""
    values = values.astype(np.float64)
    variance = values @ values / space.n_stored - (values.sum() / space.n_stored) ** 2
    # Where all values of the file are the same, any spread gives the same steps.
    return float(np.sqrt(variance)) if variance > 0 else 1.0


def _grown(
    piece: NDArray[np.intp],
    values: NDArray[np.float32],
    seeds: NDArray[np.intp],
    space: FeatureSpace,
    spread: float,
) -> list[NDArray[np.intp]]:
    """Return the parts of a connected piece of a map around its peaks; none if it has no peak."""
    if space.relative_size(piece) <= 1 or not seeds[piece].any():
        return []
    graph = space.adjacency[piece][:, piece]
    reached = walk_to_seeds(values[piece], seeds[piece], graph, spread)
    return [piece[reached == number] for number in np.unique(reached)]


def parcellate(of_maps: Sequence[Sequence[Region]], space: FeatureSpace) -> tuple[Parcel, ...]:
    """Return the parcels of the regions of all maps of a decomposition.

    Each feature belongs to the region with the largest weight (the first of several equal ones).
    Regions that are left with less than `SizeUnit.min_region` are dropped, one at a time, the
    smallest first (the last of several equal ones), and their features belong to the region with
    the next largest weight.

    Parameters
    ----------
    of_maps : sequence of sequence of Region
        The regions of each map. Their weights are comparable.
    space : FeatureSpace

    Returns
    -------
    tuple of Parcel
        In the order of the maps, those of a map the largest first, of several of the same size the
        one with the lowest feature (`rank_by_place`).
    """
    left = [(row, region) for row, of_map in enumerate(of_maps) for region in of_map]
    won = _shared_out(np.arange(space.n_features), [region for _, region in left], space.n_features)
    # A parcel of exactly the smallest size must not be lost to rounding.
    smallest_unit = min(one.min_region for one in space.measure.units)
    least = 1 - _ROUNDING * float(space.sizes.min()) / smallest_unit
    while left:
        sizes = [_relative(features, space) for features in won]
        smallest = min(sizes)
        if smallest >= least:
            return _parcels(left, won, space)
        last = max(index for index, size in enumerate(sizes) if size == smallest)
        del left[last]
        freed = won.pop(last)
        gained = _shared_out(freed, [region for _, region in left], space.n_features)
        won = [
            np.union1d(own, more) if len(more) else own
            for own, more in zip(won, gained, strict=True)
        ]
    return ()


def _relative(features: NDArray[np.intp], space: FeatureSpace) -> float:
    """Return the relative size of features that may be none."""
    return space.relative_size(features) if len(features) else 0.0


def _shared_out(
    features: NDArray[np.intp], regions: Sequence[Region], n_features: int
) -> list[NDArray[np.intp]]:
    """Return those of some features, ascending, at which each region has the largest weight."""
    position = np.full(n_features, -1)
    position[features] = np.arange(len(features))
    winner = np.full(len(features), -1)
    largest = np.zeros(len(features), dtype=np.float32)
    for number, region in enumerate(regions):
        at = position[region.features]
        weights, at = region.weights[at >= 0], at[at >= 0]
        wins = weights > largest[at]
        winner[at[wins]] = number
        largest[at[wins]] = weights[wins]
    return [features[winner == number] for number in range(len(regions))]


def _parcels(
    regions: Sequence[tuple[int, Region]],
    won: Sequence[NDArray[np.intp]],
    space: FeatureSpace,
) -> tuple[Parcel, ...]:
    rank = rank_by_place(space, np.concatenate(won))
    order = sorted(
        range(len(regions)),
        key=lambda one: (regions[one][0], -space.relative_size(won[one]), rank[won[one]].min()),
    )
    numbers: Counter[int] = Counter()
    parcels = []
    for one in order:
        (row, region), features = regions[one], won[one]
        numbers[row] += 1
        weights = space.sizes[features] / space.sizes[features].sum()
        x, y, z = (weights @ space.coordinates(features)).tolist()
        side = hemisphere(features, space)
        parcels.append(
            Parcel(
                row,
                numbers[row],
                region,
                features,
                space.size_of(features),
                space.unit_of(features).column,
                (x, y, z),
                side,
            )
        )
    return tuple(parcels)


# nilearn's RegionExtractor is meant for dictionary maps; ICA maps are split as they are.
KIND_OF_METHOD: dict[str, RegionKind] = {
    "dictlearning": "local_regions",
    "canica": "connected_components",
}


def find_regions(
    components: Sequence[Components], space: FeatureSpace, science: Science, n_threads: int
) -> RegionsOfMaps:
    """Return the regions of every map.

    Parameters
    ----------
    components : sequence of Components
    space : FeatureSpace
    science : Science
        The threshold.
    n_threads : int
        How many maps are split at once.

    Returns
    -------
    tuple
        The regions of each component of each decomposition, the largest first; none of a map that
        is no more reproducible than chance.
    """
    rule = parse_rule(science.evidence.threshold)
    space.prepare_regions()

    def regions_of_map(one: Components, row: int, threshold: float) -> tuple[Region, ...]:
        if one.at_chance[row]:
            return ()
        kept = _kept(one.maps[row], threshold)
        return extract_regions(kept, space, KIND_OF_METHOD[one.method])

    # One thread each: numpy's own would wait for each other.
    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as threads:
        found = []
        for one in components:
            thresholds = apply_rule(one.maps, rule).limits[:, 1].tolist()
            rows = range(one.n_components)
            found.append(tuple(threads.map(regions_of_map, [one] * len(rows), rows, thresholds)))
    return tuple(found)


def _kept(values: NDArray[np.floating], threshold: float) -> NDArray[np.float32]:
    """Return a map's values from the threshold on, scaled to a maximum of 1, and 0 elsewhere."""
    # The threshold is infinite or NaN where nothing is kept.
    kept = np.where(values >= max(threshold, 0), values, 0).astype(np.float32)
    largest = kept.max()
    return kept / largest if largest > 0 else kept
