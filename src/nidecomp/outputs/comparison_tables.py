"""The tables of a comparison of participants, and what their columns mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.describe import ReferenceMaps, label_columns
from nidecomp.annotation.peaks import peak_table
from nidecomp.annotation.place_names import LEAST_SHARE, LEAST_Z, label_at
from nidecomp.comparison.answers import ALPHA
from nidecomp.comparison.glm import LinearTest, linear_test
from nidecomp.comparison.records import (
    Compared,
    Comparison,
    Contrast,
    MapsOfContrast,
    ValuesOfContrast,
)
from nidecomp.comparison.values import effect_size
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.records import Measure

Row = dict[str, object]

_EFFECT_SIZE = (
    "partial correlation t / √(t² + dof), of an F test partial eta squared m F / (m F + dof)"
)
_INTERVAL = "95 % confidence interval of the effect size by Fisher's z; n/a for F tests"
_DIRECTION = "What the sign of t means there; n/a for F tests"
_ALL = "corrected over all compared components and all tests, too"
COMPARISONS: dict[str, str] = {
    "decomposition": "Method and number of components of the decomposition",
    "component": "Name of the component",
    "label": "Network, or else region of --label-atlas, that the component resembles most",
    "compared": "1: participants were compared; 0: they were not, because the component has a "
    "noise flag or an empty map",
    "contrast": "Name of the test in file names",
    "test": "The test, as it was given",
    "n": "Number of participants",
    "statistic": "t, or F of a test with several degrees of freedom",
    "dof": "Residual degrees of freedom of the model",
    "map_peak": "t or F at the peak: of the voxels with the smallest p by TFCE, that with the "
    "largest absolute TFCE value (without TFCE: the voxel with the largest absolute t, or F)",
    "map_x": "Position of the peak, first RAS+ coordinate of the space",
    "map_y": "Position of the peak, second RAS+ coordinate",
    "map_z": "Position of the peak, third RAS+ coordinate",
    "map_p_tfce": "Smallest p value of the map by TFCE, corrected over its voxels",
    "map_p_tfce_all": f"Smallest p value of the map by TFCE, {_ALL}",
    "map_p_voxel": "Smallest p value of the map by the largest t or F, corrected over its voxels",
    "map_p_voxel_all": f"Smallest p value of the map by the largest t or F, {_ALL}",
    "map_p_cluster": "Smallest p value of the map by the extent of clusters, corrected over its "
    "clusters",
    "map_p_cluster_all": f"Smallest p value of the map by the extent of clusters, {_ALL}",
    "n_features_found": f"Number of voxels with p < {ALPHA:g} by TFCE (without TFCE: by the "
    f"largest t or F), {_ALL}",
    "map_effect_size": f"Effect size at the peak: {_EFFECT_SIZE}. It is too large on average, "
    "because the peak was chosen",
    "map_effect_size_low": f"Lower limit of the {_INTERVAL}",
    "map_effect_size_high": f"Upper limit of the {_INTERVAL}",
    "map_direction": f"{_DIRECTION}; of both directions, where voxels with both were found",
    "amplitude_statistic": "t or F of the amplitudes",
    "amplitude_p": "Permutation p value of the amplitudes of this component",
    "amplitude_p_all": "The same, corrected over all compared components and all tests",
    "amplitude_effect_size": f"Effect size: {_EFFECT_SIZE}",
    "amplitude_effect_size_low": f"Lower limit of the {_INTERVAL}",
    "amplitude_effect_size_high": f"Upper limit of the {_INTERVAL}",
    "amplitude_direction": "What the sign of t means; n/a for F tests",
}
COMPARISONS_UNITS = dict.fromkeys(("map_x", "map_y", "map_z"), "mm")
EDGES: dict[str, str] = {
    "decomposition": COMPARISONS["decomposition"],
    "contrast": COMPARISONS["contrast"],
    "kind": "Kind of connectome: correlation or partial (--connectomes)",
    "component_1": "Name of the first component",
    "component_2": "Name of the second component",
    "statistic": "t or F of Fisher's z of the edge, the mean over a participant's runs",
    "dof": COMPARISONS["dof"],
    "p": "Permutation p value of this edge alone",
    "p_all": "The same, corrected over all edges of this kind and all tests",
    "effect_size": f"Effect size: {_EFFECT_SIZE}",
    "effect_size_low": f"Lower limit of the {_INTERVAL}",
    "effect_size_high": f"Upper limit of the {_INTERVAL}",
    "direction": "What the sign of t means; n/a for F tests",
    "network_p": "p value of the connected set of edges that this edge belongs to (network-based "
    "statistic, --nbs-threshold), corrected over all sets of edges of this kind and all "
    "tests; n/a where it belongs to none",
}
AMPLITUDES: dict[str, str] = {
    "participant_id": "Participant",
    "decomposition": COMPARISONS["decomposition"],
    "component": COMPARISONS["component"],
    "amplitude": "Amplitude of the network, as it was compared: square root of the variance of the "
    "component's time course, mean over the participant's runs weighted by their numbers of "
    "volumes, in units of the cleaned run; with --within, the difference",
}


def cluster_columns(measure: Measure) -> dict[str, str]:
    """Return the columns of the table of clusters with their descriptions."""
    place = f"Position of its peak, the {measure.feature} with the largest absolute t, or F:"
    return {
        "component": "Name of the component",
        "cluster": f"Number of the cluster of {measure.features} with p < {ALPHA:g} by TFCE "
        f"(without TFCE: by the largest t or F), {_ALL}; from 1, the largest first",
        "x": f"{place} first RAS+ coordinate of the space",
        "y": f"{place} second RAS+ coordinate",
        "z": f"{place} third RAS+ coordinate",
        "value": "t or F at the peak",
        "p_all": f"p value at the peak, {_ALL}",
        "direction": _DIRECTION,
        "label": "Network whose published map is largest at the peak, where its z is at least "
        f"{LEAST_Z:g} there; or else the region of --label-atlas whose map is largest, where it "
        f"is at least {LEAST_SHARE:g} of the map's maximum; n/a where neither is",
        **{
            one.column: f"{one.size.capitalize()} of the cluster: {one.neighbours} and a sign"
            f"{measure.other_unit(one)}"
            for one in measure.units
        },
    }


def cluster_units(measure: Measure) -> dict[str, str]:
    """Return the units of the columns of the table of clusters."""
    return {**dict.fromkeys("xyz", "mm"), **measure.units_of_columns}


def columns_in_words(columns: Mapping[str, str], measure: Measure) -> dict[str, str]:
    """Return the descriptions of columns for the features of a space."""
    return {name: measure.in_words(text) for name, text in columns.items()}


# ---------------------------------------------------------------- components
def comparisons_table(
    comparison: Comparison,
    components: Sequence[Components],
    space: FeatureSpace,
    references: ReferenceMaps,
) -> tuple[dict[str, str], list[Row]]:
    """Return the columns of what was computed, and a row for each test of each component.

    Parameters
    ----------
    comparison : Comparison
    components : sequence of Components
        The decompositions that were compared.
    space : FeatureSpace
    references : ReferenceMaps
        What components are named by.

    Returns
    -------
    columns : dict
        Column to its description.
    table : list of dict
    """
    rows = [
        row
        for one, compared in zip(components, comparison.decompositions, strict=True)
        for row in _rows_of(comparison, one, compared, space, labels_of(one, references))
    ]
    there = {name for row in rows for name in row}
    columns = {name: text for name, text in COMPARISONS.items() if name in there}
    return (
        columns_in_words(columns, space.measure),
        [{**dict.fromkeys(columns), **row} for row in rows],
    )


def labels_of(components: Components, references: ReferenceMaps) -> list[str | None]:
    """Return the network, or else the region of the atlas, that each component resembles."""
    columns = label_columns(components, references)
    both = zip(columns["label"], columns["atlas_label"], strict=True)
    return [str(first or second) if first or second else None for first, second in both]


def _rows_of(
    comparison: Comparison,
    components: Components,
    compared: Compared,
    space: FeatureSpace,
    labels: Sequence[str | None],
) -> Iterator[Row]:
    design = comparison.design
    positions = {index: position for position, index in enumerate(compared.components)}
    for number, contrast in enumerate(design.contrasts):
        test = linear_test(design, contrast, comparison.kind)
        of_maps = _of_maps(compared.maps[number], contrast, test, space) if compared.maps else []
        for index, name in enumerate(components.names):
            row: Row = {
                "decomposition": components.title,
                "component": name,
                "label": labels[index],
                "compared": int(index in positions),
                "contrast": contrast.name,
                "test": contrast.text,
                "n": len(design.people),
                "statistic": contrast.statistic,
                "dof": len(design.people) - len(design.columns),
            }
            if (position := positions.get(index)) is not None:
                if of_maps:
                    row |= of_maps[position]
                if compared.amplitudes:
                    values = _of_values(compared.amplitudes[number], contrast, position)
                    row |= {f"amplitude_{key}": value for key, value in values.items()}
            yield row


def main_inference(maps: MapsOfContrast) -> str:
    """Return by which p values things are found: ``tfce`` where it was computed, or ``voxel``."""
    return "tfce" if "tfceall" in maps.p else "voxel"


def _of_maps(
    maps: MapsOfContrast, contrast: Contrast, test: LinearTest, space: FeatureSpace
) -> list[Row]:
    """Return the columns about the map of each component that was compared."""
    strength = maps.statistic if maps.tfce is None else maps.tfce
    peaks = peaks_of(
        strength, maps.p[f"{main_inference(maps)}all"], maps.statistic, space.on_surface
    )
    at_peak = maps.statistic[np.arange(len(peaks)), peaks].astype(np.float64)
    found = maps.p[f"{main_inference(maps)}all"] < ALPHA
    places = space.coordinates(peaks)
    sizes = effect_size(test, at_peak)
    rows: list[Row] = []
    for one, peak in enumerate(at_peak.tolist()):
        signs = set(np.sign(strength[one, found[one]]).tolist()) or {float(np.sign(peak))}
        rows.append(
            {
                "map_peak": peak,
                **{f"map_{axis}": float(places[one, at]) for at, axis in enumerate("xyz")},
                **{
                    f"map_p_{name.removesuffix('all')}{'_all' * name.endswith('all')}": float(
                        p[one].min()
                    )
                    for name, p in maps.p.items()
                },
                "n_features_found": int(found[one].sum()),
                **dict(
                    zip(
                        ("map_effect_size", "map_effect_size_low", "map_effect_size_high"),
                        (float(size[one]) for size in sizes),
                        strict=True,
                    )
                ),
                "map_direction": _direction(contrast, signs),
            }
        )
    return rows


def peaks_of(
    strength: NDArray[np.float32],
    p: NDArray[np.float32],
    statistic: NDArray[np.float32],
    on_surface: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Return the feature of each map with the strongest evidence.

    Vertices and voxels are enhanced in units of their own: between them, p decides, and where both
    have the smallest p, the largest t or F.

    Parameters
    ----------
    strength, p, statistic : ndarray, shape (n_maps, n_features)
    on_surface : ndarray of bool, shape (n_features,)

    Returns
    -------
    ndarray of int, shape (n_maps,)
    """
    is_smallest = p == p.min(axis=1, keepdims=True)
    best = np.where(is_smallest, np.abs(statistic), -1).argmax(axis=1)
    is_candidate = is_smallest & (on_surface == on_surface[best][:, None])
    return np.asarray(np.where(is_candidate, np.abs(strength), -1).argmax(axis=1))


def _of_values(values: ValuesOfContrast, contrast: Contrast, position: int) -> Row:
    """Return what is known of one number, such as an amplitude."""
    statistic = float(values.statistic[position])
    return {
        "statistic": statistic,
        "p": float(values.p[position]),
        "p_all": float(values.p_all[position]),
        "effect_size": float(values.effect_size[position]),
        "effect_size_low": float(values.low[position]),
        "effect_size_high": float(values.high[position]),
        "direction": _direction(contrast, {float(np.sign(statistic))}),
    }


def _direction(contrast: Contrast, signs: set[float]) -> str | None:
    """Return what the signs of a statistic mean; None for F."""
    if contrast.statistic == "F":
        return None
    words = [
        text
        for sign, text in ((1.0, contrast.positive), (-1.0, contrast.negative))
        if sign in signs
    ]
    return " and elsewhere ".join(words) or None


# ---------------------------------------------------------------- edges and amplitudes
def edges_table(
    comparison: Comparison, components: Sequence[Components]
) -> tuple[dict[str, str], list[Row]]:
    """Return the columns of what was computed, and a row for each test of each edge."""
    rows: list[Row] = []
    for one, compared in zip(components, comparison.decompositions, strict=True):
        pairs = zip(*np.triu_indices(len(compared.components), 1), strict=True)
        names = [
            tuple(one.names[compared.components[position]] for position in pair) for pair in pairs
        ]
        for kind, of_contrasts in compared.edges.items():
            for contrast, values in zip(comparison.design.contrasts, of_contrasts, strict=True):
                networks = values.network_p
                rows += (
                    {
                        "decomposition": one.title,
                        "contrast": contrast.name,
                        "kind": kind,
                        "component_1": first,
                        "component_2": second,
                        "dof": values.dof,
                        **_of_values(values, contrast, position),
                        **({"network_p": float(networks[position])} if len(networks) else {}),
                    }
                    for position, (first, second) in enumerate(names)
                )
    there = {name for row in rows for name in row}
    columns = {name: text for name, text in EDGES.items() if name in there}
    return columns, [{**dict.fromkeys(columns), **row} for row in rows]


def amplitudes_table(comparison: Comparison, components: Sequence[Components]) -> list[Row]:
    """Return a row for each component of each participant, as they went into the model."""
    return [
        {
            "participant_id": f"sub-{person.participant}",
            "decomposition": one.title,
            "component": one.names[index],
            "amplitude": float(compared.amplitude_values[row, position]),
        }
        for one, compared in zip(components, comparison.decompositions, strict=True)
        if compared.amplitudes
        for row, person in enumerate(comparison.design.people)
        for position, index in enumerate(compared.components)
    ]


# ---------------------------------------------------------------- clusters
def clusters_table(
    maps: MapsOfContrast,
    contrast: Contrast,
    names: Sequence[str],
    space: FeatureSpace,
    references: ReferenceMaps,
) -> list[Row]:
    """Return the clusters of features that were found in the maps of one test.

    Parameters
    ----------
    maps : MapsOfContrast
    contrast : Contrast
    names : sequence of str
        Those of the components that were compared.
    space : FeatureSpace
    references : ReferenceMaps
        What places are named by.

    Returns
    -------
    list of dict
        By component, then by size, the largest first.
    """
    p = maps.p[f"{main_inference(maps)}all"]
    found = np.where(p < ALPHA, maps.statistic, np.float32(0))
    return [
        {
            **asdict(cluster),
            **dict.fromkeys(space.measure.units_of_columns),
            cluster.column: cluster.size,
            "component": names[cluster.component_index],
            "p_all": float(p[cluster.component_index, cluster.feature]),
            "direction": _direction(contrast, {float(cluster.sign)}),
            "label": label_at(cluster.feature, references),
        }
        for cluster in peak_table(found, space, n_clusters=space.n_features, min_size=0.0)
    ]
