"""The iteration from fourth moments is scikit-learn's FastICA."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import fastica

from nidecomp.group import fastica as module
from nidecomp.group.canica import whiten
from nidecomp.group.fastica import cubic_step, fastica_cube

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
def test_the_same_start_leads_where_scikit_learns_does(n_components: int, seed: int) -> None:
    white, start = white_mixture(n_components, seed), start_of(n_components, seed)
    ours = fastica_cube(cubic_step(white), start)
    _, theirs, _, n_iter = fastica(
        white.T, whiten=False, fun="cube", w_init=start, max_iter=1000, return_n_iter=True
    )
    assert ours.converged
    assert ours.n_iter == n_iter
    np.testing.assert_allclose(ours.matrix, theirs, atol=1e-9)


def test_many_components_pass_over_the_voxels_to_the_same_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    white, start = white_mixture(6, 3), start_of(6, 3)
    from_moments = fastica_cube(cubic_step(white), start)
    monkeypatch.setattr(module, "MAX_COMPONENTS_OF_MOMENTS", 5)
    over_voxels = fastica_cube(cubic_step(white), start)
    np.testing.assert_allclose(over_voxels.matrix, from_moments.matrix, atol=1e-9)


def test_the_matrix_is_orthogonal_and_the_gradient_vanishes() -> None:
    """At a fixed point E[(W z)³ zᵀ] Wᵀ is symmetric: no rotation improves the fourth moments."""
    white = white_mixture(8, 4, n_voxels=20000)
    step = cubic_step(white)
    unmixing = fastica_cube(step, start_of(8, 4))
    np.testing.assert_allclose(unmixing.matrix @ unmixing.matrix.T, np.eye(8), atol=1e-12)
    gradient = step(unmixing.matrix) @ unmixing.matrix.T
    assert np.abs(gradient - gradient.T).max() < 1e-2 * np.abs(gradient).max()


def test_too_few_iterations_are_not_called_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    unmixing = fastica_cube(cubic_step(white_mixture(6, 5)), start_of(6, 5))
    assert not unmixing.converged
    assert unmixing.n_iter == 1
