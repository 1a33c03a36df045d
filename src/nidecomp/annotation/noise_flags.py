"""What speaks for noise in a component: where it lies, how it changes in time, whose it is.

Nothing is removed for it: the numbers and the flags are for whoever looks at the component.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import blocks
from nidecomp.decomposition.time_courses import CUTOFF_HZ

Flag = Literal["csf", "edge", "outside", "high-frequency", "motion", "single-participant"]

# What says where a component lies was set on maps at 4 mm, in four brain masks, from one 10 mm
# outside of the brain to one 4 mm inside of it. For noise: planted rings at the border of the mask,
# one side of them, ventricles, half of them, smoothed at 6 mm, with 10 to 75 % of their variance
# noise as smooth. For signal: the 14 networks of reference/networks.nii.gz, and spheres at the
# places of 17 small networks. No signal is flagged, and all noise is (with 75 % in the tightest
# mask, 80 % of the rings). How they do in whole simulated groups: python benchmarks/evidence.py,
# docs/decisions/0011-evidence.md.

# A map weighs where it is stronger than this many times its root mean square. Without a threshold
# the weak noise of all other voxels pulls every share to that of the mask: where it is 60 % of the
# variance, ventricles were hardly ever flagged, and rings not in the tighter masks.
STRONG = 2.0
# A map that is about equally strong in more than a quarter of the mask has no such voxel: from half
# of its peak on, it weighs in any case.
OF_PEAK = 0.5
# Ventricles have 0.61 to 0.96 of their weight in CSF, networks at most 0.01, and the head of the
# caudate, which lies between the ventricles, 0.30. ICA-AROMA's limit is 0.10 (Pruim et al. 2015,
# NeuroImage 112:267, doi:10.1016/j.neuroimage.2015.02.064): it would flag the caudate.
CSF_LIMIT = 0.40
# How much of any map lies at the edge or outside depends on the mask: it is the place of half of
# the voxels of a wide one and of a tenth of a tight one. So the odds that a component's weight lies
# there are held against those of the mask's voxels. Rings as they are have 6.4 times these odds or
# more, networks 3.1 at most, spheres 3.8, and the network of the occipital pole as a decomposition
# finds it in simulated groups 4.7 (8 mm) and 5.0 (2 mm).
EDGE_ODDS = 7.0
# As decompositions find them, rings bring other things along: their odds are 2 or more. But what
# moves is at much of the edge (12 to 75 % of it), and a network at one place (11 % at most).
EDGE_COVERAGE = 0.12
EDGE_ODDS_IF_COVERED = 2.0
# A mask without an edge (one 8 mm inside of the brain) cannot show it: the odds are those of a few
# voxels (a sphere in the temporal pole has 10 times the mask's with a share of 0.11).
EDGE_LEAST = 1 / 3
# Most of it. Networks have 0.39 at most in a mask of which 31 % is outside of the brain, the one of
# the occipital pole as it is found on a grid of 8 mm 0.54.
OUTSIDE_LIMIT = 0.60
# BOLD is below 0.1 Hz (Griffanti et al. 2017, NeuroImage 154:188,
# doi:10.1016/j.neuroimage.2016.12.036). White noise has 0.6 of its power above at a repetition
# time of 2 s, and 0.4 at 3 s: there, this flag is rarely raised.
HIGH_FREQUENCY_LIMIT = 0.50
# An eighth of the variance. Time courses that have nothing to do with a run's 13 measured motion
# parameters, as slow as an autoregression of 0.3 to 0.8 makes them, reach 0.5 in 1 % of single runs
# of 200 volumes or more, and 0.1 to 0.3 on average over many. Planted components that follow
# framewise displacement have 0.28 to 0.55 after denoising, networks 0.26 at most.
MOTION_LIMIT = 0.35
# Of fewer, one has half of the variance by chance.
FEWEST_PARTICIPANTS = 4


@dataclass(frozen=True, eq=False)
class Shares:
    """Where the components lie.

    Parameters
    ----------
    csf, edge, out : ndarray, shape (n_components,)
        Shares of the weight of each; NaN for an empty one.
    coverage : ndarray, shape (n_components,)
        The share of what is edge or outside in the mask in which each is strong.
    edge_limit : ndarray, shape (n_components,)
        How much of each may lie at the edge and outside together: it depends on the mask, and on
        how much of its edge is covered.
    """

    csf: NDArray[np.float64]
    edge: NDArray[np.float64]
    out: NDArray[np.float64]
    coverage: NDArray[np.float64]
    edge_limit: NDArray[np.float64]


@dataclass(frozen=True)
class NoiseNumbers:
    """What is known of one component; NaN is unknown and raises no flag.

    Parameters
    ----------
    csf, edge, out : float
        Shares of its map's weight in CSF, at the brain's edge and outside.
    coverage : float
        The share of what is edge or outside in which its map is strong.
    edge_limit : float
        How much may lie at the edge and outside together, `Shares.edge_limit`.
    high_frequency : float
        Share of its time courses' power above `CUTOFF_HZ`.
    motion_r : float
        Largest absolute correlation of its time courses with motion.
    dominance : float
        Largest share of its variance that one participant has.
    """

    csf: float
    edge: float
    out: float
    coverage: float
    edge_limit: float
    high_frequency: float
    motion_r: float
    dominance: float


# ---------------------------------------------------------------- where it lies
def tissue_shares(
    maps: NDArray[np.floating],
    csf: NDArray[np.floating],
    edge: NDArray[np.floating],
    out: NDArray[np.floating],
) -> Shares:
    """Compute what share of each map's weight lies where no network should be.

    A voxel weighs the map's squared value, if that is a strong one (`STRONG`, `OF_PEAK`), so that
    neither scale nor sign matters. ICA-AROMA takes absolute values above a threshold; squares tell
    planted noise from networks a little better.

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
    csf, edge, out : ndarray, shape (n_voxels,)
        How much of each voxel is CSF, the brain's edge and outside, from 0 to 1.

    Returns
    -------
    Shares
    """
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
    """Give the share whose odds are so many times those of the share of the mask."""
    return np.asarray(np.maximum(EDGE_LEAST, odds * expected / (1 + (odds - 1) * expected)))


# ---------------------------------------------------------------- flags
def flags(numbers: NoiseNumbers, n_participants: int) -> tuple[Flag, ...]:
    """Name what speaks for noise in a component.

    Parameters
    ----------
    numbers : NoiseNumbers
    n_participants : int
        In the group. One of fewer than `FEWEST_PARTICIPANTS` dominates nothing.

    Returns
    -------
    tuple of str
        In the order of `Flag`.
    """
    # A comparison with NaN is false: what is unknown raises no flag.
    raised: dict[Flag, bool] = {
        "csf": numbers.csf > CSF_LIMIT,
        "edge": numbers.edge + numbers.out > numbers.edge_limit,
        "outside": numbers.out > OUTSIDE_LIMIT,
        "high-frequency": numbers.high_frequency > HIGH_FREQUENCY_LIMIT,
        "motion": numbers.motion_r > MOTION_LIMIT,
        "single-participant": n_participants >= FEWEST_PARTICIPANTS
        and numbers.dominance > dominance_limit(n_participants),
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)


def dominance_limit(n_participants: int) -> float:
    """Give the share of a component's variance that one participant may have.

    The effective number of participants (the inverse of the sum of squared shares; Laakso and
    Taagepera 1979, doi:10.1177/001041407901200101) is n where all shares are the same. One
    participant with a share of 1/√n adds as much to that sum as all of those: half of the
    group's worth is lost to them. Where shares vary by chance alone (log-normal, a spread of 0.5),
    8 % of components pass it with 4 participants, 2 % with 10 and 0.3 % with 20.

    Parameters
    ----------
    n_participants : int

    Returns
    -------
    float
    """
    return 1 / sqrt(n_participants)


def reason(flag: Flag, numbers: NoiseNumbers, n_participants: int) -> str:
    """Say why a flag was raised, with the number and the limit.

    Parameters
    ----------
    flag : str
        One that `flags` gave.
    numbers : NoiseNumbers
    n_participants : int

    Returns
    -------
    str
        A sentence.
    """
    match flag:
        case "csf":
            number, limit = _percent(numbers.csf), _percent(CSF_LIMIT)
            return f"{number} of its weight lies in CSF; the limit is {limit}."
        case "edge":
            number, limit = _percent(numbers.edge + numbers.out), _percent(numbers.edge_limit)
            return (
                f"{number} of its weight lies at the brain's edge or outside, of which it covers "
                f"{_percent(numbers.coverage)}; the limit in this mask is then {limit}."
            )
        case "outside":
            number, limit = _percent(numbers.out), _percent(OUTSIDE_LIMIT)
            return f"{number} of its weight lies outside of the brain; the limit is {limit}."
        case "high-frequency":
            number, limit = _percent(numbers.high_frequency), _percent(HIGH_FREQUENCY_LIMIT)
            return f"{number} of its power lies above {CUTOFF_HZ:g} Hz; the limit is {limit}."
        case "motion":
            number, limit = f"{numbers.motion_r:.2f}", f"{MOTION_LIMIT:.2f}"
            return f"It correlates with motion at |r| = {number}; the limit is {limit}."
        case "single-participant":
            number, limit = _percent(numbers.dominance), _percent(dominance_limit(n_participants))
            return (
                f"One participant has {number} of its variance; the limit with {n_participants} "
                f"participants is {limit}."
            )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
