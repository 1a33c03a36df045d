"""FastICA from fourth moments: agreement with scikit-learn, and with passes over the voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import fastica
from threadpoolctl import threadpool_limits

from nidecomp.decomposition import fastica as module
from nidecomp.decomposition import orthogonal_ascent
from nidecomp.decomposition.canica import whiten
from nidecomp.decomposition.fastica import cubic_step, fastica_cube

few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def white_mixture(n_components: int, seed: int, n_voxels: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sources = rng.laplace(size=(n_components, n_voxels))
    return whiten(rng.standard_normal((n_components, n_components)) @ sources)


def start_of(n_components: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_components, n_components))


@given(st.integers(2, 12), st.integers(0, 1000))
@few
def test_moments_give_the_average_over_voxels(n_components: int, seed: int) -> None:
    white, matrix = white_mixture(n_components, seed), start_of(n_components, seed + 1)
    expected = (matrix @ white) ** 3 @ white.T / white.shape[1]
    np.testing.assert_allclose(cubic_step(white)(matrix), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_components", [2, 5, 15])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_start_gives_scikit_learns_result(n_components: int, seed: int) -> None:
    white, start = white_mixture(n_components, seed), start_of(n_components, seed)
    ours = fastica_cube(cubic_step(white), start)
    _, theirs, _, n_iter = fastica(
        white.T, whiten=False, fun="cube", w_init=start, max_iter=1000, return_n_iter=True
    )
    assert ours.converged
    assert ours.n_iter == n_iter
    np.testing.assert_allclose(ours.matrix, theirs, atol=1e-9)


def test_many_components_give_the_same_result_without_moments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    white, start = white_mixture(6, 3), start_of(6, 3)
    from_moments = fastica_cube(cubic_step(white), start)
    monkeypatch.setattr(module, "MAX_COMPONENTS_OF_MOMENTS", 5)
    over_voxels = fastica_cube(cubic_step(white), start)
    np.testing.assert_allclose(over_voxels.matrix, from_moments.matrix, atol=1e-9)


@given(st.integers(2, 8), st.integers(0, 1000))
@few
def test_the_step_over_voxels_is_the_step_from_moments(n_components: int, seed: int) -> None:
    white, matrix = white_mixture(n_components, seed), start_of(n_components, seed + 1)
    from_moments = cubic_step(white)(matrix)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_COMPONENTS_OF_MOMENTS", n_components - 1)
        over_voxels = cubic_step(white)(matrix)
    np.testing.assert_allclose(over_voxels, from_moments, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("limit", [module.MAX_COMPONENTS_OF_MOMENTS, 3])
def test_the_number_of_threads_changes_no_byte(
    monkeypatch: pytest.MonkeyPatch, limit: int, n_threads: int
) -> None:
    """With moments, blocks have a few hundred voxels; with passes over them, many thousand."""
    monkeypatch.setattr(module, "MAX_COMPONENTS_OF_MOMENTS", limit)
    monkeypatch.setattr(module, "_PRODUCTS_OF_A_BLOCK", 1 << 13)
    white, matrix = white_mixture(6, 1, n_voxels=40_000), start_of(6, 1)
    with threadpool_limits(limits=1):
        one = cubic_step(white)(matrix)
        several = cubic_step(white, n_threads)(matrix)
    assert several.tobytes() == one.tobytes()


def test_many_components_are_summed_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread holds moments of its own, so that only one is used above a limit."""
    used: list[int] = []
    really_map = module.map_ordered

    def counted(func: object, items: object, n_threads: int) -> object:
        used.append(n_threads)
        return really_map(func, items, n_threads)

    monkeypatch.setattr(module, "map_ordered", counted)
    monkeypatch.setattr(module, "MAX_COMPONENTS_OF_THREADS", 5)
    cubic_step(white_mixture(5, 2), 4)
    cubic_step(white_mixture(6, 2), 4)
    assert used == [4, 1]


def test_blocks_of_voxels_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    white, matrix = white_mixture(5, 6), start_of(5, 6)
    whole = cubic_step(white)(matrix)
    # A block has at least 256 voxels.
    monkeypatch.setattr(module, "_PRODUCTS_OF_A_BLOCK", 1)
    np.testing.assert_allclose(cubic_step(white)(matrix), whole, rtol=1e-9, atol=1e-12)


def test_the_matrix_is_orthogonal_and_the_gradient_vanishes() -> None:
    """At a fixed point E[(W z)³ zᵀ] Wᵀ is symmetric: no rotation improves the fourth moments."""
    white = white_mixture(8, 4, n_voxels=20000)
    step = cubic_step(white)
    unmixing = fastica_cube(step, start_of(8, 4))
    np.testing.assert_allclose(unmixing.matrix @ unmixing.matrix.T, np.eye(8), atol=1e-12)
    gradient = step(unmixing.matrix) @ unmixing.matrix.T
    assert np.abs(gradient - gradient.T).max() < 1e-2 * np.abs(gradient).max()


def test_a_fit_that_stops_at_the_iteration_limit_has_not_converged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    monkeypatch.setattr(orthogonal_ascent, "MAX_STEPS", 0)
    unmixing = fastica_cube(cubic_step(white_mixture(6, 5)), start_of(6, 5))
    assert not unmixing.converged
    assert unmixing.n_iter == 1
