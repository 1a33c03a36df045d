"""Evidence about every map: fits to halves and bootstrap samples, and without each dataset.

Halves are fitted as the group is, from the same reduced runs. Each run was reduced on its own, so
that the halves are independent except for the group mask and grid, which are those of all
participants. To save time, samples are fitted on at most 12,000 voxels, evenly spaced in the mask,
and three dimensions for each component are kept of their subspaces. docs/decisions/0011-evidence.md
has the measurements that bound the effect of both.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.science import Science
from nidecomp.core.records import ReducedRun
from nidecomp.core.text import count
from nidecomp.decomposition.arrange import by_reproducibility
from nidecomp.decomposition.chance import chance_of_reproducibility
from nidecomp.decomposition.components import Components, Evidence, Split, SplitHalfEvidence
from nidecomp.decomposition.datasets import evidence_by_dataset
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.matching import subspace_overlap
from nidecomp.decomposition.participants import explained_by_sets_of_maps, explained_in_holdout
from nidecomp.decomposition.samples import SampleFits, Samples, draw_samples, fit_samples
from nidecomp.decomposition.stability import (
    compare_halves,
    matched_r,
    split_halves,
)
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)


def judge_reproducibility(
    fitted: Sequence[Components],
    runs: Sequence[ReducedRun],
    science: Science,
    space: FeatureSpace,
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
    space : FeatureSpace
        The voxels of the maps.
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
    _LOG.info("Judging the reproducibility of the maps")
    with threadpool_limits(limits=1):
        judged: list[Components] = []
        for n_components in science.decomposition.model_orders:
            of_this_order = [one for one in fitted if one.n_components == n_components]
            judged.extend(
                _judge_one_model_order(of_this_order, runs, held_out_runs, science, space, plan)
            )
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
    space: FeatureSpace,
    plan: GroupPlan,
) -> list[Components]:
    samples = draw_samples(runs, science)
    n_rows = science.decomposition.rows_of_run(fitted[0].n_components)
    fits = fit_samples(fitted, samples, runs, science, plan)
    chance = (
        chance_of_reproducibility(fitted, runs, science, space, plan) if samples.n_splits else {}
    )
    judged = []
    for components in fitted:
        smoothing = science.denoising.smoothing_of(components.method)
        own, held_out = (
            [run for run in some if run.smoothing_fwhm == smoothing]
            for some in (runs, held_out_runs)
        )
        halves = _compare_samples(components, samples, fits, own, n_rows, plan.n_threads)
        evidence = Evidence(
            halves=replace(halves, chance=chance.get(components.method, nan)),
            holdout=explained_in_holdout(components, held_out, n_rows, plan.n_threads),
            datasets=evidence_by_dataset(
                components, own, _found_without(components, samples, fits)
            ),
        )
        order = by_reproducibility(evidence.halves.reproducibility, components.explained_variance)
        judged.append(replace(components, evidence=evidence).in_order(order))
    return judged


def _found_without(
    components: Components, samples: Samples, fits: SampleFits
) -> dict[str, NDArray[np.float64]]:
    """Return |r| of each component with its match in the fits without each dataset."""
    maps, method = components.maps[:, fits.voxels], components.method
    return {
        dataset: matched_r(maps, fits.samples[index].fitted[method].maps)
        for dataset, index in zip(samples.without, samples.without_datasets, strict=True)
        if method in fits.samples[index].fitted
    }


def _compare_samples(
    components: Components,
    samples: Samples,
    fits: SampleFits,
    runs: Sequence[ReducedRun],
    n_rows: int,
    n_threads: int,
) -> SplitHalfEvidence:
    """Compare the halves with each other, and the bootstrap samples with the whole group."""
    method, n_components = components.method, components.n_components
    maps = components.maps[:, fits.voxels]
    pairs = [
        pair
        for pair in samples.pairs
        if all(method in fits.samples[index].fitted for index in pair)
    ]
    of_halves = [tuple(fits.samples[index].fitted[method].maps for index in pair) for pair in pairs]
    agreements = [compare_halves(maps, *of_both) for of_both in of_halves]
    explained = _explained_in_halves(
        [one for of_both in of_halves for one in of_both],
        [samples.members[index] for pair in pairs for index in pair],
        runs,
        n_rows,
        fits.voxels,
        n_threads,
    )
    matched = [which for one in agreements for which in (one.in_first, one.in_second)]
    resampled = [
        matched_r(maps, fits.samples[index].fitted[method].maps)
        for index in samples.resampled
        if method in fits.samples[index].fitted
    ]
    return SplitHalfEvidence(
        reproducibility=_stacked([one.reproducibility for one in agreements], n_components),
        bootstrap=_stacked(resampled, n_components),
        other_half_variance=_stacked(
            [alone[which] for (alone, _), which in zip(explained, matched, strict=True)],
            n_components,
        ),
        total_variances=_stacked([together for _, together in explained], 2),
        trace=np.array([one.trace for one in agreements]),
        overlap=np.array([subspace_overlap(*of_both) for of_both in of_halves]),
        n_voxels=len(fits.voxels),
        splits=tuple(
            Split(first // 2 + 1, samples.members[first], samples.members[second])
            for first, second in pairs
        ),
    )


def _explained_in_halves(
    maps: Sequence[NDArray[np.float32]],
    members: Sequence[tuple[str, ...]],
    runs: Sequence[ReducedRun],
    n_rows: int,
    voxels: NDArray[np.intp],
    n_threads: int,
) -> list[tuple[NDArray[np.float64], tuple[float, float]]]:
    """Return what the maps of each half explain in participants, pair by pair of halves.

    For each half: what each map explains alone in the other half, and what all maps explain
    together in their own half and in the other, mean over participants.
    """
    if not maps:
        return []
    alone, together = explained_by_sets_of_maps(maps, runs, n_rows, voxels, n_threads)
    labels = sorted({run.participant for run in runs})
    found = []
    for half in range(len(maps)):
        # Both halves of a pair follow each other.
        own, other = (np.isin(labels, members[which]) for which in (half, half ^ 1))
        shares = (float(together[own, half].mean()), float(together[other, half].mean()))
        found.append((alone[other, half].mean(axis=0), shares))
    return found


def _stacked(rows: Sequence[ArrayLike], n_columns: int) -> NDArray[np.float64]:
    """Return rows as an array with so many columns, also where there are no rows."""
    return np.array(rows, dtype=np.float64).reshape(-1, n_columns)
