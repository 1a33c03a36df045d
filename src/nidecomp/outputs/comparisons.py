"""Comparison of decompositions with each other, and of the halves of the participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from nidecomp.config.datasets import OF_BIDS_DIR
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.matching import correlations, match
from nidecomp.spaces.records import Measure

Row = Mapping[str, object]

MATCHING: dict[str, str] = {
    "method": "Method of the first decomposition",
    "scale": "Number of components of the first decomposition",
    "component": "Component of the first decomposition",
    "other_method": "Method of the second decomposition",
    "other_scale": "Number of components of the second decomposition",
    "other_component": (
        "Component of the second decomposition that is matched with it: one to one, so that the "
        "sum of absolute correlations is largest; n/a where there are too few"
    ),
    "r": "Correlation of both maps over the group mask",
}


def matching_table(fitted: Sequence[Components]) -> list[Row]:
    """Return the matches between the components of every pair of decompositions.

    Parameters
    ----------
    fitted : sequence of Components

    Returns
    -------
    list of mapping
        A row for each component of the first decomposition of a pair.
    """
    table: list[Row] = []
    for position, first in enumerate(fitted):
        for second in fitted[position + 1 :]:
            found = match(correlations(first.maps, second.maps))
            pairs = zip(found.second.tolist(), found.r.tolist(), strict=True)
            others = dict(zip(found.first.tolist(), pairs, strict=True))
            for index, name in enumerate(first.names):
                other, r = others.get(index, (None, None))
                table.append(
                    {
                        "method": first.method,
                        "scale": first.n_components,
                        "component": name,
                        "other_method": second.method,
                        "other_scale": second.n_components,
                        "other_component": None if other is None else second.names[other],
                        "r": r,
                    }
                )
    return table


def evidence_summary(components: Components, measure: Measure) -> dict[str, object]:
    """Return the evidence about a decomposition as a whole, as its JSON records it.

    Parameters
    ----------
    components : Components
        With their evidence.
    measure : Measure
        What features are called.

    Returns
    -------
    dict
        Empty where there is none.
    """
    evidence, participants = components.evidence, components.participants
    if evidence is None or participants is None:
        return {}
    halves, holdout = evidence.halves, evidence.holdout
    n_splits = len(halves.trace)
    out = {}
    if holdout:
        out = {
            "HeldOutParticipants": [f"sub-{label}" for label in holdout.labels],
            "ExplainedVarianceHoldout": holdout.total_explained_variance,
        }
    if not n_splits:
        return {
            **out,
            "Order": "by explained variance",
            "Splits": 0,
            "Reproducibility": "not assessed: the participants could not be split into halves",
        }
    fitted, other_half = halves.total_variances.mean(axis=0).tolist()
    return {
        **out,
        "Order": "by mean |r| between halves of the participants to two decimals, then by "
        "explained variance",
        "Splits": n_splits,
        "SplitParticipants": len(participants.labels),
        measure.in_words("SplitVoxels"): halves.n_voxels,
        "SplitNote": "Halves share no participants; runs were reduced independently of each other. "
        "Both use the group mask, and are fitted on "
        f"{measure.in_words('SplitVoxels voxels')} evenly spaced in it",
        "Trace": float(halves.trace.mean()),
        "SubspaceOverlap": float(halves.overlap.mean()),
        "ReproducibilityChance": None if isnan(halves.chance) else halves.chance,
        "AtChance": [
            name
            for name, is_so in zip(components.names, components.at_chance, strict=True)
            if is_so
        ],
        "ExplainedVarianceOfHalves": fitted,
        "ExplainedVarianceOfOtherHalf": other_half,
    }


STABILITY: dict[str, str] = {
    "method": "Method of the decomposition",
    "scale": "Number of components of the decomposition",
    "split": (
        "Number of the split, from 1; the same splits are used for all decompositions. Who is in "
        "which half is in logs/splits.tsv"
    ),
    "trace": "Mean |r| between the maps of both halves, matched one to one",
    "overlap": "Mean squared cosine of the principal angles between both halves' subspaces of maps",
    "explained_variance_fitted": (
        "Share of the whole variance of the cleaned runs of a half that its own maps together "
        "explain, mean over participants, then of both halves"
    ),
    "explained_variance_other_half": (
        "Share of the whole variance of the cleaned runs of a half that the maps of the other half "
        "together explain, mean over participants, then of both halves"
    ),
}
SPLITS: dict[str, str] = {
    "split": "Number of the split, as in logs/stability.tsv",
    "participant_id": "Participant",
    "half": "1 or 2: the half that the participant is in",
}


def stability_table(fitted: Sequence[Components]) -> list[Row]:
    """Return how similar the maps of both halves are, a row for each split and decomposition."""
    table: list[Row] = []
    for components in fitted:
        if components.evidence is None:
            continue
        halves = components.evidence.halves
        totals = halves.total_variances.reshape(-1, 2, 2).mean(axis=1)
        for position, split in enumerate(halves.splits):
            table.append(
                {
                    "method": components.method,
                    "scale": components.n_components,
                    "split": split.number,
                    "trace": float(halves.trace[position]),
                    "overlap": float(halves.overlap[position]),
                    "explained_variance_fitted": float(totals[position, 0]),
                    "explained_variance_other_half": float(totals[position, 1]),
                }
            )
    return table


def splits_table(fitted: Sequence[Components]) -> list[Row]:
    """Return who is in which half, a row for each participant of each split."""
    splits = {
        split.number: split
        for components in fitted
        if components.evidence
        for split in components.evidence.halves.splits
    }
    return [
        {"split": number, "participant_id": f"sub-{label}", "half": half}
        for number, split in sorted(splits.items())
        for half, labels in ((1, split.first), (2, split.second))
        for label in labels
    ]


DATASETS: dict[str, str] = {
    "method": "Method of the decomposition",
    "scale": "Number of components of the decomposition",
    "component": "Name of the component",
    "dataset": f"Name of the dataset (--datasets); {OF_BIDS_DIR} stands for BIDS_DIR",
    "participants": "Number of the dataset's participants that were fitted",
    "explained_variance": (
        "Share of the variance of the cleaned runs that only this component explains (the increase "
        "of the residual when its map is left out), mean over the dataset's participants"
    ),
    "share": (
        "The dataset's share of that: its explained_variance divided by the sum over datasets; "
        "1/n if all n datasets contribute equally"
    ),
    "r_without": (
        "|r| of the component's map with the matching map of a fit without this dataset; n/a where "
        "less than a third of the participants, or less than two, would be left. What only this "
        "dataset has is not found without it"
    ),
}


def datasets_table(fitted: Sequence[Components]) -> list[Row]:
    """Return what each dataset contributes, a row for each dataset of each component."""
    table: list[Row] = []
    for components in fitted:
        datasets = components.evidence.datasets if components.evidence else None
        if datasets is None:
            continue
        share = datasets.share
        table += (
            {
                "method": components.method,
                "scale": components.n_components,
                "component": component,
                "dataset": name or OF_BIDS_DIR,
                "participants": datasets.n_participants[row],
                "explained_variance": float(datasets.explained_variance[row, index]),
                "share": float(share[row, index]),
                "r_without": float(datasets.r_without[row, index]),
            }
            for index, component in enumerate(components.names)
            for row, name in enumerate(datasets.names)
        )
    return table
