"""The group fit: weights of participants, and the same bytes however it is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from run_examples import run_of
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Denoising, PcaWeighting, Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun, RunKey
from nidecomp.core.reduced_runs import RunVolumes, read_volumes, store_reduced
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import (
    GroupPlan,
    SubspaceKey,
    gather,
    participant_weights,
    subspace_keys,
)
from nidecomp.decomposition.subspace import RowNorm

# Two for each of five components; one run has fewer dimensions, but enough for three components.
N_COMPONENTS, N_ROWS, N_VOXELS = 5, 10, 2000
SHORT, N_SHORT = "06", 7
FEW_DIMENSIONS = Science(
    denoising=Denoising(dictlearning_smoothing_fwhm=10.0),
    decomposition=DecompositionOptions(n_components=(3, N_COMPONENTS), n_init=3, subspace_dims=12),
)
WEIGHTINGS: tuple[PcaWeighting, ...] = get_args(PcaWeighting)
ROW_NORMS: tuple[RowNorm, ...] = get_args(RowNorm)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[ReducedRun]:
    """Return runs of seven participants at two smoothings, with three sparse sources in common."""
    # One BLAS thread: with small matrices, threads mostly wait for each other.
    with threadpool_limits(limits=1):
        return reduced_runs(tmp_path_factory.mktemp("reduced"))


def reduced_runs(folder: Path) -> list[ReducedRun]:
    rng = np.random.default_rng(0)
    sources = rng.laplace(size=(3, N_VOXELS)) * (rng.random((3, N_VOXELS)) < 0.2)
    made = []
    for participant in (f"{number:02d}" for number in range(7)):
        for fwhm in (6.0, 10.0):
            series = rng.normal(size=(30, 3)) @ sources + rng.normal(size=(30, N_VOXELS)) / fwhm
            key = RunKey((("sub", participant), ("task", "rest")))
            n_rows = N_SHORT if participant == SHORT else N_ROWS
            made.append(write_run(folder, series, key, n_rows, fwhm))
    return made


def write_run(
    folder: Path, series: NDArray[np.float64], key: RunKey, n_rows: int, fwhm: float = 6.0
) -> ReducedRun:
    """Store a run as the reduce step does."""
    volumes, singular, rows = np.linalg.svd(series, full_matrices=False)
    path = folder / f"{key.label}_{fwhm}.npy"
    squared = tuple((singular[:n_rows] ** 2).tolist())
    total = float((singular**2).sum())
    run = ReducedRun(run_of(key), path, fwhm, n_rows, series.shape[1], total, squared, 0, 0)
    times_s, motion = 2.0 * np.arange(len(series)), np.zeros((len(series), 0))
    of_volumes = RunVolumes(volumes[:, :n_rows].astype(np.float32), times_s, motion)
    store_reduced(run, (singular[:n_rows, None] * rows[:n_rows]).astype(np.float32), of_volumes)
    return run


def with_first_rows(
    runs: Sequence[ReducedRun], n_rows: int, folder: Path, *, filler: float | None = None
) -> list[ReducedRun]:
    """Return copies of runs with fewer rows, or with the others replaced by a number."""
    copies = []
    for run in runs:
        copy = replace(run, path=folder / run.path.name)
        rows, volumes = np.load(run.path), read_volumes(run)
        if filler is None:
            rows, volumes = rows[:n_rows], replace(volumes, rows=volumes.rows[:, :n_rows])
            squared = run.squared_singular_values[:n_rows]
            copy = replace(copy, n_rows=len(rows), squared_singular_values=squared)
        else:
            rows[n_rows:] = filler
        store_reduced(copy, rows, volumes)
        copies.append(copy)
    return copies


def as_bytes(fitted: tuple[Components, ...]) -> list[bytes]:
    return [components.maps.tobytes() for components in fitted]


@pytest.mark.parametrize("plan", [GroupPlan(1, 1), GroupPlan(2, 1), GroupPlan(3, 3)], ids=repr)
def test_threads_passes_and_order_of_runs_change_no_byte(
    plan: GroupPlan, runs: list[ReducedRun]
) -> None:
    expected = as_bytes(fit_group(runs, FEW_DIMENSIONS))
    assert len(expected) == 4
    assert as_bytes(fit_group(runs[::-1], FEW_DIMENSIONS, plan)) == expected


def test_each_model_order_is_fitted_as_if_it_were_the_only_one(runs: list[ReducedRun]) -> None:
    alone = Science(
        denoising=FEW_DIMENSIONS.denoising,
        decomposition=DecompositionOptions(n_components=(3,), n_init=3, subspace_dims=12),
    )
    assert as_bytes(fit_group(runs, FEW_DIMENSIONS))[:2] == as_bytes(fit_group(runs, alone))


def test_canica_does_not_depend_on_runs_at_the_other_smoothing(runs: list[ReducedRun]) -> None:
    """Dictionary learning is fitted to those runs, so its maps do depend on them."""
    settings = FEW_DIMENSIONS.decomposition
    alone = replace(FEW_DIMENSIONS, denoising=Denoising(), decomposition=settings)
    together = fit_group(runs, FEW_DIMENSIONS)
    narrow = fit_group([run for run in runs if run.smoothing_fwhm == 6.0], alone)
    for both, one in zip(together, narrow, strict=True):
        assert both.method == one.method
        assert (both.maps.tobytes() == one.maps.tobytes()) == (both.method == "canica")


def test_runs_may_have_been_reduced_for_more_components(
    runs: list[ReducedRun], tmp_path: Path
) -> None:
    settings = replace(FEW_DIMENSIONS.decomposition, n_components=(3,))
    alone = replace(FEW_DIMENSIONS, decomposition=settings)
    for_three = with_first_rows(runs, 6, tmp_path)
    assert {run.n_rows for run in for_three} == {6}
    assert {run.n_rows for run in runs} == {N_SHORT, N_ROWS}
    for more, fewer in zip(fit_group(runs, alone), fit_group(for_three, alone), strict=True):
        assert more.maps.tobytes() == fewer.maps.tobytes()
        assert more.explained_variance.tobytes() == fewer.explained_variance.tobytes()
        assert more.fit == fewer.fit


@pytest.mark.parametrize(
    ("weighting", "at_once", "n_passes"),
    [("sqrt", 1, 1), ("sqrt", 2, 1), ("unit", 1, 2), ("unit", 2, 1), ("unit", 3, 1)],
)
def test_each_file_is_read_once_in_each_pass(
    runs: list[ReducedRun],
    monkeypatch: pytest.MonkeyPatch,
    weighting: PcaWeighting,
    at_once: int,
    n_passes: int,
) -> None:
    """There is one subspace at each smoothing; with unit weights, two at that of CanICA."""
    settings = DecompositionOptions(n_components=(3,), n_init=1, pca_weighting=weighting)
    science = replace(FEW_DIMENSIONS, decomposition=settings)
    read: Counter[Path] = Counter()
    load = np.load

    def counted(path: Path, **given: object) -> object:
        if isinstance(path, Path):
            read[path] += 1
        return load(path, **given)

    monkeypatch.setattr(np, "load", counted)
    fit_group(runs, science, GroupPlan(1, at_once))
    # Subspaces of runs at one smoothing are computed in one pass if the plan allows it. Each
    # method's maps are then compared with the runs that they were fitted to.
    assert {read[run.path] for run in runs if run.smoothing_fwhm == 6.0} == {n_passes + 1}
    assert {read[run.path] for run in runs if run.smoothing_fwhm == 10.0} == {1 + 1}


@pytest.mark.parametrize(("weighting", "n_rows"), [("sqrt", 6), ("unit", 3)])
def test_only_a_runs_leading_rows_are_used(
    runs: list[ReducedRun], tmp_path: Path, weighting: PcaWeighting, n_rows: int
) -> None:
    settings = DecompositionOptions(n_components=(3,), n_init=2, pca_weighting=weighting)
    science = replace(FEW_DIMENSIONS, decomposition=settings)
    copies = with_first_rows(runs, n_rows, tmp_path, filler=np.nan)
    fitted, without = fit_group(runs, science), fit_group(copies, science)
    assert as_bytes(fitted) == as_bytes(without)
    for one, other in zip(fitted, without, strict=True):
        np.testing.assert_array_equal(one.explained_variance, other.explained_variance)
        assert one.participants is not None
        assert other.participants is not None
        np.testing.assert_array_equal(
            one.participants.high_frequency, other.participants.high_frequency
        )
        np.testing.assert_array_equal(one.participants.dominance, other.participants.dominance)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_fit_records_its_subspaces(runs: list[ReducedRun], weighting: PcaWeighting) -> None:
    settings = replace(FEW_DIMENSIONS.decomposition, pca_weighting=weighting)
    for components in fit_group(runs, replace(FEW_DIMENSIONS, decomposition=settings)):
        subspace = components.fit["Subspace"]
        assert isinstance(subspace, dict)
        wanted = settings.rows_of_run(components.n_components)
        rows = 6 * wanted + min(wanted, N_SHORT)
        assert (subspace["Rows"], subspace["Dimensions"]) == (rows, min(rows, 12))
        assert 0 < subspace["VarianceShare"] <= 1
        # With more than twice as many rows as dimensions, some directions are left out.
        assert (subspace["LargestRelativeError"] > 0) == (rows > 2 * 12)
        assert 0 < components.total_explained_variance < 1


def test_more_components_than_voxels_are_refused(runs: list[ReducedRun]) -> None:
    too_many = Science(decomposition=DecompositionOptions(n_components=(N_VOXELS,)))
    with pytest.raises(NothingToDoError, match="2000 is too large: the group mask has 2000 voxels"):
        fit_group(runs, too_many)


# ---------------------------------------------------------------- weights
LEVELS = (100.0, 400.0, 100.0, 50.0)
SQUARED = [level * 0.7 ** np.arange(n) for level, n in zip(LEVELS, (8, 8, 5, 8), strict=True)]


def squared_norms(squared: NDArray[np.float64], row_norm: RowNorm) -> NDArray[np.float64]:
    """Return the squared norm of each row before its run is weighted."""
    return {"unit": squared**0, "sqrt": np.sqrt(squared), "singular": squared}[row_norm]


@pytest.mark.parametrize("row_norm", ROW_NORMS)
def test_participants_have_the_same_weight(row_norm: RowNorm) -> None:
    """Their rows have the same sum of squares: with unit norm for each row that enters."""
    weights = participant_weights(["01", "02", "02", "03"], SQUARED, row_norm)
    entered = [
        weight**2 * float(squared_norms(squared, row_norm).sum())
        for weight, squared in zip(weights, SQUARED, strict=True)
    ]
    # One run has fewer rows: rows of unit norm count one by one.
    shares = np.array(entered) / [8, 8, 5, 8] if row_norm == "unit" else np.array(entered)
    of_one = 1.0 if row_norm == "unit" else float(np.mean([one.sum() for one in SQUARED]))
    np.testing.assert_allclose([shares[0], shares[1] + shares[2], shares[3]], of_one)
    np.testing.assert_allclose(shares[1], shares[2])


@pytest.mark.parametrize("row_norm", ["unit", "singular"])
def test_single_runs_of_equal_variance_have_a_weight_of_one(row_norm: RowNorm) -> None:
    """This keeps alpha in nilearn's units."""
    assert participant_weights(["01", "02"], [[200.0, 100.0]] * 2, row_norm) == (1.0, 1.0)


def test_square_roots_keep_the_variance_of_singular_values() -> None:
    """So that a penalty means about the same with both."""
    (weight, _) = participant_weights(["01", "02"], [[200.0, 100.0]] * 2, "sqrt")
    assert weight**2 * (np.sqrt(200.0) + np.sqrt(100.0)) == pytest.approx(300.0)


@pytest.mark.parametrize("row_norm", ROW_NORMS)
def test_datasets_have_the_same_weight_where_this_is_asked_for(row_norm: RowNorm) -> None:
    """Relative to the weights of participants, who count the same within their dataset."""
    people, datasets = ["A1", "B1", "B2", "B2", "B3"], ["A", "B", "B", "B", "B"]
    squared = [[200.0, 100.0], [20.0, 10.0], [5.0, 1.0], [7.0, 7.0], [9.0, 4.0]]
    equal = np.array(participant_weights(people, squared, row_norm, datasets))
    among = np.array(participant_weights(people, squared, row_norm))
    factors = (equal / among) ** 2
    np.testing.assert_allclose(factors, [2, *[2 / 3] * 4])
    # The four participants have the same sum as before: maps have the same units.
    assert factors[[0, 1, 2, 4]].sum() == pytest.approx(4)


@pytest.mark.parametrize("row_norm", ROW_NORMS)
def test_the_subspace_is_that_of_all_weighted_rows(row_norm: RowNorm, tmp_path: Path) -> None:
    """numpy decomposes all rows at once. A participant has two runs; one run has few dimensions."""
    rng, n_rows = np.random.default_rng(1), 6
    sources = rng.laplace(size=(3, 300))
    made, weighted = [], []
    for name, run, n_volumes, n_dims in (
        ("01", "1", 30, 10),
        ("02", "1", 50, 10),
        ("02", "2", 20, 4),
        ("03", "1", 40, 8),
    ):
        series = rng.normal(size=(n_volumes, 3)) @ sources + rng.normal(size=(n_volumes, 300))
        key = RunKey((("sub", name), ("task", "rest"), ("run", run)))
        made.append(write_run(tmp_path, series, key, n_dims))
        _, singular, vectors = np.linalg.svd(series, full_matrices=False)
        n = min(n_rows, n_dims)
        squared = singular[:n] ** 2
        power = {"unit": 0.0, "sqrt": 0.5, "singular": 1.0}[row_norm]
        rows = singular[:n, None] ** power * vectors[:n]
        weighted.append((name, squared.sum(), rows))
    mean_variance = np.mean([variance for _, variance, _ in weighted])
    stack = []
    for name, _, rows in weighted:
        level = 1.0 if row_norm == "unit" else mean_variance / np.sum(rows**2)
        stack.append(rows * np.sqrt(level / (2 if name == "02" else 1)))
    _, S, Vt = np.linalg.svd(np.concatenate(stack), full_matrices=False)
    which = SubspaceKey(6.0, row_norm)
    found = gather(made, [which], n_rows, 100, GroupPlan())[which]
    assert found.n_rows == len(S) == 6 + 6 + 4 + 6
    np.testing.assert_allclose(found.squared, S**2, atol=2e-6 * S[0] ** 2)
    assert found.total_variance == pytest.approx(float(np.sum(S**2)), rel=1e-5)
    ours = found.orthonormal(3)
    np.testing.assert_allclose(ours.T @ ours, Vt[:3].T @ Vt[:3], atol=1e-5)


@pytest.mark.parametrize(
    ("weighting", "n_rows", "norms"),
    [("sqrt", 6, ("sqrt", "sqrt")), ("unit", 3, ("unit", "singular"))],
)
def test_weightings_say_how_many_rows_are_used_and_what_their_norms_are(
    weighting: PcaWeighting, n_rows: int, norms: tuple[RowNorm, RowNorm]
) -> None:
    """With square roots, both methods share a subspace if their runs are smoothed alike."""
    settings = DecompositionOptions(n_components=(3, 2), pca_weighting=weighting)
    assert settings.rows_of_run(3) == settings.largest_rows == n_rows
    for_ica, own = subspace_keys(Science(decomposition=settings))
    assert for_ica == SubspaceKey(6.0, norms[0])
    assert set(own.values()) == {SubspaceKey(6.0, norms[1])}
