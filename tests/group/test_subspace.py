"""The space that a group shares, held against numpy's singular value decomposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.group.subspace import leading_subspace, stack_runs

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def reduced_runs(seed, n_runs=4, n_rows=8, n_voxels=300):
    """Draw runs whose rows are orthogonal and scaled, with much in common."""
    rng = np.random.default_rng(seed)
    shared = rng.laplace(size=(5, n_voxels))
    runs = []
    for _ in range(n_runs):
        series = rng.standard_normal((40, 5)) * [9, 7, 5, 4, 3] @ shared
        series += rng.standard_normal((40, n_voxels))
        _, S, Vt = np.linalg.svd(series, full_matrices=False)
        runs.append((S[:n_rows, None] * Vt[:n_rows]).astype(np.float32))
    return runs


def stack_of(runs, weights=None, n_rows=6, canonical=True):
    return stack_runs(runs, weights or [1.0] * len(runs), n_rows, canonical=canonical)


def projector(rows):
    return rows.T @ rows


@few
@given(seed=SEEDS, n_components=st.integers(1, 12), canonical=st.booleans())
def test_subspace_is_that_of_numpys_decomposition(seed, n_components, canonical):
    stack = stack_of(reduced_runs(seed), canonical=canonical)
    ours = leading_subspace(stack, n_components)
    _, S, Vt = np.linalg.svd(stack.astype(np.float64), full_matrices=False)
    # Together they hold as much of the stack as any such space can.
    assert np.linalg.norm(stack @ ours.T) == pytest.approx(np.linalg.norm(S[:n_components]))
    np.testing.assert_allclose(ours @ ours.T, np.eye(n_components), atol=1e-6)
    # One by one they are determined where singular values differ from their neighbours.
    gaps = np.abs(np.diff(S))[: n_components + 1] > 1e-2 * S[0]
    determined = gaps[:n_components] & np.r_[True, gaps[: n_components - 1]]
    overlap = np.abs(np.einsum("ij,ij->i", ours, Vt[:n_components]))
    np.testing.assert_allclose(overlap[determined], 1.0, atol=1e-6)


def test_largest_direction_comes_first():
    stack = stack_of(reduced_runs(1), canonical=False)
    ours = leading_subspace(stack, 8)
    strength = np.linalg.norm(stack @ ours.T, axis=0)
    assert (np.diff(strength) < 0).all()


@few
@given(seed=SEEDS, weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_canonical_rows_have_the_norm_of_their_runs_weight(seed, weights):
    stack = stack_of(reduced_runs(seed), weights)
    assert stack.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(stack, axis=1), np.repeat(weights, 6), rtol=1e-5)


@few
@given(seed=SEEDS, weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_other_rows_are_the_runs_leading_rows_times_their_weight(seed, weights):
    runs = reduced_runs(seed)
    stack = stack_of(runs, weights, canonical=False)
    expected = np.vstack([weight * run[:6] for run, weight in zip(runs, weights, strict=True)])
    np.testing.assert_allclose(stack, expected, rtol=1e-5)


def test_canonical_stack_does_not_see_how_strong_a_row_is():
    runs = reduced_runs(2)
    gains = np.random.default_rng(2).uniform(0.1, 10, (4, 8, 1)).astype(np.float32)
    louder = [run * gain for run, gain in zip(runs, gains, strict=True)]
    np.testing.assert_allclose(stack_of(louder), stack_of(runs), atol=1e-6)


def test_row_of_zeros_stays_one():
    runs = reduced_runs(3)
    runs[1][2] = 0.0
    stack = stack_of(runs)
    assert np.isfinite(stack).all()
    assert not stack[6 + 2].any()


@pytest.mark.parametrize("canonical", [True, False])
def test_runs_given_twice_at_half_the_weight_are_runs_given_once(canonical):
    runs = reduced_runs(4)
    once = leading_subspace(stack_of(runs, canonical=canonical), 5)
    half = 2**-0.5
    twice = leading_subspace(
        stack_of([*runs, runs[0]], [half, 1, 1, 1, half], canonical=canonical), 5
    )
    np.testing.assert_allclose(projector(twice), projector(once), atol=1e-6)
    whole = leading_subspace(stack_of([*runs, runs[0]], canonical=canonical), 5)
    assert np.abs(projector(whole) - projector(once)).max() > 1e-4


@few
@given(order=st.permutations(range(4)))
def test_order_of_runs_does_not_change_the_subspace(order):
    runs = reduced_runs(5)
    once = leading_subspace(stack_of(runs), 5)
    shuffled = leading_subspace(stack_of([runs[index] for index in order]), 5)
    np.testing.assert_allclose(projector(shuffled), projector(once), atol=1e-6)


def test_blocks_of_voxels_add_up(monkeypatch):
    stack = stack_of(reduced_runs(6))
    whole = leading_subspace(stack, 5)
    monkeypatch.setattr("nidecomp.linalg._BLOCK", 17)
    np.testing.assert_allclose(projector(leading_subspace(stack, 5)), projector(whole), atol=1e-9)


def test_each_run_needs_a_weight():
    with pytest.raises(ValueError, match="argument"):
        stack_runs(reduced_runs(7), [1.0, 1.0], 5, canonical=True)
