"""Records of the choice of the number of components, and sentences that explain it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nidecomp.core.text import count

RULE = (
    "The number of CanICA maps that random halves of the participants reproduce, where as many "
    "maps are fitted as there are supported dimensions. Supported dimensions are the leading ones "
    "that meet two conditions. First, their canonical correlation across participants exceeds the "
    "95 % quantile that unrelated participants reach by chance in noise of the same smoothness. "
    "Second, their squared correlation with participants that they were not computed from is "
    "above chance by at least a fixed share of what chance leaves. A map is reproduced if its |r| "
    "between halves, mean over splits, exceeds two limits: one that rises with the number of "
    "participants, and the 95 % quantile that is reached by chance if the maps of the halves are "
    "rotated at random."
)

# Principal components of a run per independent value of the images. Beyond, the components of each
# run fill so much of what images so smooth can be that runs share dimensions, and halves maps,
# without a signal in common: a few maps with a share of 0.06, dozens with 0.2
# (docs/decisions/0011-evidence.md).
_LARGEST_SHARE = 0.05
# Each half needs two participants: one participant alone shares all dimensions with itself.
FEWEST_PARTICIPANTS = 4


@dataclass(frozen=True)
class ModelOrderEvidence:
    """The evidence for the k-th shared dimension and for decompositions into k maps.

    CanICA is fitted for a few k only. For all others, the fields about maps are NaN, None or empty.

    Parameters
    ----------
    n_components : int
        k.
    canonical_r : float
        The k-th canonical correlation: the root mean square over participants of the correlation
        between the k-th shared dimension and the subspace of each participant's rows.
    null_quantile : float
        The 95 % quantile of `canonical_r` where participants have no k-th dimension in common.
    other_half_r : float
        The same as `canonical_r`, but with participants that the dimension was not computed from;
        root mean square over the halves of all splits. NaN where there are no halves.
    other_half_sd : float
        The standard deviation over the halves of all splits.
    overlap : float
        The mean squared cosine of the principal angles between the k-dimensional subspaces of both
        halves, mean over splits. NaN where there are no halves.
    map_r : float
        The |r| between both halves' CanICA maps of the same component, mean over splits and
        components.
    map_r_sd : float
        The standard deviation over components of |r|, mean over splits.
    least_map_r : float
        The limit that a map's |r| must exceed: the value of `model_order.least_map_r` or the 95 %
        quantile of |r| where each half's maps are rotated at random in the space that they span,
        whichever is larger.
    n_reproducible : int or None
        How many of the k maps exceed this limit.
    map_rs : tuple of float
        The |r| of each component, mean over splits, the largest first.
    supported : bool
        Whether the k-th dimension meets both conditions on dimensions.
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
    """The number of components that the data support, and why.

    Parameters
    ----------
    n_components : int
        0 where no component is reproducible, or where this cannot be judged.
    reason : str
        Sentences for users, with the numbers.
    n_dimensions : int
        The number of supported dimensions, and of maps that were fitted to see which of them halves
        of the participants reproduce.
    evidence : tuple of ModelOrderEvidence
        For k = 1, 2, …
    n_participants, n_splits, n_voxels : int
        The numbers of participants, of their splits into halves and of the voxels that were used.
    effective_voxels : float
        The number of independent voxels with the same chance correlations as the smooth noise of
        the data; NaN with one participant.
    least_other_half_r : float
        The smallest `ModelOrderEvidence.other_half_r` of a supported dimension; NaN with one
        participant.
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

    @property
    def too_smooth(self) -> bool:
        """Whether the images are too smooth to tell networks from noise."""
        return len(self.evidence) > _LARGEST_SHARE * self.effective_voxels

    @property
    def caution(self) -> str:
        """A sentence where the images are too smooth; empty otherwise."""
        if not self.too_smooth:
            return ""
        return (
            f"The images are so smooth (about {self.effective_voxels:.0f} independent values, for "
            f"{len(self.evidence)} principal components of each run) that halves can reproduce "
            "maps of noise: do not rely on this number; smooth less (--smoothing-fwhm), or set the "
            "number of components yourself."
        )


def reason(
    chosen: int,
    n_dimensions: int,
    evidence: Sequence[ModelOrderEvidence],
    n_participants: int,
    least: float,
) -> str:
    """Return sentences that explain the choice, with the numbers.

    Parameters
    ----------
    chosen, n_dimensions : int
        The numbers of components and of supported dimensions.
    evidence : sequence of ModelOrderEvidence
    n_participants : int
    least : float
        The smallest correlation with the participants of the other half that supports a dimension.

    Returns
    -------
    str
        One or two sentences.
    """
    if n_participants < FEWEST_PARTICIPANTS:
        return (
            "The number of components cannot be chosen from "
            f"{count(n_participants, 'participant')}: halves of the group are compared, which "
            f"needs at least {FEWEST_PARTICIPANTS}. Set the number of components yourself."
        )
    if not evidence:
        return "The reduced runs have no variance, so that there are no components to be found."
    if n_dimensions == 0:
        return f"Participants share no dimension: for the first, {_failing(evidence[0], least)}."
    if n_dimensions == len(evidence):
        end = (
            "the largest number that was considered; there may be more with a larger "
            "--max-components"
        )
    else:
        end = f"for the next, {_failing(evidence[n_dimensions], least)}"
    last = evidence[n_dimensions - 1]
    shared = count(n_dimensions, "dimension")
    fitted = count(n_dimensions, "CanICA map")
    maps = (
        f"The ICA with {fitted} failed in the group or in one of its halves."
        if last.n_reproducible is None
        else f"Of {fitted}, halves of the group reproduce {chosen or 'none'} with |r| above "
        f"{last.least_map_r:.2f}."
    )
    return f"Participants share {shared} ({end}). {maps}"


def _failing(dimension: ModelOrderEvidence, least: float) -> str:
    """Return which of the two conditions a dimension does not meet, with the numbers."""
    if not dimension.canonical_r > dimension.null_quantile:
        return (
            f"the canonical correlation across participants, {dimension.canonical_r:.2f}, does not "
            f"exceed the 95 % quantile of chance, {dimension.null_quantile:.2f}"
        )
    return (
        "the correlation with the participants of the other half, "
        f"{dimension.other_half_r:.2f}, is below the limit of {least:.2f}"
    )
