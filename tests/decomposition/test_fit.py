"""The group fit: weights of participants, and the same bytes however it is executed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_examples import run_of
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Denoising, Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun, RunKey
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.fit import fit_group
from nidecomp.decomposition.gather import GroupPlan, participant_weights

N_ROWS, N_VOXELS = 5, 2000
FEW_DIMENSIONS = Science(
    denoising=Denoising(dictlearning_smoothing_fwhm=10.0),
    decomposition=DecompositionOptions(n_components=(3, N_ROWS), n_init=3, subspace_dims=12),
)


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
    for participant in range(7):
        for fwhm in (6.0, 10.0):
            series = rng.normal(size=(30, 3)) @ sources + rng.normal(size=(30, N_VOXELS)) / fwhm
            volumes, singular, rows = np.linalg.svd(series, full_matrices=False)
            path = folder / f"{participant}_{fwhm}.npy"
            kept = (singular[:N_ROWS, None] * rows[:N_ROWS]).astype(np.float32)
            np.save(path, kept)
            np.savez(
                path.with_suffix(".npz"),
                rows=volumes[:, :N_ROWS].astype(np.float32),
                times_s=2.0 * np.arange(30),
                motion=np.zeros((30, 0)),
            )
            squared = tuple((singular[:N_ROWS] ** 2).tolist())
            key = RunKey((("sub", f"{participant:02d}"), ("task", "rest")))
            total = float((singular**2).sum())
            made.append(ReducedRun(run_of(key), path, fwhm, N_ROWS, N_VOXELS, total, squared, 0, 0))
    return made


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


@pytest.mark.parametrize(("at_once", "n_passes"), [(1, 3), (2, 2), (3, 2)])
def test_each_file_is_read_once_in_each_pass(
    runs: list[ReducedRun], monkeypatch: pytest.MonkeyPatch, at_once: int, n_passes: int
) -> None:
    """Three subspaces: two of the runs at CanICA's smoothing, one of those at the other."""
    settings = DecompositionOptions(n_components=(3,), n_init=1)
    science = replace(FEW_DIMENSIONS, decomposition=settings)
    read: Counter[Path] = Counter()
    load = np.load

    def counted(path: Path, **given: object) -> object:
        if isinstance(path, Path):
            read[path] += 1
        return load(path, **given)

    monkeypatch.setattr(np, "load", counted)
    fit_group(runs, science, GroupPlan(1, at_once))
    # Two subspaces are of runs at one smoothing. They are computed in one pass if plan allows it.
    # Each method's maps are then compared with the runs that they were fitted to.
    assert {read[run.path] for run in runs if run.smoothing_fwhm == 6.0} == {n_passes - 1 + 1}
    assert {read[run.path] for run in runs if run.smoothing_fwhm == 10.0} == {1 + 1}


def test_only_a_runs_leading_rows_are_used(runs: list[ReducedRun], tmp_path: Path) -> None:
    settings = DecompositionOptions(n_components=(3,), n_init=2)
    science = replace(FEW_DIMENSIONS, decomposition=settings)
    copies = [replace(run, path=tmp_path / run.path.name) for run in runs]
    for run, copy in zip(runs, copies, strict=True):
        rows = np.load(run.path)
        rows[3:] = np.nan
        np.save(copy.path, rows)
        copy.volumes_path.write_bytes(run.volumes_path.read_bytes())
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


def test_every_fit_records_its_subspaces(runs: list[ReducedRun]) -> None:
    for components in fit_group(runs, FEW_DIMENSIONS):
        subspace = components.fit["Subspace"]
        assert isinstance(subspace, dict)
        rows = 7 * components.n_components
        assert (subspace["Rows"], subspace["Dimensions"]) == (rows, min(rows, 12))
        assert 0 < subspace["VarianceShare"] <= 1
        # With more than twice as many rows as dimensions, some directions are left out.
        assert (subspace["LargestRelativeError"] > 0) == (rows > 2 * 12)
        assert 0 < components.total_explained_variance < 1


def test_more_components_than_voxels_are_refused(runs: list[ReducedRun]) -> None:
    too_many = Science(decomposition=DecompositionOptions(n_components=(N_VOXELS,)))
    with pytest.raises(NothingToDoError, match="2000 is too large: the group mask has 2000 voxels"):
        fit_group(runs, too_many)


def test_participants_have_the_same_weight() -> None:
    variance = np.array([100.0, 400.0, 100.0, 50.0])
    weights = participant_weights(["01", "02", "02", "03"], variance.tolist())
    canonical, scaled = np.array(weights.canonical) ** 2, np.array(weights.scaled) ** 2
    for weight in (canonical, scaled * variance / variance.mean()):
        np.testing.assert_allclose([weight[0], weight[1] + weight[2], weight[3]], 1.0)
        np.testing.assert_allclose(weight[1], weight[2])


def test_single_runs_of_equal_variance_have_a_weight_of_one() -> None:
    """This keeps alpha in nilearn's units."""
    weights = participant_weights(["01", "02"], [300.0, 300.0])
    assert weights.canonical == weights.scaled == (1.0, 1.0)
