"""The number of components: found in simulated groups, and 0 where there are none to be found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.errors import NidecompError
from nidecomp.decomposition import model_order_maps
from nidecomp.decomposition.model_order import LEAST_OTHER_HALF, estimate_model_order
from nidecomp.decomposition.model_order_data import ModelOrderSettings
from nidecomp.decomposition.model_order_maps import least_map_r

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=6, derandomize=True, database=None)
many = settings(few, max_examples=200)
SHAPE = (40, 50)
N_VOXELS = SHAPE[0] * SHAPE[1]


def smooth(rng, n, width=3):
    """Return n slightly smooth images as rows of unit variance."""
    images = rng.standard_normal((n, *SHAPE))
    for axis in (1, 2):
        images = sum(np.roll(images, shift, axis) for shift in range(width))
    images = images.reshape(n, N_VOXELS)
    return images / images.std(axis=1, keepdims=True)


def sources(rng, n):
    """Return n patches that overlap little."""
    maps = np.maximum(smooth(rng, n, 8) - 1.5, 0.0)
    return maps / maps.std(axis=1, keepdims=True)


def group(order, n_participants=10, n_rows=35, nuisance=4, noise=3.0, seed=0, missing=0.1):
    """Return simulated runs: varying sources, stronger nuisance of each participant, and noise."""
    rng = np.random.default_rng(seed)
    shared = sources(rng, order)
    runs = []
    for _ in range(n_participants):
        own = shared * (1 + 0.3 * smooth(rng, order, 8)) * rng.uniform(0.75, 1.25, (order, 1))
        own *= rng.random((order, 1)) > missing
        maps = np.concatenate([own, 1.5 * sources(rng, nuisance)])
        series = rng.standard_normal((120, len(maps))) @ maps + noise * smooth(rng, 120)
        series = (series - series.mean(axis=0)) / series.std(axis=0)
        _, vectors = np.linalg.eigh(series @ series.T)
        runs.append((vectors[:, ::-1][:, :n_rows].T @ series).astype(np.float32))
    return runs


def chosen(runs, participants=None, wanted=None, n_threads=1):
    participants = participants or [f"{number:02d}" for number in range(len(runs))]
    wanted = wanted or ModelOrderSettings(max_components=30)
    return estimate_model_order(runs.__getitem__, participants, runs[0].shape[1], wanted, n_threads)


# ---------------------------------------------------------------- simulated numbers
@pytest.mark.parametrize(("order", "seed"), [(6, 0), (12, 1), (20, 2)])
def test_the_simulated_number_is_found(order, seed):
    choice = chosen(group(order, seed=seed))
    assert abs(choice.n_components - order) <= 2
    assert f"reproduce {choice.n_components} " in choice.reason


@pytest.mark.parametrize(("order", "n_rows"), [(1, 35), (2, 25)])
def test_one_or_two_networks_are_found_too(order, n_rows):
    """With 35 rows, runs share dimensions of noise, too, in which there are no more maps."""
    runs = group(order, n_rows=n_rows, noise=2.0, seed=4, missing=0)
    assert chosen(runs).n_components == order


@few
@given(seed=SEEDS, order=st.integers(3, 14))
def test_any_number_of_networks_is_found(seed, order):
    choice = chosen(group(order, 8, seed=seed, noise=2.0))
    assert abs(choice.n_components - order) <= 2


@pytest.mark.parametrize(
    ("n_participants", "n_rows", "nuisance"), [(4, 35, 0), (8, 35, 0), (12, 25, 6)]
)
def test_noise_has_no_reproducible_components(n_participants, n_rows, nuisance):
    """Neither noise alone, nor nuisance that differs between participants."""
    choice = chosen(group(0, n_participants, n_rows, nuisance, seed=n_participants))
    assert choice.n_components == 0
    assert "share no dimension" in choice.reason or "reproduce none" in choice.reason


@few
@given(seed=SEEDS, n_participants=st.integers(4, 9), n_rows=st.integers(5, 40))
def test_white_noise_has_no_reproducible_components(seed, n_participants, n_rows):
    rng = np.random.default_rng(seed)
    runs = list(rng.standard_normal((n_participants, n_rows, 1500), dtype=np.float32))
    choice = chosen(runs)
    assert choice.n_components == choice.n_dimensions == 0
    # One of twenty exceeds the quantile, but none by much.
    first = choice.evidence[0]
    assert first.canonical_r < 1.1 * first.null_quantile


def test_signal_in_all_sessions_of_one_participant_is_not_shared():
    """All sessions of a participant together have the weight of one run."""
    one = group(0, 1, nuisance=8, seed=3)[0]
    runs = [one, one, one, *group(0, 5, nuisance=2, seed=4)]
    assert chosen(runs, ["a", "a", "a", "b", "c", "d", "e", "f"]).n_components == 0


def test_the_constant_map_is_not_a_component():
    runs = group(0, 8, nuisance=0)
    with_mean = [np.concatenate([np.full((1, N_VOXELS), 5.0, np.float32), run]) for run in runs]
    assert chosen(with_mean).n_components == 0


# ---------------------------------------------------------------- evidence
def test_evidence_decreases_with_k_and_agrees_with_the_choice():
    choice = chosen(group(8, seed=5))
    canonical = [one.canonical_r for one in choice.evidence]
    null = [one.null_quantile for one in choice.evidence]
    assert canonical == sorted(canonical, reverse=True)
    assert null == sorted(null, reverse=True)
    assert [one.n_components for one in choice.evidence] == list(range(1, len(canonical) + 1))
    supported = [one.supported for one in choice.evidence]
    assert all(supported[: choice.n_dimensions])
    assert not supported[choice.n_dimensions]
    last = choice.evidence[choice.n_dimensions - 1]
    assert last.n_reproducible == choice.n_components
    assert last.least_map_r < last.map_r <= 1
    assert last.other_half_r >= choice.least_other_half_r > math.sqrt(LEAST_OTHER_HALF)
    # The other half has less of a dimension than the participants that it was computed from.
    assert all(one.other_half_r < one.canonical_r for one in choice.evidence)
    assert all(0 <= one.overlap <= 1 for one in choice.evidence)
    fitted = [one.n_components for one in choice.evidence if one.n_reproducible is not None]
    assert len(fitted) == 3
    assert fitted[-1] == choice.n_dimensions


def test_dimensions_without_maps_in_common_give_no_component():
    """Participants share the space of very smooth images, but no particular map in it."""
    choice = chosen(group(0, 16, nuisance=14, n_rows=30))
    assert choice.n_dimensions >= 3
    assert choice.n_components == 0
    assert "reproduce none" in choice.reason
    last = choice.evidence[choice.n_dimensions - 1]
    assert last.map_r < 0.25 < last.least_map_r


def test_the_reason_says_that_there_may_be_more_dimensions():
    choice = chosen(group(12, seed=1), wanted=ModelOrderSettings(max_components=6))
    assert choice.n_dimensions == len(choice.evidence) == 6
    assert "there may be more" in choice.reason


# ---------------------------------------------------------------- groups without a choice
@pytest.mark.parametrize("n_participants", [1, 2, 3])
def test_with_too_few_participants_no_number_is_chosen(n_participants):
    choice = chosen(group(6, n_participants, missing=0))
    assert choice.n_components == choice.n_splits == 0
    assert f"cannot be chosen from {n_participants} participant" in choice.reason
    assert all(math.isnan(one.other_half_r) and math.isnan(one.map_r) for one in choice.evidence)


def test_canonical_correlations_of_two_participants_are_still_computed():
    choice = chosen(group(6, 2, missing=0, noise=1.5))
    above = [one.canonical_r > one.null_quantile for one in choice.evidence]
    assert 4 <= above.index(False) <= 10


def test_one_participant_has_no_chance_level():
    choice = chosen(group(6, 1))
    assert math.isnan(choice.effective_voxels)
    assert math.isnan(choice.least_other_half_r)
    assert all(one.canonical_r <= one.null_quantile == 1.0 for one in choice.evidence)


def test_runs_without_variance_give_no_components():
    choice = chosen([np.zeros((10, 300), np.float32)] * 4)
    assert choice.n_components == 0
    assert "no variance" in choice.reason


def test_an_ica_that_fails_gives_no_components(monkeypatch):
    def broken(*_):
        raise NidecompError("All restarts failed.")

    monkeypatch.setattr(model_order_maps, "fit_canica", broken)
    choice = chosen(group(6))
    assert choice.n_dimensions > 0
    assert choice.n_components == 0
    assert "CanICA maps failed" in choice.reason


# ---------------------------------------------------------------- invariances
def test_same_seed_gives_the_same_and_threads_change_nothing():
    runs = group(8, 8, seed=6)
    # Compared as text, because NaN is not equal to itself.
    assert repr(chosen(runs)) == repr(chosen(runs)) == repr(chosen(runs, n_threads=3))


def test_order_of_runs_changes_the_last_digits_only():
    runs = group(8, 8, seed=7)
    labels = [f"{number:02d}" for number in range(8)]
    once, reverse = chosen(runs, labels), chosen(runs[::-1], labels[::-1])
    assert reverse.n_components == once.n_components
    for one, other in zip(once.evidence[:8], reverse.evidence[:8], strict=True):
        assert other.canonical_r == pytest.approx(one.canonical_r, abs=0.01)
        assert other.other_half_r == pytest.approx(one.other_half_r, abs=0.02)


def test_the_scale_of_a_run_does_not_matter():
    runs = group(6, 6, seed=8)
    louder = [run * np.float32(2.0**index) for index, run in enumerate(runs)]
    assert chosen(louder).n_components == chosen(runs).n_components


def test_runs_given_twice_change_nothing():
    runs = group(8, 8, seed=9)
    labels = [f"{number:02d}" for number in range(8)]
    once = chosen(runs)
    twice = chosen([*runs, *runs], [*labels, *labels])
    assert twice.n_components == once.n_components
    assert twice.n_participants == once.n_participants


def test_fewer_voxels_give_the_same_number():
    """A third of the voxels is enough, because smooth rows have fewer independent values."""
    runs = group(10, seed=10)
    every = chosen(runs)
    third = chosen(runs, wanted=ModelOrderSettings(max_components=30, most_voxels=N_VOXELS // 3))
    assert third.n_voxels == N_VOXELS // 3
    assert abs(third.n_components - every.n_components) <= 1
    for one, other in zip(every.evidence[:10], third.evidence[:10], strict=True):
        assert other.canonical_r == pytest.approx(one.canonical_r, abs=0.06)


def test_each_run_is_read_twice_and_in_order():
    runs, asked = group(4, 5), []

    def read(index):
        asked.append(index)
        return runs[index]

    estimate_model_order(
        read, ["a", "b", "c", "d", "e"], N_VOXELS, ModelOrderSettings(max_components=10)
    )
    assert asked == [0, 1, 2, 3, 4] * 2


@pytest.mark.parametrize(("width", "too_smooth"), [(3, False), (20, True)])
def test_images_that_are_too_smooth_are_named(width, too_smooth):
    """Runs of noise in a few dozen dimensions share most of them, whatever they are."""
    rng = np.random.default_rng(0)
    runs = [smooth(rng, 20, width).astype(np.float32) for _ in range(6)]
    choice = chosen(runs, wanted=ModelOrderSettings(max_components=20))
    assert choice.too_smooth == too_smooth == (choice.effective_voxels < 400)
    assert ("images are so smooth" in choice.reason) == too_smooth


# ---------------------------------------------------------------- limits and settings
@given(n_participants=st.integers(4, 10_000))
@many
def test_halves_of_more_participants_have_to_agree_better(n_participants):
    assert 0.25 <= least_map_r(n_participants) <= least_map_r(n_participants + 1) <= 0.6


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        ModelOrderSettings().seed = 1
    assert replace(ModelOrderSettings(), seed=1).seed == 1
