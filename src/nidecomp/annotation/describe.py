"""Describing components: thresholds, labels, noise flags, and the rows of the metrics table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis

from nidecomp.annotation.atlases import Reference, Tissues, label_atlas, shipped_networks, tissues
from nidecomp.annotation.columns import LEAST_LABEL_R
from nidecomp.annotation.network_labels import NetworkLabel, label_components
from nidecomp.annotation.noise_flags import Flag, NoiseNumbers, flags, reason, tissue_shares
from nidecomp.annotation.peaks import Peak, peak_table
from nidecomp.annotation.thresholds import Thresholded, apply_rule, parse_rule
from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.config.science import EvidenceOptions
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace

Row = Mapping[str, object]


@dataclass(frozen=True, eq=False)
class ReferenceMaps:
    """The maps that components are compared with; None where there are none for the space."""

    networks: Reference | None = None
    tissues: Tissues | None = None
    atlas: Reference | None = None


@dataclass(frozen=True, eq=False)
class Description:
    """The description of one decomposition: thresholded maps, peaks, and the metrics table."""

    thresholded: Thresholded
    peaks: tuple[Peak, ...]
    table: tuple[Row, ...]


def read_references(space: FeatureSpace, options: EvidenceOptions) -> ReferenceMaps:
    """Return the reference maps, resampled to the features of the group.

    Parameters
    ----------
    space : FeatureSpace
        The networks and tissue masks of NiDecomp are used in MNI space only.
    options : EvidenceOptions

    Returns
    -------
    ReferenceMaps

    Raises
    ------
    UsageError
        ``--label-atlas`` cannot be used.
    """
    atlas = options.label_atlas and label_atlas(Path(options.label_atlas), space)
    return ReferenceMaps(shipped_networks(space), tissues(space), atlas or None)


def describe(
    components: Components,
    space: FeatureSpace,
    references: ReferenceMaps,
    options: EvidenceOptions,
) -> Description:
    """Return thresholded maps, peaks and metrics of a decomposition.

    Parameters
    ----------
    components : Components
        With or without their evidence.
    space : FeatureSpace
    references : ReferenceMaps
    options : EvidenceOptions

    Returns
    -------
    Description
    """
    maps = components.maps
    thresholded = apply_rule(maps, parse_rule(options.threshold))
    columns: dict[str, Sequence[object]] = {
        "component": components.names,
        "index": range(components.n_components),
        **label_columns(components, references),
        **_evidence_columns(components),
        **_noise_columns(components, references),
        **_map_columns(maps, thresholded, space),
    }
    table = tuple(
        {name: values[index] for name, values in columns.items()}
        for index in range(components.n_components)
    )
    # Where a map of noise is largest has no meaning.
    interpreted = np.where(components.at_chance[:, None], np.float32(0), thresholded.maps)
    return Description(thresholded, tuple(peak_table(interpreted, space)), table)


# ---------------------------------------------------------------- maps
def label_columns(components: Components, references: ReferenceMaps) -> dict[str, Sequence[object]]:
    """Return the columns with the most similar networks and atlas regions of each map.

    A map that is no more reproducible than chance gets no name, only the correlations.
    """
    maps, at_chance = components.maps, components.at_chance
    columns: dict[str, Sequence[object]] = {}
    for prefix, reference in (("", references.networks), ("atlas_", references.atlas)):
        labels: Sequence[NetworkLabel | None] = [None] * len(maps)
        if reference is not None:
            labels = label_components(maps, reference.maps, reference.names)
        columns[f"{prefix}label"] = [
            label.name if label and label.r >= LEAST_LABEL_R and not noise else None
            for label, noise in zip(labels, at_chance, strict=True)
        ]
        columns[f"{prefix}label_r"] = [label.r if label else None for label in labels]
        columns[f"second_{prefix}label"] = [
            label.second or None if label and not noise else None
            for label, noise in zip(labels, at_chance, strict=True)
        ]
        columns[f"second_{prefix}label_r"] = [label.second_r if label else None for label in labels]
    return columns


def _map_columns(
    maps: NDArray[np.float32], thresholded: Thresholded, space: FeatureSpace
) -> dict[str, Sequence[object]]:
    empty = np.all(maps == 0, axis=1)
    peaks = maps.argmax(axis=1)
    positions = np.where(empty[:, None], np.nan, space.coordinates(peaks))
    return {
        "peak_x": positions[:, 0].tolist(),
        "peak_y": positions[:, 1].tolist(),
        "peak_z": positions[:, 2].tolist(),
        "peak_value": maps[np.arange(len(maps)), peaks].astype(float).tolist(),
        "threshold_low": thresholded.limits[:, 0].tolist(),
        "threshold_high": thresholded.limits[:, 1].tolist(),
        "support": np.mean(maps != 0, axis=1).tolist(),
        "thresholded_support": np.mean(thresholded.maps != 0, axis=1).tolist(),
        "kurtosis": [
            None if none else _kurtosis(one) for one, none in zip(maps, empty, strict=True)
        ],
    }


def _kurtosis(values: NDArray[np.float32]) -> float:
    """Return the excess kurtosis of one map; of a constant one, which has none, -3."""
    return float(kurtosis(values.astype(np.float64))) if np.ptp(values) else -3.0


# ---------------------------------------------------------------- evidence and noise
def _evidence_columns(components: Components) -> dict[str, Sequence[object]]:
    n = components.n_components
    unknown: list[object] = [None] * n
    evidence, restarts = components.evidence, components.restart_index
    columns: dict[str, Sequence[object]] = {
        "restart_stability": unknown if restarts is None else restarts.tolist(),
        "explained_variance": components.explained_variance.tolist(),
    }
    reproducibility = other_half = bootstrap = np.zeros((0, n))
    if evidence:
        reproducibility = evidence.halves.reproducibility
        other_half = evidence.halves.other_half_variance
        bootstrap = evidence.halves.bootstrap
    columns |= {
        "reproducibility": _over_samples(reproducibility, np.mean),
        "reproducibility_chance": (
            [evidence.halves.chance] * n if evidence and len(reproducibility) else unknown
        ),
        "reproducibility_sd": _spread(reproducibility),
        "reproducibility_min": _over_samples(reproducibility, np.min),
        "explained_variance_other_half": _over_samples(other_half, np.mean),
        "bootstrap_r": _over_samples(bootstrap, np.mean),
        "bootstrap_r_sd": _spread(bootstrap),
        "explained_variance_holdout": unknown,
        "dominance": unknown,
        "dominant_participant": unknown,
    }
    if evidence and evidence.datasets:
        columns["reproducibility_other_datasets"] = evidence.datasets.reproducibility.tolist()
    if evidence and evidence.holdout:
        columns["explained_variance_holdout"] = evidence.holdout.explained_variance.tolist()
    if components.participants:
        participants, dominance = components.participants, components.participants.dominance
        whose = participants.explained_variance.argmax(axis=0)
        columns["dominance"] = dominance.tolist()
        columns["dominant_participant"] = [
            f"sub-{participants.labels[index]}" if np.isfinite(share) else None
            for index, share in zip(whose, dominance, strict=True)
        ]
    return columns


def _over_samples(
    values: NDArray[np.float64], how: Callable[..., NDArray[np.float64]]
) -> Sequence[object]:
    """Return a statistic over samples for each component; None where there are no samples."""
    reduced: list[object] = (
        how(values, axis=0).tolist() if len(values) else [None] * values.shape[1]
    )
    return reduced


def _spread(values: NDArray[np.float64]) -> Sequence[object]:
    if len(values) < 2:
        return [None] * values.shape[1]
    spread: list[object] = values.std(axis=0, ddof=1).tolist()
    return spread


def _noise_columns(
    components: Components, references: ReferenceMaps
) -> dict[str, Sequence[object]]:
    numbers = noise_numbers(components, references)
    n_participants = count_participants(components)
    raised = [flags(one, n_participants) for one in numbers]
    return {
        "flags": [",".join(names) or None for names in raised],
        "flag_reasons": [
            " ".join(reason(name, one, n_participants) for name in names) or None
            for names, one in zip(raised, numbers, strict=True)
        ],
        "csf_share": [one.csf for one in numbers],
        "edge_share": [one.edge for one in numbers],
        "outside_share": [one.out for one in numbers],
        "edge_coverage": [one.coverage for one in numbers],
        "edge_limit": [one.edge_limit for one in numbers],
        "high_frequency_share": [one.high_frequency for one in numbers],
        "motion_r": [one.motion_r for one in numbers],
    }


def raised_flags(components: Components, references: ReferenceMaps) -> tuple[tuple[Flag, ...], ...]:
    """Return the noise flags of each component.

    Parameters
    ----------
    components : Components
        Without evidence and participants (template maps), only place raises flags.
    references : ReferenceMaps

    Returns
    -------
    tuple of tuple of str
    """
    n_participants = count_participants(components)
    return tuple(flags(one, n_participants) for one in noise_numbers(components, references))


def count_participants(components: Components) -> int:
    """Return how many participants what is known of components comes from, or 0."""
    return len(components.participants.labels) if components.participants else 0


def noise_numbers(components: Components, references: ReferenceMaps) -> tuple[NoiseNumbers, ...]:
    """Return the numbers that noise flags are based on; NaN where they are unknown."""
    n = components.n_components
    names = [field.name for field in fields(NoiseNumbers) if field.name != "dataset"]
    numbers = dict.fromkeys(names, np.full(n, np.nan))
    datasets = [""] * n
    if references.tissues is not None:
        where = references.tissues
        shares = tissue_shares(components.maps, where.csf, where.edge, where.out)
        numbers |= {
            "csf": shares.csf,
            "edge": shares.edge,
            "out": shares.out,
            "coverage": shares.coverage,
            "edge_limit": shares.edge_limit,
        }
    participants = components.participants
    if participants is not None:
        numbers["high_frequency"] = participants.high_frequency
        numbers["motion_r"] = participants.motion_r
        numbers["dominance"] = participants.dominance
    evidence = components.evidence
    if evidence is not None and evidence.datasets is not None:
        # Only the dataset with the largest share can have most of a component. What is not found in
        # halves of all participants is not found without a dataset, either.
        numbers["without_dataset"] = np.where(
            components.at_chance, np.nan, evidence.datasets.r_without_largest
        )
        numbers["dataset_share"] = evidence.datasets.share_of_largest
        largest = evidence.datasets.largest.tolist()
        datasets = [evidence.datasets.names[one] or OF_BIDS_DIR for one in largest]
    return tuple(
        NoiseNumbers(
            **{name: float(values[index]) for name, values in numbers.items()},
            dataset=datasets[index],
        )
        for index in range(n)
    )
