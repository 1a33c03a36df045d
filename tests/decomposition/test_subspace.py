"""The group's subspace, computed run by run: agreement with numpy's decomposition, error bound."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.decomposition.subspace import SubspaceStream, weighted_rows

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)
many = settings(few, max_examples=100)
# Inner products of rows are float32: their error, as a share of the largest.
ROUNDING = 2e-6


def reduced_runs(seed, n_runs=4, n_rows=8, n_voxels=300):
    """Return runs with orthogonal, scaled rows that have much in common."""
    rng = np.random.default_rng(seed)
    shared = rng.laplace(size=(5, n_voxels))
    runs = []
    for _ in range(n_runs):
        series = rng.standard_normal((40, 5)) * [9, 7, 5, 4, 3] @ shared
        series += rng.standard_normal((40, n_voxels))
        _, S, Vt = np.linalg.svd(series, full_matrices=False)
        runs.append((S[:n_rows, None] * Vt[:n_rows]).astype(np.float32))
    return runs


def gathered(runs, n_dims=100, n_threads=1):
    """Return the subspace of runs that are added one after the other."""
    stream = SubspaceStream(runs[0].shape[1], n_dims, n_threads)
    for rows in runs:
        stream.add(rows)
    return stream.finish()


NORMS = ("unit", "sqrt", "singular")


def weighted(runs, weights=None, n_rows=6, row_norm="unit"):
    weights = weights or [1.0] * len(runs)
    return [
        weighted_rows(rows[:n_rows], weight, row_norm)
        for rows, weight in zip(runs, weights, strict=True)
    ]


def matrices(seed, sizes=(1, 40, 200), scale=True):
    """Return rows of any number and rank, whose singular values decrease slowly or fast."""
    rng = np.random.default_rng(seed)
    n_rows, n_voxels = int(rng.integers(1, sizes[1])), int(rng.integers(5, sizes[2]))
    rank = int(rng.integers(1, min(n_rows, n_voxels) + 1))
    courses = rng.standard_normal((n_rows, rank)) * rng.choice([1.0, 0.9, 0.5]) ** np.arange(rank)
    rows = courses @ rng.standard_normal((rank, n_voxels))
    return (rows * 10.0 ** rng.integers(-3, 4)).astype(np.float32)


def squared_singular_values(rows, n):
    """Return the n largest squared singular values, with zeros where there are fewer."""
    squared = np.zeros(max(n, min(rows.shape)))
    squared[: min(rows.shape)] = np.linalg.svd(rows.astype(np.float64), compute_uv=False) ** 2
    return squared[:n]


def projector(subspace, n_leading=5):
    rows = subspace.orthonormal(n_leading)
    return rows.T @ rows


# ---------------------------------------------------------------- exact while nothing is left out
@few
@given(seed=SEEDS, n_components=st.integers(1, 12), row_norm=st.sampled_from(NORMS))
def test_subspace_is_that_of_numpys_decomposition(seed, n_components, row_norm):
    runs = weighted(reduced_runs(seed), row_norm=row_norm)
    subspace, stack = gathered(runs), np.vstack(runs).astype(np.float64)
    assert len(subspace.rows) == subspace.n_rows == len(stack)
    ours = subspace.orthonormal(n_components)
    _, S, Vt = np.linalg.svd(stack, full_matrices=False)
    np.testing.assert_allclose(subspace.squared, S**2, atol=ROUNDING * S[0] ** 2)
    # Together they have as much of the rows' variance as any space of this size can have.
    assert np.linalg.norm(stack @ ours.T) == pytest.approx(np.linalg.norm(S[:n_components]))
    # Rounding is relative to the largest singular value, so it matters more for small ones.
    smallest = S[n_components - 1]
    off = np.abs(ours @ ours.T - np.eye(n_components)).max()
    assert off < ROUNDING * (S[0] / smallest) ** 2
    # Single vectors are determined only if their singular values differ from their neighbours.
    gaps = np.abs(np.diff(S))[: n_components + 1] > 1e-2 * S[0]
    determined = gaps[:n_components] & np.r_[True, gaps[: n_components - 1]]
    overlap = np.abs(np.einsum("ij,ij->i", ours, Vt[:n_components]))
    np.testing.assert_allclose(overlap[determined], 1.0, atol=1e-5)


@many
@given(seed=SEEDS, spare=st.integers(0, 5))
def test_rows_that_fit_are_all_kept(seed, spare):
    rows = matrices(seed)
    subspace = gathered([rows], len(rows) + spare)
    assert subspace.error_bound == 0.0
    squared = squared_singular_values(rows, len(rows))
    np.testing.assert_allclose(subspace.squared, squared, atol=ROUNDING * squared[0])
    kept = subspace.rows.astype(np.float64)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(kept.T @ kept, exact.T @ exact, atol=4 * ROUNDING * squared[0])


def test_the_largest_direction_comes_first():
    subspace = gathered(weighted(reduced_runs(1), row_norm="singular"), 8)
    assert (np.diff(subspace.squared) < 0).all()
    lengths = np.linalg.norm(subspace.rows.astype(np.float64), axis=1)
    rounding = ROUNDING * subspace.squared[0]
    np.testing.assert_allclose(lengths**2, subspace.squared, atol=rounding)
    exact = subspace.rows.astype(np.float64)
    np.testing.assert_allclose(exact @ exact.T, np.diag(subspace.squared), atol=rounding)


@few
@given(seed=SEEDS, n_dims=st.integers(1, 30))
def test_twice_as_many_rows_lose_nothing_of_the_leading_directions(seed, n_dims):
    """Directions that the last merge leaves out do not change those that are kept."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((rng.integers(1, 2 * n_dims + 1), 80)).astype(np.float32)
    subspace = gathered([rows], n_dims)
    assert subspace.error_bound == 0.0
    squared = squared_singular_values(rows, len(subspace.squared))
    np.testing.assert_allclose(subspace.squared, squared, atol=ROUNDING * squared[0])


def test_without_rows_the_subspace_is_empty():
    subspace = SubspaceStream(50, 5).finish()
    assert subspace.rows.shape == (0, 50)
    assert (subspace.n_rows, subspace.total_variance, subspace.error_bound) == (0, 0.0, 0.0)


# ---------------------------------------------------------------- error bound
@many
@given(seed=SEEDS, n_dims=st.integers(1, 25))
def test_the_error_bound_holds(seed, n_dims):
    """No squared singular value is overestimated, none underestimated by more than the bound."""
    rows = matrices(seed, sizes=(1, 150, 250))
    subspace = gathered([rows], n_dims)
    true = squared_singular_values(rows, len(subspace.squared))
    rounding = ROUNDING * true[0]
    missing = true - subspace.squared
    assert missing.min() >= -rounding
    assert missing.max() <= subspace.error_bound + rounding
    # The bound is tight enough to be useful: at most the variance that was left out.
    assert subspace.error_bound <= subspace.total_variance - subspace.squared.sum() + rounding


@many
@given(seed=SEEDS, n_dims=st.integers(1, 25))
def test_the_total_variance_is_the_sum_of_squares_of_all_rows(seed, n_dims):
    rows = matrices(seed, sizes=(1, 150, 250))
    subspace = gathered(np.array_split(rows, 7), n_dims)
    assert subspace.n_rows == len(rows)
    total = np.sum(rows.astype(np.float64) ** 2)
    assert subspace.total_variance == pytest.approx(total, rel=1e-5)
    assert subspace.squared.sum() <= total * (1 + 1e-5)


@few
@given(seed=SEEDS)
def test_strong_directions_are_found_although_most_rows_are_left_out(seed):
    """Ten shared networks, three hundred rows, thirty dimensions."""
    rng = np.random.default_rng(seed)
    networks, _ = np.linalg.qr(rng.standard_normal((400, 10)))
    rows = rng.standard_normal((300, 10)) * 5 @ networks.T
    rows += 0.3 * rng.standard_normal(rows.shape)
    subspace = gathered(np.array_split(rows.astype(np.float32), 30), 30)
    _, S, Vt = np.linalg.svd(rows, full_matrices=False)
    assert subspace.error_bound < S[9] ** 2 - S[10] ** 2
    cosines = np.linalg.svd(subspace.orthonormal(10) @ Vt[:10].T, compute_uv=False)
    # The directions left out are noise, which turns the space by a second-order effect only.
    assert cosines.min() > 0.999
    np.testing.assert_allclose(subspace.squared[:10], S[:10] ** 2, rtol=5e-3)


@few
@given(seed=SEEDS)
def test_more_dimensions_never_explain_less(seed):
    rows = matrices(seed, sizes=(1, 150, 250))
    found = [gathered([rows], n_dims) for n_dims in (2, 6, 20, 60)]
    for fewer, more in pairwise(found):
        n = len(fewer.squared)
        rounding = ROUNDING * more.squared[0]
        assert (more.squared[:n] >= fewer.squared - fewer.error_bound - rounding).all()
    exact = squared_singular_values(rows, len(found[-1].squared))
    if len(rows) <= 60:
        np.testing.assert_allclose(found[-1].squared, exact, atol=ROUNDING * exact[0])


# ---------------------------------------------------------------- invariances
@many
@given(
    seed=SEEDS,
    n_dims=st.integers(1, 25),
    cuts=st.lists(st.integers(0, 150), max_size=8).map(sorted),
)
def test_how_rows_are_cut_into_runs_changes_no_byte(seed, n_dims, cuts):
    rows = matrices(seed, sizes=(1, 150, 250))
    whole = gathered([rows], n_dims)
    pieces = gathered(np.split(rows, np.minimum(cuts, len(rows))), n_dims)
    assert pieces.rows.tobytes() == whole.rows.tobytes()
    assert pieces.squared.tobytes() == whole.squared.tobytes()
    assert (pieces.total_variance, pieces.error_bound, pieces.n_rows) == (
        whole.total_variance,
        whole.error_bound,
        whole.n_rows,
    )


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_the_number_of_threads_changes_no_byte(n_threads):
    """There are more than three blocks of voxels, and more rows than are kept."""
    runs = list(np.random.default_rng(0).standard_normal((5, 12, 50_000), dtype=np.float32))
    one, several = gathered(runs, 20), gathered(runs, 20, n_threads)
    assert several.rows.tobytes() == one.rows.tobytes()
    assert several.squared.tobytes() == one.squared.tobytes()
    assert several.total_variance == one.total_variance
    assert several.error_bound == one.error_bound > 0


@few
@given(order=st.permutations(range(4)), n_dims=st.sampled_from([12, 100]))
def test_order_of_runs_does_not_change_the_leading_directions(order, n_dims):
    runs = weighted(reduced_runs(5))
    once = gathered(runs, n_dims)
    shuffled = gathered([runs[index] for index in order], n_dims)
    # With 12 dimensions, directions are left out, which depend on the order of runs.
    tolerance = 2e-6 if n_dims == 100 else 2e-2
    np.testing.assert_allclose(projector(shuffled), projector(once), atol=tolerance)


def test_blocks_of_voxels_add_up(monkeypatch):
    runs = weighted(reduced_runs(6))
    whole = gathered(runs, 10)
    # `blocks` bound its default when it was defined: patching the constant has no effect.
    monkeypatch.setattr("nidecomp.core.linalg.blocks.__defaults__", (17,))
    np.testing.assert_allclose(projector(gathered(runs, 10)), projector(whole), atol=2e-6)


@pytest.mark.parametrize("n_rows", [100, 400])
def test_memory_does_not_grow_with_the_number_of_rows(n_rows):
    """It is two buffers of all voxels, and a few blocks."""
    n_dims, n_voxels = 20, 60_000
    run = np.random.default_rng(0).standard_normal((10, n_voxels), dtype=np.float32)
    tracemalloc.start()
    try:
        stream = SubspaceStream(n_voxels, n_dims)
        for _ in range(n_rows // len(run)):
            stream.add(run)
        stream.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    buffers = 2 * n_dims * n_voxels * 4
    block = 2 * n_dims * 16384 * 4
    assert buffers <= peak < buffers + 3 * block


def test_half_of_the_memory_is_released_at_the_end():
    stream = SubspaceStream(5000, 20)
    stream.add(np.ones((30, 5000), dtype=np.float32))
    subspace = stream.finish()
    held = sum(part.nbytes for part in vars(stream).values() if isinstance(part, np.ndarray))
    assert held - subspace.squared.nbytes == 20 * 5000 * 4
    assert np.shares_memory(subspace.rows, stream._rows)


# ---------------------------------------------------------------- weights
@few
@given(
    seed=SEEDS,
    weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
    row_norm=st.sampled_from(NORMS),
)
def test_rows_keep_their_directions_and_have_the_norm_that_is_asked_for(seed, weights, row_norm):
    """The singular values are those of numpy's decomposition of all rows of a run."""
    runs = reduced_runs(seed)
    power = {"unit": 0.0, "sqrt": 0.5, "singular": 1.0}[row_norm]
    for rows, run, weight in zip(
        weighted(runs, weights, row_norm=row_norm), runs, weights, strict=True
    ):
        assert rows.dtype == np.float32
        _, S, Vt = np.linalg.svd(run.astype(np.float64), full_matrices=False)
        lengths = weight * S[:6] ** power
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), lengths, rtol=1e-5)
        cosines = np.abs(np.einsum("ij,ij->i", rows, Vt[:6])) / lengths
        np.testing.assert_allclose(cosines, 1.0, atol=1e-4)


@few
@given(seed=SEEDS, weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_rows_of_singular_values_are_the_runs_leading_rows_times_their_weight(seed, weights):
    runs = reduced_runs(seed)
    rows = np.vstack(weighted(runs, weights, row_norm="singular"))
    expected = np.vstack([weight * run[:6] for run, weight in zip(runs, weights, strict=True)])
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_weighting_does_not_change_its_input():
    (rows,) = reduced_runs(0, n_runs=1)
    before = rows.copy()
    for row_norm in NORMS:
        weighted_rows(rows, 3.0, row_norm)
    np.testing.assert_array_equal(rows, before)


def test_rows_of_unit_norm_do_not_depend_on_the_norm_of_a_row():
    runs = reduced_runs(2)
    gains = np.random.default_rng(2).uniform(0.1, 10, (4, 8, 1)).astype(np.float32)
    louder = [run * gain for run, gain in zip(runs, gains, strict=True)]
    np.testing.assert_allclose(weighted(louder), weighted(runs), atol=1e-6)


@pytest.mark.parametrize("row_norm", NORMS)
def test_a_row_of_zeros_stays_a_row_of_zeros(row_norm):
    runs = reduced_runs(3)
    runs[1][2] = 0.0
    rows = weighted(runs, row_norm=row_norm)
    assert np.isfinite(rows).all()
    assert not rows[1][2].any()


@pytest.mark.parametrize("row_norm", NORMS)
def test_runs_given_twice_with_half_the_weight_count_once(row_norm):
    runs = reduced_runs(4)
    once = projector(gathered(weighted(runs, row_norm=row_norm)))
    half = 2**-0.5
    again = [*runs, runs[0]]
    twice = projector(gathered(weighted(again, [half, 1, 1, 1, half], row_norm=row_norm)))
    np.testing.assert_allclose(twice, once, atol=2e-6)
    whole = projector(gathered(weighted(again, row_norm=row_norm)))
    assert np.abs(whole - once).max() > 1e-4
