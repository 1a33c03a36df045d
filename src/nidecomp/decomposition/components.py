"""Decompositions as records: maps, and the evidence about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import nan
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


Record = TypeVar("Record", bound="DataclassInstance")


@dataclass(frozen=True, eq=False)
class Restart:
    """One restart of the ICA: where it began, how it went and where it ended.

    `l1_norm` is the sum of the L1 norms of its maps. `unmixing`, (n_components, n_components),
    gives its maps from the whitened subspace; None where the iteration broke down.
    """

    seed: int
    n_iter: int
    converged: bool
    l1_norm: float
    unmixing: NDArray[np.float64] | None = None


def _of_components(axis: int = -1) -> dict[str, int]:
    """Return the metadata of a field whose array has the components along one of its axes."""
    return {"component_axis": axis}


def in_order(record: Record, order: NDArray[np.intp]) -> Record:
    """Return a record with its components in another order, everything of a component together.

    Parameters
    ----------
    record : dataclass
        Fields whose arrays have the components along an axis say so where they are declared;
        records inside it are reordered, too.
    order : ndarray of int, shape (n_components,)
        The present index of the component that comes first, second, …

    Returns
    -------
    dataclass
        Of the same type.
    """
    changed: dict[str, object] = {}
    for declared in fields(record):
        value = getattr(record, declared.name)
        axis = declared.metadata.get("component_axis")
        if isinstance(value, np.ndarray) and axis is not None:
            changed[declared.name] = value[order] if axis == 0 else value[..., order]
        elif is_dataclass(value) and not isinstance(value, type):
            changed[declared.name] = in_order(value, order)
    return replace(record, **changed)


@dataclass(frozen=True)
class Split:
    """A random split of the participants: its number, from 1, and the labels of both halves."""

    number: int
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SplitHalfEvidence:
    """How well other samples of the participants reproduce the maps of a decomposition.

    Parameters
    ----------
    reproducibility : ndarray, shape (n_splits, n_components)
        |r| between what both halves of a split found for each component. n_splits is 0 where it
        cannot be judged: one participant, or halves that could not be fitted.
    bootstrap : ndarray, shape (n_bootstraps, n_components)
        |r| of each component with its match in a group drawn with replacement.
    other_half_variance : ndarray, shape (2 n_splits, n_components)
        The share of the variance of one half's cleaned runs that the other half's match explains
        alone, mean over participants.
    total_variances : ndarray, shape (2 n_splits, 2)
        The share that all maps of a half explain together: of itself, and of the other half.
    trace : ndarray, shape (n_splits,)
        Mean matched |r| of both halves' maps, one to one.
    overlap : ndarray, shape (n_splits,)
        Mean squared cosine of the principal angles between the subspaces of both halves' maps.
    n_voxels : int
        The number of voxels that halves were fitted on.
    splits : tuple of Split
        The splits that were fitted: n_splits.
    chance : float
        The reproducibility that 5 % of the maps exceed where runs have nothing in common; NaN:
        unknown.
    """

    reproducibility: NDArray[np.float64] = field(metadata=_of_components())
    bootstrap: NDArray[np.float64] = field(metadata=_of_components())
    other_half_variance: NDArray[np.float64] = field(metadata=_of_components())
    total_variances: NDArray[np.float64]
    trace: NDArray[np.float64]
    overlap: NDArray[np.float64]
    n_voxels: int
    splits: tuple[Split, ...] = ()
    chance: float = nan


@dataclass(frozen=True, eq=False)
class ParticipantEvidence:
    """How much each participant contributes to each component, and what its time courses are like.

    Parameters
    ----------
    labels : tuple of str
        The participants that the maps were fitted to, sorted.
    explained_variance : ndarray, shape (n_participants, n_components)
        The share of each participant's variance that would not be explained without the map: the
        increase of the residual when it is left out. (What a map explains alone is in part also
        explained by maps that overlap with it.)
    high_frequency : ndarray, shape (n_components,)
        The share of the time courses' power above 0.1 Hz, mean over participants; NaN: unknown.
    motion_r : ndarray, shape (n_components,)
        The largest |r| of the time courses with a motion parameter or framewise displacement, mean
        over participants; NaN: unknown.
    """

    labels: tuple[str, ...]
    explained_variance: NDArray[np.float64] = field(metadata=_of_components())
    high_frequency: NDArray[np.float64] = field(metadata=_of_components())
    motion_r: NDArray[np.float64] = field(metadata=_of_components())

    @property
    def dominance(self) -> NDArray[np.float64]:
        """The largest participant's share of what a component explains in all, (n_components,)."""
        total = self.explained_variance.sum(axis=0)
        largest = self.explained_variance.max(axis=0)
        return np.asarray(
            np.divide(largest, total, out=np.full(len(total), np.nan), where=total > 0)
        )


@dataclass(frozen=True, eq=False)
class HoldoutEvidence:
    """What the maps explain in the participants that ``--holdout`` left out of the fit.

    Parameters
    ----------
    labels : tuple of str
        These participants, sorted.
    explained_variance : ndarray, shape (n_components,)
        The share of their variance that each map explains alone, mean over them.
    total_explained_variance : float
        The share of their variance that all maps explain together, mean over them.
    """

    labels: tuple[str, ...]
    explained_variance: NDArray[np.float64] = field(metadata=_of_components())
    total_explained_variance: float


@dataclass(frozen=True, eq=False)
class DatasetEvidence:
    """What each of several datasets contributes to each component, and which are found without it.

    Parameters
    ----------
    names : tuple of str
        The datasets, sorted; the name of BIDS_DIR is empty.
    n_participants : tuple of int
        Those that the maps were fitted to.
    explained_variance : ndarray, shape (n_datasets, n_components)
        The share of a participant's variance that would not be explained without the map, mean
        over the dataset's participants (see `ParticipantEvidence`).
    r_without : ndarray, shape (n_datasets, n_components)
        |r| of each component with its match in a fit to all other datasets; NaN where that would
        be to too few participants.
    """

    names: tuple[str, ...]
    n_participants: tuple[int, ...]
    explained_variance: NDArray[np.float64] = field(metadata=_of_components())
    r_without: NDArray[np.float64] = field(metadata=_of_components())

    @property
    def reproducibility(self) -> NDArray[np.float64]:
        """The smallest |r| of all datasets that were left out, (n_components,); NaN: unknown."""
        smallest = np.where(np.isnan(self.r_without), np.inf, self.r_without).min(axis=0)
        return np.asarray(np.where(np.isinf(smallest), np.nan, smallest))

    @property
    def largest(self) -> NDArray[np.intp]:
        """The dataset with the largest share of each component, (n_components,)."""
        return np.asarray(self.explained_variance.argmax(axis=0))

    @property
    def share_of_largest(self) -> NDArray[np.float64]:
        """The share of this dataset, (n_components,)."""
        return self._of_largest(self.share)

    @property
    def r_without_largest(self) -> NDArray[np.float64]:
        """|r| with the match in a fit without this dataset, (n_components,); NaN: unknown."""
        return self._of_largest(self.r_without)

    @property
    def share(self) -> NDArray[np.float64]:
        """Each dataset's share of what a component explains, (n_datasets, n_components).

        Datasets count the same, whatever their numbers of participants.
        """
        total = self.explained_variance.sum(axis=0)
        unknown = np.full_like(self.explained_variance, np.nan)
        return np.asarray(np.divide(self.explained_variance, total, out=unknown, where=total > 0))

    def _of_largest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.take_along_axis(values, self.largest[None], axis=0)[0])


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence about a decomposition's maps from other samples of the participants.

    Parameters
    ----------
    halves : SplitHalfEvidence
        From fits to other samples of the participants.
    holdout : HoldoutEvidence or None
        From the runs of participants that were left out of the fit, if there are any.
    datasets : DatasetEvidence or None
        From fits without each dataset, where there are several.
    """

    halves: SplitHalfEvidence
    holdout: HoldoutEvidence | None = None
    datasets: DatasetEvidence | None = None


@dataclass(frozen=True, eq=False)
class Components:
    """One decomposition: its maps, scaled, signed, ordered and named.

    Two records are equal only where they are the same object: arrays have no single answer.

    Parameters
    ----------
    method : {"canica", "dictlearning", "given"}
    maps : ndarray of float32, shape (n_components, n_voxels)
    names : tuple of str
        The names belong to the positions: they stay where they are when maps are reordered.
    explained_variance : ndarray, shape (n_components,)
        The share of the variance of the cleaned runs that each map alone explains, mean over
        participants: see `participants.participant_contributions`. NaN where the maps were not
        compared with runs.
    total_explained_variance : float
        The share that all of them explain together.
    total_variance : float
        The variance of the weighted rows that were fitted.
    fit : mapping
        How the fit went.
    restart_index : ndarray, shape (n_components,), optional
        How stably the ICA's restarts found each (Icasso's Iq); None where there are no restarts to
        compare.
    participants : ParticipantEvidence, optional
        What the participants who were fitted contribute.
    evidence : Evidence, optional
        How far each map can be trusted.
    """

    method: str
    maps: NDArray[np.float32] = field(metadata=_of_components(axis=0))
    names: tuple[str, ...]
    explained_variance: NDArray[np.float64] = field(metadata=_of_components())
    total_explained_variance: float
    total_variance: float = 0.0
    fit: Mapping[str, object] = field(default_factory=dict)
    restart_index: NDArray[np.float64] | None = field(default=None, metadata=_of_components())
    participants: ParticipantEvidence | None = None
    evidence: Evidence | None = None

    @property
    def n_components(self) -> int:
        """The number of maps."""
        return len(self.maps)

    @property
    def title(self) -> str:
        """What tables and messages call the decomposition: ``canica20``."""
        return f"{self.method}{self.n_components}"

    @property
    def at_chance(self) -> NDArray[np.bool_]:
        """Which maps are no more reproducible between halves than chance, (n_components,).

        None is where reproducibility is not known.
        """
        halves = self.evidence.halves if self.evidence else None
        if halves is None or not len(halves.reproducibility):
            return np.zeros(self.n_components, dtype=bool)
        # Nothing is below a chance level that is not known.
        return np.asarray(halves.reproducibility.mean(axis=0) <= halves.chance)

    def in_order(self, order: NDArray[np.intp]) -> Components:
        """Return the same decomposition with its components in another order.

        Parameters
        ----------
        order : ndarray of int, shape (n_components,)
            The present index of the component that comes first, second, …

        Returns
        -------
        Components
        """
        return in_order(self, order)


def component_names(method: str, n_components: int) -> tuple[str, ...]:
    """Return the names of a method's components: ``canica01`` and so on, all of equal length."""
    width = max(2, len(str(n_components)))
    return tuple(f"{method}{number:0{width}d}" for number in range(1, n_components + 1))
