"""Fits to samples of the participants: halves of the group, and bootstrap samples."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nidecomp.config.science import Method, Science
from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.parallel import map_ordered
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.datasets import others_than_datasets
from nidecomp.decomposition.fit import fit_subspaces
from nidecomp.decomposition.gather import (
    GroupPlan,
    SubspaceKey,
    WeightedRows,
    subspace_keys,
    weighted_runs,
)
from nidecomp.decomposition.stability import (
    bootstrap_samples,
    split_halves,
)
from nidecomp.decomposition.subspace import Subspace, SubspaceStream

_LOG = logging.getLogger(__name__)

# Samples are fitted on this many voxels at most: smooth maps have far fewer independent values.
MOST_VOXELS = 12_000
# Dimensions that are kept of a sample's subspace: for each component, and at least.
_DIMS_OF_A_COMPONENT, _FEWEST_DIMS = 3, 60


@dataclass(frozen=True)
class Samples:
    """The participants of each sample: halves, pair by pair, bootstrap samples, other datasets.

    A participant that was drawn several times is listed as often. Of several datasets, each of
    `without` has a sample that leaves it out.
    """

    members: tuple[tuple[str, ...], ...]
    n_splits: int
    without: tuple[str, ...] = ()

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The samples that are two halves of the group."""
        return [(2 * split, 2 * split + 1) for split in range(self.n_splits)]

    @property
    def resampled(self) -> range:
        """The bootstrap samples."""
        return range(2 * self.n_splits, len(self.members) - len(self.without))

    @property
    def without_datasets(self) -> range:
        """The samples that leave a dataset out, in the order of `without`."""
        return range(len(self.members) - len(self.without), len(self.members))


def draw_samples(runs: Sequence[ReducedRun], science: Science) -> Samples:
    """Return the participants of random halves, of bootstrap samples and without each dataset.

    Parameters
    ----------
    runs : sequence of ReducedRun
        The runs of the group.
    science : Science
        Numbers of splits and bootstrap samples, and the seed.

    Returns
    -------
    Samples
    """
    participants = [run.participant for run in runs]
    seed = science.decomposition.random_seed
    halves = split_halves(participants, science.evidence.n_splits, seed)
    resampled = bootstrap_samples(participants, science.evidence.n_bootstraps, seed)
    others = others_than_datasets(runs)
    members = tuple(half for pair in halves for half in pair) + resampled
    return Samples((*members, *others.values()), len(halves), tuple(others))


@dataclass(frozen=True, eq=False)
class SampleFit:
    """A fit to one sample, on some of the voxels.

    `fitted` has the components of each method; none where the sample could not be fitted.
    """

    fitted: Mapping[str, Components]


@dataclass(frozen=True, eq=False)
class SampleFits:
    """The fits to all samples, and the voxels that they were fitted on."""

    voxels: NDArray[np.intp]
    samples: tuple[SampleFit, ...]


def sample_dims(n_components: int) -> int:
    """Return how many dimensions are kept of a sample's subspace."""
    return max(_DIMS_OF_A_COMPONENT * n_components, _FEWEST_DIMS)


def fit_samples(
    fitted: Sequence[Components],
    samples: Samples,
    runs: Sequence[ReducedRun],
    science: Science,
    plan: GroupPlan,
) -> SampleFits:
    """Fit every sample as the group was fitted, on some of the voxels.

    Parameters
    ----------
    fitted : sequence of Components
        The group's decompositions at one model order: samples use their sparsity penalty.
    samples : Samples
    runs : sequence of ReducedRun
        In a fixed order.
    science : Science
    plan : GroupPlan
        Threads and memory; it changes no byte.

    Returns
    -------
    SampleFits
    """
    voxels = evenly_spaced(runs[0].n_voxels, MOST_VOXELS)
    n_rows = science.decomposition.rows_of_run(fitted[0].n_components)

    def rows_of_runs(wanted: Sequence[SubspaceKey]) -> Iterator[WeightedRows]:
        return weighted_runs(runs, wanted, n_rows, voxels)

    fits = fit_samples_of_rows(fitted, samples.members, rows_of_runs, science, plan)
    return SampleFits(voxels, fits)


def fit_samples_of_rows(
    fitted: Sequence[Components],
    members: Sequence[tuple[str, ...]],
    rows_of_runs: Callable[[Sequence[SubspaceKey]], Iterator[WeightedRows]],
    science: Science,
    plan: GroupPlan,
) -> tuple[SampleFit, ...]:
    """Fit every sample to rows of runs, as the group was fitted.

    Parameters
    ----------
    fitted : sequence of Components
        The group's decompositions at one model order: samples use their sparsity penalty.
    members : sequence of tuple of str
        The participants of each sample, each as often as it was drawn.
    rows_of_runs : callable
        Called with the subspaces that are wanted, yields the weighted rows of all runs, as
        `gather.weighted_runs` does; once for as many samples as the plan has room for.
    science : Science
    plan : GroupPlan
        Threads and memory; it changes no byte.

    Returns
    -------
    tuple of SampleFit
    """
    for_ica, own_keys = subspace_keys(science)
    wanted = list(dict.fromkeys([for_ica, *own_keys.values()]))
    n_components = fitted[0].n_components
    done: list[SampleFit] = []
    at_once = max(1, plan.samples_at_once or len(members))
    for start in range(0, len(members), at_once):
        gathered = _gather_samples(
            members[start : start + at_once], wanted, rows_of_runs, n_components, plan.n_threads
        )
        fit = partial(
            _fit_sample,
            for_ica=for_ica,
            own_keys=own_keys,
            n_components=n_components,
            science=science,
            penalty=_penalty(fitted),
        )
        done.extend(map_ordered(fit, gathered, plan.n_threads))
    return tuple(done)


@dataclass(frozen=True)
class _Penalty:
    """The group's sparsity penalty, and the variance of a voxel's rows for which it was chosen."""

    alpha: float
    variance: float

    def for_variance(self, variance: float) -> float:
        """Return the equivalent penalty for rows of another variance, whose unit it has."""
        return (
            float(self.alpha * np.sqrt(variance / self.variance)) if self.variance else self.alpha
        )


def _penalty(fitted: Sequence[Components]) -> _Penalty | None:
    for components in fitted:
        alpha = components.fit.get("Alpha")
        if isinstance(alpha, int | float):
            return _Penalty(alpha, components.total_variance / components.maps.shape[1])
    return None


def _gather_samples(
    members: Sequence[tuple[str, ...]],
    wanted: Sequence[SubspaceKey],
    rows_of_runs: Callable[[Sequence[SubspaceKey]], Iterator[WeightedRows]],
    n_components: int,
    n_threads: int,
) -> list[dict[SubspaceKey, Subspace]]:
    """Return every sample's subspaces, computed in one pass over the runs."""
    n_dims = sample_dims(n_components)
    counts = [Counter(sample) for sample in members]
    streams: list[dict[SubspaceKey, SubspaceStream]] = [{} for _ in members]
    for run, which, rows in rows_of_runs(wanted):
        for stream in streams:
            if which not in stream:
                stream[which] = SubspaceStream(rows.shape[1], n_dims)
        taking = [
            (stream[which], count[run.participant])
            for stream, count in zip(streams, counts, strict=True)
            if count[run.participant]
        ]
        for _ in map_ordered(partial(_add, rows), taking, n_threads):
            pass
    return [
        {which: stream.finish() for which, stream in of_sample.items()} for of_sample in streams
    ]


def _add(rows: NDArray[np.float32], taking: tuple[SubspaceStream, int]) -> None:
    """Add rows as often as their participant was drawn: twice the same row equals √2 times it."""
    stream, count = taking
    stream.add(rows * np.float32(np.sqrt(count)) if count > 1 else rows)


def _fit_sample(
    subspaces: dict[SubspaceKey, Subspace],
    *,
    for_ica: SubspaceKey,
    own_keys: Mapping[Method, SubspaceKey],
    n_components: int,
    science: Science,
    penalty: _Penalty | None,
) -> SampleFit:
    settings = science.decomposition
    own = {method: subspaces[which] for method, which in own_keys.items()}
    if penalty is not None:
        here = own["dictlearning"]
        variance = here.total_variance / here.rows.shape[1]
        settings = replace(settings, alpha=penalty.for_variance(variance))
    try:
        fitted = fit_subspaces(
            subspaces[for_ica], own, n_components, settings, n_threads=1, warn=False
        )
    except NidecompError as error:
        _LOG.debug("A half or bootstrap sample of the group could not be fitted: %s", error)
        return SampleFit({})
    return SampleFit({components.method: components for components in fitted})
