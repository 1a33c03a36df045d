"""Evidence about maps: simulated sources of participants, frequencies and motion are recognised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from component_examples import AFFINE
from numpy.typing import NDArray
from run_examples import run_of
from scipy.ndimage import gaussian_filter

from nidecomp.config.science import (
    METHODS,
    DecompositionOptions,
    Denoising,
    EvidenceOptions,
    Science,
)
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.records import ReducedRun, RunKey
from nidecomp.core.reduced_runs import RunVolumes, read_volumes, store_reduced
from nidecomp.decomposition import chance, reproducibility
from nidecomp.decomposition import samples as module
from nidecomp.decomposition.arrange import by_reproducibility
from nidecomp.decomposition.components import Components, Evidence, ParticipantEvidence
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan
from nidecomp.decomposition.participants import participant_contributions
from nidecomp.decomposition.reproducibility import judge_reproducibility
from nidecomp.decomposition.samples import SampleFit
from nidecomp.decomposition.stability import (
    bootstrap_samples,
    compare_halves,
    matched_r,
    split_halves,
)
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

# Two principal components of each run for each component, of at most six.
N_ROWS, N_VOXELS, N_VOLUMES, REPETITION_TIME_S = 12, 2000, 40, 2.0
PRIVATE = "03"
SOME = np.random.default_rng(0)
Series = Callable[[np.random.Generator, str], NDArray[np.float64]]


# ---------------------------------------------------------------- simulated runs
def sparse_sources(rng: np.random.Generator, n_sources: int) -> NDArray[np.float64]:
    return rng.laplace(size=(n_sources, N_VOXELS)) * (rng.random((n_sources, N_VOXELS)) < 0.2)


def write_run(
    path: Path,
    key: RunKey,
    series: NDArray[np.float64],
    *,
    n_rows: int = N_ROWS,
    motion: NDArray[np.float64] | None = None,
    fwhm: float = 6.0,
) -> ReducedRun:
    """Reduce a series and store it as the reduce step does."""
    volumes, singular, rows = np.linalg.svd(series, full_matrices=False)
    n_kept = len(series)
    squared = tuple((singular[:n_rows] ** 2).tolist())
    total = float((singular**2).sum())
    run = ReducedRun(run_of(key), path, fwhm, n_rows, series.shape[1], total, squared, 0, 0)
    of_volumes = RunVolumes(
        volumes[:, :n_rows].astype(np.float32),
        REPETITION_TIME_S * np.arange(n_kept),
        np.zeros((n_kept, 0)) if motion is None else motion,
    )
    store_reduced(run, (singular[:n_rows, None] * rows[:n_rows]).astype(np.float32), of_volumes)
    return run


def key_of(participant: str, run: int) -> RunKey:
    return RunKey((("sub", participant), ("task", "rest"), ("run", str(run))))


def write_group(
    folder: Path,
    series_of: Series,
    *,
    n_participants: int = 8,
    n_runs: int = 2,
    n_rows: int = N_ROWS,
) -> list[ReducedRun]:
    rng = np.random.default_rng(1)
    made = []
    for participant in labels_of(n_participants):
        for run in range(1, n_runs + 1):
            path = folder / f"{participant}_{run}.npy"
            series = series_of(rng, participant)
            made.append(write_run(path, key_of(participant, run), series, n_rows=n_rows))
    return made


def labels_of(n: int) -> list[str]:
    return [f"{index:02d}" for index in range(n)]


def noise(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(size=(N_VOLUMES, N_VOXELS))


SHARED, OWN = sparse_sources(SOME, 3), sparse_sources(SOME, 1)


def with_private_source(rng: np.random.Generator, participant: str) -> NDArray[np.float64]:
    """Return a series with three shared sources and, in one participant, a strong private one."""
    series = rng.normal(size=(N_VOLUMES, 3)) @ SHARED + noise(rng)
    if participant == PRIVATE:
        series += 1.5 * rng.normal(size=(N_VOLUMES, 1)) @ OWN
    return series


def with_shared_sources(rng: np.random.Generator, _: str) -> NDArray[np.float64]:
    return rng.normal(size=(N_VOLUMES, 3)) @ SHARED + noise(rng)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[ReducedRun]:
    return write_group(tmp_path_factory.mktemp("private"), with_private_source)


def science(
    *n_components: int, n_splits: int = 3, n_bootstraps: int = 0, **others: object
) -> Science:
    settings = DecompositionOptions(n_components=n_components, n_init=3)
    return Science(
        decomposition=replace(settings, **others),
        evidence=EvidenceOptions(n_splits=n_splits, n_bootstraps=n_bootstraps),
    )


def judge_fitted(
    fitted: Sequence[Components],
    runs: Sequence[ReducedRun],
    wanted: Science,
    plan: GroupPlan | None = None,
    held_out_runs: Sequence[ReducedRun] = (),
) -> tuple[Components, ...]:
    """Judge maps whose voxels lie in a row."""
    shape = (runs[0].n_voxels, 1, 1)
    space = VoxelSpace(Grid(shape, AFFINE), np.ones(shape, dtype=bool), "row")
    return judge_reproducibility(fitted, runs, wanted, space, plan, held_out_runs)


def judge(
    runs: Sequence[ReducedRun], wanted: Science, plan: GroupPlan | None = None
) -> tuple[Components, ...]:
    return judge_fitted(fit_group(runs, wanted), runs, wanted, plan)


def evidence_of(components: Components) -> Evidence:
    assert components.evidence is not None
    return components.evidence


def participants_of(components: Components) -> ParticipantEvidence:
    assert components.participants is not None
    return components.participants


def r_with(maps: NDArray[np.floating], sources: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.abs(np.corrcoef(maps, sources)[: len(maps), len(maps) :])


def place_of(components: Components, source: NDArray[np.floating]) -> int:
    """Return the index of the component that is a simulated source."""
    r = r_with(components.maps, source[None])[:, 0]
    assert r.max() > 0.9
    return int(r.argmax())


@pytest.fixture(scope="module", params=[4, 6], ids="{} components".format)
def judged(request: pytest.FixtureRequest, runs: list[ReducedRun]) -> tuple[Components, ...]:
    return judge(runs, science(request.param, n_bootstraps=4))


# ---------------------------------------------------------------- evidence
def test_evidence_has_the_documented_shapes(judged: tuple[Components, ...]) -> None:
    assert [components.method for components in judged] == list(METHODS)
    for components in judged:
        k, evidence = components.n_components, evidence_of(components)
        halves, participants = evidence.halves, participants_of(components)
        shapes = {
            "reproducibility": (3, k),
            "bootstrap": (4, k),
            "other_half_variance": (6, k),
            "total_variances": (6, 2),
            "trace": (3,),
            "overlap": (3,),
        }
        of_participants = {"explained_variance": (8, k), "high_frequency": (k,), "motion_r": (k,)}
        assert {name: getattr(halves, name).shape for name in shapes} == shapes
        assert {
            name: getattr(participants, name).shape for name in of_participants
        } == of_participants
        assert participants.labels == tuple(labels_of(8))
        assert evidence.holdout is None
        assert halves.n_voxels == N_VOXELS
        assert participants.dominance.shape == (k,)
        # Motion is unknown without columns of it. All other values are shares or |r|.
        assert np.isnan(participants.motion_r).all()
        shares = [getattr(halves, name) for name in shapes]
        for values in (*shares, participants.explained_variance, participants.high_frequency):
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-6


def test_shared_sources_are_reproduced_and_one_participants_is_not(
    judged: tuple[Components, ...],
) -> None:
    for components in judged:
        evidence = evidence_of(components)
        places = [place_of(components, source) for source in SHARED]
        assert sorted(places) == [0, 1, 2]
        assert evidence.halves.reproducibility[:, places].min() > 0.9
        private = place_of(components, OWN[0])
        assert evidence.halves.reproducibility[:, private].max() < 0.5
        assert participants_of(components).dominance.argmax() == private
        assert participants_of(components).dominance[private] > 0.9
        assert participants_of(components).explained_variance[:, private].argmax() == int(PRIVATE)
        assert participants_of(components).dominance[places].max() < 0.25


def test_surplus_components_are_the_least_reproducible_and_come_last(
    judged: tuple[Components, ...],
) -> None:
    for components in judged:
        mean = evidence_of(components).halves.reproducibility.mean(axis=0)
        assert mean[:3].min() > 0.9
        assert mean[3:].max() < 0.5
        assert (np.diff(np.round(mean, 2)) <= 0).all()


def test_halves_agree_on_shared_sources_only(
    judged: tuple[Components, ...],
) -> None:
    """Trace and overlap are those of three maps that agree, out of all."""
    for components in judged:
        evidence = evidence_of(components)
        np.testing.assert_allclose(evidence.halves.trace, 3 / components.n_components, atol=0.1)
        np.testing.assert_allclose(evidence.halves.overlap, 3 / components.n_components, atol=0.05)


def test_bootstraps_find_a_private_source_only_if_its_participant_was_drawn(
    judged: tuple[Components, ...],
) -> None:
    was_drawn = [PRIVATE in sample for sample in bootstrap_samples(labels_of(8), 4, 0)]
    assert was_drawn == [True, True, False, False]
    for components in judged:
        bootstrap = evidence_of(components).halves.bootstrap
        assert bootstrap[:, :3].min() > 0.9
        private = bootstrap[:, place_of(components, OWN[0])]
        np.testing.assert_array_equal(private > 0.5, was_drawn)


@pytest.mark.usefixtures("no_chance")
def test_everything_of_a_component_is_reordered_together_except_names(
    runs: list[ReducedRun],
) -> None:
    wanted = science(6)
    fitted = fit_group(runs, wanted)
    moved = 0
    for before, after in zip(fitted, judge_fitted(fitted, runs, wanted), strict=True):
        order = [int(np.flatnonzero((before.maps == one).all(axis=1)).item()) for one in after.maps]
        assert sorted(order) == list(range(6))
        moved += order != sorted(order)
        np.testing.assert_array_equal(after.explained_variance, before.explained_variance[order])
        assert (before.restart_index is None) == (before.method == "dictlearning")
        if before.restart_index is not None:
            np.testing.assert_array_equal(after.restart_index, before.restart_index[order])
        mean = evidence_of(after).halves.reproducibility
        again = by_reproducibility(mean, after.explained_variance)
        np.testing.assert_array_equal(again, np.arange(6))
        for name in ("names", "method", "total_explained_variance", "total_variance", "fit"):
            assert getattr(after, name) == getattr(before, name)
    assert moved


def residual(rows: NDArray[np.float64], maps: NDArray[np.float64]) -> float:
    """Return the residual sum of squares of a regression of rows on maps."""
    loadings, *_ = np.linalg.lstsq(maps.T, rows.T, rcond=None)
    return float(np.sum((rows.T - maps.T @ loadings) ** 2))


def test_participant_variance_is_the_increase_of_the_residual_without_each_map(
    judged: tuple[Components, ...], runs: list[ReducedRun]
) -> None:
    for components in judged:
        maps = components.maps.astype(np.float64)
        for participant, row in enumerate(participants_of(components).explained_variance):
            shares = []
            for run in (run for run in runs if int(run.key.participant) == participant):
                rows = np.load(run.path)[: 2 * len(maps)].astype(np.float64)
                lost = [
                    residual(rows, np.delete(maps, index, axis=0)) for index in range(len(maps))
                ]
                shares.append((np.array(lost) - residual(rows, maps)) / run.total_variance)
            np.testing.assert_allclose(row, np.mean(shares, axis=0), atol=1e-7)


def test_a_private_map_that_overlaps_with_shared_maps_is_still_attributed_to_its_participant(
    tmp_path: Path,
) -> None:
    """Alone, it explains variance of all; beyond the other maps, only that of one participant."""
    runs = write_group(tmp_path, with_private_source)
    overlapping = OWN[0] / OWN[0].std() + 1.5 * SHARED[0] / SHARED[0].std()
    maps = np.array([*SHARED, overlapping, np.zeros(N_VOXELS)], dtype=np.float32)
    fitted = Components("canica", maps, tuple("abcde"), np.ones(5), 1.0)
    found = participant_contributions(fitted, runs, 10, 1).participants
    assert found.dominance[3] > 0.9
    assert found.explained_variance[:, 3].argmax() == int(PRIVATE)
    assert found.dominance[1:3].max() < 0.25
    assert np.isnan(found.dominance[4]), "an empty map explains no variance"


# ---------------------------------------------------------------- participants of halves
Spied = list[list[Components]]


@pytest.fixture
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the fits to surrogates, which take longer than those to halves."""
    monkeypatch.setattr(reproducibility, "chance_of_reproducibility", lambda *_: {})


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch, no_chance: None) -> Spied:
    """Collect the fits to all samples, in the order of samples."""
    fits: Spied = []
    fit = module.fit_subspaces

    def kept(*given: object, **named: object) -> list[Components]:
        fits.append(fit(*given, **named))
        return fits[-1]

    monkeypatch.setattr(module, "fit_subspaces", kept)
    return fits


def of_participants(runs: Sequence[ReducedRun], labels: Iterable[str]) -> list[ReducedRun]:
    """Return the runs of some participants; a label that is given twice counts as two of them."""
    taken = []
    for nth, label in enumerate(labels):
        for run in runs:
            if run.key.participant == label:
                entities = (("sub", f"{label}x{nth:02d}"), *run.key.entities[1:])
                taken.append(replace(run, run=run_of(RunKey(entities))))
    return taken


@pytest.mark.usefixtures("no_chance")
def test_halves_and_bootstraps_are_fits_to_their_participants_alone(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are few enough voxels that all of them are used, and all dimensions are kept."""
    monkeypatch.setattr(module, "_FEWEST_DIMS", 128)
    wanted = science(4, n_bootstraps=3, methods=("canica",))

    def alone(labels: Iterable[str]) -> NDArray[np.float32]:
        return fit_group(of_participants(runs, labels), wanted)[0].maps

    (components,) = judge(runs, wanted)
    maps, evidence = components.maps, evidence_of(components)
    halves = [[alone(half) for half in pair] for pair in split_halves(labels_of(8), 3, 0)]
    expected = [compare_halves(maps, *pair).reproducibility for pair in halves]
    np.testing.assert_allclose(evidence.halves.reproducibility, expected, atol=1e-4)
    np.testing.assert_allclose(
        evidence.halves.trace, [matched_r(*pair).mean() for pair in halves], 1e-4
    )
    samples = [matched_r(maps, alone(sample)) for sample in bootstrap_samples(labels_of(8), 3, 0)]
    np.testing.assert_allclose(evidence.halves.bootstrap, samples, atol=1e-4)


def mean_share(
    maps: NDArray[np.floating], runs: Sequence[ReducedRun], n_rows: int, member: Iterable[str]
) -> float:
    """Return the share of the whole variance of runs that maps explain, mean over participants."""
    shares = []
    for label in member:
        own = [run for run in runs if run.key.participant == label]
        rows = [np.load(run.path)[:n_rows].astype(np.float64) for run in own]
        lost = [residual(one, maps.astype(np.float64)) for one in rows]
        shares.append(
            np.mean(
                [
                    (np.sum(one**2) - rest) / run.total_variance
                    for one, rest, run in zip(rows, lost, own, strict=True)
                ]
            )
        )
    return float(np.mean(shares))


@pytest.mark.parametrize("n_voxels", [N_VOXELS, 1000])
def test_variance_in_the_other_half_is_that_of_a_least_squares_fit(
    n_voxels: int, runs: list[ReducedRun], spied: Spied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where halves are fitted on half of the voxels, shares are those of half of the variance."""
    monkeypatch.setattr(module, "MOST_VOXELS", n_voxels)
    judged = judge(runs, science(4, n_splits=2))
    halves = [half for pair in split_halves(labels_of(8), 2, 0) for half in pair]
    voxels = evenly_spaced(N_VOXELS, n_voxels)
    for components in judged:
        evidence = evidence_of(components)
        for learnt, other in enumerate([1, 0, 3, 2]):
            (maps,) = (one.maps for one in spied[learnt] if one.method == components.method)
            spread = np.zeros((4, N_VOXELS))
            spread[:, voxels] = maps
            whole = N_VOXELS / n_voxels

            def share(maps: NDArray[np.floating], half: int, whole: float = whole) -> float:
                return whole * mean_share(maps, runs, 8, halves[half])

            np.testing.assert_allclose(
                evidence.halves.total_variances[learnt],
                [share(spread, which) for which in (learnt, other)],
                atol=1e-5,
            )
            alone = [share(one[None], other) for one in spread]
            partner = r_with(components.maps[:3, voxels], maps).argmax(axis=1)
            np.testing.assert_allclose(
                evidence.halves.other_half_variance[learnt, :3], np.array(alone)[partner], atol=1e-5
            )
        assert [one.number for one in evidence.halves.splits] == [1, 2]
        assert [one.first for one in evidence.halves.splits] == halves[::2]


def test_explained_variance_is_the_mean_share_of_the_whole_variance_of_participants(
    runs: list[ReducedRun],
) -> None:
    for components in fit_group(runs, science(4)):
        maps = components.maps
        np.testing.assert_allclose(
            components.explained_variance,
            [mean_share(one[None], runs, 8, labels_of(8)) for one in maps],
            atol=1e-6,
        )
        assert components.total_explained_variance == pytest.approx(
            mean_share(maps, runs, 8, labels_of(8)), abs=1e-6
        )
        # Runs have four dimensions more, of which nothing is explained.
        assert mean_share(maps, runs, 12, labels_of(8)) > components.total_explained_variance


@pytest.mark.usefixtures("no_chance")
def test_variance_in_held_out_participants_is_that_of_a_least_squares_fit(
    runs: list[ReducedRun],
) -> None:
    wanted = science(4)
    left_out = ("02", PRIVATE)
    out = [run for run in runs if run.key.participant in left_out]
    used = [run for run in runs if run not in out]
    fitted = fit_group(used, wanted)
    plain = judge_fitted(fitted, used, wanted)
    for components, without in zip(
        judge_fitted(fitted, used, wanted, held_out_runs=out[::-1]), plain, strict=True
    ):
        evidence = evidence_of(components)
        assert evidence.holdout is not None
        assert evidence.holdout.labels == left_out
        assert participants_of(components).labels == tuple(
            sorted(set(labels_of(8)) - set(left_out))
        )
        assert evidence.holdout.total_explained_variance == pytest.approx(
            mean_share(components.maps, out, 8, left_out), abs=1e-6
        )
        np.testing.assert_allclose(
            evidence.holdout.explained_variance,
            [mean_share(one[None], out, 8, left_out) for one in components.maps],
            atol=1e-6,
        )
        # Nothing else has seen them.
        before = evidence_of(without)
        for now, then in (
            (evidence.halves.reproducibility, before.halves.reproducibility),
            (evidence.halves.total_variances, before.halves.total_variances),
            (
                participants_of(components).explained_variance,
                participants_of(without).explained_variance,
            ),
        ):
            np.testing.assert_array_equal(now, then)


def test_the_data_of_one_participant_affect_one_half_of_each_split(
    runs: list[ReducedRun], spied: Spied, tmp_path: Path
) -> None:
    wanted = science(4, n_splits=5)
    fitted = fit_group(runs, wanted)
    judge_fitted(fitted, runs, wanted)
    changed = list(runs)
    for index, run in enumerate(runs):
        if run.key.participant == PRIVATE:
            # The record keeps its variance, because weights are relative to that of the group.
            changed[index] = replace(run, path=tmp_path / run.path.name)
            rows = np.roll(np.load(run.path), 7, axis=1)
            store_reduced(changed[index], rows, read_volumes(run))
    judge_fitted(fitted, changed, wanted)
    before, after = spied[:10], spied[10:]
    assert len(after) == 10
    for method in range(2):
        same = [
            one[method].maps.tobytes() == other[method].maps.tobytes()
            for one, other in zip(before, after, strict=True)
        ]
        expected = [
            PRIVATE not in half for pair in split_halves(labels_of(8), 5, 0) for half in pair
        ]
        assert same == expected
        assert sum(same) == 5


@pytest.mark.usefixtures("no_chance")
def test_identical_participants_have_a_reproducibility_of_one(tmp_path: Path) -> None:
    series = with_shared_sources(np.random.default_rng(2), "")
    same = write_group(tmp_path, lambda *_: series, n_runs=1)
    for components in judge(same, science(3, n_bootstraps=2)):
        evidence = evidence_of(components)
        for values in (
            evidence.halves.reproducibility,
            evidence.halves.bootstrap,
            evidence.halves.overlap,
        ):
            np.testing.assert_allclose(values, 1.0, atol=1e-3)
        np.testing.assert_allclose(evidence.halves.trace, 1.0, atol=1e-3)
        np.testing.assert_allclose(participants_of(components).dominance, 1 / 8, rtol=1e-6)
        own, other = evidence.halves.total_variances.T
        np.testing.assert_allclose(own, other, rtol=1e-4)


def test_with_one_participant_maps_are_sorted_by_explained_variance(
    runs: list[ReducedRun], caplog: pytest.LogCaptureFixture
) -> None:
    own = [run for run in runs if run.key.participant == PRIVATE]
    with caplog.at_level(logging.WARNING):
        judged = judge(own, science(4, n_splits=5, n_bootstraps=2))
    assert "The reproducibility of maps cannot be judged with 1 participant" in caplog.text
    for components in judged:
        evidence = evidence_of(components)
        assert (
            evidence.halves.reproducibility.shape
            == evidence.halves.other_half_variance.shape
            == (0, 4)
        )
        assert evidence.halves.total_variances.shape == (0, 2)
        assert evidence.halves.trace.shape == evidence.halves.overlap.shape == (0,)
        assert (np.diff(components.explained_variance) <= 0).all()
        np.testing.assert_array_equal(participants_of(components).dominance, 1.0)
        # Only this participant can be drawn.
        np.testing.assert_allclose(evidence.halves.bootstrap, 1.0, atol=1e-3)


@pytest.mark.usefixtures("no_chance")
def test_two_participants_have_one_split(
    runs: list[ReducedRun], caplog: pytest.LogCaptureFixture
) -> None:
    two = [run for run in runs if run.key.participant in {"00", "01"}]
    with caplog.at_level(logging.WARNING):
        judged = judge(two, science(3, n_splits=5))
    assert "The reproducibility of maps is judged from 1 split only: 2 participants" in caplog.text
    for components in judged:
        evidence = evidence_of(components)
        assert evidence.halves.reproducibility.shape == (1, 3)
        assert evidence.halves.other_half_variance.shape == (2, 3)
        assert evidence.halves.reproducibility.min() > 0.9


def test_without_splits_and_bootstraps_there_is_only_evidence_of_participants(
    runs: list[ReducedRun], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        judged = judge(runs, science(4, n_splits=0))
    assert not caplog.text
    for components in judged:
        evidence = evidence_of(components)
        assert evidence.halves.reproducibility.shape == evidence.halves.bootstrap.shape == (0, 4)
        assert (np.diff(components.explained_variance) <= 0).all()
        assert participants_of(components).explained_variance.shape == (8, 4)


@pytest.mark.usefixtures("no_chance")
def test_a_split_is_left_out_if_one_of_its_halves_cannot_be_fitted(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = science(4, n_bootstraps=2)
    fitted = fit_group(runs, wanted)
    whole = judge_fitted(fitted, runs, wanted)
    fit, calls = module.fit_subspaces, iter(range(8))

    def failing(*given: object, **named: object) -> list[Components]:
        # The second half of the second of three splits, and the first of two bootstrap samples.
        if next(calls) in {3, 6}:
            raise NothingToDoError("There is no signal.")
        return fit(*given, **named)

    monkeypatch.setattr(module, "fit_subspaces", failing)
    for before, after in zip(whole, judge_fitted(fitted, runs, wanted), strict=True):
        np.testing.assert_array_equal(
            evidence_of(after).halves.trace, evidence_of(before).halves.trace[[0, 2]]
        )
        assert evidence_of(after).halves.reproducibility.shape == (2, 4)
        assert evidence_of(after).halves.other_half_variance.shape == (4, 4)
        assert evidence_of(after).halves.bootstrap.shape == (1, 4)


# ---------------------------------------------------------------- execution changes no byte
TWO_SMOOTHINGS = replace(
    science(3, 5, n_bootstraps=2), denoising=Denoising(dictlearning_smoothing_fwhm=10.0)
)


def as_bytes(judged: Iterable[Components]) -> list[dict[str, object]]:
    """Return the maps and all evidence of each decomposition as bytes."""
    return [
        {
            "maps": components.maps.tobytes(),
            "explained": components.explained_variance.tobytes(),
            "names": components.names,
        }
        | {
            f"{field.name}.{name}": np.array(value).tobytes()
            for field in fields(Evidence)
            if (part := getattr(evidence_of(components), field.name)) is not None
            for name, value in vars(part).items()
            if name != "splits"
        }
        | {
            f"participants.{name}": np.array(value).tobytes()
            for name, value in vars(participants_of(components)).items()
        }
        for components in judged
    ]


@pytest.fixture(scope="module")
def two_smoothings(tmp_path_factory: pytest.TempPathFactory) -> list[ReducedRun]:
    """Return runs of seven participants (halves differ in size) with motion, at two smoothings."""
    folder, rng = tmp_path_factory.mktemp("smoothings"), np.random.default_rng(3)
    made = []
    for participant in labels_of(7):
        motion = rng.normal(size=(N_VOLUMES, 2))
        for run in range(1, 2 + (participant == "04")):
            series = with_shared_sources(rng, participant)
            for fwhm in (6.0, 10.0):
                path = folder / f"{participant}_{run}_{fwhm}.npy"
                blurred = series + noise(rng) / fwhm
                key = key_of(participant, run)
                made.append(write_run(path, key, blurred, motion=motion, fwhm=fwhm))
    return made


@pytest.fixture(scope="module")
def expected(two_smoothings: list[ReducedRun]) -> list[dict[str, object]]:
    return as_bytes(judge(two_smoothings, TWO_SMOOTHINGS))


def test_threads_passes_and_order_of_runs_change_no_byte(
    two_smoothings: list[ReducedRun], expected: list[dict[str, object]]
) -> None:
    plan = GroupPlan(n_threads=3, at_once=1, samples_at_once=2)
    assert len(expected) == 4
    assert as_bytes(judge(two_smoothings[::-1], TWO_SMOOTHINGS, plan)) == expected


def test_each_model_order_is_judged_as_if_it_were_the_only_one(
    two_smoothings: list[ReducedRun], expected: list[dict[str, object]]
) -> None:
    settings = replace(TWO_SMOOTHINGS.decomposition, n_components=(5,))
    alone = replace(TWO_SMOOTHINGS, decomposition=settings)
    assert as_bytes(judge(two_smoothings, alone)) == expected[2:]


@pytest.mark.usefixtures("no_chance")
def test_canica_is_judged_on_runs_at_its_own_smoothing(
    two_smoothings: list[ReducedRun], expected: list[dict[str, object]]
) -> None:
    """Dictionary learning is judged on runs at the other smoothing, so its evidence differs."""
    alone = replace(TWO_SMOOTHINGS, denoising=Denoising())
    narrow = [run for run in two_smoothings if run.smoothing_fwhm == 6.0]
    assert [
        both["halves.reproducibility"] == one["halves.reproducibility"]
        and both["halves.other_half_variance"] == one["halves.other_half_variance"]
        and both["participants.explained_variance"] == one["participants.explained_variance"]
        for both, one in zip(expected, as_bytes(judge(narrow, alone)), strict=True)
    ] == [True, False, True, False]


# ---------------------------------------------------------------- noise and sparsity
def test_maps_of_noise_explain_less_of_the_other_half_than_of_their_own(tmp_path: Path) -> None:
    nothing = write_group(tmp_path, lambda rng, _: noise(rng))
    judged = judge(nothing, science(3))
    assert sum(components.at_chance.sum() for components in judged) >= 4
    for components in judged:
        evidence = evidence_of(components)
        own, other = evidence.halves.total_variances.T
        assert (other < own / 10).all()
        assert (evidence.halves.other_half_variance <= other[:, None] + 1e-9).all()
        assert evidence.halves.reproducibility.max() < 0.5
        # |r| of 2,000 independent voxels exceeds 0.044 in 5 % of the cases.
        assert 0.03 < evidence.halves.chance < 0.08


def test_shared_sources_are_above_chance(judged: tuple[Components, ...]) -> None:
    for components in judged:
        assert evidence_of(components).halves.chance < 0.2
        places = [place_of(components, source) for source in SHARED]
        assert not components.at_chance[places].any()


def test_a_chance_level_that_is_not_known_is_told(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = fit_group(runs, science(4))
    monkeypatch.setattr(chance, "fit_samples_of_rows", lambda *_: (SampleFit({}),) * 7)
    with caplog.at_level(logging.WARNING):
        for components in judge_fitted(fitted, runs, science(4)):
            assert np.isnan(evidence_of(components).halves.chance)
            assert not components.at_chance.any()
    for method in METHODS:
        assert f"reproducibility of {method} maps is not known" in caplog.text


def test_surrogates_of_many_participants_are_made_of_some(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chance, "MOST_PARTICIPANTS", 4)
    few = [run for run in runs if run.key.participant in {"00", "02", "04", "06"}]
    wanted = science(4, n_splits=1)
    fitted = fit_group(runs, wanted)
    levels = [
        {one.method: evidence_of(one).halves.chance for one in judge_fitted(fitted, some, wanted)}
        for some in (runs, few)
    ]
    assert levels[0] == pytest.approx(levels[1], rel=1e-6)


@pytest.mark.parametrize("alpha", [None, 3.0, 10.0])
def test_the_penalty_of_halves_gives_about_the_groups_support(
    alpha: float | None, runs: list[ReducedRun], spied: Spied
) -> None:
    """This holds for penalties above the noise, which does not grow with the number of runs."""
    (components,) = judge(runs, science(3, alpha=alpha, methods=("dictlearning",)))
    group = np.mean(components.maps != 0)
    assert 0.05 < group < 0.25
    halves = [np.mean(half.maps != 0) for (half,) in spied]
    assert len(halves) == 6
    np.testing.assert_allclose(halves, group, rtol=0.25)
    for (half,) in spied:
        ratio = float(half.fit["Alpha"]) / float(components.fit["Alpha"])
        assert ratio == pytest.approx(0.5**0.5, rel=0.05)


# ---------------------------------------------------------------- time courses
def test_slow_fast_and_motion_components_are_distinguished(tmp_path: Path) -> None:
    """One source is at 0.05 Hz, one at 0.2 Hz, one follows framewise displacement."""
    rng, n_volumes = np.random.default_rng(4), 150
    times_s = REPETITION_TIME_S * np.arange(n_volumes)
    made = []
    for participant in labels_of(4):
        displacement = rng.gamma(1.0, 0.1, n_volumes)
        waves = [
            np.sin(2 * np.pi * (frequency * times_s + rng.random())) for frequency in (0.05, 0.2)
        ]
        moving = (displacement - displacement.mean()) / displacement.std()
        series = np.column_stack([*waves, moving]) @ SHARED
        series += 0.5 * rng.normal(size=(n_volumes, N_VOXELS))
        # The first volume has no framewise displacement, and one participant no confounds at all.
        displacement[0] = np.nan
        motion = np.column_stack([rng.normal(size=(n_volumes, 6)), displacement])
        path, key = tmp_path / f"{participant}.npy", key_of(participant, 1)
        known = motion if participant != "02" else None
        made.append(write_run(path, key, series, motion=known))
    for components in judge(made, science(3, n_splits=0)):
        slow, fast, moving = (place_of(components, source) for source in SHARED)
        high = participants_of(components).high_frequency
        assert high[slow] < 0.1
        assert high[fast] > 0.9
        # The share of white noise above 0.1 Hz with a Nyquist frequency of 0.25 Hz.
        assert high[moving] == pytest.approx(0.6, abs=0.1)
        with_motion = participants_of(components).motion_r
        assert with_motion[moving] > 0.95
        assert with_motion[[slow, fast]].max() < 0.4


def test_time_courses_of_maps_that_overlap_do_not_leak_into_each_other(tmp_path: Path) -> None:
    """All maps are fitted together; the product of one map with the data would mix both sources."""
    maps = np.array([OWN[0] + SHARED[0], OWN[0] + SHARED[1]], dtype=np.float32)
    assert r_with(maps[:1], maps[1:]).item() > 0.4
    times_s = REPETITION_TIME_S * np.arange(N_VOLUMES)
    waves = np.sin(2 * np.pi * np.outer(times_s, [0.05, 0.2]) + 0.3)

    def series_of(rng: np.random.Generator, _: str) -> NDArray[np.float64]:
        return np.asarray(waves @ maps + 0.5 * noise(rng))

    overlapping = write_group(tmp_path, series_of, n_participants=2, n_runs=1, n_rows=4)
    wanted = science(2, n_splits=0, methods=("canica",))
    (fitted,) = fit_group(overlapping, wanted)
    found = participant_contributions(replace(fitted, maps=maps), overlapping, 4, 1)
    slow, fast = found.participants.high_frequency
    assert slow < 0.02
    assert fast > 0.98


# ---------------------------------------------------------------- approximations of sample fits
def judged_both_ways(
    runs: list[ReducedRun],
    wanted: Science,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    enough: int,
) -> Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the mean reproducibility of fitted maps with and without an approximation."""
    fitted = fit_group(runs, wanted)
    short = judge_fitted(fitted, runs, wanted)
    monkeypatch.setattr(module, setting, enough)
    whole = judge_fitted(fitted, runs, wanted)
    for before, one, other in zip(fitted, short, whole, strict=True):
        yield (by_place(before, one), by_place(before, other))


def by_place(fitted: Components, judged: Components) -> NDArray[np.float64]:
    """Return the mean reproducibility in the order in which components were fitted."""
    order = [int(np.flatnonzero((judged.maps == one).all(axis=1)).item()) for one in fitted.maps]
    return np.asarray(evidence_of(judged).halves.reproducibility.mean(axis=0)[order])


def test_evenly_spaced_voxels_cover_the_mask_and_are_always_the_same() -> None:
    np.testing.assert_array_equal(evenly_spaced(20_000, 20_000), np.arange(20_000))
    voxels = evenly_spaced(60_000, 20_000)
    np.testing.assert_array_equal(voxels, evenly_spaced(60_000, 20_000))
    assert len(voxels) == 20_000
    assert (np.diff(voxels) > 0).all()
    in_tenths = np.histogram(voxels, bins=10, range=(0, 60_000))[0]
    np.testing.assert_allclose(in_tenths, 2000, rtol=0.1)


@pytest.mark.usefixtures("no_chance")
def test_the_number_of_voxels_of_halves_is_recorded(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VOXELS", 700)
    for components in judge(runs, science(4)):
        evidence = evidence_of(components)
        assert evidence.halves.n_voxels == 700
        assert components.maps.shape == (4, N_VOXELS)
        assert evidence.halves.reproducibility[:, :3].min() > 0.9
        assert evidence.halves.reproducibility[:, 3].max() < 0.5


@pytest.mark.usefixtures("no_chance")
def test_a_third_of_smooth_voxels_gives_the_reproducibility_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches have 200 voxels: with 20, dictionary learning depends on the order of voxels."""
    rng, grid = np.random.default_rng(5), (40, 40, 38)

    def smooth(volume: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        blurred = gaussian_filter(volume, sigma).ravel()
        return np.asarray(blurred / blurred.std())

    sources = []
    for _ in range(4):
        points = np.zeros(grid, dtype=np.float32)
        points.flat[rng.choice(points.size, 12, replace=False)] = rng.choice([-1, 1], 12)
        sources.append(smooth(points, 2.0))

    def series_of(rng: np.random.Generator, _: str) -> NDArray[np.float64]:
        courses = rng.normal(size=(12, 4)) * [1.0, 0.8, 0.7, 0.6]
        scattered = [smooth(rng.standard_normal(grid, dtype=np.float32), 1.2) for _ in courses]
        return np.asarray(courses @ sources + 2.0 * np.array(scattered))

    smooth_runs = write_group(tmp_path, series_of, n_runs=1, n_rows=8)
    wanted = science(4, n_splits=2, batch_size=200)
    for short, whole in judged_both_ways(smooth_runs, wanted, monkeypatch, "MOST_VOXELS", 10**6):
        assert 0.5 < whole.min() < 0.98
        np.testing.assert_allclose(short, whole, atol=0.025)


@pytest.mark.usefixtures("no_chance")
def test_three_dimensions_for_each_component_give_the_reproducibility_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half has 200 rows, of which 60 dimensions are kept."""
    sources = sparse_sources(np.random.default_rng(6), 10)

    def series_of(rng: np.random.Generator, _: str) -> NDArray[np.float64]:
        courses = rng.normal(size=(N_VOLUMES, 10)) * np.linspace(1, 0.5, 10)
        return np.asarray(courses @ sources + 2.0 * noise(rng))

    many_runs = write_group(tmp_path, series_of, n_participants=20, n_runs=1, n_rows=20)
    wanted = science(10, n_splits=2)
    for short, whole in judged_both_ways(many_runs, wanted, monkeypatch, "_FEWEST_DIMS", 200):
        assert not np.array_equal(short, whole)
        assert whole.min() > 0.5
        np.testing.assert_allclose(short, whole, atol=0.025)
