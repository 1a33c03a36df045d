"""The records that the steps of a comparison of participants exchange.

A *contrast* is one test of the model (``--test``); what is compared is called a *measure*: the
participants' maps, the amplitudes of networks, or the edges of connectomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Statistic = Literal["t", "F"]
# How data are permuted: the order of participants, the signs of their data, or both.
PermutationKind = Literal["permutations", "sign flips", "permutations and sign flips"]


@dataclass(frozen=True)
class Measured:
    """A participant of the design: the runs whose data are one row of it.

    With ``--within``, the row is the difference between the data of `runs` and of `minus`.

    Parameters
    ----------
    participant : str
        The label, without ``sub-``.
    runs, minus : tuple of str
        The names (`RunKey.label`) of the runs that are combined, sorted.
    """

    participant: str
    runs: tuple[str, ...]
    minus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absence:
    """A participant who is left out of the comparison, and why."""

    participant: str
    reason: str


@dataclass(frozen=True, eq=False)
class Contrast:
    """One test of the model.

    Parameters
    ----------
    name : str
        Its label in names of files (``contrast-<name>``): letters and digits only.
    text : str
        The test as the user gave it, such as ``patients - controls``.
    weights : ndarray of float64, shape (n_rows, n_columns)
        The hypothesis is that ``weights @ coefficients`` is 0. One row gives t, several give F.
    positive, negative : str
        What positive and negative t mean, such as ``larger in patients``; empty for F.
    variable : str
        The column of the participants' table that it is about, by which figures group people;
        empty for the mean of all.
    """

    name: str
    text: str
    weights: NDArray[np.float64]
    positive: str = ""
    negative: str = ""
    variable: str = ""

    @property
    def statistic(self) -> Statistic:
        """The statistic of the test."""
        return "t" if len(self.weights) == 1 else "F"


@dataclass(frozen=True, eq=False)
class Design:
    """The model that participants are compared in.

    Parameters
    ----------
    formula : str
    people : tuple of Measured
        The rows, sorted by participant.
    matrix : ndarray of float64, shape (n_people, n_columns)
        Of full column rank.
    columns : tuple of str
        The names of its columns.
    contrasts : tuple of Contrast
        At least one, all of which can be estimated.
    blocks : tuple of str
        For each row, the block within which participants are exchangeable; empty where all are.
    blocks_column : str
        The column of the participants' table that names them (``--blocks``), or nothing.
    within : str
        ``--within`` as it was given, or nothing.
    variables : mapping
        The variables of the model as they are in the participants' table: name to the value of
        each row.
    left_out : tuple of Absence
        The participants with runs who are not in the model, sorted.
    notes : tuple of str
        What was assumed or is unusual, in sentences.
    """

    formula: str
    people: tuple[Measured, ...]
    matrix: NDArray[np.float64]
    columns: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    blocks: tuple[str, ...] = ()
    blocks_column: str = ""
    within: str = ""
    variables: Mapping[str, tuple[float | str, ...]] = field(default_factory=dict)
    left_out: tuple[Absence, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MapsOfContrast:
    """What the comparison of the participants' maps gives for one contrast.

    All arrays have one row for each component that was compared (`Compared.components`), and one
    column for each feature. Features where a participant has no data are 0 (p: 1).

    Parameters
    ----------
    statistic : ndarray of float32, shape (n_compared, n_features)
        t or F.
    effect : ndarray of float32 or None
        The estimate of the contrast, ``weights @ coefficients``; None for F.
    tfce : ndarray of float32 or None
        The threshold-free cluster enhancement of the statistic, negative where t is; None where it
        was not asked for.
    p : mapping of str to ndarray of float32
        p values, corrected for the family-wise error over the features of a map: ``voxel``,
        ``tfce``, ``cluster`` (each where it was computed); and over all components and contrasts,
        too: ``voxelall``, ``tfceall``, ``clusterall``.
    counted_p : mapping of str to ndarray of float32
        The same, by counting permutations, where those in `p` come from a fitted tail.
    dof : int
        The residual degrees of freedom of the model.
    """

    statistic: NDArray[np.float32]
    effect: NDArray[np.float32] | None
    tfce: NDArray[np.float32] | None
    p: Mapping[str, NDArray[np.float32]]
    counted_p: Mapping[str, NDArray[np.float32]]
    dof: int


@dataclass(frozen=True, eq=False)
class ValuesOfContrast:
    """What the comparison of single numbers gives for one contrast: of amplitudes, or of edges.

    Parameters
    ----------
    statistic : ndarray of float64, shape (n_values,)
        t or F; NaN where the numbers cannot be compared.
    p : ndarray of float64, shape (n_values,)
        Permutation p values of each alone.
    p_all : ndarray of float64, shape (n_values,)
        Corrected for the family-wise error over all numbers and all contrasts.
    effect_size, low, high : ndarray of float64, shape (n_values,)
        Partial correlation with its 95 % confidence interval; for F partial eta squared, whose
        interval is NaN.
    dof : int
    network_p : ndarray of float64, shape (n_values,)
        Edges only: p value of the connected set of edges that an edge belongs to (network-based
        statistic), NaN where it belongs to none; empty where it was not asked for.
    """

    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    p_all: NDArray[np.float64]
    effect_size: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    dof: int
    network_p: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Compared:
    """What is compared of one decomposition.

    Parameters
    ----------
    components : tuple of int
        The components that are compared, which is the family that p values are corrected over:
        those without a noise flag.
    n_features : int
        How many features all participants have data in, which are compared; 0 without maps.
    maps : tuple of MapsOfContrast
        One for each contrast; empty where maps are not compared.
    amplitudes : tuple of ValuesOfContrast
        One for each contrast, with one value for each of `components`; empty where amplitudes are
        not compared.
    amplitude_values : ndarray of float64, shape (n_people, n_compared)
        The amplitudes themselves, as they went into the model.
    edges : mapping
        Kind of connectome to one `ValuesOfContrast` for each contrast, whose values are the edges
        in the order of ``numpy.triu_indices(n_compared, 1)``.
    """

    components: tuple[int, ...]
    n_features: int
    maps: tuple[MapsOfContrast, ...]
    amplitudes: tuple[ValuesOfContrast, ...]
    amplitude_values: NDArray[np.float64]
    edges: Mapping[str, tuple[ValuesOfContrast, ...]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of participants.

    Parameters
    ----------
    design : Design
    kind : str
        How data were permuted.
    n_permutations : int
        How many permutations were used for voxels, amplitudes and edges, with the data as they are
        as the first.
    n_tfce_permutations : int
        How many for TFCE and clusters; the first ones of the same.
    n_possible : int or None
        How many there are, where all of them were used; else None.
    decompositions : tuple of Compared
        One for each decomposition.
    kept : tuple of Path
        The files of the work folder that a later start with the same data finds.
    """

    design: Design
    kind: PermutationKind
    n_permutations: int
    n_tfce_permutations: int
    n_possible: int | None
    decompositions: tuple[Compared, ...]
    kept: tuple[Path, ...] = ()
