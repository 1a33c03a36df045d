"""How many components were chosen, from what, and why: the records and their words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RULE = (
    "The number of CanICA maps that random halves of the participants both find again, with a "
    "mean |r| of at least what is asked for with so many participants and of more than random "
    "rotations of the halves' maps have by chance (95 % quantile), where as many maps are fitted "
    "as there are supported dimensions: the leading ones whose canonical correlation across "
    "participants exceeds the 95 % quantile of what unrelated participants have by chance in "
    "noise as smooth, and which participants who had no part in finding them hold with a squared "
    "correlation of at least a set amount above chance."
)

# Both halves need two: of one participant alone every dimension is as good as any other.
FEWEST_PARTICIPANTS = 4


@dataclass(frozen=True)
class ModelOrderEvidence:
    """What speaks for the k-th shared dimension and for decompositions into k maps.

    Parameters
    ----------
    n_components : int
        k.
    canonical_r : float
        Root mean square, over participants, of the k-th shared dimension's correlation with what
        each participant's rows span: the k-th canonical correlation.
    null_quantile : float
        95 % quantile of the same where participants have no k-th dimension in common.
    other_half_r : float
        The same as `canonical_r` with participants who had no part in finding the dimension, root
        mean square over splits; NaN where it cannot be judged.
    other_half_sd : float
        Standard deviation over the splits' halves.
    overlap : float
        Mean squared cosine of the principal angles between the halves' k-dimensional subspaces,
        mean over splits; NaN where it cannot be judged.
    map_r : float
        Mean |r| between both halves' CanICA maps of the same component, over splits and the k
        components; NaN where k is none of those that were fitted.
    map_r_sd : float
        Its standard deviation over the components.
    least_map_r : float
        What is asked for: the larger one of `least_map_r` and the 95 % quantile of |r| where each
        half's maps are rotated at random in the space that they span; NaN where k is none of those
        that were fitted.
    n_reproducible : int or None
        How many of k maps halves find again; None where k is none of those that were fitted.
    map_rs : tuple of float
        `map_r` of each of the k components, the largest first; empty where k is none of those that
        were fitted.
    supported : bool
        Whether the k-th dimension satisfies both conditions on dimensions.
    """

    n_components: int
    canonical_r: float
    null_quantile: float
    other_half_r: float = math.nan
    other_half_sd: float = math.nan
    overlap: float = math.nan
    map_r: float = math.nan
    map_r_sd: float = math.nan
    least_map_r: float = math.nan
    n_reproducible: int | None = None
    map_rs: tuple[float, ...] = ()
    supported: bool = False


@dataclass(frozen=True)
class ModelOrderChoice:
    """How many components the data support, and why.

    Parameters
    ----------
    n_components : int
        0 where nothing is reproducible, or where it cannot be judged.
    reason : str
        A sentence for people, with the numbers.
    n_dimensions : int
        Supported dimensions: how many maps were fitted to see which of them are found again.
    evidence : tuple of ModelOrderEvidence
        For k = 1, 2, …
    n_participants, n_splits, n_voxels : int
        Participants, splits of them into halves, voxels that were looked at.
    effective_voxels : float
        How many independent voxels smooth noise amounts to; NaN with one participant.
    least_other_half_r : float
        The `ModelOrderEvidence.other_half_r` that is asked for; NaN with one participant.
    """

    n_components: int
    reason: str
    n_dimensions: int
    evidence: tuple[ModelOrderEvidence, ...]
    n_participants: int
    n_splits: int
    n_voxels: int
    effective_voxels: float
    least_other_half_r: float


def reason(
    chosen: int,
    n_dimensions: int,
    evidence: Sequence[ModelOrderEvidence],
    n_participants: int,
    least: float,
) -> str:
    """Say what was chosen and why, with the numbers.

    Parameters
    ----------
    chosen, n_dimensions : int
        Components, and supported dimensions.
    evidence : sequence of ModelOrderEvidence
    n_participants : int
    least : float
        The held-out correlation that is asked for.

    Returns
    -------
    str
        One or two sentences.
    """
    if n_participants < FEWEST_PARTICIPANTS:
        return (
            f"What is reproducible cannot be judged with {n_participants} "
            f"participant{'s' * (n_participants != 1)}: halves of the group are compared, which "
            f"takes {FEWEST_PARTICIPANTS} or more. Give a number."
        )
    if not evidence:
        return "The reduced runs hold no variance: nothing can be found in them."
    if n_dimensions == 0:
        return (
            f"Participants share nothing: of the first dimension, {_failing(evidence[0], least)}."
        )
    if n_dimensions == len(evidence):
        end = (
            "as many as were judged; there may be more: reduce runs to more rows, or raise the "
            "largest number that is considered"
        )
    else:
        end = f"of the next, {_failing(evidence[n_dimensions], least)}"
    last = evidence[n_dimensions - 1]
    maps = (
        "the ICA of as many maps broke down in a part of the group"
        if last.n_reproducible is None
        else f"of as many maps, halves of the group reproduce {chosen or 'none'} with |r| above "
        f"{last.least_map_r:.2f}"
    )
    return f"Participants share {n_dimensions} dimensions ({end}); {maps}."


def _failing(one: ModelOrderEvidence, least: float) -> str:
    """Say which of the two conditions a dimension does not satisfy, with its numbers."""
    if not one.canonical_r > one.null_quantile:
        return (
            f"the canonical correlation {one.canonical_r:.2f} is within chance (95 % quantile "
            f"{one.null_quantile:.2f})"
        )
    return f"participants of other halves hold it with r = {one.other_half_r:.2f} < {least:.2f}"
