"""How decompositions compare: with each other, and between halves of the participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nidecomp.decomposition.components import Components
from nidecomp.decomposition.matching import correlations, match

Row = Mapping[str, object]

MATCHING: dict[str, str] = {
    "method": "Method of the first decomposition",
    "scale": "Its number of components",
    "component": "A component of it",
    "other_method": "Method of the second decomposition",
    "other_scale": "Its number of components",
    "other_component": (
        "Its component that is matched with the first one: one to one, so that the sum of "
        "absolute correlations is largest; n/a where the second decomposition has fewer"
    ),
    "r": "Correlation of both maps over the mask",
}


def matching_table(fitted: Sequence[Components]) -> list[Row]:
    """Match every decomposition with every other one.

    Parameters
    ----------
    fitted : sequence of Components

    Returns
    -------
    list of mapping
        A row for each component of the first of each pair.
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


def evidence_summary(components: Components) -> dict[str, object]:
    """Say in a sidecar's words how maps were judged and ordered, and the group's figures.

    Parameters
    ----------
    components : Components
        With their evidence.

    Returns
    -------
    dict
        Empty where there is none.
    """
    evidence = components.evidence
    if evidence is None:
        return {}
    n_splits = len(evidence.trace)
    out = {}
    if evidence.held_out:
        out = {
            "HeldOutParticipants": [f"sub-{label}" for label in evidence.held_out],
            "ExplainedVarianceHoldout": evidence.total_holdout_variance,
        }
    if not n_splits:
        return {
            **out,
            "Order": "by explained variance",
            "Splits": 0,
            "Reproducibility": "not judged: there were no halves of the participants to compare",
        }
    fitted, held_out = evidence.total_variances.mean(axis=0).tolist()
    return {
        **out,
        "Order": "by mean |r| between halves of the participants to two decimals, then by "
        "explained variance",
        "Splits": n_splits,
        "SplitParticipants": len(evidence.participants),
        "SplitVoxels": evidence.n_voxels,
        "SplitNote": "Halves share no participant and no reduction, but the group's mask and grid; "
        "they are fitted on SplitVoxels voxels evenly spaced in the mask",
        "Trace": float(evidence.trace.mean()),
        "SubspaceOverlap": float(evidence.overlap.mean()),
        "ExplainedVarianceOfHalves": fitted,
        "ExplainedVarianceOfOtherHalf": held_out,
    }


STABILITY: dict[str, str] = {
    "method": "Method of the decomposition",
    "scale": "Its number of components",
    "split": "Number of the split, from 1; the same for all decompositions",
    "trace": "Mean |r| of both halves' maps, matched one to one",
    "overlap": "Mean squared cosine of the principal angles between what both halves' maps span",
    "explained_variance_fitted": (
        "Share of a half's variance that all of its own maps explain together, mean of both halves"
    ),
    "explained_variance_other_half": (
        "Share of a half's variance that all maps of the other half explain together, mean of both"
    ),
}


def stability_table(fitted: Sequence[Components]) -> list[Row]:
    """Tell how alike the halves of the participants came out, a row for each split."""
    table: list[Row] = []
    for components in fitted:
        evidence = components.evidence
        if evidence is None:
            continue
        totals = evidence.total_variances.reshape(-1, 2, 2).mean(axis=1)
        for split, (trace, overlap) in enumerate(
            zip(evidence.trace, evidence.overlap, strict=True)
        ):
            table.append(
                {
                    "method": components.method,
                    "scale": components.n_components,
                    "split": split + 1,
                    "trace": float(trace),
                    "overlap": float(overlap),
                    "explained_variance_fitted": float(totals[split, 0]),
                    "explained_variance_other_half": float(totals[split, 1]),
                }
            )
    return table
