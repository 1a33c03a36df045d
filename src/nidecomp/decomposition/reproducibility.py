"""Evidence about every map: fits to halves and bootstrap samples of the participants.

Halves are fitted as the group is, from the same reduced runs. Each run was reduced on its own, so
that the halves are independent except for the group mask and grid, which are those of all
participants. To save time, samples are fitted on at most 20,000 voxels, evenly spaced in the mask,
and three dimensions for each component are kept of their subspaces. docs/decisions/0011-evidence.md
has the measurements that bound the effect of both.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.science import Method, Science
from nidecomp.core.errors import NidecompError
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.parallel import map_ordered
from nidecomp.core.records import ReducedRun
from nidecomp.core.text import count
from nidecomp.decomposition.arrange import by_reproducibility, explained_variance
from nidecomp.decomposition.components import Components, Evidence, SplitHalfEvidence
from nidecomp.decomposition.fit import fit_subspaces
from nidecomp.decomposition.gather import GroupPlan, SubspaceKey, subspace_keys, weighted_runs
from nidecomp.decomposition.matching import subspace_overlap
from nidecomp.decomposition.participants import explained_in_holdout, participant_contributions
from nidecomp.decomposition.stability import (
    bootstrap_samples,
    compare_halves,
    matched_r,
    split_halves,
)
from nidecomp.decomposition.subspace import Subspace, SubspaceStream

_LOG = logging.getLogger(__name__)

# Smooth maps hold far fewer independent values than that.
MOST_VOXELS = 20_000
# Of a half's subspace, for each component, and at least.
_DIMS_OF_A_COMPONENT, _FEWEST_DIMS = 3, 60


def judge_reproducibility(
    fitted: Sequence[Components],
    runs: Sequence[ReducedRun],
    science: Science,
    plan: GroupPlan | None = None,
    held_out_runs: Sequence[ReducedRun] = (),
) -> tuple[Components, ...]:
    """Return decompositions with the evidence about their maps, ordered by it.

    Parameters
    ----------
    fitted : sequence of Components
        The decompositions, as `fit_group` returned them.
    runs : sequence of ReducedRun
        The runs that they were fitted to.
    science : Science
    plan : GroupPlan, optional
        Threads and memory; it changes no byte.
    held_out_runs : sequence of ReducedRun
        Runs of the participants that ``--holdout`` left out of the fit.

    Returns
    -------
    tuple of Components
        The maps of each are in the order of their reproducibility (or of the variance that they
        explain, where reproducibility cannot be judged).
    """
    plan = plan or GroupPlan()
    runs, held_out_runs = (
        sorted(some, key=lambda run: run.key.label) for some in (runs, held_out_runs)
    )
    _warn_of_few(runs, science)
    with threadpool_limits(limits=1):
        judged: list[Components] = []
        for n_components in science.decomposition.model_orders:
            of_this_order = [one for one in fitted if one.n_components == n_components]
            judged.extend(_judge_one_model_order(of_this_order, runs, held_out_runs, science, plan))
        return tuple(judged)


def _warn_of_few(runs: Sequence[ReducedRun], science: Science) -> None:
    """Warn where there are fewer ways to halve the participants than were asked for."""
    wanted = science.evidence.n_splits
    participants = [run.participant for run in runs]
    possible = len(split_halves(participants, wanted, science.decomposition.random_seed))
    n = count(len(set(participants)), "participant")
    if not possible and wanted:
        _LOG.warning(
            "The reproducibility of maps cannot be judged with %s: it needs at least two", n
        )
    elif possible < wanted:
        _LOG.warning(
            "The reproducibility of maps is judged from %s only: %s cannot be split into halves in "
            "more ways",
            count(possible, "split"),
            n,
        )


def _judge_one_model_order(
    fitted: Sequence[Components],
    runs: Sequence[ReducedRun],
    held_out_runs: Sequence[ReducedRun],
    science: Science,
    plan: GroupPlan,
) -> list[Components]:
    samples = _draw_samples(runs, science)
    fits = _fit_samples(fitted, samples, runs, science, plan)
    judged = []
    for components in fitted:
        smoothing = science.denoising.smoothing_of(components.method)
        own, held_out = (
            [run for run in some if run.smoothing_fwhm == smoothing]
            for some in (runs, held_out_runs)
        )
        evidence = Evidence(
            halves=_compare_samples(components, samples, fits),
            participants=participant_contributions(components, own, plan.n_threads),
            holdout=explained_in_holdout(components, held_out, plan.n_threads),
        )
        order = by_reproducibility(evidence.halves.reproducibility, components.explained_variance)
        judged.append(replace(components, evidence=evidence).in_order(order))
    return judged


# ---------------------------------------------------------------- fits to samples of participants
@dataclass(frozen=True)
class _Samples:
    """The participants of each sample: first the halves, pair by pair, then bootstrap samples.

    A participant that was drawn several times is listed as often.
    """

    members: tuple[tuple[str, ...], ...]
    n_splits: int

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The samples that are two halves of the group."""
        return [(2 * split, 2 * split + 1) for split in range(self.n_splits)]


def _draw_samples(runs: Sequence[ReducedRun], science: Science) -> _Samples:
    participants = [run.participant for run in runs]
    seed = science.decomposition.random_seed
    halves = split_halves(participants, science.evidence.n_splits, seed)
    resampled = bootstrap_samples(participants, science.evidence.n_bootstraps, seed)
    members = tuple(half for pair in halves for half in pair) + resampled
    return _Samples(members, len(halves))


@dataclass(frozen=True, eq=False)
class _Sample:
    """A fit to one sample, on some of the voxels.

    `fitted` has the components of each method; none where the sample could not be fitted.
    """

    fitted: Mapping[str, Components]
    subspaces: Mapping[SubspaceKey, Subspace]


@dataclass(frozen=True, eq=False)
class _SampleFits:
    """The fits to all samples, and the voxels that they were fitted on."""

    voxels: NDArray[np.intp]
    samples: tuple[_Sample, ...]
    scaled: Mapping[str, SubspaceKey]


def sample_dims(n_components: int) -> int:
    """Return how many dimensions are kept of a sample's subspace."""
    return max(_DIMS_OF_A_COMPONENT * n_components, _FEWEST_DIMS)


def _fit_samples(
    fitted: Sequence[Components],
    samples: _Samples,
    runs: Sequence[ReducedRun],
    science: Science,
    plan: GroupPlan,
) -> _SampleFits:
    canonical, scaled = subspace_keys(science)
    wanted = list(dict.fromkeys([canonical, *scaled.values()]))
    voxels = evenly_spaced(runs[0].n_voxels, MOST_VOXELS)
    n_components = fitted[0].n_components
    done: list[_Sample] = []
    at_once = plan.samples_at_once or len(samples.members)
    for start in range(0, len(samples.members), max(1, at_once)):
        members = samples.members[start : start + at_once]
        gathered = _gather_samples(members, wanted, runs, voxels, n_components, plan.n_threads)
        fit = partial(
            _fit_sample,
            canonical=canonical,
            scaled=scaled,
            n_components=n_components,
            science=science,
            penalty=_penalty(fitted),
        )
        done.extend(map_ordered(fit, gathered, plan.n_threads))
    of_method = {str(method): which for method, which in scaled.items()}
    return _SampleFits(voxels, tuple(done), of_method)


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
    runs: Sequence[ReducedRun],
    voxels: NDArray[np.intp],
    n_components: int,
    n_threads: int,
) -> list[dict[SubspaceKey, Subspace]]:
    """Return every sample's subspaces, computed in one pass over the runs."""
    n_dims = sample_dims(n_components)
    counts = [Counter(sample) for sample in members]
    streams = [{which: SubspaceStream(len(voxels), n_dims) for which in wanted} for _ in members]
    for run, which, rows in weighted_runs(runs, wanted, n_components, voxels):
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
    canonical: SubspaceKey,
    scaled: Mapping[Method, SubspaceKey],
    n_components: int,
    science: Science,
    penalty: _Penalty | None,
) -> _Sample:
    settings = science.decomposition
    own = {method: subspaces[which] for method, which in scaled.items()}
    if penalty is not None:
        here = own["dictlearning"]
        variance = here.total_variance / here.rows.shape[1]
        settings = replace(settings, alpha=penalty.for_variance(variance))
    try:
        fitted = fit_subspaces(
            subspaces[canonical], own, n_components, settings, n_threads=1, warn=False
        )
    except NidecompError as error:
        _LOG.debug("A half or bootstrap sample of the group could not be fitted: %s", error)
        return _Sample({}, subspaces)
    return _Sample({components.method: components for components in fitted}, subspaces)


def _compare_samples(
    components: Components, samples: _Samples, fits: _SampleFits
) -> SplitHalfEvidence:
    """Compare the halves with each other, and the bootstrap samples with the whole group."""
    method, n_components = components.method, components.n_components
    maps = components.maps[:, fits.voxels]
    agreements, overlaps, other_half, totals = [], [], [], []
    for pair in samples.pairs:
        halves = [fits.samples[index] for index in pair]
        if not all(method in half.fitted for half in halves):
            continue
        first, second = (half.fitted[method].maps for half in halves)
        agreement = compare_halves(maps, first, second)
        agreements.append(agreement)
        overlaps.append(subspace_overlap(first, second))
        for (learnt, other), matched in (
            (halves, agreement.in_first),
            (halves[::-1], agreement.in_second),
        ):
            here, there = learnt.fitted[method], other.subspaces[fits.scaled[method]]
            alone, together = explained_variance(here.maps, there.rows, there.total_variance)
            other_half.append(alone[matched])
            totals.append((here.total_explained_variance, together))
    resampled = [
        matched_r(maps, sample.fitted[method].maps)
        for sample in fits.samples[2 * samples.n_splits :]
        if method in sample.fitted
    ]
    return SplitHalfEvidence(
        reproducibility=_stacked([one.reproducibility for one in agreements], n_components),
        bootstrap=_stacked(resampled, n_components),
        other_half_variance=_stacked(other_half, n_components),
        total_variances=_stacked(totals, 2),
        trace=np.array([one.trace for one in agreements]),
        overlap=np.array(overlaps),
        n_voxels=len(fits.voxels),
    )


def _stacked(rows: Sequence[ArrayLike], n_columns: int) -> NDArray[np.float64]:
    """Return rows as an array with so many columns, also where there are no rows."""
    return np.array(rows, dtype=np.float64).reshape(-1, n_columns)
