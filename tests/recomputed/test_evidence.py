"""The evidence about each map: halves, bootstrap samples, restarts, participants, time courses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from recomputed.cleaned_runs import confounds
from recomputed.groups import (
    N_COMPONENTS,
    SEED,
    Run,
    canica,
    canica_starts,
    dictlearning,
    ica_of_moments,
    in_order_of_file,
    maps_of,
    matches,
    over_participants,
    r_of_each,
    reproducibility,
    runs_of,
    size,
    split_halves,
)
from recomputed.published import Published, agree, numbers, recomputes

METRICS, STABILITY, SPLITS = "*_metrics.tsv", "logs/stability.tsv", "logs/splits.tsv"
METHODS = ["canica", "dictlearning"]
N_BOOTSTRAPS, REPETITION_TIME_S = 3, 2.0
Maps = NDArray[np.float64]
Half = tuple[list[str], Maps]


def metrics(published: Published, method: str, column: str) -> NDArray[np.float64]:
    return numbers(published.table(f"tpl-*/func/*_seg-{method}_{METRICS}"), column)


@cache
def halves(published: Published, method: str) -> list[tuple[Half, Half]]:
    """The people and the maps of both halves of each split."""
    runs = runs_of(published, "fitted")
    people = sorted({run.participant for run in runs})
    return [
        tuple((half, fitted(published, method, half)) for half in split)
        for split in split_halves(people)
    ]


def fitted(published: Published, method: str, people: Sequence[str]) -> Maps:
    runs = runs_of(published, "fitted")
    return canica(runs, people) if method == "canica" else dictlearning(published, runs, people)


# ---------------------------------------------------------------- other samples of participants
@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "reproducibility", "reproducibility_sd", "reproducibility_min")
def test_reproducibility_is_that_of_maps_of_both_halves(detailed: Published, method: str) -> None:
    group = maps_of(detailed, method)
    r = [
        reproducibility(group, first, second)
        for (_, first), (_, second) in halves(detailed, method)
    ]
    for column, again in {
        "reproducibility": np.mean(r, axis=0),
        "reproducibility_sd": np.std(r, axis=0, ddof=1),
        "reproducibility_min": np.min(r, axis=0),
    }.items():
        agree(f"metrics: {column}, {method}", metrics(detailed, method, column), again, 1e-5)


@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "bootstrap_r", "bootstrap_r_sd")
def test_bootstrap_r_is_that_of_maps_of_people_drawn_with_replacement(
    detailed: Published, method: str
) -> None:
    people = sorted({run.participant for run in runs_of(detailed, "fitted")})
    random, group, r = np.random.RandomState(SEED), maps_of(detailed, method), []
    for _ in range(N_BOOTSTRAPS):
        drawn = [people[one] for one in np.sort(random.randint(len(people), size=len(people)))]
        sample = fitted(detailed, method, drawn)
        r.append(r_of_each(group, sample[matches(group, sample)]))
    for column, again in {
        "bootstrap_r": np.mean(r, axis=0),
        "bootstrap_r_sd": np.std(r, axis=0, ddof=1),
    }.items():
        agree(f"metrics: {column}, {method}", metrics(detailed, method, column), again, 1e-5)


@recomputes(SPLITS, "half")
def test_halves_are_drawn_at_random(detailed: Published) -> None:
    rows = detailed.table(SPLITS)
    people = sorted({row["participant_id"] for row in rows})
    assert people == sorted({run.participant for run in runs_of(detailed, "fitted")})
    for number, split in enumerate(split_halves(people), start=1):
        for half, members in enumerate(split, start=1):
            assert members == [
                row["participant_id"]
                for row in rows
                if (row["split"], row["half"]) == (str(number), str(half))
            ]


# ---------------------------------------------------------------- chance
def surrogates(published: Published, run: Run, seed: int) -> Run:
    """A run whose rows have the same power spectra and random phases, the same for all rows."""
    mask = published.mask.T
    shape = [fft.next_fast_len(size, real=True) for size in mask.shape]
    random = np.random.RandomState(seed).standard_normal(shape)
    phases = np.exp(1j * np.angle(fft.rfftn(random)))
    rows = []
    for row in run.rows:
        volume = np.zeros(mask.shape)
        volume[mask] = row
        changed = fft.irfftn(fft.rfftn(volume, shape) * phases, shape)
        values = changed[tuple(slice(size) for size in mask.shape)][mask]
        rows.append(values * np.linalg.norm(row) / np.linalg.norm(values))
    return replace(run, rows=np.array(rows))


@recomputes(METRICS, "reproducibility_chance")
def test_chance_is_what_halves_of_surrogate_runs_reach(detailed: Published) -> None:
    assert np.linalg.norm(detailed.affine[:3, 0]) >= 4  # all voxels are used
    fitted_runs, r = runs_of(detailed, "fitted"), []
    people = sorted({run.participant for run in fitted_runs})
    # 60 values at least: ten splits (there are no more) of five maps, twice.
    for repetition in range(2):
        first = SEED + 1 + repetition * len(fitted_runs)
        runs = [surrogates(detailed, run, first + number) for number, run in enumerate(fitted_runs)]
        group = canica(runs, people, 1, ica_of_moments)
        r += [
            reproducibility(group, *(canica(runs, half, 1, ica_of_moments) for half in split))
            for split in split_halves(people, 10)
        ]
    level = np.full(N_COMPONENTS, np.quantile(r, 0.95))
    published = metrics(detailed, "canica", "reproducibility_chance")
    # The ICA of noise does not converge: where it ends depends on rounding.
    agree("metrics: reproducibility_chance", published, level, 0.05)


# ---------------------------------------------------------------- restarts
@recomputes(METRICS, "restart_stability")
def test_restart_stability_is_icassos_index(detailed: Published) -> None:
    runs = runs_of(detailed, "fitted")
    starts = canica_starts(runs, sorted({run.participant for run in runs}))
    chosen = min(starts, key=size)
    stacked = np.concatenate([chosen, *(one for one in starts if one is not chosen)])
    similarity = np.abs(np.corrcoef(stacked))
    distance = np.clip(1 - similarity, 0, 1)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    cluster = fcluster(tree, N_COMPONENTS, criterion="maxclust")
    index = [
        similarity[np.ix_(cluster == one, cluster == one)].mean()
        - similarity[np.ix_(cluster == one, cluster != one)].mean()
        for one in cluster[:N_COMPONENTS]
    ]
    again = np.array(index)[matches(maps_of(detailed, "canica"), chosen)]
    agree(
        "metrics: restart_stability", metrics(detailed, "canica", "restart_stability"), again, 1e-5
    )
    assert np.isnan(metrics(detailed, "dictlearning", "restart_stability")).all()


# ---------------------------------------------------------------- explained variance
def alone(maps: Maps, run: Run) -> NDArray[np.float64]:
    """The share of a run's variance that each map explains alone in its leading components."""
    return np.sum((run.rows @ maps.T) ** 2, axis=0) / np.sum(maps**2, axis=1) / run.variance


def together(maps: Maps, run: Run) -> float:
    """The share that all maps explain together."""
    loadings = np.linalg.lstsq(maps.T, run.rows.T)[0]
    return float(
        (np.sum(run.rows**2) - np.sum((run.rows.T - maps.T @ loadings) ** 2)) / run.variance
    )


def unique(maps: Maps, run: Run) -> NDArray[np.float64]:
    """The share that is not explained without each map."""
    whole = together(maps, run)
    return np.array(
        [whole - together(np.delete(maps, one, axis=0), run) for one in range(len(maps))]
    )


@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "explained_variance", "explained_variance_holdout")
def test_explained_variance_is_a_share_of_the_whole_variance(
    detailed: Published, method: str
) -> None:
    maps = maps_of(detailed, method)
    about = detailed.json(f"tpl-*/func/*_seg-{method}_*_decomposition.json")
    evidence = about["Evidence"]
    assert isinstance(evidence, dict)
    for role, column, key in (
        ("fitted", "explained_variance", about["ExplainedVariance"]),
        ("held out", "explained_variance_holdout", evidence["ExplainedVarianceHoldout"]),
    ):
        runs = runs_of(detailed, role)
        again = over_participants([alone(maps, run) for run in runs], runs).mean(axis=0)
        agree(f"metrics: {column}, {method}", metrics(detailed, method, column), again, 1e-5)
        all_maps = over_participants([np.array(together(maps, run)) for run in runs], runs).mean()
        agree(f"decomposition.json: {column}, {method}", [float(str(key))], [all_maps], 1e-5)
    kept = [np.sum(run.rows**2) / run.variance for run in runs_of(detailed, "fitted")]
    share = float(str(about["ReducedVarianceShare"]))
    agree(f"decomposition.json: ReducedVarianceShare, {method}", [share], [np.mean(kept)], 1e-5)


@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "explained_variance_other_half")
@recomputes(STABILITY, "explained_variance_fitted", "explained_variance_other_half")
def test_what_halves_explain_is_a_share_of_the_whole_variance(
    detailed: Published, method: str
) -> None:
    runs, group = runs_of(detailed, "fitted"), maps_of(detailed, method)

    def mean(measure: object, maps: Maps, people: list[str]) -> NDArray[np.float64]:
        own = [run for run in runs if run.participant in people]
        return over_participants([np.array(measure(maps, run)) for run in own], own).mean(axis=0)

    of_maps, own, other = [], [], []
    for split in halves(detailed, method):
        for (people, maps), (others, _) in (split, split[::-1]):
            of_maps.append(mean(alone, maps, others)[matches(group, maps)])
            own.append(mean(together, maps, people))
            other.append(mean(together, maps, others))
    published = metrics(detailed, method, "explained_variance_other_half")
    agree(f"metrics: in the other half, {method}", published, np.mean(of_maps, axis=0), 1e-5)
    rows = [row for row in detailed.table(STABILITY) if row["method"] == method]
    for column, values in (
        ("explained_variance_fitted", own),
        ("explained_variance_other_half", other),
    ):
        again = np.reshape(values, (-1, 2)).mean(axis=1)
        agree(f"stability: {column}, {method}", numbers(rows, column), again, 1e-5)


# ---------------------------------------------------------------- participants and time courses
@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "dominance", "dominant_participant")
def test_dominance_is_the_largest_share_of_what_only_a_map_explains(
    detailed: Published, method: str
) -> None:
    runs, maps = runs_of(detailed, "fitted"), maps_of(detailed, method)
    shares = over_participants([unique(maps, run) for run in runs], runs)
    again = shares.max(axis=0) / shares.sum(axis=0)
    agree(f"metrics: dominance, {method}", metrics(detailed, method, "dominance"), again, 1e-5)
    people = sorted({run.participant for run in runs})
    rows = detailed.table(f"tpl-*/func/*_seg-{method}_{METRICS}")
    assert [row["dominant_participant"] for row in rows] == [
        people[one] for one in shares.argmax(axis=0)
    ]


def courses(maps: Maps, run: Run) -> NDArray[np.float64]:
    """The time courses of maps in the leading principal components of a run."""
    return np.asarray(run.volumes @ np.linalg.lstsq(maps.T, run.rows.T)[0].T)


@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "high_frequency_share")
def test_high_frequency_share_is_the_power_above_a_tenth_of_a_hertz(
    detailed: Published, method: str
) -> None:
    runs, maps, shares = runs_of(detailed, "fitted"), maps_of(detailed, method), []
    for run in runs:
        values = courses(maps, run)
        values -= values.mean(axis=0)
        spectrum = np.abs(np.fft.fft(values, axis=0)) ** 2
        frequency = np.abs(np.fft.fftfreq(len(values), REPETITION_TIME_S))
        shares.append(spectrum[frequency > 0.1 + 1e-9].sum(axis=0) / spectrum.sum(axis=0))
    again = over_participants(shares, runs).mean(axis=0)
    published = metrics(detailed, method, "high_frequency_share")
    agree(f"metrics: high_frequency_share, {method}", published, again, 1e-4)


@pytest.mark.parametrize("method", METHODS)
@recomputes(METRICS, "motion_r")
def test_motion_r_is_the_correlation_with_displacement(detailed: Published, method: str) -> None:
    """The motion parameters were regressed out, so that only displacement is left of motion."""
    runs, maps, found = runs_of(detailed, "fitted"), maps_of(detailed, method), []
    for run in runs:
        displacement = confounds(detailed, run.name)["framewise_displacement"]
        displacement[0] = displacement[1]
        displacement -= run.basis @ (run.basis.T @ displacement)
        r = np.corrcoef(courses(maps, run).T, displacement)[-1, :-1]
        found.append(np.abs(r))
    again = over_participants(found, runs).mean(axis=0)
    agree(f"metrics: motion_r, {method}", metrics(detailed, method, "motion_r"), again, 1e-4)


def test_voxels_are_in_the_order_of_the_file(detailed: Published) -> None:
    order = in_order_of_file(detailed.mask)
    assert sorted(order.tolist()) == list(range(np.count_nonzero(detailed.mask)))
