"""Flags of components that are probably noise: by place, time courses, participants, datasets.

Flags are recommendations for whoever inspects the components. No component is removed for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks
from nidecomp.core.text import count
from nidecomp.decomposition.time_courses import CUTOFF_HZ

Flag = Literal[
    "csf", "edge", "outside", "high-frequency", "motion", "single-participant", "single-dataset"
]

# The limits on the place of components were set on maps with 4 mm voxels in four brain masks, from
# one 10 mm larger than the brain to one 4 mm smaller. Noise: simulated rings at the border of the
# mask, one side of these rings, ventricles, and half of the ventricles, smoothed at 6 mm, with
# smooth background noise as 10 to 75 % of their variance. Signal: the 14 networks of
# data/networks.nii.gz, and spheres at the places of 17 small networks. No signal is flagged, and
# all noise is (except that 80 % of rings are with 75 % background noise in the smallest mask).
# For rates in simulated groups, see python benchmarks/evidence.py and
# docs/decisions/0011-evidence.md.

# The voxels that count are those stronger than this many times the map's root mean square. Without
# a threshold, weak background noise in all other voxels moves every share to that of the mask: with
# 60 % background noise, ventricles were hardly ever flagged, and rings not in the smaller masks.
STRONG = 2.0
# Voxels count in any case if they have at least this share of the map's peak. A map that is about
# equally strong in more than a quarter of the mask would have no voxel above the threshold.
OF_PEAK = 0.5
# Ventricles have 0.61 to 0.96 of their weight in CSF, networks at most 0.01, and the head of the
# caudate, which lies between the ventricles, 0.30. ICA-AROMA's limit of 0.10 (Pruim et al. 2015,
# NeuroImage 112:267, doi:10.1016/j.neuroimage.2015.02.064) would flag the caudate.
# The same limit holds at grayordinates (91k), where vertices of the cortex are no CSF: ventricles
# smoothed at 4 to 8 mm have 0.43 to 0.79 with up to 50 % background noise (half of them with 75 %
# are above the limit), the 14 networks and random maps at most 0.01, whole structures at most 0.11
# (caudate), and spheres of 6 and 10 mm anywhere in the voxels more than 0.40 in 1.5 %, around the
# fourth ventricle. Edge and outside are not used there: spheres in the cerebellum have up to 0.99
# at the edge, the ring of motion 0.14 to 0.47, and no voxel but 11 of 31,870 is outside.
CSF_LIMIT = 0.40
# The limit for the edge and the outside depends on the mask, because they are half of the voxels of
# a wide mask and a tenth of a tight one. Therefore the odds of a component's weight being there are
# divided by the odds of the mask's voxels. This ratio is 6.4 or more for the simulated rings, at
# most 3.1 for networks, 3.8 for spheres, and 4.7 (8 mm) and 5.0 (2 mm) for the network of the
# occipital pole as decompositions of simulated groups find it.
EDGE_ODDS = 7.0
# Rings as decompositions find them are mixed with other signals: their ratio is 2 or more. But
# motion covers much of the edge (12 to 75 % of it), a network only one place (at most 11 %).
EDGE_COVERAGE = 0.12
EDGE_ODDS_IF_COVERED = 2.0
# The smallest limit. In a mask with hardly any edge (8 mm smaller than the brain), the ratio is
# that of a few voxels: a sphere in the temporal pole has a ratio of 10 with a share of 0.11.
EDGE_LEAST = 1 / 3
# Networks have at most 0.39 of their weight outside in a mask of which 31 % is outside of the
# brain; the network of the occipital pole as found with 8 mm voxels has 0.54.
OUTSIDE_LIMIT = 0.60
# The BOLD signal of networks is mostly below 0.1 Hz (Griffanti et al. 2017, NeuroImage 154:188,
# doi:10.1016/j.neuroimage.2016.12.036). White noise has 0.6 of its power above 0.1 Hz with a
# repetition time of 2 s, and 0.4 with 3 s, where this flag is rarely raised.
HIGH_FREQUENCY_LIMIT = 0.50
# |r| of 0.35 is an eighth of the variance. Time courses that are unrelated to a run's 13 motion
# measures, with an autocorrelation of 0.3 to 0.8, reach 0.5 in 1 % of single runs of 200 volumes or
# more, and their mean over many runs is 0.1 to 0.3. Simulated components that follow framewise
# displacement have 0.28 to 0.55 after denoising, networks at most 0.26.
MOTION_LIMIT = 0.35
# |r| with the match in a fit without a dataset, and the dataset's share of what is explained. In
# simulated groups of 15 to 24 participants, networks that only one dataset has reach 0.20 at most,
# with a share of 0.68 to 1.00 if they are above chance (python benchmarks/single_dataset.py).
WITHOUT_DATASET_LIMIT = 0.3
DATASET_SHARE_LIMIT = 0.6
# With fewer participants, one of them often has half of the variance by chance.
FEWEST_PARTICIPANTS = 4


@dataclass(frozen=True, eq=False)
class Shares:
    """The shares of components that lie where no network is expected.

    Parameters
    ----------
    csf, edge, out : ndarray, shape (n_components,)
        The shares of each map's weight in CSF, at the edge of the brain and outside the brain; NaN
        for an empty map.
    coverage : ndarray, shape (n_components,)
        The share of the mask's edge and outside in which each map is strong.
    edge_limit : ndarray, shape (n_components,)
        The limit for ``edge + out``. It depends on the mask and on `coverage`.
    """

    csf: NDArray[np.float64]
    edge: NDArray[np.float64]
    out: NDArray[np.float64]
    coverage: NDArray[np.float64]
    edge_limit: NDArray[np.float64]


@dataclass(frozen=True)
class NoiseNumbers:
    """The values that raise flags for one component. NaN stands for unknown and raises no flag.

    Parameters
    ----------
    csf, edge, out : float
        The shares of the map's weight in CSF, at the edge of the brain and outside the brain.
    coverage : float
        The share of the mask's edge and outside in which the map is strong.
    edge_limit : float
        The limit for ``edge + out``: see `Shares.edge_limit`.
    high_frequency : float
        The share of the time courses' power above `CUTOFF_HZ`.
    motion_r : float
        The largest absolute correlation of the time courses with a measure of motion.
    dominance : float
        The largest participant's share of the variance that only this component explains.
    without_dataset : float
        |r| with the match in a fit without the dataset that has the largest share.
    dataset_share : float
        This dataset's share of what the component explains.
    dataset : str
        Its name.
    """

    csf: float
    edge: float
    out: float
    coverage: float
    edge_limit: float
    high_frequency: float
    motion_r: float
    dominance: float
    without_dataset: float = nan
    dataset_share: float = nan
    dataset: str = ""


# ---------------------------------------------------------------- place of the map
def tissue_shares(
    maps: NDArray[np.floating],
    csf: NDArray[np.floating],
    edge: NDArray[np.floating] | None = None,
    out: NDArray[np.floating] | None = None,
) -> Shares:
    """Compute the shares of each map's weight that lie where no network is expected.

    The weight of a voxel is the squared value of the map if it is strong (`STRONG`, `OF_PEAK`), and
    0 otherwise. Scale and sign do not matter. ICA-AROMA uses absolute values above a threshold;
    squares separate simulated noise from networks a little better.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    csf, edge, out : ndarray, shape (n_voxels,)
        The shares of each voxel that are CSF, edge of the brain and outside, from 0 to 1. Without
        edge and outside, what follows from them is NaN.

    Returns
    -------
    Shares
    """
    if edge is None or out is None:
        nothing = np.zeros_like(csf)
        unknown = np.full(len(maps), nan)
        return Shares(tissue_shares(maps, csf, nothing, nothing).csf, *[unknown] * 4)
    tissues = np.stack([csf, edge, out])
    thresholds = _thresholds(maps)
    weight = np.zeros(len(maps))
    inside = np.zeros((3, len(maps)))
    covered = np.zeros(len(maps))
    for block in blocks(maps.shape[1]):
        part = maps[:, block].astype(np.float64)
        strong = (part != 0) & (np.abs(part) >= thresholds[:, None])
        covered += strong @ tissues[1:, block].sum(axis=0, dtype=np.float64)
        part[~strong] = 0.0
        part **= 2
        weight += part.sum(axis=1)
        inside += tissues[:, block].astype(np.float64) @ part.T
    shares = np.divide(inside, weight, out=np.full_like(inside, nan), where=weight > 0)
    at_edge = float(np.sum(edge, dtype=np.float64) + np.sum(out, dtype=np.float64))
    coverage = covered / at_edge if at_edge else covered
    odds = np.where(coverage > EDGE_COVERAGE, EDGE_ODDS_IF_COVERED, EDGE_ODDS)
    limit = _edge_limit(at_edge / maps.shape[1], odds)
    return Shares(shares[0], shares[1], shares[2], coverage, limit)


def _thresholds(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    squares = np.zeros(len(maps))
    for block in blocks(maps.shape[1]):
        part = maps[:, block].astype(np.float64)
        squares += np.einsum("ij,ij->i", part, part)
    peaks = np.maximum(maps.max(axis=1), -maps.min(axis=1)).astype(np.float64)
    return np.asarray(np.minimum(STRONG * np.sqrt(squares / maps.shape[1]), OF_PEAK * peaks))


def _edge_limit(expected: float, odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share whose odds are `odds` times those of the mask, but at least `EDGE_LEAST`."""
    return np.asarray(np.maximum(EDGE_LEAST, odds * expected / (1 + (odds - 1) * expected)))


# ---------------------------------------------------------------- flags
def flags(numbers: NoiseNumbers, n_participants: int) -> tuple[Flag, ...]:
    """Return the flags that a component's values raise.

    Parameters
    ----------
    numbers : NoiseNumbers
    n_participants : int
        The number of participants of the group. With fewer than `FEWEST_PARTICIPANTS`, the flag
        ``single-participant`` is not raised.

    Returns
    -------
    tuple of str
        In the order of `Flag`.
    """
    # A comparison with NaN is false, so that unknown values raise no flag.
    raised: dict[Flag, bool] = {
        "csf": numbers.csf > CSF_LIMIT,
        "edge": numbers.edge + numbers.out > numbers.edge_limit,
        "outside": numbers.out > OUTSIDE_LIMIT,
        "high-frequency": numbers.high_frequency > HIGH_FREQUENCY_LIMIT,
        "motion": numbers.motion_r > MOTION_LIMIT,
        "single-participant": n_participants >= FEWEST_PARTICIPANTS
        and numbers.dominance > dominance_limit(n_participants),
        "single-dataset": is_of_single_dataset(numbers.without_dataset, numbers.dataset_share),
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)


def is_of_single_dataset(without: float, share: float) -> bool:
    """Return whether a component is not found without a dataset that has most of it.

    Parameters
    ----------
    without : float
        |r| with the match in a fit without the dataset.
    share : float
        The dataset's share of what the component explains, where all datasets count the same.

    Returns
    -------
    bool
        False where one of them is unknown.
    """
    return without < WITHOUT_DATASET_LIMIT and share > DATASET_SHARE_LIMIT


def dominance_limit(n_participants: int) -> float:
    """Return the largest share of a component's variance that raises no flag for one participant.

    The effective number of participants (the inverse of the sum of squared shares; Laakso and
    Taagepera 1979, doi:10.1177/001041407901200101) is n if all shares are the same. A participant
    with a share of 1/√n adds as much to this sum as n participants with equal shares do, which
    reduces the effective number to about half. If shares vary by chance only (log-normal, with a
    standard deviation of 0.5), 8 % of components exceed this limit with 4 participants, 2 % with
    10, and 0.3 % with 20.

    Parameters
    ----------
    n_participants : int

    Returns
    -------
    float
        1/√n.
    """
    return 1 / sqrt(n_participants)


def reason(flag: Flag, numbers: NoiseNumbers, n_participants: int) -> str:
    """Return a sentence that explains a flag, with the value and the limit.

    Parameters
    ----------
    flag : str
        A flag that `flags` returned.
    numbers : NoiseNumbers
    n_participants : int
        The number of participants of the group.

    Returns
    -------
    str
    """
    match flag:
        case "csf":
            number, limit = _percent(numbers.csf), _percent(CSF_LIMIT)
            text = f"{number} of the map's weight is in CSF; the limit is {limit}."
        case "edge":
            number, limit = _percent(numbers.edge + numbers.out), _percent(numbers.edge_limit)
            text = (
                f"{number} of the map's weight is at the brain's edge or outside; the limit is "
                f"{limit} for a map that covers {_percent(numbers.coverage)} of both in this mask."
            )
        case "outside":
            number, limit = _percent(numbers.out), _percent(OUTSIDE_LIMIT)
            text = f"{number} of the map's weight is outside the brain; the limit is {limit}."
        case "high-frequency":
            number, limit = _percent(numbers.high_frequency), _percent(HIGH_FREQUENCY_LIMIT)
            text = (
                f"{number} of the time courses' power is above {CUTOFF_HZ:g} Hz; the limit is "
                f"{limit}."
            )
        case "motion":
            number, limit = f"{numbers.motion_r:.2f}", f"{MOTION_LIMIT:.2f}"
            text = f"The time courses correlate with motion, |r| = {number}; the limit is {limit}."
        case "single-participant":
            number, limit = _percent(numbers.dominance), _percent(dominance_limit(n_participants))
            text = (
                f"One participant has {number} of the variance that only this component explains; "
                f"the limit is {limit} with {count(n_participants, 'participant')}."
            )
        case "single-dataset":
            number, limit = f"{numbers.without_dataset:.2f}", f"{WITHOUT_DATASET_LIMIT:.2f}"
            share, of_share = _percent(numbers.dataset_share), _percent(DATASET_SHARE_LIMIT)
            text = (
                f"Without dataset {numbers.dataset}, which has {share} of what it explains, the "
                f"most similar map has |r| = {number}; the limits are {of_share} and {limit}."
            )
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
